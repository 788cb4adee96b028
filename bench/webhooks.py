"""Tell the app of 200 changes a second, and see that each is thanked for at once and followed up.

    .venv/bin/python bench/webhooks.py [--rate 200] [--seconds 20] [--members 10] [--kill] [--json]

One host answers HTTP and another one works off the queues, as in Azure, where each function group
scales on its own.

Half of the events are about a real change, and on top of them some records are deleted.
Afterwards the raw layer has to be what the look-alike knows.

With ``--kill`` two hosts answer.  In the middle one of them is killed with SIGKILL, and so is the
one that works; both are started again.  The load goes to the host that is left, as a front end
sees to, and what got no 204 is sent again, as WHOOP does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import field  # noqa: E402 - only now it can be found
from bench.field import Figures, console  # noqa: E402
from dev.simulator import Load  # noqa: E402
from tests.faults.plant import HASTE, LEASE_SECONDS, Person, Plant  # noqa: E402

SLOWEST = 50.0
EDITS = 0.5
QUEUES = ("sync_now", "sync_later", "sync_events")
#: A host that answers leaves the queues to another one.
ANSWERS = {
    f"AzureWebJobs.{name}{end}.Disabled": "true" for name in QUEUES for end in ("", "_poison")
}
#: WHOOP sends again for an hour; here it lasts a minute.
HOUR_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and show what was found."""
    parser = field.parser(__doc__)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--deletions", type=int, default=20)
    parser.add_argument("--slowest", type=float, default=SLOWEST, help="p99, in milliseconds")
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args(arguments)
    answering = 2 if options.kill else 1
    figures = Figures(
        f"{options.rate:g} webhooks a second for {options.seconds:g} s, {answering} + 1 hosts"
    )
    with field.a_field(
        hosts=answering + 1,
        settings={"BACKFILL_DAYS": "30"},
        variables=[*[ANSWERS] * answering, {}],
        # The lease of a killed hand is to end within the minute.
        haste=HASTE,
        lease=LEASE_SECONDS,
        hour_seconds=HOUR_SECONDS,
    ) as plant:
        people = plant.invite(options.members, days=30)
        plant.connect_all(people)
        field.until_finished(plant, people)
        before = len(plant.simulator.log)
        burst = Burst(plant, answering, Load(options.rate, options.seconds))
        burst.send(people, deletions=options.deletions, kill=options.kill)
        figures.note("load", field.load())
        began = time.monotonic()
        drain(plant)
        tell(figures, burst, slowest=None if options.kill else options.slowest)
        figures.note("until the queue was empty, s", time.monotonic() - began)
        figures.note("requests to WHOOP", len(plant.simulator.log) - before)
        wrong = sum(
            len(plant.differences(person, plant.status(person)["run"]["goal"])) for person in people
        )
        figures.claim("records that differ", wrong, "0", holds=not wrong)
        field.nobody_is_parked(plant, people, figures)
    return figures.show(as_json=options.json)


class Burst:
    """The load, and what is done to the world and the hosts meanwhile."""

    def __init__(self, plant: Plant, answering: int, load: Load) -> None:
        self.plant, self.answering, self.load = plant, answering, load
        self.urls = [f"http://127.0.0.1:{port}/webhooks/whoop/" for port in plant.ports[:answering]]
        self.told: Mapping[str, Any] = {}
        self.deleted = self.killed = 0

    def send(self, people: Sequence[Person], *, deletions: int, kill: bool) -> None:
        """Send everything; return when each event has got its 204."""
        simulator = self.plant.simulator
        # Deletions are told of by WHOOP itself, on top of the load.
        simulator.webhooks.set_urls(self.urls[:1])
        with ThreadPoolExecutor(3) as pool:
            load = pool.submit(simulator.blast, self.load, urls=self.urls, edits=EDITS)
            others = [pool.submit(self._delete, people, deletions)]
            if kill:
                others.append(pool.submit(self._kill))
            for other in others:
                other.result()
            self.told = load.result()
        for event in self.told["failed"]:
            simulator.webhooks.send(event["user_id"], event["type"], event["id"], event["trace_id"])
        assert simulator.webhooks.drain(2 * HOUR_SECONDS), "events are still on their way"

    def _delete(self, people: Sequence[Person], count: int) -> None:
        simulator = self.plant.simulator
        for number in range(count):
            time.sleep(self.load.seconds / (count + 1))
            member = people[number % len(people)].member
            listed = member.listing("workout", start=None, end=None, now=simulator.world.now())
            if listed:
                simulator.changes.delete(member.user_id, "workout", listed[len(listed) // 2].id)
                self.deleted += 1

    def _kill(self) -> None:
        time.sleep(self.load.seconds / 2)
        # The last one of each kind: the first one answers the members, too.
        for number in (self.answering - 1, self.answering):
            self.plant.kill(number)
            self.killed += 1
        time.sleep(1)
        self.plant.keep_alive()


def tell(figures: Figures, burst: Burst, *, slowest: float | None) -> None:
    """Write down how the sender saw it; without ``slowest``, no claim is made of how soon."""
    told = burst.told
    thanked = told["statuses"].get("204", 0)
    if slowest is None:
        figures.note("thanked for at the first try", thanked)
    else:
        sent = told["sent"]
        figures.claim("thanked for", thanked, f"all {sent}", holds=thanked == sent)
    figures.note("sent again", len(told["failed"]))
    lost = sum(one["state"] != "delivered" for one in burst.plant.simulator.webhooks.log)
    figures.claim("never thanked for", lost, "0", holds=not lost)
    figures.note("tries without an answer", sum(told["errors"].values()))
    figures.note("a second", told["rate"])
    for name in ("p50", "p95", "max"):
        figures.note(f"{name}, ms", told["latency"].get(name, 0.0))
    slow = told["latency"].get("p99", float("inf"))
    if slowest is None:
        figures.note("p99, ms", slow)
    else:
        figures.claim("p99, ms", slow, f"less than {slowest:g}", holds=slow < slowest)
    figures.note("records deleted meanwhile", burst.deleted)
    figures.note("hosts killed", burst.killed)


def drain(plant: Plant, limit: float = 1_200.0) -> None:
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
