"""Tell the app of 200 changes a second, and see that each is thanked for at once and followed up.

    .venv/bin/python bench/webhooks.py [--rate 200] [--seconds 20] [--members 10] [--json]

One host answers HTTP and another one works off the queues, as in Azure, where each function group
scales on its own.  Half of the events are about a real change.  Afterwards the raw layer has to
be what the look-alike knows.
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
from dev.simulator import Load  # noqa: E402
from tests.faults.plant import Plant  # noqa: E402

SLOWEST = 50.0
QUEUES = ("sync_now", "sync_later", "sync_events")
#: The host that answers leaves the queues to the other one.
ANSWERS = {
    f"AzureWebJobs.{name}{end}.Disabled": "true" for name in QUEUES for end in ("", "_poison")
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and show what was found."""
    parser = field.parser(__doc__)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--slowest", type=float, default=SLOWEST, help="p99, in milliseconds")
    options = parser.parse_args(arguments)
    figures = Figures(f"{options.rate:g} webhooks a second for {options.seconds:g} s")
    enough = {"WHOOP_REQUESTS_PER_MINUTE": "100000", "WHOOP_REQUESTS_PER_DAY": "1000000"}
    with field.a_field(
        hosts=2,
        settings=enough,
        variables=[ANSWERS, {}],
    ) as plant:
        people = plant.invite(options.members, days=30)
        plant.connect_all(people)
        field.until_finished(plant, people)
        before = len(plant.simulator.log)
        told = plant.simulator.blast(
            Load(options.rate, options.seconds), url=f"{plant.api}/webhooks/whoop/", edits=0.5
        )
        began = time.monotonic()
        drain(plant)
        thanked = told["statuses"].get("204", 0)
        figures.claim("thanked for", thanked, f"all {told['sent']}", holds=thanked == told["sent"])
        figures.note("a second", told["rate"])
        for name in ("p50", "p95", "max"):
            figures.note(f"{name}, ms", told["latency"].get(name, 0.0))
        slow = told["latency"].get("p99", float("inf"))
        figures.claim(
            "p99, ms", slow, f"less than {options.slowest:g}", holds=slow < options.slowest
        )
        figures.note("until the queue was empty, s", time.monotonic() - began)
        figures.note("requests to WHOOP", len(plant.simulator.log) - before)
        wrong = sum(
            len(plant.differences(person, plant.status(person)["run"]["goal"])) for person in people
        )
        figures.claim("records that differ", wrong, "0", holds=not wrong)
        field.nobody_is_parked(plant, people, figures)
    figures.note("load", field.load())
    return figures.show(as_json=options.json)


def drain(plant: Plant, limit: float = 600.0) -> None:
    """Return when no event is left to look at, hidden ones included."""
    deadline = time.monotonic() + limit
    quiet = 0
    with plant.queue("sync-events") as queue:
        while quiet < 3:
            left = queue.get_queue_properties().approximate_message_count or 0
            quiet = 0 if left else quiet + 1
            assert time.monotonic() < deadline, f"{left} events are left"
            console.print(f"{left} events left", style="dim")
            time.sleep(1)


if __name__ == "__main__":
    raise SystemExit(main())
