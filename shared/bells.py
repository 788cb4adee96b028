"""Tell the readers of the raw layer that something has landed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.core.model import Bell, Head, Place, Ref
from shared.errors import LostRace
from shared.ports import JobQueue, RecordStore, Stored


@dataclass(frozen=True, slots=True)
class Bells:
    """Rings at least once for everything that is written; readers go by the numbers."""

    records: RecordStore
    queue: JobQueue

    def ring(self, ref: Ref, place: Place, stored: Stored[Head]) -> Stored[Head]:
        """Ring for what nobody was told of yet, if there is any; return the head as it then is."""
        head = stored.value
        if head.announced >= head.seq or head.generation is None:
            return stored
        # The bell before the note that it was rung: a crash in between rings twice.
        self.queue.ring(Bell(ref, place.resource, head.generation, head.seq))
        rung = replace(head, announced=head.seq)
        try:
            return Stored(rung, self.records.put_head(place, rung, stored.etag))
        except LostRace:
            # Whoever wrote the head rings for its own records, and once more for these.
            return self.records.head(place)
