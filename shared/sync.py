"""Bring a member's records here, resource by resource, and keep them current."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.bells import Bells
from shared.core import night, walk
from shared.core.keys import fingerprint, instant
from shared.core.model import (
    ACTIVE,
    ChunkJob,
    Connection,
    Deletion,
    Head,
    Lane,
    Page,
    Place,
    Progress,
    ProviderName,
    ResourceName,
    RunId,
    Secret,
    Span,
    StartJob,
    Status,
)
from shared.core.plan import document_due, goal, lane_after
from shared.core.recent import ABSENT
from shared.core.recover import Retry, Rewalk, Stop, recover
from shared.core.settle import settle
from shared.errors import (
    Busy,
    GrantDead,
    LostRace,
    NotConnected,
    NotThere,
    ProviderError,
    Rejected,
    ScopeMissing,
    StorageDown,
    Unavailable,
    Unsealable,
)
from shared.log import alarm, event
from shared.ownership import confirm
from shared.ports import (
    Clock,
    ConnectionStore,
    Dice,
    Etag,
    JobQueue,
    Mint,
    RecordStore,
    Stored,
)
from shared.provider import Provider, Resource, Shape
from shared.renewal import Tokens
from shared.spending import Spending

#: A job gives way after this long.  Well below the functions' time limit and the ten minutes
#: after which the queue hands a killed worker's message to another one.
SLICE = timedelta(seconds=60)
#: A run that has shown no sign of life for this long has lost its message.
STALE = timedelta(minutes=15)
#: A storage partition that moves to another server is back within seconds.
STORAGE_PAUSE = timedelta(seconds=10)
#: Queues count in seconds, and never wake anybody before their time by more.
EARLY = timedelta(seconds=1)
#: Lost races in a row before giving way.
TRIES = 4
#: The same against those who write a record beside a run: it waits for none of them.
RIVALS = 20


@dataclass(frozen=True, slots=True)
class Sync:
    """Starts runs and carries them on.  Running the same job twice is safe."""

    providers: Mapping[ProviderName, Provider]
    connections: ConnectionStore
    records: RecordStore
    queue: JobQueue
    bells: Bells
    tokens: Tokens
    spending: Spending
    clock: Clock
    dice: Dice
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

        ``own`` names the run where the same call may come again after a crash: then what that
        run has begun and may have lost its message gets another one.  ``since`` reaches further
        back than usual, also where a run is under way.  Raises ``NotConnected`` when there is
        nothing to fetch with.
        """
        if connection.status is not Status.CONNECTED:
            raise NotConnected("Connect again first: the access to this account has ended.")
        now = self.clock()
        name = self._under_way(connection) or own or RunId(self.mint())
        whole = goal(now, days=self.backfill_days, since=since)
        run = _Run(name, lane, whole, now, own)
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

    def run(self, job: ChunkJob) -> None:
        """Read page after page for a while, then defer whatever comes next.

        What the provider, a key or our storage cannot give now is deferred or noted, never
        raised: a raised error is a bug, or nothing at all can be stored.
        """
        try:
            self._run(job)
        except StorageDown:
            # Five of these in a row would otherwise end as poison, and poison is for bugs.
            self.queue.defer(job, STORAGE_PAUSE)
            alarm("job.storage_down", ref=job.ref, resource=job.resource, run=job.run)

    def _run(self, job: ChunkJob) -> None:
        found = self.connections.by_ref(job.ref)
        if found is None:
            event("job.orphaned", ref=job.ref, resource=job.resource, run=job.run)
            return
        connection = found.value
        place = Place(connection.provider, connection.user, job.resource)
        stored = self.records.head(place)
        if stored.value.run != job.run or stored.value.progress not in ACTIVE:
            # Perhaps it died between its last page and the bell.
            self.bells.ring(job.ref, place, stored)
            event("job.late", ref=job.ref, resource=job.resource, run=job.run)
            return
        now, until = self.clock(), stored.value.retry_at
        if until is not None and now + EARLY < until:
            # A message that was delivered twice must not cut short what the provider asked for.
            self.queue.defer(job, until - now)
            return
        turn = _Slice(self, job, connection, place, stored)
        try:
            try:
                if connection.status is not Status.CONNECTED:
                    raise GrantDead("parked since this job was deferred")
                turn.work()
            except (ProviderError, Busy, Unsealable) as error:
                turn.mend(error)
        except LostRace:
            # A newer run, or another worker on this job: whoever wrote the head carries on.
            event("job.overtaken", ref=job.ref, resource=job.resource, run=job.run)
        self.bells.ring(job.ref, place, Stored(turn.head, turn.etag))

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
        heads = [
            self.records.head(Place(connection.provider, connection.user, resource.name)).value
            for resource in self.providers[connection.provider].resources
        ]
        return all(head.progress in {Progress.FINISHED, Progress.NO_SCOPE} for head in heads)

    def _under_way(self, connection: Connection) -> RunId | None:
        heads = [
            self.records.head(Place(connection.provider, connection.user, resource.name)).value
            for resource in self.providers[connection.provider].resources
        ]
        return next((head.run for head in heads if head.progress in ACTIVE), None)

    def _start_resource(self, connection: Connection, resource: Resource, run: _Run) -> RunId:
        """Write the run into the head, then ask for the work; return the run that holds."""
        place = Place(connection.provider, connection.user, resource.name)
        job = ChunkJob(connection.ref, resource.name, run.id, run.lane)
        mine = run.own
        for _ in range(TRIES):
            stored = self.bells.ring(connection.ref, place, self.records.head(place))
            head = stored.value
            if head.progress in ACTIVE and head.run is not None:
                farther = walk.reach(head, run.goal)
                if farther != head:
                    try:
                        self.records.put_head(place, farther, stored.etag)
                    except LostRace:
                        continue
                job = replace(job, run=head.run, lane=head.lane or run.lane)
                if head.run == mine or self._lifeless(head, run.at):
                    # A message too many is read and dropped; a missing one would leave the run
                    # standing.
                    event("run.revived", ref=job.ref, resource=job.resource, run=job.run)
                    self.queue.defer(job, timedelta(0))
                return head.run
            if head.run == run.id and head.progress is Progress.FINISHED:
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


class _Slice:
    """One job's turn: the head that it holds, and how far it got with it."""

    def __init__(
        self,
        sync: Sync,
        job: ChunkJob,
        connection: Connection,
        place: Place,
        stored: Stored[Head],
    ) -> None:
        self.sync = sync
        self.job = job
        self.connection = connection
        self.place = place
        self.head = stored.value
        self.etag = stored.etag
        self.provider = sync.providers[connection.provider]
        self.began = sync.clock()
        self.writer = sync.mint()
        self.requests = self.kept = self.new = self.unchanged = self.misfits = 0

    def work(self) -> None:
        """Read until the run is over or the slice is; then defer the rest."""
        resource = next(r for r in self.provider.resources if r.name == self.job.resource)
        if resource.shape is Shape.DOCUMENT:
            self._read_document()
        else:
            while self.head.progress in ACTIVE:
                self._read_page() if self.head.window is not None else self._check()
                lane = lane_after(self.job.lane, self.requests)
                if self.sync.clock() - self.began >= SLICE or lane is not self.job.lane:
                    break
        if self.head.progress in ACTIVE:
            rest = replace(self.job, lane=lane_after(self.job.lane, self.requests))
            self.sync.queue.defer(self._alive(rest), timedelta(0))
        elif self.head.held is not None:
            self._touch(self.head.held)
        self._tell("run.finished" if self.head.progress is Progress.FINISHED else "job.done")

    def mend(self, error: ProviderError | Busy | Unsealable) -> None:
        """Carry out what ``recover`` decides."""
        now = self.sync.clock()
        decision = recover(self._alive(self.job), error, now=now, roll=self.sync.dice())
        if isinstance(decision, Rewalk):
            try:
                self._put(walk.rewalk)
            except Unavailable as stuck:
                self.mend(stuck)
                return
            self.sync.queue.defer(self._alive(self.job), timedelta(0))
            self._tell("walk.restarted")
            return
        if isinstance(decision, Stop):
            self._put(lambda head: _stopped(head, decision, now))
            self._tell("run.stopped")
            return
        # Message before note: without the message the run would stand still, and without the
        # note only the status lacks its reason.  Hence the note must not fail the job either:
        # it would be deferred a second time.
        self.sync.queue.defer(decision.job, decision.at - now)
        with suppress(StorageDown):
            self._put(lambda head: _waiting(head, decision, now))
        self._tell("job.deferred")

    def _read_page(self) -> None:
        answer = self._ask(
            lambda access: self.provider.fetch(
                access, self.place.resource, walk.question(self.head)
            )
        )
        self._identify(answer.page)
        now = self.sync.clock()
        absent = walk.doubtful(self.head, answer.page, now=now)
        if absent > ABSENT:
            alarm("records.absent", ref=self.job.ref, resource=self.place.resource,
                  run=self.job.run, skipped=absent)  # fmt: skip
        self._keep(lambda head: walk.turn(head, answer.page, now=now), answer)

    def _read_document(self) -> None:
        try:
            answer = self._ask(
                lambda access: self.provider.fetch(access, self.place.resource, None)
            )
        except NotThere:
            # The member has no such document yet.
            answer = Answer(Page(()), self.sync.clock())
        self._identify(answer.page)
        now = self.sync.clock()
        self._keep(lambda head: walk.turn_document(head, now=now), answer)

    def _check(self) -> None:
        """Ask for one record that was not listed where it should be, or that is not settled."""
        record = self.head.checks[0]
        asked = self.sync.clock()
        try:
            answer = self._ask(
                lambda access: self.provider.fetch_one(access, self.place.resource, record)
            )
        except NotThere:
            answer = Answer(Page(()), asked, (Deletion(record, asked, "not_found"),))
        except Rejected:
            # It would be the same every night.
            alarm("record.rejected", ref=self.job.ref, resource=self.place.resource)
            answer = Answer(Page(()), asked)
        now = self.sync.clock()
        self._keep(lambda head: walk.turn_check(head, record, answer.page, now=now), answer)

    def _ask(self, fetch: Callable[[Secret], Page]) -> Answer:
        asked = self.sync.clock()

        def ask(access: Secret) -> Page:
            nonlocal asked
            asked = self.sync.clock()
            self.requests += 1
            return fetch(access)

        # A token first, then the reservation: a renewal takes its own.
        page = self.sync.tokens.use(
            self.job.ref,
            lambda access: self.sync.spending.send(
                self.provider, self.job.lane, lambda: ask(access)
            ),
        )
        return Answer(page, asked)

    def _keep(self, change: Callable[[Head], Head], answer: Answer) -> None:
        """Write what an answer brought, and the progress that it makes.

        Somebody may have written a record of this resource meanwhile, because the provider told
        of it.  As long as the walk itself is where it was, the answer counts on top of that.
        """
        place = self.head
        for _ in range(RIVALS):
            try:
                self.head, self.etag, outcome = keep(
                    self.sync.records,
                    self.place,
                    Stored(self.head, self.etag),
                    replace(change(self.head), writer=self.writer),
                    answer,
                    connection=self.connection,
                    now=self.sync.clock(),
                )
            except LostRace:
                if self._recognise(place):
                    return
                continue
            self.kept += 1
            self.new += outcome.new
            self.unchanged += outcome.unchanged
            self.misfits += outcome.misfits
            return
        raise StorageDown("the head of this resource changes too often")

    def _identify(self, page: Page) -> None:
        accounts = [record.account for record in page.records if record.account is not None]
        self.connection = confirm(self.sync.connections, self.connection, accounts, self.sync.clock)

    def _touch(self, held: Span) -> None:
        """Note in the list of everyone how far this resource is held.

        After the head, which is the truth: without the note the nightly timer only believes
        that this member has waited for longer.
        """
        try:
            self.sync.connections.touch(self.job.ref, self.place.resource, held.end)
        except StorageDown:
            event("run.not_noted", ref=self.job.ref, resource=self.place.resource)

    def _alive(self, job: ChunkJob) -> ChunkJob:
        """Forget the failures before this slice if it got any further."""
        return replace(job, attempt=0, waits=0) if self.kept else job

    def _put(self, change: Callable[[Head], Head]) -> None:
        place = self.head
        for _ in range(RIVALS):
            mine = replace(change(self.head), writer=self.writer)
            try:
                self.etag = self.sync.records.put_head(self.place, mine, self.etag)
            except LostRace:
                if self._recognise(place):
                    return
                continue
            self.head = mine
            return
        raise StorageDown("the head of this resource changes too often")

    def _recognise(self, place: Head) -> bool:
        """Take the head that stood in our way; say whether it was our own write.

        When the answer to a write is lost, the storage client writes again and is refused by
        its own first try.  Taking that for another worker would leave the run to nobody.  Where
        the walk is still at ``place`` and no other worker has signed, only a record was written
        beside it.  Raises ``LostRace`` where somebody else carries the run on.
        """
        stored = self.sync.records.head(self.place)
        if stored.value.writer not in {place.writer, self.writer}:
            raise LostRace("another worker wrote this head")
        beside = walk.same_place(stored.value, place)
        if not beside and stored.value.writer != self.writer:
            raise LostRace("this run was stopped, or another one begun")
        self.head, self.etag = stored.value, stored.etag
        return not beside

    def _tell(self, name: str) -> None:
        event(
            name,
            provider=self.place.provider,
            ref=self.job.ref,
            resource=self.place.resource,
            run=self.job.run,
            lane=self.job.lane,
            requests=self.requests,
            new=self.new,
            unchanged=self.unchanged,
            misfits=self.misfits,
            reason=self.head.reason or "",
            seconds=round((self.sync.clock() - self.began).total_seconds(), 3),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a page."""

    new: int
    unchanged: int
    misfits: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider answered, when it was asked, and what that says is gone."""

    page: Page
    asked: datetime
    gone: tuple[Deletion, ...] = ()
    #: Who asked, where it was not the run.
    beside: Lane | None = None


def keep(
    records: RecordStore,
    place: Place,
    stored: Stored[Head],
    after: Head,
    answer: Answer,
    *,
    connection: Connection,
    now: datetime,
) -> tuple[Head, Etag | None, Outcome]:
    """Write ``answer`` and the progress that it makes; return the head as it then is.

    Writes nothing where that changes nothing.  May raise ``LostRace``: then nothing that the head
    counts has changed.
    """
    # Where nothing was ever written there is nothing to compare with.
    names = [record.id for record in answer.page.records]
    names += [deletion.id for deletion in answer.gone]
    known = records.known(place, names) if names and stored.value.seq else {}
    generation = stored.value.generation or fingerprint(connection.ref)[:16]
    settled = settle(
        replace(stored.value, generation=generation),
        replace(after, generation=generation),
        answer.page,
        known,
        account=connection.account,
        now=now,
        asked=answer.asked,
        gone=answer.gone,
        beside=answer.beside,
    )
    # Misfits first: they are kept under their own digest, so that a crash before the
    # transaction keeps them once more under the same name.
    if settled.misfits:
        alarm("records.misfit", ref=connection.ref, resource=place.resource,
              reason=settled.misfits[0].reason, misfits=len(settled.misfits))  # fmt: skip
        records.quarantine(place, settled.misfits, now=now)
    head, etag = stored.value, stored.etag
    for transaction in settled.transactions:
        if not transaction.versions and transaction.head == stored.value:
            continue
        etag = records.commit(place, transaction, etag)
        head = transaction.head
    new = sum(len(transaction.versions) for transaction in settled.transactions)
    return head, etag, Outcome(new, settled.unchanged, len(settled.misfits))


def _begun(head: Head, resource: Resource, run: _Run, scopes: frozenset[str]) -> Head:
    """Decide how a run of ``resource`` begins: it may be over before its first request."""
    if resource.scope not in scopes:
        named = replace(head, run=run.id, lane=run.lane)
        return _stopped(named, Stop(Progress.NO_SCOPE, ScopeMissing.code), run.at)
    if resource.shape is Shape.COLLECTION:
        return walk.begin(head, run=run.id, lane=run.lane, goal=run.goal, now=run.at)
    begun = walk.begin_document(head, run=run.id, lane=run.lane, now=run.at)
    return begun if document_due(head, run.at) else replace(begun, progress=Progress.FINISHED)


def _waiting(head: Head, retry: Retry, now: datetime) -> Head:
    return replace(
        head,
        progress=Progress.WAITING,
        reason=retry.reason,
        retry_at=retry.at,
        touched_at=now,
    )


def _stopped(head: Head, stop: Stop, now: datetime) -> Head:
    return replace(head, progress=stop.progress, reason=stop.reason, retry_at=None, touched_at=now)
