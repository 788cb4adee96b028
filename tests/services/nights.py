"""A provider of nights and workouts that tells of every change, and a world around it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.core.model import (
    Job,
    LookJob,
    Notice,
    Page,
    Place,
    Question,
    Record,
    RecordId,
    ResourceName,
    Secret,
)
from shared.errors import NotThere, TokenRejected
from shared.provider import Resource, Shape
from tests.builders import ACCOUNT, NOW, PROVIDER, RESOURCE, USER, a_page, a_record
from tests.services.world import PROFILE, Acme, World

CYCLE, RECOVERY, SLEEP, WORKOUT = (
    ResourceName("cycle"),
    ResourceName("recovery"),
    RESOURCE,
    ResourceName("workout"),
)
COLLECTIONS = (CYCLE, RECOVERY, SLEEP, WORKOUT)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: How long each waits for what is said along with it.
WAITS = {SLEEP: timedelta(seconds=1), RECOVERY: timedelta(seconds=2)}
SIGNED = {"X-Acme": "signed"}


class Nights(Acme):
    """Each sleep belongs to a cycle, and the recovery of that cycle is named after the sleep."""

    resources: Sequence[Resource] = (
        Resource(CYCLE, Shape.COLLECTION, "read:cycle"),
        Resource(RECOVERY, Shape.COLLECTION, "read:recovery", SLEEP),
        Resource(SLEEP, Shape.COLLECTION, "read:sleep"),
        Resource(WORKOUT, Shape.COLLECTION, "read:workout"),
        Resource(PROFILE, Shape.DOCUMENT, "read:profile"),
    )

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self.clock = clock
        self.scopes = frozenset({*(one.scope for one in self.resources), "offline"})
        self.truth: dict[ResourceName, dict[RecordId, Record]] = {name: {} for name in COLLECTIONS}
        # Renewing is not what this is about.
        self.lifetime = 400 * DAY
        self._numbers = itertools.count(1)
        #: What happens while a question and its answer are on their way.
        self.meanwhile: Callable[[], None] = lambda: None

    # What happens

    def night(self, start: datetime, name: str | None = None) -> str:
        """Let the member sleep; return the name of the night."""
        name = name or str(next(self._numbers))
        self.put(CYCLE, f"c{name}", start)
        self.put(SLEEP, f"s{name}", start)
        self.put(RECOVERY, f"c{name}", start + 8 * HOUR, alias=f"s{name}")
        return name

    def put(
        self, resource: ResourceName, name: str, start: datetime, *, alias: str | None = None
    ) -> None:
        """Make a record, or change it."""
        kin = ((CYCLE, RecordId(f"c{name[1:]}")), (RECOVERY, RecordId(f"c{name[1:]}")))
        record = a_record(
            name, start=start, updated=self.clock(), content=next(self._numbers), alias=alias
        )
        if resource == SLEEP:
            record = replace(record, kin=kin)
        self.truth[resource][record.id] = record

    def change(self, resource: ResourceName, name: str) -> None:
        """Let a record look different."""
        record = self.truth[resource][RecordId(name)]
        assert record.start is not None
        self.put(resource, name, record.start, alias=record.alias)

    def drop(self, resource: ResourceName, name: str) -> Record | None:
        """Delete a record."""
        return self.truth[resource].pop(RecordId(name), None)

    # What it answers

    def fetch(self, access: Secret, resource: ResourceName, question: Question | None) -> Page:
        if resource in self.truth and not self.script:
            self.records = list(self.truth[resource].values())
        return self._slowly(lambda: super(Nights, self).fetch(access, resource, question))

    def fetch_one(self, access: Secret, resource: ResourceName, record: RecordId) -> Page:
        def answer() -> Page:
            if self.script:
                return super(Nights, self).fetch_one(access, resource, record)
            self.looked.append((resource, record))
            if access.reveal() != self.access:
                raise TokenRejected("made up")
            if record not in self.truth[resource]:
                raise NotThere("made up")
            return a_page([self.truth[resource][record]])

        return self._slowly(answer)

    def _slowly(self, answer: Callable[[], Page]) -> Page:
        try:
            return answer()
        finally:
            self.meanwhile()


class Told(World):
    """A member who is connected and synced, at a provider that tells of changes."""

    def __init__(self, *, nights: int = 2, workouts: int = 2, synced: bool = True) -> None:
        # A world makes its own provider last: this one needs the world's clock.
        self.time = NOW
        self.nights = Nights(lambda: self.time)
        super().__init__(acme=self.nights)
        self.traces = itertools.count()
        for number in range(nights):
            self.nights.night(NOW - number * DAY - 12 * HOUR, f"-{number}")
        for number in range(workouts):
            self.nights.put(WORKOUT, f"w-{number}", NOW - number * DAY - HOUR)
        self.connect()
        if synced:
            self.work()
        self.nights.looked.clear()
        self.nights.asked.clear()

    def say(
        self,
        resource: ResourceName,
        name: str,
        *,
        alias: bool = False,
        gone: bool = False,
        at: datetime | None = None,
        trace: str | None = None,
    ) -> bytes:
        """Return a message of the provider's, which is sent now."""
        trace = trace or str(next(self.traces))
        notice = Notice(
            account=ACCOUNT,
            resource=resource,
            record=RecordId(name),
            alias=alias,
            gone=gone,
            at=at or self.time,
            key=f"{trace} {resource} {name} {gone}",
            wait=timedelta(0) if gone else WAITS.get(resource, timedelta(0)),
        )
        body = notice.key.encode()
        self.nights.said[body] = notice
        return body

    def hear(self, *messages: bytes) -> None:
        """Let messages arrive."""
        for message in messages:
            self.services.webhooks.receive(self.nights, SIGNED, message)

    def tell(
        self, resource: ResourceName, name: str, *, alias: bool = False, gone: bool = False
    ) -> None:
        """Say something that arrives at once."""
        self.hear(self.say(resource, name, alias=alias, gone=gone))

    def tell_of_night(self, name: str) -> None:
        """Say that a night was added or changed, as it is said: in two messages."""
        self.tell(SLEEP, f"s{name}")
        self.tell(RECOVERY, f"s{name}", alias=True)

    def looks(self) -> list[LookJob]:
        """Return the looks that are deferred."""
        return [job for job, _ in self.queue.deferred if isinstance(job, LookJob)]

    def look(self) -> None:
        """Run the looks that are deferred now, and nothing that follows from them."""
        now = self.looks()
        self.queue.deferred = [one for one in self.queue.deferred if one[0] not in now]
        for job in now:
            self.run(job)

    def run(self, job: Job) -> None:
        self.services.run(job)

    def at_place(self, resource: ResourceName) -> Place:
        return Place(PROVIDER, USER, resource)

    def alive(self) -> Mapping[ResourceName, Mapping[RecordId, str]]:
        """Return what the raw layer says is there: the bodies of the current versions."""
        return {
            resource: {
                name: version.body
                for name, version in self.records.current(self.at_place(resource)).items()
                if version.body
            }
            for resource in COLLECTIONS
        }

    def true(self) -> Mapping[ResourceName, Mapping[RecordId, str]]:
        """Return what the provider has."""
        return {
            resource: {name: record.body for name, record in records.items()}
            for resource, records in self.nights.truth.items()
        }
