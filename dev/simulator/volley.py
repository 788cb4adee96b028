"""Choose the events of a load: real records of real members, one after the other by chance."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from dev.simulator.changes import Changes, UnknownRecord
from dev.simulator.faults import Unusable
from dev.simulator.members import Document, Resource
from dev.simulator.mishaps import uuid_from
from dev.simulator.world import World


class Volley:
    """Events about whatever the chosen members have at the beginning."""

    def __init__(
        self, world: World, changes: Changes, user_ids: Iterable[int], number: int
    ) -> None:
        """Choose from what is shown now; ``Unusable`` if that is nothing."""
        self._changes = changes
        self._world = world
        self._number = number
        now = world.now()
        kinds: tuple[Resource, ...] = ("recovery", "sleep", "workout")
        #: Member, resource, id, the id that WHOOP's webhooks give, and whether it is scored.
        self._items = [
            (
                user_id,
                resource,
                record.id,
                str(look.document["sleep_id"] if resource == "recovery" else record.id),
                look.document["score_state"] == "SCORED",
            )
            for user_id in sorted(user_ids)
            for resource in kinds
            for record in world.member(user_id).records[resource]
            if (look := record.shown(now))
        ]
        if not self._items:
            raise Unusable("nobody who is connected has any record")

    def event(self, edits: float) -> Callable[[int], Document]:
        """Give the function that makes the nth event; ``edits`` is how many are true."""

        def nth(number: int) -> Document:
            # Dice of its own for each: which thread comes first must not matter.
            rng = self._world.dice(f"blast:{self._number}:{number}")
            user_id, resource, record_id, identity, is_scored = rng.choice(self._items)
            if rng.random() < edits and is_scored:
                # It may have gone since; the event is sent all the same, as WHOOP's would be.
                with suppress(UnknownRecord, ValueError):
                    self._changes.rescore(user_id, resource, record_id, announce=False)
            return {
                "user_id": user_id,
                "id": identity,
                "type": f"{resource}.updated",
                "trace_id": uuid_from(rng),
            }

        return nth
