"""Make up a member: who they are, what they have lived, and how their life goes on."""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from dev.simulator.days import HOUR, Calendar, Day, Effort, Nap, newest
from dev.simulator.members import Document, Member, Record, Resource
from dev.simulator.moments import to_millis
from dev.simulator.scores import Body, float32
from dev.simulator.writing import QUIET, Author, Writer

__all__ = ["MAX_DAYS", "QUIET", "Life", "somebody"]

#: Far more than anyone has worn a strap, and dates still fit the calendar.
MAX_DAYS = 20_000

_FIRST_NAMES = ("Lucía", "Martín", "Begoña", "Íker", "Sofía", "Hugo", "Zoë", "Andrés", "Noa")
_LAST_NAMES = ("Núñez", "García", "Muñoz", "Peña", "Ortega", "Sáenz", "Ibáñez", "Vidal")


def somebody(
    rng: Random, *, seed: int, index: int, now: datetime, days: int, counts: Mapping[str, int]
) -> "Life":
    """Make up the ``index``-th member, with ``days`` days up to ``now``.

    ``counts`` forces the number of records of a resource.
    """
    _check(days, counts)
    return Life(rng, seed=seed, index=index, now=now, days=days, counts=counts)


def _check(days: int, counts: Mapping[str, int]) -> None:
    if not 0 <= days <= MAX_DAYS:
        raise ValueError(f"days must be between 0 and {MAX_DAYS}")
    allowed = {"cycle", "recovery", "sleep", "workout", "body_measurement"}
    if unknown := sorted(set(counts) - allowed):
        raise ValueError(f"no such collection: {', '.join(unknown)}")
    for name, count in counts.items():
        if not 0 <= count <= (1 if name == "body_measurement" else MAX_DAYS):
            raise ValueError(f"{name} cannot have {count} records")


class Life:
    """One member, and the days that are still to come."""

    def __init__(
        self,
        rng: Random,
        *,
        seed: int,
        index: int,
        now: datetime,
        days: int,
        counts: Mapping[str, int],
    ) -> None:
        """Live everything up to ``now``; use ``somebody``, which checks what it is given."""
        now = to_millis(now)
        body = Body(
            resting_heart_rate=rng.uniform(44, 66),
            max_heart_rate=rng.randint(176, 202),
            hrv=rng.uniform(35, 120),
            has_new_strap=index % 5 != 4,
            keeps_v1_ids=index % 4 == 3,
        )
        author = Author(10_000_000 + seed % 1000 * 100_000 + index, index, body, now)
        self.body = body
        self._rng = rng
        self.since = now
        self._calendar = Calendar(rng, seed=seed, index=index, now=now)
        self._writer = Writer(rng, author)
        self._lived: list[Day] = []

        first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
        measured = {
            "height_meter": round(rng.uniform(1.55, 1.98), 4),
            "weight_kilogram": float32(rng.uniform(50, 105)),
            "max_heart_rate": body.max_heart_rate,
        }
        self.member = Member(
            user_id=author.user_id,
            email=f"{_ascii(first)}.{_ascii(last)}.{index}@example.com",
            first_name=first,
            last_name=last,
            days=days,
            body=measured if counts.get("body_measurement", 1) else None,
            records=self._past(days, counts),
        )

    def travel(self, offset: timedelta) -> None:
        """Be elsewhere from the next night on that has not begun."""
        self._calendar.offset = offset

    def go_on(
        self, now: datetime, keep: Callable[[Resource, Record], None], *, pending: float
    ) -> None:
        """Live until ``now`` and one bedtime ahead; ``keep`` gets what is new or goes on.

        ``pending`` is the share of nights and workouts that wait hours for their score.
        """
        while not self._lived or self._lived[-1].bed <= now:
            last = self._lived[-1] if self._lived else None
            late = self._rng.random() < pending
            day = self._calendar.following(last, scored_late=late)
            strap_off = self._rng.random() < 0.03 and day.may_be_odd
            cycle = self._writer.opening(day, strap_off=strap_off)
            sleep, recovery = self._writer.night(day)
            if last is not None:
                self._finish(last, day.bed, cycle.revisions[0].at, keep, pending=pending)
            keep("cycle", cycle)
            if not strap_off:
                keep("sleep", sleep)
                keep("recovery", recovery)
            self._lived.append(day)

    def nap(self, start: datetime, end: datetime) -> Document:
        """Write a nap; a ``ValueError`` for somebody who has not lived a day."""
        return self._writer.nap(Nap(self._day_of(end), start, end)).latest.document

    def workout(self, start: datetime, end: datetime) -> Document:
        """Write a workout, likewise."""
        return self._writer.workout(Effort(self._day_of(end), start, end)).latest.document

    def _day_of(self, moment: datetime) -> Day:
        for day in reversed(self._lived):
            if day.bed <= moment:
                return day
        raise ValueError("this member has not lived a day yet")

    def _finish(
        self,
        day: Day,
        end: datetime,
        told: datetime,
        keep: Callable[[Resource, Record], None],
        *,
        pending: float,
    ) -> None:
        """Live the rest of a day, until ``end``; the world hears of its end when ``told``."""
        begin = max(day.wake + HOUR, self.since)
        naps, efforts = self._calendar.fill(day, begin, end - HOUR)
        for nap in naps:
            keep("sleep", self._writer.nap(nap))
        for effort in efforts:
            late = self._rng.random() < pending
            keep("workout", self._writer.workout(replace(effort, scored_late=late)))
        if cycle := self.member.record("cycle", str(day.cycle_id)):
            keep("cycle", self._writer.closing(cycle, end=end, at=told))

    def _past(self, days: int, counts: Mapping[str, int]) -> dict[Resource, tuple[Record, ...]]:
        # Efforts and naps need a day that is over to be fitted into.
        crowded = 2 if counts.get("workout") or counts.get("sleep") else 0
        needed = max(days, counts.get("cycle", 0), counts.get("recovery", 0), crowded)
        lived = self._calendar.lay_out(needed)
        self._lived = lived[-1:]

        cycles: list[Record] = []
        sleeps: list[Record] = []
        recoveries: list[Record] = []
        slept = newest(lived, min(counts.get("sleep", days), len(lived)))
        recovered = newest(lived, counts.get("recovery", days))
        cycled = newest(lived, counts.get("cycle", days))
        forced = "sleep" in counts or "recovery" in counts
        for day in lived:
            strap_off = self._rng.random() < 0.03 and not forced and day.may_be_odd
            cycle = self._writer.cycle(day, strap_off=strap_off)
            sleep, recovery = self._writer.night(day)
            cycles += [cycle] if day in cycled else []
            sleeps += [sleep] if day in slept and not strap_off else []
            recoveries += [recovery] if day in recovered and not strap_off else []

        naps, efforts = self._calendar.activities(lived, newest(lived, days), counts)
        sleeps += [self._writer.nap(nap) for nap in naps]
        workouts = [self._writer.workout(effort) for effort in efforts]
        return {
            "cycle": tuple(cycles),
            "recovery": tuple(recoveries),
            "sleep": tuple(sleeps),
            "workout": tuple(workouts),
        }


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore")
    return plain.decode().lower()
