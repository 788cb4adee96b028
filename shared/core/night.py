"""Decide whose turn it is in a night, and when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from shared.core.keys import instant
from shared.core.model import Listed

#: Everybody gets their turn within this, so that the quota is spent evenly and leaves room for
#: those who are awake.
SPREAD = timedelta(hours=2)
#: Whoever was synced this shortly before the slot has nothing new worth a request.
RECENT = timedelta(hours=1)
#: More than timers fire too early by.
EARLY = timedelta(minutes=1)


def slot(now: datetime) -> datetime:
    """Return the slot of a timer that fires ``now``: the full hour.

    A timer that fires twice, late, or a little early and then on time finds its slot done: the
    lock that should keep it single can be lost.
    """
    return (now + EARLY).replace(minute=0, second=0, microsecond=0)


def order(everyone: Iterable[Listed], at: datetime) -> list[Listed]:
    """Return those who are due in the slot ``at``: never synced first, then stalest first."""
    due = (one for one in everyone if one.synced_at is None or one.synced_at < at - RECENT)
    return sorted(due, key=turn)


def turn(one: Listed) -> str:
    """Return a text that sorts like the night's order, and says nothing but time and ref."""
    return f"{instant(one.synced_at) if one.synced_at else ''} {one.ref}"


def delay(place: int, *, of: int) -> timedelta:
    """Choose how long the one at ``place`` waits among ``of``."""
    return SPREAD * place / of
