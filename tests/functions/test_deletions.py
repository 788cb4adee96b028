"""A record is deleted while its list is being read, and moves another one past the cursor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from shared.core.model import Deletion, Place, ProviderName, RecordId, ResourceName, UserId
from shared.core.settle import Transaction
from shared.ports import Etag
from tests.functions.world import ENV, World, a_world, app

SLEEPS = Place(ProviderName("whoop"), UserId("ana"), ResourceName("sleep"))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
        return made.browser("whoop").call("POST", url, headers=headers, body=body).status

    here = f"{ENV['PUBLIC_URL']}/webhooks/whoop/"
    env = {**ENV, "BACKFILL_DAYS": "120"}
    with a_world(env, post=post, webhook_urls=(here,), hour_seconds=0.06) as made:
        monkeypatch.setattr(app().module, "services", lambda: made.services)
        yield made


@pytest.mark.parametrize("told", [True, False], ids=["told of", "not told of"])
def test_nothing_is_skipped(world: World, monkeypatch: pytest.MonkeyPatch, *, told: bool) -> None:
    member = world.simulator.world.add_member(days=120)
    commit, gone = world.records.commit, list[str]()

    def delete_above(place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        written = commit(place, transaction, etag)
        if place == SLEEPS and not gone:
            newest = max(transaction.versions, key=lambda one: one.updated_at)
            gone.append(newest.content.id)
            world.simulator.changes.delete(member.user_id, "sleep", gone[0], announce=told)
            assert world.simulator.webhooks.drain()
        return written

    monkeypatch.setattr(world.records, "commit", delete_above)
    world.browser("ana").connect(member)
    world.work()
    if not told:
        # The next night misses the record, and then knows what that may have done.
        world.clock.move(24 * 3600)
        app().functions["nightly"].call(timer=None)
        world.work()

    held = world.records.head(SLEEPS).value.held
    assert held is not None
    truth = world.simulator.truth(member.user_id, held.start, held.end)["sleep"]
    current = world.records.current(SLEEPS)
    alive = {name for name, one in current.items() if not isinstance(one.content, Deletion)}
    assert len(truth) > 100
    assert {record["id"] for record in truth} == alive
    assert isinstance(current[RecordId(gone[0])].content, Deletion)
