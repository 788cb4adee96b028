"""What happens in the WHOOP app is in the raw layer moments later, and nobody has asked for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from dev.azurite import Azurite
from dev.raw import Current, read_current
from dev.simulator import NO_CHANGES, Member, signing
from dev.simulator.members import Document, Listed, Resource
from tests.journeys.conftest import Gym, a_gym

pytestmark = pytest.mark.azurite

#: Tokens last from one day to the next.
DAYS_SECONDS = 3 * 86_400


class Clock:
    """WHOOP's clock, which is a day behind until ``catch_up``."""

    def __init__(self) -> None:
        self.behind = timedelta(days=1)

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self.behind

    def catch_up(self) -> None:
        self.behind = timedelta(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gym(journey_storage: Azurite, clock: Clock) -> Iterator[Gym]:
    with a_gym(journey_storage, clock=clock, token_seconds=DAYS_SECONDS) as running:
        running.simulator.webhooks.set_urls([f"{running.api}/webhooks/whoop/"])
        yield running


def a_member(gym: Gym, days: int) -> tuple[str, Member, str]:
    """Connect somebody; return their only run as well."""
    user, member = gym.join(days=days)
    gym.connect(user, member)
    return user, member, gym.wait(user)["run"]["id"]


def listed(gym: Gym, member: Member, resource: Resource) -> list[Listed]:
    return member.listing(resource, start=None, end=None, now=gym.simulator.world.now())


def held(gym: Gym, user: str, resource: str) -> dict[str, Current]:
    return read_current(gym.azurite.connection_string, "whoop", user, resource)


def hashes(gym: Gym, member: Member, resource: str) -> dict[str, str]:
    truth = gym.simulator.truth(member.user_id, None, None)[resource]
    return {one["id"]: one["hash"] for one in truth}


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def asked(gym: Gym, *ids: str) -> list[Document]:
    """Return the requests for what has one of ``ids``."""
    return [
        entry for entry in gym.simulator.log if any(one in entry["path"].split("/") for one in ids)
    ]


def forge(gym: Gym, member: Member, record: str) -> int:
    """Say what WHOOP might, without knowing its secret; return the answer's status."""
    event = {"user_id": member.user_id, "id": record, "type": "workout.updated", "trace_id": "x"}
    body = signing.body_of(event)
    headers = signing.headers_for(body, signing.stamp(datetime.now(UTC)), "a-guess")
    return signing.post(f"{gym.api}/webhooks/whoop/", body, headers, 5)


def test_a_new_night_arrives_at_the_cost_of_three_requests(gym: Gym, clock: Clock) -> None:
    user, member, run = a_member(gym, days=3)
    before = {one.id for one in listed(gym, member, "recovery")}
    gym.simulator.clear_log()

    clock.catch_up()
    gym.simulator.live(0, rates=NO_CHANGES)

    [recovery] = [one for one in listed(gym, member, "recovery") if one.id not in before]
    night = recovery.revision.document["sleep_id"]
    expected = {"sleep": night, "cycle": recovery.id, "recovery": recovery.id}
    truth = {name: hashes(gym, member, name)[record] for name, record in expected.items()}

    def is_there() -> bool:
        found = {name: held(gym, user, name).get(record) for name, record in expected.items()}
        return {name: one.hash for name, one in found.items() if one} == truth

    eventually(is_there)
    assert gym.simulator.webhooks.drain()
    assert len(asked(gym, night, recovery.id)) <= 3
    told = {one["type"] for one in gym.simulator.webhooks.log if one["id"] == night}
    assert told == {"sleep.updated", "recovery.updated"}
    assert gym.status(user)["run"]["id"] == run


def test_edits_and_deletions_arrive_and_forgeries_do_not(gym: Gym, clock: Clock) -> None:
    clock.catch_up()
    user, member, run = a_member(gym, days=12)
    edited, deleted, untold = (one.id for one in listed(gym, member, "workout")[:3])
    before = held(gym, user, "workout")
    gym.simulator.clear_log()
    changes, webhooks = gym.simulator.changes, gym.simulator.webhooks

    changes.edit(member.user_id, "workout", untold, {"sport_name": "skiing"}, announce=False)
    assert forge(gym, member, untold) == 401
    changes.edit(member.user_id, "workout", edited, {"sport_name": "rowing"})
    changes.delete(member.user_id, "workout", deleted)

    expected = {**hashes(gym, member, "workout"), untold: before[untold].hash}
    eventually(
        lambda: {name: one.hash for name, one in held(gym, user, "workout").items()} == expected
    )
    statuses = [[attempt["status"] for attempt in one["attempts"]] for one in webhooks.log]
    assert statuses == [[204], [204]]
    assert len(asked(gym, edited)) == len(asked(gym, deleted)) == 1
    assert asked(gym, untold) == []
    assert len(gym.simulator.log) == 2
    assert gym.status(user)["run"]["id"] == run
