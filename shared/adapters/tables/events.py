"""What providers have told us, in Azure Tables: worth nothing after a few hours.

Events   ref | seen|key                that all was done that was asked for
         ref | look|resource|record    the newest look at a record
"""

from __future__ import annotations

from datetime import datetime

from shared.adapters.tables import Tables, delete, read, storage_errors, sweep, write
from shared.core.keys import escape, instant
from shared.core.model import Look, RecordId, Ref, ResourceName
from shared.core.times import parse
from shared.ports import Etag, Stored

TABLE = "Events"


class TableEvents:
    """Implements ``EventStore``: one partition a ref, so that all of a member's can be dropped."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def seen(self, ref: Ref, key: str) -> bool:
        """Say whether everything was done."""
        return read(self._tables.open(TABLE), escape(ref), _seen_row(key)) is not None

    def note(self, ref: Ref, key: str, *, at: datetime) -> None:
        """Note that everything was done."""
        row = {"PartitionKey": escape(ref), "RowKey": _seen_row(key), "at": instant(at)}
        table = self._tables.open(TABLE)
        with storage_errors():
            table.upsert_entity(row)

    def find(self, ref: Ref, resource: ResourceName, record: RecordId) -> Stored[Look] | None:
        """Return the newest look."""
        row = read(self._tables.open(TABLE), escape(ref), _look_row(resource, record))
        return None if row is None else Stored(Look(parse(row["at"]), row["key"]), row["etag"])

    def save(
        self, ref: Ref, resource: ResourceName, record: RecordId, look: Look, etag: Etag | None
    ) -> Etag:
        """Write a look."""
        row = {
            "PartitionKey": escape(ref),
            "RowKey": _look_row(resource, record),
            "at": instant(look.at),
            "key": look.key,
        }
        return write(self._tables.open(TABLE), row, etag)

    def drop(self, ref: Ref) -> int:
        """Delete the partition."""
        table = self._tables.open(TABLE)
        with storage_errors():
            rows = list(
                table.query_entities(
                    "PartitionKey eq @ref", parameters={"ref": escape(ref)}, select=["RowKey"]
                )
            )
        return delete(table, [(escape(ref), row["RowKey"]) for row in rows])

    def sweep(self, before: datetime, *, most: int) -> int:
        """Delete what is old; a look that is written anew meanwhile costs one more look."""
        return sweep(self._tables.open(TABLE), "at lt @before", before, most=most)


def _seen_row(key: str) -> str:
    return f"seen|{escape(key)}"


def _look_row(resource: ResourceName, record: RecordId) -> str:
    return f"look|{escape(resource)}|{escape(record)}"
