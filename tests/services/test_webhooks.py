"""What becomes of a message between its arrival and the queue."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from shared import webhooks
from shared.core.model import AccountId, Connection, LookJob, ProviderName, RecordId, Status
from shared.errors import StorageDown, TooLarge, Unsigned
from shared.ports import Stored
from shared.webhooks import LARGEST, REMEMBERED
from tests.builders import NOW, PROVIDER, REF, USER, a_connection
from tests.services.nights import RECOVERY, SIGNED, SLEEP, WAITS, WORKOUT, Told


@pytest.fixture
def told() -> Told:
    return Told()


def receive(told: Told, body: bytes, headers: dict[str, str] = SIGNED) -> None:
    told.services.webhooks.receive(told.nights, headers, body)


def counted(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.__dict__.get("event") == name]


def test_what_is_said_is_on_the_queue_and_nobody_was_asked(told: Told) -> None:
    receive(told, told.say(WORKOUT, "w1", gone=True, trace="t"))

    [(job, delay)] = told.queue.take()
    assert job == LookJob(
        told.connection().ref,
        WORKOUT,
        RecordId("w1"),
        alias=False,
        gone=True,
        at=told.time,
        key="t workout w1 True",
    )
    assert delay == timedelta(0)
    assert told.nights.looked == []
    assert told.nights.renewals == 0


def test_it_waits_for_what_is_said_along_with_it(told: Told) -> None:
    receive(told, told.say(SLEEP, "s1"))
    receive(told, told.say(RECOVERY, "s1", alias=True))

    assert [delay for _, delay in told.queue.take()] == [WAITS[SLEEP], WAITS[RECOVERY]]


@pytest.mark.parametrize("name", ["x-acme", "X-ACME"])
def test_the_names_of_headers_have_no_case(told: Told, name: str) -> None:
    receive(told, told.say(SLEEP, "s1"), {name: "signed"})

    assert len(told.looks()) == 1


def test_what_nobody_has_signed_is_refused_and_counted(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Unsigned):
        receive(told, told.say(SLEEP, "s1"), {"x-acme": "forged"})

    assert told.queue.deferred == []
    [alarm] = counted(caplog, "webhook.forged")
    assert alarm.levelno == logging.WARNING


def test_what_is_too_long_is_not_even_read(
    told: Told, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(told, b"x" * LARGEST)
    monkeypatch.delattr("tests.services.world.Acme.hear")
    with pytest.raises(TooLarge):
        receive(told, b"x" * (LARGEST + 1))

    assert told.queue.deferred == []
    assert len(counted(caplog, "webhook.too_large")) == 1


def test_what_makes_no_sense_is_accepted_and_counted(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    receive(told, b"something new")

    assert told.queue.deferred == []
    [record] = counted(caplog, "webhook.ignored")
    assert record.__dict__["reason"] == "unknown_type"


def from_somebody_else(told: Told) -> bytes:
    body = told.say(SLEEP, "s1")
    told.nights.said[body] = replace(told.nights.said[body], account=AccountId("99"))
    return body


@pytest.mark.parametrize("status", [None, Status.PARKED, Status.CONNECTING])
def test_what_is_about_nobody_that_we_serve_is_accepted_and_counted(
    told: Told, caplog: pytest.LogCaptureFixture, status: Status | None
) -> None:
    caplog.set_level(logging.INFO)
    if status is not None:
        made = a_connection(user=type(USER)("eve"), account=AccountId("99"), status=status)
        told.connections.claim_account(PROVIDER, AccountId("99"), made.user, now=NOW)
        told.connections.put(made, None)

    receive(told, from_somebody_else(told))

    assert told.queue.deferred == []
    assert len(counted(caplog, "webhook.unknown_account")) == 1


def test_who_connects_a_moment_later_is_heard_at_once(told: Told) -> None:
    body = from_somebody_else(told)
    receive(told, body)
    made = a_connection(user=type(USER)("eve"), account=AccountId("99"))
    told.connections.claim_account(PROVIDER, AccountId("99"), made.user, now=NOW)
    told.connections.put(made, None)

    receive(told, body)

    assert [job.ref for job in told.looks()] == [REF]


def test_of_a_burst_the_first_one_finds_out_whose_it_is(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds: list[AccountId] = []
    by_account = told.connections.by_account

    def find(provider: ProviderName, account: AccountId) -> Stored[Connection] | None:
        finds.append(account)
        return by_account(provider, account)

    monkeypatch.setattr(told.connections, "by_account", find)
    for _ in range(5):
        receive(told, told.say(SLEEP, "s1"))
    assert len(finds) == 1

    told.time += REMEMBERED
    receive(told, told.say(SLEEP, "s1"))

    assert len(finds) == 2
    assert len({job.ref for job in told.looks()}) == 1
    assert len(told.looks()) == 6


def test_who_has_connected_again_is_soon_heard_under_the_new_ref(told: Told) -> None:
    told.tell(WORKOUT, "w-0")
    old = told.connection().ref
    told.services.departures.disconnect(USER, PROVIDER)
    told.connect()
    told.queue.take()

    told.time += timedelta(seconds=5)
    told.nights.change(WORKOUT, "w-0")
    told.tell(WORKOUT, "w-0")

    assert [job.ref for job in told.looks()] == [told.connection().ref]
    assert told.connection().ref != old
    told.work()
    assert told.alive()[WORKOUT] == told.true()[WORKOUT]


def test_no_more_accounts_are_remembered_than_there_is_room_for(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MOST", 3)
    for number in range(8):
        user, account = type(USER)(f"user-{number}"), AccountId(str(number))
        made = a_connection(user=user, account=account, ref=type(REF)(f"ref-{number}"))
        told.connections.claim_account(PROVIDER, account, user, now=NOW)
        told.connections.put(made, None)
        body = told.say(SLEEP, "s1")
        told.nights.said[body] = replace(told.nights.said[body], account=account)
        receive(told, body)

    assert [job.ref for job in told.looks()] == [f"ref-{number}" for number in range(8)]
    assert len(told.services.webhooks._refs) <= 3


def test_what_could_not_be_queued_was_not_taken(told: Told) -> None:
    told.queue.down = True

    with pytest.raises(StorageDown):
        receive(told, told.say(SLEEP, "s1"))
