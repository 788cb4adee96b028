from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from dev.simulator import Fault, UnknownMember, UnknownRecord
from tests.simulator.test_truth import fingerprint
from tests.simulator.visitor import COLLECTIONS, NOW, Visitor, Watch, a_simulator

MINUTE = timedelta(minutes=1)
PATHS = {
    "cycle": "/v2/cycle/{}",
    "recovery": "/v2/cycle/{}/recovery",
    "sleep": "/v2/activity/sleep/{}",
    "workout": "/v2/activity/workout/{}",
}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def key(record: dict[str, Any]) -> str:
    return str(record.get("id") or record["cycle_id"])


class Scene:
    """One connected member, seen through the API only."""

    def __init__(self, index: int = 0, **about: Any) -> None:
        self.watch = Watch()
        self.simulator = a_simulator(self.watch)
        self.changes = self.simulator.changes
        self.visitor = Visitor(self.simulator)
        world = self.simulator.world
        self.user_id = [world.add_member(**about).user_id for _ in range(index + 1)][-1]
        self.token = self.visitor.connect(self.user_id)["access_token"]

    def get(self, resource: str, identity: Any) -> Any:
        return self.visitor.get(PATHS[resource].format(identity), self.token)

    def all(self, resource: str, **query: Any) -> list[dict[str, Any]]:
        return self.visitor.records(COLLECTIONS[resource], self.token, limit=25, **query)

    def ids(self, resource: str, **query: Any) -> list[str]:
        return [key(record) for record in self.all(resource, **query)]

    def some(self, resource: str, nth: int = 0) -> dict[str, Any]:
        """A scored record; of sleeps, a night."""
        return [
            record
            for record in self.all(resource)
            if record["score_state"] == "SCORED" and not record.get("nap")
        ][nth]

    def recovery_of(self, sleep: dict[str, Any]) -> dict[str, Any]:
        return next(one for one in self.all("recovery") if one["sleep_id"] == sleep["id"])


@pytest.fixture
def scene() -> Scene:
    return Scene(days=30)


def test_a_late_score_comes_with_its_recovery_and_a_new_updated_at() -> None:
    scene = Scene(index=1, days=10)
    waiting = scene.all("sleep")[0]
    assert waiting["score_state"] == "PENDING_SCORE"
    before = scene.recovery_of(waiting)

    after = scene.changes.score(scene.user_id, "sleep", waiting["id"])

    assert scene.get("sleep", waiting["id"]).get_json() == after
    for old, new in ((waiting, after), (before, scene.recovery_of(waiting))):
        assert new["score_state"] == "SCORED"
        assert new["score"]
        assert new["created_at"] == old["created_at"]
        assert moment(old["updated_at"]) < moment(new["updated_at"]) == NOW
    # What was going to score it anyway does not come on top.
    scene.watch.move(6 * 3600)
    scene.token = scene.visitor.connect(scene.user_id)["access_token"]
    assert scene.get("sleep", waiting["id"]).get_json() == after


@pytest.mark.parametrize("resource", COLLECTIONS)
def test_a_rescore_changes_score_and_updated_at_only(scene: Scene, resource: Any) -> None:
    before = scene.some(resource, 2)

    scene.changes.rescore(scene.user_id, resource, key(before))

    after = scene.get(resource, key(before)).get_json()
    assert {name for name in after if after[name] != before[name]} == {"score", "updated_at"}
    assert moment(after["updated_at"]) == NOW
    assert after in scene.all(resource)


def test_a_recovery_without_a_score_is_stamped_with_its_sleep() -> None:
    scene = Scene(index=1, days=10)
    night = scene.all("sleep")[0]
    scene.changes.score(scene.user_id, "recovery", str(night["cycle_id"]))
    scene.changes.edit(
        scene.user_id, "recovery", str(night["cycle_id"]), {"score_state": "UNSCORABLE"}
    )
    scene.changes.edit(scene.user_id, "recovery", str(night["cycle_id"]), {"score": None})
    scene.changes.score(scene.user_id, "sleep", night["id"])
    before = scene.recovery_of(night)

    scene.changes.rescore(scene.user_id, "sleep", night["id"])

    after = scene.recovery_of(night)
    assert after == before | {"updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]


@pytest.mark.parametrize("resource", COLLECTIONS)
def test_an_alteration_leaves_updated_at_as_it_was(scene: Scene, resource: Any) -> None:
    before = scene.some(resource)

    scene.changes.alter(scene.user_id, resource, key(before))

    after = scene.get(resource, key(before)).get_json()
    assert {name for name in after if after[name] != before[name]} == {"score"}


@pytest.mark.parametrize("resource", COLLECTIONS)
def test_many_scores_in_a_row_stay_where_whoop_says_and_always_differ(
    scene: Scene, resource: Any
) -> None:
    identity, seen = key(scene.some(resource)), set()
    stamps = []
    for _ in range(60):
        record = scene.changes.rescore(scene.user_id, resource, identity)
        seen.add(fingerprint(record["score"]))
        stamps.append(record["updated_at"])
        for name, highest in {"strain": 21, "recovery_score": 100}.items():
            assert 0 <= record["score"].get(name, 0) <= highest
        for name in ("sleep_performance_percentage", "sleep_consistency_percentage"):
            assert 0 <= (record["score"].get(name) or 0) <= 100

    assert len(seen) == 60
    assert len(set(stamps)) == 60
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("resource", ["sleep", "workout"])
def test_a_move_takes_a_record_out_of_a_window_and_back(scene: Scene, resource: Any) -> None:
    record = scene.some(resource, 5)
    start = moment(record["start"])
    window = {
        "start": (start - MINUTE).isoformat(),
        "end": (start + MINUTE).isoformat(),
    }
    assert key(record) in scene.ids(resource, **window)

    scene.watch.move(10)
    away = scene.changes.reschedule(
        scene.user_id, resource, record["id"], start + timedelta(minutes=5)
    )
    assert key(record) not in scene.ids(resource, **window)
    scene.watch.move(10)
    back = scene.changes.reschedule(scene.user_id, resource, record["id"], start)
    assert key(record) in scene.ids(resource, **window)

    for moved in (away, back):
        length = moment(moved["end"]) - moment(moved["start"])
        assert length == moment(record["end"]) - start
    assert record["updated_at"] < away["updated_at"] < back["updated_at"]
    assert back == record | {"updated_at": back["updated_at"]}


def test_a_night_that_moves_takes_its_recovery_and_both_cycles_along(scene: Scene) -> None:
    night = scene.some("sleep", 3)
    start = moment(night["start"]) + 50 * MINUTE
    recovery = scene.recovery_of(night)
    cycle = scene.get("cycle", night["cycle_id"]).get_json()
    before = next(one for one in scene.all("cycle") if one["end"] == cycle["start"])

    moved = scene.changes.reschedule(scene.user_id, "sleep", night["id"], start)

    after = scene.get("cycle", cycle["id"]).get_json()
    assert after["start"] == moved["start"]
    assert after["updated_at"] > cycle["updated_at"]
    assert scene.get("cycle", before["id"]).get_json()["end"] == moved["start"]
    assert scene.recovery_of(night)["updated_at"] > recovery["updated_at"]
    window = {"start": moment(moved["end"]).isoformat(), "end": NOW.isoformat()}
    assert key(recovery) in scene.ids("recovery", **window)
    window["start"] = (moment(moved["end"]) + MINUTE).isoformat()
    assert key(recovery) not in scene.ids("recovery", **window)


def test_a_sleep_of_another_length_is_scored_anew(scene: Scene) -> None:
    night = scene.some("sleep")
    end = moment(night["end"]) - 40 * MINUTE

    after = scene.changes.reschedule(
        scene.user_id, "sleep", night["id"], moment(night["start"]), end
    )

    stages = after["score"]["stage_summary"]
    assert stages["total_in_bed_time_milli"] == (end - moment(night["start"])) / timedelta(
        milliseconds=1
    )


def test_a_cycle_can_be_moved_by_itself(scene: Scene) -> None:
    cycle = scene.some("cycle", 4)
    start = moment(cycle["start"]) + MINUTE

    after = scene.changes.reschedule(scene.user_id, "cycle", key(cycle), start)

    assert moment(after["start"]) == start
    assert after["end"] == cycle["end"]


def test_fields_can_be_set(scene: Scene) -> None:
    night, workout = scene.some("sleep", 1), scene.some("workout")
    recovery = scene.recovery_of(night)

    scene.changes.edit(scene.user_id, "sleep", night["id"], {"timezone_offset": "+09:00"})
    scene.changes.edit(scene.user_id, "workout", workout["id"], {"sport_name": "muay-thai"})

    edited = scene.get("sleep", night["id"]).get_json()
    assert edited["timezone_offset"] == "+09:00"
    assert edited["updated_at"] > night["updated_at"]
    # An edited sleep is a new recovery, even where it comes to the same.
    again = scene.recovery_of(night)
    assert again == recovery | {"updated_at": again["updated_at"]}
    assert again["updated_at"] > recovery["updated_at"]
    assert scene.get("workout", workout["id"]).get_json()["sport_name"] == "muay-thai"


@pytest.mark.parametrize("resource", COLLECTIONS)
def test_what_is_deleted_vanishes_without_a_trace(scene: Scene, resource: Any) -> None:
    record = scene.some(resource, 3)
    kept = [one for one in scene.ids(resource) if one != key(record)]

    scene.changes.delete(scene.user_id, resource, key(record))

    assert scene.ids(resource) == kept
    assert scene.get(resource, key(record)).status_code == 404
    assert scene.simulator.deleted(scene.user_id)[resource] == [key(record)]
    truth = scene.simulator.truth(scene.user_id, None, None)[resource]
    assert [one["id"] for one in truth] == kept


def test_a_recovery_goes_with_its_sleep_and_the_cycle_stays(scene: Scene) -> None:
    night = scene.some("sleep", 3)
    cycle_id = night["cycle_id"]

    scene.changes.delete(scene.user_id, "sleep", night["id"])

    assert scene.get("recovery", cycle_id).status_code == 404
    assert str(cycle_id) not in scene.ids("recovery")
    assert scene.visitor.get(f"/v2/cycle/{cycle_id}/sleep", scene.token).status_code == 404
    assert scene.get("cycle", cycle_id).status_code == 200
    deleted = scene.simulator.deleted(scene.user_id)
    assert deleted == {
        "cycle": [],
        "recovery": [str(cycle_id)],
        "sleep": [night["id"]],
        "workout": [],
    }


def test_a_recovery_goes_with_its_cycle_and_a_nap_takes_none(scene: Scene) -> None:
    cycle = scene.recovery_of(scene.some("sleep", 3))["cycle_id"]
    nap = next(one for one in scene.all("sleep") if one["nap"])

    scene.changes.delete(scene.user_id, "cycle", str(cycle))
    scene.changes.delete(scene.user_id, "sleep", nap["id"])

    deleted = scene.simulator.deleted(scene.user_id)
    assert deleted["recovery"] == deleted["cycle"] == [str(cycle)]
    assert deleted["sleep"] == [nap["id"]]


@pytest.mark.parametrize("updated", ["same", "newer"])
def test_a_deleted_night_comes_back_under_its_id(scene: Scene, updated: Any) -> None:
    night = scene.some("sleep", 3)
    recovery = scene.recovery_of(night)
    scene.changes.delete(scene.user_id, "sleep", night["id"])
    scene.watch.move(60)

    scene.changes.recreate(scene.user_id, "sleep", night["id"], updated=updated)

    for before, after in (
        (night, scene.get("sleep", night["id"]).get_json()),
        (recovery, scene.recovery_of(night)),
    ):
        assert after == before | {"updated_at": after["updated_at"]}
        assert (after["updated_at"] == before["updated_at"]) == (updated == "same")
    assert set(map(tuple, scene.simulator.deleted(scene.user_id).values())) == {()}


def test_a_recovery_deleted_before_its_sleep_does_not_come_back_with_it(scene: Scene) -> None:
    night = scene.some("sleep", 3)
    scene.changes.delete(scene.user_id, "recovery", str(night["cycle_id"]))
    scene.watch.move(1)
    scene.changes.delete(scene.user_id, "sleep", night["id"])

    scene.changes.recreate(scene.user_id, "sleep", night["id"])

    assert scene.get("recovery", night["cycle_id"]).status_code == 404
    scene.changes.recreate(scene.user_id, "recovery", str(night["cycle_id"]))
    assert scene.get("recovery", night["cycle_id"]).status_code == 200


@pytest.mark.parametrize("resource", COLLECTIONS)
def test_a_deletion_above_the_page_makes_the_next_one_skip(scene: Scene, resource: Any) -> None:
    before = scene.ids(resource)
    ask: Callable[..., Any] = scene.visitor.get
    first = ask(COLLECTIONS[resource], scene.token, limit=5).get_json()

    scene.changes.delete(scene.user_id, resource, before[2])

    second = ask(
        COLLECTIONS[resource], scene.token, limit=5, nextToken=first["next_token"]
    ).get_json()
    assert [key(one) for one in first["records"]] == before[:5]
    assert [key(one) for one in second["records"]] == before[6:11]


def test_a_record_that_comes_above_the_page_makes_the_next_one_repeat(scene: Scene) -> None:
    before = scene.ids("workout")
    path = COLLECTIONS["workout"]
    first = scene.visitor.get(path, scene.token, limit=5).get_json()

    scene.simulator.world.add_workout(scene.user_id)

    token = first["next_token"]
    second = scene.visitor.get(path, scene.token, limit=5, nextToken=token).get_json()
    assert [key(one) for one in second["records"]] == before[4:9]


@pytest.mark.parametrize("kind", ["add_workout", "add_nap"])
def test_something_new_is_there_at_once_and_scored(scene: Scene, kind: str) -> None:
    made = getattr(scene.simulator.world, kind)(scene.user_id, minutes=25)

    resource = "workout" if kind == "add_workout" else "sleep"
    assert scene.all(resource)[0] == made
    assert made["score_state"] == "SCORED"
    assert made["score"]
    assert moment(made["end"]) - moment(made["start"]) == 25 * MINUTE
    assert moment(made["created_at"]) == moment(made["updated_at"]) == NOW
    if kind == "add_nap":
        assert made["nap"]
        assert str(made["cycle_id"]) == scene.ids("cycle")[0]


def test_every_version_that_was_served_is_known_once_and_in_order(scene: Scene) -> None:
    night = scene.some("sleep")
    versions = [night]
    for _ in range(3):
        scene.changes.rescore(scene.user_id, "sleep", night["id"])
        versions.append(scene.get("sleep", night["id"]).get_json())
        scene.get("sleep", night["id"])
    scene.changes.rescore(scene.user_id, "sleep", night["id"])  # and nobody looks
    by_cycle = f"/v2/cycle/{night['cycle_id']}/recovery"
    recovery = scene.visitor.get(by_cycle, scene.token).get_json()

    served = scene.simulator.served(scene.user_id)

    assert served["sleep"][night["id"]] == versions
    assert served["recovery"] == {str(night["cycle_id"]): [recovery]}
    assert served["cycle"] == served["profile"] == {}
    assert len(served["sleep"]) == len(scene.ids("sleep"))


def test_profile_and_body_are_served_as_well(scene: Scene) -> None:
    for _ in range(2):
        profile = scene.visitor.get("/v2/user/profile/basic", scene.token).get_json()
        body = scene.visitor.get("/v2/user/measurement/body", scene.token).get_json()

    served = scene.simulator.served(scene.user_id)

    assert served["profile"] == {"profile": [profile]}
    assert served["body_measurement"] == {"body_measurement": [body]}


@pytest.mark.parametrize(
    ("rule", "arrives"),
    [
        ({"status": 500}, False),
        ({"status": 200, "body": '{"records": []}'}, False),
        ({"cut": True}, False),
        ({"broken": True}, False),
        ({"refuse_cursor": True}, True),
        ({"delay": 1.0}, True),
        ({"headers": {"X-More": "1"}}, True),
    ],
)
def test_only_what_went_out_whole_counts_as_served(
    scene: Scene, rule: dict[str, Any], *, arrives: bool
) -> None:
    scene.simulator.add_fault(Fault("/v2/cycle$", times=1, **rule))

    scene.visitor.get("/v2/cycle", scene.token)

    assert bool(scene.simulator.served(scene.user_id)["cycle"]) == arrives


def test_what_is_refused_is_not_served(scene: Scene) -> None:
    scene.visitor.get("/v2/cycle", "made-up")
    scene.visitor.get("/v2/cycle", scene.token, limit=26)

    assert scene.simulator.served(scene.user_id)["cycle"] == {}


def test_what_cannot_change_is_said(scene: Scene) -> None:
    changes, user_id = scene.changes, scene.user_id
    night = scene.some("sleep")
    with pytest.raises(UnknownRecord):
        changes.delete(user_id, "sleep", "made-up")
    with pytest.raises(UnknownMember):
        changes.delete(42, "sleep", night["id"])
    with pytest.raises(UnknownRecord):
        changes.recreate(user_id, "sleep", night["id"])
    with pytest.raises(ValueError, match="PENDING_SCORE"):
        changes.score(user_id, "sleep", night["id"])
    with pytest.raises(ValueError, match="cannot be set"):
        changes.edit(user_id, "sleep", night["id"], {"updated_at": "x"})
    with pytest.raises(ValueError, match="has no sport_name"):
        changes.edit(user_id, "sleep", night["id"], {"sport_name": "x"})
    with pytest.raises(ValueError, match="both are past"):
        changes.reschedule(user_id, "sleep", night["id"], NOW)
    with pytest.raises(ValueError, match="where its sleep is"):
        changes.reschedule(user_id, "recovery", str(night["cycle_id"]), NOW)
    with pytest.raises(ValueError, match="same or newer"):
        changes.recreate(user_id, "sleep", night["id"], updated="older")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="minutes"):
        scene.simulator.world.add_nap(user_id, minutes=0)
    with pytest.raises(ValueError, match="offset"):
        scene.simulator.world.travel(user_id, 0.1)
    pending = Scene(index=1, days=3)
    with pytest.raises(ValueError, match="not SCORED"):
        pending.changes.alter(pending.user_id, "sleep", pending.all("sleep")[0]["id"])
    empty = Scene(days=0)
    with pytest.raises(ValueError, match="lived a day"):
        empty.simulator.world.add_nap(empty.user_id)


def test_every_kind_of_call_is_told_apart_in_the_log(scene: Scene) -> None:
    night, workout = scene.some("sleep"), scene.some("workout")
    cycle_id = night["cycle_id"]
    scene.simulator.clear_log()
    paths = {
        "/v2/cycle": "cycles",
        f"/v2/cycle/{cycle_id}": "cycle",
        f"/v2/cycle/{cycle_id}/sleep": "cycle_sleep",
        f"/v2/cycle/{cycle_id}/recovery": "cycle_recovery",
        "/v2/recovery": "recoveries",
        "/v2/activity/sleep": "sleeps",
        f"/v2/activity/sleep/{night['id']}": "sleep",
        "/v2/activity/workout": "workouts",
        f"/v2/activity/workout/{workout['id']}": "workout",
        "/v2/user/profile/basic": "profile",
        "/v2/user/measurement/body": "body_measurement",
        "/v1/activity-mapping/1": "activity_mapping",
        "/v2/recovery/1": None,
    }

    answers = [scene.visitor.get(path, scene.token) for path in paths]
    scene.visitor.call("DELETE", "/v2/user/access", scene.token)

    assert {one.status_code for one in answers[:-2]} == {200}
    assert [one["operation"] for one in scene.simulator.log] == [*paths.values(), "revoke"]
    assert all("X-RateLimit-Remaining" in one.headers for one in answers)


@pytest.mark.parametrize(
    ("rule", "status", "ends"),
    [
        ({"status": 500}, 500, False),
        ({"status": 429}, 429, False),
        ({"status": 401}, 401, False),
        ({"delay": 5.0}, 204, True),
        ({"broken": True}, 200, True),
    ],
)
def test_taking_access_back_can_go_wrong(
    scene: Scene, rule: dict[str, Any], status: int, *, ends: bool
) -> None:
    scene.simulator.add_fault(Fault("/v2/user/access$", times=1, **rule))

    answer = scene.visitor.call("DELETE", "/v2/user/access", scene.token)

    assert answer.status_code == status
    assert (scene.visitor.get("/v2/cycle", scene.token).status_code == 401) == ends
