"""The days that have data, one bit a day since ``HISTORY_START``: five years are 700 bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from shared.core.model import HISTORY_START

ORIGIN = HISTORY_START.date()
#: About a century; a date beyond it is a broken clock's.
LIMIT = 36_500


def mark(days: bytes, more: Iterable[date]) -> bytes:
    """Set the bits of ``more``; days that no calendar would show are passed over."""
    bits = int.from_bytes(days, "little")
    for day in more:
        offset = (day - ORIGIN).days
        if 0 <= offset < LIMIT:
            bits |= 1 << offset
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def stretches(days: bytes) -> Iterator[tuple[date, date]]:
    """Yield the first and last day of each unbroken stretch, oldest first."""
    bits = int.from_bytes(days, "little")
    offset = 0
    while bits:
        gap = (bits & -bits).bit_length() - 1
        bits >>= gap
        length = (~bits & (bits + 1)).bit_length() - 1
        first = ORIGIN + timedelta(days=offset + gap)
        yield first, first + timedelta(days=length - 1)
        bits >>= length
        offset += gap + length
