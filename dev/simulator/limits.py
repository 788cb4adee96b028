"""WHOOP's two quotas for the whole app, and the headers that tell of them."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from dev.simulator.moments import EPOCH
from dev.simulator.options import Options

_SECOND = 1_000_000  # in microseconds, which are whole numbers and so compare exactly


class Window(Protocol):
    """So many requests in so many seconds."""

    limit: int
    seconds: int

    def remaining(self, at: int) -> int:
        """Say how many more fit at ``at`` (microseconds since 1970)."""
        ...

    def take(self, at: int) -> None:
        """Count one request."""
        ...

    def reset(self, at: int) -> int:
        """Say in how many microseconds there will be more room than now."""
        ...


class FixedWindow:
    """Starts over at every whole multiple of its length."""

    def __init__(self, limit: int, seconds: int) -> None:
        """Begin empty."""
        self.limit = limit
        self.seconds = seconds
        self._current = -1
        self._used = 0

    def remaining(self, at: int) -> int:
        """Say how many more fit before the window ends."""
        return self.limit - (self._used if self._current == self._index(at) else 0)

    def take(self, at: int) -> None:
        """Count one request in the window that ``at`` lies in."""
        if self._current != self._index(at):
            self._current, self._used = self._index(at), 0
        self._used += 1

    def reset(self, at: int) -> int:
        """Say how long the window still lasts."""
        return (self._index(at) + 1) * self.seconds * _SECOND - at

    def _index(self, at: int) -> int:
        return at // (self.seconds * _SECOND)


class SlidingWindow:
    """Looks back over its whole length at every request."""

    def __init__(self, limit: int, seconds: int) -> None:
        """Begin empty."""
        self.limit = limit
        self.seconds = seconds
        self._taken: deque[int] = deque()

    def remaining(self, at: int) -> int:
        """Say how many more fit beside those not yet forgotten."""
        while self._taken and self._taken[0] <= at - self.seconds * _SECOND:
            self._taken.popleft()
        return self.limit - len(self._taken)

    def take(self, at: int) -> None:
        """Count one request for a whole window's length."""
        self._taken.append(at)

    def reset(self, at: int) -> int:
        """Say when the oldest counted request is forgotten."""
        return self._taken[0] + self.seconds * _SECOND - at if self._taken else 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, and what its answer says about the quota."""

    admitted: bool
    headers: dict[str, str]


class Limits:
    """Both windows together: a request must fit into each of them."""

    def __init__(self, options: Options) -> None:
        """Begin with nothing used."""
        shape = FixedWindow if options.windows == "fixed" else SlidingWindow
        self._windows: tuple[Window, ...] = (
            shape(options.per_minute, options.minute_seconds),
            shape(options.per_day, options.day_seconds),
        )

    def admit(self, now: datetime) -> Verdict:
        """Count one request, unless it has to be refused: refusals cost nothing."""
        at = (now - EPOCH) // timedelta(microseconds=1)
        admitted = all(window.remaining(at) > 0 for window in self._windows)
        if admitted:
            for window in self._windows:
                window.take(at)
        return Verdict(admitted, self._headers(at))

    def _headers(self, at: int) -> dict[str, str]:
        # Limit, Remaining and Reset speak of the window nearest to exhaustion; where both
        # are exhausted, only the later reset lets the next request through.
        # https://developer.whoop.com/docs/developing/rate-limiting
        nearest = min(self._windows, key=lambda window: (window.remaining(at), -window.reset(at)))
        policy = ", ".join(f"{window.limit};window={window.seconds}" for window in self._windows)
        return {
            "X-RateLimit-Limit": f"{nearest.limit}, {policy}",
            "X-RateLimit-Remaining": str(nearest.remaining(at)),
            # Seconds from now, rounded up: coming back after as many is never too early.
            "X-RateLimit-Reset": str(-(-nearest.reset(at) // _SECOND)),
        }
