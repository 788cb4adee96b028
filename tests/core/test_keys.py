from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core import keys
from shared.core.model import Place, ProviderName, RecordId, ResourceName, UserId
from tests.builders import day

TEXT = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())
TIMES = st.datetimes(min_value=datetime(2012, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001 - hypothesis wants naive bounds


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("ana", "ana"),
        ("ana@gotogym.store", "ana@gotogym.store"),
        ("a/b\\c#d?e", "a=2Fb=5Cc=23d=3Fe"),
        ("100%+|=", "100=25=2B=7C=3D"),
        ("ñ", "=C3=B1"),
        ("\x00\x9f", "=00=C2=9F"),
        ("\U0001f600", "=F0=9F=98=80"),
        (" ", "=20"),
    ],
)
def test_escape(name: str, escaped: str) -> None:
    assert keys.escape(name) == escaped


@pytest.mark.parametrize("name", ["", "x" * 961, "ñ" * 161])
def test_a_name_that_cannot_be_a_key_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a key"):
        keys.escape(name)


def test_the_longest_name_is_taken() -> None:
    assert keys.escape("x" * 960) == "x" * 960


@given(TEXT, TEXT)
def test_no_two_names_look_the_same(one: str, other: str) -> None:
    assert (keys.escape(one) == keys.escape(other)) is (one == other)


@given(TEXT)
def test_an_escaped_name_has_nothing_that_azure_forbids(name: str) -> None:
    assert not set(keys.escape(name)) & set("/\\#?%+|'\n\t ")


@given(TEXT)
def test_an_escaped_name_reads_back(name: str) -> None:
    assert keys.unescape(keys.escape(name)) == name


@given(TEXT, TIMES, st.integers(0, 9_999), st.integers(0, 10**12 - 1))
def test_the_rows_of_versions_and_feed_read_back(name: str, at: datetime, n: int, seq: int) -> None:
    state = (RecordId(name), at.replace(tzinfo=UTC), n)

    assert keys.parse_version_row(keys.version_row(*state)) == state
    assert keys.parse_feed_row(keys.feed_row(seq)) == seq


@pytest.mark.parametrize(
    ("place", "mine"),
    [
        (Place(ProviderName("acme"), UserId("ana"), ResourceName("sleep")), True),
        (Place(ProviderName("acme"), UserId("ana"), ResourceName("zz~|}é")), True),
        (Place(ProviderName("acme"), UserId("ana2"), ResourceName("sleep")), False),
        (Place(ProviderName("acme"), UserId("an"), ResourceName("a")), False),
        (Place(ProviderName("acme"), UserId("ana|"), ResourceName("sleep")), False),
        (Place(ProviderName("acme2"), UserId("ana"), ResourceName("sleep")), False),
    ],
)
def test_all_partitions_of_a_member_and_no_others_stand_together(
    place: Place,
    mine: bool,  # noqa: FBT001 - a parameter of tests
) -> None:
    low, high = keys.partitions(UserId("ana"), ProviderName("acme"))

    assert (low <= keys.partition(place) < high) == mine


def test_a_partition_names_provider_member_and_resource() -> None:
    place = Place(ProviderName("acme"), UserId("ana|bo"), ResourceName("sleep"))

    assert keys.partition(place) == "acme|ana=7Cbo|sleep"


def test_a_version_sorts_by_date_and_then_by_number() -> None:
    record = RecordId("7")

    rows = [
        keys.version_row(record, day("03-01"), 9),
        keys.version_row(record, day("03-01"), 10),
        keys.version_row(record, day("03-02"), 0),
    ]

    assert rows == sorted(rows)
    assert rows[0] == "v|7|2026-03-01T00:00:00.000000Z|0009"
    assert all(row.startswith(keys.versions_of(record)) for row in rows)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has one zone for all")
def test_an_instant_is_written_in_utc_wherever_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lima = timezone(timedelta(hours=-5))
    monkeypatch.setenv("TZ", "America/Lima")
    time.tzset()

    try:
        written = keys.instant(datetime(2026, 3, 1, 20, tzinfo=lima))
    finally:
        monkeypatch.undo()
        time.tzset()

    assert written == "2026-03-02T01:00:00.000000Z"


def test_a_garbage_date_has_the_same_width() -> None:
    assert keys.instant(datetime(987, 1, 2, tzinfo=UTC)) == "0987-01-02T00:00:00.000000Z"


@given(TIMES, TIMES)
def test_text_sorts_as_time_does(one: datetime, other: datetime) -> None:
    zone = timezone(timedelta(hours=-5))
    first, second = one.replace(tzinfo=zone), other.replace(tzinfo=zone)

    assert (keys.instant(first) < keys.instant(second)) is (first < second)
    assert len(keys.instant(first)) == 27


def test_the_head_sorts_before_everything_else() -> None:
    rows = [
        keys.version_row(RecordId("1"), day("03-01"), 0),
        keys.feed_row(1),
        keys.alias_row(RecordId("-")),
    ]

    assert all(row > keys.HEAD for row in rows)


def test_the_feed_sorts_by_number() -> None:
    assert keys.feed_row(9) < keys.feed_row(10) < keys.feed_row(999_999_999_999)
    assert keys.feed_row(7) == "s|000000000007"


def test_an_alias_is_escaped() -> None:
    assert keys.alias_row(RecordId("a/b")) == "k|a=2Fb"


def test_a_fingerprint_is_not_the_secret() -> None:
    assert keys.fingerprint("secret") == (
        "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    )
