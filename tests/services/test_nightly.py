"""The night: who gets a turn, when, and what a turn does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.adapters.memory import MemoryQueue
from shared.core.model import (
    AccountId,
    ChunkJob,
    Job,
    Lane,
    Progress,
    Ref,
    ResourceName,
    StartJob,
    Status,
)
from shared.core.night import SPREAD
from shared.errors import LostRace, StorageDown
from shared.keeping import STORAGE_PAUSE
from shared.nightly import MARK, Nightly
from shared.ports import Etag, Slot
from shared.provider import Trouble
from shared.sync import STALE
from tests.builders import NOW, PROVIDER, RESOURCE, a_connection, a_document, a_record
from tests.services.world import World

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def members(world: World, ages: dict[str, float | None]) -> None:
    """Connect members by their refs; each was synced so many hours ago, or never."""
    for ref, hours in ages.items():
        world.connections.put(a_connection(user=type(USER)(f"user-{ref}"), ref=Ref(ref)), None)
        if hours is not None:
            world.connections.touch(Ref(ref), RESOURCE, NOW - timedelta(hours=hours))


USER = a_connection().user


def turns(world: World) -> list[tuple[str, timedelta]]:
    """Take every job off the queue: whose turn it is, and how long they wait."""
    taken = world.queue.take()
    assert all(isinstance(job, StartJob) and job.slot == slot_of(job) for job, _ in taken)
    return [(job.ref, delay) for job, delay in taken]


def slot_of(job: Job) -> datetime:
    assert isinstance(job, StartJob)
    return job.slot


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def nightly(world: World) -> Nightly:
    return world.services.nightly


# Whose turn it is


def test_everybody_gets_a_turn_stalest_first_spread_over_the_night(
    world: World, nightly: Nightly
) -> None:
    members(world, {"day": 24, "new": None, "month": 700, "two": 48})

    nightly.run(NOW)

    assert turns(world) == [
        ("new", timedelta(0)),
        ("month", SPREAD / 4),
        ("two", SPREAD / 2),
        ("day", SPREAD * 3 / 4),
    ]


def test_who_was_synced_within_the_hour_sleeps_on(world: World, nightly: Nightly) -> None:
    members(world, {"awake": 0.5, "day": 24})

    nightly.run(NOW)

    assert [ref for ref, _ in turns(world)] == ["day"]


def test_no_provider_is_asked(world: World, nightly: Nightly) -> None:
    members(world, {"day": 24, "new": None})

    nightly.run(NOW)

    assert world.acme.asked == []
    assert world.acme.renewals == 0


def test_providers_that_cannot_be_used_are_left_out(world: World, nightly: Nightly) -> None:
    members(world, {"day": 24})
    world.connections.put(a_connection(provider=type(PROVIDER)("gone"), ref=Ref("gone")), None)

    nightly.run(NOW)
    assert [ref for ref, _ in turns(world)] == ["day"]

    world.acme.trouble = Trouble.NOT_CONFIGURED
    nightly.run(NOW + DAY)
    assert turns(world) == []


def test_a_night_without_anybody_is_done(world: World, nightly: Nightly) -> None:
    nightly.run(NOW)

    assert world.slots.unfinished() == []


# Slots


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(timedelta(0), id="at once"),
        pytest.param(timedelta(milliseconds=-5), id="on time after being early"),
        pytest.param(timedelta(minutes=40), id="after a restart"),
    ],
)
def test_a_timer_that_fires_again_finds_its_slot_done(
    world: World, nightly: Nightly, again: timedelta
) -> None:
    members(world, {"day": 24})
    nightly.run(NOW)
    world.queue.take()

    nightly.run(NOW + again)

    assert turns(world) == []


def test_the_next_night_is_another_slot(world: World, nightly: Nightly) -> None:
    members(world, {"day": 24})
    nightly.run(NOW)
    world.queue.take()

    nightly.run(NOW + DAY)

    assert [ref for ref, _ in turns(world)] == ["day"]


def crowd(world: World) -> list[str]:
    """Connect so many that a slot has marks; return their refs in the order of their turns."""
    refs = [f"r{number:04}" for number in range(MARK * 2 + 50)]
    members(world, {ref: float(5_000 - number) for number, ref in enumerate(refs)})
    return refs


def crash(world: World, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Run a night during which storage goes away."""
    defer = MemoryQueue.defer

    def fails(queue: MemoryQueue, job: Job, delay: timedelta) -> None:
        if len(queue.deferred) == after:
            raise StorageDown("503")
        defer(queue, job, delay)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryQueue, "defer", fails)
        with pytest.raises(StorageDown):
            world.services.nightly.run(NOW)


@pytest.mark.parametrize("how", ["fired again", "by the next clean-up"])
@pytest.mark.parametrize("after", [0, 1, MARK - 1, MARK, MARK + 1, MARK * 2 + 49])
def test_an_unfinished_slot_is_carried_on_and_repeats_no_more_than_one_mark(
    world: World, nightly: Nightly, monkeypatch: pytest.MonkeyPatch, after: int, how: str
) -> None:
    refs = crowd(world)
    crash(world, monkeypatch, after=after)
    first = [ref for ref, _ in turns(world)]

    if how == "fired again":
        nightly.run(NOW + timedelta(minutes=10))
    else:
        nightly.resume()

    second = turns(world)
    assert first == refs[:after]
    assert [ref for ref, _ in second] == refs[after // MARK * MARK :]
    assert [delay for _, delay in second] == [
        SPREAD * refs.index(ref) / len(refs) for ref, _ in second
    ]
    assert world.slots.unfinished() == []


def test_who_was_synced_meanwhile_has_no_second_turn(
    world: World, nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = crowd(world)
    crash(world, monkeypatch, after=MARK + 2)
    world.queue.take()
    world.connections.touch(Ref(refs[MARK]), RESOURCE, NOW + timedelta(minutes=5))

    nightly.resume()

    assert [ref for ref, _ in turns(world)] == refs[MARK + 1 :]


def test_a_missed_slot_is_closed_by_the_next_one_which_serves_everybody(
    world: World, nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = crowd(world)
    crash(world, monkeypatch, after=5)
    world.queue.take()

    nightly.run(NOW + DAY)

    assert [ref for ref, _ in turns(world)] == refs
    assert world.slots.unfinished() == []
    nightly.resume()
    assert turns(world) == []


def test_nothing_is_left_to_resume_after_a_good_night(world: World, nightly: Nightly) -> None:
    members(world, {"day": 24})
    nightly.run(NOW)
    world.queue.take()

    nightly.resume()

    assert turns(world) == []


def test_of_two_that_serve_one_slot_the_one_that_came_first_stops_at_its_next_mark(
    world: World, nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(world)
    save, seen = world.slots.save, []

    def overtaken(slot: Slot, etag: Etag | None) -> Etag:
        seen.append(slot)
        if len(seen) == 2:
            found = world.slots.find(slot.at)
            assert found is not None
            save(found.value, found.etag)
        return save(slot, etag)

    monkeypatch.setattr(world.slots, "save", overtaken)
    nightly.run(NOW)

    assert len(turns(world)) == MARK
    assert [slot.cursor for slot in seen] == ["", seen[1].cursor]
    assert len(world.slots.unfinished()) == 1


def test_of_two_that_open_one_slot_one_does_nothing(
    world: World, nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    members(world, {"day": 24})
    find = world.slots.find

    def late(at: datetime) -> None:
        assert find(at) is None
        world.slots.save(Slot(at), None)

    monkeypatch.setattr(world.slots, "find", late)
    nightly.run(NOW)

    assert turns(world) == []


def test_an_older_slot_that_somebody_is_at_is_left_to_them(
    world: World, nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    members(world, {"day": 24})
    old = Slot(NOW - DAY)
    etag = world.slots.save(old, None)
    unfinished = world.slots.unfinished()
    world.slots.save(replace(old, cursor="x"), etag)
    monkeypatch.setattr(world.slots, "unfinished", lambda: unfinished)

    nightly.run(NOW)

    assert [ref for ref, _ in turns(world)] == ["day"]


# What a turn does


@pytest.fixture
def ana(world: World) -> StartJob:
    """A member who was synced yesterday, and her turn in the night."""
    world.acme.records = [
        a_record(f"r{n}", start=NOW - timedelta(hours=6 * n + 1)) for n in range(30)
    ]
    world.connect()
    world.work()
    world.at(DAY)
    world.acme.asked.clear()
    return StartJob(world.connection().ref, world.time)


def test_a_finished_run_notes_how_far_it_got(world: World, ana: StartJob) -> None:
    listed = world.connections.listed(ana.ref)
    held = world.records.head(world.place()).value.held

    assert listed is not None
    assert held is not None
    assert listed.synced_at == held.end == NOW


def test_a_turn_starts_a_nightly_run(world: World, ana: StartJob) -> None:
    world.services.run(ana)

    assert world.chunk().lane is Lane.NIGHTLY
    world.start()
    assert world.queue.deferred == []


def test_a_turn_costs_one_request_a_collection_and_a_second_one_none(
    world: World, ana: StartJob
) -> None:
    world.services.run(ana)
    world.work()
    assert [name for name, _ in world.acme.asked] == [RESOURCE]

    world.services.run(ana)

    assert world.queue.deferred == []


def test_a_turn_that_comes_twice_at_once_is_one_run(world: World, ana: StartJob) -> None:
    world.services.run(ana)
    world.services.run(ana)

    assert len({job.run for job, _ in world.queue.deferred if isinstance(job, ChunkJob)}) == 1
    world.work()
    assert [name for name, _ in world.acme.asked] == [RESOURCE]


def test_a_turn_that_a_crash_cut_short_comes_again_and_sends_what_was_not_sent(
    world: World, ana: StartJob
) -> None:
    world.queue.down = True
    with pytest.raises(StorageDown):
        world.services.run(ana)
    world.queue.down = False

    world.services.run(ana)

    assert world.chunk().lane is Lane.NIGHTLY


def test_each_turn_is_a_run_of_its_own(world: World, ana: StartJob) -> None:
    runs = set()
    for job in (ana, replace(ana, slot=ana.slot + DAY)):
        world.services.run(job)
        runs.add(world.chunk().run)
        world.services.run(job)
        world.work()
        world.at(DAY)
    world.acme.document = a_document(account=AccountId("2"))
    world.connect("bea")
    world.queue.take()
    world.at(STALE)
    world.services.run(replace(ana, ref=world.connection("bea").ref))

    assert len({*runs, world.chunk().run}) == 3


def test_who_synced_since_the_slot_is_left_in_peace(world: World, ana: StartJob) -> None:
    world.at(timedelta(minutes=10))
    world.start()
    world.work()
    world.acme.asked.clear()

    world.services.run(ana)

    assert world.queue.deferred == []


def test_who_is_told_of_is_left_in_peace_unless_a_run_needs_help(
    world: World, ana: StartJob
) -> None:
    world.connections.heard(ana.ref, world.time)
    tomorrow = replace(ana, slot=ana.slot + DAY)
    world.at(DAY)
    world.services.run(tomorrow)
    assert world.queue.deferred == []

    stored = world.records.head(world.place())
    failed = replace(stored.value, progress=Progress.FAILED)
    world.records.put_head(world.place(), failed, stored.etag)
    world.services.run(tomorrow)
    assert world.chunk().lane is Lane.NIGHTLY

    world.queue.take()
    etag = world.records.head(world.place()).etag
    no_scope = replace(failed, progress=Progress.NO_SCOPE)
    world.records.put_head(world.place(), no_scope, etag)
    world.services.run(tomorrow)
    assert world.queue.deferred == []


def test_a_turn_revives_a_run_that_stopped(world: World, ana: StartJob) -> None:
    world.start()
    run = world.chunk().run  # its message is lost
    world.queue.take()
    world.at(STALE)

    world.services.run(ana)

    jobs = [job for job, _ in world.queue.deferred if isinstance(job, ChunkJob)]
    assert [(job.resource, job.run) for job in jobs] == [(RESOURCE, run)]
    world.work()
    assert world.records.head(world.place()).value.progress is Progress.FINISHED


def test_a_night_revives_what_the_one_before_has_left_standing(world: World, ana: StartJob) -> None:
    world.services.run(ana)
    world.queue.take()
    world.at(DAY)

    world.services.nightly.run(world.time)
    world.work()

    listed = world.connections.listed(ana.ref)
    assert listed is not None
    assert listed.synced_at is not None
    assert listed.synced_at >= ana.slot


@pytest.mark.parametrize("status", [Status.PARKED, Status.CONNECTING])
def test_who_is_not_connected_has_no_turn(world: World, ana: StartJob, status: Status) -> None:
    stored = world.connections.by_ref(ana.ref)
    assert stored is not None
    world.connections.put(replace(stored.value, status=status), stored.etag)

    world.services.run(ana)

    assert world.queue.deferred == []


def test_a_ref_that_leads_nowhere_has_no_turn(world: World, ana: StartJob) -> None:
    world.services.run(replace(ana, ref=Ref("nobody")))

    assert world.queue.deferred == []


def test_a_provider_that_cannot_be_used_any_more_is_not_asked(world: World, ana: StartJob) -> None:
    world.acme.trouble = Trouble.MISCONFIGURED
    world.services.run(ana)
    world.connections.put(a_connection(provider=type(PROVIDER)("gone"), ref=Ref("gone")), None)
    world.services.run(replace(ana, ref=Ref("gone")))

    assert world.queue.deferred == []


@pytest.mark.parametrize("error", [StorageDown("503"), LostRace("412")])
def test_a_turn_that_storage_does_not_allow_comes_again(
    world: World, ana: StartJob, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def down(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(world.records, "put_head", down)
        world.services.run(ana)

    assert world.queue.deferred == [(ana, STORAGE_PAUSE)]
    world.work()
    assert [name for name, _ in world.acme.asked] == [RESOURCE]


def test_a_run_is_finished_even_where_that_cannot_be_noted(
    world: World, ana: StartJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(ref: Ref, resource: ResourceName, held_end: datetime) -> None:
        raise StorageDown("503")

    world.services.run(ana)
    with monkeypatch.context() as patch:
        patch.setattr(world.connections, "touch", down)
        world.work()

    assert world.records.head(world.place()).value.progress is Progress.FINISHED
    listed = world.connections.listed(ana.ref)
    assert listed is not None
    assert listed.synced_at == NOW
