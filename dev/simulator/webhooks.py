"""Send WHOOP's webhooks: signed, retried for an hour, and with a record of every attempt."""

import http.client
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, TypeAlias

from dev.simulator import signing
from dev.simulator.agenda import Happening
from dev.simulator.members import Document
from dev.simulator.mishaps import OLD, Mishaps, Parcel, parcels, uuid_from
from dev.simulator.moments import written
from dev.simulator.options import Options
from dev.simulator.pool import Pool

#: URL, body, headers and time-out to status.
Post: TypeAlias = Callable[[str, bytes, Mapping[str, str], float], int]

TYPES = tuple(
    f"{resource}.{what}"
    for resource in ("workout", "sleep", "recovery")
    for what in ("updated", "deleted")
)

#: After how many minutes each retry follows: five of them over about an hour.
#: https://developer.whoop.com/docs/developing/webhooks
RETRY_MINUTES = (1, 3, 8, 16, 32)

#: Never retried: whoever forges has nothing to deliver.
_ONCE = {"forge"}


@dataclass(slots=True)
class _Delivery:
    """One parcel on its way to one URL."""

    parcel: Parcel
    url: str
    at: datetime
    attempts: list[Document] = field(default_factory=list)
    state: str = "pending"


class Webhooks:
    """Delivers events to the app's URLs, in the background."""

    def __init__(
        self, options: Options, rng: Random, now: Callable[[], datetime], post: Post
    ) -> None:
        """Begin with the URLs of ``options`` and nothing sent."""
        self._options = options
        self._rng = rng
        self._now = now
        self._post = post
        self._lock = threading.Lock()
        self._urls = tuple(signing.checked_url(url) for url in options.webhook_urls)
        self._mishaps = Mishaps()
        self._log: list[_Delivery] = []
        self._pool = Pool(options.webhook_threads, self._attempt)

    # What tests and the control API may see and do

    @property
    def urls(self) -> tuple[str, ...]:
        """Where events are sent to: each of them to all of these."""
        return self._urls

    def set_urls(self, urls: Sequence[str]) -> None:
        """Send events there from now on; to nobody, if there are none."""
        self._urls = tuple(signing.checked_url(url) for url in urls)

    def set_mishaps(self, mishaps: Mishaps) -> None:
        """Let things go wrong from now on, as likely as ``mishaps`` has it."""
        self._mishaps = mishaps

    def clear_mishaps(self) -> None:
        """Let everything arrive from now on."""
        self._mishaps = Mishaps()

    @property
    def log(self) -> list[Document]:
        """Every delivery so far, oldest first.

        ``state`` is ``pending``, ``delivered``, ``given_up`` after the last retry, or ``lost``
        on purpose.  Each attempt has its moment, its ``status`` or else its ``error``, and its
        ``latency`` in seconds.
        """
        with self._lock:
            return [_told(delivery) for delivery in self._log]

    def clear_log(self) -> None:
        """Forget the deliveries so far; what is pending is delivered all the same."""
        with self._lock:
            self._log.clear()

    def drain(self, timeout: float = 10.0) -> bool:
        """Wait until no delivery is pending; say whether it came to that in time."""
        return self._pool.drain(timeout)

    # Sending

    def tell(self, happenings: Iterable[Happening]) -> None:
        """Send an event for each; those of one member and moment may share their trace id."""
        traces: dict[tuple[int, datetime], str] = {}
        for one in happenings:
            trace_id = self._new_id()
            if self._options.webhook_share_traces:
                trace_id = traces.setdefault((one.user_id, one.at), trace_id)
            self.send(one.user_id, one.type, one.id, trace_id)

    def send(self, user_id: int, kind: str, identity: str, trace_id: str | None = None) -> None:
        """Send one event, signed, with whatever mishap befalls it."""
        event = {
            "user_id": user_id,
            "id": identity,
            "type": kind,
            "trace_id": trace_id or self._new_id(),
        }
        with self._lock:
            urls, mishaps, now = self._urls, self._mishaps, self._now()
            if not urls:
                return
            made = [
                _Delivery(parcel, url, now, state="pending" if parcel.sent else "lost")
                for parcel in parcels(event, mishaps, self._rng, lambda: uuid_from(self._rng))
                for url in urls
            ]
            self._log += made
        for delivery in made:
            if delivery.parcel.sent:
                self._pool.put(delivery, delivery.parcel.delay)

    def _new_id(self) -> str:
        with self._lock:
            return uuid_from(self._rng)

    def _attempt(self, delivery: _Delivery) -> float | None:
        """Try once; say in how many seconds to try again, if at all."""
        now = self._now()
        mishap = delivery.parcel.mishap
        # Of the moment of the event, however long it was held back; a client that takes no old
        # timestamps has to bear with that in every retry.
        signed = now if delivery.attempts and self._options.webhook_resign else delivery.at
        timestamp = signing.stamp(signed - OLD if mishap == "old" else signed)
        secret = self._options.client_secret
        headers = signing.headers_for(
            delivery.parcel.body,
            timestamp,
            f"not {secret}" if mishap == "forge" else secret,
        )
        attempt: Document = {"at": written(now), "status": None, "error": None}
        began = time.monotonic()
        try:
            attempt["status"] = self._post(
                delivery.url, delivery.parcel.body, headers, self._options.webhook_timeout
            )
        except (OSError, http.client.HTTPException) as error:
            attempt["error"] = type(error).__name__
        attempt["latency"] = round(time.monotonic() - began, 6)

        with self._lock:
            delivery.attempts.append(attempt)
            if attempt["status"] is not None and 200 <= attempt["status"] <= 299:
                delivery.state = "delivered"
                return None
            retries = () if mishap in _ONCE else RETRY_MINUTES
            tried = len(delivery.attempts)
            if tried > len(retries):
                delivery.state = "given_up"
                return None
            return retries[tried - 1] * self._options.hour_seconds / 60


def _told(delivery: _Delivery) -> dict[str, Any]:
    return {
        "at": written(delivery.at),
        "url": delivery.url,
        **{name: delivery.parcel.event[name] for name in ("user_id", "id", "type", "trace_id")},
        "mishap": delivery.parcel.mishap,
        "state": delivery.state,
        "attempts": [dict(attempt) for attempt in delivery.attempts],
    }
