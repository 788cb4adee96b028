"""Hosts are killed in the middle of everything; nothing is lost and nothing is doubled."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from pathlib import Path

import pytest

from dev.simulator import Fault
from tests.faults import sabotage
from tests.faults.plant import SOON, a_plant
from tests.faults.speed import SCRIPT, SPEED, Speed

pytestmark = [pytest.mark.azurite, pytest.mark.long]


def test_hosts_that_are_killed_every_few_seconds_lose_and_double_nothing(tmp_path: Path) -> None:
    dice = random.Random(7)
    with a_plant(tmp_path, latency=0.05) as plant:
        plant.start({}, {}, {})
        # Slow enough that the backfill is still on when the last host dies.
        plant.simulator.add_fault(Fault("/v2/(cycle|recovery|activity)", delay=1.2))
        people = plant.join(20, days=60)
        kills, due = 0, time.monotonic()

        def kill_one() -> None:
            nonlocal kills, due
            plant.keep_alive()
            if kills < 6 and time.monotonic() >= due:
                plant.kill(dice.randrange(len(plant.hosts)))
                kills, due = kills + 1, time.monotonic() + dice.uniform(3, 5)

        plant.wait(people, meanwhile=kill_one)

        assert kills >= 3
        plant.check(people)


def test_the_hosts_own_lease_of_ten_minutes_brings_back_what_a_killed_host_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing that waits is shortened: storage, hosts and WHOOP share a clock that runs thirty
    # times as fast.  Only the network does not, so what covers its delays grows by as much.
    fast = Speed(30, time.time())
    monkeypatch.setenv(SPEED, fast.text)
    monkeypatch.setenv("NODE_OPTIONS", f"--require={SCRIPT}")
    network = "shared.core.budget:MARGIN=30 shared.spending:PERMIT=15 shared.spending:PATIENCE=0"
    haste = {SPEED: fast.text, sabotage.SET: network}
    with a_plant(
        tmp_path, haste=haste, lease=600, clock=fast, per_minute=100, per_day=10_000
    ) as plant:
        plant.start({}, {})
        plant.simulator.add_fault(Fault("/v2/(cycle|recovery|activity)", delay=2))
        people = plant.join(4, days=60)
        while len(plant.data_calls()) < 16:
            time.sleep(0.05)

        plant.kill(1)
        killed_at = fast()
        plant.simulator.clear_faults()
        plant.wait(people, seconds=60, meanwhile=plant.keep_alive)

        assert timedelta(minutes=9) < fast() - killed_at < timedelta(minutes=15)
        assert "comes again" in plant.words()
        assert "run.revived" not in plant.words()
        assert [call for call in plant.simulator.log if call["status"] == 429] == []
        plant.check(people)


@pytest.mark.parametrize(
    ("where", "call"),
    [
        pytest.param("whoop.client:Client.fetch", 3, id="page fetched"),
        pytest.param(
            "shared.adapters.tables.records:TableRecords.commit", 3, id="transaction written"
        ),
        pytest.param("shared.adapters.queue:StorageQueues.defer", 2, id="continuation deferred"),
    ],
)
def test_a_host_that_dies_right_there_loses_and_doubles_nothing(
    tmp_path: Path, where: str, call: int
) -> None:
    mark = tmp_path / "died"
    fatal = {
        sabotage.DIE: where,
        sabotage.DIE_CALL: str(call),
        sabotage.DIE_MARK: str(mark),
        # So that there are continuations: a slice is over after each page.
        sabotage.SET: f"{SOON} shared.slices:SLICE=0",
    }
    with a_plant(tmp_path) as plant:
        # The first one answers the members' browsers, which would see it die.
        plant.start({}, fatal)
        people = plant.join(3, days=60)

        plant.wait(people, meanwhile=plant.keep_alive)

        assert mark.exists()
        plant.check(people)


def test_a_host_that_dies_with_a_new_token_is_reported_and_signs_out_only_with_whoops_word(
    tmp_path: Path,
) -> None:
    mark = tmp_path / "died"
    fatal = {
        sabotage.DIE: "whoop.client:Client.renew",
        sabotage.DIE_MARK: str(mark),
        sabotage.SET: f"{SOON} shared.renewal:YOUNG=0 shared.renewal:CLAIM=4"
        " shared.renewal:LONGEST_CALL=1",
    }
    with a_plant(tmp_path) as plant:
        plant.start(fatal, fatal)
        one, other = people = plant.join(2)
        plant.wait(people)
        plant.simulator.expire_tokens(one.member.user_id)
        plant.sync(people)

        deadline = time.monotonic() + 60
        while plant.status(one)["connection"]["status"] == "connected":
            assert time.monotonic() < deadline
            plant.nudge(people)
            time.sleep(0.1)
        plant.wait([other], meanwhile=lambda: plant.nudge([other]))

        # WHOOP kills the whole grant when a spent refresh token comes back: that is its word.
        assert mark.exists()
        assert [call["status"] for call in plant.token_calls(one.member)] == [200, 200, 400]
        assert "renewal.interrupted" in plant.words()
        plant.check([other])
        plant.connect(one)
        plant.wait(people)
        assert plant.status(one)["connection"]["status"] == "connected"


def test_a_host_that_dies_with_a_new_token_is_healed_where_whoop_still_takes_the_old_pair(
    tmp_path: Path,
) -> None:
    # The process dies before WHOOP has seen the request: between the claim and the renewal.
    mark = tmp_path / "died"
    fatal = {
        sabotage.DIE: "shared.renewal:Tokens._claim",
        sabotage.DIE_MARK: str(mark),
        sabotage.SET: f"{SOON} shared.renewal:YOUNG=0 shared.renewal:CLAIM=4"
        " shared.renewal:LONGEST_CALL=1",
    }
    with a_plant(tmp_path) as plant:
        plant.start(fatal, fatal)
        people = plant.join(1)
        plant.wait(people)
        plant.simulator.expire_tokens(people[0].member.user_id)
        plant.sync(people)

        plant.wait(people, meanwhile=lambda: plant.nudge(people))

        assert mark.exists()
        assert "renewal.interrupted" in plant.words()
        assert [call["status"] for call in plant.token_calls(people[0].member)] == [200, 200]
        plant.check(people)
