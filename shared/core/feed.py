"""Decide what a reader of the feed is told, and write it down with every record's text as it is.

The feed numbers the versions of one resource of one member in the order in which they landed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush

from shared.core.keys import instant
from shared.core.model import Deletion, Known, RecordId
from shared.core.times import instant_optional


@dataclass(frozen=True, slots=True)
class Number:
    """An entry of the feed: which state of which record was number ``seq``."""

    seq: int
    record: RecordId
    updated_at: datetime
    n: int


@dataclass(frozen=True, slots=True)
class Landed:
    """A version as the raw layer holds it."""

    number: Number
    first_seen: datetime | None
    #: The record's JSON text, byte for byte as it came, or its deletion.
    content: str | Deletion


def current(
    numbers: Sequence[Number], known: Mapping[RecordId, Sequence[Known]]
) -> tuple[Number, ...]:
    """Keep those that are the last state of their record.

    ``known`` holds every stored version of their records, oldest first, and was read after
    ``numbers``: what it has and they have not comes later in the feed, or came before.
    """
    return tuple(
        number
        for number in numbers
        for last in known.get(number.record, ())[-1:]
        if (last.updated_at, last.n) == (number.updated_at, number.n)
    )


def entry(landed: Landed) -> str:
    """Write one version as a JSON object."""
    number, content = landed.number, landed.content
    facts: dict[str, object] = {
        "id": number.record,
        "seq": number.seq,
        "updated_at": instant(number.updated_at),
    }
    if isinstance(content, Deletion):
        return _json({**facts, "deleted_at": instant(content.at), "evidence": content.evidence})
    before = _json({**facts, "first_seen": instant_optional(landed.first_seen)})
    # Not parsed and written anew: that would turn 1.0 or 1e3 into another spelling.
    return f'{before[:-1]},"record":{content}}}'


def one_line(text: str) -> str:
    """Put an entry onto one line: in JSON, line breaks stand between tokens only."""
    return text.replace("\r", " ").replace("\n", " ")


def document(
    entries: Iterable[str], *, resource: str, generation: str | None, cursor: int, more: bool
) -> str:
    """Write entries as one JSON document that also says where to go on."""
    before = _json({"resource": resource, "generation": generation})
    after = _json({"cursor": cursor, "more": more})
    return f'{before[:-1]},"records":[{",".join(entries)}],{after[1:]}'


def fit(
    entries: Iterable[tuple[int, str]], most: int
) -> tuple[tuple[tuple[int, str], ...], int | None]:
    """Keep as many of the first entries as take ``most`` bytes together, but at least one.

    ``entries`` come in any order, each with its number, and are never held all at once.  Returns
    those that were kept in the order of their numbers, and the number of the first that was not.
    """
    kept: list[tuple[int, str]] = []  # a heap, the last number on top
    size, left_out = 0, None
    for seq, text in entries:
        if left_out is not None and seq > left_out:
            continue
        heappush(kept, (-seq, text))
        size += len(text.encode())
        while size > most and len(kept) > 1:
            negative, dropped = heappop(kept)
            left_out = -negative
            size -= len(dropped.encode())
    return tuple(sorted((-negative, text) for negative, text in kept)), left_out


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
