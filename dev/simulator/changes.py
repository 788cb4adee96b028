"""What members and WHOOP do to records that are there: score, edit, delete and bring back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from dev.simulator import looks
from dev.simulator.members import Document, Gone, Member, Record, Resource, Revision
from dev.simulator.moments import to_millis, written
from dev.simulator.world import World

#: What belongs to a record for good, or is changed in a way of its own.
_FIXED = {"id", "user_id", "cycle_id", "sleep_id", "created_at", "updated_at", "start", "end"}


class UnknownRecord(KeyError):
    """The member has nothing, or nothing any more, under this id."""


@dataclass(frozen=True, slots=True)
class _Item:
    member: Member
    resource: Resource
    record: Record
    look: Revision

    @property
    def document(self) -> Document:
        return self.look.document


class Changes:
    """Changes what is shown from now on; a recovery's id is its cycle's.

    Each gives the record as it is afterwards.  With ``announce=False`` WHOOP sends no webhook of
    it, and it is for the app to find out.
    """

    def __init__(self, world: World) -> None:
        """Change the records of ``world``."""
        self._world = world

    def score(
        self, user_id: int, resource: Resource, identity: str, *, announce: bool = True
    ) -> Document:
        """Score what is PENDING_SCORE; a night's recovery is scored with it."""
        with self._world.changing() as now:
            after = None if announce else now
            item = self._find(user_id, resource, identity, now)
            if item.document["score_state"] != "PENDING_SCORE":
                raise ValueError(f"{identity} is not PENDING_SCORE")
            for one in (item, *self._recovery(item, now)):
                if one.document["score_state"] == "PENDING_SCORE":
                    scorer, look = self._world.scorer(one.member), one.look
                    score = looks.foreseen(one.record, now) or scorer.of(
                        one.resource, look.start, look.end or now
                    )
                    self._settle(one, now, {"score_state": "SCORED", "score": score}, after)
            return self._shown(item, now)

    def rescore(
        self, user_id: int, resource: Resource, identity: str, *, announce: bool = True
    ) -> Document:
        """Score again what was SCORED; a night's recovery is scored again with it."""
        with self._world.changing() as now:
            after = None if announce else now
            item = self._find(user_id, resource, identity, now)
            _must_be_scored(item)
            for one in (item, *self._recovery(item, now)):
                self._settle(one, now, self._scored_again(one), after)
            return self._shown(item, now)

    def alter(
        self, user_id: int, resource: Resource, identity: str, *, announce: bool = False
    ) -> Document:
        """Score again without a new ``updated_at``."""
        with self._world.changing() as now:
            after = None if announce else now
            item = self._find(user_id, resource, identity, now)
            _must_be_scored(item)
            record = looks.changed(item.record, item.look, now, self._scored_again(item))
            self._keep(item, record, after)
            return self._shown(item, now)

    def edit(
        self,
        user_id: int,
        resource: Resource,
        identity: str,
        fields: Mapping[str, Any],
        *,
        announce: bool = True,
    ) -> Document:
        """Set fields of a record, such as ``timezone_offset`` or ``sport_name``."""
        if refused := sorted(set(fields) & _FIXED):
            raise ValueError(f"{', '.join(refused)} cannot be set")
        with self._world.changing() as now:
            after = None if announce else now
            item = self._find(user_id, resource, identity, now)
            if unknown := sorted(set(fields) - set(item.document)):
                raise ValueError(f"a {resource} has no {', '.join(unknown)}")
            self._change(item, now, fields, after)
            for recovery in self._recovery(item, now):
                self._change(recovery, now, {}, after)
            return self._shown(item, now)

    def reschedule(
        self,
        user_id: int,
        resource: Resource,
        identity: str,
        start: datetime,
        end: datetime | None = None,
        *,
        announce: bool = True,
    ) -> Document:
        """Move a sleep, a workout or a cycle; without ``end``, the first two keep their length.

        A night takes its recovery along, the start of its cycle and the end of the one before.
        """
        with self._world.changing() as now:
            after = None if announce else now
            item = self._find(user_id, resource, identity, now)
            start, end = _moved(item, start, end, now)
            fields: Document = {"start": written(start)}
            if end:
                fields["end"] = written(end)
            if end and item.document.get("score") and _length(item.look) != end - start:
                fields["score"] = self._world.scorer(item.member).of(resource, start, end)
            self._change(item, now, fields, after, start=start, end=end)
            for recovery in self._recovery(item, now):
                self._change(recovery, now, {}, after, start=start, end=end)
            if resource == "sleep" and not item.document["nap"]:
                self._follow(item, start, now)
            return self._shown(item, now)

    def delete(
        self, user_id: int, resource: Resource, identity: str, *, announce: bool = True
    ) -> None:
        """Let a record vanish; a recovery vanishes with its sleep, and with its cycle."""
        with self._world.changing() as now:
            after = None if announce else now
            item = self._find(user_id, resource, identity, now)
            for one in (item, *self._recovery(item, now), *self._recovery_of_cycle(item, now)):
                self._keep(one, looks.gone(one.record, one.look, now), after)

    def recreate(
        self,
        user_id: int,
        resource: Resource,
        identity: str,
        *,
        updated: Literal["same", "newer"] = "newer",
        announce: bool = True,
    ) -> Document:
        """Let a deleted record be there again under its id, and a recovery that went with it."""
        if updated not in {"same", "newer"}:
            raise ValueError("updated is same or newer")
        with self._world.changing() as now:
            after = None if announce else now
            member = self._world.member(user_id)
            record = member.record(resource, identity)
            state = record.state(now) if record else None
            if record is None or not isinstance(state, Gone):
                raise UnknownRecord(identity)
            item = _Item(member, resource, record, state.last)
            for one in (item, *self._gone_with(item, state.at)):
                stamp = {} if updated == "same" else {"updated_at": looks.newer(one.document, now)}
                self._keep(one, looks.returned(one.record, one.look, now, stamp), after)
            return self._shown(item, now)

    # What is concerned

    def _find(self, user_id: int, resource: Resource, identity: str, now: datetime) -> _Item:
        member = self._world.member(user_id)
        record = member.record(resource, identity)
        look = record.shown(now) if record else None
        if record is None or look is None:
            raise UnknownRecord(identity)
        return _Item(member, resource, record, look)

    def _recovery(self, item: _Item, now: datetime) -> list[_Item]:
        """Give the recovery that a sleep has made, if it has made one."""
        if item.resource != "sleep":
            return []
        return [
            one
            for one in self._all(item.member, "recovery", now)
            if one.document["sleep_id"] == item.record.id
        ]

    def _recovery_of_cycle(self, item: _Item, now: datetime) -> list[_Item]:
        """Give the recovery that nobody can ask for any more without its cycle."""
        if item.resource != "cycle":
            return []
        return [
            one
            for one in self._all(item.member, "recovery", now)
            if one.record.id == item.record.id
        ]

    def _gone_with(self, item: _Item, at: datetime) -> list[_Item]:
        """Give the recovery that went when ``item`` did."""
        key = {"sleep": "sleep_id", "cycle": "cycle_id"}.get(item.resource, "")
        return [
            _Item(item.member, "recovery", record, state.last)
            for record in (item.member.records["recovery"] if key else ())
            if isinstance(state := record.revisions[-1], Gone)
            and state.at == at
            and str(state.last.document[key]) == item.record.id
        ]

    def _all(self, member: Member, resource: Resource, now: datetime) -> list[_Item]:
        return [
            _Item(member, resource, record, look)
            for record in member.records[resource]
            if (look := record.shown(now))
        ]

    # What becomes of it

    def _change(
        self,
        item: _Item,
        now: datetime,
        fields: Mapping[str, Any],
        after: datetime | None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        stamped = {**fields, "updated_at": looks.newer(item.document, now)}
        record = looks.changed(item.record, item.look, now, stamped, start=start, end=end)
        self._keep(item, record, after)

    def _settle(self, item: _Item, now: datetime, fields: Document, after: datetime | None) -> None:
        stamped = fields | {"updated_at": looks.newer(item.document, now)}
        # A cycle that is open goes on to rise and to close.
        change = looks.changed if item.resource == "cycle" else looks.settled
        self._keep(item, change(item.record, item.look, now, stamped), after)

    def _keep(self, item: _Item, record: Record, after: datetime | None) -> None:
        self._world.keep(item.member, item.resource, record, after=after)

    def _follow(self, night: _Item, start: datetime, now: datetime) -> None:
        """Let the cycles on both sides of a night's beginning begin and end with it."""
        for cycle in self._all(night.member, "cycle", now):
            if cycle.look.start == night.look.start:
                self._change(cycle, now, {"start": written(start)}, now, start=start)
            elif cycle.look.end == night.look.start:
                self._change(cycle, now, {"end": written(start)}, now, end=start)

    def _scored_again(self, item: _Item) -> Document:
        score = item.document.get("score")
        if not score:
            return {}
        return {"score": self._world.scorer(item.member).again(item.resource, score)}

    def _shown(self, item: _Item, now: datetime) -> Document:
        return self._find(item.member.user_id, item.resource, item.record.id, now).document


def _length(look: Revision) -> timedelta | None:
    return look.end - look.start if look.end else None


def _must_be_scored(item: _Item) -> None:
    if item.document["score_state"] != "SCORED":
        raise ValueError(f"{item.record.id} is not SCORED")


def _moved(
    item: _Item, start: datetime, end: datetime | None, now: datetime
) -> tuple[datetime, datetime | None]:
    """Check where an item is to be moved; a sleep or workout keeps its length without ``end``."""
    if item.resource == "recovery":
        raise ValueError("a recovery is where its sleep is")
    start, end = to_millis(start), end and to_millis(end)
    if end is None and item.resource != "cycle" and item.look.end:
        end = start + (item.look.end - item.look.start)
    last = end or item.look.end or now
    if start >= last or last > max(now, item.look.end or now):
        raise ValueError("a record starts before it ends, and both are past")
    return start, end
