"""Decide whose turn it is in a night, and when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from shared.core.keys import instant
from shared.core.model import Listed
from shared.core.plan import FRESH

#: Everybody gets their turn within this, so that the quota is spent evenly and leaves room for
#: those who are awake.
SPREAD = timedelta(hours=2)
#: Whoever the provider told us of this shortly before the slot is kept fresh that way: somebody who
#: wears it sleeps once a day, and not always at the same hour.
HEARD = timedelta(hours=36)
#: And is read again all the same every third night, because what is told can get lost.
UNREAD = timedelta(days=2, hours=12)
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
    due = (one for one in everyone if one.synced_at is None or one.synced_at < at - FRESH)
    return sorted(due, key=turn)


def fresh(one: Listed, at: datetime) -> bool:
    """Say whether what the provider tells us will do for the slot ``at``."""
    if one.synced_at is None or one.heard_at is None:
        return False
    return one.heard_at >= at - HEARD and one.synced_at > at - UNREAD


def turn(one: Listed) -> str:
    """Return a text that sorts like the night's order, and says nothing but time and ref."""
    return f"{instant(one.synced_at) if one.synced_at else ''} {one.ref}"


def delay(place: int, *, of: int) -> timedelta:
    """Choose how long the one at ``place`` waits among ``of``."""
    return SPREAD * place / of
