"""Decide what a page changes in the raw layer: which versions are new, and in which transactions.

A version is immutable.  ``n`` counts the states under one ``updated_at``: the first content is
0, a different one takes the next number, and seeing the same again writes nothing.  The current
version is the last row of its id, so a late or out-of-order arrival never hides newer content.

A deletion is a state as well, the tombstone.  It takes the date of what it buries, and is lifted
by newer content or by any answer to a question that was asked after its evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.core import days
from shared.core.model import (
    AccountId,
    Deletion,
    Head,
    Known,
    Lane,
    Misfit,
    Page,
    Record,
    RecordId,
    RunId,
    Version,
)
from shared.core.sizes import ENVELOPE, ROWS, WIRE, on_the_wire, row_fits

#: Rows that one version can need: itself, its number in the feed, its second name.
ROWS_PER_VERSION = 3
#: Bytes that the head can take on the wire: cursors used, days with data and recent records are
#: its bulk.
HEAD_WIRE = 200_000


@dataclass(frozen=True, slots=True)
class Transaction:
    """Rows that are written together or not at all: versions, and the head that counts them."""

    head: Head
    versions: tuple[Version, ...]
    #: When the versions were seen, and who brought them.
    seen_at: datetime | None = None
    run: RunId | None = None
    lane: Lane | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a page comes to.  The last transaction carries the walk's progress."""

    transactions: tuple[Transaction, ...]
    misfits: tuple[Misfit, ...]
    unchanged: int


def settle(
    before: Head,
    after: Head,
    page: Page,
    known: Mapping[RecordId, Sequence[Known]],
    *,
    account: AccountId | None,
    now: datetime,
    asked: datetime,
    gone: Sequence[Deletion] = (),
    beside: Lane | None = None,
) -> Settlement:
    """Decide what to write for ``page``, which moves the walk from ``before`` to ``after``.

    ``known`` holds every stored version of the page's records and of those that are ``gone``,
    oldest first.  ``asked`` is when the page was asked for; ``now`` is the date of documents,
    which have none of their own; ``beside`` is who asked where it was not the run.  Raises
    nothing: an item that cannot be stored becomes a misfit, and the page goes on.
    """
    misfits = list(page.misfits)
    steps: list[_Step] = []
    seen = {record: list(states) for record, states in known.items()}
    # Whoever writes the first of several transactions wants to recognise it as well.
    head, unchanged = (
        replace(
            before,
            run=after.run,
            lane=after.lane,
            writer=after.writer,
            touched_at=after.touched_at,
        ),
        0,
    )
    changes: list[Record | Deletion] = []
    for record in page.records:
        if reason := _unfit(record, account):
            misfits.append(Misfit(reason, record.body))
        else:
            changes.append(record)
    for content in (*changes, *gone):
        states = seen.setdefault(content.id, [])
        added = _added(content, states, now=now, asked=asked)
        unchanged += not added
        for addition, state in added:
            alive = _alive(states)
            states.append(state)
            states.sort(key=_age)
            head = _count(head, addition, records=_alive(states) - alive)
            steps.append(_Step(Version(addition, state.updated_at, state.n, head.seq), head))
    counted = replace(
        after,
        seq=head.seq,
        records=head.records,
        versions=head.versions,
        oldest=head.oldest,
        newest=head.newest,
        days=head.days,
    )
    transactions = tuple(
        replace(
            one,
            seen_at=now,
            run=None if beside else after.run,
            lane=beside or after.lane,
        )
        for one in _transactions(steps, counted)
    )
    return Settlement(transactions, tuple(misfits), unchanged)


@dataclass(frozen=True, slots=True)
class _Step:
    """A version, and what the head counts once it is written."""

    version: Version
    head: Head


def _unfit(record: Record, account: AccountId | None) -> str | None:
    if None not in (account, record.account) and record.account != account:
        return "foreign_account"
    return None if row_fits(record.body) else "too_large"


def _added(
    content: Record | Deletion, states: Sequence[Known], *, now: datetime, asked: datetime
) -> list[tuple[Record | Deletion, Known]]:
    """Return what ``content`` adds to the states of its record: nothing where it is no news."""
    last = states[-1] if states else None
    if isinstance(content, Deletion):
        if last is None or last.deleted_at is not None:
            return []
        return [(content, _next(states, last.updated_at, "", content.at))]
    state = _state(content, states, now=now, asked=asked)
    if state is None:
        return []
    if last is None or last.deleted_at is None or asked > last.deleted_at:
        return [(content, state)]
    if state.updated_at != last.updated_at:
        return [(content, state)]
    # Content that nobody had seen, in an answer from before the deletion: kept, and still gone.
    grave = Deletion(content.id, last.deleted_at, "late_answer")
    return [
        (content, state),
        (grave, _next([*states, state], state.updated_at, "", last.deleted_at)),
    ]


def _state(
    record: Record, states: Sequence[Known], *, now: datetime, asked: datetime
) -> Known | None:
    """Return the state that ``record`` adds, or None when it is already there."""
    last = states[-1] if states else None
    if record.updated_at is None:
        # A clock that was set back must not hide a document behind its predecessor.
        updated_at = now if last is None else max(now, last.updated_at)
        rivals = states[-1:]
    elif last is not None and last.deleted_at is not None and asked > last.deleted_at:
        # It is back, whatever its date says, and so it must be its record's last state.
        updated_at, rivals = max(record.updated_at, last.updated_at), ()
    else:
        updated_at = record.updated_at
        same = [state for state in states if state.updated_at == updated_at]
        # Under the current date only the last content counts, so that a change back is kept as
        # well.  Under an older one any content will do: it is a late arrival, and no news.  And
        # so is what was asked for before its record was deleted.
        current = same[-1:] == states[-1:] and same[-1:] and same[-1].deleted_at is None
        rivals = same[-1:] if current else same
    if any(state.digest == record.digest for state in rivals):
        return None
    return _next(states, updated_at, record.digest)


def _next(
    states: Sequence[Known], updated_at: datetime, digest: str, deleted_at: datetime | None = None
) -> Known:
    numbers = [state.n for state in states if state.updated_at == updated_at]
    return Known(updated_at, max(numbers, default=-1) + 1, digest, deleted_at)


def _alive(states: Sequence[Known]) -> int:
    return 1 if states and states[-1].deleted_at is None else 0


def _count(head: Head, content: Record | Deletion, *, records: int) -> Head:
    counted = replace(
        head, seq=head.seq + 1, records=head.records + records, versions=head.versions + 1
    )
    if isinstance(content, Deletion):
        return counted
    starts = [] if content.start is None else [content.start]
    return replace(
        counted,
        oldest=min([*starts, head.oldest] if head.oldest else starts, default=None),
        newest=max([*starts, head.newest] if head.newest else starts, default=None),
        days=head.days if content.day is None else days.mark(head.days, [content.day]),
    )


def _transactions(steps: Sequence[_Step], after: Head) -> Iterator[Transaction]:
    groups = list(_groups(steps)) or [()]
    for group in groups[:-1]:
        # What is written is counted, and the walk stays where it was: a crash before the last
        # group reads the page again and finds these unchanged.
        yield Transaction(group[-1].head, tuple(step.version for step in group))
    yield Transaction(after, tuple(step.version for step in groups[-1]))


def _groups(steps: Sequence[_Step]) -> Iterator[tuple[_Step, ...]]:
    group: list[_Step] = []
    wire = HEAD_WIRE
    for step in steps:
        size = _size(step.version.content) + (ROWS_PER_VERSION - 1) * ENVELOPE
        full = (len(group) + 1) * ROWS_PER_VERSION > ROWS - 1
        if group and (full or wire + size > WIRE):
            yield tuple(group)
            group, wire = [], HEAD_WIRE
        group.append(step)
        wire += size
    if group:
        yield tuple(group)


def _size(content: Record | Deletion) -> int:
    return on_the_wire("" if isinstance(content, Deletion) else content.body)


def _age(state: Known) -> tuple[datetime, int]:
    return state.updated_at, state.n
