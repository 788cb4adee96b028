from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from shared.core.days import mark
from shared.core.model import (
    AccountId,
    Deletion,
    Head,
    Known,
    Lane,
    Misfit,
    Page,
    Record,
    RecordId,
    RunId,
)
from shared.core.settle import HEAD_WIRE, Settlement, settle
from shared.core.sizes import ENVELOPE, ROW, ROWS, WIRE, on_the_wire
from tests.builders import ACCOUNT, NOW, RUN, a_document, a_head, a_page, a_record, day

BEFORE = a_head()
AFTER = replace(BEFORE, reached=day("03-10"), touched_at=NOW)


def settled(
    page: Page,
    known: dict[RecordId, Sequence[Known]] | None = None,
    *,
    before: Head = BEFORE,
    account: AccountId | None = ACCOUNT,
    now: datetime = NOW,
) -> Settlement:
    after = replace(AFTER, seq=before.seq)
    return settle(before, after, page, known or {}, account=account, now=now, asked=now)


def a_state(record: Record, n: int = 0, digest: str | None = None) -> Known:
    assert record.updated_at is not None
    return Known(record.updated_at, n, digest or record.digest)


def written(settlement: Settlement) -> list[tuple[str, datetime, int, int]]:
    return [
        (version.content.id, version.updated_at, version.n, version.seq)
        for transaction in settlement.transactions
        for version in transaction.versions
    ]


def test_a_first_page_is_written_and_counted_with_the_progress_that_it_makes() -> None:
    page = a_page([a_record("a", start="03-20"), a_record("b", start="03-18")])

    result = settled(page)

    assert written(result) == [("a", day("03-02"), 0, 1), ("b", day("03-02"), 0, 2)]
    assert [transaction.head for transaction in result.transactions] == [
        replace(
            AFTER,
            seq=2,
            records=2,
            versions=2,
            oldest=day("03-18"),
            newest=day("03-20"),
            days=mark(b"", [date(2026, 3, 18), date(2026, 3, 20)]),
        )
    ]
    assert result.unchanged == 0
    assert result.misfits == ()


def test_an_empty_page_still_moves_the_walk() -> None:
    result = settled(a_page([]))

    assert [(t.head, t.versions) for t in result.transactions] == [(AFTER, ())]


def test_the_oldest_and_the_newest_only_ever_spread() -> None:
    before = replace(BEFORE, oldest=day("03-05"), newest=day("03-25"), days=b"\x01")

    result = settled(a_page([a_record(start="03-10")]), before=before)

    head = result.transactions[0].head
    assert (head.oldest, head.newest) == (day("03-05"), day("03-25"))
    assert head.days == mark(b"\x01", [date(2026, 3, 10)])


def test_a_record_without_a_day_leaves_the_calendar_alone() -> None:
    result = settled(a_page([replace(a_record(), day=None)]), before=replace(BEFORE, days=b"\x01"))

    assert result.transactions[0].head.days == b"\x01"
    assert result.transactions[0].head.oldest == day("03-01")


def test_seeing_the_same_again_writes_nothing() -> None:
    record = a_record()

    result = settled(a_page([record]), {record.id: [a_state(record)]})

    assert written(result) == []
    assert result.unchanged == 1
    assert result.transactions[0].head == AFTER


def test_a_newer_date_is_a_new_version_of_a_known_record() -> None:
    old, new = a_record(updated="03-02"), a_record(updated="03-05", content=2)

    result = settled(a_page([new]), {old.id: [a_state(old)]}, before=replace(BEFORE, seq=7))

    assert written(result) == [("r1", day("03-05"), 0, 8)]
    assert result.transactions[0].head.records == 0
    assert result.transactions[0].head.versions == 1


def test_other_content_under_the_same_date_takes_the_next_number() -> None:
    record = a_record(content=2)

    result = settled(a_page([record]), {record.id: [a_state(record, 0, "x"), a_state(record, 1)]})
    assert written(result) == []

    result = settled(
        a_page([record]), {record.id: [a_state(record, 0), a_state(record, 1, "other")]}
    )
    assert written(result) == [("r1", day("03-02"), 2, 1)]


def test_a_late_arrival_is_kept_once_and_never_becomes_current() -> None:
    late, current = a_record(updated="03-01", content=1), a_record(updated="03-09", content=2)

    first = settled(a_page([late]), {late.id: [a_state(current)]})
    assert written(first) == [("r1", day("03-01"), 0, 1)]

    both = [a_state(late, 0), a_state(late, 1, "other"), a_state(current)]
    again = settled(a_page([late]), {late.id: both})
    assert written(again) == []
    assert again.unchanged == 1


def test_the_same_record_twice_on_a_page_is_written_once() -> None:
    record, newer = a_record(), a_record(updated="03-03", content=2)

    result = settled(a_page([newer, record, record, newer]))

    assert written(result) == [("r1", day("03-03"), 0, 1), ("r1", day("03-02"), 0, 2)]
    assert result.unchanged == 2
    assert result.transactions[0].head.records == 1


def test_a_document_is_dated_when_it_is_first_seen() -> None:
    result = settled(a_document())

    assert written(result) == [("profile", NOW, 0, 1)]
    assert result.transactions[0].head.oldest is None
    assert result.transactions[0].head.days == b""


def test_a_document_is_written_only_when_it_changes() -> None:
    page = a_document("new")
    record = page.records[0]
    earlier = NOW - timedelta(days=8)

    same = settled(page, {record.id: [Known(earlier, 0, record.digest)]})
    assert written(same) == []

    changed = settled(page, {record.id: [Known(earlier, 0, "old")]})
    assert written(changed) == [("profile", NOW, 0, 1)]

    back = [Known(earlier, 0, record.digest), Known(earlier + timedelta(days=1), 0, "other")]
    assert written(settled(page, {record.id: back})) == [("profile", NOW, 0, 1)]


def test_a_clock_that_was_set_back_does_not_hide_a_document() -> None:
    page = a_document("new")
    future = NOW + timedelta(hours=1)

    result = settled(page, {page.records[0].id: [Known(future, 0, "old")]})

    assert written(result) == [("profile", future, 1, 1)]


def test_a_record_of_somebody_else_is_a_misfit_and_the_page_goes_on() -> None:
    foreign, own = a_record("a", account=AccountId("666")), a_record("b")

    result = settled(a_page([foreign, own]))

    assert result.misfits == (Misfit("foreign_account", foreign.body),)
    assert [entry[0] for entry in written(result)] == ["b"]


@pytest.mark.parametrize(
    ("account", "says"), [(None, AccountId("666")), (ACCOUNT, None), (None, None)]
)
def test_whose_a_record_is_matters_only_where_both_sides_say(
    account: AccountId | None, says: AccountId | None
) -> None:
    assert settled(a_page([a_record(account=says)]), account=account).misfits == ()


def test_a_record_too_large_for_a_row_is_a_misfit_and_the_page_goes_on() -> None:
    fits = replace(a_record("a"), body="x" * (ROW // 2))
    large = replace(a_record("b"), body="x" * (ROW // 2 + 1))

    result = settled(a_page([fits, large, a_record("c")]))

    assert result.misfits == (Misfit("too_large", large.body),)
    assert [entry[0] for entry in written(result)] == ["a", "c"]


def test_misfits_of_the_answer_are_kept_too() -> None:
    unreadable = Misfit("unreadable:id", "{}")

    result = settled(Page((), (unreadable,)))

    assert result.misfits == (unreadable,)


def test_a_page_that_exceeds_a_transaction_is_written_in_several() -> None:
    heavy = [replace(a_record(f"r{n}", start="03-20"), body="x" * 400_000) for n in range(20)]
    before = replace(BEFORE, run=RunId("older"), lane=Lane.NIGHTLY, writer="somebody")
    after = replace(AFTER, writer="me")

    result = settle(before, after, a_page(heavy), {}, account=ACCOUNT, now=NOW, asked=NOW)

    heads = [transaction.head for transaction in result.transactions]
    sizes = [len(transaction.versions) for transaction in result.transactions]
    assert len(heads) > 1
    assert sum(sizes) == 20
    # All but the last leave the walk where it was, and count exactly what is written.
    for number, head in enumerate(heads[:-1], start=1):
        assert head.reached is BEFORE.reached
        # And they are ours: whoever loses the answer to one has to recognise it.
        assert (head.run, head.lane) == (after.run, after.lane)
        assert (head.writer, head.touched_at) == ("me", NOW)
        assert head.seq == head.records == head.versions == sum(sizes[:number])
    assert heads[-1].reached == AFTER.reached
    assert heads[-1].seq == heads[-1].records == 20
    assert [entry[3] for entry in written(result)] == list(range(1, 21))


@pytest.mark.parametrize("seed", range(40))
def test_no_transaction_exceeds_what_azure_takes(seed: int) -> None:
    rng = random.Random(seed)
    records = [
        replace(
            a_record(f"r{n}", alias=f"a{n}"),
            body=rng.choice(["x", "é", "\U0001f600"]) * rng.randrange(1, 300_000),
        )
        for n in range(rng.randrange(120))
    ]

    result = settled(a_page(records))

    for transaction in result.transactions:
        assert 1 + 3 * len(transaction.versions) <= ROWS
        bodies = [on_the_wire(v.body) + 2 * ENVELOPE for v in transaction.versions]
        assert len(bodies) == 1 or HEAD_WIRE + sum(bodies) <= WIRE
    assert len(written(result)) + len(result.misfits) == len(records)


def test_thirty_three_small_records_fill_a_transaction() -> None:
    result = settled(a_page([a_record(f"r{n}") for n in range(34)]))

    assert [len(transaction.versions) for transaction in result.transactions] == [33, 1]


@pytest.mark.parametrize("seed", range(60))
def test_any_order_and_any_repetition_ends_with_the_newest_content_current(seed: int) -> None:
    rng = random.Random(seed)
    history = [
        a_record("r", updated=day("03-01") + timedelta(hours=n), content=n) for n in range(8)
    ]
    arrivals = [rng.choice(history) for _ in range(30)] + history
    rng.shuffle(arrivals)
    states: list[Known] = []
    head = BEFORE
    for record in arrivals:
        result = settle(
            head, head, a_page([record]), {record.id: states}, account=ACCOUNT, now=NOW, asked=NOW
        )
        head = result.transactions[-1].head
        states += [version.known for version in result.transactions[-1].versions]
        states.sort(key=lambda state: (state.updated_at, state.n))

    assert states[-1].digest == history[-1].digest
    assert len(states) == len(history)
    assert (head.records, head.versions, head.seq) == (1, 8, 8)


# Tombstones

HOUR = timedelta(hours=1)
R = RecordId("r")


def told(
    states: Sequence[Known],
    *,
    page: Page | None = None,
    gone: Deletion | None = None,
    asked: datetime = NOW,
    before: Head = BEFORE,
) -> Settlement:
    return settle(
        before,
        before,
        page or a_page([]),
        {R: states},
        account=ACCOUNT,
        now=NOW,
        asked=asked,
        gone=() if gone is None else (gone,),
    )


def states_of(settlement: Settlement) -> list[Known]:
    return [v.known for transaction in settlement.transactions for v in transaction.versions]


V1 = a_state(a_record("r"))
GONE = Deletion(R, NOW, "not_found")
GRAVE = Known(V1.updated_at, 1, "", NOW)
COUNTED = replace(BEFORE, records=1, versions=1, seq=1)


def test_a_deletion_buries_the_current_version_under_its_date() -> None:
    result = told([V1], gone=GONE, before=COUNTED)

    [transaction] = result.transactions
    [version] = transaction.versions
    assert (version.content, version.known, version.seq, version.body) == (GONE, GRAVE, 2, "")
    assert (transaction.head.records, transaction.head.versions) == (0, 2)


def test_what_is_not_there_or_gone_already_is_not_buried() -> None:
    assert states_of(told([], gone=GONE)) == []
    assert states_of(told([V1, GRAVE], gone=replace(GONE, at=NOW + HOUR))) == []


def test_a_record_that_comes_back_lives_again() -> None:
    page = a_page([a_record("r")])

    result = told([V1, GRAVE], page=page, asked=NOW + HOUR, before=COUNTED)

    assert states_of(result) == [Known(V1.updated_at, 2, V1.digest)]
    assert result.transactions[-1].head.records == 2


def test_it_lives_again_even_under_an_older_date() -> None:
    older = a_record("r", updated="03-01")

    [state] = states_of(told([V1, GRAVE], page=a_page([older]), asked=NOW + HOUR))

    assert state == Known(V1.updated_at, 2, older.digest)


def test_newer_content_lifts_a_tombstone_whenever_it_was_asked_for() -> None:
    newer = a_record("r", updated="03-03")

    [state] = states_of(told([V1, GRAVE], page=a_page([newer]), asked=NOW - HOUR))

    assert state == a_state(newer)


def test_an_answer_from_before_the_deletion_is_no_news() -> None:
    assert states_of(told([V1, GRAVE], page=a_page([a_record("r")]), asked=NOW)) == []


def test_content_that_nobody_had_seen_is_kept_and_stays_buried() -> None:
    other = a_record("r", content="other")

    result = told([V1, GRAVE], page=a_page([other]), asked=NOW - HOUR, before=COUNTED)

    assert states_of(result) == [
        Known(V1.updated_at, 2, other.digest),
        Known(V1.updated_at, 3, "", NOW),
    ]
    assert result.transactions[-1].head.records == 1
    assert result.transactions[-1].head.seq == 3


def test_an_older_version_that_comes_late_stays_below_the_tombstone() -> None:
    older = a_record("r", updated="03-01")

    [state] = states_of(told([V1, GRAVE], page=a_page([older]), asked=NOW - HOUR))

    assert state == a_state(older)


def test_a_deletion_is_counted_among_the_versions_and_leaves_the_days_alone() -> None:
    head = told([V1], gone=GONE, before=COUNTED).transactions[-1].head

    assert (head.days, head.oldest, head.newest) == (
        COUNTED.days,
        COUNTED.oldest,
        COUNTED.newest,
    )


@pytest.mark.parametrize("seed", range(60))
def test_what_was_asked_for_last_decides_whether_a_record_lives(seed: int) -> None:
    rng = random.Random(seed)
    states: list[Known] = []
    head = BEFORE
    latest: tuple[datetime, bool] = (NOW, False)
    for n in range(25):
        asked = NOW + timedelta(minutes=rng.randrange(n + 1) if rng.random() < 0.3 else n)
        there = rng.random() < 0.6
        page = a_page([a_record("r", content=rng.randrange(3))]) if there else a_page([])
        gone = None if there else Deletion(R, asked, "not_found")
        if asked <= latest[0] and n:
            continue
        result = told(states, page=page, gone=gone, asked=asked, before=head)
        head = result.transactions[-1].head
        states = sorted(
            [*states, *states_of(result)], key=lambda state: (state.updated_at, state.n)
        )
        latest = (asked, there)

    alive = bool(states) and states[-1].deleted_at is None
    assert alive is latest[1]
    assert head.records == alive


# Who brought it


def test_a_version_is_the_runs_that_brought_it() -> None:
    [transaction] = settled(a_page([a_record()])).transactions

    assert (transaction.seen_at, transaction.run, transaction.lane) == (NOW, RUN, Lane.MANUAL)


def test_a_version_that_came_beside_a_run_is_not_the_runs() -> None:
    result = settle(
        BEFORE,
        BEFORE,
        a_page([a_record()]),
        {},
        account=ACCOUNT,
        now=NOW,
        asked=NOW,
        beside=Lane.WEBHOOK,
    )

    [transaction] = result.transactions
    assert (transaction.seen_at, transaction.run, transaction.lane) == (NOW, None, Lane.WEBHOOK)
    assert (transaction.head.run, transaction.head.lane) == (RUN, Lane.MANUAL)
    assert transaction.head.touched_at == BEFORE.touched_at
