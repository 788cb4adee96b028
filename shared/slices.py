"""Carry runs on, one slice of time after the other: read a page, write it, and so on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.bells import Bells
from shared.core import walk
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
    RecordId,
    Secret,
    Status,
)
from shared.core.plan import lane_after
from shared.core.recent import ABSENT
from shared.core.recover import Retry, Rewalk, Stop, recover
from shared.errors import (
    Busy,
    GrantDead,
    LostRace,
    NotThere,
    ProviderError,
    Rejected,
    StorageDown,
    Unavailable,
    Unsealable,
)
from shared.keeping import RIVALS, STORAGE_PAUSE, Answer, keep
from shared.log import alarm, event
from shared.ownership import confirm
from shared.ports import Clock, ConnectionStore, Dice, JobQueue, Mint, RecordStore, Stored
from shared.provider import Provider, Shape
from shared.renewal import Tokens
from shared.spending import Spending

#: A job gives way after this long.  Well below the functions' time limit and the ten minutes
#: after which the queue hands a killed worker's message to another one.
SLICE = timedelta(seconds=60)
#: Queues count in seconds, and never wake anybody before their time by more.
EARLY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Slices:
    """Runs the jobs of runs that were started.  Running the same job twice is safe."""

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
            turn.touch()
        except LostRace:
            # A newer run, or another worker on this job: whoever wrote the head carries on.
            event("job.overtaken", ref=job.ref, resource=job.resource, run=job.run)
        self.bells.ring(job.ref, place, Stored(turn.head, turn.etag))


class _Slice:
    """One job's turn: the head that it holds, and how far it got with it."""

    def __init__(
        self,
        slices: Slices,
        job: ChunkJob,
        connection: Connection,
        place: Place,
        stored: Stored[Head],
    ) -> None:
        self.slices = slices
        self.job = job
        self.connection = connection
        self.place = place
        self.head = stored.value
        self.etag = stored.etag
        self.provider = slices.providers[connection.provider]
        self.began = slices.clock()
        self.writer = slices.mint()
        self.held_until = self.head.held.end if self.head.held else None
        self.requests = self.kept = self.new = self.unchanged = self.misfits = 0

    def work(self) -> None:
        """Read until the run is over or the slice is; then defer the rest."""
        resource = next(r for r in self.provider.resources if r.name == self.job.resource)
        if resource.shape is Shape.DOCUMENT:
            self._read_document()
        else:
            while self.head.progress in ACTIVE:
                self._check() if walk.at_checks(self.head) else self._read_page()
                if self.slices.clock() - self.began >= SLICE or self._lane() != self.job.lane:
                    break
        if self.head.progress in ACTIVE:
            rest = replace(self.job, lane=self._lane())
            self.slices.queue.defer(self._alive(rest), timedelta(0))
        self._tell("run.finished" if self.head.progress is Progress.FINISHED else "job.done")

    def mend(self, error: ProviderError | Busy | Unsealable) -> None:
        """Carry out what ``recover`` decides."""
        now = self.slices.clock()
        decision = recover(self._alive(self.job), error, now=now, roll=self.slices.dice())
        if isinstance(decision, Rewalk):
            try:
                self._put(walk.rewalk)
            except Unavailable as stuck:
                self.mend(stuck)
                return
            self.slices.queue.defer(self._alive(self.job), timedelta(0))
            self._tell("walk.restarted")
            return
        if isinstance(decision, Stop):
            if isinstance(error, Unavailable) and walk.at_checks(self.head):
                if self.head.window is not None:
                    self._postpone()
                    return
                self._give_up(self.head.checks[0], error)
            self._put(lambda head: _stopped(head, decision, now))
            self._tell("run.stopped")
            return
        # Message before note: without the message the run would stand still, and without the
        # note only the status lacks its reason.  Hence the note must not fail the job either:
        # it would be deferred a second time.
        self.slices.queue.defer(decision.job, decision.at - now)
        with suppress(StorageDown):
            self._put(lambda head: _waiting(head, decision, now))
        self._tell("job.deferred")

    def touch(self) -> None:
        """Note in the list of everyone how far this resource is held, where that is news.

        After the head, which is the truth: without the note the nightly timer only believes
        that this member has waited for longer.
        """
        held, over = self.head.held, self.head.progress is Progress.FINISHED
        if held is None or not (over or held.end != self.held_until):
            return
        try:
            self.slices.connections.touch(self.job.ref, self.place.resource, held.end)
        except StorageDown:
            event("run.not_noted", ref=self.job.ref, resource=self.place.resource)

    def _postpone(self) -> None:
        """Read history first: records that cannot be asked for must not stand in its way."""
        self._put(walk.postpone)
        rest = replace(self.job, attempt=0, lane=self._lane())
        self.slices.queue.defer(rest, timedelta(0))
        self._tell("checks.postponed")

    def _give_up(self, record: RecordId, error: Unavailable) -> None:
        """Ask for ``record`` no more: it must not stand in the way of all others every night."""
        alarm("record.given_up", ref=self.job.ref, resource=self.place.resource, reason=error.code)
        now = self.slices.clock()
        self._put(lambda head: walk.turn_check(head, record, Page(()), now=now))

    def _read_page(self) -> None:
        answer = self._ask(
            lambda access: self.provider.fetch(
                access, self.place.resource, walk.question(self.head)
            )
        )
        self._identify(answer.page)
        now = self.slices.clock()
        absent = walk.doubtful(self.head, answer.page, now=now)
        if absent > ABSENT:
            alarm("records.absent", ref=self.job.ref, resource=self.place.resource,
                  run=self.job.run, skipped=absent)  # fmt: skip
        self._keep(lambda head: walk.turn(head, answer.page, now=now), answer)

    def _read_document(self) -> None:
        # Where there is none, the member has no such document yet.
        answer = self._ask(lambda access: self.provider.fetch(access, self.place.resource, None))
        self._identify(answer.page)
        now = self.slices.clock()
        self._keep(lambda head: walk.turn_document(head, now=now), answer)

    def _check(self) -> None:
        """Ask for one record that was not listed where it should be, or that is not settled."""
        record = self.head.checks[0]
        try:
            answer = self._ask(
                lambda access: self.provider.fetch_one(access, self.place.resource, record), record
            )
        except Rejected:
            # It would be the same every night.
            alarm("record.given_up", ref=self.job.ref, resource=self.place.resource,
                  reason=Rejected.code)  # fmt: skip
            answer = Answer(Page(()), self.slices.clock())
        self._identify(answer.page, listed=False)
        now, gone = self.slices.clock(), bool(answer.gone)
        self._keep(
            lambda head: walk.turn_check(head, record, answer.page, now=now, gone=gone), answer
        )

    def _ask(self, fetch: Callable[[Secret], Page], record: RecordId | None = None) -> Answer:
        """Ask, and note when; where there is no ``record`` of this id, that is the answer."""
        asked = self.slices.clock()

        def ask(access: Secret) -> Page:
            nonlocal asked
            asked = self.slices.clock()
            self.requests += 1
            return fetch(access)

        try:
            # A token first, then the reservation: a renewal takes its own.
            page = self.slices.tokens.use(
                self.job.ref,
                lambda access: self.slices.spending.send(
                    self.provider, self.job.lane, lambda: ask(access)
                ),
                # The lane of renewals is kept free for members who wait.
                self.job.lane if self.job.lane.bulk else Lane.AUTH,
            )
        except NotThere:
            if record is None and self.head.window is not None:
                raise  # nobody's list is missing: the question was wrong
            gone = () if record is None else (Deletion(record, asked, "not_found"),)
            return Answer(Page(()), asked, gone)
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
                    self.slices.records,
                    self.place,
                    Stored(self.head, self.etag),
                    replace(change(self.head), writer=self.writer),
                    answer,
                    connection=self.connection,
                    now=self.slices.clock(),
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

    def _identify(self, page: Page, *, listed: bool = True) -> None:
        accounts = [record.account for record in page.records if record.account is not None]
        self.connection = confirm(
            self.slices.connections, self.connection, accounts, self.slices.clock, listed=listed
        )

    def _lane(self) -> Lane:
        """Return the lane of what comes next."""
        if walk.at_checks(self.head):
            return self.job.lane
        return lane_after(self.job.lane, self.head, self.requests)

    def _alive(self, job: ChunkJob) -> ChunkJob:
        """Forget the failures before this slice if it got any further."""
        return replace(job, attempt=0, waits=0) if self.kept else job

    def _put(self, change: Callable[[Head], Head]) -> None:
        place = self.head
        for _ in range(RIVALS):
            mine = replace(change(self.head), writer=self.writer)
            try:
                self.etag = self.slices.records.put_head(self.place, mine, self.etag)
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
        stored = self.slices.records.head(self.place)
        if stored.value.run != place.run:
            raise LostRace("another run has begun")
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
            seconds=round((self.slices.clock() - self.began).total_seconds(), 3),
        )


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
