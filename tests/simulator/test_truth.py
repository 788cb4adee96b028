import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest

from dev.simulator import UnknownMember
from tests.simulator.visitor import COLLECTIONS, NOW, Visitor, Watch, a_simulator

DOCUMENTS = {
    "profile": "/v2/user/profile/basic",
    "body_measurement": "/v2/user/measurement/body",
}


def fingerprint(document: Any) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize("days_back", [None, 200, 30, 3])
@pytest.mark.parametrize("days_to", [None, 0, 2])
def test_the_truth_is_what_reading_everything_brings(
    days_back: int | None, days_to: int | None
) -> None:
    visitor = Visitor(a_simulator(Watch()))
    start = None if days_back is None else NOW - timedelta(days=days_back)
    end = None if days_to is None else NOW - timedelta(days=days_to)
    query = {"start": start and start.isoformat(), "end": end and end.isoformat()}
    window = {name: text for name, text in query.items() if text}
    for _ in range(3):
        member = visitor.simulator.world.add_member(days=60)
        token = visitor.connect(member.user_id)["access_token"]
        truth = visitor.simulator.truth(member.user_id, start, end)

        for resource, path in COLLECTIONS.items():
            records = visitor.records(path, token, limit=25, **window)
            assert [
                (str(one.get("id") or one["cycle_id"]), one["updated_at"], fingerprint(one))
                for one in records
            ] == [(one["id"], one["updated_at"], one["hash"]) for one in truth[resource]]
            if resource != "recovery":
                assert [one["start"] for one in records] == [
                    one["start"] for one in truth[resource]
                ]
        for name, path in DOCUMENTS.items():
            document = visitor.get(path, token).get_json()
            assert truth[name] == [
                {"id": name, "updated_at": None, "hash": fingerprint(document), "start": None}
            ]


def test_the_minimum_is_what_a_perfect_client_needs() -> None:
    visitor = Visitor(a_simulator(Watch()))
    world = visitor.simulator.world
    members = [
        world.add_member(days=30),
        world.add_member(days=0),
        world.add_member(days=80, collections={"workout": 75, "sleep": 0}),
        world.add_member(days=5, collections={"body_measurement": 0}),
    ]
    start = NOW - timedelta(days=30)
    window = {"start": start.isoformat(), "end": NOW.isoformat()}

    for member in members:
        token = visitor.connect(member.user_id)["access_token"]
        for path in DOCUMENTS.values():
            visitor.get(path, token)
        for path in COLLECTIONS.values():
            visitor.records(path, token, limit=25, **window)

    user_ids = [member.user_id for member in members]
    assert visitor.simulator.minimum_requests(user_ids, start, NOW) == len(visitor.simulator.log)


def test_an_empty_member_costs_seven_requests() -> None:
    simulator = a_simulator()

    assert simulator.minimum_requests([simulator.world.add_member(0).user_id], None, None) == 7
    assert simulator.minimum_requests([], None, None) == 0


def test_a_stranger_has_no_truth() -> None:
    with pytest.raises(UnknownMember):
        a_simulator().truth(42, None, None)


def test_the_log_says_who_asked_what_and_keeps_no_secret() -> None:
    visitor = Visitor(a_simulator(Watch()))
    user_id = visitor.simulator.world.add_member(days=30).user_id
    visitor.look()
    tokens = visitor.connect(user_id)
    renewed = visitor.renew(tokens["refresh_token"]).get_json()
    access = renewed["access_token"]
    page = visitor.get("/v2/cycle", access, limit=10, start="2026-01-01T00:00:00Z").get_json()
    visitor.get(
        "/v2/cycle",
        access,
        limit=10,
        start="2026-01-01T00:00:00Z",
        nextToken=page["next_token"],
        access_token=access,
    )
    visitor.get("/v2/cycle", tokens["access_token"])
    visitor.call("DELETE", "/v2/user/access", access)
    visitor.get("/v2/cycle", "made-up")

    log = visitor.simulator.log
    assert [(one["kind"], one["method"], one["status"], one["user_id"]) for one in log] == [
        ("token", "POST", 200, user_id),
        ("token", "POST", 200, user_id),
        ("data", "GET", 200, user_id),
        ("data", "GET", 200, user_id),
        ("data", "GET", 401, user_id),
        ("revoke", "DELETE", 204, user_id),
        ("data", "GET", 401, None),
    ]
    assert log[2] == {
        "at": "2026-11-22T11:30:00.250Z",
        "method": "GET",
        "path": "/developer/v2/cycle",
        "query": {"limit": "10", "start": "2026-01-01T00:00:00Z"},
        "status": 200,
        "user_id": user_id,
        "kind": "data",
        "operation": "cycles",
    }
    assert log[3]["query"]["nextToken"].startswith("#")
    written = json.dumps(log)
    for secret in (*tokens.values(), *renewed.values(), page["next_token"], "its-secret"):
        if isinstance(secret, str) and len(secret) > 8 and " " not in secret:
            assert secret not in written

    visitor.simulator.clear_log()
    assert visitor.simulator.log == []
