"""Whoever follows the feed ends with the truth, whatever is written meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.memory import MemoryRecords
from shared.core.feed import Landed, Number
from shared.core.model import Deletion, Head, Known, Page, Place, RecordId, UserId
from shared.core.settle import settle
from shared.errors import BadRequest, FeedRestarted, LostRace, UnknownProvider, UnknownResource
from shared.ports import Stored
from shared.provider import Trouble
from shared.reading import BODY, JSON, LIMIT, LINES, FeedPage, Reading, Wish
from tests.builders import NOW, PLACE, PROVIDER, USER, a_record
from tests.services.world import Acme, World

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Write:
    """Somebody writes a state of a record; without content it is deleted."""

    name: str
    updated: str
    content: int | None

    def to(self, records: MemoryRecords) -> None:
        stored = records.head(PLACE)
        name = RecordId(self.name)
        page, gone = Page(()), []
        if self.content is None:
            gone = [Deletion(name, NOW, "not_found")]
        else:
            page = Page((a_record(self.name, updated=self.updated, content=self.content),))
        before = replace(stored.value, generation="g1")
        known = records.known(PLACE, [name])
        settled = settle(before, before, page, known, account=None, now=NOW, asked=NOW, gone=gone)
        for transaction in settled.transactions:
            records.commit(PLACE, transaction, stored.etag)


class Busy(MemoryRecords):
    """Records that somebody else writes between any two of our reads."""

    def __init__(self, meanwhile: Iterator[Callable[[], None]]) -> None:
        super().__init__()
        self.meanwhile = meanwhile
        self.busy = False

    def head(self, place: Place) -> Stored[Head]:
        return self._before(lambda: super(Busy, self).head(place))

    def numbers(self, place: Place, *, after: int, most: int) -> Sequence[Number]:
        return self._before(lambda: super(Busy, self).numbers(place, after=after, most=most))

    def known(
        self, place: Place, records: Sequence[RecordId]
    ) -> Mapping[RecordId, Sequence[Known]]:
        return self._before(lambda: super(Busy, self).known(place, records))

    def read(self, place: Place, numbers: Sequence[Number]) -> Iterator[Landed]:
        return self._before(lambda: super(Busy, self).read(place, numbers))

    def _before(self, call: Callable[[], T]) -> T:
        if not self.busy:
            self.busy = True
            next(self.meanwhile, lambda: None)()
            self.busy = False
        return call()


def reading(records: MemoryRecords) -> Reading:
    return Reading({PROVIDER: Acme()}, records)


def read(records: MemoryRecords, **wish: Any) -> FeedPage:
    reader = reading(records)
    return reader.read(reader.open(USER, PROVIDER, "sleep", Wish(**{"limit": LIMIT, **wish})))


def told(page: FeedPage) -> list[dict[str, Any]]:
    document = json.loads(page.text(JSON))
    assert (document["cursor"], document["more"]) == (page.cursor, page.more)
    assert [json.loads(line) for line in page.text(LINES).splitlines()] == document["records"]
    entries: list[dict[str, Any]] = document["records"]
    return entries


def some(*writes: Write) -> MemoryRecords:
    records = MemoryRecords()
    for write in writes:
        write.to(records)
    return records


FIRST = Write("a", "03-02", 1)
EDITED = Write("a", "03-03", 2)
OTHER = Write("b", "03-02", 1)
GONE = Write("a", "03-03", None)


# Whoever pages


class Follower:
    """A reader who keeps what it was told, as layer 2 does."""

    def __init__(self, records: MemoryRecords, limit: int) -> None:
        self.records = records
        self.limit = limit
        self.cursor = 0
        self.generation: str | None = None
        self.held: dict[str, Any] = {}

    def follow(self) -> None:
        """Page to the end."""
        while True:
            page = read(
                self.records, limit=self.limit, after=self.cursor, generation=self.generation
            )
            seqs = []
            for one in told(page):
                seqs.append(one["seq"])
                self.held.pop(one["id"], None)
                if "deleted_at" not in one:
                    self.held[one["id"]] = one["record"]
            assert seqs == sorted(set(seqs))
            assert all(self.cursor < seq <= page.cursor for seq in seqs)
            self.cursor, self.generation = page.cursor, page.feed.generation
            if not page.more:
                return


def truth(records: MemoryRecords) -> dict[str, Any]:
    return {
        name: json.loads(version.body)
        for name, version in records.current(PLACE).items()
        if version.body
    }


writes = st.builds(
    Write,
    st.sampled_from("abc"),
    st.sampled_from(["03-02", "03-03", "03-04"]),
    st.none() | st.integers(0, 2),
)
#: What is written before each of the reader's reads.
interleavings = st.lists(st.lists(writes, max_size=3), max_size=25)


def carried_out(
    records: Callable[[], MemoryRecords], steps: list[list[Write]]
) -> Iterator[Callable[[], None]]:
    for step in steps:

        def carry_out(step: list[Write] = step) -> None:
            for write in step:
                write.to(records())

        yield carry_out


@settings(max_examples=300, deadline=None)
@given(before=st.lists(writes, max_size=12), steps=interleavings, limit=st.integers(1, 7))
def test_after_the_end_and_once_more_the_reader_holds_the_truth(
    before: list[Write], steps: list[list[Write]], limit: int
) -> None:
    records = Busy(carried_out(lambda: records, steps))
    records.busy = True
    for write in before:
        write.to(records)
    records.busy = False
    follower = Follower(records, limit)

    follower.follow()
    for rest in records.meanwhile:
        records.busy = True
        rest()
        records.busy = False
    follower.follow()

    assert follower.held == truth(records)


@settings(deadline=None)
@given(before=st.lists(writes, max_size=12), steps=interleavings, limit=st.integers(1, 7))
def test_the_history_is_every_number_once(
    before: list[Write], steps: list[list[Write]], limit: int
) -> None:
    records = Busy(carried_out(lambda: records, [before, *steps]))
    cursor, seqs, more = 0, [], True
    while more:
        page = read(records, limit=limit, after=cursor, history=True)
        seqs += [one["seq"] for one in told(page)]
        cursor, more = page.cursor, page.more

    assert seqs == list(range(1, cursor + 1))


def test_current_is_each_record_once_at_its_newest_place() -> None:
    page = read(some(FIRST, OTHER, EDITED))

    assert [(one["id"], one["seq"]) for one in told(page)] == [("b", 2), ("a", 3)]
    assert (page.cursor, page.more) == (3, False)


def test_a_late_arrival_is_not_told_of_as_current() -> None:
    page = read(some(EDITED, FIRST), after=1)

    assert (told(page), page.cursor) == ([], 2)


def test_a_deletion_is_told_of_until_the_record_is_seen_again() -> None:
    records = some(FIRST, GONE)
    assert told(read(records)) == [
        {
            "id": "a",
            "seq": 2,
            "updated_at": "2026-03-02T00:00:00.000000Z",
            "deleted_at": "2026-03-31T12:00:00.000000Z",
            "evidence": "not_found",
        }
    ]

    EDITED.to(records)
    assert [(one["seq"], "record" in one) for one in told(read(records))] == [(3, True)]
    assert [one["seq"] for one in told(read(records, history=True))] == [1, 2, 3]


def test_the_limit_is_how_many_numbers_are_looked_at() -> None:
    records = some(FIRST, EDITED, OTHER)

    page = read(records, limit=1)
    assert (told(page), page.cursor, page.more) == ([], 1, True)
    page = read(records, limit=2, after=1)
    assert ([one["id"] for one in told(page)], page.cursor, page.more) == (["a", "b"], 3, False)


def test_a_page_ends_before_it_grows_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    records = some(*(Write(name, "03-02", 1) for name in "zyxw"))
    size = len(read(records, limit=1).entries[0])
    assert BODY > 1_000_000  # as large as any record gets
    monkeypatch.setattr("shared.reading.BODY", 2 * size)

    first, second = read(records), read(records, after=2)

    assert [one["id"] for one in told(first)] == ["z", "y"]
    assert (first.cursor, first.more) == (2, True)
    assert [one["id"] for one in told(second)] == ["x", "w"]
    assert (second.cursor, second.more) == (4, False)


def test_stale_numbers_before_the_end_of_a_full_page_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = some(OTHER, FIRST, Write("c", "03-02", 1), EDITED)
    monkeypatch.setattr("shared.reading.BODY", 1)

    page = read(records)

    assert ([one["id"] for one in told(page)], page.cursor, page.more) == (["b"], 2, True)


# Feeds that are not there, or no longer


def test_nothing_is_an_empty_list() -> None:
    page = read(MemoryRecords())

    assert json.loads(page.text(JSON)) == {
        "resource": "sleep",
        "generation": None,
        "records": [],
        "cursor": 0,
        "more": False,
    }
    assert page.text(LINES) == ""


def test_of_an_erased_feed_the_reader_starts_again() -> None:
    records = some(FIRST, OTHER)
    for wish in ({"generation": "g0"}, {"after": 3}, {"after": 3, "generation": "g1"}):
        with pytest.raises(FeedRestarted):
            read(records, **wish)
    for wish in ({"generation": "g1"}, {"after": 2}, {"after": 2, "generation": "g1"}):
        assert read(records, **wish).cursor == 2
    with pytest.raises(FeedRestarted):
        read(MemoryRecords(), generation="g1")


@pytest.mark.parametrize("part", ["versions", "feed"])
def test_what_is_erased_while_it_is_read_is_no_answer(part: str) -> None:
    records = some(FIRST, OTHER)
    reader = reading(records)
    feed = reader.open(USER, PROVIDER, "sleep", Wish(limit=LIMIT, history=True))
    getattr(records, part)[PLACE].clear()

    with pytest.raises(LostRace):
        reader.read(feed)


def test_members_read_their_own() -> None:
    reader = reading(some(FIRST))

    eve = reader.open(UserId("eve"), PROVIDER, "sleep", Wish(limit=LIMIT))

    assert told(reader.read(eve)) == []


def test_what_we_hold_can_be_read_while_the_provider_is_not_set_up() -> None:
    world = World()
    world.acme.records = [a_record("a", start=NOW - timedelta(days=2))]
    world.connect()
    world.work()
    world.acme.trouble = Trouble.NOT_CONFIGURED
    reader = world.services.reading

    page = reader.read(reader.open(USER, PROVIDER, "sleep", Wish(limit=LIMIT)))

    assert [one["id"] for one in told(page)] == ["a"]
    assert page.feed.generation


@pytest.mark.parametrize("name", [None, "", "oura", "ACME"])
def test_an_unknown_provider_has_no_feed(name: str | None) -> None:
    with pytest.raises(UnknownProvider):
        reading(MemoryRecords()).open(USER, name, "sleep", Wish(limit=1))


@pytest.mark.parametrize("name", [None, "", "SLEEP", "steps", "sleep|x"])
def test_an_unknown_resource_has_no_feed(name: str | None) -> None:
    with pytest.raises(UnknownResource) as caught:
        reading(MemoryRecords()).open(USER, PROVIDER, name, Wish(limit=1))

    assert caught.value.detail == "Ask for one of: sleep, profile."


# What is asked


def test_an_address_without_values_asks_for_the_first_hundred() -> None:
    assert Wish.of({}, most=1_000) == Wish(limit=100, after=0, history=False, generation=None)


def test_an_address_says_what_is_wanted() -> None:
    params = {"cursor": "007", "limit": "1000", "history": "true", "generation": "g", "x": "y"}

    assert Wish.of(params, most=1_000) == Wish(limit=1_000, after=7, history=True, generation="g")
    assert Wish.of({"since": "7"}, most=100) == Wish(limit=LIMIT, after=7)


@pytest.mark.parametrize(
    ("params", "blamed"),
    [
        *(
            ({name: value}, name)
            for name in ("since", "cursor", "limit")
            for value in ("-1", "1.0", " 1", "1_0", "x", "٣", "1,2", "1" * 13)
        ),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"history": "yes"}, "history"),
        ({"history": "true,false"}, "history"),
        ({"since": "1", "cursor": "1"}, "since and cursor"),
    ],
)
def test_a_value_that_cannot_be_is_named(params: dict[str, str], blamed: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Wish.of(params, most=1_000)

    assert caught.value.detail.startswith(f"{blamed} ")
    assert caught.value.detail.endswith(".")


# Whether it is the same


def test_the_tag_changes_with_everything_that_an_answer_depends_on() -> None:
    records = some(FIRST)
    reader = reading(records)

    def tag(form: str = JSON, **wish: Any) -> str:
        return reader.open(USER, PROVIDER, "sleep", Wish(**{"limit": LIMIT, **wish})).tag(form)

    tags = [tag(), tag(LINES), tag(after=1), tag(limit=1), tag(history=True)]
    assert len(set(tags)) == len(tags)
    assert tag() == tag(generation="g1") == tags[0]

    OTHER.to(records)
    assert tag() not in tags
