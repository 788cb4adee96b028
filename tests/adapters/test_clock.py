from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from dev.azurite import Azurite
from shared.adapters.clock import FRESH, StorageClock
from shared.adapters.tables import Tables
from shared.config import Storage
from shared.core.model import Secret
from tests.builders import NOW


class Watch:
    """A host's clock, and storage's, which may be another."""

    def __init__(self, offset: timedelta) -> None:
        self.true, self.offset = NOW, offset
        self.clock = StorageClock(lambda: self.true - self.offset)

    def answer(self, date: str | None = None) -> None:
        self.clock.on_request(None)
        said = date or self.true.strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {} if date == "" else {"Date": said}
        self.clock.on_response(SimpleNamespace(http_response=SimpleNamespace(headers=headers)))


def test_before_the_first_answer_it_is_the_hosts_own_clock() -> None:
    watch = Watch(timedelta(minutes=5))

    assert watch.clock() == NOW - timedelta(minutes=5)
    assert watch.clock.offset == timedelta(0)


@pytest.mark.parametrize("offset", [timedelta(minutes=5), timedelta(minutes=-5), timedelta(0)])
def test_afterwards_it_is_storages(offset: timedelta) -> None:
    watch = Watch(offset)
    for step in range(20):
        watch.true = NOW + timedelta(milliseconds=190 * step)
        watch.answer()

    assert abs(watch.clock() - watch.true) < timedelta(milliseconds=200)


def test_it_counts_in_milliseconds() -> None:
    clock = StorageClock(lambda: NOW.replace(microsecond=123_456))

    assert clock().microsecond == 123_000


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Mar 2026 12:00:00 GMT"])
def test_an_answer_without_a_date_teaches_nothing(date: str) -> None:
    watch = Watch(timedelta(minutes=5))

    watch.answer(date)

    assert watch.clock.offset == timedelta(0)


def test_an_answer_to_nothing_teaches_nothing() -> None:
    clock = StorageClock()

    clock.on_response(SimpleNamespace(http_response=SimpleNamespace(headers={"Date": "x"})))

    assert clock.offset == timedelta(0)


def test_the_difference_is_measured_anew_now_and_then() -> None:
    watch = Watch(timedelta(0))
    watch.answer()
    watch.true += FRESH
    watch.offset = timedelta(milliseconds=400)

    watch.answer()

    assert abs(watch.clock.offset - watch.offset) <= timedelta(seconds=1)


@pytest.mark.azurite
@pytest.mark.parametrize("minutes", [0, 5, -5])
def test_every_answer_of_the_tables_tells_the_time(azurite: Azurite, minutes: int) -> None:
    wrong = timedelta(minutes=minutes)
    clock = StorageClock(lambda: datetime.now(UTC) + wrong)
    tables = Tables(Storage(Secret(azurite.connection_string)), clock)

    for _ in range(5):
        list(tables.open("ClockTest").query_entities("PartitionKey eq 'none'"))

    assert abs(clock() - datetime.now(UTC)) < timedelta(seconds=1)
    assert abs(clock.offset + wrong) < timedelta(seconds=1)
