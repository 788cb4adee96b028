"""Decides which route template a path fits, by ASP.NET's rules."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar
from urllib.parse import unquote
from uuid import UUID

Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that must be there, in any case."""

    text: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One segment, given to the function by name."""

    name: str
    constraints: tuple[str, ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """All remaining segments, possibly none."""

    name: str


Segment: TypeAlias = Literal | Parameter | Rest


@dataclass(frozen=True, slots=True)
class Route:
    """A parsed route template."""

    template: str
    segments: tuple[Segment, ...]

    @property
    def rank(self) -> tuple[int, ...]:
        """Order routes: what says more about a segment is tried first."""
        return tuple(_rank(segment) for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Entry(Generic[Owner]):
    """Who answers a route, and for which methods; none named means any."""

    route: Route
    methods: frozenset[str]
    owner: Owner


@dataclass(frozen=True, slots=True)
class Found(Generic[Owner]):
    """This function answers, with these route parameters."""

    owner: Owner
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WrongMethod:
    """The path is known, but only for the methods in ``allow``."""

    allow: frozenset[str]


@dataclass(frozen=True, slots=True)
class Unknown:
    """No route has this path."""


def parse(template: str) -> Route:
    """Read a route template; ValueError says what we do not understand."""
    parts = [part for part in template.strip("/").split("/") if part]
    segments = tuple(_segment(part, template) for part in parts)
    for segment in segments[:-1]:
        if isinstance(segment, Rest) or (isinstance(segment, Parameter) and segment.optional):
            raise ValueError(f'in the route "{template}" only the last segment may be left out')
    return Route(template, segments)


def match(route: Route, path: Sequence[str]) -> dict[str, str] | None:
    """Return the route parameters, or None where ``path`` does not fit."""
    params: dict[str, str] = {}
    for place, segment in enumerate(route.segments):
        given = path[place] if place < len(path) else None
        match segment:
            case Rest(name):
                if place < len(path):
                    params[name] = "/".join(path[place:])
                return params
            case Literal(text):
                if given is None or given.lower() != text.lower():
                    return None
            case Parameter(name, constraints, optional):
                if given is None:
                    if not optional:
                        return None
                elif not given or not all(_meets(given, rule) for rule in constraints):
                    return None
                else:
                    params[name] = given
    return params if len(path) <= len(route.segments) else None


def choose(
    entries: Iterable[Entry[Owner]], method: str, path: Sequence[str]
) -> Found[Owner] | WrongMethod | Unknown:
    """Find who answers ``method`` on ``path``."""
    allow: set[str] = set()
    for entry in sorted(entries, key=lambda entry: entry.route.rank):
        if (params := match(entry.route, path)) is None:
            continue
        if not entry.methods or method in entry.methods:
            return Found(entry.owner, params)
        allow |= entry.methods
    return WrongMethod(frozenset(allow)) if allow else Unknown()


def split(raw_path: str) -> list[str]:
    """Cut an escaped path into segments; one slash at the end does not count."""
    path = raw_path.removeprefix("/").removesuffix("/")
    return [_unescape(part) for part in path.split("/")] if path else []


def _unescape(part: str) -> str:
    # ASP.NET leaves %2F alone, so that a value cannot grow a segment.
    return unquote(re.sub("%2[fF]", "%252F", part))


def _segment(part: str, template: str) -> Segment:
    if "{" not in part and "}" not in part:
        return Literal(part)
    inside = re.fullmatch(r"\{(\*{0,2})(\w+)((?::[^{}?=]+)*)(\??)\}", part)
    if inside is None:
        raise ValueError(
            f'in the route "{template}" this host does not understand "{part}"; '
            "it knows {name}, {name:int}, {name?} and {*name}"
        )
    stars, name, rules, optional = inside.groups()
    if stars:
        return Rest(name)
    constraints = tuple(rules.split(":")[1:])
    unknown = [rule for rule in constraints if rule not in CONSTRAINTS]
    if unknown:
        raise ValueError(
            f'in the route "{template}" this host does not know the constraint '
            f'"{unknown[0]}"; it knows {", ".join(CONSTRAINTS)}'
        )
    return Parameter(name, constraints, bool(optional))


def _rank(segment: Segment) -> int:
    match segment:
        case Literal():
            return 1
        case Parameter(constraints=constraints):
            return 2 if constraints else 3
        case Rest():
            return 5


def _is_guid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _is_int(bits: int) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
            return False
        return -(1 << (bits - 1)) <= int(text) < 1 << (bits - 1)

    return fits


CONSTRAINTS: Mapping[str, Callable[[str], bool]] = {
    "int": _is_int(32),
    "long": _is_int(64),
    "guid": _is_guid,
    "bool": lambda text: text.lower() in {"true", "false"},
    "alpha": lambda text: re.fullmatch("[A-Za-z]+", text) is not None,
}


def _meets(text: str, rule: str) -> bool:
    return CONSTRAINTS[rule](text)
