"""Decide how long to wait after a failure: exponential, with full jitter."""

from __future__ import annotations

from datetime import timedelta

#: More than this and the reason goes into the status; the next nightly run tries again.
MAX_ATTEMPTS = 8
BASE = timedelta(seconds=2)
CAP = timedelta(minutes=15)


def delay(attempt: int, roll: float) -> timedelta:
    """Choose a wait between nothing and ``BASE * 2**attempt``, at most ``CAP``.

    ``roll`` is uniform in [0, 1).  Full jitter spreads workers that failed together:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return ceiling(attempt) * roll


def ceiling(attempt: int) -> timedelta:
    """Return the longest wait after ``attempt`` failures in a row."""
    # The exponent is bounded as well: 2**10000 seconds overflow long before the cap applies.
    doubled: int = 2 ** min(attempt, 30)
    return min(CAP, BASE * doubled)
