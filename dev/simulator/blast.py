"""Send webhooks at a steady rate, and measure how soon they are answered."""

import http.client
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dev.simulator import signing
from dev.simulator.faults import Unusable
from dev.simulator.members import Document

#: How an idle connection that the other side has closed shows itself.
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True, slots=True)
class Load:
    """So many events a second for so many seconds, over so many connections."""

    rate: float
    seconds: float
    connections: int = 16
    timeout: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what could not be sent."""
        if not 0 < self.rate <= 10_000:
            raise Unusable("rate is more than 0 and at most 10000 a second")
        if not 0 < self.seconds <= 3600:
            raise Unusable("seconds is more than 0 and at most 3600")
        if not 1 <= self.connections <= 256:
            raise Unusable("connections is between 1 and 256")
        if self.timeout <= 0:
            raise Unusable("timeout is more than 0")

    @property
    def count(self) -> int:
        """How many events that makes."""
        return max(1, round(self.rate * self.seconds))


@dataclass(slots=True)
class _Seen:
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    failed: list[Document] = field(default_factory=list)
    #: How late the latest was sent, which says whether the sender kept up.
    behind: float = 0.0
    last: float = 0.0


def blast(
    urls: Sequence[str],
    secret: str,
    load: Load,
    event: Callable[[int], Document],
    now: Callable[[], datetime],
) -> dict[str, Any]:
    """Send ``event(0)``, ``event(1)`` and so on, each at its time, over connections kept open.

    They go to all ``urls`` in turn.  One that gives no answer is passed over for the next, as the
    front end of a platform does with an instance that has died; nothing else is sent again.

    Gives ``sent``, ``seconds``, ``rate`` as it was, ``statuses``, ``errors`` (of every try), the
    events that ``failed`` to get a 204, ``behind`` (how many seconds late the latest was sent) and
    ``latency``: milliseconds of the 204s, by percentile.
    """
    seen, lock = _Seen(), threading.Lock()
    numbers = itertools.count()
    began = time.monotonic()

    def send() -> None:
        lines = [_Line(url, load.timeout) for url in urls]
        while (number := next(numbers)) < load.count:
            told = event(number)
            body = signing.body_of(told)
            due = began + number / load.rate
            time.sleep(max(0.0, due - time.monotonic()))
            headers = signing.headers_for(body, signing.stamp(now()), secret)
            started = time.monotonic()
            status: int | None = None
            errors: list[str] = []
            for turn in range(len(lines)):
                try:
                    status = lines[(number + turn) % len(lines)].post(body, headers)
                    break
                except (OSError, http.client.HTTPException) as failure:
                    errors.append(type(failure).__name__)
            ended = time.monotonic()
            with lock:
                seen.behind = max(seen.behind, started - due)
                seen.last = max(seen.last, ended)
                seen.errors.update(errors)
                if status is not None:
                    seen.statuses[str(status)] += 1
                if status == 204:
                    seen.latencies.append(ended - started)
                else:
                    seen.failed.append(told)
        for line in lines:
            line.close()

    threads = [
        threading.Thread(target=send, name="blast", daemon=True)
        for _ in range(min(load.connections, load.count))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = max(seen.last - began, 1e-9)
    return {
        "sent": load.count,
        "seconds": round(elapsed, 3),
        "rate": round(load.count / max(elapsed, load.count / load.rate), 1),
        "statuses": dict(seen.statuses),
        "errors": dict(seen.errors),
        "failed": seen.failed,
        "behind": round(seen.behind, 4),
        "latency": _percentiles(seen.latencies),
    }


class _Line:
    """A connection that is opened again where the other side has closed it while it was idle."""

    def __init__(self, url: str, timeout: float) -> None:
        self._connection = signing.Connection(url, timeout)
        self._used = False

    def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Post a body; give the status."""
        used, self._used = self._used, False
        try:
            status = self._connection.post(body, headers)
        except _STALE:
            if not used:
                raise
            status = self._connection.post(body, headers)
        self._used = True
        return status

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _percentiles(latencies: Sequence[float]) -> dict[str, float]:
    """Give percentiles in milliseconds; of nothing, there are none."""
    ordered = sorted(latencies)
    if not ordered:
        return {}
    ranks = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000, 3)
        for name, share in ranks.items()
    }
