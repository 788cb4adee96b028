"""Answers that go wrong on purpose."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Self

from werkzeug import Response

from dev.simulator import answers


class Unusable(ValueError):
    """What was given cannot be carried out; the message says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule: which requests go wrong, how, and how often.

    With ``status`` the request has no effect.  With ``delay``, ``cut`` or ``broken`` it takes
    effect and only its answer suffers, as when a network fails: a token may well have been
    rotated.  Without ``times`` and ``seconds`` the rule holds until it is cleared.
    """

    #: Searched for in the path, as a regular expression.
    path: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    times: int | None = None
    seconds: float | None = None
    delay: float = 0.0
    #: Announce more than is sent, then hang up.
    cut: bool = False
    #: Answer 200 with JSON that does not parse.
    broken: bool = False
    #: Give the page token that was asked with as the next one.
    repeat_cursor: bool = False
    #: Refuse every page token with 400.
    refuse_cursor: bool = False

    def __post_init__(self) -> None:
        """Refuse a rule that could not be carried out."""
        try:
            re.compile(self.path)
        except re.error as error:
            raise Unusable(f"path is not a regular expression: {error}") from error
        if self.status is not None and not 200 <= self.status <= 599:
            raise Unusable("status is between 200 and 599")
        if self.times is not None and self.times < 1:
            raise Unusable("times is at least 1")
        if self.seconds is not None and self.seconds <= 0:
            raise Unusable("seconds is more than 0")
        if not 0 <= self.delay <= 600:
            raise Unusable("delay is between 0 and 600 seconds")

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read a rule; ``Unusable`` says what is wrong with it."""
        if not isinstance(document, dict) or not isinstance(document.get("path"), str):
            raise Unusable("a rule is an object with a path")
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(document) - known):
            raise Unusable(f"a rule has no {', '.join(unknown)}")
        for name, value in document.items():
            if not _FORMS[name](value):
                raise Unusable(f"{name} cannot be {value!r}")
        return cls(**document)

    def concerns(self, path: str, cursor: str | None) -> bool:
        """Say whether a request is one of those that go wrong."""
        if cursor is None and (self.repeat_cursor or self.refuse_cursor):
            return False
        return re.search(self.path, path) is not None

    @property
    def mangles(self) -> bool:
        """Whether nobody can read what was genuinely answered."""
        return self.status is not None or self.cut or self.broken

    def spoil(self, genuine: Callable[[], Response], cursor: str | None) -> Response:
        """Answer in place of ``genuine``, or spoil what it answers."""
        if self.refuse_cursor:
            response = answers.of_status(400)
        elif self.status is not None:
            response = self._made_up(self.status)
        else:
            response = genuine()
            if self.repeat_cursor:
                response = _repeating(response, cursor)
            if self.broken:
                response = _broken(response)
            if self.cut:
                response = _cut(response)
        for name, value in self.headers.items():
            response.headers[name] = value
        return response

    def _made_up(self, status: int) -> Response:
        if self.body is None:
            response = answers.of_status(status)
        else:
            kind = "application/json" if _is_json(self.body) else "text/plain;charset=utf-8"
            response = Response(self.body, status, content_type=kind)
        return response


@dataclass(frozen=True, slots=True)
class _Active:
    fault: Fault
    left: int | None
    until: datetime | None


class Faults:
    """The rules in force.  Of those that concern a request, the oldest takes it."""

    def __init__(self) -> None:
        """Begin with everything going well."""
        self._active: list[_Active] = []

    def __len__(self) -> int:
        return len(self._active)

    def add(self, fault: Fault, *, now: datetime) -> None:
        """Put a rule into force."""
        until = None if fault.seconds is None else now + timedelta(seconds=fault.seconds)
        self._active.append(_Active(fault, fault.times, until))

    def clear(self) -> None:
        """Let everything go well again."""
        self._active.clear()

    def take(self, path: str, cursor: str | None, *, now: datetime) -> Fault | None:
        """Give the rule for a request, and count it as applied once more."""
        self._active = [one for one in self._active if one.until is None or now < one.until]
        for place, one in enumerate(self._active):
            if one.fault.concerns(path, cursor):
                if one.left is not None:
                    fewer = _Active(one.fault, one.left - 1, one.until)
                    self._active[place : place + 1] = [fewer] if one.left > 1 else []
                return one.fault
        return None


def _repeating(response: Response, cursor: str | None) -> Response:
    document = json.loads(response.get_data()) if response.status_code == 200 else None
    if not isinstance(document, dict) or "records" not in document:
        return response
    return answers.of_json(document | {"next_token": cursor})


def _broken(response: Response) -> Response:
    whole = response.get_data() if response.status_code == 200 else b""
    # Half of a JSON object is never JSON.
    half = whole[: len(whole) // 2] or b'{"records":['
    return Response(half, 200, content_type="application/json")


def _cut(response: Response) -> Response:
    whole = response.get_data()
    response.set_data(whole[: len(whole) // 2])
    response.headers["Content-Length"] = str(len(whole) + 1)
    return response


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_headers(value: Any) -> bool:
    # A line break in a header would end it and begin something else.
    return isinstance(value, dict) and all(
        isinstance(text, str) and not re.search(r"[\r\n]", text)
        for pair in value.items()
        for text in pair
    )


_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "path": _is_text,
    "status": _is_whole,
    "headers": _is_headers,
    "body": _is_text,
    "times": _is_whole,
    "seconds": _is_number,
    "delay": _is_number,
    "cut": _is_flag,
    "broken": _is_flag,
    "repeat_cursor": _is_flag,
    "refuse_cursor": _is_flag,
}
