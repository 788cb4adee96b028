"""Sets a timer function off whenever its schedule is due, one run at a time."""

import logging
import threading
from concurrent.futures import wait
from datetime import UTC, datetime

from dev.host import bindings
from dev.host.functions import Function, TimerTrigger
from dev.host.invoking import Invoker

#: A sleeping laptop stops the monotonic clock, so look at the real one now and then.
LONGEST_NAP_SECONDS = 20.0

log = logging.getLogger(__name__)


class Timer:
    """Waits for one function's schedule."""

    def __init__(self, function: Function, trigger: TimerTrigger, invoker: Invoker) -> None:
        self._function = function
        self._trigger = trigger
        self._invoker = invoker
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=function.name, daemon=True)

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def stop(self) -> None:
        """Set nothing off any more."""
        self._stopping.set()

    def _run(self) -> None:
        last: datetime | None = None
        if self._trigger.run_on_startup:
            last = self._set_off(last, None)
        while not self._stopping.is_set():
            due = self._trigger.schedule.next_after(datetime.now(UTC))
            if self._slept_until(due):
                last = self._set_off(last, due)

    def _slept_until(self, due: datetime) -> bool:
        while (left := (due - datetime.now(UTC)).total_seconds()) > 0:
            if self._stopping.wait(min(left, LONGEST_NAP_SECONDS)):
                return False
        return not self._stopping.is_set()

    def _set_off(self, last: datetime | None, due: datetime | None) -> datetime | None:
        started = datetime.now(UTC)
        following = self._trigger.schedule.next_after(due or started)
        try:
            future = self._invoker.submit(
                self._function, bindings.timer_request(last=last, due=following)
            )
        except RuntimeError:
            log.debug("%s is due while the host stops", self._function.name)
            return last
        wait([future])
        return started
