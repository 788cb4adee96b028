"""``POST /control/changes``: one change, by its name, with what it needs."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dev.simulator import moments
from dev.simulator.asked import number, text, whole
from dev.simulator.faults import Unusable
from dev.simulator.members import RESOURCES

if TYPE_CHECKING:
    from dev.simulator.app import Simulator

#: What a change may be told; each is checked wherever it is given.
_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "user_id": lambda value: whole(value, "user_id"),
    "resource": lambda value: _one_of(RESOURCES, value, "resource"),
    "id": lambda value: text(value, "id"),
    "start": lambda value: moments.read(text(value, "start")),
    "end": lambda value: moments.read(text(value, "end")),
    "fields": lambda value: _object(value, "fields"),
    "updated": lambda value: _one_of(("same", "newer"), value, "updated"),
    "hours": lambda value: number(value, "hours"),
    "minutes": lambda value: whole(value, "minutes"),
    "announce": lambda value: _flag(value, "announce"),
}

#: For each kind, what it must be told and what it may be told.
_KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "score": (("resource", "id"), ("announce",)),
    "rescore": (("resource", "id"), ("announce",)),
    "alter": (("resource", "id"), ("announce",)),
    "edit": (("resource", "id", "fields"), ("announce",)),
    "reschedule": (("resource", "id", "start"), ("end", "announce")),
    "delete": (("resource", "id"), ("announce",)),
    "recreate": (("resource", "id"), ("updated", "announce")),
    "travel": (("hours",), ()),
    "add_workout": ((), ("minutes", "announce")),
    "add_nap": ((), ("minutes", "announce")),
}


def carry_out(simulator: "Simulator", document: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out ``{"kind": …, "user_id": …, …}``; give the record as it is afterwards."""
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise Unusable(f"kind is one of {', '.join(_KINDS)}")
    needed, optional = _KINDS[kind]
    given = {name: value for name, value in document.items() if name != "kind"}
    if unknown := sorted(set(given) - {"user_id", *needed, *optional}):
        raise Unusable(f"{kind} takes no {', '.join(unknown)}")
    if missing := sorted({"user_id", *needed} - set(given)):
        raise Unusable(f"{kind} needs {', '.join(missing)}")
    read = {name: _FORMS[name](value) for name, value in given.items()}
    ordered = [read.pop(name) for name in ("user_id", *needed)]
    owner = simulator.changes if hasattr(simulator.changes, kind) else simulator.world
    return {"record": getattr(owner, kind)(*ordered, **read)}


def _one_of(allowed: tuple[str, ...], value: Any, name: str) -> str:
    if value not in allowed:
        raise Unusable(f"{name} is one of {', '.join(allowed)}")
    return str(value)


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unusable(f"{name} is an object")
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise Unusable(f"{name} is true or false")
    return value
