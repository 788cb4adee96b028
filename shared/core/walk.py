"""Decide how a resource is walked: down through a window, page by page, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from shared.core import recent
from shared.core.keys import fingerprint
from shared.core.model import (
    Cursor,
    Head,
    Lane,
    Page,
    Progress,
    Question,
    Record,
    RecordId,
    RunId,
    Span,
)
from shared.core.plan import extend, gives_way, history, next_window
from shared.errors import CursorRefused, Unavailable

#: The finest step that providers' times have, so that ``until`` still lists what was reached.
TICK = timedelta(milliseconds=1)
#: A provider tries to tell us of something for less than this.
TOLD_LATE = timedelta(hours=2)


def begin(head: Head, *, run: RunId, lane: Lane, goal: Span, now: datetime) -> Head:
    """Start a run.

    A window that an earlier run left half read is read on from where that one got to: its
    records are here, and asking for them again would cost requests.  Its cursor is dropped,
    because the list under it has moved on.  What goes down into history gives way to news.
    """
    if head.goal is not None and head.progress is not Progress.FINISHED:
        # What the run before was asked for, and did not get to.
        goal = Span(min(goal.start, head.goal.start), goal.end)
    begun = replace(begin_document(head, run=run, lane=lane, now=now), goal=goal)
    if head.window is None:
        return _rest(_open(begun, goal))
    if gives_way(head, now) and (head.held is None or history(head)):
        return _rest(_open(_set_aside(begun, now), goal))
    return _resume(begun)


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
        # Nobody's: a worker of the run before must not take this for its own write.
        writer=None,
    )


def question(head: Head) -> Question:
    """Return what to ask next."""
    if head.window is None or head.until is None:
        raise ValueError("this run has no window")
    return Question(Span(head.window.start, head.until), head.cursor)


def at_checks(head: Head) -> bool:
    """Say whether the next thing to ask for is a record, by its id.

    Once all windows are read, and before the walk goes down into history, which may take days.
    """
    return bool(head.checks) and (head.window is None or (history(head) and not _begun(head)))


def in_doubt(head: Head) -> bool:
    """Say whether a walk that is over has to be read again: a deletion may have moved its pages."""
    return head.walked is not None and head.walked_at is None


def postpone(head: Head) -> Head:
    """Leave what is to be asked for by its id until history has been read.

    Raises ``ValueError`` where there is no history to read.
    """
    if not history(head) or head.window is None:
        raise ValueError("there is nothing to read before the checks")
    return replace(head, reached=head.window.end)


def turn(head: Head, page: Page, *, now: datetime) -> Head:
    """Take ``page`` in: go on in this window, or close it and open the next one.

    Raises ``CursorRefused`` when the provider hands out a cursor a second time: following it
    would go round for ever.
    """
    if head.goal is None or head.window is None:
        raise ValueError("this run has no window")
    starts = [record.start for record in page.records if record.start is not None]
    lowest = min([*starts, head.reached] if head.reached else starts, default=None)
    alive = replace(_alive(head, now), reached=lowest)
    if page.cursor is not None:
        digest = _digest(page.cursor)
        if digest in head.used:
            raise CursorRefused("the same cursor came twice")
        listed = recent.note(alive, page.records, now=now)
        return replace(listed, cursor=page.cursor, used=(*head.used, digest))
    if head.again:
        # Pages are counted from the newest record, so one that was deleted above the cursor has
        # moved another one from the next page to the one before it.
        return _down(alive, head.window)
    if _begun(head):
        alive = _note_walk(alive, head.window, now)
    return _close(recent.note(alive, page.records, now=now), head.window, head.goal, now)


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


def doubtful(head: Head, page: Page, *, now: datetime) -> int:
    """Return how many records ``page`` leaves absent from the window that it closes.

    Of more than ``recent.ABSENT`` nothing is believed, so somebody should be told.
    """
    if page.cursor is not None or head.again:
        return 0
    return len(recent.absent(recent.note(head, page.records, now=now)))


def turn_check(
    head: Head, record: RecordId, page: Page, *, now: datetime, gone: bool = False
) -> Head:
    """Take in what asking for ``record`` by its id has brought: an empty page, or the record.

    Where it is ``gone`` and nobody has told us when, that may have been while its window was
    read, and has shifted the pages below it: the window is read again.
    """
    noted = recent.note(_alive(head, now), page.records, now=now)
    known = noted if page.records else recent.forget(noted, record)
    rest = tuple(check for check in head.checks if check != record)
    after = replace(known, checks=rest)
    if gone and head.walked is not None and _may_begin_in(head.walked, head, record):
        after = replace(after, walked_at=None)
    if rest or head.window is not None or head.goal is None:
        return _rest(after)
    # The goal may have grown meanwhile.
    return _rest(_open(after, head.goal))


def heard(head: Head, record: RecordId, page: Page, *, said: datetime, now: datetime) -> Head:
    """Take in a record that was asked for beside the run; an empty page means that it is gone.

    ``said`` is when the provider told of it.  What was deleted or moved has shifted the pages
    below it, so its window is read again: at once if it is still being read, else once a run has
    read everything else.
    """
    known = recent.note(head, page.records, now=now)
    if not page.records:
        known = recent.forget(head, record)
    elif not _moved(head, page.records):
        return known
    again = known.again or _shifts(head, record)
    return replace(_doubt(known, head, record, said), again=again)


def reach(head: Head, goal: Span) -> Head:
    """Let a run that is under way reach as far back as ``goal`` does."""
    if head.goal is None or head.goal.start <= goal.start:
        return head
    return replace(head, goal=Span(goal.start, head.goal.end))


def same_place(head: Head, other: Head) -> bool:
    """Say whether ``head`` still stands where ``other`` does, in the same run."""
    return _place(head) == _place(other)


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


def _set_aside(head: Head, now: datetime) -> Head:
    """Leave a window that ends where what is held begins; what was read of it is held as well.

    Where something above its cursor was deleted, that is in doubt until it has been read again.
    """
    left = replace(head, window=None, again=False)
    if head.window is None or head.reached is None:
        return left
    start = max(head.window.start, head.reached + TICK)
    if start >= head.window.end:
        return left
    read = Span(start, head.window.end)
    checks = (*head.checks, *_missing(replace(head, window=read)))
    noted = _note_walk(replace(left, held=extend(head.held, read), checks=checks), read, now)
    return replace(noted, walked_at=None) if head.again else noted


def _note_walk(head: Head, window: Span, now: datetime) -> Head:
    """Remember a walk of several pages, for as long as a deletion may be told that moved them."""
    before, at = head.walked, head.walked_at
    if before is not None and (at is None or now < at + TOLD_LATE):
        window = Span(min(before.start, window.start), max(before.end, window.end))
    return replace(head, walked=window, walked_at=None if in_doubt(head) else now)


def _doubt(head: Head, before: Head, record: RecordId, said: datetime) -> Head:
    """Note that ``record`` is gone, as ``said``, from a walk that is over.

    It is read again once everything else is: then ``walked`` has no date.  What is said of a
    deletion says when it was sent, which may be long after it happened.
    """
    if head.walked is None or head.walked_at is None or head.walked_at + TOLD_LATE < said:
        return head
    return replace(head, walked_at=None) if _may_begin_in(head.walked, before, record) else head


def _may_begin_in(span: Span, head: Head, record: RecordId) -> bool:
    """Say whether ``record`` begins in ``span``, as far as anybody remembers."""
    start = next((one.start for one in head.recent if one.id == record), None)
    return start is None or span.start <= start < span.end


def _begun(head: Head) -> bool:
    """Say whether a page of the window was read already."""
    return head.cursor is not None or head.reached is not None


def _place(head: Head) -> tuple[object, ...]:
    return head.run, head.progress, head.window, head.until, head.used, head.checks, head.checked_at


def _moved(head: Head, records: Iterable[Record]) -> bool:
    """Say whether one of ``records`` stands elsewhere in its list than before."""
    before = {one.id: one.start for one in head.recent}
    return any(one.start != before.get(one.id, one.start) for one in records)


def _shifts(head: Head, record: RecordId) -> bool:
    """Say whether the pages of the walk may have moved, now that ``record`` is gone.

    Also where it has no cursor yet: its first page may be on the way.  And also where the walk
    was taken up again below ``record``: what moved was read before that.
    """
    return head.window is not None and _may_begin_in(head.window, head, record)


def _alive(head: Head, now: datetime) -> Head:
    return replace(head, progress=Progress.RUNNING, reason=None, retry_at=None, touched_at=now)


def _close(head: Head, window: Span, goal: Span, now: datetime) -> Head:
    """Count the window as held, and remember what has to be asked for by its id."""
    over = head.walked_at is not None and head.walked_at + TOLD_LATE <= now
    if over and not recent.absent(head):
        # All that an earlier walk has seen is still there, as far as anybody looks back.
        head = replace(head, walked=None, walked_at=None)
    checks = (*head.checks, *_missing(head))
    after = _open(replace(head, held=extend(head.held, window), checks=checks), goal)
    if window.end == goal.end and head.lane is Lane.NIGHTLY:
        late = recent.unsettled(head, before=window.start, now=now, but=checks)
        after = replace(after, checks=(*checks, *late))
    return _rest(after)


def _missing(head: Head) -> list[RecordId]:
    """Return the absent records of the head's window that nobody is to ask for yet."""
    absent = recent.absent(head)
    if len(absent) > recent.ABSENT:
        return []
    return [record for record in absent if record not in head.checks]


def _rest(head: Head) -> Head:
    """Say that the run is over where nothing is left to ask."""
    over = head.window is None and not head.checks
    return replace(head, progress=Progress.FINISHED) if over else head


def _open(head: Head, goal: Span) -> Head:
    window = next_window(head.held, goal)
    if window is None and head.walked is not None and in_doubt(head):
        return _again(head, head.walked)
    if window is None:
        return replace(head, window=None, until=None, cursor=None, used=(), reached=None)
    return _down(head, window)


def _again(head: Head, window: Span) -> Head:
    """Read a window again that counts as held already."""
    return replace(_down(head, window), walked=None, walked_at=None)


def _down(head: Head, window: Span) -> Head:
    """Walk down ``window`` from its top."""
    top = replace(
        head, window=window, until=window.end, cursor=None, used=(), reached=None, again=False
    )
    return recent.unlisted(top, window)


def _digest(cursor: Cursor) -> str:
    # Eight digits tell the few thousand cursors of one walk apart well enough; a false alarm
    # costs one request.
    return fingerprint(cursor)[:8]
