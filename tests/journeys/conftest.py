"""The whole product in one process but for storage: real HTTP, real queues, a look-alike WHOOP."""

from __future__ import annotations

import base64
import itertools
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
import requests

from dev.azurite import Azurite
from dev.children import free_ports
from dev.connecting import connect
from dev.demo import compare
from dev.host import Host
from dev.raw import read_current
from dev.simulator import Options, Simulator, serve
from dev.simulator.members import Member

ROOT = Path(__file__).resolve().parents[2]
PAGE = "http://localhost:8080/pages/settings/Dispositivos.html"
#: A seed for each look-alike, so that no two have the same accounts.
SEEDS = itertools.count(1)
SECRET = secrets.token_hex(32)
RESOURCES = ("cycle", "recovery", "sleep", "workout", "profile", "body_measurement")


class Gym:
    """The running app, the members' browsers, and the look-alike's inside."""

    def __init__(self, azurite: Azurite, simulator: Simulator, api: str) -> None:
        self.azurite = azurite
        self.simulator = simulator
        self.api = api

    def join(self, *, days: int = 30) -> tuple[str, Member]:
        """Make up a member of GoToGym who has a WHOOP."""
        return f"user-{uuid4().hex[:8]}", self.simulator.world.add_member(days=days)

    def connect(self, user: str, member: Member) -> None:
        """Follow every redirect of the real consent."""
        connect(self.api, PAGE, self.token(user), member.user_id)

    def token(self, user: str) -> str:
        claims = {"user_id": user, "exp": int(time.time()) + 600}
        return jwt.encode(claims, SECRET, algorithm="HS256")

    def call(
        self, method: str, path: str, user: str, more: Mapping[str, str] | None = None
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token(user)}", **(more or {})}
        return requests.request(method, self.api + path, headers=headers, timeout=30)

    def status(self, user: str) -> dict[str, Any]:
        answer = self.call("GET", "/providers/whoop/status/", user)
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status

    def wait(self, user: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until the newest run is in one of ``states``."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status(user)
            if status["run"] and status["run"]["state"] in (states or ("finished", "failed")):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.05)

    def differences(self, user: str, member: Member) -> list[str]:
        """Compare the raw layer with the truth, record by record."""
        goal = self.status(user)["run"]["goal"]
        start, end = (datetime.fromisoformat(goal[side]) for side in ("start", "end"))
        truth = self.simulator.truth(member.user_id, start, end)
        found = []
        for resource in RESOURCES:
            held = read_current(self.azurite.connection_string, "whoop", user, resource)
            found += [f"{resource} {one}" for one in compare(truth[resource], held)]
        return found

    def minimum(self, user: str, member: Member) -> int:
        """Return the fewest requests that bring this member's goal here."""
        goal = self.status(user)["run"]["goal"]
        start, end = (datetime.fromisoformat(goal[side]) for side in ("start", "end"))
        return self.simulator.minimum_requests([member.user_id], start, end)


Open = Callable[..., AbstractContextManager[Gym]]


@contextmanager
def a_gym(
    azurite: Azurite,
    *,
    lease_seconds: float = 600,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    **options: Any,
) -> Iterator[Gym]:
    """Run the app and a WHOOP of its own; ``clock`` and ``options`` are the look-alike's."""
    (port,) = free_ports(1)
    api = f"http://localhost:{port}"
    simulator = Simulator(
        Options(
            client_id="an-app",
            client_secret="its-secret",
            redirect_uris=(f"{api}/oauth/whoop/callback/",),
            seed=next(SEEDS),
            **{"per_minute": 100_000, "per_day": 1_000_000, **options},
        ),
        clock,
    )
    with serve(simulator, port=0) as whoop:
        env = {
            "AzureWebJobsStorage": azurite.connection_string,
            "DataStorage": azurite.connection_string,
            "WHOOP_CLIENT_ID": "an-app",
            "WHOOP_CLIENT_SECRET": "its-secret",
            "WHOOP_REDIRECT_URI": f"{api}/oauth/whoop/callback/",
            "WHOOP_API_URL": f"{whoop}/developer",
            "WHOOP_OAUTH_URL": f"{whoop}/oauth/oauth2",
            "PUBLIC_URL": api,
            "SETTINGS_PAGE_URL": PAGE,
            "BACKFILL_DAYS": "400",
            # The budget is in storage, which these tests share: none must wait for another's.
            "WHOOP_REQUESTS_PER_MINUTE": "100000",
            "WHOOP_REQUESTS_PER_DAY": "1000000",
            "SYNC_SCHEDULE": "0 0 9 * * *",
            "JWT_ALGORITHM": "HS256",
            "JWT_SECRET": SECRET,
            "TOKEN_KEYS": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        }
        sys.modules.pop("function_app", None)  # another test's app, with its settings
        with Host(ROOT, port, lease_seconds, env):
            yield Gym(azurite, simulator, api)
        sys.modules.pop("function_app", None)


@pytest.fixture(scope="session")
def journey_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Storage of these tests' own: the app's queues have fixed names."""
    with Azurite(tmp_path_factory.mktemp("journeys")) as running:
        yield running


@pytest.fixture
def gym(journey_storage: Azurite) -> Iterator[Gym]:
    with a_gym(journey_storage) as running:
        yield running
