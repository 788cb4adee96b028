from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from shared.adapters.memory import MemoryBudgets
from shared.core import budget as budgets
from shared.core.budget import Budget
from shared.core.model import Lane, Limit, ProviderName, Quota
from shared.errors import LostRace, OutOfBudget, RateLimited, StorageDown, Unavailable
from shared.ports import Etag, Stored
from shared.spending import Spending
from tests.builders import NOW
from tests.services.world import Acme

MINUTE = timedelta(minutes=1)


@dataclass
class Said:
    """An answer that says what is left."""

    quota: Quota | None = None


class Store(MemoryBudgets):
    """Counts what it is asked, and fails when a test wants it to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = self.saves = 0
        self.trouble: list[Exception] = []
        self.before_save: Callable[[], None] = lambda: None

    def load(self, provider: ProviderName) -> Stored[Budget] | None:
        self.loads += 1
        return super().load(provider)

    def save(self, provider: ProviderName, budget: Budget, etag: Etag | None) -> Etag:
        self.saves += 1
        self.before_save()
        if self.trouble:
            raise self.trouble.pop(0)
        return super().save(provider, budget, etag)


class Desk:
    """A process that spends, with its own idea of the row."""

    def __init__(self, store: Store, limit: int = 10) -> None:
        self.store = store
        self.time = NOW
        self.acme = Acme()
        self.acme.limits = (Limit(limit, MINUTE),)
        self.spending = Spending(store, lambda: self.time, self.sleep)
        self.sent: list[datetime] = []
        self.slept: list[float] = []
        self.stands_still = False

    def send(self, lane: Lane = Lane.AUTH, said: Said | Exception | None = None) -> Said:
        def call() -> Said:
            self.sent.append(self.time)
            if isinstance(said, Exception):
                raise said
            return said or Said()

        return self.spending.send(self.acme, lane, call)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self.stands_still:
            self.time += timedelta(seconds=seconds)

    def left(self) -> int:
        stored = self.store.load(self.acme.name)
        assert stored is not None
        return budgets.left(stored.value, self.time)[0]


def test_a_request_is_counted_before_it_is_sent() -> None:
    desk = Desk(Store())

    def call() -> Said:
        assert desk.left() == 9
        return Said()

    desk.spending.send(desk.acme, Lane.AUTH, call)


def test_nothing_is_sent_without_room() -> None:
    desk = Desk(Store(), limit=3)
    for _ in range(3):
        desk.send()

    with pytest.raises(OutOfBudget) as caught:
        desk.send()

    assert len(desk.sent) == 3
    desk.time = caught.value.retry_at
    desk.send()


def test_room_that_is_near_is_waited_for_to_the_millisecond() -> None:
    desk = Desk(Store(), limit=1)
    desk.send()
    with pytest.raises(OutOfBudget) as caught:
        desk.send()
    at = caught.value.retry_at
    assert desk.slept == []
    desk.time = at - timedelta(seconds=0.75)

    desk.send()

    assert desk.slept == [0.75]
    assert desk.sent == [NOW, at]


def test_patience_is_for_all_the_waits_of_a_request_together() -> None:
    store = Store()
    desk, rival = Desk(store, limit=2), Desk(store, limit=2)
    for later in (0, 1.5):
        rival.time = NOW + timedelta(seconds=later)
        rival.send()
    desk.time = NOW + MINUTE + timedelta(seconds=0.5)

    def snatched(seconds: float) -> None:
        desk.slept.append(seconds)
        desk.time += timedelta(seconds=seconds)
        rival.time = desk.time
        rival.send()

    desk.spending.sleep = snatched
    with pytest.raises(OutOfBudget):
        desk.send()

    # Once for the first room, which the rival took; the next would have been too far away.
    assert desk.slept == [0.75]
    assert desk.sent == []


def test_patience_ends_even_where_time_does_not_pass() -> None:
    desk = Desk(Store(), limit=1)
    desk.send()
    with pytest.raises(OutOfBudget) as caught:
        desk.send()
    desk.time = caught.value.retry_at - timedelta(seconds=0.75)
    desk.stands_still = True

    with pytest.raises(OutOfBudget):
        desk.send()

    assert desk.slept == [0.75, 0.75]


def test_a_request_that_fails_is_spent_all_the_same() -> None:
    desk = Desk(Store(), limit=3)

    with pytest.raises(Unavailable):
        desk.send(said=Unavailable("500"))

    assert desk.left() == 2


def test_two_processes_share_what_there_is() -> None:
    store = Store()
    one, other = Desk(store, limit=10), Desk(store, limit=10)
    for _ in range(5):
        one.send()
        other.send()

    for desk in (one, other):
        with pytest.raises(OutOfBudget):
            desk.send()


def test_many_threads_of_many_processes_never_send_more_than_there_is() -> None:
    store = Store()
    desks = [Desk(store, limit=60) for _ in range(4)]

    def send(number: int) -> bool:
        try:
            desks[number % 4].send()
        except OutOfBudget:
            return False
        return True

    with ThreadPoolExecutor(40) as pool:
        assert sum(pool.map(send, range(200))) == 60


def test_those_who_ask_while_another_writes_are_counted_together() -> None:
    store = Store()
    desk = Desk(store, limit=60)
    counter = desk.spending._counter(desk.acme)
    writing = threading.Event()

    def slow() -> None:
        writing.set()
        deadline = time.monotonic() + 5
        while store.saves == 1 and len(counter._asking) < 16 and time.monotonic() < deadline:
            time.sleep(0.001)

    store.before_save = slow
    with ThreadPoolExecutor(17) as pool:
        leader = pool.submit(desk.send)
        writing.wait(5)
        others = [pool.submit(desk.send) for _ in range(16)]
        for future in (leader, *others):
            future.result(10)

    assert desk.left() == 60 - 17
    assert store.saves == 2


def test_a_refusal_costs_no_write() -> None:
    desk = Desk(Store(), limit=1)
    desk.send()
    saves = desk.store.saves

    for _ in range(3):
        with pytest.raises(OutOfBudget):
            desk.send()

    assert desk.store.saves == saves


def test_the_providers_enough_closes_the_gate_for_every_process() -> None:
    store = Store()
    one, other = Desk(store), Desk(store)
    other.send()
    until = NOW + timedelta(seconds=30)

    with pytest.raises(RateLimited):
        one.send(said=RateLimited(until))

    # The other process still has an older row in mind; its write is refused, and it looks.
    with pytest.raises(OutOfBudget) as caught:
        other.send()
    assert caught.value.retry_at == until
    assert len(other.sent) == 1


def test_headers_lower_what_is_left() -> None:
    desk = Desk(Store())
    limit = desk.acme.limits[0]

    desk.send(said=Said(Quota((limit,), limit, 4, timedelta(seconds=30))))

    assert desk.left() == 4


def test_an_answer_is_not_lost_because_what_it_says_cannot_be_noted() -> None:
    desk = Desk(Store())
    limit = desk.acme.limits[0]
    said = Said(Quota((limit,), limit, 4, timedelta(seconds=30)))
    desk.send()
    later: list[Exception] = [StorageDown("503")]

    def away_after_the_reservation() -> None:
        if len(desk.sent) == 2:
            desk.store.trouble = later

    desk.store.before_save = away_after_the_reservation

    assert desk.send(said=said) is said


def test_the_providers_enough_is_raised_even_where_it_cannot_be_noted() -> None:
    desk = Desk(Store())

    def away_after_the_reservation() -> None:
        if desk.sent:
            desk.store.trouble = [StorageDown("503")]

    desk.store.before_save = away_after_the_reservation

    with pytest.raises(RateLimited):
        desk.send(said=RateLimited(NOW + MINUTE))


def test_headers_that_say_nothing_new_cost_no_write() -> None:
    desk = Desk(Store())
    limit = desk.acme.limits[0]

    desk.send(said=Said(Quota((limit,), limit, 9, timedelta(seconds=30))))

    assert desk.store.saves == 1


def test_a_lost_race_is_run_again() -> None:
    desk = Desk(Store())
    desk.store.trouble = [LostRace("412")] * 5

    desk.send()

    assert desk.left() == 9


def test_storage_that_does_not_answer_sends_nothing() -> None:
    desk = Desk(Store())
    desk.store.trouble = [StorageDown("503")]

    with pytest.raises(StorageDown):
        desk.send()

    assert desk.sent == []
    desk.send()
    assert desk.left() == 9


def test_a_row_that_never_stops_changing_sends_nothing() -> None:
    desk = Desk(Store())
    desk.store.trouble = [LostRace("412")] * 500

    # No LostRace: a job would take it that another worker carries it on.
    with pytest.raises(StorageDown):
        desk.send()

    assert desk.sent == []


def test_new_limits_in_the_settings_hold_from_the_next_request_on() -> None:
    store = Store()
    Desk(store, limit=10).send()
    desk = Desk(store, limit=3)

    for _ in range(2):
        desk.send()

    with pytest.raises(OutOfBudget):
        desk.send()


def test_each_provider_has_a_budget_of_its_own() -> None:
    desk = Desk(Store(), limit=1)
    desk.send()
    other = Acme()
    other.name = ProviderName("other")
    other.limits = (replace(other.limits[0], count=1),)

    assert desk.spending.send(other, Lane.AUTH, Said) == Said()


def test_a_reservation_that_took_too_long_is_not_used() -> None:
    desk = Desk(Store(), limit=10)
    slow = [timedelta(seconds=2), timedelta(0)]

    def before_save() -> None:
        desk.time += slow.pop(0)

    desk.store.before_save = before_save
    desk.send()

    assert desk.left() == 8
    assert desk.sent == [NOW + timedelta(seconds=2)]


def test_storage_that_is_always_too_slow_sends_nothing() -> None:
    desk = Desk(Store(), limit=10)

    def before_save() -> None:
        desk.time += timedelta(seconds=2)

    desk.store.before_save = before_save
    with pytest.raises(StorageDown):
        desk.send()

    assert desk.sent == []
