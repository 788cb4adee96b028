import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from dev.simulator import NO_CHANGES, Rates, Simulator
from tests.simulator.test_truth import fingerprint
from tests.simulator.visitor import COLLECTIONS, NOW, Visitor, Watch, a_simulator

DAY = timedelta(days=1)
BUSY = Rates.all(0.6, reach_days=4)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def shown(simulator: Simulator, user_id: int, resource: Any) -> list[dict[str, Any]]:
    member = simulator.world.member(user_id)
    listed = member.listing(resource, start=None, end=None, now=simulator.world.now())
    return [item.revision.document for item in listed]


def everything(simulator: Simulator) -> dict[int, Any]:
    return {
        user_id: {resource: shown(simulator, user_id, resource) for resource in COLLECTIONS}
        for user_id in simulator.world.members
    }


def people(simulator: Simulator, count: int, days: int = 30) -> list[int]:
    return [simulator.world.add_member(days=days).user_id for _ in range(count)]


def test_a_new_day_is_a_night_a_recovery_a_cycle_and_the_end_of_the_one_before() -> None:
    simulator = a_simulator(Watch())
    (user_id,) = people(simulator, 1)
    before = {resource: shown(simulator, user_id, resource) for resource in COLLECTIONS}

    for day in range(1, 21):
        open_before = shown(simulator, user_id, "cycle")[0]
        simulator.live(1, rates=NO_CHANGES)

        cycles = shown(simulator, user_id, "cycle")
        assert len(cycles) == len(before["cycle"]) + day
        assert cycles[0].get("end") is None
        assert cycles[1]["id"] == open_before["id"]
        assert cycles[1]["end"] == cycles[0]["start"]
        assert cycles[1]["updated_at"] > open_before["updated_at"]
        assert cycles[1]["score_state"] == open_before["score_state"]

    cycles = shown(simulator, user_id, "cycle")
    for newer, older in pairwise(cycles):
        assert older["end"] == newer["start"]
        assert older["id"] < newer["id"]
    nights = [one for one in shown(simulator, user_id, "sleep") if not one["nap"]]
    recoveries = shown(simulator, user_id, "recovery")
    assert {one["sleep_id"] for one in recoveries} == {one["id"] for one in nights}
    assert len(nights) >= len(before["recovery"]) + 16
    assert len(shown(simulator, user_id, "workout")) > len(before["workout"]) + 8
    for night in nights:
        cycle = next(one for one in cycles if one["id"] == night["cycle_id"])
        assert cycle["start"] == night["start"]


def test_nothing_overlaps_and_nothing_is_told_before_it_is_over() -> None:
    simulator = a_simulator(Watch())
    user_ids = people(simulator, 6, days=5)
    simulator.live(40, rates=replace(NO_CHANGES, pending=0.3, travel=0.3))

    for user_id in user_ids:
        for resource in COLLECTIONS:
            for record in shown(simulator, user_id, resource):
                created, updated = moment(record["created_at"]), moment(record["updated_at"])
                assert created <= updated <= simulator.world.now()
                if resource in {"sleep", "workout"}:
                    assert moment(record["start"]) < moment(record["end"]) <= created
        events = sorted(
            (moment(one["start"]), moment(one["end"]))
            for resource in ("sleep", "workout")
            for one in shown(simulator, user_id, resource)
        )
        for (_, end), (start, _) in pairwise(events):
            assert end <= start


def test_the_world_goes_on_between_the_days_as_time_passes() -> None:
    watch = Watch()
    simulator = a_simulator(watch)
    (user_id,) = people(simulator, 1)
    simulator.live(1, rates=NO_CHANGES)
    seen = set()

    for _ in range(24):
        seen.add(fingerprint(shown(simulator, user_id, "cycle")[:2]))
        watch.move(3600)

    assert len(seen) >= 5


def test_members_catch_up_with_a_clock_that_was_moved_elsewhere() -> None:
    watch = Watch()
    simulator = a_simulator(watch, seed=4)
    people(simulator, 3)
    for _ in range(5):
        watch.move(86_400)
        simulator.live(0, rates=BUSY)
    other = a_simulator(Watch(), seed=4)
    people(other, 3)
    for _ in range(5):
        other.live(1, rates=BUSY)

    assert everything(simulator) == everything(other)
    assert simulator.live(0, rates=BUSY) == []


def test_one_member_can_live_alone() -> None:
    simulator = a_simulator(Watch())
    mine, other = people(simulator, 2)
    theirs = [one["id"] for one in shown(simulator, other, "cycle")]

    simulator.live(3, user_id=mine, rates=NO_CHANGES)

    assert len(shown(simulator, mine, "cycle")) == 33
    assert [one["id"] for one in shown(simulator, other, "cycle")] == theirs


def test_one_seed_makes_one_month() -> None:
    months = []
    for seed in (7, 7, 8):
        simulator = a_simulator(Watch(), seed=seed)
        user_ids = people(simulator, 3, days=10)
        happened = [one for _ in range(30) for one in simulator.live(1, rates=BUSY)]
        deleted = [simulator.deleted(user_id) for user_id in user_ids]
        told = [one | {"user_id": 0} for one in happened]
        months.append(json.dumps([told, deleted, list(everything(simulator).values())]))

    assert months[0] == months[1] != months[2]


def test_a_life_goes_the_same_way_whatever_changes_there_are() -> None:
    ids = []
    for rates in (NO_CHANGES, replace(Rates.all(0.5), pending=0, travel=0, delete=0)):
        simulator = a_simulator(Watch(), seed=3)
        (user_id,) = people(simulator, 1)
        simulator.live(20, rates=rates)
        ids.append([one["id"] for one in shown(simulator, user_id, "workout")])

    assert ids[0] == ids[1]


def test_chance_has_every_kind_of_change() -> None:
    simulator = a_simulator(Watch())
    people(simulator, 4)

    happened = simulator.live(30, rates=BUSY)

    kinds = Counter(one["kind"] for one in happened)
    assert set(kinds) == {
        "score",
        "rescore",
        "reschedule",
        "delete",
        "recreate",
        "alter",
        "travel",
    }
    assert {one["resource"] for one in happened if one["kind"] == "alter"} == set(COLLECTIONS)
    assert all(set(one) == {"at", "user_id", "kind", "resource", "id"} for one in happened)


def test_no_rate_is_no_change() -> None:
    simulator = a_simulator(Watch())
    people(simulator, 2)

    assert simulator.live(10, rates=NO_CHANGES) == []


def test_changes_reach_no_further_than_told() -> None:
    simulator = a_simulator(Watch())
    (user_id,) = people(simulator, 1, days=40)
    old = {
        resource: [
            one
            for one in shown(simulator, user_id, resource)
            # Revisions that were on their way from the beginning are no changes of these days.
            if moment(one.get("start") or one["created_at"]) < NOW - 8 * DAY
        ]
        for resource in COLLECTIONS
    }

    simulator.live(10, rates=Rates.all(1.0, reach_days=2))

    for resource, records in old.items():
        after = shown(simulator, user_id, resource)
        assert all(one in after for one in records)


def test_a_journey_changes_the_offset_from_the_next_night_on() -> None:
    simulator = a_simulator(Watch())
    (user_id,) = people(simulator, 1)
    simulator.live(1, rates=NO_CHANGES)
    home = shown(simulator, user_id, "sleep")[0]["timezone_offset"]

    simulator.world.travel(user_id, 5.5)
    simulator.live(3, rates=NO_CHANGES)

    offsets = [one["timezone_offset"] for one in shown(simulator, user_id, "cycle")]
    assert offsets[0] == offsets[1] == "+05:30"
    assert offsets[3] == home == "+01:00"


@pytest.mark.parametrize("hours", [-12, 14])
def test_nobody_sleeps_twice_at_once_however_far_they_fly(hours: float) -> None:
    simulator = a_simulator(Watch())
    (user_id,) = people(simulator, 1, days=3)
    simulator.world.travel(user_id, hours)
    simulator.live(4, rates=NO_CHANGES)
    simulator.world.travel(user_id, 0)
    simulator.live(4, rates=NO_CHANGES)

    cycles = shown(simulator, user_id, "cycle")
    for newer, older in pairwise(cycles):
        assert older["end"] == newer["start"]
        assert moment(newer["start"]) - moment(older["start"]) > timedelta(hours=12)


def test_some_nights_and_workouts_wait_for_their_score_and_get_it_by_themselves() -> None:
    watch = Watch()
    simulator = a_simulator(watch)
    (user_id,) = people(simulator, 1)
    simulator.live(1, rates=replace(NO_CHANGES, pending=1.0))
    waited: Counter[str] = Counter()
    states: dict[tuple[str, str], list[str]] = {}
    for _ in range(72):
        for resource in ("sleep", "recovery", "workout"):
            for one in shown(simulator, user_id, resource):
                key = (resource, str(one.get("id", one.get("cycle_id"))))
                story = states.setdefault(key, [])
                if story[-1:] != [one["score_state"]]:
                    story.append(one["score_state"])
        watch.move(3600)
        simulator.live(0, rates=replace(NO_CHANGES, pending=1.0))
    for (resource, _), story in states.items():
        waited[resource] += story == ["PENDING_SCORE", "SCORED"]

    assert waited["sleep"] == waited["recovery"] >= 2
    assert waited["workout"] >= 1


def test_somebody_without_a_past_begins_tomorrow() -> None:
    simulator = a_simulator(Watch())
    (user_id,) = people(simulator, 1, days=0)

    simulator.live(3, rates=NO_CHANGES)

    assert 2 <= len(shown(simulator, user_id, "cycle")) <= 3
    assert shown(simulator, user_id, "recovery")


def test_a_day_lets_tokens_age() -> None:
    visitor = Visitor(a_simulator(Watch()))
    (user_id,) = people(visitor.simulator, 1)
    tokens = visitor.connect(user_id)

    visitor.simulator.live(1)

    assert visitor.get("/v2/cycle", tokens["access_token"]).status_code == 401
    renewed = visitor.renew(tokens["refresh_token"]).get_json()["access_token"]
    assert visitor.get("/v2/cycle", renewed).status_code == 200


def test_reading_after_a_month_brings_the_truth() -> None:
    visitor = Visitor(a_simulator(Watch()))
    user_ids = people(visitor.simulator, 3)
    visitor.simulator.live(30, rates=BUSY)

    for user_id in user_ids:
        token = visitor.connect(user_id)["access_token"]
        truth = visitor.simulator.truth(user_id, None, None)
        gone = {str(one): ids for one, ids in visitor.simulator.deleted(user_id).items()}
        for resource, path in COLLECTIONS.items():
            records = visitor.records(path, token, limit=25)
            assert [fingerprint(one) for one in records] == [one["hash"] for one in truth[resource]]
            present = {one["id"] for one in truth[resource]}
            assert not present & set(gone[resource])
        assert gone["sleep"] or gone["workout"]


@pytest.mark.parametrize(
    "rates",
    [None, [], {"delete": 2}, {"delete": -0.1}, {"delete": True}, {"delete": "1"}, {"steal": 1}],
)
def test_an_impossible_rate_is_refused(rates: Any) -> None:
    with pytest.raises(ValueError, match=r"delete|rates"):
        Rates.from_json(rates)


def test_an_impossible_number_of_days_is_refused() -> None:
    with pytest.raises(ValueError, match="days"):
        a_simulator().live(-1)
