"""Jobs as queue messages.  Old forms stay readable, because two releases may run side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from shared.core.keys import instant
from shared.core.model import (
    Bell,
    ChunkJob,
    FinishJob,
    GrantId,
    Job,
    Lane,
    LeaveJob,
    LookJob,
    RecordId,
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


def encode_bell(bell: Bell) -> str:
    """Write ``bell`` as JSON; layer 2 reads it, so this is part of the raw layer's contract."""
    return json.dumps(
        {
            "form": FORM,
            "ref": bell.ref,
            "resource": bell.resource,
            "generation": bell.generation,
            "seq": bell.seq,
        }
    )


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


def _fields(job: Job) -> dict[str, str | bool | int]:
    if isinstance(job, ChunkJob):
        return {"kind": "chunk", "resource": job.resource, "run": job.run, "lane": job.lane}
    if isinstance(job, FinishJob):
        return {"kind": "finish", "grant": job.grant}
    if isinstance(job, StartJob):
        return {"kind": "start", "slot": instant(job.slot)}
    if isinstance(job, LeaveJob):
        return {"kind": "leave"}
    return {
        "kind": "look",
        "resource": job.resource,
        "record": job.record,
        "alias": job.alias,
        "gone": job.gone,
        "at": instant(job.at),
        "key": job.key,
        "looks": job.looks,
    }


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
    return StartJob(
        ref=Ref(_name(doc["ref"])),
        slot=_time(doc["slot"]),
        attempt=_count(doc["attempt"]),
        waits=_count(doc["waits"]),
    )


def _look(doc: Mapping[str, Any]) -> Job:
    return LookJob(
        ref=Ref(_name(doc["ref"])),
        resource=ResourceName(_name(doc["resource"])),
        record=RecordId(_name(doc["record"])),
        alias=_flag(doc["alias"]),
        gone=_flag(doc["gone"]),
        at=_time(doc["at"]),
        key=_name(doc["key"]),
        looks=_count(doc["looks"]),
        attempt=_count(doc["attempt"]),
        waits=_count(doc["waits"]),
    )


def _leave(doc: Mapping[str, Any]) -> Job:
    return LeaveJob(
        ref=Ref(_name(doc["ref"])),
        attempt=_count(doc["attempt"]),
        waits=_count(doc["waits"]),
    )


def _time(value: Any) -> datetime:
    at = parse(_name(value))
    if at.tzinfo is None:
        raise ValueError("a time is an aware one")
    return at


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("a flag is true or false")
    return value


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
    "look": _look,
    "leave": _leave,
}
