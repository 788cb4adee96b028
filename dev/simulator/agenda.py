"""What WHOOP has to tell the app of, and when: one happening per look of a record."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from dev.simulator.members import Gone, Member, Record, Resource, Revision


@dataclass(frozen=True, slots=True)
class Happening:
    """A record has changed or gone; ``id`` is what WHOOP's webhooks name it by."""

    at: datetime
    user_id: int
    #: ``sleep.updated`` and the like.
    type: str
    id: str


@dataclass(frozen=True, slots=True)
class _Due:
    member: Member
    resource: Resource
    record_id: str
    look: Revision | Gone


class Agenda:
    """Happenings to come, in the order in which they fall due."""

    def __init__(self) -> None:
        """Begin with nothing to tell."""
        self._heap: list[tuple[datetime, int, _Due]] = []
        self._serial = count()

    def expect(self, member: Member, now: datetime) -> None:
        """Note what is still to come of somebody whose past nobody has to be told of."""
        for resource, records in member.records.items():
            for record in records:
                self._push(
                    member, resource, record, [one for one in record.revisions if one.at > now]
                )

    def note(
        self, member: Member, resource: Resource, record: Record, *, after: datetime | None
    ) -> None:
        """Note the looks of ``record`` that are new to ``member``, from ``after`` on."""
        before = member.record(resource, record.id)
        known = {id(look) for look in before.revisions} if before else set()
        self._push(
            member,
            resource,
            record,
            [
                look
                for look in record.revisions
                if id(look) not in known and (after is None or look.at > after)
            ],
        )

    def _push(
        self,
        member: Member,
        resource: Resource,
        record: Record,
        looks: Iterable[Revision | Gone],
    ) -> None:
        # There is no webhook for cycles.  https://developer.whoop.com/docs/developing/webhooks
        if resource == "cycle":
            return
        for look in looks:
            due = _Due(member, resource, record.id, look)
            heapq.heappush(self._heap, (look.at, next(self._serial), due))

    def due(self, now: datetime) -> list[Happening]:
        """Take what has fallen due; what will not come to pass any more is forgotten."""
        taken: list[Happening] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, due = heapq.heappop(self._heap)
            record = due.member.record(due.resource, due.record_id)
            if record and any(look is due.look for look in record.revisions):
                taken.append(_happening(at, due))
        return taken


def _happening(at: datetime, due: _Due) -> Happening:
    gone = isinstance(due.look, Gone)
    last = due.look.last if isinstance(due.look, Gone) else due.look
    # A recovery has no id: its events carry that of its sleep.
    identity = last.document["sleep_id"] if due.resource == "recovery" else due.record_id
    kind = f"{due.resource}.{'deleted' if gone else 'updated'}"
    return Happening(at, due.member.user_id, kind, identity)
