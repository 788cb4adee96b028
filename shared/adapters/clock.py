"""Storage's time: the one clock that all hosts can agree on.

Claims, budgets and expiry are compared between hosts, and a host's own clock may be minutes off.
Every answer of Azure Tables is dated, so the difference costs no request of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from shared.core.skew import Skew, observe

#: After this long the difference is measured anew: clocks drift, and get set.
FRESH = timedelta(minutes=5)


class StorageClock:
    """Returns storage's time in UTC, in the milliseconds that providers count in.

    Before the first answer it is this host's own.  ``base`` is this host's clock.
    """

    def __init__(self, base: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._base = base
        self._lock = threading.Lock()
        self._asked = threading.local()
        self._skew: Skew | None = None
        self._since = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time now."""
        at = self._base() + self.offset
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

    @property
    def offset(self) -> timedelta:
        """What has to be added to this host's clock."""
        skew = self._skew
        return skew.offset if skew else timedelta(0)

    def on_request(self, _: Any) -> None:
        """Note when a request leaves; the SDK calls this in the thread that sends it."""
        self._asked.at = self._base()

    def on_response(self, response: Any) -> None:
        """Learn from the date of an answer; the SDK calls this in the same thread."""
        sent: datetime | None = getattr(self._asked, "at", None)
        text = response.http_response.headers.get("Date")
        if sent is None or not text:
            return
        try:
            date = parsedate_to_datetime(text).astimezone(UTC)
        except ValueError:
            return
        answered = self._base()
        with self._lock:
            known = self._skew if answered - self._since < FRESH else None
            if known is None:
                self._since = answered
            self._skew = observe(known, sent=sent, answered=answered, date=date)
