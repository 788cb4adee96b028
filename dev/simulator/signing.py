"""WHOOP's webhooks as they go over the wire: body, signature and sending."""

import base64
import hmac
import http.client
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit

from dev.simulator.moments import EPOCH

SIGNATURE = "X-WHOOP-Signature"
TIMESTAMP = "X-WHOOP-Signature-Timestamp"


def body_of(event: Mapping[str, Any]) -> bytes:
    """Write an event as WHOOP sends it."""
    return json.dumps(event, separators=(",", ":")).encode()


def stamp(moment: datetime) -> str:
    """Write a moment as milliseconds since 1970."""
    return str((moment - EPOCH) // timedelta(milliseconds=1))


def headers_for(body: bytes, timestamp: str, secret: str) -> dict[str, str]:
    """Sign a body with the app's client secret."""
    # https://developer.whoop.com/docs/developing/webhooks: base64 of the HMAC-SHA256 of the
    # timestamp header followed by the raw body.
    digest = hmac.digest(secret.encode(), timestamp.encode() + body, "sha256")
    return {
        "Content-Type": "application/json",
        SIGNATURE: base64.b64encode(digest).decode(),
        TIMESTAMP: timestamp,
    }


def checked_url(url: str) -> str:
    """Give the URL back if something can be posted there; else a ``ValueError``."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is no http or https URL")
    _ = parts.port  # out of range is a ValueError
    return url


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
    """Post to ``url`` over a connection of its own; give the status.

    ``OSError`` and ``http.client.HTTPException`` say that there was no answer.
    """
    connection = Connection(url, timeout)
    try:
        return connection.post(body, headers)
    finally:
        connection.close()


class Connection:
    """One connection that may be posted over again and again."""

    def __init__(self, url: str, timeout: float) -> None:
        """Connect on first use."""
        parts: SplitResult = urlsplit(url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._http = kind(parts.hostname or "", parts.port, timeout=timeout)

    def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Post a body; give the status, once the whole answer is there."""
        try:
            self._http.request("POST", self._path, body, dict(headers))
            response = self._http.getresponse()
            response.read()
        except BaseException:
            # Half-way through an answer it is of no more use.
            self._http.close()
            raise
        return response.status

    def close(self) -> None:
        """Hang up."""
        self._http.close()
