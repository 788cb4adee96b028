"""The whole product on one machine: storage, the WHOOP simulator and the app in its host."""

import argparse
import base64
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import jwt

from dev.azurite import Azurite
from dev.bootstrap import ROOT
from dev.children import Children, free_ports
from dev.page_server import PAGE

#: What a real member of GoToGym would have as user id; made up so that the same member keeps it.
USER = "member-{}"
TOKEN_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens on this machine."""

    api: int
    page: int
    simulator: int
    queue: int = 0
    table: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """How many members the simulator makes up, and how much they have to bring."""

    members: int = 3
    days: int = 30
    seed: int = 1
    #: How many processes run the app; the first one answers the page.
    hosts: int = 1
    #: Further options of the simulator's command line.
    simulator: tuple[str, ...] = ()
    #: Settings of the app, over ours.
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the parts must agree on, made anew for every stack."""

    client_id: str = field(default_factory=lambda: f"local-{secrets.token_hex(8)}")
    client_secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    jwt: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    sealing: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)


def settings(ports: Ports, made: Secrets, storage: str, *, backfill_days: int) -> dict[str, str]:
    """Write down the app's settings."""
    api = f"http://localhost:{ports.api}"
    # Another site than the API's, so that the round trip is as cross-site as in the real world.
    whoop = f"http://127.0.0.1:{ports.simulator}"
    return {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "PYTHON_THREADPOOL_THREAD_COUNT": "16",
        "AzureWebJobsStorage": storage,
        "DataStorage": storage,
        "WHOOP_CLIENT_ID": made.client_id,
        "WHOOP_CLIENT_SECRET": made.client_secret,
        "WHOOP_REDIRECT_URI": f"{api}/oauth/whoop/callback/",
        "WHOOP_API_URL": f"{whoop}/developer",
        "WHOOP_OAUTH_URL": f"{whoop}/oauth/oauth2",
        "PUBLIC_URL": api,
        "SETTINGS_PAGE_URL": f"http://localhost:{ports.page}{PAGE}",
        "BACKFILL_DAYS": str(backfill_days),
        "SYNC_SCHEDULE": "0 0 9 * * *",
        "JWT_ALGORITHM": "HS256",
        "JWT_SECRET": made.jwt,
        "TOKEN_KEYS": f"k1:{base64.b64encode(made.sealing).decode()}",
    }


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Keep what a program needs from the desk's environment, and none of an app's settings.

    The desk may have some for another purpose, and they would win over ours.
    """
    app = ("AzureWebJobs", "DataStorage", "WHOOP_", "JWT_", "TOKEN_KEY", "KEY_VAULT", "FUNCTIONS_")
    single = {"PUBLIC_URL", "SETTINGS_PAGE_URL", "BACKFILL_DAYS", "SYNC_SCHEDULE"}
    return {
        name: value
        for name, value in variables.items()
        if not name.startswith(app) and name not in single
    }


def world_options() -> argparse.ArgumentParser:
    """Make the options that say how large the world is."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--members", type=_from_one, default=3, help="how many (default 3)")
    parser.add_argument("--days", type=_from_one, default=30, help="of data each (default 30)")
    parser.add_argument("--hosts", type=_from_one, default=1, help="that run the app (default 1)")
    return parser


def _from_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Give a folder for logs and data; it stays only if an error leaves something to read there."""
    work = ROOT / ".dev"
    work.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work))
    try:
        yield folder
    except Exception as error:
        error.add_note(f"The logs are in {folder}.")
        raise
    except BaseException:  # Ctrl-C or SIGTERM
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


class Stack:
    """Everything that runs, from `start` to `stop`."""

    def __init__(self, folder: Path, ports: Ports, world: World) -> None:
        self.ports = ports
        self.world = world
        self.api = f"http://localhost:{ports.api}"
        self.page = f"http://localhost:{ports.page}{PAGE}"
        self.simulator = f"http://127.0.0.1:{ports.simulator}"
        self._made = Secrets()
        self._folder = folder
        self._azurite = Azurite(folder / "storage", queue_port=ports.queue, table_port=ports.table)
        self._children = Children(folder)
        self._undo = ExitStack()

    @property
    def storage(self) -> str:
        """The connection string of the storage."""
        return self._azurite.connection_string

    def start(self) -> None:
        """Return when everything answers."""
        with ExitStack() as undo:
            undo.callback(self._azurite.stop)
            self._azurite.start()
            undo.enter_context(self._children)
            self._start_children()
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """End everything, storage last."""
        self._undo.close()

    def check(self) -> None:
        """Raise `ChildError` if a part has ended by itself."""
        self._children.check()

    def token(self, user: str) -> str:
        """Issue what GoToGym's own sign-in would give a member."""
        claims = {"user_id": user, "exp": int(time.time()) + TOKEN_SECONDS}
        return jwt.encode(claims, self._made.jwt, algorithm="HS256")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_children(self) -> None:
        variables = environment(os.environ)
        simulator = self._children.start(
            "simulator",
            "dev.simulator",
            [
                *("--port", str(self.ports.simulator)),
                *("--client-id", self._made.client_id),
                *("--redirect-uri", f"{self.api}/oauth/whoop/callback/"),
                *("--members", str(self.world.members), "--days", str(self.world.days)),
                *("--seed", str(self.world.seed)),
                *self.world.simulator,
            ],
            # Not as an argument: those can be seen by everyone on the machine.
            variables={**variables, "SIMULATOR_CLIENT_SECRET": self._made.client_secret},
        )
        settings_file = self._write_settings()
        ports = [self.ports.api, *free_ports(self.world.hosts - 1)]
        hosts = [
            self._children.start(
                "host" if number == 1 else f"host-{number}",
                "dev.host",
                ["--app", str(ROOT), "--port", str(port), "--settings", str(settings_file)],
                variables=variables,
            )
            for number, port in enumerate(ports, start=1)
        ]
        self._children.wait_ready(simulator, f"{self.simulator}/control/health")
        for host, port in zip(hosts, ports, strict=True):
            self._children.wait_ready(host, f"http://127.0.0.1:{port}/admin/host/status")

    def _write_settings(self) -> Path:
        """Write what `func start` would read as well."""
        path = self._folder / "local.settings.json"
        document = {
            "IsEncrypted": False,
            "Values": {
                **settings(self.ports, self._made, self.storage, backfill_days=self.world.days),
                **self.world.settings,
            },
            "Host": {
                "LocalHttpPort": self.ports.api,
                "CORS": f"http://localhost:{self.ports.page}",
                "CORSCredentials": True,
            },
        }
        path.touch(mode=0o600)  # it holds the keys
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        return path
