"""The whole engine under random faults; once they stop, everything has to be there.

A plan is drawn: what members, clocks and queues do, and what goes wrong at which call that leaves
the process.  Hypothesis shrinks a plan that breaks a promise to its few steps that matter.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from shared.adapters.memory import (
    MemoryBudgets,
    MemoryCipher,
    MemoryConnections,
    MemoryDepartures,
    MemoryEvents,
    MemoryOneTime,
    MemoryPoison,
    MemoryRecords,
    MemorySlots,
)
from shared.bootstrap import Ports, Services, wire
from shared.core.codec import encode
from shared.core.model import (
    ACTIVE,
    HISTORY_START,
    AccountId,
    Bell,
    Connection,
    Cursor,
    Head,
    Ignored,
    Job,
    Lane,
    Limit,
    Notice,
    Page,
    Place,
    Progress,
    ProviderName,
    Question,
    Quota,
    Record,
    RecordId,
    Ref,
    ResourceName,
    Secret,
    Span,
    StartJob,
    Status,
    UserId,
)
from shared.core.recent import ABSENT
from shared.errors import (
    AccountDeactivated,
    ConnectRefused,
    CursorRefused,
    GrantDead,
    LostRace,
    NotConnected,
    NotThere,
    ProviderError,
    RateLimited,
    Rejected,
    ScopeMissing,
    StorageDown,
    TokenRejected,
    Unavailable,
    Unsealable,
)
from shared.provider import Grant, Resource, Shape, Trouble
from shared.renewal import MARGIN, MARGIN_SHARE, open_refresh
from shared.sync import STALE
from tests.builders import NOW, PROVIDER, RESOURCE, SCOPES, a_document, a_page, a_record
from tests.services.world import PROFILE
from tests.services.world import settings as app_settings

T = TypeVar("T")

BROWSER = "b" * 43
PAGE = 5
LEASE, RETRY, TRIES = timedelta(minutes=10), timedelta(seconds=30), 5
#: How deep workers may be stopped in the middle while others work; each depth is another host.
DEPTH = 2
#: Members add and change only what a later run reads again.
RECENT = timedelta(days=1)
#: Calls after which a fault gives way whose place nobody comes by.
PATIENCE = 60
ETAGGED = {"put", "put_head", "commit", "save", "keep", "use_up"}


class Killed(BaseException):
    """The process is gone: nothing in it may run any more, and what it remembered is lost."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong, after ``gap`` calls of ``where`` that went well."""

    where: str
    gap: int
    kind: str
    choice: int


@dataclass(frozen=True)
class Step:
    """Something that happens from outside; ``who`` and ``choice`` pick from what is there."""

    kind: str
    who: int
    choice: int


@dataclass(frozen=True)
class Plan:
    members: tuple[tuple[int, bool], ...]  # records, and whether the profile is granted
    lifetime: timedelta
    limits: tuple[Limit, ...]
    steps: tuple[Step, ...]
    faults: tuple[Fault, ...]


@dataclass
class Consent:
    """A grant as the provider knows it."""

    user: UserId
    scopes: frozenset[str]
    access: str = ""
    refresh: str = ""
    expires_at: datetime = NOW
    alive: bool = True
    #: Somebody has been told that the access token is no good.
    refused: bool = False
    #: The newest pair is on its way to our storage.
    unstored: bool = False
    #: Whoever had the newest pair is dead, or storage has refused it for good.
    lost: bool = False
    spent: set[str] = field(default_factory=set)


@dataclass
class Mail:
    body: bytes
    visible_at: datetime
    tries: int = 0
    poison: bool = False


class Provider:
    """A provider with everything that can be strict about one."""

    name: ProviderName = PROVIDER
    title = "Acme"
    identity: ResourceName = PROFILE
    resources: Sequence[Resource] = (
        Resource(RESOURCE, Shape.COLLECTION, "read:sleep"),
        Resource(PROFILE, Shape.DOCUMENT, "read:profile"),
    )
    trouble: Trouble | None = None
    problems: Sequence[str] = ()

    def __init__(self, engine: Engine, plan: Plan) -> None:
        self.limits: Sequence[Limit] = plan.limits
        self._engine = engine
        self._lifetime = plan.lifetime
        self._numbers = itertools.count()
        self.size = PAGE
        self.scopes: dict[UserId, frozenset[str]] = {}
        self.records: dict[UserId, list[Record]] = {}
        self.consents: list[Consent] = []
        self.arrived: list[datetime] = []
        self.wrong: list[str] = []

    def authorize_url(self, state: str) -> str:
        return f"https://acme.example/auth?state={state}"

    def missing_scopes(self, granted: frozenset[str]) -> Sequence[str]:
        return sorted(SCOPES - granted)

    def redeem(self, code: Secret) -> Grant:
        user = UserId(code.reveal())
        consent = Consent(user, self.scopes[user])
        self._token_request("redeem")
        self.consents.append(consent)
        return self._engine.answer("redeem", self._issue(consent))

    def renew(self, refresh: Secret) -> Grant:
        consent = next(c for c in self.consents if refresh.reveal() in {c.refresh, *c.spent})
        self._token_request("renew", consent)
        if refresh.reveal() != consent.refresh:
            if not consent.lost:
                self.wrong.append("a spent refresh token was used again")
            consent.alive = False
        if not consent.alive:
            raise GrantDead("made up")
        margin = min(MARGIN, self._lifetime * MARGIN_SHARE)
        if self._engine.time < consent.expires_at - margin and not consent.refused:
            self.wrong.append("a token was renewed that was still good")
        consent.spent.add(consent.refresh)
        return self._engine.answer("renew", self._issue(consent))

    def revoke(self, access: Secret) -> None:
        raise AssertionError("nobody leaves here")

    def fetch(self, access: Secret, resource: ResourceName, question: Question | None) -> Page:
        self._arrive()
        asks_on = question is not None and question.cursor is not None
        self._engine.before_answer("fetch", asks_on=asks_on)
        consent = next((c for c in self.consents if c.access == access.reveal()), None)
        if consent is None or not consent.alive or consent.expires_at <= self._engine.time:
            if consent is not None:
                consent.refused = True
            raise TokenRejected("made up")
        if self._engine.refuse:
            self._engine.refuse = False
            consent.refused = True
            raise TokenRejected("made up, though it was good")
        page = a_document(account=account(consent.user))
        if question is not None:
            page = self._page(consent.user, question)
        return self._engine.answer("fetch", replace(page, quota=self._quota()))

    def fetch_one(self, access: Secret, resource: ResourceName, record: RecordId) -> Page:
        whole = Question(Span(HISTORY_START, NOW + timedelta(days=3650)), None)
        size, self.size = self.size, 10**9
        try:
            page = self.fetch(access, resource, whole)
        finally:
            self.size = size
        found = tuple(one for one in page.records if one.id == record)
        if not found:
            raise NotThere("made up")
        return replace(page, records=found)

    def hear(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice | Ignored:
        user, name, gone, at, key = json.loads(body)
        return Notice(
            account=account(user),
            resource=RESOURCE,
            record=RecordId(name),
            alias=False,
            gone=gone,
            at=datetime.fromisoformat(at),
            key=key,
            wait=timedelta(0),
        )

    def _page(self, user: UserId, question: Question) -> Page:
        listed = self.listed(user, question.span.start, question.span.end)
        stamp = hashlib.sha256(repr(question.span).encode()).hexdigest()[:6]
        offset = 0
        if question.cursor is not None:
            offset, _, made_for = question.cursor.partition(":")  # type: ignore[assignment]
            if made_for != stamp:
                raise CursorRefused("it belongs to another question")
            offset = int(offset)
        following = offset + self.size
        cursor = Cursor(f"{following}:{stamp}") if following < len(listed) else None
        return a_page(listed[offset:following], cursor)

    def listed(self, user: UserId, start: datetime, end: datetime) -> list[Record]:
        found = [r for r in self.records[user] if r.start and start <= r.start < end]
        return sorted(found, key=lambda record: record.start or NOW, reverse=True)

    def beyond(self) -> list[str]:
        """Return every window, fixed or sliding, in which there were too many requests."""
        found = []
        for limit in self.limits:
            fixed = Counter((at - NOW) // limit.window for at in self.arrived)
            found += [f"{n} in a fixed {limit.window}" for n in fixed.values() if n > limit.count]
            for first, last in zip(self.arrived, self.arrived[limit.count :], strict=False):
                if last - first < limit.window:
                    found.append(f"more than {limit.count} in a sliding {limit.window}")
        return found

    def _token_request(self, kind: str, consent: Consent | None = None) -> None:
        self._arrive()
        self._engine.before_answer(kind, consent)

    def _arrive(self) -> None:
        self.arrived.append(self._engine.time)

    def _quota(self) -> Quota:
        now = self._engine.time
        # Somebody else spends from the same quota, one request to three of ours.
        counted = [*self.arrived, *self.arrived[::3]]
        room = [
            (limit.count - sum(now - at < limit.window for at in counted), limit)
            for limit in self.limits
        ]
        remaining, nearest = min(room, key=lambda pair: pair[0])
        return Quota(tuple(self.limits), nearest, max(0, remaining), nearest.window)

    def _issue(self, consent: Consent) -> Grant:
        number = next(self._numbers)
        consent.access, consent.refresh = f"access-{number}", f"refresh-{number}"
        consent.expires_at = self._engine.time + self._lifetime
        consent.refused, consent.unstored = False, True
        return Grant(
            Secret(consent.access),
            Secret(consent.refresh),
            self._lifetime,
            consent.scopes,
            self._quota(),
        )


class Port:
    """Any port, with the engine between it and whoever calls."""

    def __init__(self, engine: Engine, inner: Any) -> None:
        self._engine = engine
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        return lambda *args, **named: self._engine.call(
            f"{type(self._inner).__name__}.{name}", lambda: method(*args, **named)
        )


class Queue:
    """Implements ``JobQueue`` over the engine's mail."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def defer(self, job: Job, delay: timedelta) -> None:
        self._engine.post(encode(job).encode(), max(delay, timedelta(0)), poison=False)

    def ring(self, bell: Bell) -> None:
        # A worker that was late rings for less than others have already.
        before = self._engine.rung.get((bell.ref, bell.resource), bell)
        self._engine.rung[bell.ref, bell.resource] = max(before, bell, key=lambda one: one.seq)

    def put_back(self, body: bytes, queue: str, delay: timedelta) -> None:
        self._engine.post(body, delay, poison=True)

    def reachable(self) -> bool:
        return True


class Engine:
    """Hosts on the same storage, the provider, the members, and what goes wrong."""

    def __init__(self, plan: Plan) -> None:
        self.time = NOW
        self.refuse = False
        self.provider = Provider(self, plan)
        self.cipher = MemoryCipher()
        self.budgets = MemoryBudgets()
        self.connections = MemoryConnections()
        self.records = MemoryRecords()
        self.poison = MemoryPoison()
        self.mail: list[Mail] = []
        self.rung: dict[tuple[Ref, ResourceName], Bell] = {}
        self._in_hand: list[Mail] = []
        self.raised: list[BaseException] = []
        self.downs = 0
        #: Nobody brings a request back whose host has died; a later start revives what it began.
        self.may_stand = False
        self._asked_by_http = [False]
        self._once, self._slots = MemoryOneTime(), MemorySlots()
        self._events = MemoryEvents()
        self._minted = itertools.count()
        self._rolls = itertools.cycle([0.5, 0.0, 0.9, 0.2])
        self._faults: list[Fault] = []
        self._calls = self._since = 0
        self._depth = 0
        self._still = False
        self._hosts: dict[int, Services] = {}
        self._updates = itertools.count(2)
        #: What the provider has yet to be thanked for, and what it has deleted.
        self.unheard: list[bytes] = []
        self.gone: list[tuple[UserId, Record]] = []
        self.members = [UserId(f"user-{n}") for n in range(len(plan.members))]
        for user, (count, has_profile) in zip(self.members, plan.members, strict=True):
            self.provider.scopes[user] = SCOPES if has_profile else SCOPES - {"read:profile"}
            self.provider.records[user] = [
                a_record(f"{user}-{n}", start=NOW - timedelta(hours=17 * n + 1), updated=NOW,
                         account=account(user))
                for n in range(count)
            ]  # fmt: skip

    # What goes wrong

    def call(self, name: str, effect: Callable[[], Any]) -> Any:
        """Let a call through to a port, unless it is this one's turn to fail."""
        kind, choice = self._next(name)
        match kind:
            case "kill":
                return self._die(effect if choice % 2 else None)
            case "down" if "Cipher" not in name:
                return self._fail(name, effect if choice % 2 else None)
            case "lost_answer" if name.rpartition(".")[2] in ETAGGED:
                effect()
                self._watch_store(name)
                raise LostRace("this was our own write")
            case "interrupt":
                self._interrupt(choice, still="Budgets" in name)
            case "slow" if "Budgets" not in name:
                self.time += timedelta(seconds=choice % 20)
            case "unsealable" if name == "MemoryCipher.open":
                raise Unsealable("made up")
        answer = effect()
        self._watch_store(name)
        return answer

    def before_answer(
        self, name: str, consent: Consent | None = None, *, asks_on: bool = False
    ) -> None:
        """Let the provider fail before it does what it is asked for."""
        kind, choice = self._next(name)
        match kind:
            case "kill":
                self._die(None)
            case "down" | "unsealable" | "lost_answer":
                raise Unavailable("made up")
            case "error":
                raise self._error(name, choice, consent, asks_on=asks_on)
            case "refuse":
                self.refuse = name == "fetch"

    def answer(self, name: str, answer: T) -> T:
        """Let the provider's answer get lost, or come late."""
        kind, choice = self._next(name)
        match kind:
            case "kill":
                self._die(None)
            case "down":
                self._lose_pairs()
                raise Unavailable("the answer was cut")
            case "interrupt":
                self._interrupt(choice, still=self._still)
            case "slow" if not self._still:
                self.time += timedelta(seconds=choice % 15)
        if not self._still:
            self.time += timedelta(milliseconds=200)
        return answer

    def _next(self, name: str) -> tuple[str, int]:
        self._since += 1
        if self._faults and self._since > PATIENCE:
            self._faults.pop(0)
            self._since = self._calls = 0
        if not self._faults or self._faults[0].where not in name:
            return "", 0
        self._calls += 1
        if self._calls <= self._faults[0].gap:
            return "", 0
        self._calls = self._since = 0
        fault = self._faults.pop(0)
        note(f"{'  ' * self._depth}{fault.kind} {fault.choice} at {name}")
        self.may_stand |= self._asked_by_http[-1]
        return fault.kind, fault.choice

    def _die(self, effect: Callable[[], Any] | None) -> Any:
        if effect is not None:
            with suppress(LostRace):
                effect()
                self._watch_store("MemoryConnections.put")
        self._lose_pairs()
        raise Killed

    def _fail(self, name: str, effect: Callable[[], Any] | None) -> Any:
        if effect is not None:
            effect()
            self._watch_store(name)
        if name == "MemoryConnections.put" and any(c.unstored for c in self.provider.consents):
            self.downs += 1
            if self.downs >= 3:  # storage has been away for a minute by then
                self._lose_pairs()
        raise StorageDown("made up")

    def _error(
        self, name: str, choice: int, consent: Consent | None, *, asks_on: bool
    ) -> ProviderError:
        if name == "fetch":
            return [
                RateLimited(self.time + timedelta(seconds=choice % 100)),
                Unavailable("made up"),
                CursorRefused("made up") if asks_on else Unavailable("made up"),
                ScopeMissing("made up"),
                AccountDeactivated("made up"),
                NotThere("made up"),
                Rejected("made up"),
            ][choice % 7]
        if consent is not None and choice % 7 == 0:
            consent.alive = False
            return GrantDead("the member has taken it back")
        return [
            RateLimited(self.time + timedelta(seconds=choice % 100)),
            Unavailable("made up"),
            Rejected("made up"),
        ][choice % 3]

    def _interrupt(self, choice: int, *, still: bool) -> None:
        """Stop this worker here, and let others work."""
        if self._depth >= DEPTH:
            return
        was = self._still
        # Calls to a token endpoint and to storage end within the claim that they are made under.
        on_its_way = any(
            consent.unstored and not consent.lost for consent in self.provider.consents
        )
        self._still = self._still or still or on_its_way
        try:
            if choice % 3 == 0 and self._in_hand:
                # The same message comes to another worker at the same time.
                self._work(replace(self._in_hand[-1], visible_at=self.time))
            elif choice % 5 == 0:
                self.start(choice, list(Lane)[2 + choice % 3])
            else:
                self.deliver(choice)
        finally:
            self._still = was

    def _watch_store(self, name: str) -> None:
        """See which newest pairs our storage has by now."""
        if name not in {"MemoryConnections.put", "MemoryConnections.put_pending"}:
            return
        self.downs = 0
        held = {
            self.cipher.open(owner.grant.refresh, _seal_place(owner)).reveal()
            for owner in self.owners()
        }
        for consent in self.provider.consents:
            consent.unstored = consent.unstored and consent.refresh not in held

    def _lose_pairs(self) -> None:
        for consent in self.provider.consents:
            consent.lost = consent.lost or consent.unstored

    # What happens

    def host(self) -> Services:
        """Return the process that works at this depth."""
        if self._depth not in self._hosts:
            self._hosts[self._depth] = wire(app_settings(), [self.provider], self._ports())
        return self._hosts[self._depth]

    @contextmanager
    def working(self, *, http: bool) -> Iterator[Services]:
        """Lend a process, which may not survive it."""
        self._depth += 1
        self._asked_by_http.append(http)
        try:
            yield self.host()
        except Killed:
            del self._hosts[self._depth]
            raise
        finally:
            self._asked_by_http.pop()
            self._depth -= 1

    def post(self, body: bytes, delay: timedelta, *, poison: bool) -> None:
        self.mail.append(Mail(body, self.time + delay, poison=poison))

    def deliver(self, choice: int) -> None:
        """Give any message to a worker, whatever order they were sent in."""
        ready = [m for m in self.mail if m.visible_at <= self.time or not self._still]
        if not ready:
            return
        mail = ready[choice % len(ready)]
        self.mail.remove(mail)
        self._work(mail)

    def _work(self, mail: Mail) -> None:
        self.time = max(self.time, mail.visible_at)
        mail.tries += 1
        self._in_hand.append(mail)
        try:
            with self.working(http=False) as services:
                if mail.poison:
                    services.poison.receive(mail.body, "sync-now")
                elif mail.tries > TRIES:
                    self.post(mail.body, timedelta(0), poison=True)
                else:
                    services.attempt(mail.body, mail.tries)
        except Killed:
            self._return(mail, LEASE)
        except Exception as error:  # noqa: BLE001 - as the host does
            self.raised.append(error)
            self._return(mail, RETRY)
        finally:
            self._in_hand.pop()

    def start(self, who: int, lane: Lane) -> None:
        """Ask for a sync over HTTP."""
        user = self.members[who % len(self.members)]
        with (
            suppress(Killed, StorageDown, LostRace, NotConnected),
            self.working(http=True) as services,
        ):
            stored = services.ports.connections.find(user, PROVIDER)
            if stored is not None:
                services.sync.start(stored.value, lane)

    def connect(self, who: int) -> None:
        """Go through consent."""
        user = self.members[who % len(self.members)]
        with (
            suppress(Killed, StorageDown, LostRace, ConnectRefused),
            self.working(http=True) as services,
        ):
            ticket = services.connections.ticket(user, PROVIDER, BROWSER)
            url = services.connections.begin(ticket.secret, PROVIDER, BROWSER)
            services.connections.complete(
                PROVIDER,
                state=parse_qs(urlsplit(url).query)["state"][0],
                code=user,
                said="",
                browser=BROWSER,
            )

    def step(self, step: Step) -> None:
        note(f"{step.kind} {step.who} {step.choice}")
        match step.kind:
            case "deliver":
                self.deliver(step.choice)
            case "start":
                self.start(step.who, (Lane.MANUAL, Lane.NIGHTLY)[step.choice % 2])
            case "connect":
                self.connect(step.who)
            case "night":
                for owner in self.owners():
                    job = StartJob(owner.ref, self.time)
                    self.post(encode(job).encode(), timedelta(0), poison=False)
            case "copy" if self.mail:
                self.mail.append(replace(self.mail[step.choice % len(self.mail)]))
            case kind:
                self._pass_time(kind, self.members[step.who % len(self.members)], step.choice)

    def _pass_time(self, kind: str, user: UserId, choice: int) -> None:
        match kind:
            case "add":
                self._add(user, choice)
            case "rescore":
                self._rescore(user, choice)
            case "remove":
                self._remove(user, choice)
            case "return":
                self._bring_back(choice)
            case "hear":
                self.hear(choice)
            case "expire":
                for consent in self.provider.consents:
                    consent.expires_at = min(consent.expires_at, self.time)
            case "wait":
                # Now and then for so long that what is held is not fresh any more.
                self.time += timedelta(seconds=choice * 7, hours=2 * (choice % 5 == 0))

    def _add(self, user: UserId, choice: int) -> None:
        number = next(self._updates)
        start = self.time - RECENT * ((choice % 10) / 10) - timedelta(milliseconds=number)
        record = a_record(
            f"late-{user}-{number}", start=start, updated=self.time, account=account(user)
        )
        self.provider.records[user].append(record)
        self._say(user, record)

    def _remove(self, user: UserId, choice: int) -> None:
        """Delete a recent record, which the nights to come will find missing if nobody is told.

        Not while its list is being read: what that moves out of the way of the next page is only
        read again if we are told before the last one.
        """
        recent = [r for r in self.provider.records[user] if r.start and r.start > NOW - RECENT]
        mine = [one for one in self.gone if one[0] == user]
        if recent and len(mine) < ABSENT and self.head(user).progress not in ACTIVE:
            record = recent[choice % len(recent)]
            self.provider.records[user].remove(record)
            self.gone.append((user, record))
            self._say(user, record, gone=True)

    def _bring_back(self, choice: int) -> None:
        if self.gone:
            user, record = self.gone.pop(choice % len(self.gone))
            self.provider.records[user].append(record)
            self._say(user, record)

    def _say(self, user: UserId, record: Record, *, gone: bool = False) -> None:
        key = f"event-{next(self._updates)}"
        said = [user, record.id, gone, self.time.isoformat(), key]
        self.unheard.append(json.dumps(said).encode())

    def hear(self, choice: int) -> None:
        """Let something be heard that was said, in any order, and again without an answer."""
        if not self.unheard:
            return
        said = self.unheard[choice % len(self.unheard)]
        with suppress(Killed, StorageDown, LostRace), self.working(http=False) as services:
            services.webhooks.receive(self.provider, {}, said)
            if choice % 4:
                self.unheard.remove(said)

    def _rescore(self, user: UserId, choice: int) -> None:
        records = self.provider.records[user]
        recent = [r for r in records if r.start and r.start > self.time - RECENT]
        if recent:
            record = recent[choice % len(recent)]
            scored = a_record(record.id, start=record.start or NOW, updated=self.time,
                              content=next(self._updates), account=record.account)  # fmt: skip
            records[records.index(record)] = scored
            self._say(user, scored)

    def _return(self, mail: Mail, after: timedelta) -> None:
        mail.visible_at = self.time + after
        self.mail.append(mail)

    # How it ends

    def live(self, plan: Plan) -> None:
        """Let everything happen, with its faults; then let everybody who is still there finish."""
        for who in range(len(self.members)):
            self.connect(who)
            self.time += timedelta(minutes=1, seconds=2)
        self._faults = list(plan.faults)
        for step in plan.steps:
            self.step(step)
        self._faults = []
        while self.unheard:
            self.hear(1)
        self.drain()
        self.check_tokens()
        self.check_nobody_stands()
        for who in range(len(self.members)):
            self.reconnect(who)
        self.drain()
        # What has lost its message is revived, and then everything is asked for once more.
        for _ in range(2):
            heads = [self.head(user, resource) for user, resource in self.places()]
            signs = [s for head in heads for s in (head.touched_at, head.retry_at) if s is not None]
            self.time = max([self.time, *signs]) + STALE
            for who in range(len(self.members)):
                self.start(who, Lane.NIGHTLY)
            self.drain()

    def reconnect(self, who: int) -> None:
        """Sign in again where that is needed, as often as there is no room for it."""
        for _ in range(8):
            stored = self.connections.find(self.members[who], PROVIDER)
            if stored is not None and stored.value.status is Status.CONNECTED:
                return
            self.connect(who)
            self.drain()
            self.time += timedelta(hours=1)
        raise AssertionError("nobody can connect any more")

    def drain(self) -> None:
        for _ in range(3000):
            if not self.mail:
                return
            self.mail.sort(key=lambda mail: mail.visible_at)
            self.deliver(0)
        raise AssertionError("the queue never empties")

    def owners(self) -> list[Connection]:
        found = [self.connections.find(user, PROVIDER) for user in self.members]
        return [stored.value for stored in found if stored is not None]

    def places(self) -> list[tuple[UserId, ResourceName]]:
        return [
            (user, resource.name)
            for user in self.members
            for resource in self.provider.resources
            if resource.scope in self.provider.scopes[user]
        ]

    def owner(self, ref: Ref) -> UserId | None:
        found = self.connections.by_ref(ref)
        return found.value.user if found else None

    def head(self, user: UserId, resource: ResourceName = RESOURCE) -> Head:
        return self.records.head(Place(PROVIDER, user, resource)).value

    # What was promised

    def check_tokens(self) -> None:
        """Hold that nobody is signed out without the provider's word."""
        for owner in self.owners():
            if owner.status is Status.PARKED:
                refresh = open_refresh(self.cipher, owner).reveal()
                (consent,) = [c for c in self.provider.consents if refresh in {c.refresh, *c.spent}]
                assert not consent.alive, "parked although the provider would serve us"

    def check_nobody_stands(self) -> None:
        """Hold that no run that would go on has lost its message."""
        standing = [p for p in self.places() if self.head(*p).progress in ACTIVE]
        assert self.may_stand or not standing, standing

    def check(self) -> None:
        assert self.provider.wrong == []
        assert self.provider.beyond() == []
        assert [error for error in self.raised if not isinstance(error, StorageDown)] == []
        self.check_tokens()
        for user, resource in self.places():
            self.check_head(user, resource)
        for user in self.members:
            self.check_records(user)

    def check_head(self, user: UserId, resource: ResourceName) -> None:
        place, head = Place(PROVIDER, user, resource), self.head(user, resource)
        assert head.progress is Progress.FINISHED, (resource, head)
        versions = self.records.versions.get(place, {})
        feed = self.records.feed.get(place, {})
        assert sorted(feed) == list(range(1, head.seq + 1)), "the feed has holes"
        assert sorted(feed.values()) == sorted(versions), "the feed and the versions differ"
        assert all(feed[version.seq] == row for row, version in versions.items())
        assert head.versions == len(versions)
        assert head.announced == head.seq
        [ref] = [one.ref for one in self.connections.everyone() if self.owner(one.ref) == user]
        bell = self.rung.get((ref, resource))
        assert (bell.seq if bell else 0) == head.seq, "nobody was told of the last records"
        alive = [one for one in self.records.current(place).values() if one.body]
        assert head.records == len(alive)
        before = None
        for _, version in sorted(versions.items()):
            if before is not None and before.content.id == version.content.id:
                assert before.known.digest != version.known.digest, "a doubled version"
            before = version

    def check_records(self, user: UserId) -> None:
        head = self.head(user)
        assert head.goal is not None
        assert head.held is not None
        assert head.held.start <= head.goal.start
        assert head.held.end >= head.goal.end
        truth = {
            record.id: record.body
            for record in self.provider.listed(user, head.held.start, head.held.end)
        }
        held = {
            name: version.body
            for name, version in self.records.current(Place(PROVIDER, user, RESOURCE)).items()
            if version.body
        }
        assert held == truth

    def _ports(self) -> Ports:
        def port(inner: Any) -> Any:
            return Port(self, inner)

        return Ports(
            once=port(self._once),
            slots=port(self._slots),
            budgets=port(self.budgets),
            connections=port(self.connections),
            departures=port(MemoryDepartures()),
            records=port(self.records),
            queue=port(Queue(self)),
            poison=port(self.poison),
            events=port(self._events),
            cipher=port(self.cipher),
            clock=lambda: self.time,
            skew=lambda: timedelta(0),
            dice=lambda: next(self._rolls),
            mint=lambda: f"minted-{next(self._minted):036}",
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def account(user: UserId) -> AccountId:
    return AccountId(f"account-of-{user}")


def _seal_place(owner: Connection) -> Any:
    from shared.ports import SealPlace

    return SealPlace(owner.user, owner.provider, "refresh")


#: As often as they are here.
STEPS = [
    *(["deliver"] * 6),
    *("start", "start", "connect", "night", "copy", "copy"),
    *("add", "rescore", "remove", "return", "expire", "wait"),
    *(["hear"] * 3),
]
FAULTS = [
    *(["kill", "down", "interrupt", "error"] * 2),
    *("lost_answer", "slow", "refuse", "unsealable"),
]
#: Calls that matter more than there are of them.
PLACES = ["Connections.put", "Budgets.save", "commit", "put_head", "Queue.defer", "renew", "fetch"]


def plans(*, steps: int, faults: int) -> st.SearchStrategy[Plan]:
    numbers = st.integers(0, 99)
    step = st.builds(Step, st.sampled_from(STEPS), st.integers(0, 2), numbers)
    fault = st.one_of(
        st.builds(Fault, st.just(""), st.integers(0, 25), st.sampled_from(FAULTS), numbers),
        st.builds(
            Fault, st.sampled_from(PLACES), st.integers(0, 2), st.sampled_from(FAULTS), numbers
        ),
    )
    return st.builds(
        Plan,
        members=st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=3).map(
            tuple
        ),
        lifetime=st.sampled_from([timedelta(minutes=5), timedelta(hours=1)]),
        limits=st.tuples(
            st.sampled_from([3, 5, 20, 1000]).map(lambda n: Limit(n, timedelta(minutes=1))),
            st.sampled_from([40, 100_000]).map(lambda n: Limit(n, timedelta(hours=2))),
        ),
        steps=st.lists(step, min_size=steps // 2, max_size=steps).map(tuple),
        faults=st.one_of(
            st.lists(fault, max_size=faults // 4),
            st.lists(fault, min_size=faults // 4, max_size=faults),
        ).map(tuple),
    )


def holds(plan: Plan) -> None:
    engine = Engine(plan)
    engine.live(plan)
    engine.check()


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Keep thousands of alarms out of the report."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


NORMAL = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@NORMAL
@given(plans(steps=40, faults=30))
def test_whatever_goes_wrong_everything_is_there_in_the_end(plan: Plan) -> None:
    holds(plan)


@pytest.mark.long
@settings(NORMAL, max_examples=2000)
@given(plans(steps=80, faults=60))
def test_whatever_goes_wrong_everything_is_there_in_the_end_deeply(plan: Plan) -> None:
    holds(plan)
