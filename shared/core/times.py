"""Times as text in storage: UTC, fixed width, so that text sorts as time does."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.core.keys import instant
from shared.core.model import Span


def parse(text: str) -> datetime:
    """Read back what ``instant`` wrote."""
    return datetime.fromisoformat(text)


def parse_optional(text: str | None) -> datetime | None:
    """Read a time that may be missing."""
    return None if text is None else parse(text)


def instant_optional(at: datetime | None) -> str | None:
    """Write a time that may be missing."""
    return None if at is None else instant(at)


def iso(at: datetime) -> str:
    """Write a time as members read it: ISO 8601, in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span_columns(name: str, span: Span | None) -> dict[str, str]:
    """Write a span as two columns, or as none."""
    if span is None:
        return {}
    return {f"{name}_start": instant(span.start), f"{name}_end": instant(span.end)}


def parse_span(name: str, row: dict[str, str]) -> Span | None:
    """Read back what ``span_columns`` wrote."""
    if f"{name}_start" not in row:
        return None
    return Span(parse(row[f"{name}_start"]), parse(row[f"{name}_end"]))
