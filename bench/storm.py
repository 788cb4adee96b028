"""Let WHOOP refuse everything for two seconds while members are brought in.

    .venv/bin/python bench/storm.py [--members 10] [--days 365] [--seconds 2] [--json]

Every request is answered with 429, at the token endpoint as well, from when a third of all
requests have been made.  The app waits as long as it does in earnest.  Tokens live for 20
seconds, so that renewals come in between.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import field  # noqa: E402 - only now it can be found
from bench.field import Figures, console  # noqa: E402
from dev.simulator import Fault  # noqa: E402

EVERYTHING = "^/"
TOKEN_SECONDS = 20
THIRD = 3
OK = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and show what was found."""
    parser = field.parser(__doc__)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args(arguments)
    figures = Figures(
        f"{options.seconds:g} s of 429: {options.members} members, {options.days} days, "
        f"{options.hosts} hosts"
    )
    with field.a_field(
        hosts=options.hosts,
        settings={"BACKFILL_DAYS": str(options.days)},
        token_seconds=TOKEN_SECONDS,
    ) as plant:
        people = plant.invite(options.members, days=options.days)
        expected = plant.simulator.minimum_requests(
            [person.member.user_id for person in people], None, None
        )
        began = time.time()
        plant.connect_all(people)
        while len(plant.simulator.log) < expected / THIRD:
            time.sleep(0.05)
        console.print(f"storm after {len(plant.simulator.log)} requests", style="dim")
        storm = Fault(
            EVERYTHING, status=429, headers={"X-RateLimit-Reset": "1"}, seconds=options.seconds
        )
        plant.simulator.add_fault(storm)
        broke = time.time()
        field.until_finished(plant, people)
        makespan = field.last_write(plant) - began
        log = plant.simulator.log
        over = [entry for entry in log if entry["status"] == field.TOO_MANY]
        good = [field.at(entry) for entry in log if entry["status"] == OK]
        after = min((at for at in good if at > broke + options.seconds), default=broke)
        figures.claim("answered with 429", len(over), "1 or more", holds=bool(over))
        figures.note("of them at the token endpoint", sum(e["kind"] == "token" for e in over))
        figures.note("from the storm's end to the next answer, s", after - broke - options.seconds)
        figures.note("makespan, s", makespan)
        figures.note("requests that were answered", len(good))
        figures.note("minimum without renewals", field.minimum(plant, people))
        field.records_are_true(plant, people, figures)
        field.nobody_is_parked(plant, people, figures)
    figures.note("load", field.load())
    return figures.show(as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
