"""Read what a request to the control API brings; ``Unusable`` says what is wrong with it."""

import json
from datetime import datetime
from typing import Any

from werkzeug import Request

from dev.simulator import moments
from dev.simulator.faults import Unusable


def body(request: Request, allowed: set[str] | None = None) -> dict[str, Any]:
    """Read a JSON object, whatever it is called; none at all is an empty one."""
    try:
        document = json.loads(request.get_data() or b"{}")
    except ValueError as error:
        raise Unusable("the body is not JSON") from error
    if not isinstance(document, dict):
        raise Unusable("the body is not a JSON object")
    if allowed is not None and (unknown := sorted(set(document) - allowed)):
        raise Unusable(f"there is no {', '.join(unknown)} here")
    return document


def whole(value: Any, name: str) -> int:
    """Take a whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unusable(f"{name} is a whole number")
    return value


def number(value: Any, name: str) -> float:
    """Take any number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Unusable(f"{name} is a number")
    return value


def text(value: Any, name: str) -> str:
    """Take text."""
    if not isinstance(value, str):
        raise Unusable(f"{name} is text")
    return value


def user_id(given: str | None) -> int:
    """Read a user id from a query."""
    if given is None or not given.isdecimal() or len(given) > 19:
        raise Unusable("user_id is a whole number")
    return int(given)


def bounds(request: Request) -> tuple[datetime | None, datetime | None]:
    """Read start and end; left out or blank, there is no such bound."""
    start, end = (request.args.get(name) for name in ("start", "end"))
    return moments.read(start) if start else None, moments.read(end) if end else None
