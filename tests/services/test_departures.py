"""Disconnecting and erasing: at any time, through any crash, and with nothing left behind."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.core import backoff
from shared.core.codec import encode
from shared.core.depart import depart
from shared.core.model import (
    AccountId,
    ChunkJob,
    FinishJob,
    LeaveJob,
    Misfit,
    Pending,
    Progress,
    Ref,
    Secret,
    Status,
    UserId,
)
from shared.departures import LATE, PATIENCE, PAUSE, RESUME_AFTER, REVOKE_FOR
from shared.erasure import CLAIM
from shared.errors import (
    AccountDeactivated,
    Busy,
    ConnectRefused,
    GrantDead,
    LostRace,
    NeverConnected,
    NotConnected,
    ProviderError,
    RateLimited,
    Rejected,
    StorageDown,
    TokenRejected,
    Unavailable,
)
from shared.ports import Poisoned, Receipt, SealPlace
from shared.provider import Trouble
from tests.builders import ACCOUNT, NOW, PROVIDER, USER, a_connection, a_document, a_record
from tests.services.world import BROWSER, World

MINUTE = timedelta(minutes=1)
OTHER = UserId("bea")


@pytest.fixture
def world() -> World:
    """A member whose records are all here."""
    world = World()
    world.acme.records = [a_record(f"r{n}", start=NOW - timedelta(days=n)) for n in range(1, 4)]
    world.connect()
    world.work()
    return world


def disconnect(world: World) -> None:
    world.services.departures.disconnect(USER, PROVIDER)


def erase(world: World) -> Receipt | None:
    return world.services.departures.erase(USER, PROVIDER)


def status(world: World, user: UserId = USER) -> str:
    said: str = world.services.overview.status(user, PROVIDER)["connection"]["status"]
    return said


def leavings(world: World) -> list[object]:
    """Return all rows that are about the member, whatever leads to them."""
    records, connections = world.records, world.connections
    tables = (records.versions, records.feed, records.aliases, records.quarantined)
    return [
        *(place for place in records._heads.rows if place.user == USER),
        *(
            place
            for table in tables
            for place, rows in table.items()
            if rows and place.user == USER
        ),
        *(key for key in connections._connections.rows if key[0] == USER),
        *(ref for ref, owner in connections._refs.items() if owner[0] == USER),
        *(ref for ref in connections._held if ref not in connections._refs),
        *(key for key, one in connections._pending.items() if one.user == USER),
        *(key for key, (owner, _) in connections._accounts.items() if owner == USER),
        *(key for key, owner in world.once._owners.items() if owner[0] == USER),
    ]


# Disconnecting


def test_who_disconnects_keeps_the_records_and_gives_the_grant_back(world: World) -> None:
    before = world.connection()

    disconnect(world)

    after = world.connection()
    assert (after.status, after.account) == (Status.DISCONNECTED, ACCOUNT)
    assert after.ref != before.ref
    assert (after.grant.access.text, after.grant.refresh.text) == ("", "")
    assert world.acme.revocations == 1
    assert world.held() == {"r1", "r2", "r3"}
    assert status(world) == "disconnected"
    assert world.services.overview.status(USER, PROVIDER)["connection"] == {
        "status": "disconnected",
        "since": "2026-03-31T12:01:00.000Z",
        "reason": None,
        "action": "reconnect",
        "missing_scopes": [],
    }


def test_a_departure_is_over_once_everything_is_done(world: World) -> None:
    disconnect(world)

    world.work()

    assert world.departures._rows.rows == {}
    assert world.acme.revocations == 1


def test_disconnecting_twice_is_disconnecting_once(world: World) -> None:
    disconnect(world)
    after = world.connection()

    disconnect(world)

    assert world.connection() == after
    assert world.acme.revocations == 1


def test_who_never_connected_has_nothing_to_disconnect_or_erase() -> None:
    with pytest.raises(NeverConnected):
        disconnect(World())
    with pytest.raises(NeverConnected):
        erase(World())


@pytest.mark.parametrize("trouble", Trouble)
def test_a_provider_that_is_switched_off_keeps_nobody(world: World, trouble: Trouble) -> None:
    world.acme.trouble = trouble
    disconnect(world)
    assert status(world) == "disconnected"
    assert world.acme.revocations == 0

    world.acme.trouble = None
    world.work()

    assert world.acme.revocations == 1


def test_queued_jobs_become_no_ops(world: World) -> None:
    world.start()
    jobs = world.queue.take()
    assert {type(job) for job, _ in jobs} == {ChunkJob}
    disconnect(world)
    world.queue.take()
    asked = len(world.acme.asked)

    for job, _ in jobs:
        world.services.run(job)

    assert len(world.acme.asked) == asked
    assert world.queue.deferred == []
    head = world.records.head(world.place()).value
    assert (head.progress, head.reason) == (Progress.FAILED, "disconnected")
    assert world.services.overview.status(USER, PROVIDER)["run"]["state"] == "failed"


@pytest.mark.parametrize("leave", [disconnect, erase])
def test_a_job_that_is_at_work_stops_at_its_next_page(
    world: World, leave: Callable[[World], object]
) -> None:
    world.at(timedelta(days=9))
    world.acme.records += [a_record(f"n{n}", start=NOW + timedelta(hours=n)) for n in range(60)]
    world.start()
    asked: list[int] = []

    def answer_while_they_leave(question: object) -> object:
        leave(world)
        asked.append(len(world.acme.asked))
        return world.acme.truly(question)  # type: ignore[arg-type]

    world.acme.script = [answer_while_they_leave]  # type: ignore[list-item]

    world.services.run(world.chunk())

    assert len(world.acme.asked) == asked[0]
    head = world.records.head(world.place()).value
    assert head.progress is not Progress.RUNNING
    if leave is erase:
        assert leavings(world) == []


def test_the_night_gives_them_no_turn(world: World) -> None:
    disconnect(world)
    world.work()

    world.services.nightly.run(world.time)

    assert world.queue.deferred == []


def test_sync_now_asks_them_to_connect_again(world: World) -> None:
    disconnect(world)

    with pytest.raises(NotConnected):
        world.start()


def test_who_comes_back_carries_on_where_they_were(world: World) -> None:
    before, head = world.connection(), world.records.head(world.place()).value
    disconnect(world)
    world.work()
    world.at(timedelta(days=1))
    world.acme.records.append(a_record("new", start=world.time - timedelta(hours=1)))

    world.connect()
    world.work()

    after = world.connection()
    assert after.status is Status.CONNECTED
    assert after.ref not in {before.ref, world.connection().grant.id}
    assert world.connections.listed(after.ref) is not None
    assert world.connections.listed(before.ref) is None
    grown = world.records.head(world.place()).value
    assert (grown.generation, grown.seq) == (head.generation, head.seq + 1)
    assert "new" in world.held()


def test_who_comes_back_in_the_middle_of_a_run_gets_a_new_one(world: World) -> None:
    world.start()
    disconnect(world)
    world.at(timedelta(seconds=5))

    world.connect()
    world.work()

    assert world.records.head(world.place()).value.progress is Progress.FINISHED
    assert world.connection().status is Status.CONNECTED
    assert world.acme.revocations == 1


@pytest.mark.parametrize("trouble", [StorageDown("503"), KeyboardInterrupt()], ids=repr)
def test_who_comes_back_before_a_run_was_ended_does_not_wait_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: BaseException
) -> None:
    world.at(timedelta(days=1))
    world.start()

    def fail(*_: object) -> None:
        raise trouble

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(world.connections, "drop_ref", fail)
        disconnect(world)
    world.at(timedelta(seconds=5))
    began = world.time

    world.connect()
    while chunks := [entry for entry in world.queue.deferred if isinstance(entry[0], ChunkJob)]:
        world.queue.deferred.remove(chunks[0])
        world.services.run(chunks[0][0])

    assert world.time - began < MINUTE
    assert world.records.head(world.place()).value.progress is Progress.FINISHED
    world.work()
    assert world.connection().status is Status.CONNECTED


def test_another_account_on_top_of_the_records_is_refused(world: World) -> None:
    disconnect(world)
    world.acme.document = a_document(account=AccountId("777"))

    with pytest.raises(ConnectRefused, match="different_account"):
        world.connect()

    assert status(world) == "disconnected"


def test_the_account_of_records_that_stay_is_nobody_elses(world: World) -> None:
    disconnect(world)
    world.at(timedelta(days=1))

    with pytest.raises(ConnectRefused, match="account_in_use"):
        world.connect(OTHER)


def test_a_dead_token_keeps_nobody(world: World) -> None:
    world.at(timedelta(hours=2))
    world.acme.token_script = [GrantDead("invalid_grant")]
    world.start()
    world.work()
    assert status(world) == "parked"
    world.acme.token_script = [GrantDead("invalid_grant")]

    disconnect(world)
    world.work()

    assert status(world) == "disconnected"
    assert world.acme.revocations == 0
    assert world.departures._rows.rows == {}


@pytest.mark.parametrize("reason", ["account_in_use", "different_account"])
def test_a_grant_of_somebody_elses_account_is_not_given_back(world: World, reason: str) -> None:
    stored = world.connections.find(USER, PROVIDER)
    assert stored is not None
    parked = replace(stored.value, status=Status.PARKED, reason=reason)
    world.connections.put(parked, stored.etag)

    disconnect(world)
    world.work()

    assert world.acme.revocations == 0


def test_who_is_still_connecting_can_leave() -> None:
    world = World()
    world.acme.document = Unavailable("500")
    world.connect()
    assert status(world) == "connecting"

    disconnect(world)
    world.acme.document = a_document()
    world.work()

    assert status(world) == "disconnected"
    assert not world.connections.any_pending(USER, PROVIDER)
    assert list(world.connections.everyone()) == []
    assert world.acme.revocations == 1


def test_who_is_still_connecting_again_can_leave(world: World) -> None:
    disconnect(world)
    world.work()
    world.acme.document = Unavailable("500")
    world.connect()
    assert status(world) == "connecting"

    disconnect(world)
    world.acme.document = a_document()
    world.work()

    assert status(world) == "disconnected"
    assert world.acme.revocations == 2


@pytest.mark.parametrize("later", [timedelta(0), timedelta(milliseconds=1)])
def test_consent_that_was_given_before_leaving_does_not_connect_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch, later: timedelta
) -> None:
    state = world.consent()
    admit = type(world.services.connections)._admit

    def leave_first(*arguments: object) -> None:
        monkeypatch.undo()
        world.time -= later  # another host, whose clock differs
        disconnect(world)
        world.time += later
        admit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("shared.connections.Connections._admit", leave_first)

    world.answer(state)
    world.work()

    assert status(world) == "disconnected"
    assert list(world.connections.everyone()) == []


# Giving the grant back


def test_an_expired_token_is_renewed_first_and_the_new_pair_kept_before_it_is_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at(timedelta(hours=2))
    name = world.connection().departure
    kept: list[str] = []
    revoke = world.acme.revoke

    def look(access: object) -> None:
        stored = world.departures.find(name)
        assert stored is not None
        assert stored.value.grant is not None
        owner = replace(world.connection(), grant=stored.value.grant)
        from shared.renewal import open_access

        kept.append(open_access(world.cipher, owner).reveal())
        revoke(access)  # type: ignore[arg-type]

    monkeypatch.setattr(world.acme, "revoke", look)

    disconnect(world)

    assert (world.acme.renewals, kept) == (1, ["access-1"])
    assert world.acme.access == "revoked"


def test_a_token_that_is_refused_before_its_time_is_renewed_once(world: World) -> None:
    world.acme.revoke_script = [TokenRejected("401")]

    disconnect(world)

    assert (world.acme.renewals, world.acme.revocations) == (1, 2)
    assert world.acme.access == "revoked"


def test_two_refused_tokens_in_a_row_are_a_grant_that_is_over(world: World) -> None:
    world.acme.revoke_script = [TokenRejected("401"), TokenRejected("401")]

    disconnect(world)
    world.work()

    assert world.acme.revocations == 2
    assert world.departures._rows.rows == {}


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("503"),
        RateLimited(NOW + timedelta(minutes=30)),
        Rejected("400"),
        AccountDeactivated("403"),
    ],
)
def test_a_provider_that_fails_is_asked_again_later(world: World, error: ProviderError) -> None:
    world.acme.revoke_script = [error] * 3
    disconnect(world)
    assert status(world) == "disconnected"

    world.work()

    assert world.acme.revocations == 4
    assert world.acme.access == "revoked"
    assert world.departures._rows.rows == {}


def test_after_a_day_the_provider_is_asked_no_more(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.acme.revoke_script = [Unavailable("503")] * 1_000
    disconnect(world)
    left = world.time

    world.work(limit=500)

    assert REVOKE_FOR - timedelta(hours=1) < world.time - left < timedelta(hours=24)
    assert 20 < world.acme.revocations < 200
    assert world.departures._rows.rows == {}
    assert "revocation.given_up" in caplog.text


def test_a_missing_key_is_waited_for(world: World) -> None:
    world.acme.revoke_script = [Unavailable("503")]
    disconnect(world)
    opened = dict(world.cipher._secrets)
    world.cipher.forget()
    ((job, _),) = world.queue.take()

    world.services.run(job)

    assert len(world.queue.deferred) == 1
    world.cipher._secrets.update(opened)
    world.work()
    assert world.acme.access == "revoked"


def test_a_newer_grant_of_the_same_account_is_left_alone(world: World) -> None:
    world.acme.revoke_script = [Unavailable("503")]
    disconnect(world)
    world.at(timedelta(seconds=5))

    world.connect()
    world.work()

    assert world.acme.revocations == 1
    assert world.connection().status is Status.CONNECTED
    assert world.departures._rows.rows == {}


def test_a_member_who_is_just_connecting_again_is_waited_for(world: World) -> None:
    world.acme.revoke_script = [Unavailable("503")]
    disconnect(world)
    world.at(timedelta(seconds=5))
    world.acme.document = Unavailable("500")
    world.connect()
    (job,) = [job for job, _ in world.queue.deferred if isinstance(job, LeaveJob)]

    world.services.run(job)

    assert world.acme.revocations == 1
    world.acme.document = a_document()
    world.work()
    assert world.acme.revocations == 1
    assert world.connection().status is Status.CONNECTED


def test_an_erased_members_account_may_be_anothers_by_then(world: World) -> None:
    world.acme.revoke_script = [Unavailable("503")]
    erase(world)
    world.at(timedelta(seconds=5))

    world.connect(OTHER)
    world.work()

    assert world.acme.revocations == 1
    assert world.connection(OTHER).status is Status.CONNECTED
    assert leavings(world) == []


def test_another_account_of_the_same_member_does_not_keep_the_old_grant(world: World) -> None:
    world.acme.revoke_script = [Unavailable("503")]
    erase(world)
    world.at(timedelta(seconds=5))
    world.acme.document = a_document(account=AccountId("777"))
    for record in range(3):
        world.acme.records[record] = replace(world.acme.records[record], account=AccountId("777"))

    world.connect()
    world.work()

    assert world.acme.revocations == 2
    assert world.connection().account == "777"


def test_a_member_who_leaves_while_their_token_is_renewed_gives_the_new_pair_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at(timedelta(hours=2))
    ref, renew = world.connection().ref, world.acme.renew

    def renew_while_they_leave(refresh: object) -> object:
        monkeypatch.undo()
        grant = renew(refresh)  # type: ignore[arg-type]
        disconnect(world)
        assert world.acme.revocations == 0
        return grant

    monkeypatch.setattr(world.acme, "renew", renew_while_they_leave)

    with pytest.raises(Busy):
        world.services.slices.tokens.use(ref, lambda access: access)
    world.work()

    assert (world.acme.renewals, world.acme.revocations) == (1, 1)
    assert world.acme.access == "revoked"


# Erasing


def test_erasing_leaves_nothing_and_gives_a_receipt_of_nobody(world: World) -> None:
    versions = len(world.records.versions[world.place()])
    world.records.quarantine(world.place(), [Misfit("odd", "{}")], now=NOW)

    receipt = erase(world)

    assert leavings(world) == []
    assert status(world) == "none"
    assert receipt is not None
    assert receipt.at == world.time
    assert receipt.rows == {
        # A version and its number, and a head for each resource.
        "records": 2 * versions + 2 + 2,
        "quarantine": 1,
        "refs": 1,
        "accounts": 1,
        "links": 2,
        "connections": 1,
    }
    assert world.departures.receipts == {receipt.id: receipt}
    assert world.acme.access == "revoked"


def test_an_erasure_is_over_once_nobody_can_be_late_any_more(world: World) -> None:
    erase(world)
    began = world.time

    world.work()

    assert world.time - began >= LATE
    assert world.departures._rows.rows == {}
    assert leavings(world) == []
    assert len(world.departures.receipts) == 1


def test_what_a_late_worker_leaves_behind_goes_too(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    erase(world)
    world.records.quarantine(world.place(), [Misfit("odd", "{}")], now=NOW)
    world.records.put_head(world.place(), world.records.head(world.place()).value, None)

    world.work()

    assert leavings(world) == []
    assert "erasure.late_rows" in caplog.text


def test_what_a_late_worker_leaves_behind_stays_with_who_has_come_back(world: World) -> None:
    erase(world)
    world.connect()

    world.work()

    assert world.held() == {"r1", "r2", "r3"}
    assert world.connection().status is Status.CONNECTED


def test_coming_back_after_an_erasure_starts_clean(world: World) -> None:
    before, head = world.connection(), world.records.head(world.place()).value
    erase(world)
    world.work()
    world.at(timedelta(days=1))
    world.acme.document = a_document(account=AccountId("777"))
    world.acme.records = [a_record("x", start=NOW, account=AccountId("777"))]

    world.connect()
    world.work()

    after, new = world.connection(), world.records.head(world.place()).value
    assert after.account == "777"
    assert after.ref != before.ref
    assert after.former == ()
    assert new.seq == 1
    assert new.generation != head.generation
    assert world.held() == {"x"}


def test_what_was_kept_after_leaving_can_be_erased_later(world: World) -> None:
    disconnect(world)
    world.work()

    assert erase(world) is not None

    assert leavings(world) == []
    assert world.acme.revocations == 1


def test_a_connection_that_is_just_being_made_can_be_erased() -> None:
    world = World()
    world.acme.document = Unavailable("500")
    world.connect()

    receipt = erase(world)
    world.acme.document = a_document()
    world.work()

    assert receipt is not None
    assert "connections" not in receipt.rows
    assert leavings(world) == []
    assert world.acme.revocations == 1


def test_erasing_twice_finds_nothing_the_second_time(world: World) -> None:
    erase(world)

    with pytest.raises(NeverConnected):
        erase(world)


def test_others_keep_everything(world: World) -> None:
    world.acme.document = a_document(account=AccountId("777"))
    world.acme.records = [a_record("b", start=NOW, account=AccountId("777"))]
    world.connect(OTHER)
    world.work()
    ref = world.connection(OTHER).ref

    erase(world)
    world.work()

    assert world.connection(OTHER).status is Status.CONNECTED
    assert set(world.records.current(world.place(user=OTHER))) == {"b"}
    assert world.connections.owner(PROVIDER, AccountId("777")) == OTHER
    assert world.connections.listed(ref) is not None


def test_messages_that_were_kept_go_with_the_connection(world: World) -> None:
    mine, others = LeaveJob(world.connection().ref), LeaveJob(Ref("somebody-else"))
    bodies = [encode(mine).encode(), encode(others).encode(), b"nobody can read this"]
    for number, body in enumerate(bodies):
        world.poison.save(Poisoned(str(number), body, "sync-now", "KeyError", NOW), None)
    world.poison.note("0", "KeyError", at=NOW)

    receipt = erase(world)

    assert receipt is not None
    assert receipt.rows["messages"] == 1
    assert {one.key for one in world.poison.everything()} == {"1", "2"}
    assert world.poison.noted("0") is None


def test_an_erasure_that_takes_long_is_finished_by_jobs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase_some = world.records.erase

    def slowly(user: UserId, provider: object, *, most: int) -> object:
        world.at(timedelta(seconds=8))
        return erase_some(user, provider, most=3)  # type: ignore[arg-type]

    monkeypatch.setattr(world.records, "erase", slowly)

    assert erase(world) is None
    assert status(world) == "erasing"
    assert world.services.overview.status(USER, PROVIDER)["connection"]["action"] is None
    ticket = world.services.connections.ticket(USER, PROVIDER, BROWSER)
    with pytest.raises(ConnectRefused, match="erasing"):
        world.services.connections.begin(ticket.secret, PROVIDER, BROWSER)
    with pytest.raises(NotConnected):
        world.start()
    world.work()

    assert leavings(world) == []
    (receipt,) = world.departures.receipts.values()
    assert receipt.rows["records"] == 10
    assert receipt.rows["connections"] == 1
    assert world.acme.access == "revoked"


def test_nobody_connects_while_they_are_erased(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = world.consent()
    with monkeypatch.context() as patch:
        patch.setattr(world.records, "erase", _down)
        assert erase(world) is None

    with pytest.raises(ConnectRefused, match=r"erasing|expired_link"):
        world.answer(state)

    assert not world.connections.any_pending(USER, PROVIDER)
    assert status(world) == "erasing"
    world.at(CLAIM)
    assert erase(world) is not None
    assert leavings(world) == []


@pytest.mark.parametrize("unfinished", [False, True], ids=["at once", "by the job"])
def test_who_is_erased_while_their_code_is_traded_stays_away(
    world: World, monkeypatch: pytest.MonkeyPatch, *, unfinished: bool
) -> None:
    state = world.consent()
    redeem = world.acme.redeem

    def erase_first(code: Secret) -> object:
        monkeypatch.undo()
        assert erase(world) is not None
        return redeem(code)

    monkeypatch.setattr(world.acme, "redeem", erase_first)
    if unfinished:
        with monkeypatch.context() as patch:
            patch.setattr("shared.connections.Connections._finish", _down)
            world.answer(state)
    else:
        with pytest.raises(ConnectRefused, match="erasing"):
            world.answer(state)

    world.work()
    assert leavings(world) == []
    assert status(world) == "none"


def test_asking_twice_at_once_erases_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Receipt | None] = []
    erase_links = world.once.erase

    def ask_again(user: UserId, provider: object) -> int:
        monkeypatch.undo()
        answers.append(erase(world))
        return erase_links(user, provider)  # type: ignore[arg-type]

    monkeypatch.setattr(world.once, "erase", ask_again)

    receipt = erase(world)

    assert answers == [None]
    assert receipt is not None
    assert world.departures.receipts == {receipt.id: receipt}


def test_disconnecting_while_being_erased_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(world.records, "erase", _down)
        erase(world)

    disconnect(world)

    assert status(world) == "erasing"
    world.work()
    assert leavings(world) == []


def test_what_waits_while_a_member_is_erased_is_erased_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(world.records, "erase", _down)
        erase(world)
    erasing = world.connection()
    world.connections.put_pending(Pending(USER, PROVIDER, Ref("late"), a_connection().grant))

    disconnect(world)

    assert world.connection() == erasing
    world.work()
    assert leavings(world) == []


def test_a_job_that_finishes_a_connection_finds_its_member_being_erased(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(world.records, "erase", _down)
        erase(world)
    access = world.cipher.seal(Secret("access-9"), SealPlace(USER, PROVIDER, "access"))
    grant = replace(a_connection().grant, access=access)
    pending = Pending(USER, PROVIDER, Ref("late"), grant)
    world.connections.put_pending(pending)

    world.services.run(FinishJob(pending.ref, pending.grant.id, attempt=backoff.MAX_ATTEMPTS))

    assert not world.connections.any_pending(USER, PROVIDER)
    assert status(world) == "erasing"


def unfinished() -> tuple[World, FinishJob]:
    """Return a member whose grant waits for the profile, and the job that will ask for it."""
    world = World()
    world.acme.document = Unavailable("500")
    world.connect()
    ((job, _),) = world.queue.take()
    assert isinstance(job, FinishJob)
    world.acme.document = a_document()
    world.at(MINUTE)
    return world, job


@pytest.mark.parametrize("when", ["fetch", "claim_account", "pending", "put"])
@pytest.mark.parametrize("leave", [disconnect, erase])
def test_who_leaves_while_their_connection_is_finished_stays_away(
    leave: Callable[[World], object], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, job = unfinished()
    owner = world.acme if when == "fetch" else world.connections
    method = getattr(owner, when)
    # The job looks for the grant once before it asks, and once before it writes.
    looks = iter([False]) if when == "pending" else iter([])

    def leave_first(*given: object, **more: object) -> object:
        if next(looks, True):
            monkeypatch.undo()
            leave(world)
        return method(*given, **more)

    monkeypatch.setattr(owner, when, leave_first)

    world.services.run(job)

    assert status(world) == ("none" if leave is erase else "disconnected")
    assert list(world.connections.everyone()) == []
    assert ChunkJob not in {type(job) for job, _ in world.queue.deferred}
    assert world.records.head(world.place()).etag is None
    world.work()
    assert world.acme.access == "revoked"
    assert world.departures._rows.rows == {}
    if leave is erase:
        assert leavings(world) == []
        assert len(world.departures.receipts) == 1


@pytest.mark.parametrize("leave", [disconnect, erase])
def test_who_leaves_once_the_row_is_written_ends_as_they_asked(
    leave: Callable[[World], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, job = unfinished()
    put = world.connections.put

    def leave_after(*given: object) -> object:
        monkeypatch.undo()
        etag = put(*given)  # type: ignore[arg-type]
        leave(world)
        return etag

    monkeypatch.setattr(world.connections, "put", leave_after)

    world.services.run(job)
    world.work()

    assert status(world) == ("none" if leave is erase else "disconnected")
    assert list(world.connections.everyone()) == []
    assert world.acme.access == "revoked"
    if leave is erase:
        assert leavings(world) == []


def test_storage_that_fails_before_the_intent_is_written_is_told(world: World) -> None:
    world.queue.down = True

    for leave in (disconnect, erase):
        with pytest.raises(StorageDown):
            leave(world)

    assert status(world) == "connected"


def test_a_row_that_changes_too_often_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.connections, "put", _lose)

    for leave in (disconnect, erase):
        with pytest.raises(LostRace):
            leave(world)


def test_a_change_in_between_is_no_reason_to_fail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, losses = world.connections.put, [1, 2]

    def lose_twice(*arguments: object) -> object:
        if losses:
            losses.pop()
            raise LostRace("made up")
        return put(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.connections, "put", lose_twice)

    disconnect(world)

    assert status(world) == "disconnected"


# Jobs


def test_a_departure_that_never_was_is_forgotten_in_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(world.connections, "put", _die)
        with pytest.raises(KeyboardInterrupt):
            disconnect(world)
    began = world.time

    world.work()

    assert world.time - began >= PATIENCE
    assert world.departures._rows.rows == {}
    assert world.connection().status is Status.CONNECTED
    assert world.acme.revocations == 0


def test_a_storage_that_is_down_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    disconnect(world)
    ((job, delay),) = world.queue.take()
    assert delay == RESUME_AFTER
    with monkeypatch.context() as patch:
        patch.setattr(world.departures, "find", _down)
        world.services.run(job)

    assert world.queue.deferred == [(job, PAUSE)]


def test_an_erasure_whose_departure_was_lost_is_taken_up_by_asking_again(world: World) -> None:
    stored = world.connections.find(USER, PROVIDER)
    assert stored is not None
    left = depart(
        stored.value, Status.ERASING, departure=Ref("lost"), ref=Ref("new"), at=world.time
    )
    world.connections.put(left, stored.etag)

    assert erase(world) is not None

    assert leavings(world) == []


def test_a_job_of_a_departure_that_is_over_does_nothing(world: World) -> None:
    world.services.run(LeaveJob(Ref("long over")))

    assert world.queue.deferred == []


def test_an_eraser_that_died_is_waited_for_and_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(world.once, "erase", _die)
        with pytest.raises(KeyboardInterrupt):
            erase(world)
    ((job, delay),) = world.queue.take()
    world.at(delay)

    world.services.run(job)

    ((again, wait),) = world.queue.deferred
    assert again == job
    assert delay + wait >= CLAIM
    world.work()
    assert leavings(world) == []


def test_tokens_of_members_who_left_are_swept_after_a_day(world: World) -> None:
    world.acme.revoke_script = [Unavailable("503")] * 1_000
    disconnect(world)
    name = world.connection().departure
    world.queue.take()  # its job is lost

    world.services.cleanup.run(world.at(timedelta(hours=22)))
    assert world.departures.find(name) is not None
    world.services.cleanup.run(world.at(timedelta(hours=2)))

    assert world.departures.find(name) is None


# Crashes


class Died(BaseException):
    """The process was killed."""


PORTS = {
    "connections": ("find", "put", "drop", "drop_ref", "drop_pending", "waiting", "erase"),
    "departures": ("find", "save", "drop", "keep"),
    "records": ("head", "put_head", "erase"),
    "once": ("erase",),
    "queue": ("defer",),
    "acme": ("revoke",),
}


def mortal(world: World, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Kill the process just before its call number ``at``, or just after the one before."""
    calls = itertools.count()

    def wrap(method: Callable[..., object]) -> Callable[..., object]:
        def called(*arguments: object, **options: object) -> object:
            if next(calls) == at:
                raise Died
            return method(*arguments, **options)

        return called

    for port, names in PORTS.items():
        for name in names:
            owner = getattr(world, port)
            monkeypatch.setattr(owner, name, wrap(getattr(owner, name)))


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in the middle of a run"])
@pytest.mark.parametrize("leave", [disconnect, erase])
def test_a_crash_at_any_call_ends_well(
    leave: Callable[[World], object],
    busy: bool,  # noqa: FBT001 - a parameter of tests
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[str] = []
    for call in itertools.count():
        world = World()
        world.acme.records = [a_record("a", start=NOW - timedelta(days=1))]
        world.connect()
        world.work()
        if busy:
            world.start()
        died = False
        with monkeypatch.context() as patch:
            mortal(world, patch, call)
            try:
                leave(world)
            except Died:
                died = True
        if not died:
            break

        world.work()

        ends.append(status(world))
        assert world.departures._rows.rows == {}
        assert world.queue.deferred == []
        if ends[-1] == "connected":
            assert world.acme.revocations == 0
            assert world.records.head(world.place()).value.progress is Progress.FINISHED
        else:
            assert world.acme.access == "revoked"
            assert list(world.connections.everyone()) == []
        if ends[-1] == "none":
            assert leavings(world) == []
            assert len(world.departures.receipts) == 1
        if ends[-1] == "disconnected":
            assert world.held() == {"a"}
            progress = world.records.head(world.place()).value.progress
            assert progress is (Progress.FAILED if busy else Progress.FINISHED)
    other = "none" if leave is erase else "disconnected"
    # Before the intent is written everything stays, from then on everything goes.
    assert ends == sorted(ends, key=["connected", other].index)
    assert set(ends) == {"connected", other}
    assert len(ends) > 12


@pytest.mark.parametrize("before", ["connecting", "disconnected"])
@pytest.mark.parametrize("leave", [disconnect, erase])
def test_a_crash_ends_well_without_a_connection_too(
    leave: Callable[[World], object], before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[str] = []
    for call in itertools.count():
        world = World()
        world.acme.records = [a_record("a", start=NOW - timedelta(days=1))]
        world.acme.document = Unavailable("500") if before == "connecting" else a_document()
        world.connect()
        if before == "disconnected":
            world.work()
            disconnect(world)
            world.work()
        assert status(world) == before
        world.acme.document = a_document()
        died = False
        with monkeypatch.context() as patch:
            mortal(world, patch, call)
            try:
                leave(world)
            except Died:
                died = True
        if not died:
            break

        world.work()

        ends.append(status(world))
        assert world.departures._rows.rows == {}
        assert not world.connections.any_pending(USER, PROVIDER)
        if ends[-1] == "none":
            assert world.acme.access == "revoked"
            if leave is disconnect:
                # Nobody asked for more, and whoever does gets it.
                with suppress(NeverConnected):
                    erase(world)
                world.services.cleanup.run(world.at(timedelta(hours=3)))
            assert leavings(world) == []
    stayed = "connected" if before == "connecting" else "disconnected"
    left = "none" if leave is erase else "disconnected"
    assert set(ends) <= {stayed, left, "none"}
    assert ends[-1] == left if len(ends) > 2 else before == "disconnected"


@pytest.mark.parametrize("call", range(40))
def test_a_crash_of_the_job_is_made_good_by_its_message(
    call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.acme.records = [a_record("a", start=NOW - timedelta(days=1))]
    world.connect()
    world.work()
    with monkeypatch.context() as patch:
        patch.setattr(world.records, "erase", _die)
        with pytest.raises(KeyboardInterrupt):
            erase(world)
    ((job, _),) = world.queue.take()
    world.at(CLAIM)
    with monkeypatch.context() as patch:
        mortal(world, patch, call)
        with suppress(Died):
            world.services.run(job)

    # The queue hands the message of a killed worker out again.
    world.at(timedelta(minutes=10))
    world.services.run(job)
    world.work()

    assert leavings(world) == []
    assert world.acme.access == "revoked"
    assert len(world.departures.receipts) == 1
    assert world.departures._rows.rows == {}


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _down(*_: object, **__: object) -> None:
    raise StorageDown("503")


def _lose(*_: object) -> None:
    raise LostRace("made up")
