"""A record is deleted while the pages that list it are being read."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient

from dev.azurite import Azurite
from dev.simulator import Fault, Mishaps
from tests.journeys.conftest import Gym, a_gym

pytestmark = [pytest.mark.azurite, pytest.mark.long]

PAGES = "/v2/activity/sleep$"
#: The deletion is to be heard of while page 2 is on its way, or when the run is over.
HELD_UP, TOLD_LATE = 2.5, 5.0


@pytest.mark.parametrize("late", [False, True], ids=["told at once", "told when the run is over"])
def test_a_deletion_between_two_pages_skips_nothing(tmp_path: Path, *, late: bool) -> None:
    with Azurite(tmp_path) as azurite, a_gym(azurite) as gym:
        user, member = gym.join(days=80)
        gym.simulator.webhooks.set_urls([f"{gym.api}/webhooks/whoop/"])
        # Page tokens are offsets: what is deleted above one moves a record from the page below
        # it to the one that has been read.
        gym.simulator.add_fault(Fault(PAGES, times=1))
        gym.simulator.add_fault(Fault(PAGES, times=1, delay=HELD_UP))
        if late:
            # Signed when it happened, and delivered long after.
            mishaps = Mishaps(reorder=1, hold_seconds=TOLD_LATE)
            gym.simulator.webhooks.set_mishaps(mishaps)
        gym.connect(user, member)
        until_page(gym, 2)
        listed = member.listing("sleep", start=None, end=None, now=gym.simulator.world.now())
        assert len(listed) > 75
        gym.simulator.changes.delete(member.user_id, "sleep", listed[10].id)

        assert gym.wait(user)["run"]["state"] == "finished"
        assert gym.simulator.webhooks.drain(3 * TOLD_LATE)
        empty(gym)
        if not late:
            # Its recovery went with it, perhaps between the last pages that list those: whoever
            # is told when a list was read to its end leaves the second reading to the next run.
            assert [one for one in gym.differences(user, member) if "sleep" in one] == []
        gym.call("POST", "/providers/whoop/sync/", user)
        gym.wait(user)

        assert gym.differences(user, member) == []


def until_page(gym: Gym, number: int) -> None:
    """Wait until so many pages of sleeps have been asked for."""
    deadline = time.monotonic() + 20
    while sum(entry["path"].endswith("/activity/sleep") for entry in gym.simulator.log) < number:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def empty(gym: Gym) -> None:
    """Wait until everything that was told has been looked at."""
    deadline = time.monotonic() + 20
    with QueueClient.from_connection_string(gym.azurite.connection_string, "sync-events") as queue:
        while queue.get_queue_properties().approximate_message_count:
            assert time.monotonic() < deadline
            time.sleep(0.05)
