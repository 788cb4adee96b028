"""Storage goes away, WHOOP has bad days: everybody's records are there in the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from dev.simulator import Fault
from tests.faults import sabotage
from tests.faults.plant import SOON, a_plant

pytestmark = [pytest.mark.azurite, pytest.mark.long]

DATA = "/v2/(cycle|recovery|activity)"


def test_storage_that_stops_and_starts_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    with a_plant(tmp_path) as plant:
        plant.start({}, {})
        plant.simulator.add_fault(Fault(DATA, delay=0.5))
        people = plant.join(4, days=60)

        plant.azurite.stop()
        time.sleep(3)
        plant.azurite.start()

        plant.wait(people)
        plant.check(people)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(
            [Fault(r"/v2/(cycle|activity/sleep)", status=500, seconds=10)], id="10 s of 500 on half"
        ),
        pytest.param([Fault(DATA, delay=2.0, times=12)], id="time-outs"),
        pytest.param([Fault(DATA, cut=True, times=12)], id="cut bodies"),
        pytest.param(
            [Fault("/v2/", status=429, headers={"X-RateLimit-Reset": "1"}, seconds=2)],
            id="2 s of 429",
        ),
    ],
)
def test_a_bad_day_at_whoop_loses_nothing_and_parks_nobody(
    tmp_path: Path, faults: list[Any]
) -> None:
    calm = {
        # Attempts are for outages of hours, and here they last for seconds.
        sabotage.SET: f"{SOON} whoop.client:READ=1 shared.core.backoff:MAX_ATTEMPTS=60"
        " shared.renewal:YOUNG=0"
    }
    with a_plant(tmp_path) as plant:
        plant.start(calm, calm)
        people = plant.join(3)
        plant.wait(people)
        for fault in faults:
            plant.simulator.add_fault(fault)
        more = plant.join(3, days=60)
        for person in people:
            plant.simulator.expire_tokens(person.member.user_id)
        plant.sync(people)

        plant.wait([*people, *more])

        plant.check([*people, *more])
