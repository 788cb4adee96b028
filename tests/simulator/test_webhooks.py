import socket
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dev.simulator import NO_CHANGES, Mishaps, Rates
from tests.simulator.receiver import Receiver, a_receiver
from tests.simulator.visitor import CLIENT_SECRET, NOW, Visitor, Watch, a_simulator


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as receiver:
        yield receiver


class Scene:
    """A connected member whose app listens."""

    def __init__(self, *urls: str, days: int = 10, **options: Any) -> None:
        self.watch = Watch()
        options = {"hour_seconds": 0.6, **options}
        self.simulator = a_simulator(self.watch, webhook_urls=urls, **options)
        self.webhooks = self.simulator.webhooks
        self.changes = self.simulator.changes
        self.visitor = Visitor(self.simulator)
        self.user_id = self.simulator.world.add_member(days=days).user_id
        self.tokens = self.visitor.connect(self.user_id)

    def some(self, resource: Any, nth: int = 2, *, nap: bool = False) -> dict[str, Any]:
        member = self.simulator.world.member(self.user_id)
        listed = member.listing(resource, start=None, end=None, now=self.simulator.world.now())
        return [
            item.revision.document
            for item in listed
            if item.revision.document["score_state"] == "SCORED"
            and item.revision.document.get("nap", False) == nap
        ][nth]

    def drained(self) -> list[dict[str, Any]]:
        assert self.webhooks.drain(10)
        return self.webhooks.log

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.webhooks.send(self.user_id, "sleep.updated", self.some("sleep")["id"])


def test_an_event_is_as_whoop_describes_it(receiver: Receiver) -> None:
    scene = Scene(receiver.url)
    made = scene.simulator.world.add_workout(scene.user_id)

    (delivery,) = scene.drained()

    (one,) = receiver.received
    assert one.path == "/webhooks/whoop/"
    assert one.headers["content-type"] == "application/json"
    assert one.is_signed(CLIENT_SECRET)
    assert not one.is_signed("another-secret")
    assert datetime.fromtimestamp(int(one.timestamp) / 1000, UTC) == NOW
    assert one.event == {
        "user_id": scene.user_id,
        "id": made["id"],
        "type": "workout.updated",
        "trace_id": str(UUID(one.event["trace_id"])),
    }
    (attempt,) = delivery.pop("attempts")
    assert attempt["status"] == 204
    assert attempt["error"] is None
    assert 0 < attempt["latency"] < 1
    assert delivery == one.event | {
        "at": "2026-11-22T11:30:00.250Z",
        "url": receiver.url,
        "mishap": None,
        "state": "delivered",
    }


@pytest.mark.parametrize("kind", ["rescore", "edit", "reschedule", "delete", "recreate"])
def test_what_happens_to_a_night_happens_to_its_recovery_under_the_sleeps_id(
    receiver: Receiver, kind: str
) -> None:
    scene = Scene()
    night = scene.some("sleep")
    needed: dict[str, Any] = {
        "edit": {"timezone_offset": "Z"},
        "reschedule": datetime.fromisoformat(night["start"]) - timedelta(minutes=1),
    }
    more = [needed[kind]] if kind in needed else []
    if kind == "recreate":
        scene.changes.delete(scene.user_id, "sleep", night["id"])
    scene.webhooks.set_urls([receiver.url])

    getattr(scene.changes, kind)(scene.user_id, "sleep", night["id"], *more)

    scene.drained()
    what = "deleted" if kind == "delete" else "updated"
    assert sorted(receiver.told) == [
        (f"recovery.{what}", night["id"]),
        (f"sleep.{what}", night["id"]),
    ]
    assert len({event["trace_id"] for event in receiver.events}) == 2


def test_events_of_one_moment_may_share_their_trace(receiver: Receiver) -> None:
    scene = Scene(receiver.url, webhook_share_traces=True)
    scene.changes.rescore(scene.user_id, "sleep", scene.some("sleep")["id"])
    scene.drained()
    assert len({event["trace_id"] for event in receiver.events}) == 1

    scene.watch.move(1)
    scene.changes.rescore(scene.user_id, "sleep", scene.some("sleep")["id"])
    scene.drained()
    assert len({event["trace_id"] for event in receiver.events}) == 2


def test_naps_recoveries_and_workouts_have_one_event_and_cycles_none(receiver: Receiver) -> None:
    scene = Scene(days=40)
    recovery, workout = scene.some("recovery"), scene.some("workout")
    nap, cycle = scene.some("sleep", 0, nap=True), scene.some("cycle")
    scene.webhooks.set_urls([receiver.url])

    scene.changes.rescore(scene.user_id, "cycle", str(cycle["id"]))
    scene.changes.delete(scene.user_id, "workout", workout["id"])
    scene.changes.rescore(scene.user_id, "recovery", str(recovery["cycle_id"]))
    scene.changes.delete(scene.user_id, "sleep", nap["id"])
    scene.changes.delete(scene.user_id, "recovery", str(recovery["cycle_id"]))

    scene.drained()
    assert Counter(receiver.told) == Counter(
        [
            ("workout.deleted", workout["id"]),
            ("recovery.updated", recovery["sleep_id"]),
            ("recovery.deleted", recovery["sleep_id"]),
            ("sleep.deleted", nap["id"]),
        ]
    )


def test_what_is_not_announced_and_what_leaves_updated_at_alone_goes_unsaid(
    receiver: Receiver,
) -> None:
    scene = Scene(receiver.url)
    night = scene.some("sleep")["id"]

    scene.changes.alter(scene.user_id, "sleep", night)
    scene.changes.rescore(scene.user_id, "sleep", night, announce=False)
    scene.changes.delete(scene.user_id, "sleep", night, announce=False)
    scene.simulator.world.add_nap(scene.user_id, announce=False)

    assert scene.drained() == []
    scene.changes.alter(scene.user_id, "workout", scene.some("workout")["id"], announce=True)
    assert [one["type"] for one in scene.drained()] == ["workout.updated"]


def test_a_new_day_tells_of_its_night_and_its_workouts(receiver: Receiver) -> None:
    scene = Scene(receiver.url)

    scene.simulator.live(10, rates=NO_CHANGES)

    scene.drained()
    now = scene.simulator.world.now()
    member = scene.simulator.world.member(scene.user_id)
    expected = set()
    for resource in ("sleep", "recovery", "workout"):
        for item in member.listing(resource, start=None, end=None, now=now):
            document = item.revision.document
            if document["created_at"] > "2026-11-22T11:30:00.250Z":
                key = "sleep_id" if resource == "recovery" else "id"
                expected.add((f"{resource}.updated", document[key]))
    assert len(expected) > 20
    assert expected <= set(receiver.told)
    timestamps = {one.timestamp for one in receiver.received}
    assert len(timestamps) == 10  # each day's are sent that day


def test_what_falls_due_by_itself_is_told_with_the_next_request(receiver: Receiver) -> None:
    scene = Scene(receiver.url)
    other = scene.simulator.world.add_member(days=10)  # whose newest night is pending
    token = scene.visitor.connect(other.user_id)["access_token"]
    night = next(
        item.revision.document
        for item in other.listing("sleep", start=None, end=None, now=NOW)
        if item.revision.document["score_state"] == "PENDING_SCORE"
    )
    assert scene.drained() == []

    scene.watch.move(6 * 3600)
    scene.visitor.get("/v2/cycle", token)

    scene.drained()
    told = {(one["type"], one["id"]) for one in receiver.events if one["id"] == night["id"]}
    assert told == {("sleep.updated", night["id"]), ("recovery.updated", night["id"])}


def test_time_that_is_advanced_tells_at_once(receiver: Receiver) -> None:
    scene = Scene(receiver.url)
    scene.visitor.connect(scene.simulator.world.add_member(days=10).user_id)

    scene.simulator.advance(6 * 3600)

    assert len(scene.drained()) >= 2


@pytest.mark.parametrize("how", ["access", "app", "never"])
def test_nobody_hears_of_a_member_who_is_not_connected(receiver: Receiver, how: str) -> None:
    scene = Scene(receiver.url)
    user_id = scene.user_id
    if how == "access":
        answer = scene.visitor.call("DELETE", "/v2/user/access", scene.tokens["access_token"])
        assert answer.status_code == 204
    elif how == "app":
        scene.simulator.revoke_tokens(user_id)
    else:
        user_id = scene.simulator.world.add_member(days=10).user_id

    scene.simulator.world.add_workout(user_id)
    assert scene.drained() == []

    scene.visitor.connect(user_id)
    scene.simulator.world.add_workout(user_id)
    assert len(scene.drained()) == 1


def test_a_member_whose_token_has_expired_is_still_connected(receiver: Receiver) -> None:
    scene = Scene(receiver.url)
    scene.simulator.expire_tokens(scene.user_id)

    scene.simulator.world.add_workout(scene.user_id)

    assert len(scene.drained()) == 1


def test_every_url_gets_every_event(receiver: Receiver) -> None:
    with a_receiver() as other:
        scene = Scene(receiver.url, other.url)
        scene.send()
        deliveries = scene.drained()

        assert receiver.events == other.events
        assert [one["url"] for one in deliveries] == [receiver.url, other.url]

        scene.webhooks.set_urls([])
        scene.send()
        assert scene.drained() == deliveries


def test_what_fails_is_tried_five_times_more_within_the_hour(receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    scene = Scene(receiver.url)
    began = time.monotonic()
    scene.send()

    (delivery,) = scene.drained()

    assert 0.55 < time.monotonic() - began < 3
    assert delivery["state"] == "given_up"
    assert [one["status"] for one in delivery["attempts"]] == [500] * 6
    assert len({one.body for one in receiver.received}) == 1
    assert all(one.is_signed(CLIENT_SECRET) for one in receiver.received)


def test_a_retry_that_succeeds_is_the_last(receiver: Receiver) -> None:
    receiver.answer = lambda _: 204 if len(receiver.received) > 2 else 429
    scene = Scene(receiver.url)
    scene.send()

    (delivery,) = scene.drained()

    assert delivery["state"] == "delivered"
    assert [one["status"] for one in delivery["attempts"]] == [429, 429, 204]


@pytest.mark.parametrize("resign", [False, True])
def test_retries_keep_the_first_timestamp_unless_told_otherwise(
    receiver: Receiver, *, resign: bool
) -> None:
    scene = Scene(receiver.url, webhook_resign=resign)

    def move_on(_: Any) -> int:
        scene.watch.move(60)
        return 503

    receiver.answer = move_on
    scene.send()
    scene.drained()

    assert len({one.timestamp for one in receiver.received}) == (6 if resign else 1)
    assert all(one.is_signed(CLIENT_SECRET) for one in receiver.received)


def test_redirects_and_other_successes_are_taken_at_their_word(receiver: Receiver) -> None:
    answers = iter([302, 200])
    receiver.answer = lambda _: next(answers)
    scene = Scene(receiver.url)
    scene.send()

    (delivery,) = scene.drained()

    assert [one["status"] for one in delivery["attempts"]] == [302, 200]
    assert delivery["state"] == "delivered"


def test_whoever_takes_too_long_is_asked_again(receiver: Receiver) -> None:
    receiver.pause = 0.4
    scene = Scene(receiver.url, webhook_timeout=0.1, hour_seconds=3.0)
    scene.send()
    time.sleep(0.2)
    receiver.pause = 0.0

    (delivery,) = scene.drained()

    assert delivery["state"] == "delivered"
    first, *_, last = delivery["attempts"]
    assert (first["status"], first["error"]) == (None, "TimeoutError")
    assert 0.1 <= first["latency"] < 0.4
    assert last["status"] == 204


def test_where_nobody_listens_everything_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    scene = Scene(f"http://127.0.0.1:{port}/", hour_seconds=0.06)
    scene.send(3)

    for delivery in scene.drained():
        assert delivery["state"] == "given_up"
        assert {one["error"] for one in delivery["attempts"]} == {"ConnectionRefusedError"}


def test_waiting_has_an_end(receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    scene = Scene(receiver.url, hour_seconds=3600)
    scene.send()

    assert not scene.webhooks.drain(0.1)
    (delivery,) = scene.webhooks.log
    assert delivery["state"] == "pending"
    scene.webhooks.clear_log()
    assert scene.webhooks.log == []


def test_a_slow_receiver_keeps_neither_world_nor_members_waiting(receiver: Receiver) -> None:
    receiver.pause = 0.5
    scene = Scene(receiver.url)
    began = time.monotonic()
    scene.changes.rescore(scene.user_id, "sleep", scene.some("sleep")["id"])
    scene.visitor.get("/v2/cycle", scene.tokens["access_token"])

    assert time.monotonic() - began < 0.4
    assert {one["state"] for one in scene.drained()} == {"delivered"}


# Mishaps


def test_what_is_lost_is_reported_and_never_sent(receiver: Receiver) -> None:
    scene = Scene(receiver.url)
    scene.webhooks.set_mishaps(Mishaps(lose=0.5))
    scene.send(40)

    states = Counter(one["state"] for one in scene.drained())

    assert states["lost"] + states["delivered"] == 40
    assert 8 < states["lost"] < 32
    assert len(receiver.received) == states["delivered"]
    for one in scene.webhooks.log:
        assert (one["state"] == "lost") == (one["mishap"] == "lose") == (one["attempts"] == [])


def test_duplicates_are_the_same_event_twice(receiver: Receiver) -> None:
    scene = Scene(receiver.url)
    scene.webhooks.set_mishaps(Mishaps(duplicate=1))
    scene.send(3)
    scene.drained()

    counted = Counter(one.body for one in receiver.received)
    assert list(counted.values()) == [2, 2, 2]


def test_what_is_held_back_is_overtaken(receiver: Receiver) -> None:
    scene = Scene(receiver.url)
    scene.webhooks.set_mishaps(Mishaps(reorder=1, hold_seconds=0.3))
    scene.send()
    scene.webhooks.clear_mishaps()
    scene.simulator.world.add_workout(scene.user_id)
    scene.drained()

    assert [event["type"] for event in receiver.events] == ["workout.updated", "sleep.updated"]


def test_an_old_timestamp_is_older_than_two_hours_and_rightly_signed(receiver: Receiver) -> None:
    scene = Scene(receiver.url)
    scene.webhooks.set_mishaps(Mishaps(old=1))
    scene.send()
    scene.drained()

    (one,) = receiver.received
    assert one.is_signed(CLIENT_SECRET)
    assert NOW - datetime.fromtimestamp(int(one.timestamp) / 1000, UTC) > timedelta(hours=2)


def test_a_forgery_comes_beside_the_true_one_and_only_once(receiver: Receiver) -> None:
    receiver.answer = lambda one: 204 if one.is_signed(CLIENT_SECRET) else 401
    scene = Scene(receiver.url)
    scene.webhooks.set_mishaps(Mishaps(forge=1))
    scene.send()
    deliveries = {one["mishap"]: one for one in scene.drained()}

    assert deliveries[None]["state"] == "delivered"
    assert [one["status"] for one in deliveries["forge"]["attempts"]] == [401]
    assert sorted(one.is_signed(CLIENT_SECRET) for one in receiver.received) == [False, True]
    true, forged = sorted(receiver.received, key=lambda one: not one.is_signed(CLIENT_SECRET))
    assert forged.event == true.event | {"trace_id": forged.event["trace_id"]}


def test_strange_members_types_and_bodies_are_rightly_signed(receiver: Receiver) -> None:
    scene = Scene(receiver.url)
    scene.webhooks.set_mishaps(Mishaps(unknown_user=1, unknown_type=1, malformed=1))
    scene.send(40)
    deliveries = scene.drained()

    assert Counter(one["mishap"] for one in deliveries) == {
        None: 40,
        "unknown_user": 40,
        "unknown_type": 40,
        "malformed": 40,
    }
    assert all(one.is_signed(CLIENT_SECRET) for one in receiver.received)
    strangers = [one for one in deliveries if one["mishap"] == "unknown_user"]
    assert not {one["user_id"] for one in strangers} & set(scene.simulator.world.members)
    others = [one for one in deliveries if one["mishap"] == "unknown_type"]
    assert {one["type"] for one in others} == {"steps.updated"}
    bodies = {one.body for one in receiver.received if not _is_event(one)}
    assert len(bodies) > 20


def _is_event(one: Any) -> bool:
    try:
        event = one.event
        return set(event) == {"user_id", "id", "type", "trace_id"} and bool(UUID(event["id"]))
    except (ValueError, AttributeError, TypeError):
        return False


def test_one_seed_makes_one_series_of_mishaps(receiver: Receiver) -> None:
    def series(seed: int) -> list[tuple[Any, ...]]:
        scene = Scene(receiver.url, seed=seed)
        scene.webhooks.set_mishaps(Mishaps.all(0.4, hold_seconds=0.01))
        scene.simulator.live(4, rates=Rates.all(0.5))
        return [(one["mishap"], one["trace_id"], one["type"], one["id"]) for one in scene.drained()]

    first = series(5)
    assert len(first) > 20
    assert {one[0] for one in first} > {"lose", "duplicate", "forge", "malformed"}
    assert first == series(5) != series(6)


@pytest.mark.parametrize(
    "mishaps", [None, [], {"lose": 1.1}, {"lose": "1"}, {"lose": True}, {"explode": 1}]
)
def test_an_impossible_mishap_is_refused(mishaps: Any) -> None:
    with pytest.raises(ValueError, match=r"lose|mishaps"):
        Mishaps.from_json(mishaps)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "webhooks", "http://", "http://a:99999/"])
def test_an_impossible_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        Scene(url)
