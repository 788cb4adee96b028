from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.cleanup import EVENT_LIFE, FAILURE_LIFE, SLOT_LIFE, Cleanup
from shared.core.model import (
    AccountId,
    Bell,
    Claim,
    Connection,
    Look,
    RecordId,
    Ref,
    ResourceName,
    Secret,
    Status,
)
from shared.errors import LostRace
from shared.ports import Etag, OneTime, SealPlace, Slot
from shared.renewal import open_access, open_refresh
from tests.builders import NOW, PROVIDER, USER, a_document
from tests.services.world import PROFILE, World
from whoop.webhooks import TOLERANCE

HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    """A member who has just connected, before the key was changed."""
    world = World()
    world.connect()
    world.cipher.rotate()
    return world


def connect(world: World, user: str) -> None:
    """Connect somebody with an account of their own."""
    world.acme.document = a_document(account=AccountId(f"account of {user}"))
    world.connect(user)


def sealed_anew(world: World, user: str = USER) -> bool:
    """Say whether both tokens are sealed with the newest key, and are what they were."""
    connection = world.connection(user)
    assert open_access(world.cipher, connection) == Secret("access-0")
    assert open_refresh(world.cipher, connection) == Secret("refresh-0")
    stale = {world.cipher.stale(one) for one in (connection.grant.access, connection.grant.refresh)}
    assert len(stale) == 1
    return stale == {False}


def change(world: World, **changes: object) -> Connection:
    stored = world.connections.find(USER, PROVIDER)
    assert stored is not None
    changed = replace(stored.value, **changes)  # type: ignore[arg-type]  # the tests name real fields
    world.connections.put(changed, stored.etag)
    return changed


def test_secrets_that_expired_more_than_an_hour_ago_go(world: World) -> None:
    def once(age: timedelta) -> OneTime:
        return OneTime(USER, PROVIDER, "browser", NOW - age)

    world.once.keep("ticket", "old", once(HOUR + timedelta(seconds=1)))
    world.once.keep("ticket", "young", once(HOUR))
    world.services.cleanup.run(NOW)

    assert world.once.find("ticket", "old") is None
    assert world.once.find("ticket", "young") is not None


def test_nights_are_kept_for_a_month(world: World) -> None:
    old, young = Slot(NOW - SLOT_LIFE - HOUR), Slot(NOW - SLOT_LIFE)
    world.slots.save(old, None)
    world.slots.save(young, None)

    world.services.cleanup.run(NOW)

    assert world.slots.find(old.at) is None
    assert world.slots.find(young.at) is not None


def test_what_was_heard_is_forgotten_after_hours(world: World) -> None:
    ref, resource = Ref("r"), ResourceName("sleep")
    for name, age in (("old", EVENT_LIFE + HOUR), ("young", EVENT_LIFE)):
        world.events.note(ref, name, at=NOW - age)
        world.events.save(ref, resource, RecordId(name), Look(NOW - age, "k"), None)

    world.services.cleanup.run(NOW)

    assert [world.events.seen(ref, name) for name in ("old", "young")] == [False, True]
    assert world.events.find(ref, resource, RecordId("old")) is None
    assert world.events.find(ref, resource, RecordId("young")) is not None


def test_what_was_heard_is_remembered_for_as_long_as_it_is_believed() -> None:
    assert EVENT_LIFE > TOLERANCE


def test_failures_that_mended_themselves_are_forgotten_after_a_month(world: World) -> None:
    world.poison.note("old", "KeyError", at=NOW - FAILURE_LIFE - HOUR)
    world.poison.note("young", "KeyError", at=NOW - FAILURE_LIFE)

    world.services.cleanup.run(NOW)

    assert world.poison.noted("old") is None
    assert world.poison.noted("young") == "KeyError"


def test_what_an_old_key_sealed_is_sealed_anew(world: World) -> None:
    before = world.connection()
    assert not sealed_anew(world)

    world.services.cleanup.run(NOW)

    assert sealed_anew(world)
    assert world.connection() == replace(
        before,
        grant=replace(
            before.grant,
            access=world.connection().grant.access,
            refresh=world.connection().grant.refresh,
        ),
    )


def test_what_the_newest_key_sealed_is_not_written(world: World) -> None:
    world.services.cleanup.run(NOW)
    before = world.connections.find(USER, PROVIDER)

    world.services.cleanup.run(NOW + HOUR)

    assert world.connections.find(USER, PROVIDER) == before


def test_one_token_under_an_old_key_is_enough(world: World) -> None:
    world.services.cleanup.run(NOW)
    fresh = world.connection().grant
    world.cipher.rotate()
    mixed = replace(
        fresh, access=world.cipher.seal(Secret("access-0"), SealPlace(USER, PROVIDER, "access"))
    )
    change(world, grant=mixed)

    world.services.cleanup.run(NOW + HOUR)

    assert sealed_anew(world)


def test_parked_connections_are_sealed_anew_as_well(world: World) -> None:
    change(world, status=Status.PARKED)

    world.services.cleanup.run(NOW)

    assert sealed_anew(world)
    assert world.connection().status is Status.PARKED


@pytest.mark.parametrize("ends", [HOUR, -HOUR], ids=["open", "left behind"])
def test_a_connection_with_a_claim_is_not_touched(world: World, ends: timedelta) -> None:
    change(world, claim=Claim("somebody", NOW + ends))
    before = world.connections.find(USER, PROVIDER)

    world.services.cleanup.run(NOW)
    assert world.connections.find(USER, PROVIDER) == before

    change(world, claim=None)
    world.services.cleanup.run(NOW)
    assert sealed_anew(world)


def test_a_renewal_in_between_wins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put = world.connections.put

    def overtaken(connection: Connection, etag: Etag | None) -> Etag:
        stored = world.connections.find(USER, PROVIDER)
        assert stored is not None
        put(replace(stored.value, reason="renewed"), stored.etag)
        return put(connection, etag)

    with monkeypatch.context() as patch:
        patch.setattr(world.connections, "put", overtaken)
        world.services.cleanup.run(NOW)

    assert world.connection().reason == "renewed"
    assert not sealed_anew(world)


def test_one_that_does_not_open_keeps_nobody_else_waiting(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.cipher.forget()
    connect(world, "bea")
    world.cipher.rotate()
    before = world.connection()

    world.services.cleanup.run(NOW)

    assert world.connection() == before
    assert sealed_anew(world, "bea")
    [alarm] = [one for one in caplog.records if one.message.startswith("reseal.unsealable")]
    assert alarm.skipped == 1  # type: ignore[attr-defined]  # our own field


def test_a_ref_without_a_connection_is_passed_over(world: World) -> None:
    connection = world.connection()
    stored = world.connections.find(USER, PROVIDER)
    assert stored is not None
    world.connections.put(replace(connection, ref=type(connection.ref)("other")), stored.etag)

    world.services.cleanup.run(NOW)

    assert not sealed_anew(world)


@pytest.mark.parametrize("first", ["", "~", "minted-000000000000000000000000000000000020"])
def test_a_run_looks_at_so_many_and_the_next_ones_go_on(first: str) -> None:
    world = World()
    users = [f"user-{n}" for n in range(9)]
    for user in users:
        connect(world, user)
    world.cipher.rotate()
    starts = iter([first, *(world.connection(user).ref for user in users)])
    cleanup: Cleanup = replace(world.services.cleanup, most=4, mint=lambda: next(starts))

    cleanup.run(NOW)
    assert [sealed_anew(world, user) for user in users].count(True) == 4

    for _ in users:
        cleanup.run(NOW)
    assert all(sealed_anew(world, user) for user in users)


def test_a_bell_that_nobody_rang_is_rung(world: World) -> None:
    place = world.place(PROFILE)
    stored = world.records.head(place)
    world.records.put_head(place, replace(stored.value, announced=0), stored.etag)
    world.queue.rung.clear()

    world.services.cleanup.run(NOW)
    world.services.cleanup.run(NOW)

    head = world.records.head(place).value
    assert head.generation is not None
    assert world.queue.rung == [
        Bell(world.connection().ref, place.resource, head.generation, head.seq)
    ]
    assert head.announced == head.seq


def test_a_lost_race_is_no_reason_to_stop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.cipher.rotate()
    connect(world, "bea")
    world.cipher.rotate()
    put = world.connections.put

    def lost(connection: Connection, etag: Etag | None) -> Etag:
        if connection.user == USER:
            raise LostRace("412")
        return put(connection, etag)

    monkeypatch.setattr(world.connections, "put", lost)
    world.services.cleanup.run(NOW)

    assert not sealed_anew(world)
    assert sealed_anew(world, "bea")
