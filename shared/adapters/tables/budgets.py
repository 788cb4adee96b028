"""Budgets in Azure Tables: one row a provider, guarded by its ETag."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from shared.adapters.tables import Tables, read, write
from shared.core.budget import Budget, Meter
from shared.core.keys import escape, instant
from shared.core.model import Limit, ProviderName
from shared.core.times import parse
from shared.ports import Etag, Stored

TABLE = "Budgets"
ROW = "budget"


class TableBudgets:
    """Implements ``BudgetStore``.  A day's buckets take about 4 KB."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def load(self, provider: ProviderName) -> Stored[Budget] | None:
        """Return the budget."""
        row = read(self._tables.open(TABLE), escape(provider), ROW)
        if row is None:
            return None
        meters = tuple(_meter(doc) for doc in json.loads(row["meters"]))
        return Stored(Budget(meters, parse(row["closed_until"])), Etag(row["etag"]))

    def save(self, provider: ProviderName, budget: Budget, etag: Etag | None) -> Etag:
        """Write the budget."""
        row = {
            "PartitionKey": escape(provider),
            "RowKey": ROW,
            "closed_until": instant(budget.closed_until),
            "meters": json.dumps([_doc(meter) for meter in budget.meters]),
        }
        return write(self._tables.open(TABLE), row, etag)


def _doc(meter: Meter) -> dict[str, Any]:
    return {
        "count": meter.limit.count,
        "microseconds": meter.limit.window // timedelta(microseconds=1),
        "spent": meter.spent,
        "withheld": meter.withheld,
        "withheld_until": instant(meter.withheld_until),
    }


def _meter(doc: dict[str, Any]) -> Meter:
    return Meter(
        limit=Limit(doc["count"], timedelta(microseconds=doc["microseconds"])),
        spent=tuple((bucket, count) for bucket, count in doc["spent"]),
        withheld=doc["withheld"],
        withheld_until=parse(doc["withheld_until"]),
    )
