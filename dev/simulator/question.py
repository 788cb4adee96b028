"""What a client asks of a collection: limit, start, end and a page token."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dev.simulator import moments

DEFAULT_LIMIT = 10
MAX_LIMIT = 25


class Unparsable(Exception):
    """A parameter that does not even have the right form; WHOOP answers 404."""


class Refused(Exception):
    """A parameter with a value that cannot be had; WHOOP answers 400."""


@dataclass(frozen=True, slots=True)
class Question:
    """One page, asked for.  Without ``end``, up to now."""

    limit: int
    start: datetime | None
    end: datetime | None
    offset: int
    _digest: str

    def token_for(self, offset: int) -> str:
        """Make the page token for the same question from ``offset`` on."""
        plain = f"o:{offset}:{self._digest}".encode()
        return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def read(parameters: Mapping[str, str], *, subject: str) -> Question:
    """Read the query of a collection call.

    ``subject`` says whose and what: together with the other parameters it makes the
    question that a page token belongs to.  Unknown parameters count for nothing.
    """
    asked = [parameters.get(name) for name in ("limit", "start", "end")]
    digest = hashlib.sha256(json.dumps([subject, *asked]).encode()).hexdigest()[:16]
    return Question(
        limit=_limit(parameters.get("limit")),
        start=_moment(parameters.get("start")),
        end=_moment(parameters.get("end")),
        offset=_offset(parameters.get("nextToken"), digest),
        _digest=digest,
    )


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[+-]?\d{1,10}", text, flags=re.ASCII):
        raise Unparsable("limit")
    if not 1 <= int(text) <= MAX_LIMIT:
        raise Refused("limit")
    return int(text)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return moments.read(text)
    except ValueError as error:
        raise Unparsable("start or end") from error


def _offset(token: str | None, digest: str) -> int:
    if token is None:
        return 0
    try:
        plain = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("nextToken") from error
    made = re.fullmatch(rb"o:(\d{1,9}):([0-9a-f]{16})", plain)
    if made is None or made[2].decode() != digest:
        raise Refused("nextToken")
    return int(made[1])
