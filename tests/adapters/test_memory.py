"""The in-memory twins keep the contracts, and the contracts can tell when somebody does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

import pytest

from shared.adapters.memory import (
    MemoryBudgets,
    MemoryCipher,
    MemoryConnections,
    MemoryDepartures,
    MemoryEvents,
    MemoryOneTime,
    MemoryPoison,
    MemoryQueue,
    MemoryRecords,
    MemorySlots,
)
from shared.core.codec import encode_bell
from shared.core.model import Job, Lane, Place, Sealed, Secret
from shared.errors import LostRace, StorageDown, Unsealable
from shared.ports import Etag
from tests.adapters.contracts import (
    CHUNK,
    SEAL_PLACE,
    THREADS,
    BudgetContract,
    CipherContract,
    ConnectionContract,
    DepartureContract,
    EventContract,
    OneTimeContract,
    PoisonContract,
    QueueContract,
    Reader,
    RecordContract,
    Row,
    SlotContract,
    a_place,
    a_version,
    winners,
    write,
)


class TestMemoryOneTime(OneTimeContract):
    @pytest.fixture
    def once(self) -> MemoryOneTime:
        return MemoryOneTime()


class TestMemoryBudgets(BudgetContract):
    @pytest.fixture
    def store(self) -> MemoryBudgets:
        return MemoryBudgets()


class DeleteHappy(MemoryOneTime):
    """Uses up by deleting, which always succeeds."""

    def use_up(self, kind: str, fingerprint: str, etag: Etag) -> None:
        with suppress(LostRace):
            super().use_up(kind, fingerprint, etag)


def test_the_race_shows_a_store_that_lets_everybody_win() -> None:
    assert winners(DeleteHappy(), "state") == THREADS


class TestMemorySlots(SlotContract):
    @pytest.fixture
    def slots(self) -> MemorySlots:
        return MemorySlots()


class TestMemoryConnections(ConnectionContract):
    @pytest.fixture
    def connections(self) -> MemoryConnections:
        return MemoryConnections()


class TestMemoryDepartures(DepartureContract):
    @pytest.fixture
    def departures(self) -> MemoryDepartures:
        return MemoryDepartures()


class MemoryReader:
    def __init__(self, records: MemoryRecords) -> None:
        self.records = records

    def versions(self, place: Place) -> Mapping[str, Row]:
        return {
            row: Row(version.content.id, version.body, version.seq)
            for row, version in self.records.versions.get(place, {}).items()
        }

    def feed(self, place: Place) -> Mapping[int, str]:
        return self.records.feed.get(place, {})

    def aliases(self, place: Place) -> Mapping[str, str]:
        aliases = self.records.aliases.get(place, {})
        return {str(alias): name for alias, name in aliases.items()}

    def quarantined(self, place: Place) -> Sequence[str]:
        return [misfit.body for misfit in self.records.quarantined.get(place, ())]


class TestMemoryRecords(RecordContract):
    @pytest.fixture
    def records(self) -> MemoryRecords:
        return MemoryRecords()

    @pytest.fixture
    def reader(self, records: MemoryRecords) -> Reader:
        return MemoryReader(records)

    def test_the_current_version_is_the_last_row_of_its_id(self, records: MemoryRecords) -> None:
        place = a_place()
        late = a_version("r1", 3, at=a_version("x", 1).updated_at - timedelta(days=1))
        write(records, place, a_version("r1", 1), a_version("r1", 2, n=1), late)

        assert [version.seq for version in records.current(place).values()] == [2]


class TestMemoryEvents(EventContract):
    @pytest.fixture
    def events(self) -> MemoryEvents:
        return MemoryEvents()


class TestMemoryPoison(PoisonContract):
    @pytest.fixture
    def poison(self) -> MemoryPoison:
        return MemoryPoison()


class TestMemoryQueue(QueueContract):
    @pytest.fixture
    def queue(self) -> MemoryQueue:
        return MemoryQueue()

    @pytest.fixture
    def received(self, queue: MemoryQueue) -> Callable[[], list[Job]]:
        return lambda: [job for job, _ in queue.take()]

    @pytest.fixture
    def heard(self, queue: MemoryQueue) -> Callable[[], list[dict[str, object]]]:
        return lambda: [json.loads(encode_bell(bell)) for bell in queue.rung]

    @pytest.fixture
    def returned(self, queue: MemoryQueue) -> Callable[[str], list[bytes]]:
        return lambda origin: [body for body, name, _ in queue.returned if name == origin]

    def test_it_remembers_for_how_long(self, queue: MemoryQueue) -> None:
        assert CHUNK.lane is Lane.MANUAL
        queue.defer(CHUNK, timedelta(seconds=7))

        assert queue.take() == [(CHUNK, timedelta(seconds=7))]

    def test_it_can_be_switched_off(self, queue: MemoryQueue) -> None:
        queue.down = True

        assert not queue.reachable()
        with pytest.raises(StorageDown):
            queue.defer(CHUNK, timedelta(0))
        with pytest.raises(StorageDown):
            queue.put_back(b"a body", "sync-now", timedelta(0))


class TestMemoryCipher(CipherContract):
    @pytest.fixture
    def cipher(self) -> MemoryCipher:
        return MemoryCipher()

    @pytest.fixture
    def older(self, cipher: MemoryCipher) -> Sealed:
        sealed = cipher.seal(Secret("a token"), SEAL_PLACE)
        cipher.rotate()
        return sealed

    def test_without_its_keys_nothing_opens(self, cipher: MemoryCipher) -> None:
        sealed = cipher.seal(Secret("a token"), SEAL_PLACE)
        cipher.forget()

        with pytest.raises(Unsealable):
            cipher.open(sealed, SEAL_PLACE)
