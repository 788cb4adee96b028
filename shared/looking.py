"""Look at what a provider has told us of: ask for the record, and keep what the answer says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from shared.bells import Bells
from shared.core import looks, walk
from shared.core.looks import SECOND_LOOK, Verdict
from shared.core.model import (
    Connection,
    Deletion,
    Head,
    Lane,
    Look,
    LookJob,
    Page,
    Place,
    ProviderName,
    ResourceName,
    Secret,
    Status,
)
from shared.core.recover import Retry, recover
from shared.errors import Busy, LostRace, NotThere, ProviderError, StorageDown, Unsealable
from shared.keeping import RIVALS, STORAGE_PAUSE, Answer, Outcome, keep
from shared.log import alarm, event
from shared.ownership import confirm
from shared.ports import Clock, ConnectionStore, Dice, EventStore, JobQueue, RecordStore, Stored
from shared.provider import Provider, Resource, Shape
from shared.renewal import Tokens
from shared.spending import Spending


@dataclass(frozen=True, slots=True)
class Looking:
    """Carries out what webhooks have asked for.  Looking twice is safe.

    A look takes in one record beside whatever run is under way: it neither helps nor hinders
    that one, and never changes what counts as held without a hole.
    """

    providers: Mapping[ProviderName, Provider]
    connections: ConnectionStore
    records: RecordStore
    events: EventStore
    queue: JobQueue
    bells: Bells
    tokens: Tokens
    spending: Spending
    clock: Clock
    dice: Dice

    def look(self, job: LookJob) -> None:
        """Ask for a record, unless somebody has since it changed.

        What the provider, a key or our storage cannot give now is deferred; what it refuses is
        left to the next night.  Raises nothing but bugs.
        """
        try:
            self._look(job)
        except StorageDown:
            self.queue.defer(job, STORAGE_PAUSE)
            alarm("job.storage_down", ref=job.ref, resource=job.resource)

    def _look(self, job: LookJob) -> None:
        found = self.connections.by_ref(job.ref)
        provider = None if found is None else self.providers.get(found.value.provider)
        if found is None or found.value.status is not Status.CONNECTED:
            event("look.not_connected", ref=job.ref, resource=job.resource)
        elif provider is None or provider.trouble is not None:
            event("look.no_provider", ref=job.ref, provider=found.value.provider)
        elif self.events.seen(job.ref, job.key):
            event("look.repeated", ref=job.ref, resource=job.resource)
        else:
            turn = _Turn(self, job, found.value, provider)
            try:
                turn.work()
            except (ProviderError, Busy, Unsealable) as error:
                turn.mend(error)


class _Forgotten(Exception):
    """Nothing is kept of this resource, perhaps no longer: then a look must not begin it anew."""


class _Turn:
    """One job's turn."""

    def __init__(
        self, looking: Looking, job: LookJob, connection: Connection, provider: Provider
    ) -> None:
        self.looking = looking
        self.job = job
        self.connection = connection
        self.provider = provider
        self.resources = {resource.name: resource for resource in provider.resources}
        self.began = looking.clock()

    def work(self) -> None:
        """Look, and defer what follows from it."""
        # The note that all is done comes last: a crash before it does all of this again, under
        # the same keys.
        job = self._resolved()
        if job.resource not in self.resources or not self._granted(self.resources[job.resource]):
            event("look.not_granted", ref=job.ref, resource=job.resource)
            return
        try:
            self._head(job.resource)
            if job.alias:
                self._unknown(job)
            elif (look := self._claim(job)) is not None:
                self._ask_and_keep(job, look)
            else:
                self._tell("look.covered", job)
        except _Forgotten:
            # The first run will bring it, or an erasure has just taken it.
            event("look.no_head", ref=job.ref, resource=job.resource)
            return
        self.looking.events.note(self.job.ref, self.job.key, at=self.looking.clock())

    def mend(self, error: ProviderError | Busy | Unsealable) -> None:
        """Carry out what ``recover`` decides."""
        now = self.looking.clock()
        decision = recover(self.job, error, now=now, roll=self.looking.dice())
        if isinstance(decision, Retry):
            self.looking.queue.defer(decision.job, decision.at - now)
            self._tell("look.deferred", self.job, reason=decision.reason)
        else:
            self._tell("look.stopped", self.job, reason=type(error).__name__)

    def _resolved(self) -> LookJob:
        """Return the job with the record's own id, where anybody here can tell it."""
        if not self.job.alias or self.job.resource not in self.resources:
            return self.job
        name = self.looking.records.alias(self._place(self.job.resource), self.job.record)
        if name is not None:
            return replace(self.job, record=name, alias=False)
        through = self.resources[self.job.resource].named_after
        if self.job.gone or through is None:
            return self.job
        return replace(self.job, resource=through, alias=False)

    def _unknown(self, job: LookJob) -> None:
        """Make what can be made of a second name that nobody here knows: nothing is held."""
        nothing = Answer(Page(()), self.looking.clock(), beside=Lane.WEBHOOK)
        verdict, _ = self._keep(job, nothing, there=False)
        self._follow(job, verdict)
        self._tell("look.unknown", job)

    def _claim(self, job: LookJob) -> Look | None:
        """Announce that the record is about to be asked for; None where that is not needed."""
        events = self.looking.events
        for _ in range(RIVALS):
            newest = events.find(job.ref, job.resource, job.record)
            if looks.covered(newest.value if newest else None, job):
                return None
            # Over our own one as well, from before something went wrong: the request leaves only
            # now, and is enough for whatever was said until now.
            mine = Look(self.looking.clock(), job.key)
            etag = newest.etag if newest else None
            try:
                events.save(job.ref, job.resource, job.record, mine, etag)
            except LostRace:
                continue
            return mine
        raise StorageDown("the looks at this record change too often")

    def _ask_and_keep(self, job: LookJob, look: Look) -> None:
        answer = self._ask(job)
        accounts = [one.account for one in answer.page.records if one.account is not None]
        self.connection = confirm(
            self.looking.connections, self.connection, accounts, self.looking.clock, listed=False
        )
        verdict, outcome = self._keep(job, answer, there=not answer.gone)
        self._follow(job, verdict)
        for other in looks.kin(job, look, answer.page.records):
            self.looking.queue.defer(other, timedelta(0))
        through = self._moved_to(job, answer.page)
        if through is not None:
            self.looking.queue.defer(looks.elsewhere(self.job, look, through), timedelta(0))
        self._note_heard()
        self._tell("look.done", job, outcome)

    def _moved_to(self, job: LookJob, page: Page) -> ResourceName | None:
        """Return what tells whose the job's second name is, where ``job``'s record has lost it."""
        if self.job.gone or not self.job.alias or self.job.resource != job.resource:
            return None
        if any(record.alias == self.job.record for record in page.records):
            return None
        return self.resources[job.resource].named_after

    def _ask(self, job: LookJob) -> Answer:
        asked = self.looking.clock()

        def ask(access: Secret) -> Page:
            nonlocal asked
            asked = self.looking.clock()
            return self.provider.fetch_one(access, job.resource, job.record)

        try:
            page = self.looking.tokens.use(
                job.ref,
                lambda access: self.looking.spending.send(
                    self.provider, Lane.WEBHOOK, lambda: ask(access)
                ),
            )
        except NotThere:
            evidence = "webhook" if job.gone else "not_found"
            gone = (Deletion(job.record, asked, evidence),)
            return Answer(Page(()), asked, gone, beside=Lane.WEBHOOK)
        return Answer(page, asked, beside=Lane.WEBHOOK)

    def _keep(self, job: LookJob, answer: Answer, *, there: bool) -> tuple[Verdict, Outcome]:
        """Write what the answer says, as far as it is believed."""
        place = self._place(job.resource)
        for _ in range(RIVALS):
            stored = self._head(job.resource)
            head, now = stored.value, self.looking.clock()
            held = bool(answer.gone) and self._held(place, job)
            verdict = looks.verdict(job, there=there, held=held, walking=looks.walking(head))
            believed = answer if verdict.believed else replace(answer, gone=())
            after = head
            if answer.page.records or (verdict.believed and held):
                said = looks.said(job)
                after = walk.heard(head, job.record, answer.page, said=said, now=now)
            try:
                kept, etag, outcome = keep(
                    self.looking.records, place, stored, after, believed,
                    connection=self.connection, now=now,
                )  # fmt: skip
            except LostRace:
                # A run, or another look; or ourselves, where the answer to our write was lost.
                continue
            self.looking.bells.ring(job.ref, place, Stored(kept, etag))
            return verdict, outcome
        raise StorageDown("the head of this resource changes too often")

    def _follow(self, job: LookJob, verdict: Verdict) -> None:
        if verdict.again:
            second = looks.second(job, self.looking.clock())
            self.looking.queue.defer(second, SECOND_LOOK)

    def _note_heard(self) -> None:
        """Note in the list of everyone that this member is told of."""
        if self.job.looks:
            return
        try:
            self.looking.connections.heard(self.job.ref, self.job.at)
        except StorageDown:
            # The night will read what it could have left out.
            event("look.not_noted", ref=self.job.ref, resource=self.job.resource)

    def _head(self, resource: ResourceName) -> Stored[Head]:
        stored = self.looking.records.head(self._place(resource))
        if stored.etag is None:
            raise _Forgotten
        return stored

    def _held(self, place: Place, job: LookJob) -> bool:
        states = self.looking.records.known(place, [job.record]).get(job.record, ())
        return bool(states) and states[-1].deleted_at is None

    def _granted(self, resource: Resource) -> bool:
        collection = resource.shape is Shape.COLLECTION
        return collection and resource.scope in self.connection.grant.scopes

    def _place(self, resource: ResourceName) -> Place:
        return Place(self.connection.provider, self.connection.user, resource)

    def _tell(
        self, name: str, job: LookJob, outcome: Outcome | None = None, *, reason: str = ""
    ) -> None:
        outcome = outcome or Outcome(0, 0, 0)
        event(
            name,
            provider=self.connection.provider,
            ref=job.ref,
            resource=job.resource,
            lane=Lane.WEBHOOK,
            new=outcome.new,
            unchanged=outcome.unchanged,
            misfits=outcome.misfits,
            reason=reason,
            seconds=round((self.looking.clock() - self.began).total_seconds(), 3),
        )
