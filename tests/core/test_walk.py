from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.core import recent, walk
from shared.core.model import (
    Cursor,
    Head,
    Lane,
    Page,
    Progress,
    Question,
    Recent,
    Record,
    RecordId,
    RunId,
    Span,
)
from shared.core.plan import gives_way
from shared.errors import CursorRefused, Unavailable
from tests.builders import NOW, RUN, a_head, a_page, a_record, day, span

MARCH = span("03-01", "03-31")
MS = timedelta(milliseconds=1)


def begin(head: Head, goal: Span = MARCH, now: datetime = NOW) -> Head:
    return walk.begin(head, run=RUN, lane=Lane.MANUAL, goal=goal, now=now)


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

    head = begin(left, span("03-05", "04-05"), now=MARCH.end)

    assert walk.question(head) == Question(Span(MARCH.start, day("03-10") + MS), None)
    assert head.window == MARCH
    assert head.used == ()
    assert head.goal == span("03-01", "04-05")


HISTORY = a_head(
    held=MARCH, goal=span("01-01", "03-31"), window=span("01-01", "03-01"),
    cursor=Cursor("c9"), used=("a",), reached=day("02-10"),
)  # fmt: skip


def test_news_are_read_before_history_goes_on_from_where_it_was() -> None:
    head = begin(HISTORY, span("03-05", "04-05"))

    assert walk.question(head) == Question(span("03-28", "04-05"), None)
    assert head.held == Span(day("02-10") + MS, MARCH.end)
    assert (head.walked, head.walked_at) == (Span(day("02-10") + MS, MARCH.start), NOW)

    head = walk.turn(head, a_page([]), now=NOW)

    assert walk.question(head) == Question(Span(day("01-01"), day("02-10") + MS), None)
    assert head.held == Span(day("02-10") + MS, day("04-05"))


def test_news_that_waited_behind_everybody_are_read_on() -> None:
    news = span("03-28", "04-01")
    left = replace(HISTORY, lane=Lane.BACKFILL, window=news, reached=day("03-30"))

    head = begin(left, span("03-05", "04-05"), now=day("04-05"))

    assert head.held == MARCH
    assert walk.question(head) == Question(Span(news.start, day("03-30") + MS), None)


def test_what_was_not_listed_above_is_asked_for_by_its_id() -> None:
    there = remembered("there", "02-20", listed=True)
    left = replace(HISTORY, recent=(remembered("gone", "02-20"), there))

    assert begin(left).checks == ("gone",)


def test_a_new_run_is_nobodys_write() -> None:
    assert begin(a_head(writer="somebody")).writer is None


def test_history_that_is_up_to_date_goes_on_at_once() -> None:
    head = begin(HISTORY, span("03-05", "04-05"), now=MARCH.end)

    assert walk.question(head) == Question(Span(day("01-01"), day("02-10") + MS), None)


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(replace(HISTORY, reached=None), id="nothing was read"),
        pytest.param(replace(HISTORY, reached=day("03-01") - MS), id="one moment was read"),
    ],
)
def test_history_of_which_nothing_is_certain_is_read_again_after_the_news(left: Head) -> None:
    head = begin(left, span("03-05", "04-05"))

    assert head.held == MARCH
    assert walk.question(head) == Question(span("03-28", "04-05"), None)
    head = walk.turn(head, a_page([]), now=NOW)
    assert walk.question(head) == Question(span("01-01", "03-01"), None)


def test_history_that_was_moved_by_a_deletion_is_read_again_in_the_end() -> None:
    head = begin(replace(HISTORY, again=True), span("03-05", "04-05"))
    above = Span(day("02-10") + MS, MARCH.start)

    asked = []
    for _ in range(3):
        asked.append(walk.question(head).span)
        head = walk.turn(head, a_page([]), now=NOW)

    assert asked == [span("03-28", "04-05"), Span(day("01-01"), above.start), above]
    assert (head.progress, head.held) == (Progress.FINISHED, span("01-01", "04-05"))


def test_the_first_run_gives_way_as_well() -> None:
    left = a_head(cursor=Cursor("c9"), used=("a",), reached=day("03-10"))

    head = begin(left, span("03-01", "04-05"))

    assert head.held == Span(day("03-10") + MS, MARCH.end)
    assert walk.question(head) == Question(span("03-28", "04-05"), None)


def test_a_wish_that_a_failed_run_did_not_get_to_is_not_forgotten() -> None:
    failed = Head(
        progress=Progress.FAILED, goal=span("01-01", "03-30"), held=span("03-01", "03-30")
    )

    assert begin(failed).goal == span("01-01", "03-31")
    assert begin(replace(failed, progress=Progress.FINISHED)).goal == MARCH


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
            now = rng.choice([MARCH.end, NOW])
            head = walk.begin(
                head, run=RunId(f"run-{turns}"), lane=Lane.NIGHTLY, goal=MARCH, now=now
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


LATE = span("03-28", "03-31")


def reading(*known: Recent, **changes: object) -> Head:
    head = a_head(
        lane=Lane.NIGHTLY,
        held=span("03-01", "03-30"),
        window=LATE,
        until=LATE.end,
        recent=known,
    )
    return replace(head, **changes)  # type: ignore[arg-type]  # the tests name real fields


def remembered(name: str, start: str, *, settled: bool = True, listed: bool = False) -> Recent:
    return Recent(RecordId(name), day(start), settled, listed)


def test_a_window_begins_with_nothing_listed() -> None:
    left = Head(held=span("03-01", "03-30"), recent=(remembered("a", "03-29", listed=True),))

    assert not begin(left).recent[0].listed


def test_what_was_not_listed_is_asked_for_by_its_id_before_the_run_is_over() -> None:
    head = reading(remembered("gone", "03-29"), remembered("there", "03-30"))

    closed = walk.turn(head, a_page([a_record("there", start="03-30")]), now=NOW)

    assert closed.held == MARCH
    assert closed.window is None
    assert closed.checks == ("gone",)
    assert closed.progress is Progress.RUNNING


def test_every_page_of_a_window_counts_as_listing() -> None:
    head = reading(remembered("a", "03-30"), remembered("b", "03-29"))

    head = walk.turn(head, a_page([a_record("a", start="03-30")], cursor="c"), now=NOW)
    head = walk.turn(head, a_page([a_record("b", start="03-29")]), now=NOW)

    assert (head.checks, head.progress) == ((), Progress.FINISHED)


def test_of_more_absent_records_than_a_member_deletes_nothing_is_believed() -> None:
    head = reading(*(remembered(f"r{n}", "03-29") for n in range(6)))
    page = a_page([])

    assert walk.doubtful(head, page, now=NOW) == 6
    closed = walk.turn(head, page, now=NOW)
    assert (closed.checks, closed.progress) == ((), Progress.FINISHED)


def test_absence_is_counted_where_a_window_closes() -> None:
    head = reading(remembered("a", "03-29"))

    assert walk.doubtful(head, a_page([], cursor="c"), now=NOW) == 0
    assert walk.doubtful(replace(head, again=True), a_page([]), now=NOW) == 0
    assert walk.doubtful(head, a_page([]), now=NOW) == 1


def test_a_check_that_waits_already_is_not_asked_for_twice() -> None:
    head = reading(remembered("a", "03-29"), checks=(RecordId("a"), RecordId("b")))

    assert walk.turn(head, a_page([]), now=NOW).checks == ("a", "b")


def test_a_night_also_asks_for_older_records_that_are_not_settled() -> None:
    unscored = remembered("unscored", "03-20", settled=False, listed=True)
    head = reading(unscored, remembered("gone", "03-29", settled=False))

    assert walk.turn(head, a_page([]), now=NOW).checks == ("gone", "unscored")
    manual = replace(head, lane=Lane.MANUAL)
    assert walk.turn(manual, a_page([]), now=NOW).checks == ("gone",)


def test_before_history_everything_is_asked_for_that_is_missing_or_late() -> None:
    head = reading(
        remembered("late", "03-20", settled=False, listed=True),
        remembered("gone", "03-29"),
        goal=span("02-01", "03-31"),
    )

    closed = walk.turn(head, a_page([]), now=NOW)

    assert closed.window == span("02-01", "03-01")
    assert closed.checks == ("gone", "late")
    assert walk.at_checks(closed)
    below = walk.turn(closed, a_page([a_record("old", start="02-20")], cursor="c"), now=NOW)
    assert not walk.at_checks(below)
    over = walk.turn(below, a_page([]), now=NOW)
    assert (over.window, over.checks) == (None, ("gone", "late"))
    assert walk.at_checks(over)


def test_checks_that_bring_nothing_can_wait_until_history_was_read() -> None:
    head = a_head(
        held=MARCH, window=span("02-01", "03-01"), until=day("03-01"),
        goal=span("02-01", "03-31"), checks=(RecordId("a"),),
    )  # fmt: skip

    later = walk.postpone(head)

    assert not walk.at_checks(later)
    assert walk.question(later) == walk.question(head)
    assert walk.at_checks(walk.turn(later, a_page([]), now=NOW))
    with pytest.raises(ValueError, match="nothing to read"):
        walk.postpone(replace(head, window=None))


def test_a_deletion_that_shows_before_history_has_news_read_again_after_it() -> None:
    head = a_head(
        held=MARCH, window=span("02-01", "03-01"), until=day("03-01"), walked=LATE, walked_at=NOW,
        goal=span("02-01", "03-31"), checks=(RecordId("a"),),
    )  # fmt: skip

    after = walk.turn_check(head, RecordId("a"), a_page([]), now=NOW, gone=True)

    assert walk.question(after) == Question(span("02-01", "03-01"), None)
    again = walk.turn(after, a_page([]), now=NOW)
    assert walk.question(again) == Question(LATE, None)
    assert walk.turn(again, a_page([]), now=NOW).progress is Progress.FINISHED


def test_a_window_of_news_is_read_before_anything_is_asked_for_by_its_id() -> None:
    assert not walk.at_checks(reading(checks=(RecordId("a"),)))


def test_the_last_check_ends_the_run() -> None:
    head = reading(held=MARCH, window=None, until=None, checks=(RecordId("a"), RecordId("b")))

    one = walk.turn_check(head, RecordId("a"), a_page([a_record("a", start="03-29")]), now=NOW)
    assert (one.progress, one.checks) == (Progress.RUNNING, ("b",))
    assert [r.id for r in one.recent] == ["a"]
    two = walk.turn_check(one, RecordId("b"), a_page([]), now=NOW)
    assert (two.progress, two.checks) == (Progress.FINISHED, ())


def test_a_check_that_finds_nothing_is_forgotten() -> None:
    head = reading(
        remembered("a", "03-29"), window=None, until=None, checks=(RecordId("a"),), retry_at=NOW
    )

    after = walk.turn_check(head, RecordId("a"), a_page([]), now=NOW)

    assert after.recent == ()
    assert (after.retry_at, after.touched_at) == (None, NOW)


def test_checks_that_a_failed_run_left_are_taken_up_by_the_next() -> None:
    left = Head(progress=Progress.FAILED, held=MARCH, checks=(RecordId("a"),))

    head = begin(left)

    assert (head.progress, head.window, head.checks) == (Progress.RUNNING, None, ("a",))


def test_a_deletion_under_a_cursor_has_the_window_read_once_more() -> None:
    head = reading(remembered("a", "03-30", listed=True), cursor=Cursor("c1"), used=("x",))
    told = walk.heard(head, RecordId("a"), a_page([]), said=NOW, now=NOW)
    assert told.again

    first = walk.turn(told, a_page([a_record("b", start="03-29")]), now=NOW)

    assert walk.question(first) == Question(LATE, None)
    assert (first.held, first.used, first.again) == (head.held, (), False)
    second = walk.turn(first, a_page([a_record("b", start="03-29")]), now=NOW)
    assert (second.held, second.progress) == (MARCH, Progress.FINISHED)


def test_a_record_that_came_beside_the_run_leaves_the_run_alone() -> None:
    head = reading(cursor=Cursor("c1"), progress=Progress.WAITING, retry_at=NOW)

    page = a_page([a_record("a", start="03-30")])
    told = walk.heard(head, RecordId("a"), page, said=NOW, now=NOW)

    assert [r.id for r in told.recent] == ["a"]
    assert replace(told, recent=()) == head
    assert walk.same_place(told, head)


def test_a_run_that_moved_or_was_stopped_is_elsewhere() -> None:
    head = reading(cursor=Cursor("c1"), used=("x",))

    for moved in (
        replace(head, used=("x", "y")),
        replace(head, run=RunId("another")),
        replace(head, progress=Progress.FAILED),
        replace(head, checks=(RecordId("a"),)),
        replace(head, until=day("03-29")),
        replace(head, window=None),
        replace(head, checked_at=NOW),
    ):
        assert not walk.same_place(moved, head)


def test_a_deletion_that_is_told_after_the_last_page_has_the_next_run_read_again() -> None:
    head = reading(cursor=Cursor("c1"), used=("x",))
    read = walk.turn(head, a_page([a_record("b", start="03-29")]), now=NOW)
    assert read.progress is Progress.FINISHED

    told = walk.heard(read, RecordId("a"), a_page([]), said=NOW - MS, now=NOW + MS)
    again = begin(told)

    assert (told.progress, told.held) == (Progress.FINISHED, MARCH)
    assert walk.question(again) == Question(LATE, None)
    over = walk.turn(again, a_page([a_record("b", start="03-29")]), now=NOW)
    assert (over.progress, over.held) == (Progress.FINISHED, MARCH)


def test_a_deletion_after_the_last_page_was_read_shifted_nothing() -> None:
    head = reading(reached=day("03-29"))
    read = walk.turn(head, a_page([]), now=NOW)

    later = NOW + walk.TOLD_LATE + MS
    assert walk.heard(read, RecordId("a"), a_page([]), said=later, now=later) == read


def test_a_record_that_was_not_in_the_walk_has_moved_nothing() -> None:
    head = reading(remembered("new", "03-31"), cursor=Cursor("c1"), used=("x",))
    read = walk.turn(head, a_page([a_record("b", start="03-29")]), now=NOW)

    told = walk.heard(read, RecordId("new"), a_page([]), said=NOW, now=NOW)

    assert (told.walked, told.walked_at) == (LATE, NOW)


def test_a_window_of_one_page_cannot_shift() -> None:
    read = walk.turn(reading(), a_page([]), now=NOW)

    assert read.walked is None
    assert walk.heard(read, RecordId("a"), a_page([]), said=NOW - MS, now=NOW) == read


def test_a_run_under_way_can_be_made_to_reach_further_back() -> None:
    head = reading(goal=span("03-05", "03-31"))

    farther = walk.reach(head, span("01-01", "04-02"))

    assert farther.goal == span("01-01", "03-31")
    assert walk.same_place(farther, head)
    assert walk.reach(farther, span("02-01", "04-02")) == farther
    assert walk.turn(farther, a_page([]), now=NOW).window == span("01-01", "03-01")
    assert walk.reach(Head(), MARCH) == Head()


def test_a_goal_that_grew_during_the_checks_is_read_after_them() -> None:
    head = reading(held=MARCH, window=None, until=None, checks=(RecordId("a"),))
    farther = walk.reach(head, span("01-01", "03-31"))

    after = walk.turn_check(farther, RecordId("a"), a_page([]), now=NOW)

    assert (after.progress, after.window) == (Progress.RUNNING, span("01-01", "03-01"))


def test_a_window_that_was_opened_again_during_the_checks_is_read() -> None:
    head = reading(held=MARCH, checks=(RecordId("a"),))

    after = walk.turn_check(head, RecordId("a"), a_page([]), now=NOW)

    assert (after.progress, after.window, after.checks) == (Progress.RUNNING, LATE, ())


def test_a_check_without_a_goal_ends_the_run() -> None:
    head = Head(progress=Progress.RUNNING, checks=(RecordId("a"),))

    assert walk.turn_check(head, RecordId("a"), a_page([]), now=NOW).progress is Progress.FINISHED


# What is heard beside the walk


def noted(head: Head, *records: Record) -> Head:
    return recent.note(head, records, now=NOW)


def test_what_is_heard_neither_helps_nor_hinders_the_run() -> None:
    head = a_head(
        cursor=Cursor("c1"), used=("a",), reached=day("03-10"), writer="w", touched_at=day("03-30")
    )

    for page in (a_page([a_record("a", start="03-20")]), Page(())):
        after = walk.heard(head, RecordId("a"), page, said=NOW, now=NOW)
        assert replace(after, recent=(), again=False) == head
        assert walk.same_place(after, head)


def test_a_record_that_is_heard_of_is_not_missing_from_the_window() -> None:
    head = noted(Head(held=span("03-01", "03-30")), a_record("a", start="03-29"))
    head = begin(replace(head, progress=Progress.FINISHED), span("03-01", "03-31"))

    there = walk.heard(
        head, RecordId("a"), a_page([a_record("a", start="03-29")]), said=NOW, now=NOW
    )

    assert walk.turn(head, Page(()), now=NOW).checks == ("a",)
    assert walk.turn(there, Page(()), now=NOW).checks == ()


@pytest.mark.parametrize(
    ("start", "changes", "again"),
    [
        pytest.param("03-25", {"cursor": Cursor("c1")}, True, id="above the cursor"),
        pytest.param("03-25", {}, True, id="its first page may be on the way"),
        pytest.param(None, {}, True, id="nobody remembers when it was"),
        pytest.param("03-25", {"until": day("03-20")}, True, id="above where it was taken up"),
        pytest.param("03-31", {}, False, id="just above the window"),
        pytest.param("03-25", {"window": span("03-25", "03-31")}, True, id="the lowest there is"),
        pytest.param("03-25", {"window": span("03-26", "03-31")}, False, id="below the window"),
        pytest.param("03-25", {"window": None}, False, id="nobody reads"),
        pytest.param("03-25", {"window": None, "again": True}, True, id="it was said before"),
    ],
)
def test_a_deletion_lets_the_window_be_read_again_if_it_moved_its_pages(
    start: str | None, changes: dict[str, object], *, again: bool
) -> None:
    head = a_head(**changes)
    if start is not None:
        head = noted(head, a_record("a", start=start))

    after = walk.heard(head, RecordId("a"), Page(()), said=NOW, now=NOW)

    assert after.again is again
    assert after.recent == ()


@pytest.mark.parametrize("seed", range(200))
def test_a_walk_reads_every_record_that_stays_whatever_is_deleted_meanwhile(seed: int) -> None:
    rng = random.Random(seed)
    records = [
        a_record(f"r{n}", start=day("03-01") + timedelta(minutes=rng.randrange(43_000)))
        for n in range(rng.randrange(10, 60))
    ]
    provider, seen = Provider(rng, records), set[str]()
    head, turns, deletions = begin(Head()), 0, rng.randrange(4)

    def delete(head: Head) -> Head:
        nonlocal deletions
        if not deletions or rng.random() < 0.5:
            return head
        deletions -= 1
        gone = provider.records.pop(rng.randrange(len(provider.records)))
        return walk.heard(head, gone.id, Page(()), said=NOW, now=NOW)

    while head.progress is Progress.RUNNING:
        turns += 1
        assert turns < 500
        head = delete(head)
        try:
            page = provider.answer(walk.question(head)) if head.window else None
        except CursorRefused:
            head = walk.rewalk(head)
            continue
        # Heard of while the answer is on its way: what it says is older than that.
        head = delete(head)
        if page is None:
            head = walk.turn_check(head, head.checks[0], Page(()), now=NOW)
            continue
        seen |= {record.id for record in page.records}
        head = walk.turn(head, page, now=NOW)

    assert {record.id for record in provider.records} <= seen
    assert head.held == MARCH


class Weeks:
    """A walk that takes long, while records are deleted and told of late, and runs make way."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        records = [
            a_record(f"r{n}", start=day("02-01") + timedelta(minutes=self.rng.randrange(80_000)))
            for n in range(self.rng.randrange(20, 80))
        ]
        self.provider = Provider(self.rng, records)
        self.seen = set[str]()
        self.now = MARCH.end
        self.calm = False
        #: When it will be told, since when it is being told, and of what.
        self.untold: list[tuple[datetime, datetime, RecordId]] = []

    def start(self, head: Head) -> Head:
        lane = self.rng.choice([Lane.NIGHTLY, Lane.BACKFILL])
        goal = Span(day("02-01"), self.now)
        return walk.begin(head, run=RunId(f"run {self.now}"), lane=lane, goal=goal, now=self.now)

    def work(self, head: Head) -> Head:
        turns = 0
        while head.progress is Progress.RUNNING:
            turns += 1
            assert turns < 500
            if gives_way(head, self.now) and self.rng.random() < 0.5:
                head = self.start(head)
            head = self.step(self.pass_time(head))
        return head

    def step(self, head: Head) -> Head:
        if walk.at_checks(head):
            return walk.turn_check(head, head.checks[0], Page(()), now=self.now, gone=True)
        try:
            page = self.provider.answer(walk.question(head))
        except CursorRefused:
            return walk.rewalk(head)
        # Heard of while the answer is on its way.
        head = self.pass_time(head)
        self.seen |= {record.id for record in page.records}
        return walk.turn(head, page, now=self.now)

    def pass_time(self, head: Head) -> Head:
        self.now += timedelta(minutes=self.rng.choice([0, 1, 30]))
        left = self.provider.records
        if not self.calm and len(left) > 10 and self.rng.random() < 0.3:
            gone = left.pop(self.rng.randrange(len(left)))
            said = self.now + timedelta(minutes=self.rng.choice([0, 0, 1, 10]))
            told_at = said + timedelta(minutes=self.rng.randrange(90))
            self.untold.append((told_at, said, gone.id))
        self.now += MS
        return self.tell(head, self.now)

    def tell(self, head: Head, until: datetime) -> Head:
        """Let everything be heard that is told until then."""
        for told_at, said, record in self.untold:
            if told_at <= until:
                self.now = max(self.now, told_at)
                head = walk.heard(head, record, Page(()), said=said, now=self.now)
        self.untold = [one for one in self.untold if one[0] > until]
        return head


@pytest.mark.parametrize("seed", range(200))
def test_every_record_is_read_however_late_deletions_are_told_and_whoever_makes_way(
    seed: int,
) -> None:
    weeks = Weeks(seed)
    head = weeks.work(weeks.start(Head()))

    head = weeks.tell(head, weeks.now + timedelta(days=1))
    weeks.calm = True
    head = weeks.work(weeks.start(head))

    assert {record.id for record in weeks.provider.records} <= weeks.seen
    assert head.held == head.goal


# Deletions that nobody told of


def test_a_deletion_that_shows_later_has_the_walk_before_it_read_again() -> None:
    head = reading(
        remembered("gone", "03-29"), walked=span("03-01", "03-30"), walked_at=day("03-30")
    )
    closed = walk.turn(head, a_page([]), now=NOW)
    assert closed.checks == ("gone",)

    again = walk.turn_check(closed, RecordId("gone"), a_page([]), now=NOW, gone=True)

    assert (again.progress, again.window) == (Progress.RUNNING, span("03-01", "03-30"))
    over = walk.turn(again, a_page([]), now=NOW)
    assert (over.progress, over.held, over.walked) == (Progress.FINISHED, MARCH, None)


def test_a_walk_after_which_nothing_was_missing_is_not_read_again() -> None:
    head = reading(remembered("a", "03-29"), walked=span("01-01", "03-30"), walked_at=day("03-30"))

    closed = walk.turn(head, a_page([a_record("a", start="03-29")]), now=NOW)

    assert (closed.walked, closed.walked_at) == (None, None)


def test_a_record_that_is_only_given_up_has_nothing_read_again() -> None:
    head = reading(
        held=MARCH,
        window=None,
        until=None,
        checks=(RecordId("a"),),
        walked=LATE,
        walked_at=NOW,
    )

    after = walk.turn_check(head, RecordId("a"), a_page([]), now=NOW)

    assert (after.progress, after.window, after.walked) == (Progress.FINISHED, None, LATE)


def test_a_record_that_was_moved_shifts_the_pages_like_one_that_was_deleted() -> None:
    head = reading(remembered("a", "03-30", listed=True), cursor=Cursor("c1"), used=("x",))

    moved = walk.heard(
        head, RecordId("a"), a_page([a_record("a", start="03-28")]), said=NOW, now=NOW
    )
    stays = walk.heard(
        head, RecordId("a"), a_page([a_record("a", start="03-30")]), said=NOW, now=NOW
    )

    assert (moved.again, stays.again) == (True, False)
