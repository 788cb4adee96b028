from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from dev.simulator import Member, Simulator
from tests.simulator.visitor import COLLECTIONS, NOW, Visitor, Watch, a_simulator

DAY = timedelta(days=1)


def shown(simulator: Simulator, member: Member, resource: Any) -> list[dict[str, Any]]:
    """Everything of a resource as it is now, newest first."""
    now = simulator.world.now()
    listed = member.listing(resource, start=None, end=None, now=now)
    return [item.revision.document for item in listed]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    simulator = a_simulator(Watch())
    for _ in range(12):
        simulator.world.add_member(days=45)
    return simulator


def everything(simulator: Simulator, resource: str) -> list[dict[str, Any]]:
    members = simulator.world.members.values()
    return [document for member in members for document in shown(simulator, member, resource)]


def test_a_member_has_one_cycle_per_day_from_bedtime_to_bedtime(simulator: Simulator) -> None:
    for member in simulator.world.members.values():
        cycles = shown(simulator, member, "cycle")
        assert len(cycles) == 45
        assert cycles[0].get("end") is None
        for newer, older in pairwise(cycles):
            assert older["end"] == newer["start"]
            assert older["id"] < newer["id"]
            length = moment(older["end"]) - moment(older["start"])
            assert timedelta(hours=14) < length < timedelta(hours=34)


def test_a_night_opens_its_cycle_and_a_nap_lies_in_it(simulator: Simulator) -> None:
    for member in simulator.world.members.values():
        cycles = {cycle["id"]: cycle for cycle in shown(simulator, member, "cycle")}
        for sleep in shown(simulator, member, "sleep"):
            cycle = cycles[sleep["cycle_id"]]
            if sleep["nap"]:
                end = cycle.get("end")
                assert cycle["start"] < sleep["start"]
                assert end is None or sleep["end"] <= end
            else:
                assert sleep["start"] == cycle["start"]


def test_every_night_and_no_nap_makes_a_recovery(simulator: Simulator) -> None:
    for member in simulator.world.members.values():
        sleeps = shown(simulator, member, "sleep")
        nights = {one["id"]: one["cycle_id"] for one in sleeps if not one["nap"]}
        recoveries = shown(simulator, member, "recovery")

        assert {one["sleep_id"]: one["cycle_id"] for one in recoveries} == nights
        assert len(recoveries) == len(nights)


def test_nothing_overlaps_but_a_cycle_and_what_happens_in_it(simulator: Simulator) -> None:
    for member in simulator.world.members.values():
        events = sorted(
            (moment(one["start"]), moment(one["end"]))
            for resource in ("sleep", "workout")
            for one in shown(simulator, member, resource)
        )
        for (_, end), (start, _) in pairwise(events):
            assert end <= start


def test_a_record_is_created_after_it_ended_and_never_in_the_future(
    simulator: Simulator,
) -> None:
    for resource in COLLECTIONS:
        for record in everything(simulator, resource):
            created, updated = moment(record["created_at"]), moment(record["updated_at"])
            assert created <= updated <= NOW
            if resource in {"sleep", "workout"}:
                assert moment(record["start"]) < moment(record["end"]) <= created


def test_the_world_shows_whoops_oddities(simulator: Simulator) -> None:
    sleeps = everything(simulator, "sleep")
    cycles = everything(simulator, "cycle")
    recoveries = everything(simulator, "recovery")
    workouts = everything(simulator, "workout")

    assert {one["score_state"] for one in sleeps} == {"SCORED", "PENDING_SCORE", "UNSCORABLE"}
    assert any(one["nap"] for one in sleeps)
    assert any("end" in one and one["end"] is None for one in cycles)
    assert any("end" not in one for one in cycles)
    assert {"Z", "+01:00", "-05:00"} <= {one["timezone_offset"] for one in sleeps}
    # A strap left off leaves a cycle without a night.
    assert len(recoveries) < len(cycles)

    assert forms(cycles, "step_count") == {"absent", "null", "present"}
    assert forms(sleeps, "score") == {"absent", "null", "present"}
    scores = [one["score"] for one in sleeps if one.get("score")]
    for name in (
        "respiratory_rate",
        "sleep_performance_percentage",
        "sleep_consistency_percentage",
        "sleep_efficiency_percentage",
    ):
        assert forms(scores, name) == {"absent", "null", "present"}
    scores = [one["score"] for one in recoveries if one.get("score")]
    assert forms(scores, "spo2_percentage") == {"absent", "null", "present"}
    assert Counter(one["user_calibrating"] for one in scores)[True] >= 12
    scores = [one["score"] for one in workouts if one.get("score")]
    assert forms(scores, "distance_meter") == {"absent", "null", "present"}
    assert any((one.get("altitude_change_meter") or 0) < 0 for one in scores)
    assert forms(workouts, "v1_id") == {"absent", "present"}


def forms(records: list[dict[str, Any]], name: str) -> set[str]:
    return {
        "absent" if name not in one else "null" if one[name] is None else "present"
        for one in records
    }


def test_only_what_is_scored_has_a_score(simulator: Simulator) -> None:
    for resource in COLLECTIONS:
        for record in everything(simulator, resource):
            assert bool(record.get("score")) == (record["score_state"] == "SCORED")


def test_a_nights_stages_add_up_to_the_time_in_bed(simulator: Simulator) -> None:
    for sleep in everything(simulator, "sleep"):
        if sleep.get("score"):
            stages = dict(sleep["score"]["stage_summary"])
            stages.pop("sleep_cycle_count"), stages.pop("disturbance_count")
            in_bed = stages.pop("total_in_bed_time_milli")
            length = moment(sleep["end"]) - moment(sleep["start"])
            assert sum(stages.values()) == in_bed == length // timedelta(milliseconds=1)
            assert sleep["score"]["sleep_needed"]["need_from_recent_nap_milli"] <= 0


def test_every_value_lies_where_whoop_says(simulator: Simulator) -> None:
    for resource in COLLECTIONS:
        for record in everything(simulator, resource):
            for name, value in (record.get("score") or {}).items():
                if name.endswith(("_percentage", "_score", "_recorded")) and value is not None:
                    assert 0 <= value <= 100
                if name == "strain":
                    assert 0 <= value <= 21
            zones = (record.get("score") or {}).get("zone_durations", {})
            if zones:
                length = moment(record["end"]) - moment(record["start"])
                assert sum(zones.values()) <= length / timedelta(milliseconds=1)


def test_ids_are_the_members_own(simulator: Simulator) -> None:
    for resource, key in (("cycle", "id"), ("sleep", "id"), ("workout", "id")):
        ids = [one[key] for one in everything(simulator, resource)]
        assert len(ids) == len(set(ids))
    assert max(one["id"] for one in everything(simulator, "cycle")) > 2**31


def test_a_trip_changes_the_offset_and_comes_home(simulator: Simulator) -> None:
    for member in simulator.world.members.values():
        nights = [one for one in shown(simulator, member, "sleep") if not one["nap"]]
        offsets = [one["timezone_offset"] for one in nights]
        changes = [a for a, b in pairwise(offsets) if a != b]
        assert len(changes) == 2
        assert offsets[0] == offsets[-1]


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_a_world_can_begin_at_any_hour(hour: int) -> None:
    simulator = a_simulator(Watch(datetime(2026, 3, 1, hour, 59, 59, 999_999, tzinfo=UTC)))
    for index in range(8):
        member = simulator.world.add_member(days=index * 3)
        for resource in COLLECTIONS:
            records = shown(simulator, member, resource)
            assert all(moment(one["updated_at"]) <= simulator.world.now() for one in records)
        assert len(shown(simulator, member, "cycle")) == index * 3


def test_one_seed_makes_one_world() -> None:
    worlds = []
    for _ in range(2):
        simulator = a_simulator(Watch(), seed=7)
        worlds.append(
            {
                user_id: simulator.truth(user_id, None, None)
                for user_id in [simulator.world.add_member(days=20).user_id for _ in range(4)]
            }
        )
    other = a_simulator(Watch(), seed=8)
    stranger = other.world.add_member(days=20)

    assert worlds[0] == worlds[1]
    assert stranger.user_id not in worlds[0]


def test_nothing_changes_within_the_first_hour() -> None:
    watch = Watch()
    simulator = a_simulator(watch)
    members = [simulator.world.add_member(days=40) for _ in range(20)]
    before = [simulator.truth(member.user_id, None, None) for member in members]

    for seconds in (0.001, 60, 600, 2900, 39.999):
        watch.move(seconds)
        assert [simulator.truth(member.user_id, None, None) for member in members] == before


def test_a_pending_night_is_scored_later_and_says_when() -> None:
    watch = Watch()
    simulator = a_simulator(watch)
    members = [simulator.world.add_member(days=10) for _ in range(3)]
    pending = {
        resource: [
            (member, one)
            for member in members
            for one in shown(simulator, member, resource)
            if one["score_state"] == "PENDING_SCORE"
        ]
        for resource in ("sleep", "recovery")
    }
    assert [len(found) for found in pending.values()] == [2, 2]

    watch.move(6 * 3600)

    for resource, found in pending.items():
        for member, before in found:
            key = "id" if resource == "sleep" else "cycle_id"
            after = next(
                one for one in shown(simulator, member, resource) if one[key] == before[key]
            )
            assert after["score_state"] == "SCORED"
            assert after["score"]
            assert NOW + timedelta(hours=1) < moment(after["updated_at"]) <= watch.now
            assert after["created_at"] == before["created_at"]


def test_some_nights_were_scored_again_days_later(simulator: Simulator) -> None:
    late = [
        one
        for one in everything(simulator, "sleep")
        if moment(one["updated_at"]) - moment(one["created_at"]) > DAY
    ]

    assert late
    assert all(one["score_state"] == "SCORED" for one in late)


def test_the_open_cycle_gathers_strain() -> None:
    watch = Watch()
    simulator = a_simulator(watch)
    member = simulator.world.add_member(days=3)
    before = shown(simulator, member, "cycle")[0]

    watch.move(3 * 3600)

    after = shown(simulator, member, "cycle")[0]
    assert after["score"]["strain"] > before["score"]["strain"]
    assert after["updated_at"] > before["updated_at"]


@pytest.mark.parametrize(
    "collections",
    [
        {"workout": 0},
        {"workout": 50, "sleep": 75},
        {"workout": 1000},
        {"cycle": 25, "recovery": 50, "sleep": 0},
        {"sleep": 1, "workout": 1},
        {"recovery": 3},
    ],
)
@pytest.mark.parametrize("days", [0, 1, 30])
def test_the_number_of_records_can_be_forced(days: int, collections: dict[str, int]) -> None:
    simulator = a_simulator(Watch())
    member = simulator.world.add_member(days=days, collections=collections)
    truth = simulator.truth(member.user_id, None, None)

    assert {name: len(truth[name]) for name in collections} == collections
    assert "cycle" in collections or len(truth["cycle"]) == days
    starts = [one["start"] for one in truth["workout"]]
    assert len(set(starts)) == len(starts)


def test_a_member_may_have_no_body_measurement() -> None:
    visitor = Visitor(a_simulator())
    member = visitor.simulator.world.add_member(days=1, collections={"body_measurement": 0})
    token = visitor.connect(member.user_id)["access_token"]

    assert visitor.get("/v2/user/measurement/body", token).status_code == 404
    assert visitor.simulator.truth(member.user_id, None, None)["body_measurement"] == []


@pytest.mark.parametrize(
    "about",
    [
        {"days": -1},
        {"days": 10**9},
        {"collections": {"steps": 1}},
        {"collections": {"sleep": -1}},
        {"collections": {"body_measurement": 2}},
    ],
)
def test_an_impossible_member_is_refused(about: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"days|collection|records"):
        a_simulator().world.add_member(**about)


def test_single_records_are_what_the_collections_list() -> None:
    visitor = Visitor(a_simulator())
    member = visitor.simulator.world.add_member(days=20)
    token = visitor.connect(member.user_id)["access_token"]

    for resource, path in COLLECTIONS.items():
        for record in visitor.records(path, token):
            if resource == "recovery":
                alone = visitor.get(f"/v2/cycle/{record['cycle_id']}/recovery", token)
            else:
                alone = visitor.get(f"{path}/{record['id']}", token)
            assert alone.get_json() == record
            if resource == "sleep" and not record["nap"]:
                by_cycle = visitor.get(f"/v2/cycle/{record['cycle_id']}/sleep", token)
                assert by_cycle.get_json() == record


def test_a_cycle_without_a_night_has_neither_sleep_nor_recovery() -> None:
    visitor = Visitor(a_simulator())
    member = visitor.simulator.world.add_member(days=200)
    token = visitor.connect(member.user_id)["access_token"]
    slept = {one["cycle_id"] for one in visitor.records("/v2/recovery", token)}
    cycles = visitor.records("/v2/cycle", token)
    awake = [one["id"] for one in cycles if one["id"] not in slept]

    assert awake
    for cycle_id in awake:
        assert visitor.get(f"/v2/cycle/{cycle_id}", token).status_code == 200
        assert visitor.get(f"/v2/cycle/{cycle_id}/sleep", token).status_code == 404
        assert visitor.get(f"/v2/cycle/{cycle_id}/recovery", token).status_code == 404


def test_nobody_reads_what_is_not_theirs() -> None:
    visitor = Visitor(a_simulator())
    mine, theirs = (visitor.simulator.world.add_member(days=2) for _ in range(2))
    token = visitor.connect(mine.user_id)["access_token"]

    for path in (
        f"/v2/cycle/{theirs.records['cycle'][0].id}",
        f"/v2/cycle/{theirs.records['cycle'][0].id}/sleep",
        f"/v2/cycle/{theirs.records['cycle'][0].id}/recovery",
        f"/v2/activity/sleep/{theirs.records['sleep'][0].id}",
    ):
        assert visitor.get(path, token).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v2/recovery/123",
        "/v2/cycle/abc",
        "/v2/cycle/",
        "/v2/activity/sleep/123",
        "/v2/activity/workout/not-a-uuid",
        "/v2/nothing",
        "/v1/cycle",
    ],
)
def test_what_is_no_path_is_404_before_any_sign_in(path: str) -> None:
    answer = Visitor(a_simulator()).get(path, None)

    assert (answer.status_code, answer.text) == (404, "HTTP 404 Not Found")


def test_another_method_is_refused() -> None:
    visitor = Visitor(a_simulator())

    assert visitor.call("POST", "/v2/cycle", None).status_code == 405
    assert visitor.call("GET", "/v2/user/access", None).status_code == 405


def test_an_activity_of_v1_leads_to_its_v2_id() -> None:
    visitor = Visitor(a_simulator())
    members = [visitor.simulator.world.add_member(days=5) for _ in range(4)]
    workout = next(one for one in shown(visitor.simulator, members[3], "sleep") if "v1_id" in one)

    answer = visitor.get(f"/v1/activity-mapping/{workout['v1_id']}", None)

    assert answer.get_json() == {"v2_activity_id": workout["id"]}
    assert visitor.get("/v1/activity-mapping/1", None).status_code == 404


def test_letters_beyond_ascii_come_as_they_are() -> None:
    visitor = Visitor(a_simulator())
    members = [visitor.simulator.world.add_member(days=0) for _ in range(10)]
    member = next(one for one in members if not one.last_name.isascii())
    token = visitor.connect(member.user_id)["access_token"]

    answer = visitor.get("/v2/user/profile/basic", token)

    assert member.last_name in answer.text
    assert member.email.isascii()
