"""Our app, the provider's look-alike and a member's browser, with storage in memory."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import azure.functions as func
import jwt
import requests

from dev.host import bindings, routes
from dev.host.functions import Function, HttpTrigger
from dev.host.indexing import imported, index
from dev.simulator import Member, Options, Simulator, serve, signing
from dev.simulator.webhooks import Post
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
from shared.bootstrap import Ports, Services, mint, wire
from shared.config import Settings
from shared.core.codec import encode
from shared.core.model import (
    ChunkJob,
    Connection,
    Job,
    Lane,
    LookJob,
    ProviderName,
    StartJob,
    UserId,
)
from shared.errors import StorageDown
from shared.ports import Etag, OneTime, Stored
from whoop.client import Client
from whoop.provider import Whoop, provider

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 22, 11, 30, 0, 250_000, tzinfo=UTC)
PUBLIC_URL = "https://api.gotogym.example"
PAGE = "https://www.gotogym.example/pages/settings/Dispositivos.html"
WHOOP = ProviderName("whoop")
JWT_SECRET = "a-secret-of-gotogym-that-is-long-enough"
ENV: Mapping[str, str] = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "DataStorage": "UseDevelopmentStorage=true",
    "PUBLIC_URL": PUBLIC_URL,
    "SETTINGS_PAGE_URL": PAGE,
    "JWT_ALGORITHM": "HS256",
    "JWT_SECRET": JWT_SECRET,
    "TOKEN_KEYS": "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "SYNC_SCHEDULE": "0 0 9 * * *",
    "WHOOP_CLIENT_ID": "an-app",
    "WHOOP_CLIENT_SECRET": "canary-client-secret",
    "WHOOP_REDIRECT_URI": f"{PUBLIC_URL}/oauth/whoop/callback/",
}
RESOURCES = ("cycle", "recovery", "sleep", "workout", "profile", "body_measurement")


@dataclass(frozen=True, slots=True)
class App:
    """``function_app.py`` as the Functions runtime sees it."""

    module: types.ModuleType
    functions: Mapping[str, Function]

    @property
    def routes(self) -> list[routes.Entry[Function]]:
        return [
            routes.Entry(one.trigger.route, one.trigger.methods, one)
            for one in self.functions.values()
            if isinstance(one.trigger, HttpTrigger)
        ]


@cache
def app() -> App:
    """Import and index the app, which may be done once for each import of it."""
    with imported(ROOT) as module:
        return App(module, {one.name: one for one in index(module, ENV, route_prefix="")})


class Watch:
    """A clock that stands still until it is moved; a simulator may have it as well."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class OneTimes(MemoryOneTime):
    """Can be switched off."""

    down = False

    def keep(self, kind: str, fingerprint: str, once: OneTime) -> None:
        self._answer()
        super().keep(kind, fingerprint, once)

    def find(self, kind: str, fingerprint: str) -> Stored[OneTime] | None:
        self._answer()
        return super().find(kind, fingerprint)

    def use_up(self, kind: str, fingerprint: str, etag: Etag) -> None:
        self._answer()
        super().use_up(kind, fingerprint, etag)

    def _answer(self) -> None:
        if self.down:
            raise StorageDown("switched off")


class ManyConnections(MemoryConnections):
    """Can be switched off."""

    down = False

    def find(self, user: UserId, provider: ProviderName) -> Stored[Connection] | None:
        if self.down:
            raise StorageDown("switched off")
        return super().find(user, provider)

    def reachable(self) -> bool:
        return not self.down


@dataclass(frozen=True, slots=True)
class Answer:
    """What a browser sees of an answer."""

    status: int
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        return self.headers["location"]

    @property
    def outcome(self) -> dict[str, str]:
        """Read what a redirect brings to the settings page."""
        assert self.status == 302
        page, _, query = self.location.partition("?")
        assert page == PAGE
        return dict(parse_qsl(query, strict_parsing=True))


@dataclass(slots=True)
class Browser:
    """A member's browser: it has a session at GoToGym, and keeps cookies."""

    world: World
    token: str | None = None
    cookies: dict[str, str] = field(default_factory=dict)

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        bearer: str | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Ask our app."""
        path, _, query = url.removeprefix(self.world.settings.public_url).partition("?")
        found = routes.choose(app().routes, method, routes.split(path))
        assert isinstance(found, routes.Found), f"nobody answers {method} {path}: {found}"
        sent = dict(headers or {})
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        asked = {
            name: ",".join(texts) for name, texts in parse_qs(query, keep_blank_values=True).items()
        }
        request = bindings.http_request(
            method=method,
            url=url,
            headers=sent,
            query=asked,
            route_params=found.params,
            body=body,
        )
        answer = _read(found.owner.call(**{found.owner.parameter: request}))
        for line in answer.cookies:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def get(self, url: str, **options: Any) -> Answer:
        """Navigate, without the Bearer token, as browsers do."""
        return self.call("GET", url, **options)

    def ask(self, method: str, url: str, **options: Any) -> Answer:
        """Let the page's script ask, with the Bearer token."""
        return self.call(method, url, bearer=self.token, **options)

    def ticket(self) -> str:
        """Have the page ask for a link to the consent page, and return it."""
        answer = self.ask("POST", "/oauth/whoop/ticket/")
        assert answer.status == 200, answer.body
        link: str = answer.json["authorize_url"]
        return link

    def consent_page(self) -> str:
        """Follow a link to the provider's consent page; return its address."""
        return self.get(self.ticket()).location

    def consent(self, member: Member, **changes: str) -> str:
        """Go and say yes; return the address to which the provider sends the browser back."""
        return self.world.approve(self.consent_page(), member, **changes)

    def connect(self, member: Member, **changes: str) -> dict[str, str]:
        """Connect, and return what the settings page is told."""
        return self.get(self.consent(member, **changes)).outcome

    def status(self) -> Any:
        answer = self.ask("GET", "/providers/whoop/status/")
        assert answer.status == 200, answer.body
        return answer.json

    def progress(self) -> dict[str, str]:
        """Return the state of every resource."""
        return {one["resource"]: one["state"] for one in self.status()["resources"]}


class World:
    """Everything at once.  ``services`` is what the triggers get."""

    def __init__(
        self, simulator: Simulator, url: str, clock: Watch, env: Mapping[str, str]
    ) -> None:
        self.simulator = simulator
        self.url = url
        self.clock = clock
        self.once = OneTimes()
        self.slots = MemorySlots()
        self.connections = ManyConnections()
        self.departures = MemoryDepartures()
        self.records = MemoryRecords()
        self.queue = MemoryQueue()
        self.poison = MemoryPoison()
        self.events = MemoryEvents()
        self.cipher = MemoryCipher()
        self._numbers = count(1)
        self.env = {
            "WHOOP_API_URL": f"{url}/developer",
            "WHOOP_OAUTH_URL": f"{url}/oauth/oauth2",
            **env,
        }
        self.set_up({})

    def set_up(self, changes: Mapping[str, str]) -> None:
        """Start the app with other settings, on the same storage."""
        env = {**self.env, **changes}
        if hasattr(self, "provider"):
            self.close()
        self.provider: Whoop = provider(env)
        self.provider._client = Client(self.provider.config, self.clock)
        self.settings = Settings.from_env(env)
        self.services: Services = wire(
            self.settings,
            [self.provider],
            Ports(
                once=self.once,
                slots=self.slots,
                budgets=MemoryBudgets(),
                connections=self.connections,
                departures=self.departures,
                records=self.records,
                queue=self.queue,
                poison=self.poison,
                events=self.events,
                cipher=self.cipher,
                clock=self.clock,
                skew=lambda: timedelta(0),
                dice=lambda: 0.5,
                mint=mint,
                sleep=self.clock.move,
            ),
        )

    def close(self) -> None:
        session: requests.Session | None = getattr(
            self.provider._client and self.provider._client._local, "session", None
        )
        if session is not None:
            session.close()

    def browser(self, user: str | None = None) -> Browser:
        """Return the browser of ``user``, of a new member without one."""
        return Browser(self, a_token(user or f"user-{next(self._numbers)}"))

    def approve(self, consent_page: str, member: Member, **changes: str) -> str:
        """Say yes on a consent page, perhaps to something else than was asked for."""
        return self._decide(consent_page, {"member": str(member.user_id), **changes}, "approve")

    def deny(self, consent_page: str) -> str:
        """Say no on a consent page."""
        return self._decide(consent_page, {}, "deny")

    def work(self) -> None:
        """Run what is in the queues through the triggers, until nothing is."""
        for _ in range(200):
            jobs = self.queue.take()
            if not jobs:
                return
            for job, delay in jobs:
                self.clock.move(delay.total_seconds())
                run(job)
        raise AssertionError("there is no end to it")

    def _decide(self, consent_page: str, changes: Mapping[str, str], decision: str) -> str:
        page = urlsplit(consent_page)
        assert f"{page.scheme}://{page.netloc}" == self.url
        form = {**dict(parse_qsl(page.query)), **changes, "decision": decision}
        address = f"{self.url}{page.path}"
        with requests.post(address, data=form, allow_redirects=False, timeout=5) as answer:
            assert answer.status_code == 302, answer.text
            return answer.headers["Location"]


@contextmanager
def a_world(
    env: Mapping[str, str] = ENV, *, post: Post = signing.post, **options: Any
) -> Iterator[World]:
    """Serve a simulator with ``options`` and make a world around it.

    ``post`` is how the simulator's webhooks leave it.
    """
    clock = Watch()
    settings: dict[str, Any] = {"per_minute": 100_000, "per_day": 1_000_000, **options}
    simulator = Simulator(
        Options(
            ENV["WHOOP_CLIENT_ID"],
            ENV["WHOOP_CLIENT_SECRET"],
            redirect_uris=(ENV["WHOOP_REDIRECT_URI"],),
            **settings,
        ),
        clock,
        sleep=lambda _: None,
        post=post,
    )
    with serve(simulator) as url:
        world = World(simulator, url, clock, env)
        try:
            yield world
        finally:
            world.close()


def a_token(user: str, **claims: Any) -> str:
    """Return a token as GoToGym issues it."""
    expiry = datetime.now(UTC) + timedelta(minutes=5)
    return jwt.encode({"user_id": user, "exp": expiry, **claims}, JWT_SECRET, algorithm="HS256")


def message(text: str | bytes) -> func.QueueMessage:
    """Return a queue message as a trigger gets it."""
    body = text.encode() if isinstance(text, str) else text
    made: func.QueueMessage = bindings.queue_message(
        bindings.Message("id", body, 1, "receipt", NOW, NOW + timedelta(days=7), NOW)
    )
    return made


def run(job: Job) -> None:
    """Hand ``job`` to the trigger that would get it."""
    bulk = isinstance(job, ChunkJob) and job.lane in {Lane.NIGHTLY, Lane.BACKFILL}
    name = "sync_later" if bulk or isinstance(job, StartJob) else "sync_now"
    name = "sync_events" if isinstance(job, LookJob) else name
    trigger: Callable[..., None] = app().functions[name].call
    trigger(msg=message(encode(job)))


def _read(returned: object) -> Answer:
    answer = bindings.http_answer(returned)
    headers = [(name.lower(), value) for name, value in answer.headers]
    return Answer(
        answer.status,
        dict(headers),
        tuple(value for name, value in headers if name == "set-cookie"),
        answer.body,
    )
