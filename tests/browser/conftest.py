"""A real browser, the real stack, and a member of their own for every test."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect

from dev import browser as browsers
from dev import page_server
from dev.azurite import Azurite
from dev.browser.driving import driven
from dev.children import free_ports
from dev.page_server import PAGE, Site
from dev.scenes import LOCALE, TIMEZONE
from dev.stack import USER, Ports, Stack, World

#: How far the first run reaches back, so that there are pages enough to watch.
DAYS = 400
#: The page looks as seldom as it would, ten times as fast.
FASTER = {"first: 1000, last: 15000": "first: 100, last: 1500"}
PLENTY = 1_000_000
#: How long access lasts without being renewed; nobody wants to wait for an hour.
ACCESS_SECONDS = 4


@pytest.fixture(scope="session")
def chrome() -> Iterator[Browser]:
    """The browser, for the whole session (under xdist: the worker's)."""
    found = browsers.find(os.environ)
    if found is None:
        # In CI nobody reads the reasons of skipped tests.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"There is no browser: install Chrome, Chromium or Edge, or name one in "
            f"{browsers.CHOICE}"
        )
    with driven(found) as running:
        yield running


@pytest.fixture(scope="session")
def stack(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything but the page; ``azurite`` only says that there can be one."""
    world = World(
        members=1,
        days=DAYS,
        simulator=(
            *("--per-minute", str(PLENTY), "--per-day", str(PLENTY)),
            *("--token-seconds", str(ACCESS_SECONDS)),
        ),
        settings={
            "WHOOP_REQUESTS_PER_MINUTE": str(PLENTY),
            "WHOOP_REQUESTS_PER_DAY": str(PLENTY),
        },
    )
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, Ports(*free_ports(3)), world) as running, _served(running):
        yield running


def _served(stack: Stack) -> Any:
    tokens = {USER.format(1): stack.token(USER.format(1))}
    return page_server.serve(Site(stack.api, tokens, changes=FASTER), stack.ports.page)


@dataclass
class Visitor:
    """A member of GoToGym with a WHOOP, at their own browser."""

    stack: Stack
    context: BrowserContext
    user: str
    whoop: int
    page: Page
    #: The address of every request that the page has made.
    asked: list[str] = field(default_factory=list)

    def open(self) -> None:
        self.page.goto(self.stack.page)
        expect(self.card.locator(".state")).not_to_have_text("Cargando…")

    @property
    def card(self) -> Any:
        return self.page.locator("#device-whoop")

    @property
    def state(self) -> Any:
        return self.card.locator(".state")

    @property
    def notice(self) -> Any:
        return self.page.locator("#notice")

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def leave(self) -> None:
        """Press the card's button, and be at the consent page."""
        self.card.locator(".card .button").click()
        self.page.wait_for_url(f"{self.stack.simulator}/**")

    def approve(self, page: Page | None = None) -> None:
        page = page or self.page
        page.locator(f"input[value='{self.whoop}']").check()
        page.get_by_role("button", name="Approve").click()
        page.wait_for_url(f"{self.stack.page}*")

    def connect(self) -> None:
        self.open()
        self.leave()
        self.approve()
        expect(self.notice).to_contain_text("conectaste WHOOP")

    def connected(self) -> None:
        """Connect, and wait until all is here."""
        self.connect()
        expect(self.state).to_contain_text("Conectado · al día", timeout=20_000)

    def unfold(self) -> None:
        details = self.page.locator("#more-whoop")
        if details.get_attribute("open") is None:
            details.locator("summary").click()

    def status(self) -> dict[str, Any]:
        answer = requests.get(
            f"{self.stack.api}/providers/whoop/status/",
            headers={"Authorization": f"Bearer {self.stack.token(self.user)}"},
            timeout=10,
        )
        status: dict[str, Any] = answer.json()
        return status


def control(stack: Stack, method: str, where: str, /, **document: Any) -> Any:
    """Ask the look-alike for something that no WHOOP would do."""
    url = f"{stack.simulator}/control/{where}"
    answer = requests.request(method, url, json=document or None, timeout=10)
    answer.raise_for_status()
    return answer.json()


Arrive = Callable[..., Visitor]
Shown = Callable[[str], AbstractContextManager[str]]


@pytest.fixture
def arrive(chrome: Browser, stack: Stack) -> Iterator[Arrive]:
    """Let a new member arrive, with ``days`` of records; no script of theirs may fail."""
    contexts: list[BrowserContext] = []
    failed: list[str] = []

    def come(*, days: int = 8, **options: Any) -> Visitor:
        context = chrome.new_context(**{"locale": LOCALE, "timezone_id": TIMEZONE, **options})
        context.set_default_timeout(10_000)
        contexts.append(context)
        user = f"user-{uuid4().hex[:8]}"
        member = control(stack, "POST", "members", days=days)
        context.add_init_script(
            "if (location.hostname === 'localhost')"
            f"sessionStorage.setItem('gotogym.token', '{stack.token(user)}')"
        )
        visitor = Visitor(stack, context, user, member["user_id"], context.new_page())
        context.on("request", lambda request: visitor.asked.append(request.url))
        context.on("weberror", lambda error: failed.append(str(error.error)))
        context.on(
            "console",
            lambda said: failed.append(said.text) if re.search("Refused|CSP", said.text) else None,
        )
        return visitor

    yield come
    for context in contexts:
        context.close()
    control(stack, "DELETE", "faults")
    assert failed == []


@pytest.fixture(scope="session")
def shown(stack: Stack) -> Shown:
    """Serve the page once more, for an API somewhere else."""

    @contextmanager
    def serve(api: str) -> Iterator[str]:
        (port,) = free_ports(1)
        tokens = {USER.format(1): stack.token(USER.format(1))}
        with page_server.serve(Site(api, tokens, changes=FASTER), port):
            yield f"http://localhost:{port}{PAGE}"

    return serve


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    path = browsers.FOLDER / "node_modules" / "axe-core" / "axe.min.js"
    return Path(path).read_text(encoding="utf-8")
