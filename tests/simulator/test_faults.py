import json
from typing import Any

import pytest

from dev.simulator import Fault
from tests.simulator.visitor import Visitor, Watch, a_simulator

PROFILE = "/v2/user/profile/basic"


class Scene:
    def __init__(self) -> None:
        self.watch = Watch()
        self.slept: list[float] = []
        self.simulator = a_simulator(self.watch, sleep=self.slept.append)
        self.visitor = Visitor(self.simulator)
        self.user_id = self.simulator.world.add_member(days=30).user_id
        self.tokens = self.visitor.connect(self.user_id)
        self.simulator.clear_log()

    def get(self, path: str = PROFILE, **query: Any) -> Any:
        return self.visitor.get(path, self.tokens["access_token"], **query)

    def statuses(self, count: int, path: str = PROFILE) -> list[int]:
        return [self.get(path).status_code for _ in range(count)]


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503])
def test_any_status_can_be_ordered_and_is_logged(scene: Scene, status: int) -> None:
    scene.simulator.add_fault(Fault("/profile/", status=status, times=2))

    assert scene.statuses(3) == [status, status, 200]
    assert [one["status"] for one in scene.simulator.log] == [status, status, 200]
    assert {one["user_id"] for one in scene.simulator.log} == {scene.user_id}


def test_a_rule_concerns_its_path_only(scene: Scene) -> None:
    scene.simulator.add_fault(Fault(r"/v2/cycle$", status=500))

    assert scene.get("/v2/cycle").status_code == 500
    assert scene.get("/v2/recovery").status_code == 200


def test_a_rule_holds_for_its_seconds(scene: Scene) -> None:
    scene.simulator.add_fault(Fault("/profile/", status=503, seconds=10))

    assert scene.statuses(2) == [503, 503]
    scene.watch.move(10)
    assert scene.statuses(1) == [200]


def test_a_rule_without_measure_holds_until_cleared(scene: Scene) -> None:
    scene.simulator.add_fault(Fault(".", status=500))

    assert scene.statuses(5) == [500] * 5
    scene.simulator.clear_faults()
    assert scene.statuses(1) == [200]


def test_the_oldest_rule_goes_first(scene: Scene) -> None:
    scene.simulator.add_fault(Fault("/profile/", status=500, times=1))
    scene.simulator.add_fault(Fault("/profile/", status=404, times=1))

    assert scene.statuses(3) == [500, 404, 200]


def test_an_ordered_429_brings_the_headers_it_was_given(scene: Scene) -> None:
    scene.simulator.add_fault(
        Fault("/profile/", status=429, headers={"X-RateLimit-Reset": "3"}, times=1)
    )

    answer = scene.get()

    assert answer.get_json() == {"message": "Too Many Requests"}
    assert answer.headers.getlist("X-RateLimit-Reset") == ["3"]
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert "window=60" in answer.headers["X-RateLimit-Limit"]


def test_a_body_can_be_ordered(scene: Scene) -> None:
    scene.simulator.add_fault(
        Fault("/v2/cycle", status=403, body='{"error":"deactivated_user"}', times=1)
    )
    scene.simulator.add_fault(Fault("/v2/cycle", status=502, body="<html>", times=1))

    json_answer, text_answer = scene.get("/v2/cycle"), scene.get("/v2/cycle")

    assert json_answer.get_json() == {"error": "deactivated_user"}
    assert (text_answer.text, text_answer.mimetype) == ("<html>", "text/plain")


def test_a_made_up_answer_has_no_effect(scene: Scene) -> None:
    scene.simulator.add_fault(Fault("/token", status=500, times=1))

    assert scene.visitor.renew(scene.tokens["refresh_token"]).status_code == 500
    assert scene.visitor.renew(scene.tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("how", [{"broken": True}, {"cut": True}, {"delay": 30}])
def test_a_lost_answer_has_taken_effect(scene: Scene, how: dict[str, Any]) -> None:
    scene.simulator.add_fault(Fault("/token", times=1, **how))

    scene.visitor.renew(scene.tokens["refresh_token"])

    assert scene.get().status_code == 401
    assert scene.visitor.renew(scene.tokens["refresh_token"]).status_code == 400


def test_a_slow_answer_comes_whole(scene: Scene) -> None:
    scene.simulator.add_fault(Fault("/profile/", delay=2.5, times=1))

    assert scene.get().get_json()["user_id"] == scene.user_id
    scene.get()
    assert scene.slept == [2.5]


def test_broken_json_comes_with_200(scene: Scene) -> None:
    scene.simulator.add_fault(Fault(".", broken=True, times=2))

    for path in ("/v2/cycle", "/v2/nothing"):
        answer = scene.get(path)
        assert (answer.status_code, answer.mimetype) == (200, "application/json")
        assert int(answer.headers["Content-Length"]) == len(answer.data)
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            json.loads(answer.data)


def test_a_cut_answer_promises_more_than_it_sends(scene: Scene) -> None:
    scene.simulator.add_fault(Fault("/v2/cycle", cut=True, times=1))

    answer = scene.get("/v2/cycle")

    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) > len(answer.data) > 0


def test_a_cursor_can_be_made_to_repeat(scene: Scene) -> None:
    scene.simulator.add_fault(Fault("/v2/cycle", repeat_cursor=True, times=1))
    first = scene.get("/v2/cycle").get_json()

    second = scene.get("/v2/cycle", nextToken=first["next_token"]).get_json()
    again = scene.get("/v2/cycle", nextToken=first["next_token"]).get_json()

    assert second["next_token"] == first["next_token"] != again["next_token"]
    assert second["records"] == again["records"]


def test_a_repeated_cursor_leaves_other_answers_alone(scene: Scene) -> None:
    scene.simulator.add_fault(Fault(".", repeat_cursor=True))

    assert scene.get(nextToken="x").get_json()["user_id"] == scene.user_id
    assert scene.get("/v2/cycle", nextToken="x").status_code == 400


def test_a_cursor_can_be_made_to_be_refused(scene: Scene) -> None:
    scene.simulator.add_fault(Fault("/v2/cycle", refuse_cursor=True, times=1))
    first = scene.get("/v2/cycle")
    cursor = first.get_json()["next_token"]

    assert first.status_code == 200
    assert scene.get("/v2/cycle", nextToken=cursor).status_code == 400
    assert scene.get("/v2/cycle", nextToken=cursor).status_code == 200


@pytest.mark.parametrize(
    "rule",
    [
        None,
        [],
        {},
        {"path": 3},
        {"path": "("},
        {"path": ".", "staus": 500},
        {"path": ".", "status": "500"},
        {"path": ".", "status": 100},
        {"path": ".", "times": 0},
        {"path": ".", "times": True},
        {"path": ".", "seconds": 0},
        {"path": ".", "delay": -1},
        {"path": ".", "delay": 10_000},
        {"path": ".", "cut": 1},
        {"path": ".", "headers": {"A": "b\r\nC: d"}},
        {"path": ".", "headers": {"A": 1}},
        {"path": ".", "body": {}},
    ],
)
def test_an_impossible_rule_is_refused(rule: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Fault.from_json(rule)


def test_latency_comes_with_every_answer_but_the_page_and_the_control_api() -> None:
    slept: list[float] = []
    visitor = Visitor(a_simulator(sleep=slept.append, latency=0.25))
    user_id = visitor.simulator.world.add_member(days=1).user_id
    token = visitor.connect(user_id)["access_token"]
    visitor.simulator.add_fault(Fault("/profile/", delay=1, times=1))

    visitor.get(PROFILE, token)
    visitor.http.get("/control/health")

    assert slept == [0.25, 1.25]
