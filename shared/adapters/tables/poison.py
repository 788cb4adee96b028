"""What messages failed of, and those that nobody could finish, in Azure Tables.

Failures   failure | fingerprint    what the message raised last
Poison     poison  | fingerprint    the message, and how it stands
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any

from azure.core import MatchConditions

from shared.adapters.tables import Tables, read, storage_errors, sweep, write
from shared.core.keys import instant
from shared.core.times import parse
from shared.errors import LostRace
from shared.ports import Etag, Poisoned, Stored

FAILURES, POISON = "Failures", "Poison"
FAILURE, MESSAGE = "failure", "poison"
#: Bytes in one column; Azure takes 64 KiB, which is also the longest message.
CHUNK = 32_000


class TablePoison:
    """Implements ``PoisonStore``."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def note(self, key: str, error: str, *, at: datetime) -> None:
        """Write over whatever is there: the last failure is as good as any."""
        row = {"PartitionKey": FAILURE, "RowKey": key, "error": error, "at": instant(at)}
        table = self._tables.open(FAILURES)
        with storage_errors():
            table.upsert_entity(row)

    def noted(self, key: str) -> str | None:
        """Return a failure."""
        row = read(self._tables.open(FAILURES), FAILURE, key)
        return None if row is None else str(row["error"])

    def forget(self, key: str) -> None:
        """Delete a failure."""
        table = self._tables.open(FAILURES)
        with storage_errors():
            table.delete_entity(FAILURE, key)

    def find(self, key: str) -> Stored[Poisoned] | None:
        """Return a message."""
        row = read(self._tables.open(POISON), MESSAGE, key)
        return None if row is None else Stored(_poisoned(row), Etag(row["etag"]))

    def save(self, poisoned: Poisoned, etag: Etag | None) -> Etag:
        """Write a message, its body as bytes: it need not be text."""
        body = poisoned.body
        row = {
            "PartitionKey": MESSAGE,
            "RowKey": poisoned.key,
            "queue": poisoned.queue,
            "error": poisoned.error,
            "at": instant(poisoned.at),
            "count": poisoned.count,
            "redeferred": poisoned.redeferred,
            "stuck": poisoned.stuck,
            **{
                f"body_{number}": body[start : start + CHUNK]
                for number, start in enumerate(range(0, len(body), CHUNK))
            },
        }
        return write(self._tables.open(POISON), row, etag)

    def everything(self) -> Sequence[Poisoned]:
        """Read the whole partition."""
        table = self._tables.open(POISON)
        with storage_errors():
            rows = table.query_entities(
                "PartitionKey eq @partition", parameters={"partition": MESSAGE}
            )
            return [_poisoned(row) for row in rows]

    def drop(self, key: str, etag: Etag) -> None:
        """Delete a message, unless it was changed."""
        table = self._tables.open(POISON)
        with storage_errors():
            table.delete_entity(
                MESSAGE, key, etag=etag, match_condition=MatchConditions.IfNotModified
            )

    def sweep(self, before: datetime, *, most: int) -> int:
        """Delete old failures, then messages that were sent back to work and did not return."""
        swept = sweep(self._tables.open(FAILURES), "at lt @before", before, most=most)
        table = self._tables.open(POISON)
        with storage_errors():
            rows = table.query_entities(
                "PartitionKey eq @partition and stuck eq false and at lt @before",
                parameters={"partition": MESSAGE, "before": instant(before)},
                select=["RowKey"],
            )
            for row in islice(rows, most - swept):
                with suppress(LostRace):  # it has just come back
                    self.drop(row["RowKey"], Etag(str(row.metadata["etag"])))
                    swept += 1
        return swept


def _poisoned(row: Mapping[str, Any]) -> Poisoned:
    pieces: list[bytes] = []
    while (piece := row.get(f"body_{len(pieces)}")) is not None:
        pieces.append(piece)
    return Poisoned(
        key=row["RowKey"],
        body=b"".join(pieces),
        queue=row["queue"],
        error=row["error"],
        at=parse(row["at"]),
        count=row["count"],
        redeferred=row["redeferred"],
        stuck=row["stuck"],
    )
