"""Give every connection its turn in the night.  Asks no provider: the queue's jobs do that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from shared.core import night
from shared.core.model import Listed, ProviderName, StartJob
from shared.errors import LostRace
from shared.log import event
from shared.ports import ConnectionStore, JobQueue, Slot, SlotStore, Stored
from shared.provider import Provider

#: Jobs between two marks of how far a slot has got: a crash repeats at most so many.  Repeating
#: one is harmless: it finds the run under way, or its member fresh.
MARK = 100


@dataclass(frozen=True, slots=True)
class Nightly:
    """Defers a job for each connection, stalest first, spread over the night.

    For any number of connections: of each it remembers its ref and when it was synced.
    """

    providers: Mapping[ProviderName, Provider]
    slots: SlotStore
    connections: ConnectionStore
    queue: JobQueue

    def run(self, now: datetime) -> None:
        """Serve the slot that ``now`` is in, unless that was done.

        An older slot that was left unfinished is closed: this one serves everybody anyway.
        """
        at = night.slot(now)
        mine = self.slots.find(at) or Stored(Slot(at), None)
        if mine.value.done:
            event("nightly.repeated", slot=at.isoformat())
            return
        for older in self.slots.unfinished():
            if older.value.at < at:
                self._close(older)
        self._serve(mine)

    def resume(self) -> None:
        """Carry on with what a firing that came to grief has left unfinished."""
        for stored in self.slots.unfinished():
            self._serve(stored)

    def _serve(self, stored: Stored[Slot]) -> None:
        try:
            # Written before anything is done: whoever else is at this slot stops at its next
            # mark, and of two that fire together one stops here.
            mine = self._save(stored, stored.value)
            self._work(mine)
        except LostRace:
            event("nightly.overtaken", slot=stored.value.at.isoformat())

    def _work(self, mine: Stored[Slot]) -> None:
        slot = mine.value
        due = night.order(filter(self._usable, self.connections.everyone()), slot.at)
        sent = 0
        for place, one in enumerate(due):
            turn = night.turn(one)
            if turn <= slot.cursor:
                continue
            self.queue.defer(StartJob(one.ref, slot.at), night.delay(place, of=len(due)))
            sent += 1
            if sent % MARK == 0:
                mine = self._save(mine, replace(slot, cursor=turn))
        self._save(mine, replace(mine.value, done=True))
        event("nightly.done", slot=slot.at.isoformat(), connections=sent)

    def _usable(self, one: Listed) -> bool:
        provider = self.providers.get(one.provider)
        return provider is not None and provider.trouble is None

    def _save(self, stored: Stored[Slot], slot: Slot) -> Stored[Slot]:
        return Stored(slot, self.slots.save(slot, stored.etag))

    def _close(self, older: Stored[Slot]) -> None:
        try:
            self._save(older, replace(older.value, done=True))
        except LostRace:
            event("nightly.overtaken", slot=older.value.at.isoformat())
