"""What a member asks about, and for, once connected: ``status`` and ``sync``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dev.simulator import Fault, Member
from shared.core.model import ChunkJob, Lane, Place, ProviderName, ResourceName, UserId
from tests.functions.world import RESOURCES, Browser, World, run

SYNC = "/providers/whoop/sync/"
STATUS = "/providers/whoop/status/"


@pytest.fixture
def member(world: World, ana: Browser) -> Member:
    """Ana's account, connected and brought up to date."""
    made = world.simulator.world.add_member(days=60)
    ana.connect(made)
    world.work()
    return made


@pytest.mark.parametrize(("method", "path"), [("GET", STATUS), ("POST", SYNC)])
@pytest.mark.parametrize("bearer", [None, "", "a.b.c"], ids=["none", "empty", "bad"])
def test_strangers_are_asked_to_sign_in(
    world: World, method: str, path: str, bearer: str | None
) -> None:
    answer = world.browser().call(method, path, bearer=bearer)

    assert (answer.status, answer.json["code"]) == (401, "unauthorized")


# Status


def test_a_member_who_never_connected_sees_an_empty_status(ana: Browser) -> None:
    status = ana.status()

    assert status["connection"] == {"status": "none"}
    assert status["run"] is None
    assert ana.progress() == dict.fromkeys(RESOURCES, "idle")
    assert {one["records"] for one in status["resources"]} == {0}


def test_the_status_follows_the_run(world: World, ana: Browser) -> None:
    ana.connect(world.simulator.world.add_member(days=60))
    before = ana.status()
    world.work()
    after = ana.status()

    assert before["run"]["state"] == "running"
    assert after["run"] == {**before["run"], "state": "finished"}
    assert {one["progress"] for one in after["resources"]} == {1.0}
    assert {one["resource"]: one["progress"] for one in before["resources"]} == {
        **dict.fromkeys(RESOURCES, 0.0),
        "profile": 1.0,
    }


def test_the_status_counts_what_is_in_the_raw_layer(
    world: World, ana: Browser, member: Member
) -> None:
    start = world.clock.now - timedelta(days=30)
    truth = world.simulator.truth(member.user_id, start, None)

    counts = {one["resource"]: one["records"] for one in ana.status()["resources"]}

    # The last page may bring more than the goal: records that straddle its start.
    assert counts == {resource: len(records) for resource, records in truth.items()}


def test_the_status_says_until_when_it_waits_and_why(world: World, ana: Browser) -> None:
    ana.connect(world.simulator.world.add_member(days=3))
    fault = Fault("/v2/cycle", status=429, headers={"X-RateLimit-Reset": "42"})
    world.simulator.add_fault(fault)
    for job, _ in world.queue.take():
        if isinstance(job, ChunkJob):
            run(job)

    cycle = ana.status()["resources"][0]
    assert (cycle["state"], cycle["reason"]) == ("waiting", "rate_limited")
    assert cycle["retry_at"] >= "2026-11-22T11:30:42.250Z"
    # Whoever asks after it is told the same by our own budget, without a request.
    deferred = world.queue.take()
    waiting = {job.resource for job, _ in deferred if isinstance(job, ChunkJob)}
    assert waiting == {*RESOURCES} - {"profile"}
    assert min(delay for _, delay in deferred) >= timedelta(seconds=41)
    assert [entry["status"] for entry in world.simulator.log if entry["kind"] == "data"][-1] == 429
    # They are back a moment early and wait for the rest on the spot; no request comes too soon.
    world.clock.move(41)
    run(next(job for job, _ in deferred if isinstance(job, ChunkJob) and job.resource == "sleep"))
    newest = world.simulator.log[-1]
    assert newest["status"] == 200
    assert newest["at"] >= "2026-11-22T11:30:42.250Z"


def test_a_member_sees_nothing_of_others(world: World, ana: Browser, member: Member) -> None:
    eve = world.browser("eve")

    assert eve.status()["connection"] == {"status": "none"}
    assert eve.progress() == dict.fromkeys(RESOURCES, "idle")


# Sync


def test_a_sync_is_accepted_and_leads_to_the_status(
    world: World, ana: Browser, member: Member
) -> None:
    world.clock.move(3_600)

    answer = ana.ask("POST", SYNC)

    assert answer.status == 202
    assert answer.json["status"] == STATUS
    assert ana.status()["run"]["id"] == answer.json["run"]
    assert ana.progress() == {
        **dict.fromkeys(RESOURCES, "running"),
        # Not asked for more often than once a week.
        "profile": "finished",
        "body_measurement": "finished",
    }
    world.work()
    assert ana.status()["run"]["state"] == "finished"


def test_somebody_waits_for_a_sync(world: World, ana: Browser, member: Member) -> None:
    ana.ask("POST", SYNC)

    assert {job.lane for job, _ in world.queue.take() if isinstance(job, ChunkJob)} == {Lane.MANUAL}


def test_while_a_run_is_active_the_same_call_joins_it(
    world: World, ana: Browser, member: Member
) -> None:
    world.clock.move(60)
    first = ana.ask("POST", SYNC).json["run"]
    jobs = len(world.queue.deferred)
    world.clock.move(60)

    assert ana.ask("POST", SYNC).json["run"] == first
    assert len(world.queue.deferred) == jobs
    world.work()
    world.clock.move(60)
    assert ana.ask("POST", SYNC).json["run"] != first


def test_the_first_run_can_be_joined(world: World, ana: Browser) -> None:
    ana.connect(world.simulator.world.add_member(days=3))

    answer = ana.ask("POST", SYNC)

    assert answer.status == 202
    assert answer.json["run"] == ana.status()["run"]["id"]


def asked_since(browser: Browser, day: str) -> str:
    body = f'{{"since": "{day}"}}'.encode()
    answer = browser.ask("POST", SYNC, body=body)
    assert answer.status == 202
    run: str = answer.json["run"]
    return run


def test_a_member_can_have_older_records_as_well(
    world: World, ana: Browser, member: Member
) -> None:
    day = (world.clock() - timedelta(days=50)).date()

    asked_since(ana, day.isoformat())
    lanes = {job.lane for job, _ in world.queue.deferred if isinstance(job, ChunkJob)}
    world.work()

    assert lanes == {Lane.BACKFILL}
    held = {one["resource"]: one["held"] for one in ana.status()["resources"]}
    assert held["sleep"]["start"] == f"{day.isoformat()}T00:00:00.000Z"
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    truth = world.simulator.truth(member.user_id, midnight, None)
    sleeps = Place(ProviderName("whoop"), UserId("ana"), ResourceName("sleep"))
    assert set(world.records.current(sleeps)) == {record["id"] for record in truth["sleep"]}


def test_a_run_that_is_active_is_made_to_reach_as_far(world: World, ana: Browser) -> None:
    ana.connect(world.simulator.world.add_member(days=60))
    day = (world.clock() - timedelta(days=45)).date().isoformat()

    assert asked_since(ana, day) == ana.status()["run"]["id"]
    world.work()

    held = {one["resource"]: one["held"] for one in ana.status()["resources"]}
    assert held["cycle"]["start"] == held["sleep"]["start"] == f"{day}T00:00:00.000Z"
    assert ana.status()["run"]["state"] == "finished"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"2024-01-31"',
        b'{"since": "yesterday"}',
        b'{"since": 20240131}',
        b'{"since": "2024-02-30"}',
        b'{"until": "2024-01-31"}',
        b'{"since": "2024-01-31", "user": "bea"}',
        b"\xff",
        b"[" * 5_000,
        b'{"since": "' + b" " * 2_000 + b'"}',
    ],
    ids=lambda body: ascii(body)[2:20],
)
def test_a_wish_that_makes_no_sense_is_told_what_would(
    ana: Browser, member: Member, body: bytes
) -> None:
    answer = ana.ask("POST", SYNC, body=body)

    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert '{"since": "2024-01-31"}' in answer.json["detail"]


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b'{"since": null}'])
def test_no_wish_is_the_usual(world: World, ana: Browser, member: Member, body: bytes) -> None:
    assert ana.ask("POST", SYNC, body=body).status == 202
    assert {job.lane for job, _ in world.queue.take() if isinstance(job, ChunkJob)} == {Lane.MANUAL}


def test_who_is_not_connected_has_nothing_to_sync(ana: Browser) -> None:
    answer = ana.ask("POST", SYNC)

    assert (answer.status, answer.json["code"]) == (409, "not_connected")
    assert "WHOOP" in answer.json["detail"]


def test_who_took_the_consent_back_has_to_connect_again(
    world: World, ana: Browser, member: Member
) -> None:
    world.simulator.revoke_tokens(member.user_id)
    world.clock.move(3_600)
    ana.ask("POST", SYNC)
    world.work()

    connection = ana.status()["connection"]
    assert (connection["status"], connection["reason"]) == ("parked", "reauth_required")
    assert connection["action"] == "reconnect"
    answer = ana.ask("POST", SYNC)
    assert (answer.status, answer.json["code"]) == (409, "not_connected")

    ana.connect(member)

    assert ana.status()["connection"]["status"] == "connected"
    world.work()
    assert set(ana.progress().values()) == {"finished"}


def test_an_outage_signs_nobody_out(world: World, ana: Browser, member: Member) -> None:
    world.clock.move(3_600)
    world.simulator.add_fault(Fault("/token", status=500))
    ana.ask("POST", SYNC)
    world.work()

    assert ana.status()["connection"]["status"] == "connected"
    assert {one["reason"] for one in ana.status()["resources"]} == {"provider_unavailable", None}
    world.simulator.clear_faults()
    ana.ask("POST", SYNC)
    world.work()
    assert set(ana.progress().values()) == {"finished"}


def test_an_hour_later_the_tokens_are_renewed_once(
    world: World, ana: Browser, member: Member
) -> None:
    world.clock.move(3_600)
    world.simulator.clear_log()
    ana.ask("POST", SYNC)
    world.work()

    assert [one["status"] for one in world.simulator.log if one["kind"] == "token"] == [200]
    assert set(ana.progress().values()) == {"finished"}
