"""Hosts as processes that can be killed, on storage and a look-alike WHOOP of their own."""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient
from azure.storage.queue import QueueClient

from dev.azurite import Azurite
from dev.children import Child, Children, free_ports
from dev.connecting import Consent, connect
from dev.demo import compare
from dev.raw import read_current
from dev.simulator import Options, Simulator, serve
from dev.simulator.members import Member
from dev.stack import environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = "http://localhost:8080/pages/settings/Dispositivos.html"
RESOURCES = ("cycle", "recovery", "sleep", "workout", "profile", "body_measurement")
QUEUES = ("sync-now", "sync-later", "sync-events")
#: Short, so that a killed worker's message is back within a test.
LEASE_SECONDS = 3
#: A host that dies between a run's head and its message leaves it to a later start.
STALE_SECONDS = 4
#: Waits of minutes, shortened: storage that is away, outages at WHOOP, a claim whose maker died.
SOON = (
    f"shared.slices:STORAGE_PAUSE=1 shared.sync:STALE={STALE_SECONDS} shared.core.backoff:CAP=2"
    " shared.connections:FINISH_AFTER=1"
)
#: What makes a test's hosts wait for seconds where the app's own would for minutes.
HASTE = {
    "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:01",
    "FAULTS_SET": SOON,
}
ENOUGH = {"per_minute": 100_000, "per_day": 1_000_000}
SEEDS = itertools.count(501)

APP = """\
import sys
sys.path.insert(0, {root!r})
from tests.faults import sabotage
sabotage.apply()
with open({source!r}, encoding="utf-8") as file:
    exec(compile(file.read(), {source!r}, "exec"))
"""


@dataclass(frozen=True)
class Person:
    """A member of GoToGym, and who they are at WHOOP."""

    user: str
    member: Member


class Plant:
    """The running parts, and what a test may do to them."""

    def __init__(
        self,
        folder: Path,
        azurite: Azurite,
        simulator: Simulator,
        whoop: str,
        settings: Mapping[str, str],
        *,
        haste: Mapping[str, str] = HASTE,
        lease: float = LEASE_SECONDS,
    ) -> None:
        self.folder = folder
        self._haste = haste
        self._lease = lease
        self.azurite = azurite
        self.simulator = simulator
        self.whoop = whoop
        self._secret = secrets.token_hex(32)
        self._children = Children(folder)
        self._starts = itertools.count(1)
        self.ports: list[int] = []
        self.hosts: list[Child] = []
        self._sabotage: list[Mapping[str, str]] = []
        self._nudged = time.monotonic()
        self.settings = self._settings(settings)

    # Hosts

    def start(self, *sabotage: Mapping[str, str]) -> None:
        """Start a host for each ``sabotage``; the first one answers the members."""
        self._write_app()
        self._sabotage = list(sabotage)
        self.ports = [int(self.settings["PUBLIC_URL"].rpartition(":")[2])]
        self.ports += free_ports(len(sabotage) - 1)
        self.hosts = [self._host(number) for number in range(len(sabotage))]
        for number in range(len(self.hosts)):
            self._wait(number)

    def kill(self, number: int) -> None:
        self.hosts[number].process.kill()
        self.hosts[number].process.wait()

    def restart(self, number: int) -> None:
        self.hosts[number] = self._host(number)
        self._wait(number)

    def keep_alive(self) -> None:
        """Start again what has died, as the platform would."""
        for number, host in enumerate(self.hosts):
            if host.process.poll() is not None:
                self.restart(number)

    def stop(self) -> None:
        self._children.stop()

    def variables(self, sabotage: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a process that runs the app's code."""
        return {
            **environment(os.environ),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self._haste,
            **(sabotage or {}),
        }

    # Members

    def join(self, count: int = 1, *, days: int = 30) -> list[Person]:
        """Make up members, with their consent given."""
        people = self.invite(count, days=days)
        self.connect_all(people)
        return people

    def invite(self, count: int = 1, *, days: int = 30) -> list[Person]:
        """Make up members who have not been asked yet."""
        return [
            Person(f"user-{uuid4().hex[:8]}", self.simulator.world.add_member(days=days))
            for _ in range(count)
        ]

    def connect_all(self, people: Sequence[Person]) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.connect, people))

    def connect(self, person: Person) -> Consent:
        return connect(self.api, PAGE, self.token(person.user), person.member.user_id)

    @property
    def api(self) -> str:
        return self.settings["PUBLIC_URL"]

    def token(self, user: str) -> str:
        claims = {"user_id": user, "exp": int(time.time()) + 3600}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def call(self, method: str, path: str, person: Person) -> requests.Response:
        """Ask the app, once more if the host that should answer has just died."""
        headers = {"Authorization": f"Bearer {self.token(person.user)}"}
        for _ in range(5):
            with suppress(requests.ConnectionError):
                return requests.request(method, self.api + path, headers=headers, timeout=30)
            self.keep_alive()
        raise AssertionError("the host dies again and again")

    def sync(self, people: Sequence[Person]) -> None:
        for person in people:
            assert self.call("POST", "/providers/whoop/sync/", person).status_code == 202

    def nudge(self, people: Sequence[Person]) -> None:
        """Start again what has died, and what it has left half begun."""
        self.keep_alive()
        if time.monotonic() - self._nudged > STALE_SECONDS + 1:
            self._nudged = time.monotonic()
            for person in people:
                self.call("POST", "/providers/whoop/sync/", person)

    def status(self, person: Person) -> dict[str, Any]:
        answer = self.call("GET", "/providers/whoop/status/", person)
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status

    def finished(self, person: Person) -> bool:
        """Say whether the newest run has ended well."""
        run = self.status(person)["run"]
        assert run is None or run["state"] != "failed", self.status(person)
        return run is not None and run["state"] == "finished"

    def wait(
        self, people: Sequence[Person], *, seconds: float = 120, meanwhile: Callable[[], Any] = int
    ) -> None:
        """Wait until everybody's run has ended."""
        left = list(people)
        deadline = time.monotonic() + seconds
        while left:
            meanwhile()
            if self.finished(left[-1]):
                left.pop()
                continue
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(left)} are not done: {self.status(left[-1])}")
            time.sleep(0.1)

    # What must hold

    def check(self, people: Sequence[Person]) -> None:
        """Hold everything that no fault may break."""
        for person in people:
            status = self.status(person)
            assert status["connection"]["status"] == "connected", status["connection"]
            assert status["run"]["state"] == "finished", status
            assert self.differences(person, status["run"]["goal"]) == []
            for resource in status["resources"]:
                assert resource["versions"] == resource["records"], resource
            refused = [
                call for call in self.token_calls(person.member) if call["status"] in {400, 401}
            ]
            assert refused == []
        self.check_poison()

    def differences(self, person: Person, goal: Mapping[str, str]) -> list[str]:
        """Compare the raw layer with the truth, record by record."""
        start, end = (datetime.fromisoformat(goal[side]) for side in ("start", "end"))
        truth = self.simulator.truth(person.member.user_id, start, end)
        found = []
        for resource in RESOURCES:
            held = read_current(self.storage, "whoop", person.user, resource)
            found += [f"{resource} {one}" for one in compare(truth[resource], held)]
        return found

    def check_poison(self) -> None:
        assert self.poisoned() == []

    def poisoned(self) -> list[Any]:
        """Return what the hosts, and then the app, have given up."""
        found: list[Any] = []
        for name in QUEUES:
            with self.queue(f"{name}-poison") as queue, suppress(ResourceNotFoundError):
                found += queue.peek_messages()
        with self.table("Poison") as table, suppress(ResourceNotFoundError):
            found += [row for row in table.list_entities() if row.get("stuck")]
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return the whole raw layer, as far as a second reading may not change it."""
        with self.table("RawRecords") as table:
            rows = [dict(row) for row in table.list_entities()]
        return [row for row in rows if row["RowKey"] != "!"]

    def data_calls(self) -> list[dict[str, Any]]:
        return [entry for entry in self.simulator.log if entry["kind"] == "data"]

    def token_calls(self, member: Member | None = None) -> list[dict[str, Any]]:
        """Return the calls to the token endpoint."""
        return [
            entry
            for entry in self.simulator.log
            if entry["kind"] == "token" and (member is None or entry["user_id"] == member.user_id)
        ]

    @property
    def storage(self) -> str:
        return self.azurite.connection_string

    def queue(self, name: str) -> QueueClient:
        return QueueClient.from_connection_string(self.storage, name)

    def table(self, name: str) -> TableClient:
        return TableClient.from_connection_string(self.storage, name)

    def words(self) -> str:
        """Return everything that the hosts have logged."""
        return "\n".join(
            log.read_text(encoding="utf-8", errors="replace")
            for log in sorted(self.folder.glob("host-*.log"))
        )

    def _host(self, number: int) -> Child:
        path = self.folder / "local.settings.json"
        path.write_text(
            json.dumps({"IsEncrypted": False, "Values": self.settings}), encoding="utf-8"
        )
        arguments = ["--app", str(self.folder / "app"), "--port", str(self.ports[number])]
        arguments += ["--settings", str(path), "--lease", str(self._lease)]
        return self._children.start(
            f"host-{number}-{next(self._starts)}",
            "dev.host",
            arguments,
            variables=self.variables(self._sabotage[number]),
        )

    def _wait(self, number: int) -> None:
        self._children.wait_ready(
            self.hosts[number], f"http://127.0.0.1:{self.ports[number]}/admin/host/status"
        )

    def _write_app(self) -> None:
        app = self.folder / "app"
        app.mkdir(exist_ok=True)
        shutil.copy(ROOT / "host.json", app)
        text = APP.format(root=str(ROOT), source=str(ROOT / "function_app.py"))
        (app / "function_app.py").write_text(text, encoding="utf-8")

    def _settings(self, more: Mapping[str, str]) -> dict[str, str]:
        options = self.simulator.options
        api = options.redirect_uris[0].removesuffix("/oauth/whoop/callback/")
        return {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "PYTHON_THREADPOOL_THREAD_COUNT": "16",
            "AzureWebJobsStorage": self.storage,
            "DataStorage": self.storage,
            "WHOOP_CLIENT_ID": options.client_id,
            "WHOOP_CLIENT_SECRET": options.client_secret,
            "WHOOP_REDIRECT_URI": options.redirect_uris[0],
            "WHOOP_API_URL": f"{self.whoop}/developer",
            "WHOOP_OAUTH_URL": f"{self.whoop}/oauth/oauth2",
            "WHOOP_REQUESTS_PER_MINUTE": str(options.per_minute),
            "WHOOP_REQUESTS_PER_DAY": str(options.per_day),
            "PUBLIC_URL": api,
            "SETTINGS_PAGE_URL": PAGE,
            "BACKFILL_DAYS": "60",
            "SYNC_SCHEDULE": "0 0 9 1 1 *",
            "JWT_ALGORITHM": "HS256",
            "JWT_SECRET": self._secret,
            "TOKEN_KEYS": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
            **more,
        }


@contextmanager
def a_plant(
    folder: Path,
    *,
    settings: Mapping[str, str] | None = None,
    haste: Mapping[str, str] = HASTE,
    lease: float = LEASE_SECONDS,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    in_memory: bool = False,
    **options: Any,
) -> Iterator[Plant]:
    """Start storage and a WHOOP; ``options`` are the look-alike's.  The hosts are the test's."""
    (port,) = free_ports(1)
    simulator = Simulator(
        Options(
            client_id="an-app",
            client_secret="its-secret",
            redirect_uris=(f"http://localhost:{port}/oauth/whoop/callback/",),
            seed=next(SEEDS),
            **{**ENOUGH, **options},
        ),
        clock,
    )
    storage = Azurite(folder / "storage", in_memory=in_memory)
    with storage as azurite, serve(simulator, port=0) as whoop:
        plant = Plant(folder, azurite, simulator, whoop, settings or {}, haste=haste, lease=lease)
        try:
            yield plant
        finally:
            plant.stop()
