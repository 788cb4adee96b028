"""Messages that nobody could finish: why, whose run they leave standing, and running them again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from shared.core import walk
from shared.core.codec import decode
from shared.core.model import (
    ACTIVE,
    ChunkJob,
    FinishJob,
    Head,
    Job,
    LeaveJob,
    Place,
    Progress,
    Ref,
)
from shared.errors import LostRace, StorageDown, UnknownMessage, UnreadableMessage
from shared.log import alarm, event
from shared.ports import (
    Clock,
    ConnectionStore,
    DepartureStore,
    Etag,
    JobQueue,
    Poisoned,
    PoisonStore,
    RecordStore,
)

#: What a message died of when nothing was raised: each of its workers was.
KILLED = "killed"
#: What the status says of a run that lost its message.
REASON = "poisoned"
#: A worker that is killed takes every message in its hands along; the fourth time, it was this one.
REDEFERRALS = 3
#: When to look again at a message that could not be dealt with.
PAUSE = timedelta(minutes=10)
#: Lost races in a row before giving way.
TRIES = 4


@dataclass(frozen=True, slots=True)
class Poison:
    """Notes why messages fail, and takes in those that the host has given up."""

    store: PoisonStore
    connections: ConnectionStore
    departures: DepartureStore
    records: RecordStore
    queue: JobQueue
    clock: Clock

    def attempt(self, body: bytes, tries: int, run: Callable[[Job], None]) -> None:
        """Run a message for the ``tries``-th time; note what it raises, and raise it again."""
        key = fingerprint(body)
        try:
            run(decode(body))
        except Exception as error:
            # As well as we can, here and below: what matters is that the host hears of it.
            with suppress(Exception):
                # Never the error's text: it may quote anything.
                self.store.note(key, type(error).__name__, at=self.clock())
            raise
        if tries > 1:
            # A run's messages look alike, so that the next one would be blamed for this one.
            with suppress(Exception):
                self.store.forget(key)

    def receive(self, body: bytes, queue: str) -> None:
        """Keep a message that the host took out of ``queue``; let it run again, or end its run.

        Never raises: a function that fails on a poison queue blocks its message, in the end for
        ever.
        """
        try:
            self._receive(body, queue)
        except Exception as error:  # noqa: BLE001 - see above
            self._put_back(body, queue, type(error).__name__)

    def list(self) -> Sequence[Poisoned]:
        """Return every message that was kept, newest first."""
        return sorted(self.store.everything(), key=lambda poisoned: poisoned.at, reverse=True)

    def replay(self, key: str) -> None:
        """Run a kept message again, from where its run is, and keep it no longer.

        Raises ``UnknownMessage``, and ``UnreadableMessage`` for what cannot be run at all.
        """
        poisoned, etag = self._find(key)
        try:
            job = decode(poisoned.body)
        except UnreadableMessage as error:
            raise UnreadableMessage("nobody can read this message: keep it, or drop it") from error
        # The note first: later it would be the note of the new attempt.  The head before the
        # message, which would else be read and dropped.  The row last: until it is gone, a crash
        # leaves a replay that can be repeated, and a job too many changes nothing.
        self.store.forget(key)
        if isinstance(job, ChunkJob):
            self._revive(job)
        self.queue.defer(job, timedelta(0))
        event("poison.replayed", queue=poisoned.queue, ref=job.ref)
        with suppress(LostRace):  # it has failed again by now, and this is its new row
            self.store.drop(key, etag)

    def drop(self, key: str) -> None:
        """Forget a kept message for good; may ``LostRace`` where it has just come again."""
        poisoned, etag = self._find(key)
        self.store.drop(key, etag)
        self.store.forget(key)
        event("poison.dropped", queue=poisoned.queue)

    def erase(self, ref: Ref) -> int:
        """Forget every kept message of a connection; return how many."""
        erased = 0
        for poisoned in self.store.everything():
            job, stored = _read(poisoned.body), self.store.find(poisoned.key)
            if job is None or job.ref != ref or stored is None or stored.etag is None:
                continue
            with suppress(LostRace):  # it has just come again
                self.store.drop(poisoned.key, stored.etag)
                self.store.forget(poisoned.key)
                erased += 1
        return erased

    def _receive(self, body: bytes, queue: str) -> None:
        # The row first, and in it what is about to be done.  Until we return the message stays in
        # the poison queue as well, so a crash before the effect does all of this again: that may
        # count an arrival twice and cost a re-deferral, and can neither lose the message nor
        # defer it without end.  What fails is put back, as a message of its own.
        job = _read(body)
        kept, etag = self._keep(body, queue, job)
        # After the row: whoever leaves from here on is erased with it.
        if job is not None and self._orphaned(job):
            self.store.drop(kept.key, etag)
            self.store.forget(kept.key)
            event("poison.orphaned", queue=queue, error=kept.error, ref=job.ref)
            return
        alarm(
            "poison.received",
            queue=queue,
            error=kept.error,
            redeferred=kept.redeferred,
            ref=job.ref if job else "",
        )
        if job is not None and not kept.stuck:
            self.queue.defer(job, timedelta(0))
        elif isinstance(job, ChunkJob):
            self._mark(job)

    def _keep(self, body: bytes, queue: str, job: Job | None) -> tuple[Poisoned, Etag]:
        key, now = fingerprint(body), self.clock()
        noted = self.store.noted(key)
        for _ in range(TRIES):
            stored = self.store.find(key)
            before = stored.value if stored else Poisoned(key, body, queue, KILLED, now)
            error = noted or before.error
            again = job is not None and error == KILLED and before.redeferred < REDEFERRALS
            after = replace(
                before,
                queue=queue,
                error=error,
                at=now,
                count=before.count + 1,
                redeferred=before.redeferred + again,
                stuck=not again,
            )
            try:
                etag = self.store.save(after, stored.etag if stored else None)
            except LostRace:
                continue  # a copy of it: the host makes two where it dies between copy and delete
            return after, etag
        raise LostRace("this message arrives too often")

    def _orphaned(self, job: Job) -> bool:
        """Say whether a message's ref leads nowhere: it can do nothing, nor be erased later."""
        try:
            if isinstance(job, LeaveJob):
                return self.departures.find(job.ref) is None
            if self.connections.by_ref(job.ref) is not None:
                return False
            waits = isinstance(job, FinishJob) and self.connections.pending(job.ref, job.grant)
        except StorageDown:
            raise
        except Exception as error:  # noqa: BLE001 - it is kept, and would only fail again
            alarm("poison.unmatched", error=type(error).__name__)
            return False
        return not waits

    def _put_back(self, body: bytes, queue: str, error: str) -> None:
        try:
            self.queue.put_back(body, queue, PAUSE)
        except Exception as worse:  # noqa: BLE001 - whatever it is, we must not raise
            # No queue takes a message now, so the host cannot delete this one either: it comes
            # back when its lease ends.
            alarm("poison.unkept", queue=queue, error=type(worse).__name__)
        else:
            alarm("poison.put_back", queue=queue, error=error)

    def _mark(self, job: ChunkJob) -> None:
        """End the run that has lost its message, so that a later one can begin."""
        try:
            self._change(
                job,
                lambda head: (
                    replace(head, progress=Progress.FAILED, reason=REASON, retry_at=None)
                    if head.progress in ACTIVE
                    else head
                ),
            )
        except LostRace:
            # Whoever wrote the head carries the run on.
            event("poison.overtaken", ref=job.ref, resource=job.resource, run=job.run)
        except StorageDown:
            raise
        except Exception as error:  # noqa: BLE001 - it is kept, and would only fail again
            alarm("poison.unmarked", ref=job.ref, error=type(error).__name__)

    def _revive(self, job: ChunkJob) -> None:
        """Let the run go on that ``_mark`` has ended."""
        self._change(
            job,
            lambda head: (
                replace(head, progress=Progress.RUNNING, reason=None)
                if (head.progress, head.reason) == (Progress.FAILED, REASON)
                else head
            ),
        )

    def _change(self, job: ChunkJob, change: Callable[[Head], Head]) -> None:
        """Change the head of ``job``'s resource, if it still has ``job``'s run."""
        found = self.connections.by_ref(job.ref)
        if found is None:
            return
        place = Place(found.value.provider, found.value.user, job.resource)
        stored = self.records.head(place)
        for _ in range(TRIES):
            before, after = stored.value, change(stored.value)
            if before.run != job.run or after == before:
                return
            # Nobody's write but this one's: a worker that still runs must not take it for its own.
            mine = replace(after, touched_at=self.clock(), writer=None)
            try:
                self.records.put_head(place, mine, stored.etag)
            except LostRace:
                stored = self.records.head(place)
                if not walk.same_place(stored.value, before):
                    raise
                continue  # only a record was written beside the run
            return
        raise LostRace("the head of this resource changes too often")

    def _find(self, key: str) -> tuple[Poisoned, Etag]:
        stored = self.store.find(key)
        if stored is None or stored.etag is None:
            raise UnknownMessage("No message is kept under this name.")
        return stored.value, stored.etag


def fingerprint(body: bytes) -> str:
    """Return the name under which a message is kept."""
    return hashlib.sha256(body).hexdigest()


def _read(body: bytes) -> Job | None:
    try:
        return decode(body)
    except UnreadableMessage:
        return None
