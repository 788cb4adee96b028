"""The nights that were, in Azure Tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.adapters.tables import Tables, read, storage_errors, sweep, write
from shared.core.keys import instant
from shared.core.times import parse
from shared.ports import Etag, Slot, Stored

TABLE, PARTITION = "Slots", "nightly"


class TableSlots:
    """Implements ``SlotStore``: one partition, row = slot, so that rows sort by time."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, at: datetime) -> Stored[Slot] | None:
        """Return a slot."""
        row = read(self._tables.open(TABLE), PARTITION, instant(at))
        return None if row is None else Stored(_slot(row), Etag(row["etag"]))

    def save(self, slot: Slot, etag: Etag | None) -> Etag:
        """Write a slot."""
        row = {
            "PartitionKey": PARTITION,
            "RowKey": instant(slot.at),
            "cursor": slot.cursor,
            "done": slot.done,
        }
        return write(self._tables.open(TABLE), row, etag)

    def unfinished(self) -> Sequence[Stored[Slot]]:
        """Return the slots that are not done."""
        with storage_errors():
            rows = self._tables.open(TABLE).query_entities(
                "PartitionKey eq @partition and done eq false",
                parameters={"partition": PARTITION},
            )
            return [Stored(_slot(row), Etag(str(row.metadata["etag"]))) for row in rows]

    def drop(self, before: datetime, *, most: int) -> int:
        """Delete old slots."""
        condition = f"PartitionKey eq '{PARTITION}' and RowKey lt @before"
        return sweep(self._tables.open(TABLE), condition, before, most=most)


def _slot(row: Mapping[str, Any]) -> Slot:
    return Slot(parse(row["RowKey"]), row["cursor"], row["done"])
