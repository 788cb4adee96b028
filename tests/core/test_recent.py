from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from shared.core import recent
from shared.core.model import Head, Recent, RecordId
from tests.builders import NOW, a_head, a_record, day, span


def one(name: str, start: str, *, settled: bool = True, listed: bool = True) -> Recent:
    return Recent(RecordId(name), day(start), settled, listed)


def test_what_was_listed_is_remembered_oldest_first() -> None:
    records = [a_record("b", start="03-30"), a_record("a", start="03-29")]

    head = recent.note(a_head(), records, now=NOW)

    assert head.recent == (one("a", "03-29"), one("b", "03-30"))


def test_a_record_is_remembered_as_it_was_seen_last() -> None:
    head = a_head(recent=(one("a", "03-29", settled=False, listed=False), one("b", "03-30")))

    head = recent.note(head, [a_record("a", start="03-31")], now=NOW)

    assert head.recent == (one("b", "03-30"), one("a", "03-31"))


def test_a_document_has_no_day_to_be_remembered_by() -> None:
    document = replace(a_record("profile"), start=None)

    assert recent.note(a_head(), [document], now=NOW).recent == ()


def test_records_are_forgotten_two_weeks_before_what_is_held_ends() -> None:
    records = [a_record("old", start="03-07"), a_record("new", start="03-09")]

    held = recent.note(a_head(held=span("01-01", "03-22")), records, now=NOW)
    fresh = recent.note(a_head(), [a_record("x", start="03-16"), *records], now=NOW)

    assert [r.id for r in held.recent] == ["new"]
    assert [r.id for r in fresh.recent] == []


def test_a_goal_that_ends_after_now_forgets_nothing_too_early() -> None:
    head = a_head(held=span("01-01", "04-20"))

    assert recent.note(head, [a_record("a", start="03-18")], now=NOW).recent


def test_a_row_has_room_for_so_many_and_the_newest_stay() -> None:
    records = [a_record(f"r{n}", start=NOW - timedelta(minutes=n)) for n in range(400)]

    head = recent.note(a_head(), records, now=NOW)

    assert len(head.recent) == recent.MOST
    assert {r.id for r in head.recent} == {f"r{n}" for n in range(recent.MOST)}


def test_a_record_that_is_gone_is_forgotten() -> None:
    head = recent.forget(a_head(recent=(one("a", "03-29"), one("b", "03-30"))), RecordId("a"))

    assert head.recent == (one("b", "03-30"),)


def test_reading_a_window_begins_with_nothing_in_it_listed() -> None:
    head = a_head(recent=(one("before", "03-26"), one("first", "03-27"), one("after", "03-30")))

    head = recent.unlisted(head, span("03-27", "03-30"))

    assert [(r.id, r.listed) for r in head.recent] == [
        ("before", True),
        ("first", False),
        ("after", True),
    ]


def test_what_begins_in_the_window_and_was_not_listed_is_absent() -> None:
    head = a_head(
        window=span("03-27", "03-30"),
        recent=(
            one("before", "03-26", listed=False),
            one("absent", "03-27", listed=False),
            one("listed", "03-28"),
            one("after", "03-30", listed=False),
        ),
    )

    assert recent.absent(head) == ["absent"]


def test_without_a_window_nothing_is_absent() -> None:
    assert recent.absent(Head(recent=(one("a", "03-27", listed=False),))) == []


def test_older_records_that_may_still_change_are_asked_for_five_a_night() -> None:
    head = a_head(
        recent=(
            one("too old", "03-17", settled=False),
            *(one(f"p{n}", f"03-{18 + n}", settled=False) for n in range(7)),
            one("scored", "03-25"),
            one("in the window", "03-28", settled=False),
        )
    )

    due = recent.unsettled(head, before=day("03-28"), now=NOW, but=[RecordId("p1")])

    assert due == ["p0", "p2", "p3", "p4", "p5"]
