"""What may go wrong with webhooks on their way: by chance, and the same way for every seed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from random import Random
from typing import Any, Self
from uuid import UUID

from dev.simulator.faults import Unusable
from dev.simulator.signing import body_of

#: Older than anyone may accept, given that WHOOP retries for an hour.
OLD = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Mishaps:
    """How likely each mishap is for an event, from 0 to 1."""

    #: Never sent at all.
    lose: float = 0.0
    #: Sent twice, with the same trace id.
    duplicate: float = 0.0
    #: Held back for ``hold_seconds``, so that later ones overtake it.
    reorder: float = 0.0
    #: Signed rightly, with a timestamp of three hours ago.
    old: float = 0.0
    #: Followed by one like it with a trace id of its own and a wrong signature.
    forge: float = 0.0
    #: Followed by one about somebody whom the app has never heard of.
    unknown_user: float = 0.0
    #: Followed by one of a type that WHOOP's documents do not name.
    unknown_type: float = 0.0
    #: Followed by one with a body that is no event, rightly signed.
    malformed: float = 0.0
    hold_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no likelihood."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Unusable(f"{one.name} is a number")
            if not 0 <= value <= (3600 if one.name == "hold_seconds" else 1):
                raise Unusable(f"{one.name} cannot be {value}")

    @classmethod
    def all(cls, likelihood: float, *, hold_seconds: float = 1.0) -> Self:
        """Make every mishap equally likely."""
        names = [one.name for one in fields(cls) if one.name != "hold_seconds"]
        return cls(**dict.fromkeys(names, likelihood), hold_seconds=hold_seconds)

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read likelihoods; ``Unusable`` says what is wrong with them."""
        known = {one.name for one in fields(cls)}
        if not isinstance(document, dict) or (set(document) - known):
            raise Unusable(f"mishaps are an object of {', '.join(sorted(known))}")
        return cls(**document)


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is to be sent for an event, or in its wake."""

    event: Mapping[str, Any]
    body: bytes
    #: The mishap that this is, or that it suffers; None for an event as it should be.
    mishap: str | None = None
    delay: float = 0.0
    sent: bool = True


def parcels(
    event: Mapping[str, Any], mishaps: Mishaps, rng: Random, new_id: Callable[[], str]
) -> Iterator[Parcel]:
    """Give what is sent for one event.  Every throw happens, whatever comes of the others."""
    suffers = {
        one.name: rng.random() < getattr(mishaps, one.name)
        for one in fields(mishaps)
        if one.name != "hold_seconds"
    }
    malformed = rng.choice(_MALFORMED)
    body = body_of(event)
    if suffers["lose"]:
        yield Parcel(event, body, "lose", sent=False)
    else:
        mishap = "old" if suffers["old"] else "reorder" if suffers["reorder"] else None
        delay = mishaps.hold_seconds if suffers["reorder"] else 0.0
        yield Parcel(event, body, mishap, delay)
        if suffers["duplicate"]:
            yield Parcel(event, body, "duplicate", delay)
    if suffers["forge"]:
        yield _like(event, "forge", trace_id=new_id())
    if suffers["unknown_user"]:
        yield _like(event, "unknown_user", trace_id=new_id(), user_id=1, id=new_id())
    if suffers["unknown_type"]:
        yield _like(event, "unknown_type", trace_id=new_id(), type="steps.updated")
    if suffers["malformed"]:
        bad = dict(event) | {"trace_id": new_id()}
        yield Parcel(bad, malformed(bad), "malformed")


def uuid_from(rng: Random) -> str:
    """Make a UUID that is the same for the same dice."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def _like(event: Mapping[str, Any], mishap: str, **other: Any) -> Parcel:
    changed = dict(event) | other
    return Parcel(changed, body_of(changed), mishap)


_MALFORMED: tuple[Callable[[Mapping[str, Any]], bytes], ...] = (
    lambda event: body_of(event)[:-9],
    lambda event: b"[" + body_of(event) + b"]",
    lambda event: b"",
    lambda event: b"\xff" + body_of(event),
    lambda event: body_of({**event, "id": 93845}),
    lambda event: body_of({**event, "id": "not-a-uuid"}),
    lambda event: body_of({**event, "user_id": "me"}),
    lambda event: body_of({**event, "type": None}),
    lambda event: body_of({name: event[name] for name in ("user_id", "type", "trace_id")}),
)
