"""Jobs as queue messages.  Old forms stay readable, because two releases may run side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from shared.core.keys import instant
from shared.core.model import (
    ChunkJob,
    FinishJob,
    GrantId,
    Job,
    Lane,
    Ref,
    ResourceName,
    RunId,
    StartJob,
)
from shared.core.times import parse
from shared.errors import UnreadableMessage

#: Raised when a form changes in a way that the release before it cannot read.
FORM = 1


def encode(job: Job) -> str:
    """Write ``job`` as JSON.  It names the connection by its ref, and nobody by an id."""
    fields = {"ref": job.ref, **_fields(job)}
    return json.dumps({"form": FORM, **fields, "attempt": job.attempt, "waits": job.waits})


def decode(body: bytes) -> Job:
    """Read a job back; raise ``UnreadableMessage`` for anything that is not one.

    The error never quotes the message: it may be anybody's.
    """
    try:
        doc = json.loads(body)
    except (ValueError, RecursionError):
        # Without the cause, here and below: its text quotes the message.
        raise UnreadableMessage("the message is not JSON") from None
    if not isinstance(doc, dict) or doc.get("form") != FORM:
        raise UnreadableMessage(f"the message is not of form {FORM}")
    try:
        return _READERS[doc["kind"]](doc)
    except (KeyError, TypeError, ValueError):
        raise UnreadableMessage("the message lacks a field, or one has the wrong form") from None


def _fields(job: Job) -> dict[str, str]:
    if isinstance(job, ChunkJob):
        return {"kind": "chunk", "resource": job.resource, "run": job.run, "lane": job.lane}
    if isinstance(job, FinishJob):
        return {"kind": "finish", "grant": job.grant}
    return {"kind": "start", "slot": instant(job.slot)}


def _chunk(doc: Mapping[str, Any]) -> Job:
    return ChunkJob(
        ref=Ref(_name(doc["ref"])),
        resource=ResourceName(_name(doc["resource"])),
        run=RunId(_name(doc["run"])),
        lane=Lane(doc["lane"]),
        attempt=_count(doc["attempt"]),
        waits=_count(doc["waits"]),
    )


def _finish(doc: Mapping[str, Any]) -> Job:
    return FinishJob(
        ref=Ref(_name(doc["ref"])),
        grant=GrantId(_name(doc["grant"])),
        attempt=_count(doc["attempt"]),
        waits=_count(doc["waits"]),
    )


def _start(doc: Mapping[str, Any]) -> Job:
    slot = parse(_name(doc["slot"]))
    if slot.tzinfo is None:
        raise ValueError("a slot is an aware time")
    return StartJob(
        ref=Ref(_name(doc["ref"])),
        slot=slot,
        attempt=_count(doc["attempt"]),
        waits=_count(doc["waits"]),
    )


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a name is a text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("a count is a whole number")
    return value


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Job]] = {
    "chunk": _chunk,
    "finish": _finish,
    "start": _start,
}
