"""Decide how far this host's clock is off, from the dates of storage's answers.

A date has whole seconds, but every answer says two things: storage's clock had reached that
second when it answered, and had not reached the next one.  A few dozen answers pin the
difference down to milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

TICK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Skew:
    """What has to be added to this host's clock to get storage's: between ``low`` and ``high``."""

    low: timedelta
    high: timedelta

    @property
    def offset(self) -> timedelta:
        """The best guess."""
        return (self.low + self.high) / 2


def observe(skew: Skew | None, *, sent: datetime, answered: datetime, date: datetime) -> Skew:
    """Take an answer in: asked and answered by this host's clock, dated by storage's.

    An answer that contradicts what was known means that one of the clocks was set: then only
    the answer counts.
    """
    said = Skew(date - answered, date + TICK - sent)
    if skew is None:
        return said
    low, high = max(skew.low, said.low), min(skew.high, said.high)
    return Skew(low, high) if low <= high else said
