"""Decide what a run must ask for by id: records that were not listed, or are not settled yet.

A deleted record just vanishes from the provider's lists, and a late score changes a record that
no window reads again.  The head remembers the records of the last days, and so knows both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from shared.core.model import Head, Recent, Record, RecordId, Span

#: How long a record is remembered, counted back from what we hold.  Longer than any window
#: looks back, and than a provider takes to score.
MEMORY = timedelta(days=14)
#: The most that are remembered: a row has room for them, and no member has so many.
MOST = 300
#: Absent records that one window may nominate.  More is an incident of the provider's, not a
#: member who has tidied up.
ABSENT = 5
#: Unsettled records that one night asks for.
UNSETTLED = 5


def note(head: Head, records: Iterable[Record], *, now: datetime) -> Head:
    """Remember ``records``, which an answer has listed, and forget those that are too old."""
    held_end = now if head.held is None else min(now, head.held.end)
    known = {one.id: one for one in head.recent}
    for record in records:
        if record.start is not None:
            known[record.id] = Recent(record.id, record.start, record.settled, listed=True)
    kept = sorted(
        (one for one in known.values() if one.start >= held_end - MEMORY),
        key=lambda one: (one.start, one.id),
    )
    return replace(head, recent=tuple(kept[-MOST:]))


def forget(head: Head, record: RecordId) -> Head:
    """Forget a record that is gone."""
    return replace(head, recent=tuple(one for one in head.recent if one.id != record))


def unlisted(head: Head, window: Span) -> Head:
    """Begin to read ``window``: nothing in it was listed yet."""
    return replace(
        head,
        recent=tuple(
            replace(one, listed=one.listed and not _within(one, window)) for one in head.recent
        ),
    )


def absent(head: Head) -> list[RecordId]:
    """Return the records that begin in the head's window and that it has not listed."""
    if head.window is None:
        return []
    return [one.id for one in head.recent if not one.listed and _within(one, head.window)]


def unsettled(
    head: Head, *, before: datetime, now: datetime, but: Collection[RecordId]
) -> list[RecordId]:
    """Return records that began before ``before`` and may still change, oldest first."""
    return [
        one.id
        for one in head.recent
        if not one.settled and now - MEMORY <= one.start < before and one.id not in but
    ][:UNSETTLED]


def _within(one: Recent, window: Span) -> bool:
    return window.start <= one.start < window.end
