from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.core import walk
from shared.core.model import Cursor, Head, Lane, Page, Progress, Question, Record, RunId, Span
from shared.errors import CursorRefused, Unavailable
from tests.builders import NOW, RUN, a_head, a_page, a_record, day, span

MARCH = span("03-01", "03-31")
MS = timedelta(milliseconds=1)


def begin(head: Head, goal: Span = MARCH) -> Head:
    return walk.begin(head, run=RUN, lane=Lane.MANUAL, goal=goal, now=NOW)


def test_a_run_begins_with_its_first_window() -> None:
    head = begin(Head(reason="rate_limited", retry_at=NOW))

    assert head.progress is Progress.RUNNING
    assert (head.run, head.lane, head.goal, head.touched_at) == (RUN, Lane.MANUAL, MARCH, NOW)
    assert (head.reason, head.retry_at) == (None, None)
    assert walk.question(head) == Question(MARCH, None)


def test_a_run_whose_goal_is_held_is_over_before_its_first_request() -> None:
    head = begin(Head(held=MARCH))

    assert head.progress is Progress.FINISHED
    assert head.window is None
    assert head.until is None


def test_a_half_read_window_is_read_on_without_its_cursor() -> None:
    left = a_head(cursor=Cursor("c9"), used=("a",), reached=day("03-10"))

    head = begin(left, span("03-05", "04-05"))

    assert walk.question(head) == Question(Span(MARCH.start, day("03-10") + MS), None)
    assert head.window == MARCH
    assert head.used == ()
    assert head.goal == span("03-05", "04-05")


def test_a_window_that_was_never_read_is_asked_for_whole() -> None:
    assert walk.question(begin(a_head(cursor=Cursor("c1")))) == Question(MARCH, None)


def test_a_page_with_a_cursor_goes_on_below() -> None:
    page = a_page([a_record("a", start="03-20"), a_record("b", start="03-18")], cursor="c1")

    head = walk.turn(a_head(reason="rate_limited", retry_at=NOW), page, now=NOW)

    assert walk.question(head) == Question(MARCH, Cursor("c1"))
    assert head.reached == day("03-18")
    assert (head.reason, head.retry_at, head.touched_at) == (None, None, NOW)
    assert head.held is None


def test_a_waiting_run_runs_again_with_its_first_page() -> None:
    head = walk.turn(a_head(progress=Progress.WAITING), a_page([], cursor="c"), now=NOW)

    assert head.progress is Progress.RUNNING


def test_reached_only_ever_goes_down() -> None:
    head = a_head(reached=day("03-10"))

    shifted = walk.turn(head, a_page([a_record(start="03-12")], cursor="c1"), now=NOW)

    assert shifted.reached == day("03-10")


def test_the_last_page_closes_the_window() -> None:
    head = walk.turn(a_head(used=("x",)), a_page([a_record(start="03-02")]), now=NOW)

    assert head.progress is Progress.FINISHED
    assert head.held == MARCH
    assert (head.window, head.until, head.cursor, head.used, head.reached) == (
        None,
        None,
        None,
        (),
        None,
    )


def test_after_the_right_side_comes_the_left() -> None:
    right = Span(day("03-17"), MARCH.end)
    head = a_head(held=span("03-10", "03-20"), window=right, until=right.end)

    after = walk.turn(head, a_page([]), now=NOW)

    assert after.held == span("03-10", "03-31")
    assert after.progress is Progress.RUNNING
    assert walk.question(after) == Question(span("03-01", "03-10"), None)


def test_a_cursor_does_not_outlive_its_window() -> None:
    right = Span(day("03-17"), MARCH.end)
    head = a_head(
        held=span("03-10", "03-20"), window=right, until=right.end, cursor=Cursor("c1"), used=("a",)
    )

    after = walk.turn(head, a_page([]), now=NOW)

    assert walk.question(after) == Question(span("03-01", "03-10"), None)
    assert after.used == ()


def test_a_cursor_that_comes_twice_is_refused() -> None:
    head = walk.turn(a_head(), a_page([a_record()], cursor="c1"), now=NOW)
    head = walk.turn(head, a_page([a_record()], cursor="c2"), now=NOW)

    with pytest.raises(CursorRefused, match="the same cursor came twice"):
        walk.turn(head, a_page([a_record()], cursor="c1"), now=NOW)


def test_a_refused_cursor_restarts_just_above_what_was_reached() -> None:
    head = a_head(cursor=Cursor("c1"), used=("a",), reached=day("03-18"))

    again = walk.rewalk(head)

    assert walk.question(again) == Question(Span(MARCH.start, day("03-18") + MS), None)
    assert again.window == MARCH
    assert again.used == ()


def test_a_record_that_straddles_the_start_leaves_a_sliver_to_ask_for() -> None:
    again = walk.rewalk(a_head(cursor=Cursor("c1"), reached=day("02-27")))

    assert walk.question(again).span == Span(MARCH.start, MARCH.start + MS)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(a_head(cursor=Cursor("c")), id="nothing was reached"),
        pytest.param(
            a_head(cursor=Cursor("c"), reached=day("03-18"), until=day("03-18") + MS),
            id="the walk began just there",
        ),
        pytest.param(
            a_head(cursor=Cursor("c"), reached=day("02-27"), until=MARCH.start + MS),
            id="only the sliver is left",
        ),
    ],
)
def test_a_walk_that_gets_no_further_is_an_outage(head: Head) -> None:
    with pytest.raises(Unavailable, match="does not get any further"):
        walk.rewalk(head)


def test_a_document_is_asked_for_and_then_it_is_there() -> None:
    begun = walk.begin_document(Head(reason="x", retry_at=NOW), run=RUN, lane=Lane.NIGHTLY, now=NOW)
    assert begun.progress is Progress.RUNNING
    assert (begun.run, begun.lane, begun.touched_at) == (RUN, Lane.NIGHTLY, NOW)
    assert (begun.reason, begun.retry_at) == (None, None)

    later = NOW + timedelta(seconds=5)
    done = walk.turn_document(replace(begun, reason="x", retry_at=NOW), now=later)

    assert done.progress is Progress.FINISHED
    assert (done.checked_at, done.touched_at) == (later, later)
    assert (done.reason, done.retry_at) == (None, None)


@pytest.mark.parametrize(
    "step",
    [
        walk.question,
        walk.rewalk,
        lambda head: walk.turn(head, a_page([]), now=NOW),
        lambda head: walk.turn(replace(head, window=MARCH), a_page([]), now=NOW),
        lambda head: walk.question(replace(head, window=MARCH)),
        lambda head: walk.rewalk(replace(head, window=MARCH)),
        lambda head: walk.turn(replace(head, goal=MARCH), a_page([]), now=NOW),
    ],
)
def test_a_run_without_a_window_cannot_be_walked(step: object) -> None:
    assert callable(step)
    with pytest.raises(ValueError, match="no window"):
        step(Head())


class Provider:
    """Lists records newest first, in pages, and may refuse a cursor."""

    def __init__(self, rng: random.Random, records: list[Record]) -> None:
        self.rng = rng
        self.records = sorted(records, key=_start, reverse=True)

    def answer(self, asked: Question) -> Page:
        listed = [r for r in self.records if asked.span.start <= _start(r) < asked.span.end]
        offset = int(asked.cursor or 0)
        if offset and self.rng.random() < 0.2:
            raise CursorRefused("made up")
        page = listed[offset : offset + 5]
        more = offset + 5 < len(listed)
        return a_page(page, cursor=str(offset + 5) if more else None)


def _start(record: Record) -> datetime:
    assert record.start is not None
    return record.start


@pytest.mark.parametrize("seed", range(100))
def test_every_walk_reads_every_record_whatever_is_refused_or_interrupted(seed: int) -> None:
    rng = random.Random(seed)
    records = [
        a_record(f"r{n}", start=day("03-01") + timedelta(minutes=rng.randrange(43_000)))
        for n in range(rng.randrange(80))
    ]
    provider, seen = Provider(rng, records), set[str]()
    head, turns = begin(Head()), 0
    while head.progress is Progress.RUNNING:
        turns += 1
        assert turns < 500
        if rng.random() < 0.1:
            head = walk.begin(
                head, run=RunId(f"run-{turns}"), lane=Lane.NIGHTLY, goal=MARCH, now=NOW
            )
        try:
            page = provider.answer(walk.question(head))
            head = walk.turn(head, page, now=NOW)
        except CursorRefused:
            head = walk.rewalk(head)
            continue
        seen |= {record.id for record in page.records}

    assert seen == {record.id for record in records}
    assert head.held == MARCH
