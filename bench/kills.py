"""Kill hosts, with SIGKILL and at random, while members are brought in: nothing may be lost.

    .venv/bin/python bench/kills.py [--kills 20] [--members 20] [--days 180] [--hosts 3] [--json]

A killed host is started again at once, as the platform would.  WHOOP answers slowly until the
last kill, so that each one finds hosts with full hands; a message in a dead hand comes back after
a lease of 3 seconds, in place of the functions host's ten minutes.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import field  # noqa: E402 - only now it can be found
from bench.field import Figures, console  # noqa: E402
from dev.simulator import Fault  # noqa: E402
from tests.faults.plant import HASTE, LEASE_SECONDS, Plant  # noqa: E402

#: What the host says of a message that has been in another hand before.
AGAIN = "comes again"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and show what was found."""
    parser = field.parser(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--answer", type=float, default=2.0, help="seconds of one, meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    figures = Figures(
        f"{options.kills} kills: {options.members} members, {options.days} days, "
        f"{options.hosts} hosts"
    )
    with field.a_field(
        hosts=options.hosts,
        settings={"BACKFILL_DAYS": str(options.days)},
        haste=HASTE,
        lease=LEASE_SECONDS,
    ) as plant:
        plant.simulator.add_fault(Fault("/v2/(cycle|recovery|activity)", delay=options.answer))
        people = plant.invite(options.members, days=options.days)
        began = time.time()
        plant.connect_all(people)
        killer = Killer(plant, options.kills, random.Random(options.seed))  # noqa: S311 - repeatable
        field.until_finished(plant, people, pause=0.2, meanwhile=killer.turn)
        figures.claim("hosts killed", killer.kills, str(options.kills), holds=not killer.left)
        figures.note("makespan, s", field.last_write(plant) - began)
        requests, least = len(plant.simulator.log), field.minimum(plant, people)
        figures.note("requests", requests)
        figures.note("minimum", least)
        figures.note("requests repeated for each kill", (requests - least) / options.kills)
        figures.note("messages delivered again", plant.words().count(AGAIN))
        field.records_are_true(plant, people, figures)
        field.nobody_is_parked(plant, people, figures)
    figures.note("load", field.load())
    return figures.show(as_json=options.json)


class Killer:
    """Kills a host now and then."""

    def __init__(self, plant: Plant, kills: int, dice: random.Random) -> None:
        self.plant, self.dice = plant, dice
        self.kills, self.left = 0, kills
        self.due = time.monotonic()

    def turn(self) -> None:
        """Start again what has died; kill another one if it is time."""
        self.plant.keep_alive()
        if not self.left or time.monotonic() < self.due:
            return
        self.plant.kill(self.dice.randrange(len(self.plant.hosts)))
        self.kills, self.left = self.kills + 1, self.left - 1
        self.due = time.monotonic() + self.dice.uniform(1.5, 3.5)
        console.print(f"kill {self.kills}", style="dim")
        if not self.left:
            self.plant.simulator.clear_faults()


if __name__ == "__main__":
    raise SystemExit(main())
