"""Measure how exactly the quota is spent: several hosts, one limit, and not one request too many.

    .venv/bin/python bench/quota.py [--members 4] [--days 365] [--hosts 4] [--scale 1] [--json]

Members connect at once under WHOOP's default limit of 100 requests a minute, with an app that
waits as long as it does in earnest.  ``--scale 5`` makes minute and day a fifth as long.

The makespan is held against a scheduler that knows the future and which kind of window it has
before it: it sends each request at the first instant at which the limiter would take it.  Two
such ideals are printed, and the second one is the one that counts:

- *prompt*: requests, and all work on their pages, take no time;
- *paced*: each page of a walk is asked for no sooner than the one before is stored.  That takes
  as long as the median of this run, so a slow machine or storage is not taken for bad timing.

Fixed windows begin at full minutes, and the members are let in as one begins.  Whoever knew that
windows are fixed could do better only by coming shortly before the end of one, and nobody knows:
WHOOP does not say of which kind its windows are.  Makespans begin at the first consent and end
when storage has written the last row.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import field  # noqa: E402 - only now it can be found
from bench.field import Figures, console  # noqa: E402
from shared.adapters.tables import Tables  # noqa: E402
from shared.adapters.tables.budgets import TableBudgets  # noqa: E402
from shared.config import Settings  # noqa: E402
from shared.core.budget import fresh, take  # noqa: E402
from shared.core.model import Lane, Limit, ProviderName  # noqa: E402
from shared.errors import LostRace  # noqa: E402
from tests.faults.plant import Plant  # noqa: E402

MINUTE, DAY = 60, 86_400
#: No page takes as many seconds; what does was waiting for room.
HELD_UP = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run each kind of window and show what was found."""
    parser = field.parser(__doc__)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--per-minute", type=int, default=100)
    parser.add_argument("--scale", type=int, default=1, choices=(1, 2, 3, 4, 5))
    parser.add_argument("--most-over", type=float, default=5.0, help="the ideal, in per cent")
    parser.add_argument("--windows", nargs="+", default=["fixed", "sliding"])
    options = parser.parse_args(arguments)
    figures = Figures(
        f"One quota, {options.hosts} hosts: {options.members} members, {options.days} days"
    )
    for windows in options.windows:
        _run(figures, windows, options)
    figures.note("load", field.load())
    return figures.show(as_json=options.json)


def _run(figures: Figures, windows: str, options: Any) -> None:
    minute = MINUTE // options.scale
    with field.a_field(
        hosts=options.hosts,
        settings={"BACKFILL_DAYS": str(options.days)},
        per_minute=options.per_minute,
        per_day=10_000,
        minute_seconds=minute,
        day_seconds=DAY // options.scale,
        windows=windows,
    ) as plant:
        people = plant.invite(options.members, days=options.days)
        if windows == "fixed":
            console.print("waiting for a window to begin", style="dim")
            time.sleep(minute - time.time() % minute)
        began = time.time()
        plant.connect_all(people)
        field.until_finished(plant, people)
        makespan = field.last_write(plant) - began
        log = plant.simulator.log
        rates = {writers: row_rate(plant, writers) for writers in (1, options.hosts)}
        least = field.minimum(plant, people)
        of_kind = Figures(windows)
        field.records_are_true(plant, people, of_kind)
    refused = field.refused(log)
    of_kind.claim("429s", refused, "0", holds=not refused)
    of_kind.claim("requests", len(log), f"{least}, the minimum", holds=len(log) == least)
    data = [entry for entry in log if entry["kind"] == "data"]
    walks = list(Counter((entry["user_id"], entry["path"]) for entry in data).values())
    page = page_seconds(data)
    limiter = Limiter(windows, options.per_minute, minute)
    prompt, paced = clairvoyant(walks, limiter, 0.0), clairvoyant(walks, limiter, page)
    of_kind.note("first to last request, s", field.at(log[-1]) - field.at(log[0]))
    of_kind.note("a page of a walk, median s", page)
    of_kind.note("prompt ideal, s", prompt)
    of_kind.note("paced ideal, s", paced)
    of_kind.note("makespan, s", makespan)
    if prompt:
        of_kind.note("over the prompt ideal, %", (makespan / prompt - 1) * 100)
        over, most = (makespan / paced - 1) * 100, options.most_over
        of_kind.claim("over the paced ideal, %", over, f"up to {most:g}", holds=over <= most)
    for writers, rate in rates.items():
        of_kind.note(f"writes of the budget's row a second, writers: {writers}", rate)
    figures.add(of_kind)


def row_rate(plant: Plant, writers: int, seconds: float = 1.0) -> float:
    """Return how many compare-and-sets of a budget's row succeed in a second."""
    name = ProviderName("nobody")
    storage = Settings.from_env(plant.settings).storage
    deadline = time.monotonic() + seconds

    def write(_: int) -> int:
        budgets = TableBudgets(Tables(storage))
        won = 0
        while time.monotonic() < deadline:
            seen = budgets.load(name)
            before = seen.value if seen else fresh([Limit(10**6, timedelta(minutes=1))])
            after, _answers = take(before, [Lane.AUTH], datetime.now(UTC))
            with suppress(LostRace):
                budgets.save(name, after, seen.etag if seen else None)
                won += 1
        return won

    with ThreadPoolExecutor(writers) as pool:
        return sum(pool.map(write, range(writers))) / seconds


class Limiter:
    """When requests are taken, told by those that were sent; time begins with a window."""

    def __init__(self, windows: str, limit: int, seconds: float) -> None:
        self.windows, self.limit, self.seconds = windows, limit, seconds

    def opens(self, sent: Sequence[float], ready: float) -> float:
        """Return when a request that is ``ready`` would be taken after those ``sent``."""
        if len(sent) < self.limit:
            return ready
        oldest = sent[-self.limit]
        if self.windows == "fixed":
            return max(ready, (oldest // self.seconds + 1) * self.seconds)
        return max(ready, oldest + self.seconds)


def clairvoyant(walks: Sequence[int], limiter: Limiter, page: float) -> float:
    """Return when the last page is in, if each request is sent as soon as it would be taken.

    ``walks`` are numbers of pages; a page is asked for when the one before, which takes ``page``
    seconds, is in.
    """
    ready = [[0.0, pages] for pages in walks]
    sent: list[float] = []
    end = 0.0
    while ready:
        at = limiter.opens(sent, min(moment for moment, _ in ready))
        # Of those that could go now, the walk that still has the longest way.
        walk = max((one for one in ready if one[0] <= at), key=lambda one: one[1])
        sent.append(at)
        end = max(end, at + page)
        walk[0], walk[1] = at + page, walk[1] - 1
        if not walk[1]:
            ready.remove(walk)
    return end


def page_seconds(data: Sequence[Mapping[str, Any]]) -> float:
    """Return the median time from one page of a walk to the next, out of those not held up."""
    walks: dict[Any, list[float]] = defaultdict(list)
    for entry in data:
        walks[entry["user_id"], entry["path"]].append(field.at(entry))
    gaps = [later - sooner for walk in walks.values() for sooner, later in pairwise(walk)]
    return statistics.median([gap for gap in gaps if gap < HELD_UP] or [0.0])


if __name__ == "__main__":
    raise SystemExit(main())
