"""Reads NCRONTAB schedules and says when they are due next, in UTC.

The rules are those of the NCrontab library that Azure uses: the day of the month *and* the
day of the week must fit, Sunday is 0 and never 7, and ``5/15`` means 5, 20, 35, 50.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product

#: A 29 February on a given weekday comes at least once in 40 years.
HORIZON_DAYS = 366 * 41

MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The seconds, minutes, hours, days, months and weekdays that fit."""

    text: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    def next_after(self, moment: datetime) -> datetime:
        """Return the first occurrence later than ``moment``, which must be aware."""
        start = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        earliest = start.time()
        for ahead in range(HORIZON_DAYS):
            day = start.date() + timedelta(days=ahead)
            if self._fits(day) and (found := self._first(earliest)) is not None:
                return datetime.combine(day, found, tzinfo=UTC)
            earliest = time.min
        raise ValueError(f'the schedule "{self.text}" is never due')

    def _fits(self, day: date) -> bool:
        return (
            day.month in self.months
            and day.day in self.days
            and day.isoweekday() % 7 in self.weekdays
        )

    def _first(self, earliest: time) -> time | None:
        hours = [hour for hour in self.hours if hour >= earliest.hour]
        times = (time(*parts) for parts in product(hours, self.minutes, self.seconds))
        return next((found for found in times if found >= earliest), None)


def parse(text: str) -> Schedule:
    """Read six fields, or five to which Azure adds second 0; ValueError says what is wrong."""
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ValueError(
            f'the schedule "{text}" has {len(fields)} fields instead of six: '
            "second minute hour day month weekday"
        )
    try:
        schedule = Schedule(
            text,
            seconds=_field(fields[0], 0, 59),
            minutes=_field(fields[1], 0, 59),
            hours=_field(fields[2], 0, 23),
            days=_field(fields[3], 1, 31),
            months=_field(fields[4], 1, 12, MONTHS),
            weekdays=_field(fields[5], 0, 6, WEEKDAYS),
        )
    except ValueError as error:
        raise ValueError(f'the schedule "{text}" cannot be read: {error}') from None
    schedule.next_after(datetime(2024, 1, 1, tzinfo=UTC))
    return schedule


def _field(text: str, low: int, high: int, names: Sequence[str] = ()) -> tuple[int, ...]:
    values = {value for part in text.split(",") for value in _part(part, low, high, names)}
    return tuple(sorted(values))


def _part(text: str, low: int, high: int, names: Sequence[str]) -> range:
    stretch, slash, step_text = text.partition("/")
    if slash and not (step_text.isdecimal() and int(step_text) > 0):
        raise ValueError(f'"{text}" has no whole number of steps after the slash')
    step = int(step_text) if slash else 1
    if stretch == "*":
        return range(low, high + 1, step)
    first_text, dash, last_text = stretch.partition("-")
    first = _value(first_text, low, high, names)
    if dash:
        last = _value(last_text, low, high, names)
        first, last = min(first, last), max(first, last)
    else:
        last = high if slash else first
    return range(first, last + 1, step)


def _value(text: str, low: int, high: int, names: Sequence[str]) -> int:
    if text.isdecimal():
        value = int(text)
    else:
        # Any beginning of a name will do, and the first name that has it wins.
        fits = [place for place, name in enumerate(names, low) if name.startswith(text.lower())]
        if not text or not fits:
            raise ValueError(f'"{text}" is not a value')
        value = fits[0]
    if not low <= value <= high:
        raise ValueError(f"{value} is not between {low} and {high}")
    return value
