from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.simulator.visitor import NOW, Visitor, Watch, a_simulator

PROFILE = "/v2/user/profile/basic"


@pytest.fixture
def visitor() -> Visitor:
    return Visitor(a_simulator(Watch()))


def post(visitor: Visitor, path: str, document: Any) -> TestResponse:
    return visitor.http.post(f"/control{path}", json=document)


def get(visitor: Visitor, path: str) -> Any:
    return visitor.http.get(f"/control{path}").get_json()


def test_it_is_well(visitor: Visitor) -> None:
    assert get(visitor, "/health") == {"ok": True}


def test_members_are_added_and_listed(visitor: Visitor) -> None:
    made = [
        post(visitor, "/members", {}).get_json(),
        post(visitor, "/members", {"days": 3, "collections": {"workout": 50}}).get_json(),
    ]

    assert get(visitor, "/members") == made
    assert list(visitor.simulator.world.members) == [one["user_id"] for one in made]
    assert set(made[0]) == {"user_id", "email", "first_name", "last_name", "days"}
    assert [one["days"] for one in made] == [30, 3]


def test_truth_and_minimum_are_those_of_the_simulator(visitor: Visitor) -> None:
    user_ids = [visitor.simulator.world.add_member(days=20).user_id for _ in range(2)]
    whole = f"user_id={user_ids[0]}"
    window = f"{whole}&start=2026-11-10T00:00:00Z&end={NOW.isoformat().replace('+', '%2B')}"
    start = NOW.replace(day=10, hour=0, minute=0, microsecond=0)

    simulator = visitor.simulator
    assert get(visitor, f"/truth?{whole}") == simulator.truth(user_ids[0], None, None)
    assert get(visitor, f"/truth?{whole}&start=&end=") == simulator.truth(user_ids[0], None, None)
    assert get(visitor, f"/truth?{window}") == simulator.truth(user_ids[0], start, NOW)
    assert get(visitor, f"/minimum?{window}&user_id={user_ids[1]}") == {
        "minimum_requests": simulator.minimum_requests(user_ids, start, NOW)
    }


def test_requests_are_listed_and_forgotten(visitor: Visitor) -> None:
    visitor.get(PROFILE, None)

    assert get(visitor, "/requests") == visitor.simulator.log
    assert len(visitor.simulator.log) == 1
    assert visitor.http.delete("/control/requests").get_json() == {"ok": True}
    assert get(visitor, "/requests") == []


def test_faults_are_added_and_cleared(visitor: Visitor) -> None:
    rule = {"path": "/profile/", "status": 429, "headers": {"X-RateLimit-Reset": "3"}, "times": 9}

    assert post(visitor, "/faults", rule).get_json() == {"rules": 1}
    assert visitor.get(PROFILE, None).headers["X-RateLimit-Reset"] == "3"
    assert visitor.http.delete("/control/faults").get_json() == {"ok": True}
    assert visitor.get(PROFILE, None).status_code == 401


def test_an_expired_token_can_be_renewed_and_a_revoked_one_cannot(visitor: Visitor) -> None:
    user_id = visitor.simulator.world.add_member(days=1).user_id
    tokens = visitor.connect(user_id)

    assert post(visitor, "/tokens/expire", {"user_id": user_id}).get_json() == {"grants": 1}
    assert visitor.get(PROFILE, tokens["access_token"]).status_code == 401
    tokens = visitor.renew(tokens["refresh_token"]).get_json()
    assert visitor.get(PROFILE, tokens["access_token"]).status_code == 200

    assert post(visitor, "/tokens/revoke", {"user_id": user_id}).get_json() == {"grants": 1}
    assert visitor.get(PROFILE, tokens["access_token"]).status_code == 401
    assert visitor.renew(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_the_clock_moves_on_for_everything(visitor: Visitor) -> None:
    user_id = visitor.simulator.world.add_member(days=1).user_id
    tokens = visitor.connect(user_id)

    answer = post(visitor, "/clock", {"advance_seconds": 3600}).get_json()

    assert answer == {"now": "2026-11-22T12:30:00.250Z"}
    assert visitor.simulator.world.now().hour == 12
    assert visitor.get(PROFILE, tokens["access_token"]).status_code == 401


def test_a_body_is_read_whatever_it_is_called(visitor: Visitor) -> None:
    answer = visitor.http.post(
        "/control/members",
        data=b'{"days": 4}',
        content_type="application/x-www-form-urlencoded",
    )

    assert answer.get_json()["days"] == 4


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/members", {"days": "3"}, 400),
        ("POST", "/members", {"days": True}, 400),
        ("POST", "/members", {"day": 3}, 400),
        ("POST", "/members", {"collections": [1]}, 400),
        ("POST", "/members", {"collections": {"steps": 1}}, 400),
        ("POST", "/members", [1], 400),
        ("POST", "/faults", {"path": "("}, 400),
        ("POST", "/faults", {}, 400),
        ("POST", "/clock", {"advance_seconds": -1}, 400),
        ("POST", "/clock", {"advance_seconds": "1"}, 400),
        ("POST", "/clock", {}, 400),
        ("POST", "/tokens/expire", {"user_id": 42}, 404),
        ("POST", "/tokens/revoke", {}, 400),
        ("GET", "/truth", None, 400),
        ("GET", "/truth?user_id=42", None, 404),
        ("GET", "/truth?user_id=x", None, 400),
        ("GET", "/minimum?user_id=42", None, 404),
        ("GET", "/minimum?start=2026-01-01", None, 400),
        ("GET", "/nothing", None, 404),
        ("PUT", "/members", {}, 405),
    ],
)
def test_what_cannot_be_done_is_said(
    visitor: Visitor, method: str, path: str, body: Any, status: int
) -> None:
    answer = visitor.http.open(f"/control{path}", method=method, json=body)

    assert answer.status_code == status
    assert answer.get_json()["error"]


def test_what_is_not_json_is_refused(visitor: Visitor) -> None:
    assert visitor.http.post("/control/members", data=b"{").status_code == 400


def test_a_body_has_an_end(visitor: Visitor) -> None:
    answer = visitor.http.post("/control/members", data=b" " * 2_000_000)

    assert answer.status_code == 413


def test_elsewhere_is_nothing(visitor: Visitor) -> None:
    assert visitor.http.get("/").status_code == 404
