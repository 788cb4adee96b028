from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.keys import instant
from shared.core.model import Span
from shared.core.times import (
    instant_optional,
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
