"""Decide what a page changes in the raw layer: which versions are new, and in which transactions.

A version is immutable.  ``n`` counts the states under one ``updated_at``: the first content is
0, a different one takes the next number, and seeing the same again writes nothing.  The current
version is the last row of its id, so a late or out-of-order arrival never hides newer content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.core import days
from shared.core.model import AccountId, Head, Known, Misfit, Page, Record, RecordId, Version
from shared.core.sizes import ENVELOPE, ROWS, WIRE, on_the_wire, row_fits

#: Rows that one version can need: itself, its number in the feed, its second name.
ROWS_PER_VERSION = 3
#: Bytes that the head can take on the wire: cursors used and days with data are its bulk.
HEAD_WIRE = 100_000


@dataclass(frozen=True, slots=True)
class Transaction:
    """Rows that are written together or not at all: versions, and the head that counts them."""

    head: Head
    versions: tuple[Version, ...]


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
) -> Settlement:
    """Decide what to write for ``page``, which moves the walk from ``before`` to ``after``.

    ``known`` holds every stored version of the page's records, oldest first.  ``now`` is the
    date of documents, which have none of their own.  Raises nothing: an item that cannot be
    stored becomes a misfit, and the page goes on.
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
    for record in page.records:
        if reason := _unfit(record, account):
            misfits.append(Misfit(reason, record.body))
            continue
        states = seen.setdefault(record.id, [])
        state = _state(record, states, now)
        if state is None:
            unchanged += 1
            continue
        head = _count(head, record, new=not states)
        states.append(state)
        states.sort(key=_age)
        steps.append(_Step(Version(record, state.updated_at, state.n, head.seq), head))
    counted = replace(
        after,
        seq=head.seq,
        records=head.records,
        versions=head.versions,
        oldest=head.oldest,
        newest=head.newest,
        days=head.days,
    )
    return Settlement(tuple(_transactions(steps, counted)), tuple(misfits), unchanged)


@dataclass(frozen=True, slots=True)
class _Step:
    """A version, and what the head counts once it is written."""

    version: Version
    head: Head


def _unfit(record: Record, account: AccountId | None) -> str | None:
    if None not in (account, record.account) and record.account != account:
        return "foreign_account"
    return None if row_fits(record.body) else "too_large"


def _state(record: Record, states: Sequence[Known], now: datetime) -> Known | None:
    """Return the state that ``record`` adds, or None when it is already there."""
    last = states[-1] if states else None
    if record.updated_at is None:
        # A clock that was set back must not hide a document behind its predecessor.
        updated_at = now if last is None else max(now, last.updated_at)
        same = [state for state in states if state.updated_at == updated_at]
        rivals = states[-1:]
    else:
        updated_at = record.updated_at
        same = [state for state in states if state.updated_at == updated_at]
        # Under the current date only the last content counts, so that a change back is kept as
        # well.  Under an older one any content will do: it is a late arrival, and no news.
        rivals = same[-1:] if same and same[-1] == last else same
    if any(state.digest == record.digest for state in rivals):
        return None
    return Known(updated_at, same[-1].n + 1 if same else 0, record.digest)


def _count(head: Head, record: Record, *, new: bool) -> Head:
    starts = [] if record.start is None else [record.start]
    return replace(
        head,
        seq=head.seq + 1,
        records=head.records + new,
        versions=head.versions + 1,
        oldest=min([*starts, head.oldest] if head.oldest else starts, default=None),
        newest=max([*starts, head.newest] if head.newest else starts, default=None),
        days=head.days if record.day is None else days.mark(head.days, [record.day]),
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
        size = on_the_wire(step.version.record.body) + (ROWS_PER_VERSION - 1) * ENVELOPE
        full = (len(group) + 1) * ROWS_PER_VERSION > ROWS - 1
        if group and (full or wire + size > WIRE):
            yield tuple(group)
            group, wire = [], HEAD_WIRE
        group.append(step)
        wire += size
    if group:
        yield tuple(group)


def _age(state: Known) -> tuple[datetime, int]:
    return state.updated_at, state.n
