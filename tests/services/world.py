"""The app over in-memory ports, with a provider that does what a test says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from shared.adapters.memory import (
    MemoryBudgets,
    MemoryCipher,
    MemoryConnections,
    MemoryDepartures,
    MemoryEvents,
    MemoryOneTime,
    MemoryPoison,
    MemoryQueue,
    MemoryRecords,
    MemorySlots,
)
from shared.bootstrap import Ports, Services, wire
from shared.config import Jwt, Settings, Storage
from shared.core.model import (
    ChunkJob,
    Connection,
    Ignored,
    Job,
    Lane,
    Limit,
    Notice,
    Page,
    Place,
    ProviderName,
    Question,
    Record,
    RecordId,
    ResourceName,
    Secret,
)
from shared.errors import Forged, GrantDead, NotThere, ProviderError, TokenRejected
from shared.provider import Grant, Resource, Shape, Trouble
from tests.builders import NOW, PROVIDER, RESOURCE, SCOPES, USER, a_document, a_page

PROFILE = ResourceName("profile")
BROWSER = "b" * 43

Answer = Page | ProviderError | Callable[[Question | None], Page]


class Acme:
    """A provider whose records, tokens and bad days are the test's to say."""

    name: ProviderName = PROVIDER
    title = "Acme"
    identity: ResourceName = PROFILE
    resources: Sequence[Resource] = (
        Resource(RESOURCE, Shape.COLLECTION, "read:sleep"),
        Resource(PROFILE, Shape.DOCUMENT, "read:profile"),
    )
    limits: Sequence[Limit] = (Limit(1_000, timedelta(minutes=1)),)
    trouble: Trouble | None = None
    problems: Sequence[str] = ()

    def __init__(self) -> None:
        #: What the collection holds; pages have ``size`` records.
        self.records: list[Record] = []
        self.size = 25
        self.document: Page | ProviderError = a_document()
        #: Answers that come before the truth, first one first.
        self.script: list[Answer] = []
        self.token_script: list[ProviderError] = []
        self.asked: list[tuple[ResourceName, Question | None]] = []
        self.looked: list[tuple[ResourceName, RecordId]] = []
        #: What its messages mean.
        self.said: dict[bytes, Notice] = {}
        self.renewals = 0
        self.revocations = 0
        self.revoke_script: list[ProviderError] = []
        self.scopes = SCOPES
        self.refreshes = True
        self.access = "access-0"
        self.refresh = "refresh-0"
        self.lifetime = timedelta(hours=1)

    def authorize_url(self, state: str) -> str:
        return f"https://acme.example/auth?state={state}"

    def redeem(self, code: Secret) -> Grant:
        self._token_trouble()
        if self.access == "revoked":
            self.access, self.refresh = "access-again", "refresh-again"
        return self._grant()

    def renew(self, refresh: Secret) -> Grant:
        self.renewals += 1
        self._token_trouble()
        if self.refresh == "revoked":
            raise GrantDead("made up")
        assert refresh.reveal() == self.refresh, "a refresh token that was used before"
        self.access, self.refresh = f"access-{self.renewals}", f"refresh-{self.renewals}"
        return self._grant()

    def revoke(self, access: Secret) -> None:
        self.revocations += 1
        if self.revoke_script:
            raise self.revoke_script.pop(0)
        if access.reveal() != self.access:
            raise TokenRejected("made up")
        self.access, self.refresh = "revoked", "revoked"

    def missing_scopes(self, granted: frozenset[str]) -> Sequence[str]:
        return sorted(SCOPES - granted)

    def fetch(self, access: Secret, resource: ResourceName, question: Question | None) -> Page:
        self.asked.append((resource, question))
        if self.script:
            answer = self.script.pop(0)
            if isinstance(answer, ProviderError):
                raise answer
            return answer if isinstance(answer, Page) else answer(question)
        if access.reveal() != self.access:
            raise TokenRejected("made up")
        if question is None:
            if isinstance(self.document, ProviderError):
                raise self.document
            return self.document
        return self.page(question)

    def fetch_one(self, access: Secret, resource: ResourceName, record: RecordId) -> Page:
        self.looked.append((resource, record))
        if self.script:
            answer = self.script.pop(0)
            if isinstance(answer, ProviderError):
                raise answer
            return answer if isinstance(answer, Page) else answer(None)
        if access.reveal() != self.access:
            raise TokenRejected("made up")
        found = [one for one in self.records if one.id == record]
        if not found:
            raise NotThere("made up")
        return a_page(found)

    def hear(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice | Ignored:
        if headers.get("x-acme") != "signed":
            raise Forged("unsigned")
        said = self.said.get(body)
        return Ignored("unknown_type") if said is None else said

    def page(self, question: Question) -> Page:
        listed = sorted(
            (
                record
                for record in self.records
                if record.start and question.span.start <= record.start < question.span.end
            ),
            key=lambda record: record.start or NOW,
            reverse=True,
        )
        offset = int(question.cursor or 0)
        more = offset + self.size < len(listed)
        page = listed[offset : offset + self.size]
        return a_page(page, cursor=str(offset + self.size) if more else None)

    def truly(self, question: Question | None) -> Page:
        """Answer with the truth, as an entry of ``script``."""
        assert question is not None
        return self.page(question)

    def _token_trouble(self) -> None:
        if self.token_script:
            raise self.token_script.pop(0)

    def _grant(self) -> Grant:
        refresh = Secret(self.refresh) if self.refreshes else None
        return Grant(Secret(self.access), refresh, self.lifetime, self.scopes)


class World:
    """Services over in-memory ports, with a clock that stands still until told."""

    def __init__(self, *, days: int = 30, acme: Acme | None = None) -> None:
        self.acme = acme or Acme()
        self.time = NOW
        self.roll = 0.5
        self.once = MemoryOneTime()
        self.slots = MemorySlots()
        self.budgets = MemoryBudgets()
        self.connections = MemoryConnections()
        self.departures = MemoryDepartures()
        self.records = MemoryRecords()
        self.queue = MemoryQueue()
        self.poison = MemoryPoison()
        self.events = MemoryEvents()
        self.cipher = MemoryCipher()
        numbers = itertools.count()
        self.ports = Ports(
            once=self.once,
            slots=self.slots,
            budgets=self.budgets,
            connections=self.connections,
            departures=self.departures,
            records=self.records,
            queue=self.queue,
            poison=self.poison,
            events=self.events,
            cipher=self.cipher,
            clock=lambda: self.time,
            skew=lambda: timedelta(0),
            dice=lambda: self.roll,
            mint=lambda: f"minted-{next(numbers):036}",
            sleep=self.sleep,
        )
        self.services: Services = wire(settings(days), [self.acme], self.ports)

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def connect(self, user: str = USER, browser: str = BROWSER) -> None:
        """Go through consent, as the page and the browser would."""
        self.answer(self.consent(user, browser), browser)

    def consent(self, user: str = USER, browser: str = BROWSER) -> str:
        """Return the state with which the provider would send the member back."""
        connections = self.services.connections
        ticket = connections.ticket(type(USER)(user), PROVIDER, browser)
        url = connections.begin(ticket.secret, PROVIDER, browser)
        return parse_qs(urlsplit(url).query)["state"][0]

    def answer(self, state: str, browser: str | None = BROWSER) -> None:
        """Come back from the consent page with a code."""
        self.services.connections.complete(
            PROVIDER, state=state, code="code", said="", browser=browser
        )

    def connection(self, user: str = USER) -> Connection:
        stored = self.connections.find(type(USER)(user), PROVIDER)
        assert stored is not None
        return stored.value

    def start(self, lane: Lane = Lane.MANUAL) -> None:
        self.services.sync.start(self.connection(), lane)

    def work(self, *, limit: int = 100) -> list[tuple[Job, timedelta]]:
        """Run every job, waiting as long as each asks, until the queue is empty.

        Returns the jobs that were run, with the delay that each had.
        """
        done: list[tuple[Job, timedelta]] = []
        while self.queue.deferred:
            assert len(done) < limit, "the queue never empties"
            self.queue.deferred.sort(key=lambda entry: entry[1])
            job, delay = self.queue.deferred.pop(0)
            self.queue.deferred = [
                (j, max(d - delay, timedelta(0))) for j, d in self.queue.deferred
            ]
            self.time += delay
            self.services.run(job)
            done.append((job, delay))
        return done

    def chunk(self, resource: ResourceName = RESOURCE) -> ChunkJob:
        """Take the one job of ``resource`` off the queue."""
        for entry in self.queue.deferred:
            if isinstance(entry[0], ChunkJob) and entry[0].resource == resource:
                self.queue.deferred.remove(entry)
                return entry[0]
        raise AssertionError(f"no job for {resource} in {self.queue.deferred}")

    def place(self, resource: ResourceName = RESOURCE, user: str = USER) -> Place:
        return Place(PROVIDER, type(USER)(user), resource)

    def held(self) -> set[str]:
        """Return the names of the records that the raw layer holds."""
        return set(self.records.current(self.place()))

    def goal_end(self) -> datetime:
        """Return the end of the newest run's goal."""
        goal = self.records.head(self.place()).value.goal
        assert goal is not None
        return goal.end

    def at(self, later: timedelta) -> datetime:
        self.time += later
        return self.time


def settings(days: int = 30) -> Settings:
    """Return settings that need nothing outside."""
    return Settings(
        storage=Storage(None),
        public_url="https://api.gotogym.store",
        settings_page_url="https://www.gotogym.store/pages/settings/Dispositivos.html",
        backfill_days=days,
        jwt=Jwt("HS256", Secret("x" * 32), "", "", "", ""),
        token_keys=(),
        allow_query_token=False,
    )
