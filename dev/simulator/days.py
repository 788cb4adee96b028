"""When a member sleeps, naps and trains: a life's days, before a strap has measured any of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from dev.simulator.moments import to_millis

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

#: The first nights with a new strap.
CALIBRATION_NIGHTS = 4

_HOMES = (1, 1, 0, -5, -6, -3, 5.5)  # hours east of Greenwich
_TRIPS = (-6, -3, 3, 5.5)
#: Nobody goes to bed again sooner than this, however far they have flown.
_AWAKE = 6 * HOUR


@dataclass(frozen=True, slots=True)
class Day:
    """From one bedtime to the next; the newest one has no ``until`` yet."""

    bed: datetime
    wake: datetime
    until: datetime | None
    offset: timedelta
    cycle_id: int
    #: How many came before.
    nth: int
    #: Whether its night waits hours for its score.
    scored_late: bool
    #: Whether the strap may be off, or the night not scorable.
    may_be_odd: bool

    @property
    def is_new(self) -> bool:
        """Whether the strap still calibrates."""
        return self.nth < CALIBRATION_NIGHTS


@dataclass(frozen=True, slots=True)
class Nap:
    """A sleep within a day."""

    day: Day
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Effort:
    """What becomes a workout."""

    day: Day
    start: datetime
    end: datetime
    scored_late: bool = False


class Calendar:
    """Lays out one member's days.  ``offset`` is where they are, and may be changed."""

    def __init__(self, rng: Random, *, seed: int, index: int, now: datetime) -> None:
        """Begin at home; the past ends at ``now``."""
        self._rng = rng
        self._index = index
        self._now = now
        self.offset = timedelta(hours=_HOMES[index % len(_HOMES)])
        # Beyond int32 on purpose: ids are int64, and live ones are half-way there.
        self._cycle_id = 2_147_400_000 + seed % 1000 * 1_000_000_000 + index * 1_000_000

    def lay_out(self, count: int) -> list[Day]:
        """Lay out the last ``count`` days, oldest first."""
        rng, home = self._rng, self.offset
        away = timedelta(hours=rng.choice(_TRIPS))
        first_away, nights_away = rng.randint(3, 6), rng.randint(3, 7)

        # Up by 9:42 at the latest and scored a quarter of an hour later: from 10:00 on, the
        # newest night is today's.
        local = self._now + home
        newest = local.date() - (timedelta() if local.hour >= 10 else DAY)

        nights: list[tuple[datetime, datetime, timedelta]] = []
        for back in reversed(range(count)):
            travels = count >= 14 and first_away <= back < first_away + nights_away
            offset = home + (away if travels else timedelta())
            midnight = datetime.combine(newest, datetime.min.time(), UTC) - back * DAY - offset
            nights.append((*self._night(midnight), offset))

        lived: list[Day] = []
        for nth, (bed, wake, offset) in enumerate(nights):
            back = count - 1 - nth
            late = self._is_pending(back)
            lived.append(
                Day(
                    bed,
                    wake,
                    nights[nth + 1][0] if back else None,
                    offset,
                    self._next_cycle_id(),
                    nth,
                    scored_late=late,
                    may_be_odd=back > 0 and nth >= CALIBRATION_NIGHTS and not late,
                )
            )
        return lived

    def following(self, last: Day | None, *, scored_late: bool) -> Day:
        """Lay out the day after ``last``, or the first one of all: tomorrow."""
        if last is None:
            date, earliest = (self._now + self.offset).date() + DAY, self._now
        else:
            # Bedtimes lie around midnight, so half a day later is always the same date.
            date = (last.bed + last.offset + DAY / 2).date() + DAY
            earliest = last.wake + _AWAKE
        midnight = datetime.combine(date, datetime.min.time(), UTC) - self.offset
        bed, wake = self._night(midnight)
        while bed < earliest:
            bed, wake = bed + DAY, wake + DAY
        nth = 0 if last is None else last.nth + 1
        odd = nth >= CALIBRATION_NIGHTS and not scored_late
        cycle_id = self._next_cycle_id()
        return Day(
            bed, wake, None, self.offset, cycle_id, nth, scored_late=scored_late, may_be_odd=odd
        )

    def activities(
        self, lived: Sequence[Day], within: set[Day], counts: Mapping[str, int]
    ) -> tuple[list[Nap], list[Effort]]:
        """Fill the days of the past, with forced numbers where ``counts`` has them."""
        over = [day for day in lived if day.until]
        nap_shares = _shares(max(0, counts.get("sleep", 0) - len(lived)), over)
        effort_shares = _shares(counts.get("workout", 0), over)

        naps: list[Nap] = []
        efforts: list[Effort] = []
        for day in lived:
            begin, end = day.wake + HOUR, (day.until or self._now) - HOUR
            natural_nap, natural_efforts = self._natural(begin, end)
            if day not in within:
                natural_nap, natural_efforts = 0, 0
            nap_count = nap_shares.get(day, 0) if "sleep" in counts else natural_nap
            effort_count = effort_shares.get(day, 0) if "workout" in counts else natural_efforts
            more_naps, more_efforts = self._spread(day, begin, end, nap_count, effort_count)
            naps += more_naps
            efforts += more_efforts
        return naps, efforts

    def fill(self, day: Day, begin: datetime, end: datetime) -> tuple[list[Nap], list[Effort]]:
        """Fill what is left of a day."""
        return self._spread(day, begin, end, *self._natural(begin, end))

    def _natural(self, begin: datetime, end: datetime) -> tuple[int, int]:
        """Throw how many naps and efforts there are, if there is time for any."""
        nap = int(self._rng.random() < 0.12)
        efforts = self._rng.choices((0, 1, 2), (35, 50, 15))[0]
        return (0, 0) if end - begin < 2 * HOUR else (nap, efforts)

    def _spread(
        self, day: Day, begin: datetime, end: datetime, nap_count: int, effort_count: int
    ) -> tuple[list[Nap], list[Effort]]:
        rng = self._rng
        naps: list[Nap] = []
        efforts: list[Effort] = []
        order = [True] * nap_count + [False] * effort_count
        rng.shuffle(order)
        for slot, is_nap in enumerate(order):
            room = (end - begin) / len(order)
            natural = rng.uniform(20, 95) * MINUTE
            length = min(natural, 0.8 * room)
            start = to_millis(begin + slot * room + rng.random() * (room - length) * 0.9)
            stop = to_millis(start + length)
            if is_nap:
                naps.append(Nap(day, start, stop))
            else:
                efforts.append(Effort(day, start, stop))
        return naps, efforts

    def _night(self, midnight: datetime) -> tuple[datetime, datetime]:
        bed = to_millis(midnight + self._rng.uniform(-2, 0.7) * HOUR)
        return bed, to_millis(bed + self._rng.uniform(6.2, 9) * HOUR)

    def _next_cycle_id(self) -> int:
        self._cycle_id += self._rng.randint(1, 9)
        return self._cycle_id

    def _is_pending(self, back: int) -> bool:
        """Leave every third member's newest night unscored, and another third's of days ago."""
        return (self._index % 3 == 1 and back == 0) or (self._index % 3 == 2 and back == 5)


def newest(lived: Sequence[Day], count: int) -> set[Day]:
    """Give the last ``count`` days."""
    return set(lived[max(0, len(lived) - count) :])


def _shares(total: int, days: Iterable[Day]) -> dict[Day, int]:
    """Deal ``total`` out to ``days`` as evenly as whole numbers go."""
    names = list(days)
    each, left = divmod(total, len(names) or 1)
    return {day: each + (nth < left) for nth, day in enumerate(names)}
