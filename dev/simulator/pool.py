"""Threads that carry work out when it falls due, and are gone when there is none."""

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

_Job = TypeVar("_Job")


class Pool(Generic[_Job]):
    """Carries out jobs with a delay each, several at a time."""

    def __init__(self, size: int, work: Callable[[_Job], float | None]) -> None:
        """Begin idle; ``work`` says in how many seconds the job is due again, or None."""
        self._size = size
        self._work = work
        self._heap: list[tuple[float, int, _Job]] = []
        self._serial = count()
        self._changed = threading.Condition()
        self._threads = 0
        self._running = 0

    def put(self, job: _Job, delay: float = 0.0) -> None:
        """Have a job done in ``delay`` seconds."""
        with self._changed:
            self._push(job, delay)

    def drain(self, timeout: float) -> bool:
        """Wait until nothing is pending; say whether it came to that in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._heap and not self._running, timeout)

    def _push(self, job: _Job, delay: float) -> None:
        heapq.heappush(self._heap, (time.monotonic() + delay, next(self._serial), job))
        if self._threads < min(self._size, len(self._heap) + self._running):
            self._threads += 1
            # A retry in an hour must not keep the process from ending.
            threading.Thread(target=self._run, name="webhooks", daemon=True).start()
        self._changed.notify_all()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            again: float | None = None
            try:
                again = self._work(job[0])
            finally:
                with self._changed:
                    self._running -= 1
                    if again is not None:
                        self._push(job[0], again)
                    self._changed.notify_all()

    def _next(self) -> tuple[_Job] | None:
        """Wait for the next job that is due; None once there is nothing to wait for."""
        with self._changed:
            while self._heap:
                wait = self._heap[0][0] - time.monotonic()
                if wait <= 0:
                    self._running += 1
                    return (heapq.heappop(self._heap)[2],)
                self._changed.wait(wait)
            self._threads -= 1
            return None
