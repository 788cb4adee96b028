"""Tokens end in the middle of everything; each end costs one renewal."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from dev.simulator import Fault
from tests.faults import sabotage
from tests.faults.plant import ROOT, Person, Plant, a_plant

pytestmark = [pytest.mark.azurite, pytest.mark.long]

TOKEN_SECONDS = 6


def test_a_token_that_ends_in_the_middle_of_a_page_run_is_renewed_once(tmp_path: Path) -> None:
    with a_plant(tmp_path, latency=0.05, token_seconds=TOKEN_SECONDS) as plant:
        plant.start({}, {})
        plant.simulator.add_fault(Fault("/v2/(cycle|recovery|activity)", delay=3.0))
        people = plant.join(3, days=60)

        plant.wait(people)

        plant.check(people)
        for person in people:
            calls = plant.token_calls(person.member)
            assert len(calls) >= 2, "no token has ended"
            times = [datetime.fromisoformat(call["at"]) for call in calls]
            # A tenth of its life before its end, and never while it is good.
            assert all(
                later - earlier >= timedelta(seconds=TOKEN_SECONDS * 0.85)
                for earlier, later in pairwise(times)
            ), times


def test_fifty_callers_in_two_processes_renew_an_expired_token_once(tmp_path: Path) -> None:
    with a_plant(tmp_path) as plant:
        plant.start({})
        (person,) = plant.join()
        plant.wait([person])
        plant.simulator.add_fault(Fault("/oauth2/token", delay=0.5))

        found = lend(plant, person, {}, {})

        # All have the new one, whoever renewed; the look-alike has made it once.
        assert len(set().union(*found)) == 1
        assert sum(sum(counts.values()) for counts in found) == 50
        assert len(plant.token_calls()) == 2  # with the one of connecting


@pytest.mark.parametrize("seconds", [-2, 2, -300, 300])
def test_a_host_whose_clock_is_wrong_keeps_claims(tmp_path: Path, seconds: int) -> None:
    with a_plant(tmp_path) as plant:
        plant.start({})
        (person,) = plant.join()
        plant.wait([person])
        plant.simulator.add_fault(Fault("/oauth2/token", delay=0.5))

        found = lend(plant, person, {}, {sabotage.CLOCK: str(seconds)})

        assert len(set().union(*found)) == 1
        assert len(plant.token_calls()) == 2


def lend(plant: Plant, person: Person, *sabotages: dict[str, str]) -> list[dict[str, int]]:
    """Let 25 threads in each process use the token at the same moment; return who got which."""
    plant.simulator.expire_tokens(person.member.user_id)
    with plant.table("Connections") as table:
        (row,) = [row for row in table.list_entities() if row.get("user") == person.user]
        # Our row has to say so as well, or nobody would know without asking.
        table.update_entity({**row, "expires_at": row["issued_at"]})
    go = plant.folder / "go"
    callers = [
        subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-m", "tests.faults.callers", row["ref"], "25", str(go)],
            cwd=ROOT,
            env={
                **plant.variables(),
                **plant.settings,
                **broken,
            },
            stdout=subprocess.PIPE,
        )
        for broken in sabotages
    ]
    try:
        deadline = time.monotonic() + 60
        while len(list(plant.folder.glob("go.*"))) < len(callers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        go.touch()
        return [json.loads(caller.communicate(timeout=60)[0]) for caller in callers]
    finally:
        for caller in callers:
            caller.kill()
            caller.communicate()
