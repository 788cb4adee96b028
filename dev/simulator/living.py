"""Let days go by: lives go on, and what is there changes by chance."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, Self

from dev.simulator.changes import Changes
from dev.simulator.faults import Unusable
from dev.simulator.members import RESOURCES, Document, Gone, Member, Resource, Revision
from dev.simulator.moments import written
from dev.simulator.world import World

_DAY = timedelta(days=1)
_HOMES = (-6.0, -5.0, -3.0, 0.0, 1.0, 3.0, 5.5)


@dataclass(frozen=True, slots=True)
class Rates:
    """How likely each kind of change is, for one member on one day; of ``pending``, per record.

    Changes concern what began within the last ``reach_days``.
    """

    #: A new night or workout waits hours for its score.
    pending: float = 0.2
    #: What was left PENDING_SCORE for a day is scored.
    score: float = 0.5
    #: A score changes, with its ``updated_at``.
    rescore: float = 0.2
    #: A sleep or workout is moved by up to an hour.
    reschedule: float = 0.15
    #: A sleep or workout is deleted.
    delete: float = 0.1
    #: A deleted one comes back, with the same or a newer ``updated_at``.
    recreate: float = 0.1
    #: A score changes without a new ``updated_at``, and without a webhook.
    alter: float = 0.05
    #: The member is in another zone from the next night on.
    travel: float = 0.05
    reach_days: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what is no rate."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Unusable(f"{one.name} is a number")
            if not 0 <= value <= (3660 if one.name == "reach_days" else 1):
                raise Unusable(f"{one.name} cannot be {value}")

    @classmethod
    def all(cls, rate: float, *, reach_days: float = 3.0) -> Self:
        """Give every kind of change the same rate."""
        names = [one.name for one in fields(cls) if one.name != "reach_days"]
        return cls(**dict.fromkeys(names, rate), reach_days=reach_days)

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read rates; ``Unusable`` says what is wrong with them."""
        known = {one.name for one in fields(cls)}
        if not isinstance(document, dict) or (set(document) - known):
            raise Unusable(f"rates are an object of {', '.join(sorted(known))}")
        return cls(**document)


#: Days go by, and nothing changes but that new records come.
NO_CHANGES = Rates.all(0)


class Chance:
    """Draws one member's changes, day by day."""

    def __init__(self, world: World, changes: Changes) -> None:
        """Draw from the seed of ``world``; nobody has had a day yet."""
        self._world = world
        self._changes = changes
        self._drawn: dict[int, datetime] = {}
        self._days: dict[int, int] = {}

    def draw(self, user_id: int, rates: Rates) -> list[Document]:
        """Let happen what chance has for each whole day since the last one drawn; say what."""
        self._drawn.setdefault(user_id, self._world.joined(user_id))
        happened: list[Document] = []
        while self._world.now() - self._drawn[user_id] >= _DAY:
            self._drawn[user_id] += _DAY
            day = self._days[user_id] = self._days.get(user_id, 0) + 1
            index = list(self._world.members).index(user_id)
            # Anew for each day, so that one day's changes do not decide the next day's.
            rng = self._world.dice(f"{index}:day:{day}")
            happened += _Draw(self._world, self._changes, user_id, rng, rates).all()
        return happened


class _Draw:
    """One member's day.  Every throw happens whether or not there is anything to change."""

    def __init__(
        self, world: World, changes: Changes, user_id: int, rng: Random, rates: Rates
    ) -> None:
        self._world = world
        self._changes = changes
        self._user_id = user_id
        self._rng = rng
        self._rates = rates

    def all(self) -> list[Document]:
        happened: list[Document] = []
        for kind, change in (
            ("score", self._score),
            ("rescore", self._rescore),
            ("reschedule", self._reschedule),
            ("delete", self._delete),
            ("recreate", self._recreate),
            ("alter", self._alter),
            ("travel", self._travel),
        ):
            comes = self._rng.random() < getattr(self._rates, kind)
            place, more = self._rng.random(), self._rng.random()
            if comes and (concerned := change(place, more)):
                resource, identity = concerned
                at = written(self._world.now())
                happened.append(
                    {
                        "at": at,
                        "user_id": self._user_id,
                        "kind": kind,
                        "resource": resource,
                        "id": identity,
                    }
                )
        return happened

    def _score(self, place: float, _: float) -> tuple[str, str] | None:
        def waits(look: Revision) -> bool:
            pending = look.document["score_state"] == "PENDING_SCORE"
            return pending and look.at + _DAY <= self._world.now()

        if chosen := self._choose(place, ("sleep", "workout"), waits):
            self._changes.score(self._user_id, *chosen)
        return chosen

    def _rescore(self, place: float, _: float) -> tuple[str, str] | None:
        if chosen := self._choose(place, ("recovery", "sleep", "workout"), _is_scored):
            self._changes.rescore(self._user_id, *chosen)
        return chosen

    def _alter(self, place: float, _: float) -> tuple[str, str] | None:
        if chosen := self._choose(place, RESOURCES, _is_scored):
            self._changes.alter(self._user_id, *chosen)
        return chosen

    def _delete(self, place: float, _: float) -> tuple[str, str] | None:
        if chosen := self._choose(place, ("sleep", "workout"), lambda _: True):
            self._changes.delete(self._user_id, *chosen)
        return chosen

    def _reschedule(self, place: float, more: float) -> tuple[str, str] | None:
        by = timedelta(minutes=round(more * 118) - 59)

        def has_room(look: Revision) -> bool:
            return look.end is not None and look.end + by <= self._world.now()

        chosen = self._choose(place, ("sleep", "workout"), has_room) if by else None
        if chosen:
            record = self._member.record(*chosen)
            shown = record.shown(self._world.now()) if record else None
            if shown:
                self._changes.reschedule(self._user_id, *chosen, shown.start + by)
        return chosen

    def _recreate(self, place: float, more: float) -> tuple[str, str] | None:
        now, member = self._world.now(), self._member
        deleted: list[tuple[Resource, str]] = [
            (resource, record.id)
            for resource in ("sleep", "workout")
            for record in member.records[resource]
            if isinstance(state := record.state(now), Gone) and self._reaches(state.last)
        ]
        if not deleted:
            return None
        chosen = sorted(deleted)[int(place * len(deleted))]
        updated: Literal["same", "newer"] = "same" if more < 0.5 else "newer"
        self._changes.recreate(self._user_id, *chosen, updated=updated)
        return chosen

    def _travel(self, place: float, _: float) -> tuple[str, str] | None:
        hours = _HOMES[int(place * len(_HOMES))]
        self._world.travel(self._user_id, hours)
        return "", f"{hours:+g} h"

    def _choose(
        self, place: float, resources: tuple[Resource, ...], fits: Callable[[Revision], bool]
    ) -> tuple[Resource, str] | None:
        now, member = self._world.now(), self._member
        fitting: list[tuple[Resource, str]] = [
            (resource, record.id)
            for resource in resources
            for record in member.records[resource]
            if (look := record.shown(now)) and self._reaches(look) and fits(look)
        ]
        return sorted(fitting)[int(place * len(fitting))] if fitting else None

    def _reaches(self, look: Revision) -> bool:
        return look.start >= self._world.now() - timedelta(days=self._rates.reach_days)

    @property
    def _member(self) -> Member:
        return self._world.member(self._user_id)


def _is_scored(look: Revision) -> bool:
    return bool(look.document["score_state"] == "SCORED")
