"""Departures that are not over, and receipts of erasures, in Azure Tables.

Departures   ref | departure    what is still to be done; whom it is about is sealed
Receipts     id  | receipt      when, and how many rows, of nobody
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any

from azure.core import MatchConditions

from shared.adapters.tables import Tables, read, storage_errors, write
from shared.adapters.tables.connections import grant_columns, read_grant
from shared.core.keys import escape, instant
from shared.core.model import Departure, ProviderName, Ref, Sealed, Todo
from shared.core.times import parse
from shared.errors import LostRace
from shared.ports import Etag, Receipt, Stored

DEPARTURES, RECEIPTS = "Departures", "Receipts"
DEPARTURE, RECEIPT = "departure", "receipt"


class TableDepartures:
    """Implements ``DepartureStore``."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, ref: Ref) -> Stored[Departure] | None:
        """Return a departure."""
        row = read(self._tables.open(DEPARTURES), escape(ref), DEPARTURE)
        return None if row is None else Stored(_departure(row), Etag(row["etag"]))

    def save(self, departure: Departure, etag: Etag | None) -> Etag:
        """Write a departure."""
        row = {
            "PartitionKey": escape(departure.ref),
            "RowKey": DEPARTURE,
            "ref": departure.ref,
            "provider": departure.provider,
            "user": departure.user.text,
            "account": departure.account.text if departure.account else None,
            "at": instant(departure.at),
            "todo": departure.todo.value,
            "rows": json.dumps(departure.rows),
            **(grant_columns(departure.grant) if departure.grant else {}),
        }
        return write(self._tables.open(DEPARTURES), row, etag)

    def drop(self, ref: Ref, etag: Etag) -> None:
        """Delete a departure, unless it was changed."""
        with storage_errors():
            self._tables.open(DEPARTURES).delete_entity(
                escape(ref), DEPARTURE, etag=etag, match_condition=MatchConditions.IfNotModified
            )

    def sweep(self, before: datetime, *, most: int) -> int:
        """Delete old departures, but for those whose records are still here."""
        swept = 0
        with storage_errors():
            rows = self._tables.open(DEPARTURES).query_entities(
                "at lt @before and todo ne @todo",
                parameters={"before": instant(before), "todo": Todo.ERASE.value},
                select=["ref"],
            )
            for row in islice(rows, most):
                with suppress(LostRace):  # somebody is just at it
                    self.drop(Ref(row["ref"]), Etag(str(row.metadata["etag"])))
                    swept += 1
        return swept

    def keep(self, receipt: Receipt) -> Receipt:
        """Create a receipt, which only the first can; return that one."""
        table, key = self._tables.open(RECEIPTS), escape(receipt.id)
        row = {
            "PartitionKey": key,
            "RowKey": RECEIPT,
            "at": instant(receipt.at),
            "rows": json.dumps(receipt.rows),
        }
        with suppress(LostRace):
            write(table, row, None)
            return receipt
        kept = read(table, key, RECEIPT)
        if kept is None:
            raise LostRace("the receipt was there, and is not")
        return Receipt(receipt.id, parse(kept["at"]), json.loads(kept["rows"]))


def _departure(row: Mapping[str, Any]) -> Departure:
    account = row.get("account")
    return Departure(
        ref=Ref(row["ref"]),
        provider=ProviderName(row["provider"]),
        user=Sealed(row["user"]),
        account=None if account is None else Sealed(account),
        grant=read_grant(row) if "grant" in row else None,
        at=parse(row["at"]),
        todo=Todo(row["todo"]),
        rows=json.loads(row["rows"]),
    )
