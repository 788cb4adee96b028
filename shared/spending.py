"""Count every request before it is sent: one reserver for all threads of a process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from shared.core import budget as budgets
from shared.core.budget import Budget
from shared.core.model import Lane, ProviderName, Quota
from shared.errors import LostRace, OutOfBudget, RateLimited, StorageDown
from shared.log import alarm, event
from shared.ports import BudgetStore, Clock, Stored
from shared.provider import Provider

#: Lost races in a row before the storage is taken to be out of order.  With a writer a host,
#: all of them win within a few rounds.
TRIES = 50

#: How old a reservation may be when it is used.  It is counted where it was taken, so one that
#: is used late could fall into a window that is full; the rest of the budget's margin is for
#: the way to the provider.
PERMIT = budgets.MARGIN / 2
#: Stale reservations in a row, each of them spent, before giving way.
PERMITS = 3
#: How long a request waits for room where it stands, all its waits together.  Queues count in
#: whole seconds, and a job that goes back to one costs half a dozen writes: too coarse and too
#: dear for a wait that is nearly over.
PATIENCE = timedelta(seconds=2)
#: The least wait, so that patience ends even under a clock that stands still.
TICK = timedelta(milliseconds=1)


class Answer(Protocol):
    """What providers give back: it may say what is left of the quota."""

    @property
    def quota(self) -> Quota | None:
        """What the answer said of the limits."""
        ...


T = TypeVar("T", bound=Answer)


@dataclass(slots=True)
class Spending:
    """Sends requests, as many as the provider allows and never one more."""

    store: BudgetStore
    clock: Clock
    sleep: Callable[[float], None]
    _counters: dict[ProviderName, _Counter] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, provider: Provider, lane: Lane, call: Callable[[], T]) -> T:
        """Reserve a request, then make it.

        Raises ``OutOfBudget`` where there is no room for ``lane`` soon, and whatever ``call``
        raises.  The provider's own "enough" closes the gate for every host.
        """
        counter = self._counter(provider)
        sent_at = self._permit(counter, lane)
        try:
            answer = call()
        except RateLimited as error:
            with _best_effort(provider):
                counter.close(error.retry_at)
            raise
        if answer.quota is not None:
            with _best_effort(provider):
                counter.learn(answer.quota, sent_at)
        return answer

    def _permit(self, counter: _Counter, lane: Lane) -> datetime:
        """Reserve until a reservation is fresh enough to be used; return the time then."""
        patience = PATIENCE
        for _ in range(PERMITS):
            taken_at, patience = self._reserve(counter, lane, patience)
            now = self.clock()
            if now - taken_at <= PERMIT:
                return now
            event("budget.stale_permit", lane=lane)
        raise StorageDown("the budget cannot be written fast enough to spend by it")

    def _reserve(
        self, counter: _Counter, lane: Lane, patience: timedelta
    ) -> tuple[datetime, timedelta]:
        """Wait for a reservation; return when it was taken and how much patience is left."""
        while True:
            try:
                return counter.reserve(lane), patience
            except OutOfBudget as refusal:
                wait = max(refusal.retry_at - self.clock(), TICK)
                if wait > patience:
                    raise
                patience -= wait
                self.sleep(wait.total_seconds())

    def _counter(self, provider: Provider) -> _Counter:
        with self._lock:
            if provider.name not in self._counters:
                self._counters[provider.name] = _Counter(provider, self.store, self.clock)
            return self._counters[provider.name]


@dataclass(slots=True)
class _Ask:
    """A thread that wants to send one request."""

    lane: Lane
    done: threading.Event = field(default_factory=threading.Event)
    #: None where it may; when to come back where it may not; or why nobody knows.
    answer: datetime | BaseException | None = None
    #: When it was reserved.
    taken_at: datetime = budgets.EPOCH


class _Counter:
    """One provider's budget.

    One row manages about 200 writes a second from one writer, and a tenth of that from thirty
    who contend for it.  So the first thread that asks takes along everybody who asks meanwhile.
    """

    def __init__(self, provider: Provider, store: BudgetStore, clock: Clock) -> None:
        self._provider = provider
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._asking: list[_Ask] = []
        self._led = False
        #: The budget as this process has last seen it.  Others only ever spend more, so a
        #: refusal by it holds, and a grant is checked by its ETag.
        self._seen: Stored[Budget] | None = None
        self._row = threading.Lock()

    def reserve(self, lane: Lane) -> datetime:
        """Reserve a request and return when, or raise ``OutOfBudget``."""
        ask = _Ask(lane)
        with self._lock:
            self._asking.append(ask)
            leads, self._led = not self._led, True
        if leads:
            self._lead()
        ask.done.wait()
        if isinstance(ask.answer, datetime):
            raise OutOfBudget(ask.answer)
        if ask.answer is not None:
            raise ask.answer
        return ask.taken_at

    def close(self, until: datetime) -> None:
        """Close the gate for every host."""
        alarm("budget.closed", provider=self._provider.name, retry_at=until.isoformat())
        self._change(lambda budget: budgets.close(budget, until))

    def learn(self, quota: Quota, sent_at: datetime) -> None:
        """Correct the budget by what an answer said; it writes only where that lowers it."""
        limits = self._provider.limits
        with self._row:
            seen = self._seen
        if seen and budgets.learn(seen.value, limits, quota, sent_at) == seen.value:
            return
        event("budget.lowered", provider=self._provider.name)
        self._change(lambda budget: budgets.learn(budget, limits, quota, sent_at))

    def _lead(self) -> None:
        while True:
            with self._lock:
                asking, self._asking = self._asking, []
                if not asking:
                    self._led = False
                    return
            answers: Sequence[datetime | BaseException | None]
            taken_at = budgets.EPOCH
            try:
                taken_at, answers = self._take([ask.lane for ask in asking])
            except BaseException as error:  # noqa: BLE001 - it is raised in each thread that asked
                answers = [error] * len(asking)
            for ask, answer in zip(asking, answers, strict=True):
                ask.answer, ask.taken_at = answer, taken_at
                ask.done.set()

    def _take(self, lanes: Sequence[Lane]) -> tuple[datetime, Sequence[datetime | None]]:
        taken_at, answers = budgets.EPOCH, list[datetime | None]()

        def take(budget: Budget) -> Budget:
            nonlocal taken_at
            taken_at = self._clock()
            budget, answers[:] = budgets.take(budget, lanes, taken_at)
            return budget

        self._change(take)
        return taken_at, answers

    def _change(self, change: Callable[[Budget], Budget]) -> None:
        with self._row:
            for _ in range(TRIES):
                seen = self._seen or self._store.load(self._provider.name)
                limits = self._provider.limits
                before = seen.value if seen else budgets.fresh(limits)
                after = change(budgets.cap(before, limits))
                if after == before:
                    self._seen = seen
                    return
                try:
                    etag = self._store.save(self._provider.name, after, seen.etag if seen else None)
                except LostRace:
                    self._seen = None
                    continue
                except BaseException:
                    # It may or may not have been written.
                    self._seen = None
                    raise
                self._seen = Stored(after, etag)
                return
        # Not a lost race: to a job that would mean that another worker carries it on.
        raise StorageDown("the budget changes too often")


@contextmanager
def _best_effort(provider: Provider) -> Iterator[None]:
    """Note what the provider said, if storage lets us.

    The answer is here already, and may be the only copy of a new pair of tokens.  The next one
    says the same again.
    """
    try:
        yield
    except StorageDown:
        event("budget.not_noted", provider=provider.name)
