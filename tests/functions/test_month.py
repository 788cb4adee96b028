"""A month of members' lives, with webhooks that get lost, doubled and mixed up on their way.

Scores come late and change, records are moved, deleted and come back, members travel, and some
content changes without a new date.  After it three quiet nights have to bring everything in line:
what is current, what is gone, and every version that was ever served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import get_args

import pytest

from dev.simulator import NO_CHANGES, Member, Mishaps, Rates
from dev.simulator.members import Resource
from shared.core.model import Deletion, Place, ProviderName, ResourceName, UserId, Version
from tests.functions.world import ENV, World, a_world, app
from whoop.api import digest

MISHAPS = Mishaps(
    lose=0.1,
    duplicate=0.1,
    reorder=0.2,
    old=0.02,
    forge=0.05,
    unknown_user=0.02,
    unknown_type=0.02,
    malformed=0.02,
    hold_seconds=0.05,
)
RATES = Rates(
    pending=0.4, score=0.8, rescore=0.5, reschedule=0.4, delete=0.3, recreate=0.3, alter=0.2,
    travel=0.1,
)  # fmt: skip


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[World]:
    def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
        return made.browser("whoop").call("POST", url, headers=headers, body=body).status

    here = f"{ENV['PUBLIC_URL']}/webhooks/whoop/"
    with a_world(post=post, seed=request.param, webhook_urls=(here,), hour_seconds=0.06) as made:
        monkeypatch.setattr(app().module, "services", lambda: made.services)
        yield made


def a_night(world: World) -> None:
    """Move on to the next night, and let it do its work."""
    world.clock.move(timedelta(hours=6).total_seconds())
    app().functions["nightly"].call(timer=None)
    world.work()


def a_day(world: World, rates: Rates) -> None:
    """Let three quarters of a day go by, and work off what comes of it."""
    for _ in range(3):
        world.clock.move(timedelta(hours=6).total_seconds())
        world.simulator.live(0, rates=rates)
        assert world.simulator.webhooks.drain()
        world.work()


def versions(world: World, user: str, resource: str) -> list[Version]:
    """Return what is held, each record's oldest version first."""
    place = Place(ProviderName("whoop"), UserId(user), ResourceName(resource))
    return [version for _, version in sorted(world.records.versions.get(place, {}).items())]


def check(world: World, user: str, member: Member) -> None:
    deleted = world.simulator.deleted(member.user_id)
    served = world.simulator.served(member.user_id)
    for resource in get_args(Resource):
        held = versions(world, user, resource)
        current = {version.content.id: version for version in held}
        alive = {
            name: one.known.digest
            for name, one in current.items()
            if not isinstance(one.content, Deletion)
        }
        brought = set(served[resource])
        span = world.records.head(
            Place(ProviderName("whoop"), UserId(user), ResourceName(resource))
        ).value.held
        assert span is not None
        truth = world.simulator.truth(member.user_id, span.start, span.end)[resource]
        expected = {one["id"]: one["hash"] for one in truth}
        assert {name: alive.get(name) for name in expected} == expected, resource
        assert alive.keys() - expected.keys() <= brought
        assert current.keys() - alive.keys() == set(deleted[resource]) & brought, resource
        kept = {(version.content.id, version.known.digest) for version in held}
        for name, documents in served[resource].items():
            assert {(name, digest(document)) for document in documents} <= kept, (resource, name)


@pytest.mark.parametrize("world", [2, 3], indirect=True, ids="seed {}".format)
def test_after_a_month_of_everything_three_nights_bring_all_in_line(world: World) -> None:
    members = {name: world.simulator.world.add_member(days=40) for name in ("ana", "bea")}
    for name, member in members.items():
        world.browser(name).connect(member)
    world.work()
    world.simulator.webhooks.set_mishaps(MISHAPS)

    for _ in range(30):
        a_day(world, RATES)
        a_night(world)
    world.simulator.webhooks.clear_mishaps()
    for _ in range(3):
        a_day(world, NO_CHANGES)
        a_night(world)

    changed = {one["state"] for one in world.simulator.webhooks.log}
    assert {"delivered", "lost"} <= changed
    for name, member in members.items():
        check(world, name, member)
        assert any(world.simulator.deleted(member.user_id).values())
