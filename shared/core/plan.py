"""Decide what to fetch next.  No clock, no network, no storage.

What we hold of a resource is one unbroken span of time.  An incremental run grows it to the
right, a backfill grows it to the left, and a run is over once it covers its goal.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from shared.core.model import ACTIVE, HISTORY_START, Head, Lane, Span

#: Straps sync late and scores are revised, so the newest days are read again.
LOOKBACK = timedelta(days=3)
#: A document changes seldom, and the provider does not say when.
DOCUMENT_AGE = timedelta(days=7)
#: Pages that a waiting member is served before the rest of a run gives way to others.
PATIENT_PAGES = 4
#: What was read this short a time ago has nothing new worth a request.
FRESH = timedelta(hours=1)
#: An estimate beyond this would be noise: the first page of a long history, or a long outage.
FORESEEN = timedelta(days=30)


def goal(now: datetime, *, days: int, since: datetime | None = None) -> Span:
    """Choose what a run must cover: the last ``days`` days, or everything when 0.

    ``since`` reaches further back, and never less far.
    """
    start = now - timedelta(days=days) if days else HISTORY_START
    return Span(start if since is None else max(HISTORY_START, min(start, since)), now)


def next_window(held: Span | None, goal: Span) -> Span | None:
    """Choose the next stretch to read, or None once ``goal`` is covered.

    Fresh records come before history: someone who connects this morning wants to see last
    night first.
    """
    if held is None:
        return goal
    if held.end < goal.end:
        # From what we hold, even where the goal starts later: a span has no holes.
        return Span(max(HISTORY_START, held.end - LOOKBACK), goal.end)
    if goal.start < held.start:
        return Span(goal.start, held.start)
    return None


def extend(held: Span | None, window: Span) -> Span:
    """Add a window that was read to its end to what we hold.

    The span only ever grows, so finishing a window twice changes nothing.
    """
    if held is None:
        return window
    if window.end < held.start or held.end < window.start:
        raise ValueError(f"{window} would leave a hole beside {held}")
    return Span(min(held.start, window.start), max(held.end, window.end))


def document_due(head: Head, now: datetime) -> bool:
    """Say whether a document was last asked for too long ago."""
    return head.checked_at is None or head.checked_at + DOCUMENT_AGE <= now


def history(head: Head) -> bool:
    """Say whether a run reads what lies before everything that is held."""
    if head.window is None or head.held is None:
        return False
    return head.window.end <= head.held.start


def gives_way(head: Head, now: datetime) -> bool:
    """Say whether a run may take days, in bulk or on its way down, while newer records wait."""
    if head.held is not None:
        slow = history(head) or head.lane is Lane.BACKFILL
        return slow and head.held.end + FRESH <= now
    if head.window is None or head.reached is None:
        return False
    return head.window.end + FRESH <= now


def lane_after(lane: Lane, head: Head, pages: int) -> Lane:
    """Choose the lane of a job that goes on from ``head`` after ``pages`` pages.

    A member who waits is served first; a history of years must not keep others waiting.
    """
    patient = lane is Lane.MANUAL and pages >= PATIENT_PAGES
    return Lane.BACKFILL if patient or history(head) else lane


def fraction(head: Head) -> float:
    """Say how much of the goal is covered, from 0 to 1.

    A walk runs down through its window, so what lies above ``reached`` is already here.
    """
    if head.goal is None:
        return 0.0 if head.checked_at is None else 1.0
    parts = [_clip(head.held, head.goal), _clip(_read(head), head.goal)]
    whole = (head.goal.end - head.goal.start).total_seconds()
    return sum(_seconds(part) for part in _merge(parts)) / whole


def ends_at(head: Head, now: datetime) -> datetime | None:
    """Estimate when the run will have reached its goal, at the pace that it has kept so far.

    A run begins at its goal's end.  Its waits are part of its pace, and while it waits it ends
    no earlier than it may go on.  None before anything is read, once the run is over, and where
    the end lies too far away to be told.
    """
    read = _read(head)
    if head.progress not in ACTIVE or head.goal is None or head.window is None or read is None:
        return None
    # A record that straddles the window's start began before it.
    left = max(read.start - head.window.start, timedelta(0)) + _below(head, head.goal)
    elapsed = max(now - head.goal.end, timedelta(0))
    # Divided first: a moment read of many years is more than a timedelta can hold.
    needed = elapsed.total_seconds() * (left / (read.end - read.start))
    if needed > FORESEEN.total_seconds():
        return None
    return max(now, head.retry_at or now) + timedelta(seconds=needed)


def _below(head: Head, goal: Span) -> timedelta:
    """Say how much is to be read below what we hold, once the window above it is closed."""
    if head.held is None or head.window is None or head.window.end <= head.held.end:
        return timedelta(0)
    return max(head.held.start - goal.start, timedelta(0))


def _read(head: Head) -> Span | None:
    if head.window is None or head.reached is None or head.window.end <= head.reached:
        return None
    return Span(head.reached, head.window.end)


def _clip(span: Span | None, goal: Span) -> Span | None:
    if span is None:
        return None
    start, end = max(span.start, goal.start), min(span.end, goal.end)
    return Span(start, end) if start < end else None


def _merge(spans: list[Span | None]) -> list[Span]:
    """Join the spans that overlap, so that nothing counts twice."""
    merged: list[Span] = []
    for span in sorted(filter(None, spans), key=lambda span: span.start):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _seconds(span: Span) -> float:
    return (span.end - span.start).total_seconds()
