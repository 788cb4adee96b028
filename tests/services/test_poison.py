from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.codec import decode, encode
from shared.core.model import (
    Cursor,
    Departure,
    FinishJob,
    GrantId,
    Head,
    Job,
    LeaveJob,
    LookJob,
    Pending,
    Place,
    Progress,
    RecordId,
    Ref,
    RunId,
    Secret,
    StartJob,
    Todo,
    UserId,
)
from shared.errors import (
    AppError,
    LostRace,
    StorageDown,
    UnknownMessage,
    UnreadableMessage,
)
from shared.poison import KILLED, PAUSE, REASON, REDEFERRALS, Poison, fingerprint
from shared.ports import Etag, Poisoned, SealPlace
from tests.builders import JOB, NOW, PROVIDER, REF, RESOURCE, USER, a_connection, a_head
from tests.services.world import World

NOBODYS = b"\xff no JSON, but a canary"
BODY = encode(JOB).encode()
LOOK = LookJob(REF, RESOURCE, RecordId("s1"), alias=True, gone=True, at=NOW, key="k", looks=1)
ERRORS = [StorageDown("made up"), LostRace("made up"), RuntimeError("made up")]


@pytest.fixture
def world() -> World:
    """A connection with a run under way."""
    return a_world()


def a_world() -> World:
    world = World()
    world.connections.put(a_connection(), None)
    world.records.put_head(world.place(), a_head(touched_at=NOW, writer="a worker"), None)
    return world


def kind(job: Job) -> str:
    return type(job).__name__


def head(world: World) -> Head:
    return world.records.head(world.place()).value


def poison(world: World) -> Poison:
    return world.services.poison


def kept(world: World) -> Poisoned:
    [one] = poison(world).list()
    return one


def fail(world: World, body: bytes, error: Exception, tries: int = 1) -> None:
    """Run a message that raises ``error``."""

    def run(job: Job) -> None:
        raise error

    with pytest.raises(type(error)):
        poison(world).attempt(body, tries, run)


# Failures


def test_a_message_runs() -> None:
    world = a_world()
    ran: list[Job] = []

    poison(world).attempt(BODY, 1, ran.append)

    assert ran == [JOB]
    assert world.poison.noted(fingerprint(BODY)) is None


def test_the_name_of_what_a_message_raises_is_noted_and_nothing_else(world: World) -> None:
    error = KeyError("canary")
    with pytest.raises(KeyError) as caught:
        poison(world).attempt(BODY, 1, lambda job: (_ for _ in ()).throw(error))

    assert caught.value is error
    assert world.poison.noted(fingerprint(BODY)) == "KeyError"


def test_a_message_that_cannot_be_read_has_failed_as_well(world: World) -> None:
    ran: list[Job] = []
    with pytest.raises(UnreadableMessage):
        poison(world).attempt(NOBODYS, 1, ran.append)

    assert ran == []
    assert world.poison.noted(fingerprint(NOBODYS)) == "UnreadableMessage"


@pytest.mark.parametrize("trouble", ERRORS, ids=repr)
def test_a_failure_that_cannot_be_noted_is_raised_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(world.poison, "note", raising(trouble))

    fail(world, BODY, KeyError())


def test_a_message_that_succeeds_in_the_end_has_not_failed(world: World) -> None:
    # The next message of the same run says the same, word for word.
    fail(world, BODY, KeyError())

    poison(world).attempt(BODY, 2, lambda job: None)

    assert world.poison.noted(fingerprint(BODY)) is None


@pytest.mark.parametrize("trouble", ERRORS, ids=repr)
def test_a_success_stays_one_where_the_failure_cannot_be_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(world.poison, "forget", raising(trouble))

    poison(world).attempt(BODY, 2, lambda job: None)


def test_a_first_try_costs_no_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.poison, "forget", raising(AssertionError("asked")))
    monkeypatch.setattr(world.poison, "noted", raising(AssertionError("asked")))

    poison(world).attempt(BODY, 1, lambda job: None)


# What arrives


def test_a_message_that_failed_is_kept_and_ends_its_run(world: World) -> None:
    fail(world, BODY, KeyError("canary"))
    world.at(timedelta(minutes=3))

    poison(world).receive(BODY, "sync-now")

    assert kept(world) == Poisoned(
        key=fingerprint(BODY),
        body=BODY,
        queue="sync-now",
        error="KeyError",
        at=NOW + timedelta(minutes=3),
        count=1,
        redeferred=0,
        stuck=True,
    )
    assert head(world) == a_head(
        progress=Progress.FAILED, reason=REASON, touched_at=world.time, writer=None
    )
    assert world.queue.deferred == []


def test_the_status_says_so_and_the_next_sync_begins_anew(world: World) -> None:
    fail(world, BODY, KeyError())
    poison(world).receive(BODY, "sync-now")

    [sleep, _] = world.services.overview.status(world.connection().user, world.acme.name)[
        "resources"
    ]
    assert (sleep["state"], sleep["reason"]) == ("failed", REASON)
    world.start()
    assert head(world).progress is Progress.RUNNING
    assert head(world).run != JOB.run


def test_a_run_that_waits_is_ended_as_well(world: World) -> None:
    etag = world.records.head(world.place()).etag
    waiting = a_head(progress=Progress.WAITING, reason="rate_limited", retry_at=NOW)
    world.records.put_head(world.place(), waiting, etag)
    fail(world, BODY, KeyError())

    poison(world).receive(BODY, "sync-now")

    assert (head(world).progress, head(world).retry_at) == (Progress.FAILED, None)


@pytest.mark.parametrize(
    "before",
    [
        a_head(run=RunId("a newer one")),
        a_head(progress=Progress.FINISHED),
        a_head(progress=Progress.NO_SCOPE, reason="scope_missing"),
    ],
    ids=["a newer run", "finished", "stopped"],
)
def test_a_run_that_is_over_stays_as_it_is(world: World, before: Head) -> None:
    world.records.put_head(world.place(), before, world.records.head(world.place()).etag)
    fail(world, BODY, KeyError())

    poison(world).receive(BODY, "sync-now")

    assert head(world) == before
    assert kept(world).stuck


def test_whoever_writes_the_head_meanwhile_carries_the_run_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(world, BODY, KeyError())
    monkeypatch.setattr(world.records, "put_head", raising(LostRace("made up")))

    poison(world).receive(BODY, "sync-now")

    assert head(world).progress is Progress.RUNNING
    assert kept(world).stuck
    assert world.queue.returned == []


@pytest.mark.parametrize(
    ("changes", "progress"),
    [
        pytest.param({"reason": "x", "seq": 7}, Progress.FAILED, id="beside the run"),
        pytest.param({"cursor": Cursor("c"), "used": ("a",)}, Progress.RUNNING, id="in the run"),
    ],
)
def test_a_record_that_is_written_meanwhile_carries_no_run_on(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    progress: Progress,
) -> None:
    fail(world, BODY, KeyError())
    put_head = world.records.put_head

    def rival(place: Place, after: Head, etag: Etag | None) -> Etag:
        monkeypatch.setattr(world.records, "put_head", put_head)
        stored = world.records.head(place)
        put_head(place, replace(stored.value, **changes), stored.etag)  # type: ignore[arg-type]
        return put_head(place, after, etag)

    monkeypatch.setattr(world.records, "put_head", rival)
    poison(world).receive(BODY, "sync-now")

    assert head(world).progress is progress
    assert {name: getattr(head(world), name) for name in changes if name != "reason"} == {
        name: value for name, value in changes.items() if name != "reason"
    }


@pytest.mark.parametrize(
    "job",
    [FinishJob(REF, GrantId("grant-1")), StartJob(REF, NOW)],
    ids=kind,
)
def test_other_jobs_end_nothing(world: World, job: Job) -> None:
    body = encode(job).encode()
    before = head(world)
    fail(world, body, KeyError())

    poison(world).receive(body, "sync-now")

    assert head(world) == before
    assert (kept(world).body, kept(world).stuck) == (body, True)


def test_what_nobody_can_read_is_kept(world: World) -> None:
    fail(world, NOBODYS, UnreadableMessage())

    poison(world).receive(NOBODYS, "sync-later")

    assert (kept(world).body, kept(world).queue) == (NOBODYS, "sync-later")
    assert (kept(world).error, kept(world).stuck) == ("UnreadableMessage", True)


def test_copies_of_a_message_are_one_row_with_a_count(world: World) -> None:
    fail(world, BODY, KeyError())
    for minutes in range(3):
        world.time = NOW + timedelta(minutes=minutes)
        poison(world).receive(BODY, "sync-now")

    assert kept(world).count == 3
    assert kept(world).at == NOW + timedelta(minutes=2)


def test_a_copy_that_arrives_at_the_same_moment_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(world, BODY, KeyError())
    save, races = world.poison.save, iter([True, True])

    def beaten(poisoned: Poisoned, etag: Etag | None) -> Etag:
        if next(races, False):
            save(poisoned, etag)
        return save(poisoned, etag)

    monkeypatch.setattr(world.poison, "save", beaten)
    poison(world).receive(BODY, "sync-now")

    assert kept(world).count == 3
    assert world.queue.returned == []


def test_a_copy_says_what_the_first_one_said_where_the_failure_is_forgotten(world: World) -> None:
    fail(world, BODY, KeyError())
    poison(world).receive(BODY, "sync-now")
    world.poison.sweep(NOW + timedelta(days=1), most=10)

    poison(world).receive(BODY, "sync-now")

    assert (kept(world).error, kept(world).stuck) == ("KeyError", True)
    assert world.queue.deferred == []


# Killed workers


def test_a_message_whose_workers_were_killed_is_sent_back_to_work_three_times(
    world: World,
) -> None:
    for time in range(1, REDEFERRALS + 1):
        poison(world).receive(BODY, "sync-now")

        assert world.queue.take() == [(JOB, timedelta(0))]
        assert (kept(world).error, kept(world).redeferred) == (KILLED, time)
        assert not kept(world).stuck
        assert head(world).progress is Progress.RUNNING

    poison(world).receive(BODY, "sync-now")

    assert world.queue.take() == []
    assert (kept(world).error, kept(world).redeferred) == (KILLED, REDEFERRALS)
    assert kept(world).stuck
    assert (head(world).progress, head(world).reason) == (Progress.FAILED, REASON)


@pytest.mark.parametrize(
    "job", [FinishJob(REF, GrantId("grant-1"), attempt=2), StartJob(REF, NOW), LOOK], ids=kind
)
def test_every_kind_of_job_is_sent_back_as_it_was(world: World, job: Job) -> None:
    poison(world).receive(encode(job).encode(), "sync-now")

    assert world.queue.take() == [(job, timedelta(0))]


def test_a_message_that_was_killed_and_then_fails_is_stuck(world: World) -> None:
    poison(world).receive(BODY, "sync-now")
    fail(world, BODY, KeyError())
    poison(world).receive(BODY, "sync-now")

    assert (kept(world).error, kept(world).redeferred) == ("KeyError", 1)
    assert kept(world).stuck


def test_nobody_is_sent_back_to_work_that_they_cannot_read(world: World) -> None:
    poison(world).receive(NOBODYS, "sync-now")

    assert (kept(world).error, kept(world).redeferred) == (KILLED, 0)
    assert kept(world).stuck
    assert world.queue.deferred == []


def test_a_message_that_came_through_is_counted_from_nothing_a_while_later(world: World) -> None:
    poison(world).receive(BODY, "sync-now")
    world.poison.sweep(NOW + timedelta(seconds=1), most=10)

    poison(world).receive(BODY, "sync-now")

    assert (kept(world).count, kept(world).redeferred) == (1, 1)


# Members who have left

ORPHANS: list[Job] = [
    replace(JOB, ref=Ref("gone")),
    replace(LOOK, ref=Ref("gone")),
    StartJob(Ref("gone"), NOW),
    FinishJob(Ref("gone"), GrantId("grant-1")),
    LeaveJob(Ref("gone")),
]


@pytest.mark.parametrize("job", ORPHANS, ids=kind)
@pytest.mark.parametrize("failed", [True, False], ids=["failed", "killed"])
def test_a_message_whose_ref_leads_nowhere_is_not_kept(
    world: World, job: Job, failed: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    body = encode(job).encode()
    if failed:
        fail(world, body, KeyError())

    poison(world).receive(body, "sync-now")

    assert poison(world).list() == []
    assert world.poison.noted(fingerprint(body)) is None
    assert (world.queue.deferred, world.queue.returned) == ([], [])
    assert "poison.orphaned" in caplog.text


def test_a_message_of_a_grant_that_waits_is_kept(world: World) -> None:
    pending = Pending(UserId("eve"), PROVIDER, Ref("waits"), a_connection().grant)
    world.connections.put_pending(pending)
    body = encode(FinishJob(pending.ref, pending.grant.id)).encode()
    fail(world, body, KeyError())

    poison(world).receive(body, "sync-now")

    assert kept(world).body == body


def test_a_message_of_a_departure_is_kept(world: World) -> None:
    name = Ref("leaves")
    user = world.cipher.seal(Secret(USER), SealPlace(USER, PROVIDER, "user"))
    departure = Departure(
        ref=name, provider=PROVIDER, user=user, account=None, grant=None, at=NOW, todo=Todo.ERASE
    )
    world.departures.save(departure, None)
    body = encode(LeaveJob(name)).encode()
    fail(world, body, KeyError())

    poison(world).receive(body, "sync-now")

    assert kept(world).body == body


def test_who_is_erased_while_their_message_is_kept_leaves_none_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(world, BODY, KeyError())
    save = world.poison.save

    def erased_first(poisoned: Poisoned, etag: Etag | None) -> Etag:
        monkeypatch.undo()
        assert world.services.departures.erase(USER, PROVIDER) is not None
        return save(poisoned, etag)

    monkeypatch.setattr(world.poison, "save", erased_first)

    poison(world).receive(BODY, "sync-now")

    assert poison(world).list() == []


def test_what_cannot_be_matched_is_kept_and_does_not_go_round_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    body = encode(LeaveJob(Ref("odd"))).encode()
    fail(world, body, KeyError())
    monkeypatch.setattr(world.departures, "find", raising(ValueError("made up")))

    poison(world).receive(body, "sync-now")

    assert kept(world).body == body
    assert world.queue.returned == []
    assert "poison.unmatched" in caplog.text


# The log


def test_every_arrival_is_told_and_no_body(world: World, caplog: pytest.LogCaptureFixture) -> None:
    poison(world).receive(BODY, "sync-now")
    fail(world, NOBODYS, UnreadableMessage())
    poison(world).receive(NOBODYS, "sync-later")

    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [json.loads(record.getMessage().partition(" ")[2]) for record in told] == [
        {"queue": "sync-now", "error": "killed", "redeferred": 1, "ref": REF},
        {"queue": "sync-later", "error": "UnreadableMessage", "redeferred": 0, "ref": ""},
    ]
    assert "canary" not in caplog.text
    assert "canary" not in repr(poison(world).list())


# Days on which nothing works


class Fallible:
    """A port of which one method, or every one, raises."""

    def __init__(self, port: object, name: str, error: Exception) -> None:
        self._port, self._name, self._error = port, name, error

    def __getattr__(self, name: str) -> Any:
        if self._name in {name, "everything that it does"}:
            return raising(self._error)
        return getattr(self._port, name)


def raising(error: Exception) -> Callable[..., Any]:
    def raises(*_: object, **__: object) -> Any:
        raise error

    return raises


PORTS = {
    "store": ("noted", "find", "save"),
    "connections": ("by_ref", "pending"),
    "departures": ("find",),
    "records": ("head", "put_head"),
    "queue": ("defer", "put_back"),
    "clock": ("__call__",),
}


def with_fault(made: Poison, port: str, method: str, error: Exception) -> Poison:
    if port == "clock":
        return replace(made, clock=raising(error))
    faulty: Any = Fallible(getattr(made, port), method, error)
    changes: dict[str, Any] = {port: faulty}
    return replace(made, **changes)


def faults() -> Iterator[tuple[str, str]]:
    for port, methods in PORTS.items():
        for method in (*methods, "everything that it does"):
            yield port, method


JOBS: list[Job] = [JOB, FinishJob(REF, GrantId("g")), StartJob(REF, NOW)]
bodies = (
    st.binary(max_size=200)
    | st.sampled_from([encode(job).encode() for job in JOBS])
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps({"form": 1, "kind": "chunk", "ref": value}).encode()
    )
)


@given(
    body=bodies,
    failed=st.booleans(),
    broken=st.lists(st.tuples(st.sampled_from(list(faults())), st.sampled_from(ERRORS))),
)
@settings(database=None, deadline=None, max_examples=300)
def test_nothing_raises_whatever_arrives_and_whatever_breaks(
    body: bytes, failed: object, broken: list[tuple[tuple[str, str], Exception]]
) -> None:
    world = a_world()
    if failed:
        fail(world, body, KeyError() if is_job(body) else UnreadableMessage())
    faulty = poison(world)
    for (port, method), error in broken:
        faulty = with_fault(faulty, port, method, error)

    faulty.receive(body, "sync-now")


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(("port", "method"), [*faults(), ("store", "nothing")])
@pytest.mark.parametrize("failed", [True, False], ids=["failed", "killed"])
def test_one_thing_that_breaks_loses_nothing(
    world: World, failed: object, port: str, method: str, error: Exception
) -> None:
    if failed:
        fail(world, BODY, KeyError())

    with_fault(poison(world), port, method, error).receive(BODY, "sync-now")

    returned = world.queue.returned == [(BODY, "sync-now", PAUSE)]
    stuck = [one for one in poison(world).list() if one.stuck]
    # Where a person sees it, back at work, or back in its queue.  Only where no queue takes
    # anything does the host have to keep the message, because it cannot delete it either.
    no_queue = (port, method) == ("queue", "everything that it does")
    assert stuck or world.queue.deferred or returned or no_queue


def is_job(body: bytes) -> bool:
    try:
        decode(body)
    except UnreadableMessage:
        return False
    return True


def test_what_was_put_back_is_dealt_with_once_storage_is_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(world, BODY, KeyError())
    with monkeypatch.context() as outage:
        outage.setattr(world.records, "put_head", raising(StorageDown("made up")))
        poison(world).receive(BODY, "sync-now")
    assert head(world).progress is Progress.RUNNING

    [(body, queue, _)] = world.queue.returned
    poison(world).receive(body, queue)

    assert head(world).progress is Progress.FAILED
    assert kept(world).count == 2


def test_a_head_that_can_never_be_written_does_not_go_round_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail(world, BODY, KeyError())
    monkeypatch.setattr(world.records, "put_head", raising(ValueError("made up")))

    poison(world).receive(BODY, "sync-now")

    assert world.queue.returned == []
    assert "poison.unmarked" in caplog.text


class KilledError(BaseException):
    """Ends a process, as far as our code can tell."""


@pytest.mark.parametrize(
    ("port", "method"),
    [(port, name) for port, names in PORTS.items() for name in names if port != "clock"],
)
@pytest.mark.parametrize("failed", [True, False], ids=["failed", "killed"])
def test_a_crash_between_any_two_effects_is_made_good_by_the_next_try(
    world: World, failed: object, port: str, method: str
) -> None:
    if failed:
        fail(world, BODY, KeyError())
    died: list[str] = []
    real = getattr(getattr(poison(world), port), method)

    def dies(*given: Any, **more: Any) -> None:
        real(*given, **more)
        died.append(method)
        raise KilledError

    doomed: Any = Fallible(getattr(poison(world), port), "", RuntimeError())
    setattr(doomed, method, dies)
    changes: dict[str, Any] = {port: doomed}
    try:
        replace(poison(world), **changes).receive(BODY, "sync-now")
    except KilledError:
        poison(world).receive(BODY, "sync-now")  # its lease has ended

    if failed:
        assert head(world).progress is Progress.FAILED
        assert kept(world).stuck
    else:
        # Once too often changes nothing.
        assert {job for job, _ in world.queue.deferred} == {JOB}


# What an operator does


def test_the_newest_comes_first(world: World) -> None:
    for minutes, body in enumerate([b"one", b"two", b"three"]):
        world.time = NOW + timedelta(minutes=minutes)
        poison(world).receive(body, "sync-now")

    assert [one.body for one in poison(world).list()] == [b"three", b"two", b"one"]


def test_a_replayed_message_carries_its_run_on(world: World) -> None:
    fail(world, BODY, KeyError())
    poison(world).receive(BODY, "sync-now")
    world.at(timedelta(hours=9))

    poison(world).replay(fingerprint(BODY))

    assert poison(world).list() == []
    assert world.poison.noted(fingerprint(BODY)) is None
    assert head(world) == a_head(touched_at=world.time, writer=None)
    assert world.queue.take() == [(JOB, timedelta(0))]


def test_a_replay_leaves_a_newer_run_alone(world: World) -> None:
    fail(world, BODY, KeyError())
    poison(world).receive(BODY, "sync-now")
    world.start()
    world.queue.take()
    before = head(world)

    poison(world).replay(fingerprint(BODY))

    assert head(world) == before
    assert world.queue.take() == [(JOB, timedelta(0))]


def test_a_replay_of_a_run_that_ended_otherwise_does_not_wake_it(world: World) -> None:
    fail(world, BODY, KeyError())
    poison(world).receive(BODY, "sync-now")
    ended = a_head(progress=Progress.FAILED, reason="request_rejected")
    world.records.put_head(world.place(), ended, world.records.head(world.place()).etag)

    poison(world).replay(fingerprint(BODY))

    assert head(world) == ended


@pytest.mark.parametrize("job", [FinishJob(REF, GrantId("g")), StartJob(REF, NOW), LOOK], ids=kind)
def test_jobs_without_a_run_are_replayed_as_well(world: World, job: Job) -> None:
    body = encode(job).encode()
    fail(world, body, KeyError())
    poison(world).receive(body, "sync-now")

    poison(world).replay(fingerprint(body))

    assert world.queue.take() == [(job, timedelta(0))]


def test_a_replay_of_what_nobody_can_read_says_so_and_keeps_it(world: World) -> None:
    poison(world).receive(NOBODYS, "sync-now")

    with pytest.raises(UnreadableMessage, match="drop it"):
        poison(world).replay(fingerprint(NOBODYS))
    assert kept(world).body == NOBODYS


@pytest.mark.parametrize("do", [Poison.replay, Poison.drop], ids=["replay", "drop"])
def test_what_is_not_kept_is_unknown(world: World, do: Callable[[Poison, str], None]) -> None:
    with pytest.raises(UnknownMessage):
        do(poison(world), fingerprint(BODY))


@pytest.mark.parametrize(
    ("port", "method"),
    [
        ("store", "forget"),
        ("connections", "by_ref"),
        ("records", "head"),
        ("records", "put_head"),
        ("queue", "defer"),
        ("store", "drop"),
    ],
)
def test_a_replay_that_stops_half_way_can_be_repeated(world: World, port: str, method: str) -> None:
    fail(world, BODY, KeyError())
    poison(world).receive(BODY, "sync-now")
    key = fingerprint(BODY)

    with pytest.raises(AppError):
        with_fault(poison(world), port, method, StorageDown("made up")).replay(key)
    assert kept(world).body == BODY
    poison(world).replay(key)

    assert poison(world).list() == []
    assert {job for job, _ in world.queue.take()} == {JOB}
    assert head(world).progress is Progress.RUNNING


def test_what_fails_again_while_it_is_replayed_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(world, BODY, KeyError())
    poison(world).receive(BODY, "sync-now")
    defer = world.queue.defer

    def fails_at_once(job: Job, delay: timedelta) -> None:
        defer(job, delay)
        fail(world, BODY, ValueError())
        poison(world).receive(BODY, "sync-now")

    monkeypatch.setattr(type(world.queue), "defer", lambda self, *given: fails_at_once(*given))
    poison(world).replay(fingerprint(BODY))

    assert (kept(world).error, kept(world).count) == ("ValueError", 2)


def test_a_message_that_is_dropped_is_gone(world: World) -> None:
    fail(world, BODY, KeyError())
    poison(world).receive(BODY, "sync-now")

    poison(world).drop(fingerprint(BODY))

    assert poison(world).list() == []
    assert world.poison.noted(fingerprint(BODY)) is None
    assert world.queue.deferred == []
