"""The nouns of the host: a function, and what sets it off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from dev.host.ncrontab import Schedule
from dev.host.routes import Route


class CannotStart(Exception):
    """The app must be changed before a host can run it; ``problems`` says where."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Level(Enum):
    """Who may call an HTTP function."""

    ANONYMOUS = "anonymous"
    FUNCTION = "function"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class HttpTrigger:
    """Run on a request; ``methods`` empty means any method."""

    route: Route
    methods: frozenset[str]
    level: Level


@dataclass(frozen=True, slots=True)
class QueueTrigger:
    """Run on a message of ``queue`` in the account of ``connection_string``."""

    queue: str
    connection_string: str


@dataclass(frozen=True, slots=True)
class TimerTrigger:
    """Run when ``schedule`` is due."""

    schedule: Schedule
    run_on_startup: bool


Trigger: TypeAlias = HttpTrigger | QueueTrigger | TimerTrigger


@dataclass(frozen=True, slots=True)
class Function:
    """One indexed function: what to call, and what sets it off."""

    name: str
    call: Callable[..., Any]
    #: The parameter that receives what set the function off.
    parameter: str
    takes_context: bool
    may_return: bool
    trigger: Trigger
