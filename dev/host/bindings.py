"""Turns what arrived into ``azure.functions`` objects, and an HTTP answer back.

The library's own converters do the work, as in Azure's worker, so their oddities come along.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookies import Morsel
from typing import Any
from urllib.parse import quote

from azure.functions.meta import Datum, get_binding_registry


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it goes over the wire."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a Storage queue, decoded."""

    id: str
    body: bytes
    dequeue_count: int
    pop_receipt: str
    inserted_at: datetime
    expires_at: datetime
    visible_at: datetime


def http_request(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    route_params: Mapping[str, str],
    body: bytes,
) -> Any:
    """Build the ``func.HttpRequest`` that the worker would build."""
    value = {
        "method": _datum(method, "string"),
        "url": _datum(url, "string"),
        "headers": _datums(headers),
        # Azure drops parameters without a value on the way to Python.
        "query": _datums({name: text for name, text in query.items() if text}),
        "params": _datums(route_params),
        "body": _datum(body, "bytes"),
    }
    return _converter("httpTrigger").decode(_datum(value, "http"), trigger_metadata={})


def queue_message(message: Message) -> Any:
    """Build the ``func.QueueMessage`` that the worker would build."""
    metadata = {
        "Id": message.id,
        "DequeueCount": message.dequeue_count,
        "PopReceipt": message.pop_receipt,
        "InsertionTime": message.inserted_at.astimezone(UTC).isoformat(),
        "ExpirationTime": message.expires_at.astimezone(UTC).isoformat(),
        "NextVisibleTime": message.visible_at.astimezone(UTC).isoformat(),
    }
    return _converter("queueTrigger").decode(
        _datum(message.body, "bytes"),
        trigger_metadata={
            name: _datum(json.dumps(value), "json") for name, value in metadata.items()
        },
    )


def timer_request(*, last: datetime | None, due: datetime | None) -> Any:
    """Build the ``func.TimerRequest`` that the worker would build."""
    never = datetime.min.replace(tzinfo=UTC)
    status = {"Last": (last or never).isoformat(), "Next": (due or never).isoformat()}
    status["LastUpdated"] = status["Last"]
    value = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False}
    return _converter("timerTrigger").decode(_datum(json.dumps(value), "json"), trigger_metadata={})


def takes(binding: str, annotation: object) -> bool:
    """Say whether a parameter so annotated can receive what sets ``binding`` off."""
    return isinstance(annotation, type) and bool(
        _converter(binding).check_input_type_annotation(annotation)
    )


def gives(binding: str, annotation: object) -> bool:
    """Say whether a function so annotated returns something that ``binding`` can send."""
    return isinstance(annotation, type) and bool(
        _converter(binding).check_output_type_annotation(annotation)
    )


def http_answer(returned: object) -> Answer:
    """Encode what an HTTP function returned; raise TypeError where Azure would answer 500."""
    try:
        datum = _converter("http").encode(returned, expected_type=None)
    except NotImplementedError:
        kind = type(returned).__name__
        raise TypeError(
            f"an HTTP function must return func.HttpResponse or str, not {kind}"
        ) from None
    if datum.type == "string":
        return Answer(200, (("content-type", "text/plain; charset=utf-8"),), datum.value.encode())
    value = datum.value
    headers = [(name, header.value) for name, header in value["headers"].items()]
    for cookie in value["cookies"] or ():
        headers += [("set-cookie", _line(name, morsel)) for name, morsel in cookie.items()]
    return Answer(int(value["status_code"].value), tuple(headers), value["body"].value)


def _line(name: str, morsel: "Morsel[str]") -> str:
    # The worker takes cookies apart and ASP.NET writes them anew: with an escaped value, a
    # path of "/" where none was given, and only the attributes that both of them know.
    parts = [f"{name}={quote(morsel.value, safe='')}"]
    parts += [
        f"{attribute}={text}"
        for attribute in ("expires", "max-age", "domain", "path")
        if (text := morsel[attribute] or ("/" if attribute == "path" else ""))
    ]
    if morsel["secure"]:
        parts.append("secure")
    if morsel["samesite"]:
        parts.append(f"samesite={morsel['samesite'].lower()}")
    if morsel["httponly"]:
        parts.append("httponly")
    return "; ".join(parts)


def _converter(binding: str) -> Any:
    registry: Any = get_binding_registry
    return registry().get(binding)


def _datums(texts: Mapping[str, str]) -> dict[str, Any]:
    return {name: _datum(text, "string") for name, text in texts.items()}


def _datum(value: object, kind: str) -> Any:
    return Datum(value, kind)
