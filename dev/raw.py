"""Reads the raw layer as its contract in the README says, sharing no code with the app."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.data.tables import TableClient

TABLE = "RawRecords"


@dataclass(frozen=True, slots=True)
class Current:
    """The current version of a record."""

    id: str
    updated_at: datetime
    body: str

    @property
    def hash(self) -> str:
        """The sha256 of the canonical form: sorted keys, no white space, UTF-8."""
        canonical = json.dumps(
            json.loads(self.body), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


def read_current(
    connection_string: str, provider: str, user: str, resource: str
) -> dict[str, Current]:
    """Return the current version of every record in one partition, by id."""
    partition = f"{provider}|{user}|{resource}"
    with TableClient.from_connection_string(connection_string, TABLE) as table:
        rows = table.query_entities(
            "PartitionKey eq @partition and RowKey ge 'v|' and RowKey lt 'v}'",
            parameters={"partition": partition},
        )
        return current(rows)


def current(rows: Iterable[Mapping[str, Any]]) -> dict[str, Current]:
    """Keep the last row of each id, unless it is a tombstone; rows come in the order of keys."""
    found: dict[str, Current] = {}
    for row in rows:
        _, escaped, updated_at, _ = row["RowKey"].split("|")
        record = re.sub("(?:=[0-9A-F]{2})+", _unescape, escaped)
        body = _body(row)
        if body is None:
            found.pop(record, None)
        else:
            found[record] = Current(record, datetime.fromisoformat(updated_at), body)
    return found


def _body(row: Mapping[str, Any]) -> str | None:
    """Join what one property cannot hold; a tombstone has no body."""
    if row.get("body") is None:
        return None
    pieces = [str(row["body"])]
    while (piece := row.get(f"body_{len(pieces)}")) is not None:
        pieces.append(str(piece))
    return "".join(pieces)


def _unescape(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("=", "")).decode()
