from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from shared.core.skew import Skew, observe
from tests.builders import NOW

MS = timedelta(milliseconds=1)


def an_answer(skew: Skew | None, true: datetime, offset: timedelta, trip: timedelta) -> Skew:
    """Storage answers at ``true``; our clock is ``offset`` behind."""
    date = true.replace(microsecond=0)
    ours = true - offset
    return observe(skew, sent=ours - trip / 2, answered=ours + trip / 2, date=date)


def test_one_answer_is_right_to_within_a_second() -> None:
    skew = an_answer(None, NOW + 300 * MS, timedelta(minutes=5), 10 * MS)

    assert skew.low <= timedelta(minutes=5) <= skew.high
    assert skew.high - skew.low == timedelta(seconds=1) + 10 * MS


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(minutes=-5), timedelta(seconds=2)])
def test_a_few_dozen_answers_are_right_to_within_milliseconds(offset: timedelta) -> None:
    rng, skew, true = random.Random(7), None, NOW
    for _ in range(60):
        true += timedelta(seconds=rng.random())
        skew = an_answer(skew, true, offset, 5 * MS)

    assert skew is not None
    assert abs(skew.offset - offset) < 50 * MS
    assert skew.low <= offset <= skew.high


def test_a_clock_that_was_set_is_believed_at_once() -> None:
    skew = an_answer(None, NOW, timedelta(0), 5 * MS)

    skew = an_answer(skew, NOW + timedelta(seconds=5), timedelta(minutes=3), 5 * MS)

    assert abs(skew.offset - timedelta(minutes=3)) <= timedelta(seconds=1)
