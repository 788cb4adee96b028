"""What fits into Azure Tables, computed before the service can refuse it.

https://learn.microsoft.com/azure/storage/tables/scalability-targets : 32 K characters a
property, 1 MiB a row, 100 rows and 4 MiB a transaction.  The emulator enforces none of the last
three, so these rules have tests of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

#: UTF-16 units in one property.  Azure takes 32,768.
PROPERTY = 32_000
#: Bytes in one row.  Azure takes 1 MiB; the difference is room for the columns beside a body.
ROW = 1_000_000
ROWS = 100
#: Bytes of one transaction on the wire.  Azure takes 4 MiB.
WIRE = 3_500_000
#: What a row costs on the wire besides its values: its part of the multipart body.
ENVELOPE = 1_200


def split(text: str) -> list[str]:
    """Cut ``text`` into pieces of at most ``PROPERTY`` UTF-16 units, none inside a character."""
    if len(text) * 2 <= PROPERTY:
        return [text]
    pieces, start, units = [], 0, 0
    for at, char in enumerate(text):
        width = 2 if ord(char) > 0xFFFF else 1
        if units + width > PROPERTY:
            pieces.append(text[start:at])
            start, units = at, 0
        units += width
    return [*pieces, text[start:]]


def columns(name: str, text: str) -> dict[str, str]:
    """Spread ``text`` over the columns ``name``, ``name_1``, ``name_2`` and so on."""
    return {
        f"{name}_{number}" if number else name: piece for number, piece in enumerate(split(text))
    }


def join(name: str, row: Mapping[str, object]) -> str:
    """Read back what ``columns`` has spread."""
    pieces, number = [str(row[name])], 1
    while (piece := row.get(f"{name}_{number}")) is not None:
        pieces.append(str(piece))
        number += 1
    return "".join(pieces)


def row_fits(body: str) -> bool:
    """Say whether a row can hold ``body`` beside its other columns."""
    return 2 * _units(body) <= ROW


def on_the_wire(body: str) -> int:
    """Return how many bytes a row with ``body`` takes in a transaction."""
    return len(json.dumps(body)) + ENVELOPE


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
