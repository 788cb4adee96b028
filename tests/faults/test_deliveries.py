"""Messages come twice and late, and the hosts' clocks disagree."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import requests

from dev.simulator import Fault
from tests.faults import sabotage
from tests.faults.plant import LEASE_SECONDS, QUEUES, SOON, Plant, a_plant

pytestmark = [pytest.mark.azurite, pytest.mark.long]


def test_messages_that_come_three_times_change_nothing(tmp_path: Path) -> None:
    # A slice is over after each page, so that every page has a message of its own.
    short = {sabotage.SET: f"{SOON} shared.slices:SLICE=0"}
    with a_plant(tmp_path) as plant:
        plant.start(short, short)
        plant.simulator.add_fault(Fault("/v2/(cycle|recovery|activity)", delay=1.0))
        people = plant.join(4, days=60)
        for number in range(2):
            plant.kill(number)
        time.sleep(LEASE_SECONDS + 1)
        copied = send_twice(plant)
        assert len(copied) >= 8
        plant.simulator.clear_faults()
        plant.keep_alive()
        plant.wait(people)
        settle(plant)
        plant.check(people)
        before = plant.rows()

        # And once more, after everything is over.
        for name, text in copied:
            with plant.queue(name) as queue:
                queue.send_message(text)
        settle(plant)

        assert plant.rows() == before
        plant.check(people)


@pytest.mark.parametrize("seconds", [-2, 2, -300, 300])
def test_a_host_whose_clock_is_wrong_keeps_the_budget(tmp_path: Path, seconds: int) -> None:
    with a_plant(tmp_path, per_minute=20, minute_seconds=4, windows="sliding") as plant:
        plant.start({}, {sabotage.CLOCK: str(seconds)})
        people = plant.join(3, days=60)

        plant.wait(people)

        plant.check(people)
        health = requests.get(f"http://localhost:{plant.ports[1]}/health/", timeout=30).json()
        assert health["checks"]["clock"] == ("off" if abs(seconds) > 30 else "ok")
        assert len(plant.data_calls()) > 30
        assert [call for call in plant.simulator.log if call["status"] == 429] == []


def send_twice(plant: Plant) -> list[tuple[str, str]]:
    """Send what waits in the queues two more times; return it."""
    copied = []
    for name in QUEUES:
        with plant.queue(name) as queue:
            texts = [str(message.content) for message in queue.peek_messages(max_messages=32)]
            for text in texts * 2:
                queue.send_message(text)
            copied += [(name, text) for text in texts]
    return copied


def settle(plant: Plant) -> None:
    """Wait until the queues are empty, and so is everybody's hand."""
    deadline = time.monotonic() + 60
    for name in QUEUES:
        with plant.queue(name) as queue:
            while queue.get_queue_properties().approximate_message_count:
                assert time.monotonic() < deadline
                time.sleep(0.1)
