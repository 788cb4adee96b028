"""What can happen to one record: it looks different, goes, and comes back."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from dev.simulator import moments
from dev.simulator.members import Document, Gone, Record, Revision
from dev.simulator.moments import to_millis, written

#: What a later look does not take over from an earlier one.
_PASSING = {"updated_at", "score", "score_state"}


def newer(document: Document, now: datetime) -> str:
    """Give an ``updated_at`` for ``now``, later than the one there even if no time has passed."""
    last = moments.read(document["updated_at"])
    return written(max(to_millis(now), last + timedelta(milliseconds=1)))


def changed(
    record: Record,
    shown: Revision,
    now: datetime,
    fields: Mapping[str, Any],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Record:
    """Let a record that is ``shown`` look different from ``now`` on.

    What is going to happen to it still does, with the changed fields.  ``start`` and ``end``
    move it in time; a recovery, which has no times of its own, needs them to follow its sleep.
    """
    past, coming = _split(record, now)
    lasting = {name: value for name, value in fields.items() if name not in _PASSING}
    if lasting or start or end:
        coming = tuple(_look(one, one.at, lasting, start, end) for one in coming)
    look = _look(shown, now, fields, start, end)
    return Record(record.id, (*past, look, *coming))


def settled(record: Record, shown: Revision, now: datetime, fields: Mapping[str, Any]) -> Record:
    """Let a record that is ``shown`` look different from ``now`` on, and for good."""
    past, _ = _split(record, now)
    return Record(record.id, (*past, _look(shown, now, fields)))


def gone(record: Record, shown: Revision, now: datetime) -> Record:
    """Let a record that is ``shown`` vanish; nothing more happens to it."""
    past, _ = _split(record, now)
    return Record(record.id, (*past, Gone(now, shown)))


def returned(record: Record, last: Revision, now: datetime, fields: Mapping[str, Any]) -> Record:
    """Let a record that has gone be there again, as it was at ``last`` but for ``fields``."""
    return Record(record.id, (*record.revisions, _look(last, now, fields)))


def foreseen(record: Record, now: datetime) -> Document | None:
    """Give the score that a record is going to have, if one is on its way."""
    _, coming = _split(record, now)
    scores = (one.document.get("score") for one in coming)
    return next((score for score in scores if score), None)


def _split(
    record: Record, now: datetime
) -> tuple[tuple[Revision | Gone, ...], tuple[Revision, ...]]:
    past = tuple(look for look in record.revisions if look.at <= now)
    coming = record.revisions[len(past) :]
    return past, tuple(look for look in coming if isinstance(look, Revision))


def _look(
    before: Revision,
    at: datetime,
    fields: Mapping[str, Any],
    start: datetime | None = None,
    end: datetime | None = None,
) -> Revision:
    document = before.document | dict(fields)
    return Revision(at, start or before.start, end or before.end, document)
