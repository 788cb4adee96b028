from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from dev.simulator import Load, Simulator, UnknownRecord
from dev.simulator.faults import Unusable
from tests.simulator.receiver import Receiver, a_receiver
from tests.simulator.visitor import CLIENT_SECRET, Visitor, Watch, a_simulator


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as receiver:
        yield receiver


def a_visitor(receiver: Receiver, *, connected: bool = True) -> Visitor:
    visitor = Visitor(a_simulator(Watch(), webhook_urls=(receiver.url,)))
    for _ in range(2):
        user_id = visitor.simulator.world.add_member(days=10).user_id
        if connected:
            visitor.connect(user_id)
    return visitor


def test_two_hundred_a_second_are_sent_over_connections_kept_open(receiver: Receiver) -> None:
    simulator = a_visitor(receiver).simulator

    told = simulator.blast(Load(rate=200, seconds=2))

    assert told["sent"] == len(receiver.received) == 400
    assert told["statuses"] == {"204": 400}
    assert told["errors"] == {}
    assert 1.9 < told["seconds"] < 3
    assert told["rate"] > 150
    assert list(told["latency"]) == ["p50", "p90", "p95", "p99", "max"]
    assert 0 < told["latency"]["p50"] <= told["latency"]["p99"] <= told["latency"]["max"]
    assert told["behind"] >= 0
    assert all(one.is_signed(CLIENT_SECRET) for one in receiver.received)
    assert len({one.connection for one in receiver.received}) <= 16
    assert len({one["trace_id"] for one in receiver.events}) == 400


def test_the_events_are_about_what_there_is(receiver: Receiver) -> None:
    simulator = a_visitor(receiver).simulator
    before = hashes(simulator)

    simulator.blast(Load(rate=1000, seconds=0.1))

    for event in receiver.events:
        resource, what = event["type"].split(".")
        assert what == "updated"
        assert (event["user_id"], event["id"], resource) in before
    assert {event["user_id"] for event in receiver.events} == set(simulator.world.members)
    assert hashes(simulator) == before


def test_events_may_be_true(receiver: Receiver) -> None:
    simulator = a_visitor(receiver).simulator
    before = hashes(simulator)

    simulator.blast(Load(rate=1000, seconds=0.1), edits=1.0)

    after = hashes(simulator)
    told = {(event["user_id"], event["id"]) for event in receiver.events}
    changed = {key[:2] for key in before if before[key] != after[key]}
    assert len(changed) >= 25
    assert changed <= told
    # What has no score cannot be scored again; everything else was.
    assert len(told - changed) <= 5
    # The load is the load: an edit sends no webhook besides.
    assert len(receiver.received) == 100
    assert simulator.webhooks.log == []


def hashes(simulator: Simulator) -> dict[tuple[int, str, str], str]:
    """Every record's hash, by member, the id that webhooks name it by, and resource."""
    found = {}
    for user_id, member in simulator.world.members.items():
        truth = simulator.truth(user_id, None, None)
        nights = {one.id: one.latest.document["sleep_id"] for one in member.records["recovery"]}
        for resource in ("recovery", "sleep", "workout"):
            for one in truth[resource]:
                identity = nights[one["id"]] if resource == "recovery" else one["id"]
                found[user_id, identity, resource] = one["hash"]
    return found


def test_what_goes_wrong_is_counted_and_not_retried(receiver: Receiver) -> None:
    receiver.answer = lambda one: 503 if len(receiver.received) % 2 else 204
    simulator = a_visitor(receiver).simulator

    told = simulator.blast(Load(rate=500, seconds=0.1, connections=1))

    assert told["statuses"] == {"503": 25, "204": 25}
    assert len(receiver.received) == 50
    assert told["failed"] == receiver.events[::2]

    receiver.pause = 0.3
    told = simulator.blast(Load(rate=10, seconds=0.1, timeout=0.05))
    assert told["errors"] == {"TimeoutError": 1}
    assert told["latency"] == {}


def test_who_gives_no_answer_is_passed_over(receiver: Receiver) -> None:
    simulator = a_visitor(receiver).simulator
    with a_receiver() as other:
        died = other.url

    told = simulator.blast(Load(rate=500, seconds=0.1, connections=1), urls=[died, receiver.url])

    assert told["statuses"] == {"204": 50}
    assert told["errors"] == {"ConnectionRefusedError": 25}
    assert told["failed"] == []
    assert len({one["trace_id"] for one in receiver.events}) == 50


def test_several_take_turns(receiver: Receiver) -> None:
    simulator = a_visitor(receiver).simulator
    with a_receiver() as other:
        simulator.blast(Load(rate=500, seconds=0.1), urls=[other.url, receiver.url])

        assert len(other.received) == len(receiver.received) == 25


def test_a_connection_that_was_closed_in_the_meantime_is_opened_again(receiver: Receiver) -> None:
    receiver.hangs_up = True
    simulator = a_visitor(receiver).simulator

    told = simulator.blast(Load(rate=20, seconds=0.3, connections=1))

    assert told["statuses"] == {"204": 6}
    assert len({one.connection for one in receiver.received}) == 6


def test_what_has_gone_is_still_told_of(receiver: Receiver) -> None:
    simulator = a_visitor(receiver).simulator
    (first, *_) = simulator.world.members
    member = simulator.world.member(first)

    def delete_everything(_: Any) -> int:
        for record in member.records["workout"]:
            with suppress(UnknownRecord):
                simulator.changes.delete(first, "workout", record.id, announce=False)
        return 204

    receiver.answer = delete_everything
    told = simulator.blast(Load(rate=200, seconds=0.5), edits=1.0)

    assert told["statuses"] == {"204": 100}
    assert simulator.deleted(first)["workout"]


def test_one_seed_makes_one_series_of_events(receiver: Receiver) -> None:
    series = []
    for _ in range(2):
        simulator = a_visitor(receiver).simulator
        receiver.received.clear()
        simulator.blast(Load(rate=1000, seconds=0.05))
        series.append(sorted(one.body for one in receiver.received))

    assert series[0] == series[1]


@pytest.mark.parametrize(
    "load",
    [
        {"rate": 0, "seconds": 1},
        {"rate": 1, "seconds": 0},
        {"rate": 1, "seconds": 1, "connections": 0},
        {"rate": 1, "seconds": 1, "timeout": 0},
    ],
)
def test_an_impossible_load_is_refused(load: Any) -> None:
    with pytest.raises(Unusable):
        Load(**load)


def test_a_load_needs_somebody_to_hear_of_and_somebody_to_hear(receiver: Receiver) -> None:
    with pytest.raises(Unusable, match="nobody"):
        a_visitor(receiver, connected=False).simulator.blast(Load(rate=1, seconds=1))
    simulator = a_visitor(receiver).simulator
    with pytest.raises(Unusable, match="edits"):
        simulator.blast(Load(rate=1, seconds=1), edits=2)
    simulator.webhooks.set_urls([])
    with pytest.raises(Unusable, match="URL"):
        simulator.blast(Load(rate=1, seconds=1))
    assert simulator.blast(Load(rate=1, seconds=1), urls=[receiver.url])["statuses"] == {"204": 1}
