from typing import Any

import pytest
from werkzeug.test import TestResponse

from dev.simulator import Rates
from tests.simulator.receiver import a_receiver
from tests.simulator.visitor import NOW, Visitor, Watch, a_simulator

PROFILE = "/v2/user/profile/basic"
SLEEP = {"user_id": 42, "resource": "sleep", "id": "123e4567-e89b-12d3-a456-426614174000"}


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


def test_days_go_by_and_say_what_happened(visitor: Visitor) -> None:
    user_id = visitor.simulator.world.add_member(days=10).user_id
    other = Visitor(a_simulator(Watch()))
    other.simulator.world.add_member(days=10)
    rates = {"delete": 1, "rescore": 1, "reach_days": 5}

    told = post(visitor, "/days", {"days": 3, "user_id": user_id, "rates": rates}).get_json()

    assert told["changes"] == other.simulator.live(3, rates=Rates(**rates))
    assert len(told["changes"]) >= 6
    assert told["now"] == "2026-11-25T11:30:00.250Z"
    assert len(get(visitor, f"/truth?user_id={user_id}")["cycle"]) == 13
    assert post(visitor, "/days", {}).get_json()["now"] == "2026-11-26T11:30:00.250Z"


def test_every_change_can_be_ordered(visitor: Visitor) -> None:
    members = [visitor.simulator.world.add_member(days=10) for _ in range(2)]
    user_id, token = members[0].user_id, visitor.connect(members[0].user_id)["access_token"]
    night = next(
        one
        for one in visitor.records("/v2/activity/sleep", token)
        if not one["nap"] and one["score_state"] == "SCORED"
    )

    def change(kind: str, **more: Any) -> Any:
        about = {"user_id": user_id, "resource": "sleep", "id": night["id"]} | more
        answer = post(visitor, "/changes", {"kind": kind} | about)
        assert answer.status_code == 200, answer.text
        record = answer.get_json()["record"]
        if record is not None:
            alone = visitor.get(f"/v2/activity/sleep/{record['id']}", token)
            assert alone.get_json() == record
        return record

    assert change("rescore")["score"] != night["score"]
    assert change("alter", announce=False)["score_state"] == "SCORED"
    assert change("edit", fields={"timezone_offset": "Z"})["timezone_offset"] == "Z"
    start, end = "2026-11-20T01:00:00.000Z", "2026-11-20T08:00:00.000Z"
    assert change("reschedule", start=start, end=end)["end"] == end
    assert change("delete") is None
    assert get(visitor, f"/deleted?user_id={user_id}") == visitor.simulator.deleted(user_id)
    assert change("recreate", updated="same")["start"] == start
    assert get(visitor, f"/deleted?user_id={user_id}")["sleep"] == []
    served = get(visitor, f"/served?user_id={user_id}")
    assert served == visitor.simulator.served(user_id)
    assert served["sleep"][night["id"]][0] == night
    assert len(served["sleep"][night["id"]]) == 5

    about: dict[str, Any] = {"user_id": user_id}
    assert post(visitor, "/changes", {"kind": "travel", "hours": -3, **about}).get_json() == {
        "record": None
    }
    for kind in ("add_nap", "add_workout"):
        made = post(visitor, "/changes", {"kind": kind, "minutes": 20, **about}).get_json()
        assert made["record"]["score_state"] == "SCORED"
    pending = next(
        one
        for one in members[1].records["sleep"]
        if (look := one.shown(NOW)) and look.document["score_state"] == "PENDING_SCORE"
    )
    about |= {"user_id": members[1].user_id, "resource": "sleep", "id": pending.id}
    scored = post(visitor, "/changes", {"kind": "score", **about}).get_json()["record"]
    assert scored["score_state"] == "SCORED"


def test_webhooks_are_directed_hurt_awaited_and_listed(visitor: Visitor) -> None:
    user_id = visitor.simulator.world.add_member(days=3).user_id
    visitor.connect(user_id)
    with a_receiver() as receiver:
        told = post(visitor, "/webhooks/urls", {"urls": [receiver.url]}).get_json()
        assert told == {"urls": [receiver.url]}

        post(visitor, "/changes", {"kind": "add_workout", "user_id": user_id})
        event: dict[str, Any] = {"user_id": 1, "type": "steps.updated"}
        event |= {"id": "x", "trace_id": "y"}
        assert post(visitor, "/webhooks", event).get_json() == {"ok": True}
        assert post(visitor, "/webhooks/drain", {"timeout": 5}).get_json() == {"drained": True}
        assert event in receiver.events
        assert get(visitor, "/webhooks") == visitor.simulator.webhooks.log
        assert len(get(visitor, "/webhooks")) == 2

        assert visitor.http.delete("/control/webhooks").get_json() == {"ok": True}
        post(visitor, "/webhooks/mishaps", {"lose": 1})
        post(visitor, "/changes", {"kind": "add_nap", "user_id": user_id})
        assert [one["state"] for one in get(visitor, "/webhooks")] == ["lost"]
        assert visitor.http.delete("/control/webhooks/mishaps").get_json() == {"ok": True}
        post(visitor, "/changes", {"kind": "add_nap", "user_id": user_id})
        assert post(visitor, "/webhooks/drain", {}).get_json() == {"drained": True}
        assert [one["state"] for one in get(visitor, "/webhooks")] == ["lost", "delivered"]

        load = {"rate": 100, "seconds": 0.1, "connections": 2, "timeout": 2, "edits": 0.5}
        blasted = post(visitor, "/webhooks/blast", load).get_json()
        assert blasted["statuses"] == {"204": 10}
        again = post(visitor, "/webhooks/blast", load | {"url": receiver.url}).get_json()
        assert again["sent"] == 10


def test_waiting_for_webhooks_keeps_nobody_else_waiting() -> None:
    visitor = Visitor(a_simulator(Watch()))
    user_id = visitor.simulator.world.add_member(days=3).user_id
    token = visitor.connect(user_id)["access_token"]
    asked: list[int] = []

    def ask_back(_: Any) -> int:
        # As an app does that fetches the record while the webhook is still being answered.
        asked.append(visitor.get("/v2/cycle", token).status_code)
        return 204

    with a_receiver() as receiver:
        receiver.answer = ask_back
        post(visitor, "/webhooks/urls", {"urls": [receiver.url]})
        post(visitor, "/changes", {"kind": "add_workout", "user_id": user_id})
        assert post(visitor, "/webhooks/drain", {}).get_json() == {"drained": True}
        log = get(visitor, "/webhooks")

    assert asked == [200]
    assert [one["state"] for one in log] == ["delivered"]


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
        ("GET", "/deleted?user_id=42", None, 404),
        ("GET", "/served?user_id=42", None, 404),
        ("POST", "/days", {"days": -1}, 400),
        ("POST", "/days", {"days": 1.5}, 400),
        ("POST", "/days", {"user_id": 42}, 404),
        ("POST", "/days", {"user_id": "42"}, 400),
        ("POST", "/days", {"rates": {"steal": 1}}, 400),
        ("POST", "/changes", {}, 400),
        ("POST", "/changes", {"kind": "member"}, 400),
        ("POST", "/changes", {"kind": ["score"]}, 400),
        ("POST", "/changes", {"kind": "delete", "user_id": 1}, 400),
        ("POST", "/changes", SLEEP | {"kind": "delete"}, 404),
        ("POST", "/changes", SLEEP | {"kind": "delete", "start": "x"}, 400),
        ("POST", "/changes", SLEEP | {"kind": "delete", "resource": "steps"}, 400),
        ("POST", "/changes", SLEEP | {"kind": "delete", "id": 3}, 400),
        ("POST", "/changes", SLEEP | {"kind": "delete", "announce": 0}, 400),
        ("POST", "/changes", SLEEP | {"kind": "edit", "fields": []}, 400),
        ("POST", "/changes", SLEEP | {"kind": "recreate", "updated": "older"}, 400),
        ("POST", "/changes", SLEEP | {"kind": "reschedule", "start": "2026-11-20"}, 400),
        ("POST", "/changes", {"kind": "travel", "user_id": 1, "hours": "3"}, 400),
        ("POST", "/webhooks", {}, 400),
        ("POST", "/webhooks", {"user_id": 1, "type": "sleep.updated", "id": 3}, 400),
        ("POST", "/webhooks/urls", {}, 400),
        ("POST", "/webhooks/urls", {"urls": [3]}, 400),
        ("POST", "/webhooks/urls", {"urls": ["nowhere"]}, 400),
        ("POST", "/webhooks/mishaps", {"lose": 2}, 400),
        ("POST", "/webhooks/drain", {"timeout": -1}, 400),
        ("POST", "/webhooks/drain", {"timeout": "1"}, 400),
        ("POST", "/webhooks/blast", {"rate": 0}, 400),
        ("POST", "/webhooks/blast", {"url": 3}, 400),
        ("POST", "/webhooks/blast", {}, 400),
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
