from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.core.model import Progress, Status
from shared.errors import RateLimited, Rejected
from shared.provider import Trouble
from tests.builders import NOW, PROVIDER, USER, a_record
from tests.services.world import World


def test_the_list_names_every_provider() -> None:
    assert World().services.overview.list(None) == [{"id": "acme", "name": "Acme", "enabled": True}]


@pytest.mark.parametrize("trouble", list(Trouble))
def test_a_provider_in_trouble_says_why_it_is_disabled(trouble: Trouble) -> None:
    world = World()
    world.acme.trouble = trouble

    (entry,) = world.services.overview.list(None)

    assert (entry["enabled"], entry["reason"]) == (False, trouble.value)


def test_a_caller_sees_their_connection() -> None:
    world = World()
    assert world.services.overview.list(USER)[0]["connection"] == {"status": "none"}

    world.connect()

    assert world.services.overview.list(USER)[0]["connection"] == {
        "status": "connected",
        "since": "2026-03-31T12:00:00.000Z",
        "reason": None,
        "action": None,
        "missing_scopes": [],
    }


def test_before_anything_there_is_no_run() -> None:
    status = World().services.overview.status(USER, PROVIDER)

    assert status["run"] is None
    assert [entry["state"] for entry in status["resources"]] == ["idle", "idle"]
    assert [entry["progress"] for entry in status["resources"]] == [0.0, 0.0]


def test_a_finished_run_says_what_we_hold() -> None:
    world = World()
    world.acme.records = [
        a_record("a", start=NOW - timedelta(days=2)),
        a_record("b", start=NOW - timedelta(days=1)),
        a_record("c", start=NOW - timedelta(days=9)),
    ]
    world.connect()
    world.work()

    status = world.services.overview.status(USER, PROVIDER)

    goal = {"start": "2026-03-01T12:00:00.000Z", "end": "2026-03-31T12:00:00.000Z"}
    assert status["run"]["state"] == "finished"
    assert status["run"]["goal"] == goal
    assert status["resources"][0] == {
        "resource": "sleep",
        "state": "finished",
        "reason": None,
        "action": None,
        "retry_at": None,
        "progress": 1.0,
        "ends_at": None,
        "goal": goal,
        "held": goal,
        "last_sync_at": goal["end"],
        "records": 3,
        "versions": 3,
        "oldest": "2026-03-22T12:00:00.000Z",
        "newest": "2026-03-30T12:00:00.000Z",
        "days": [["2026-03-22", "2026-03-22"], ["2026-03-29", "2026-03-30"]],
    }
    assert status["resources"][1]["last_sync_at"] == "2026-03-31T12:00:00.000Z"


def test_a_waiting_run_says_until_when() -> None:
    world = World()
    world.connect()
    world.acme.script = [RateLimited(NOW + timedelta(hours=1))]
    world.services.run(world.chunk())

    status = world.services.overview.status(USER, PROVIDER)

    assert status["run"]["state"] == "waiting"
    assert status["resources"][0]["reason"] == "rate_limited"
    assert status["resources"][0]["retry_at"] > "2026-03-31T13:00:00"


def test_a_run_that_is_half_done_says_when_it_will_be_over() -> None:
    world = World()
    world.connect()
    world.acme.size = 1
    world.acme.records = [
        a_record("a", start=NOW - timedelta(days=15)),
        a_record("b", start=NOW - timedelta(days=20)),
    ]
    world.acme.script = [world.acme.truly, RateLimited(NOW + timedelta(hours=1))]
    world.services.run(world.chunk())
    world.time += timedelta(minutes=30)

    (sleep, profile) = world.services.overview.status(USER, PROVIDER)["resources"]

    retry_at = datetime.fromisoformat(sleep["retry_at"])
    assert datetime.fromisoformat(sleep["ends_at"]) == retry_at + timedelta(minutes=30)
    assert profile["ends_at"] is None


def test_a_run_is_running_while_any_resource_is() -> None:
    world = World()
    world.connect()

    assert world.services.overview.status(USER, PROVIDER)["run"]["state"] == "running"


def test_a_failed_resource_makes_a_failed_run() -> None:
    world = World()
    world.connect()
    world.acme.script = [Rejected("400")]
    world.work()

    status = world.services.overview.status(USER, PROVIDER)

    assert status["run"]["state"] == Progress.FAILED.value
    assert status["resources"][0]["reason"] == "request_rejected"


def test_a_parked_connection_says_what_to_do() -> None:
    world = World()
    world.connect()
    stored = world.connections.find(USER, PROVIDER)
    assert stored is not None
    parked = replace(stored.value, status=Status.PARKED, reason="reauth_required")
    world.connections.put(parked, stored.etag)

    connection = world.services.overview.status(USER, PROVIDER)["connection"]

    assert (connection["status"], connection["reason"]) == ("parked", "reauth_required")
    assert connection["action"] == "reconnect"
