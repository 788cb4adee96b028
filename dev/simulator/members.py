"""A member with all records, and what WHOOP would show of them at any moment."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from dev.simulator.moments import written

Document: TypeAlias = dict[str, Any]
Resource: TypeAlias = Literal["cycle", "recovery", "sleep", "workout"]

RESOURCES: tuple[Resource, ...] = ("cycle", "recovery", "sleep", "workout")


@dataclass(frozen=True, slots=True)
class Revision:
    """How a record looks from ``at`` on.

    A recovery has no times of its own and takes its sleep's.  ``end`` is None while the
    record is still open.
    """

    at: datetime
    start: datetime
    end: datetime | None
    document: Document

    def lies_in(self, start: datetime | None, end: datetime) -> bool:
        """Say whether a collection call with these bounds lists it.

        ``start`` is inclusive and takes what happens during it; ``end`` is exclusive.
        """
        if self.start >= end:
            return False
        return start is None or self.end is None or self.end >= start


@dataclass(frozen=True, slots=True)
class Gone:
    """A record is not there from ``at`` on; ``last`` is how it looked before."""

    at: datetime
    last: Revision


@dataclass(frozen=True, slots=True)
class Record:
    """One item: its id as it stands in paths, and everything it is going to look like."""

    id: str
    revisions: tuple[Revision | Gone, ...]

    @property
    def latest(self) -> Revision:
        """Give how it looks in the end, or looked before it went."""
        look = self.revisions[-1]
        return look.last if isinstance(look, Gone) else look

    def state(self, now: datetime) -> Revision | Gone | None:
        """Give how it stands, or None before the world has heard of it."""
        past = [revision for revision in self.revisions if revision.at <= now]
        return past[-1] if past else None

    def shown(self, now: datetime) -> Revision | None:
        """Give what the world can see of it, if it can see anything."""
        state = self.state(now)
        return state if isinstance(state, Revision) else None


@dataclass(frozen=True, slots=True)
class Listed:
    """A record and the revision of it that a collection lists."""

    id: str
    revision: Revision


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """Somebody with a strap.  ``body`` is None for one who never gave any measurement.

    ``records`` changes as the member lives on.
    """

    user_id: int
    email: str
    first_name: str
    last_name: str
    days: int
    body: Document | None
    records: dict[Resource, tuple[Record, ...]]

    @property
    def profile(self) -> Document:
        """Give the profile as WHOOP sends it."""
        return {
            "user_id": self.user_id,
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
        }

    def listing(
        self, resource: Resource, *, start: datetime | None, end: datetime | None, now: datetime
    ) -> list[Listed]:
        """List what lies in a window, newest first; without ``end``, up to ``now``."""
        listed = [
            Listed(record.id, revision)
            for record in self.records[resource]
            if (revision := record.shown(now)) and revision.lies_in(start, end or now)
        ]
        return sorted(listed, key=lambda item: (item.revision.start, item.id), reverse=True)

    def find(self, resource: Resource, identity: str, *, now: datetime) -> Document | None:
        """Give one record by its id (a recovery's is its cycle's), or None."""
        record = self.record(resource, identity)
        revision = record.shown(now) if record else None
        return revision.document if revision else None

    def record(self, resource: Resource, identity: str) -> Record | None:
        """Give a record with all its looks, past and future."""
        for record in self.records[resource]:
            if record.id == identity:
                return record
        return None

    def keep(self, resource: Resource, record: Record) -> None:
        """Take in a new record, or a new state of one that is there."""
        others = tuple(one for one in self.records[resource] if one.id != record.id)
        self.records[resource] = (*others, record)

    def deleted(self, now: datetime) -> dict[Resource, list[str]]:
        """Give the ids of what was there and is not any more."""
        return {
            resource: sorted(
                record.id
                for record in self.records[resource]
                if isinstance(record.state(now), Gone)
            )
            for resource in RESOURCES
        }


def truth(
    member: Member, *, start: datetime | None, end: datetime | None, now: datetime
) -> dict[str, list[Document]]:
    """Say what somebody who reads everything about ``member`` must end up with."""
    told: dict[str, list[Document]] = {
        resource: [
            {
                "id": item.id,
                "updated_at": item.revision.document["updated_at"],
                "hash": digest(item.revision.document),
                "start": written(item.revision.start),
            }
            for item in member.listing(resource, start=start, end=end, now=now)
        ]
        for resource in RESOURCES
    }
    for name, document in (("profile", member.profile), ("body_measurement", member.body)):
        told[name] = (
            []
            if document is None
            else [{"id": name, "updated_at": None, "hash": digest(document), "start": None}]
        )
    return told


def digest(document: Document) -> str:
    """Hash the canonical form of a document."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
