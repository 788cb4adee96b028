from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.days import LIMIT, ORIGIN, mark, stretches

DAYS = st.dates(min_value=ORIGIN, max_value=ORIGIN + timedelta(days=LIMIT - 1))


def test_no_days_are_no_stretches() -> None:
    assert list(stretches(b"")) == []


def test_neighbours_are_one_stretch() -> None:
    days = mark(b"", [date(2026, 3, 1), date(2026, 3, 3), date(2026, 3, 2), date(2026, 3, 9)])

    assert list(stretches(days)) == [
        (date(2026, 3, 1), date(2026, 3, 3)),
        (date(2026, 3, 9), date(2026, 3, 9)),
    ]


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9, 400])
@pytest.mark.parametrize("offset", [0, 1, 7, 5_000])
def test_a_stretch_ends_where_its_days_do(offset: int, length: int) -> None:
    first = ORIGIN + timedelta(days=offset)
    later = first + timedelta(days=length + 1)
    days = mark(b"", [*(first + timedelta(days=n) for n in range(length)), later])

    assert list(stretches(days)) == [
        (first, first + timedelta(days=length - 1)),
        (later, later),
    ]


@pytest.mark.parametrize(
    "day", [ORIGIN - timedelta(days=1), date(1, 1, 1), ORIGIN + timedelta(days=LIMIT), date.max]
)
def test_a_broken_clock_leaves_no_mark(day: date) -> None:
    assert mark(b"", [day]) == b""


@pytest.mark.parametrize("day", [ORIGIN, ORIGIN + timedelta(days=LIMIT - 1)])
def test_the_first_and_the_last_day_count(day: date) -> None:
    assert list(stretches(mark(b"", [day]))) == [(day, day)]


@given(st.lists(DAYS), st.lists(DAYS))
def test_every_marked_day_is_in_one_stretch_and_no_other_is(
    some: list[date], more: list[date]
) -> None:
    found = list(stretches(mark(mark(b"", some), more)))

    covered = {
        first + timedelta(days=n) for first, last in found for n in range((last - first).days + 1)
    }
    assert covered == {*some, *more}
    for (_, last), (first, _) in pairwise(found):
        assert last + timedelta(days=1) < first
