"""How WHOOP writes and reads time, and the simulator's own clock."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_FULL = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", flags=re.ASCII
)


def written(moment: datetime) -> str:
    """Write ``moment`` the way WHOOP does: UTC with milliseconds and a Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(text: str) -> datetime:
    """Read a full RFC 3339 timestamp; a ``ValueError`` for everything else.

    A bare date is not one: live, ``start=2026-07-05`` is answered with 404.
    """
    if not _FULL.fullmatch(text):
        raise ValueError("not a full timestamp")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("outside the calendar") from error


def to_millis(moment: datetime) -> datetime:
    """Drop what ``written`` would not show, so that text and moment stay equal."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class Clock:
    """Some other clock, ahead of it by as much as it was ever advanced."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Start level with ``clock``, which must give aware datetimes."""
        self._clock = clock
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Tell the simulator's time."""
        return self._clock().astimezone(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds``: tokens age, quotas refill and scores arrive."""
        if not 0 <= seconds <= 10 * 366 * 86_400:
            raise ValueError("the clock advances by 0 seconds to 10 years")
        self._ahead += timedelta(seconds=seconds)
