from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.keys import instant
from shared.core.model import Span
from shared.core.times import (
    instant_optional,
    iso,
    parse,
    parse_optional,
    parse_span,
    span_columns,
)
from tests.builders import day, span


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_reads_back_as_it_was(at: datetime) -> None:
    assert parse(instant(at)) == at
    assert parse_optional(instant_optional(at)) == at


def test_members_read_times_in_utc_to_the_millisecond() -> None:
    at = datetime(2026, 11, 22, 9, 30, 0, 250_999, tzinfo=timezone(timedelta(hours=-3)))

    assert iso(at) == "2026-11-22T12:30:00.250Z"


def test_a_missing_time_stays_missing() -> None:
    assert instant_optional(None) is None
    assert parse_optional(None) is None


@pytest.mark.parametrize("value", [None, span("03-01", "03-02")])
def test_a_span_reads_back_as_it_was(value: Span | None) -> None:
    assert parse_span("held", span_columns("held", value)) == value


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (day("03-02"), day("03-02")),
        (day("03-03"), day("03-02")),
        (day("03-01").replace(tzinfo=None), day("03-02")),
        (day("03-01"), day("03-02").replace(tzinfo=None)),
    ],
)
def test_a_span_runs_forwards_through_aware_time(start: datetime, end: datetime) -> None:
    with pytest.raises(ValueError, match="Span"):
        Span(start, end)
