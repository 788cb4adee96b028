from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.core.model import HISTORY_START, Head, Lane, Progress, Span
from shared.core.plan import (
    DOCUMENT_AGE,
    FORESEEN,
    FRESH,
    LOOKBACK,
    PATIENT_PAGES,
    document_due,
    ends_at,
    extend,
    fraction,
    gives_way,
    goal,
    lane_after,
    next_window,
)
from tests.builders import NOW, a_head, day, span

GOAL = span("03-01", "03-31")


def test_the_first_goal_is_the_last_thirty_days() -> None:
    assert goal(NOW, days=30) == Span(NOW - timedelta(days=30), NOW)


def test_a_wish_reaches_further_back_and_never_less_far() -> None:
    assert goal(NOW, days=30, since=day("2024-01-01")) == Span(day("2024-01-01"), NOW)
    assert goal(NOW, days=30, since=day("03-20")) == goal(NOW, days=30)
    assert goal(NOW, days=30, since=day("1999-01-01")) == Span(HISTORY_START, NOW)
    assert goal(NOW, days=0, since=day("2024-01-01")) == Span(HISTORY_START, NOW)


def test_no_days_means_everything() -> None:
    assert goal(NOW, days=0) == Span(HISTORY_START, NOW)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param(None, GOAL, id="a new connection reads the whole goal in one walk"),
        pytest.param(
            span("03-01", "03-20"), span("03-17", "03-31"), id="fresh days first, with lookback"
        ),
        pytest.param(
            span("03-10", "03-20"), span("03-17", "03-31"), id="fresh days before history"
        ),
        pytest.param(span("03-10", "03-31"), span("03-01", "03-10"), id="then history"),
        pytest.param(
            span("01-01", "02-01"), span("01-29", "03-31"), id="no hole below a later goal"
        ),
        pytest.param(GOAL, None, id="nothing left"),
        pytest.param(span("02-01", "04-15"), None, id="more than the goal is enough"),
        pytest.param(
            Span(HISTORY_START, HISTORY_START + timedelta(days=1)),
            Span(HISTORY_START, GOAL.end),
            id="the lookback ends where history does",
        ),
    ],
)
def test_next_window(held: Span | None, expected: Span | None) -> None:
    assert next_window(held, GOAL) == expected


@pytest.mark.parametrize("seed", range(300))
def test_every_run_ends_with_the_goal_covered_in_two_walks_at_most(seed: int) -> None:
    rng = random.Random(seed)

    def some_span() -> Span:
        start = day("2024-01-01") + timedelta(hours=rng.randrange(20_000))
        return Span(start, start + timedelta(hours=rng.randrange(1, 9_000)))

    wanted, held = some_span(), rng.choice([None, some_span()])
    before, walks = held, 0

    while (window := next_window(held, wanted)) is not None:
        held, walks = extend(held, window), walks + 1

    assert walks <= 2
    assert held is not None
    assert held.start <= wanted.start
    assert wanted.end <= held.end
    if before is not None:
        assert held.start <= before.start
        assert before.end <= held.end


@pytest.mark.parametrize(
    ("held", "window", "expected"),
    [
        pytest.param(None, GOAL, GOAL, id="the first window is all we hold"),
        pytest.param(GOAL, span("03-28", "04-05"), span("03-01", "04-05"), id="to the right"),
        pytest.param(GOAL, span("02-01", "03-01"), span("02-01", "03-31"), id="to the left"),
        pytest.param(GOAL, span("03-31", "04-02"), span("03-01", "04-02"), id="touching is enough"),
        pytest.param(GOAL, span("03-05", "03-06"), GOAL, id="a window inside changes nothing"),
    ],
)
def test_extend(held: Span | None, window: Span, expected: Span) -> None:
    assert extend(held, window) == expected


@pytest.mark.parametrize("window", [span("01-01", "02-27"), span("04-01", "04-02")])
def test_a_window_that_would_leave_a_hole_is_refused(window: Span) -> None:
    with pytest.raises(ValueError, match="leave a hole beside"):
        extend(GOAL, window)


def test_the_lookback_is_three_days() -> None:
    assert timedelta(days=3) == LOOKBACK


@pytest.mark.parametrize(
    ("checked", "due"),
    [
        pytest.param(None, True, id="never asked"),
        pytest.param(DOCUMENT_AGE, True, id="a week ago"),
        pytest.param(DOCUMENT_AGE - timedelta(seconds=1), False, id="less than a week ago"),
    ],
)
def test_a_document_is_asked_for_once_a_week(checked: timedelta | None, *, due: bool) -> None:
    assert document_due(Head(checked_at=None if checked is None else NOW - checked), NOW) is due


@pytest.mark.parametrize(
    ("lane", "pages", "expected"),
    [
        (Lane.MANUAL, PATIENT_PAGES - 1, Lane.MANUAL),
        (Lane.MANUAL, PATIENT_PAGES, Lane.BACKFILL),
        (Lane.NIGHTLY, PATIENT_PAGES, Lane.NIGHTLY),
        (Lane.BACKFILL, PATIENT_PAGES, Lane.BACKFILL),
    ],
)
def test_a_long_run_gives_way_after_its_first_pages(lane: Lane, pages: int, expected: Lane) -> None:
    assert lane_after(lane, Head(window=GOAL), pages) is expected


HELD, BEFORE, AFTER = span("03-11", "03-31"), span("03-01", "03-11"), span("03-28", "04-01")


@pytest.mark.parametrize("lane", [Lane.MANUAL, Lane.NIGHTLY])
def test_history_keeps_nobody_waiting(lane: Lane) -> None:
    assert lane_after(lane, Head(held=HELD, window=BEFORE), 0) is Lane.BACKFILL
    assert lane_after(lane, Head(held=HELD, window=AFTER), 0) is lane
    assert lane_after(lane, Head(held=HELD), 0) is lane


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(Head(held=HELD, window=BEFORE), True, id="history"),
        pytest.param(Head(held=HELD, window=AFTER), False, id="news"),
        pytest.param(
            Head(held=HELD, window=AFTER, lane=Lane.BACKFILL), True, id="news behind everybody"
        ),
        pytest.param(Head(held=HELD), False, id="checks"),
        pytest.param(Head(window=HELD, reached=day("03-20")), True, id="half of a first run"),
        pytest.param(Head(window=HELD), False, id="the beginning of a first run"),
    ],
)
def test_a_run_on_its_way_down_gives_way_to_what_is_new(head: Head, *, expected: bool) -> None:
    assert gives_way(head, HELD.end + FRESH) is expected
    assert not gives_way(head, HELD.end + FRESH - timedelta(seconds=1))


TENTH = span("03-01", "03-11")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(Head(), 0.0, id="nothing asked"),
        pytest.param(Head(checked_at=NOW), 1.0, id="a document is there or not"),
        pytest.param(a_head(goal=TENTH, window=TENTH), 0.0, id="no page yet"),
        pytest.param(
            a_head(goal=TENTH, window=TENTH, reached=day("03-06")), 0.5, id="half way down"
        ),
        pytest.param(
            a_head(goal=TENTH, window=TENTH, reached=day("02-06")), 1.0, id="a straddling record"
        ),
        pytest.param(
            a_head(goal=TENTH, window=TENTH, reached=day("03-11")), 0.0, id="only the edge"
        ),
        pytest.param(a_head(goal=TENTH, held=TENTH, window=None, until=None), 1.0, id="covered"),
        pytest.param(
            a_head(goal=TENTH, held=span("01-01", "02-01"), window=TENTH), 0.0, id="held elsewhere"
        ),
        pytest.param(
            a_head(goal=TENTH, held=span("02-01", "03-01"), window=TENTH), 0.0, id="held up to it"
        ),
        pytest.param(
            a_head(
                goal=TENTH,
                held=span("02-01", "03-06"),
                window=span("03-03", "03-11"),
                reached=day("03-09"),
            ),
            0.7,
            id="what is held and what is read, apart",
        ),
        pytest.param(
            a_head(
                goal=TENTH,
                held=span("02-01", "03-06"),
                window=span("03-03", "03-11"),
                reached=day("03-04"),
            ),
            1.0,
            id="the lookback counts once",
        ),
    ],
)
def test_fraction(head: Head, expected: float) -> None:
    assert fraction(head) == pytest.approx(expected)


# Ten days to read, and a minute since the run began.
MINUTE = timedelta(minutes=1)
LATER = TENTH.end + MINUTE


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(a_head(goal=TENTH, window=TENTH), None, id="nothing is read yet"),
        pytest.param(
            a_head(goal=TENTH, window=TENTH, reached=day("03-06")), MINUTE, id="half is read"
        ),
        pytest.param(
            a_head(goal=TENTH, window=TENTH, reached=day("03-10")), 9 * MINUTE, id="a tenth is read"
        ),
        pytest.param(
            a_head(goal=TENTH, window=TENTH, reached=day("02-06")),
            timedelta(0),
            id="a record straddles the start",
        ),
        pytest.param(
            a_head(
                goal=TENTH,
                held=span("03-03", "03-08"),
                window=span("03-05", "03-11"),
                reached=day("03-08"),
            ),
            # Three days took it a minute; three more and two of history are left.
            MINUTE * 5 / 3,
            id="history is still to come",
        ),
        pytest.param(
            a_head(
                goal=TENTH,
                held=span("02-01", "03-08"),
                window=span("03-05", "03-11"),
                reached=day("03-08"),
            ),
            MINUTE,
            id="there is no history to come",
        ),
        pytest.param(
            a_head(
                goal=TENTH,
                held=span("03-06", "03-11"),
                window=span("03-01", "03-06"),
                reached=day("03-02"),
            ),
            MINUTE / 4,
            id="this is the history",
        ),
        pytest.param(
            a_head(goal=TENTH, window=TENTH, reached=day("03-06"), progress=Progress.FINISHED),
            None,
            id="the run is over",
        ),
        pytest.param(
            a_head(goal=None, window=None, until=None), None, id="a document has no window"
        ),
    ],
)
def test_the_end_is_told_from_the_pace_so_far(head: Head, expected: timedelta | None) -> None:
    assert ends_at(head, LATER) == (None if expected is None else LATER + expected)


@pytest.mark.parametrize(
    ("retry_at", "expected"),
    [
        pytest.param(LATER + 5 * MINUTE, LATER + 6 * MINUTE, id="it goes on after the wait"),
        pytest.param(LATER - MINUTE, LATER + MINUTE, id="a wait that is over costs nothing more"),
    ],
)
def test_a_run_that_waits_ends_no_sooner_than_it_may_go_on(
    retry_at: datetime, expected: datetime
) -> None:
    half = a_head(goal=TENTH, window=TENTH, reached=day("03-06"), progress=Progress.WAITING)

    assert ends_at(replace(half, retry_at=retry_at), LATER) == expected


def test_an_end_that_is_too_far_away_is_not_told() -> None:
    everything = Span(HISTORY_START, NOW)
    a_moment = a_head(goal=everything, window=everything, reached=NOW - timedelta(milliseconds=1))
    half = a_head(goal=TENTH, window=TENTH, reached=day("03-06"))

    assert ends_at(a_moment, NOW + timedelta(days=900)) is None
    assert ends_at(half, TENTH.end + FORESEEN) is not None
    assert ends_at(half, TENTH.end + FORESEEN + MINUTE) is None


def test_a_clock_that_is_behind_the_run_takes_it_for_just_begun() -> None:
    half = a_head(goal=TENTH, window=TENTH, reached=day("03-06"))
    before = TENTH.end - MINUTE

    assert ends_at(half, before) == before
