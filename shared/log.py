"""Logs are events: a name for people, fields for machines, and no other way in.

The fields that an event may have are listed here, and mypy holds every call to the list.  None
of them can hold a token, a code, an e-mail, a person's id or a health value.
"""

from __future__ import annotations

import json
import logging
from typing import TypedDict, Unpack

_log = logging.getLogger("wearables")


class Fields(TypedDict, total=False):
    """Everything that an event may tell."""

    provider: str
    ref: str
    resource: str
    run: str
    lane: str
    reason: str
    error: str
    problems: list[str]
    fields: list[str]
    queue: str
    redeferred: int
    retry_at: str
    requests: int
    new: int
    unchanged: int
    misfits: int
    seconds: float
    missing_scopes: list[str]
    slot: str
    connections: int
    dropped: int
    resealed: int
    rung: int
    skipped: int


def event(name: str, **fields: Unpack[Fields]) -> None:
    """Log that something happened."""
    _log.info("%s %s", name, json.dumps(fields), extra={"event": name, **fields})


def alarm(name: str, **fields: Unpack[Fields]) -> None:
    """Log that something happened which a person should look at."""
    _log.warning("%s %s", name, json.dumps(fields), extra={"event": name, **fields})
