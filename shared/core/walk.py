"""Decide how a resource is walked: down through a window, page by page, newest first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from shared.core.keys import fingerprint
from shared.core.model import Cursor, Head, Lane, Page, Progress, Question, RunId, Span
from shared.core.plan import extend, next_window
from shared.errors import CursorRefused, Unavailable

#: The finest step that providers' times have, so that ``until`` still lists what was reached.
TICK = timedelta(milliseconds=1)


def begin(head: Head, *, run: RunId, lane: Lane, goal: Span, now: datetime) -> Head:
    """Start a run.

    A window that an earlier run left half read is read on from where that one got to: its
    records are here, and asking for them again would cost requests.  Its cursor is dropped,
    because the list under it has moved on.
    """
    begun = replace(begin_document(head, run=run, lane=lane, now=now), goal=goal)
    if head.window is not None:
        return _resume(begun)
    return _open(begun, goal)


def begin_document(head: Head, *, run: RunId, lane: Lane, now: datetime) -> Head:
    """Start a run of a document, which has no window: it is asked for once."""
    return replace(
        head,
        progress=Progress.RUNNING,
        run=run,
        lane=lane,
        reason=None,
        retry_at=None,
        touched_at=now,
    )


def question(head: Head) -> Question:
    """Return what to ask next."""
    if head.window is None or head.until is None:
        raise ValueError("this run has no window")
    return Question(Span(head.window.start, head.until), head.cursor)


def turn(head: Head, page: Page, *, now: datetime) -> Head:
    """Take ``page`` in: go on in this window, or close it and open the next one.

    Raises ``CursorRefused`` when the provider hands out a cursor a second time: following it
    would go round for ever.
    """
    if head.goal is None or head.window is None:
        raise ValueError("this run has no window")
    starts = [record.start for record in page.records if record.start is not None]
    lowest = min([*starts, head.reached] if head.reached else starts, default=None)
    alive = replace(
        head, progress=Progress.RUNNING, reason=None, retry_at=None, reached=lowest, touched_at=now
    )
    if page.cursor is not None:
        digest = _digest(page.cursor)
        if digest in head.used:
            raise CursorRefused("the same cursor came twice")
        return replace(alive, cursor=page.cursor, used=(*head.used, digest))
    return _open(replace(alive, held=extend(head.held, head.window)), head.goal)


def turn_document(head: Head, *, now: datetime) -> Head:
    """Take a document in, or its absence: either way it has been asked for."""
    return replace(
        head,
        progress=Progress.FINISHED,
        reason=None,
        retry_at=None,
        checked_at=now,
        touched_at=now,
    )


def rewalk(head: Head) -> Head:
    """Walk the rest of the window again from just above what was reached.

    Raises ``Unavailable`` when that would ask the same thing again.
    """
    again = _resume(head)
    if again.until == head.until:
        raise Unavailable("the walk does not get any further")
    return again


def _resume(head: Head) -> Head:
    if head.window is None or head.until is None:
        raise ValueError("this run has no window")
    until = head.until if head.reached is None else min(head.until, head.reached + TICK)
    until = max(until, head.window.start + TICK)
    return replace(head, until=until, cursor=None, used=())


def _open(head: Head, goal: Span) -> Head:
    window = next_window(head.held, goal)
    return replace(
        head,
        progress=Progress.FINISHED if window is None else head.progress,
        window=window,
        until=None if window is None else window.end,
        cursor=None,
        used=(),
        reached=None,
    )


def _digest(cursor: Cursor) -> str:
    # Eight digits tell the few thousand cursors of one walk apart well enough; a false alarm
    # costs one request.
    return fingerprint(cursor)[:8]
