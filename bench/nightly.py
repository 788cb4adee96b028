"""Measure a night: everybody's turn under WHOOP's default limits, while new members come in.

    .venv/bin/python bench/nightly.py [--members 500] [--newcomers 20] [--scale 5] [--json]
                                      [--spread 7200] [--windows sliding]

First everybody connects, without limits, to a WHOOP whose clock is a day behind.  Then that day
passes: WHOOP has last night's records and new scores, what we hold is as old as it says, every
token has run out, and for one member in seven the profile and the body measurement are due, which
are asked for once a week.  Then the limits hold and the timer's function runs.

``--scale 5`` makes WHOOP's minute, its day and the two hours of a night a fifth as long; nothing
else is scaled.  With a smaller ``--spread`` the quota is what holds the night up.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402 - only now our own can be found

import whoop  # noqa: E402
from bench import field  # noqa: E402
from bench.field import Figures, console  # noqa: E402
from dev.simulator import Options  # noqa: E402
from dev.simulator.limits import Limits  # noqa: E402
from shared.bootstrap import Services, build  # noqa: E402
from shared.config import Settings  # noqa: E402
from shared.core.model import Connection, Place, ProviderName, UserId  # noqa: E402
from shared.core.plan import DOCUMENT_AGE, LOOKBACK  # noqa: E402
from shared.ports import Stored  # noqa: E402
from tests.faults.plant import Person, Plant  # noqa: E402

PER_MINUTE, PER_DAY, MINUTE, DAY = 100, 10_000, 60, 86_400
A_DAY = timedelta(days=1)
#: The members have worn a strap for so long; what a night costs does not depend on it.
MEMBER_DAYS, NEWCOMER_DAYS = 4, 30
WEEK = 7
DOCUMENTS = ("profile", "body_measurement")
MOST_REQUESTS, MOST_RENEWALS, SOON = 4.3, 1, 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and show what was found."""
    parser = field.parser(__doc__)
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--newcomers", type=int, default=20)
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--scale", type=int, default=5, choices=(1, 2, 3, 4, 5))
    parser.add_argument("--spread", type=float, default=7_200, help="of the night, unscaled s")
    parser.add_argument("--windows", choices=("fixed", "sliding"), default="sliding")
    options = parser.parse_args(arguments)
    spread = options.spread / options.scale
    figures = Figures(
        f"A night of {options.members} members in {spread:.0f} s, scale {options.scale}, "
        f"{options.windows} windows, {options.hosts} hosts"
    )
    clock = Clock()
    with field.a_field(
        hosts=options.hosts,
        settings={"BACKFILL_DAYS": str(NEWCOMER_DAYS)},
        haste={"FAULTS_SET": f"shared.core.night:SPREAD={spread}"},
        clock=clock,
        minute_seconds=MINUTE // options.scale,
        day_seconds=DAY // options.scale,
        windows=options.windows,
    ) as plant:
        # Made up before WHOOP's clock goes back, so that they have a day that it does not know.
        members = plant.invite(options.members, days=MEMBER_DAYS)
        newcomers = plant.invite(options.newcomers, days=NEWCOMER_DAYS)
        clock.behind = A_DAY
        settle_in(plant, members)
        clock.behind = timedelta(0)
        services = ours(plant)
        since = pass_a_day(services, members)
        versions = count_versions(plant)
        impose_limits(plant)
        night = Night(plant, members, newcomers, spread)
        night.live()
        tell(figures, night, services, versions)
        compare(figures, night, since)
        figures.note("load", field.load())
    return figures.show(as_json=options.json)


class Clock:
    """WHOOP's clock, which may be behind."""

    def __init__(self) -> None:
        self.behind = timedelta(0)

    def __call__(self) -> datetime:
        """Return the time at WHOOP."""
        return datetime.now(UTC) - self.behind


def settle_in(plant: Plant, members: Sequence[Person]) -> None:
    """Connect everybody and let their first runs end."""
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        for done, _ in enumerate(pool.map(plant.connect, members), 1):
            if done % 50 == 0:
                console.print(f"{done} connected, {time.monotonic() - began:.0f} s", style="dim")
    for person in members:
        while not plant.finished(person):
            time.sleep(0.2)


def left(plant: Plant) -> int:
    """Say how many of the night's messages there still are, those in a hand included."""
    with plant.queue("sync-later") as queue:
        return int(queue.get_queue_properties().approximate_message_count or 0)


def ours(plant: Plant) -> Services:
    """Wire the app in this process as well, for its view of the storage."""
    settings = plant.settings
    return build(Settings.from_env(settings), lambda clock: [whoop.provider(settings, clock)])


def pass_a_day(services: Services, members: Sequence[Person]) -> Mapping[str, datetime]:
    """Make everything that we hold a day older; return from when on each member is read again."""
    with ThreadPoolExecutor(8) as pool:
        since = list(pool.map(lambda one: _grow_older(services, *one), enumerate(members)))
    console.print("a day has passed", style="dim")
    return {person.user: at for person, at in zip(members, since, strict=True)}


def _grow_older(services: Services, number: int, person: Person) -> datetime:
    ports = services.ports
    stored = connection(services, person)
    grant = stored.value.grant
    ended = replace(grant, expires_at=grant.issued_at + timedelta(seconds=1) - A_DAY)
    ports.connections.put(replace(stored.value, grant=ended), stored.etag)
    ends = []
    for resource in services.providers[stored.value.provider].resources:
        place = Place(stored.value.provider, stored.value.user, resource.name)
        found = ports.records.head(place)
        head = found.value
        if head.held is not None:
            held = replace(head.held, start=head.held.start - A_DAY, end=head.held.end - A_DAY)
            ports.connections.touch(stored.value.ref, resource.name, held.end)
            head = replace(head, held=held)
            ends.append(held.end)
        if head.checked_at is not None:
            # Days of the week, evenly: those of the seventh are a week old by now.
            age = DOCUMENT_AGE if number % WEEK == 0 else A_DAY
            head = replace(head, checked_at=head.checked_at - age)
        ports.records.put_head(place, head, found.etag)
    return min(ends) - LOOKBACK


def connection(services: Services, person: Person) -> Stored[Connection]:
    """Return a member's connection."""
    stored = services.ports.connections.find(UserId(person.user), ProviderName("whoop"))
    assert stored is not None
    return stored


def count_versions(plant: Plant) -> int:
    """Count what the raw layer holds."""
    return sum(row["RowKey"].startswith("v|") for row in plant.rows())


def impose_limits(plant: Plant) -> None:
    """Let WHOOP's default limits hold, on both sides, with nothing spent yet."""
    for number in range(len(plant.hosts)):
        plant.kill(number)
    limits = {"WHOOP_REQUESTS_PER_MINUTE": PER_MINUTE, "WHOOP_REQUESTS_PER_DAY": PER_DAY}
    plant.settings |= {name: str(count) for name, count in limits.items()}
    options: Options = replace(plant.simulator.options, per_minute=PER_MINUTE, per_day=PER_DAY)
    # It has no way to be told, because WHOOP's limits do not change while it runs.
    plant.simulator._gate._limits = Limits(options)  # noqa: SLF001 - see the line above
    plant.simulator.clear_log()
    with plant.table("Budgets") as table:
        table.delete_entity("whoop", "budget")
    for number in range(len(plant.hosts)):
        plant.restart(number)
    field.warm(plant)


class Night:
    """The timer's function, everybody's turn, and those who come in meanwhile."""

    def __init__(
        self, plant: Plant, members: Sequence[Person], newcomers: Sequence[Person], spread: float
    ) -> None:
        self.plant, self.members, self.newcomers, self.spread = plant, members, newcomers, spread
        #: Seconds from consent to the first record.
        self.waits: list[float] = []
        self.seconds = 0.0
        self._over = threading.Event()
        self._told = 0.0

    def live(self) -> None:
        """Return when everybody has had their turn."""
        began = time.monotonic()
        answer = requests.post(f"{self.plant.api}/admin/functions/nightly", json={}, timeout=60)
        assert answer.ok, answer.text
        with ThreadPoolExecutor(len(self.newcomers) or 1) as pool:
            arrivals = [
                pool.submit(self._arrive, person, began + (place + 0.5) * self._gap)
                for place, person in enumerate(self.newcomers)
            ]
            try:
                time.sleep(1)  # the timer's function has just begun
                while left(self.plant) or time.monotonic() < began + self.spread:
                    self._watch(arrivals, began)
                    time.sleep(0.5)
                self.seconds = time.monotonic() - began
                self.waits = [arrival.result() for arrival in arrivals]
            except BaseException:
                self._over.set()
                raise
        field.until_finished(self.plant, self.newcomers, pause=0.2)

    @property
    def _gap(self) -> float:
        return self.spread / (len(self.newcomers) or 1)

    def _arrive(self, person: Person, due: float) -> float:
        """Connect ``person`` when it is time; return how long the first record took."""
        if self._over.wait(max(0.0, due - time.monotonic())):
            return 0.0
        agreed = self.plant.connect(person).at
        while not any(one["records"] for one in self.plant.status(person)["resources"]):
            assert time.monotonic() < agreed + 120, self.plant.status(person)
            time.sleep(0.1)
        return time.monotonic() - agreed

    def _watch(self, arrivals: Sequence[Future[float]], began: float) -> None:
        now = time.monotonic()
        if now - self._told < 15:
            return
        self._told = now
        sent = len(self.plant.simulator.log)
        waits = [f"{one.result():.1f}" for one in arrivals if one.done()]
        console.print(
            f"{now - began:.0f} s: {sent} requests; newcomers waited {' '.join(waits) or '-'}",
            style="dim",
        )


def tell(figures: Figures, night: Night, services: Services, versions: int) -> None:
    """Say what became of the night."""
    plant, log = night.plant, night.plant.simulator.log
    ids = {person.member.user_id for person in night.members}
    mine = [entry for entry in log if entry["user_id"] in ids]
    data = sum(entry["kind"] == "data" for entry in mine)
    renewals = Counter(entry["user_id"] for entry in mine if entry["kind"] == "token")
    refused = field.refused(log)
    figures.note("the night took, s", night.seconds)
    figures.claim("429s", refused, "0", holds=not refused)
    figures.claim("requests in all", len(log), f"up to {PER_DAY:,}", holds=len(log) <= PER_DAY)
    each = data / len(night.members)
    figures.claim("data requests for each member", each, "up to 4.3", holds=each <= MOST_REQUESTS)
    most = max(renewals.values(), default=0)
    figures.note("renewals", renewals.total())
    figures.claim("renewals of one member, at most", most, "up to 1", holds=most <= MOST_RENEWALS)
    figures.note("most requests in one minute of WHOOP's", busiest(log, plant))
    figures.note("versions that the night has brought", count_versions(plant) - versions)
    for name, part in (("p50", 0.5), ("p95", 0.95)):
        if night.waits:
            figures.note(f"consent to first record, {name}, s", field.share(night.waits, part))
    if night.waits:
        longest = max(night.waits)
        figures.claim("consent to first record, max, s", longest, "up to 5", holds=longest <= SOON)
    stale = [
        person.user
        for person in night.members
        if (listed := services.ports.connections.listed(connection(services, person).value.ref))
        is None
        or listed.synced_at is None
        or listed.synced_at < datetime.now(UTC) - timedelta(seconds=night.seconds + 60)
    ]
    figures.claim("members left out", len(stale), "0", holds=not stale)


def compare(figures: Figures, night: Night, since: Mapping[str, datetime]) -> None:
    """Hold what was brought against the truth, as far back as a night looks."""
    plant, everyone = night.plant, [*night.members, *night.newcomers]
    records = Figures("")

    def beyond(person: Person) -> frozenset[str]:
        """Name the records that ended before what a night reads again."""
        now = plant.simulator.world.now()
        return frozenset(
            f"{resource} {record.id}"
            for resource, all_of_it in person.member.records.items()
            for record in all_of_it
            if person.user in since
            and (shown := record.shown(now))
            and (shown.end or now) < since[person.user]
        )

    older = field.records_are_true(plant, everyone, records, beyond=beyond)
    # Records that change have several versions, so only the first row is a claim here.
    figures.rows += [row for row in records.rows if row.name == "records"]
    figures.note("changed since, but older than a night looks", older)
    field.nobody_is_parked(plant, everyone, figures)


def busiest(log: Sequence[Mapping[str, Any]], plant: Plant) -> int:
    """Return how many counted requests came within a minute, wherever it begins."""
    minute = plant.simulator.options.minute_seconds
    times = [field.at(entry) for entry in log if entry["kind"] == "data"]
    return max(
        (sum(start <= one < start + minute for one in times[n:]) for n, start in enumerate(times)),
        default=0,
    )


if __name__ == "__main__":
    raise SystemExit(main())
