"""Start to bring a member's records here, or to bring them up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.bells import Bells
from shared.core import night, walk
from shared.core.keys import fingerprint, instant
from shared.core.model import (
    ACTIVE,
    ChunkJob,
    Connection,
    Head,
    Lane,
    Page,
    Place,
    Progress,
    ProviderName,
    ResourceName,
    RunId,
    Span,
    StartJob,
    Status,
)
from shared.core.plan import document_due, gives_way, goal
from shared.core.recover import Stop
from shared.errors import (
    LostRace,
    NotConnected,
    ScopeMissing,
    StorageDown,
)
from shared.keeping import STORAGE_PAUSE, Answer, keep
from shared.log import alarm, event
from shared.ports import (
    Clock,
    ConnectionStore,
    JobQueue,
    Mint,
    RecordStore,
)
from shared.provider import Provider, Resource, Shape

#: A run that has shown no sign of life for this long has lost its message.
STALE = timedelta(minutes=15)
#: Lost races in a row before giving way.
TRIES = 4


@dataclass(frozen=True, slots=True)
class Sync:
    """Starts runs, which ``Slices`` carries on.  Starting twice is safe."""

    providers: Mapping[ProviderName, Provider]
    connections: ConnectionStore
    records: RecordStore
    queue: JobQueue
    bells: Bells
    clock: Clock
    mint: Mint
    backfill_days: int

    def start(
        self,
        connection: Connection,
        lane: Lane,
        *,
        own: RunId | None = None,
        since: datetime | None = None,
    ) -> RunId:
        """Start a run of every resource, or join the one that is under way; return its name.

        One that is at history, while newer records wait, makes way for the new one, which goes
        on with the history afterwards.

        ``own`` names the run where the same call may come again after a crash: then what that
        run has begun and may have lost its message gets another one.  In the manual lane it
        says that the connection was just made; then whatever is under way gets one.

        ``since`` reaches further back than usual, also where a run is under way.  Raises
        ``NotConnected`` when there is nothing to fetch with.
        """
        if connection.status is not Status.CONNECTED:
            raise NotConnected("Connect again first: the access to this account has ended.")
        now = self.clock()
        active = [head for head in self._heads(connection) if head.progress in ACTIVE]
        overtakes = lane is not Lane.BACKFILL and any(
            head.run != own and gives_way(head, now) for head in active
        )
        under_way = None if overtakes else next((head.run for head in active), None)
        name = under_way or own or RunId(self.mint())
        whole = goal(now, days=self.backfill_days, since=since)
        run = _Run(name, lane, whole, now, own, overtakes)
        for resource in self.providers[connection.provider].resources:
            run = replace(run, id=self._start_resource(connection, resource, run))
        return run.id

    def begin(self, job: StartJob) -> None:
        """Start the nightly run of a connection that is due; join or revive one that has begun.

        Twice is fine: the second call finds the run under way, or what it has brought.  So
        that it also finds a run whose messages a crash has swallowed, the job names its run.
        """
        own = RunId(fingerprint(f"{job.ref} {instant(job.slot)}"))
        try:
            connection = self._due(job)
            if connection is not None:
                self.start(connection, Lane.NIGHTLY, own=own)
        except (StorageDown, LostRace):
            self.queue.defer(job, STORAGE_PAUSE)
            alarm("job.storage_down", ref=job.ref)

    def adopt(self, connection: Connection, resource: ResourceName, page: Page) -> None:
        """Keep a document that connecting has asked for already, so that no run asks again."""
        place = Place(connection.provider, connection.user, resource)
        now = self.clock()
        for _ in range(TRIES):
            stored = self.records.head(place)
            answer = Answer(page, now)
            after = walk.turn_document(stored.value, now=now)
            try:
                keep(self.records, place, stored, after, answer, connection=connection, now=now)
            except LostRace:
                continue
            self.bells.ring(connection.ref, place, self.records.head(place))
            return
        event("document.overtaken", ref=connection.ref, resource=resource)

    def _due(self, job: StartJob) -> Connection | None:
        found, listed = self.connections.by_ref(job.ref), self.connections.listed(job.ref)
        if found is None or listed is None or found.value.status is not Status.CONNECTED:
            event("start.not_connected", ref=job.ref)
            return None
        provider = self.providers.get(found.value.provider)
        if provider is None or provider.trouble is not None:
            event("start.no_provider", ref=job.ref, provider=found.value.provider)
            return None
        if listed.synced_at is not None and listed.synced_at >= job.slot:
            event("start.fresh", ref=job.ref)
            return None
        if night.fresh(listed, job.slot) and self._rests(found.value):
            event("start.fresh", ref=job.ref, reason="heard")
            return None
        return found.value

    def _rests(self, connection: Connection) -> bool:
        """Say whether no run of the connection is under way, or came to grief."""
        heads = self._heads(connection)
        done = {Progress.FINISHED, Progress.NO_SCOPE}
        return all(
            head.progress in done
            and head.window is None
            and not head.checks
            and not walk.in_doubt(head)
            for head in heads
        )

    def _heads(self, connection: Connection) -> list[Head]:
        return [
            self.records.head(Place(connection.provider, connection.user, resource.name)).value
            for resource in self.providers[connection.provider].resources
        ]

    def _start_resource(self, connection: Connection, resource: Resource, run: _Run) -> RunId:
        """Write the run into the head, then ask for the work; return the run that holds."""
        place = Place(connection.provider, connection.user, resource.name)
        job = ChunkJob(connection.ref, resource.name, run.id, run.lane)
        mine = run.own
        for _ in range(TRIES):
            stored = self.bells.ring(connection.ref, place, self.records.head(place))
            head = stored.value
            if head.progress in ACTIVE and head.run is not None and not run.replaces(head):
                farther = walk.reach(head, run.goal)
                if farther != head:
                    try:
                        self.records.put_head(place, farther, stored.etag)
                    except LostRace:
                        continue
                job = replace(job, run=head.run, lane=head.lane or run.lane)
                if head.run == mine or run.connects or self._lifeless(head, run.at):
                    # A message too many is read and dropped; a missing one would leave the run
                    # standing.
                    event("run.revived", ref=job.ref, resource=job.resource, run=job.run)
                    self.queue.defer(job, timedelta(0))
                return head.run
            over = head.run == run.id and head.progress is Progress.FINISHED
            if over and walk.reach(head, run.goal) == head:
                return run.id
            begun = _begun(head, resource, run, connection.grant.scopes)
            try:
                # Head before message: a message that nobody waits for would be read and
                # dropped.  A crash in between leaves a run without a message, which a later
                # start revives.
                self.records.put_head(place, begun, stored.etag)
            except LostRace:
                # Perhaps to ourselves, where the answer to our write was lost.
                mine = run.id
                continue
            if begun.progress in ACTIVE:
                self.queue.defer(job, timedelta(0))
            return run.id
        raise LostRace("the head of this resource changes too often")

    @staticmethod
    def _lifeless(head: Head, now: datetime) -> bool:
        signs = [sign for sign in (head.touched_at, head.retry_at) if sign is not None]
        return max(signs, default=now) + STALE <= now


@dataclass(frozen=True, slots=True)
class _Run:
    """A run as it is asked for: its name, who waits for it, what it must cover, since when."""

    id: RunId
    lane: Lane
    goal: Span
    at: datetime
    #: Set where the caller may be repeating itself.
    own: RunId | None
    #: Whether what is under way makes way for it; its messages then find a newer run.
    overtakes: bool

    def replaces(self, head: Head) -> bool:
        """Say whether the run that ``head`` is in ends where this one begins."""
        return self.overtakes and head.run != self.id

    @property
    def connects(self) -> bool:
        """Say whether a connection was just made, so that its ref may be a new one.

        A run that was under way may then have no message but one under the old ref.
        """
        return self.own is not None and self.lane is Lane.MANUAL


def _begun(head: Head, resource: Resource, run: _Run, scopes: frozenset[str]) -> Head:
    """Decide how a run of ``resource`` begins: it may be over before its first request."""
    if resource.scope not in scopes:
        named = replace(head, run=run.id, lane=run.lane)
        return _stopped(named, Stop(Progress.NO_SCOPE, ScopeMissing.code), run.at)
    if resource.shape is Shape.COLLECTION:
        return walk.begin(head, run=run.id, lane=run.lane, goal=run.goal, now=run.at)
    begun = walk.begin_document(head, run=run.id, lane=run.lane, now=run.at)
    return begun if document_due(head, run.at) else replace(begun, progress=Progress.FINISHED)


def _stopped(head: Head, stop: Stop, now: datetime) -> Head:
    return replace(head, progress=stop.progress, reason=stop.reason, retry_at=None, touched_at=now)
