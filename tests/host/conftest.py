"""Tiny function apps, a host to run them, and real queues."""

import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from azure.storage.queue import QueueClient

from dev.azurite import Azurite
from dev.host import Host

HEAD = """
import azure.functions as func
import os, threading, time

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
QUEUE = {"arg_name": "msg", "queue_name": "%QUEUE%", "connection": "AzureWebJobsStorage"}
SEEN = []
"""
#: Storage that nobody calls in a test without queues.
NOWHERE = "UseDevelopmentStorage=true"


class WriteApp(Protocol):
    def __call__(
        self,
        source: str,
        *,
        http: Mapping[str, Any] | None = None,
        queues: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Path: ...


class Run(Protocol):
    def __call__(
        self,
        folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        lease_seconds: float = 600,
        settings: Path | None = None,
    ) -> Host: ...


@pytest.fixture
def write_app(tmp_path: Path) -> WriteApp:
    def write(
        source: str,
        *,
        http: Mapping[str, Any] | None = None,
        queues: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Path:
        (tmp_path / "function_app.py").write_text(HEAD + textwrap.dedent(source))
        fast = {"maxPollingInterval": "00:00:00.2", "batchSize": 4, "newBatchThreshold": 0}
        extensions = {"http": http or {"routePrefix": ""}, "queues": {**fast, **(queues or {})}}
        (tmp_path / "host.json").write_text(
            json.dumps({"version": "2.0", "extensions": extensions})
        )
        if settings is not None:
            (tmp_path / "local.settings.json").write_text(json.dumps(settings))
        return tmp_path

    return write


@pytest.fixture
def run() -> Iterator[Run]:
    with ExitStack() as running:

        def start(
            folder: Path,
            env: Mapping[str, str] | None = None,
            *,
            lease_seconds: float = 600,
            settings: Path | None = None,
        ) -> Host:
            env = {"AzureWebJobsStorage": NOWHERE, **(env or {})}
            host = Host(folder, 0, lease_seconds, env, settings=settings)
            return running.enter_context(host)

        yield start


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite")) as azurite:
        yield azurite


class Queue:
    """One queue of the emulator, and its poison queue."""

    def __init__(self, connection_string: str, name: str) -> None:
        self.name = name
        self.client = QueueClient.from_connection_string(connection_string, name)
        self.poison = QueueClient.from_connection_string(connection_string, f"{name}-poison")
        self.client.create_queue()
        self.env = {"AzureWebJobsStorage": connection_string, "QUEUE": name}

    def is_empty(self) -> bool:
        """Say whether nothing is left, leased or not."""
        return self.client.get_queue_properties().approximate_message_count == 0

    def close(self) -> None:
        self.client.close()
        self.poison.close()


@pytest.fixture
def queue(storage: Azurite) -> Iterator[Queue]:
    queue = Queue(storage.connection_string, f"q{uuid4().hex[:12]}")
    yield queue
    queue.close()


def seen() -> list[Any]:
    """Return what the running app has noted in SEEN."""
    found: list[Any] = sys.modules["function_app"].SEEN
    return found


def eventually(is_so: Callable[[], object], seconds: float = 10) -> None:
    """Wait until ``is_so``."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it has not come to pass"
        time.sleep(0.02)
