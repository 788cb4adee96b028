"""Runs programs for as long as a `with` block lasts, whichever way it ends."""

import http.client
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from dev.bootstrap import ROOT
from dev.failures import LocalError

#: How long a program may take to end when it is asked to.
GRACE_SECONDS = 15.0

#: Where no system looks when it is asked for any free port, or for one to connect from. One of
#: those could be taken between our finding it free and a child's listening on it.
PORTS = range(20_000, 32_000)

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.02
_TAIL_LINES = 20


class ChildError(LocalError):
    """A program did not start, or ended by itself; the message has its last words."""


class PortInUse(LocalError):
    """Somebody else listens on a port that we want."""


@dataclass(frozen=True, slots=True)
class Child:
    """A program that runs, and the file that has its words."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def died(self) -> ChildError:
        """Describe how it ended, with its last words."""
        code = self.process.poll()
        text = self.log.read_text(encoding="utf-8", errors="replace")
        tail = "\n".join(text.splitlines()[-_TAIL_LINES:])
        return ChildError(f"The {self.name} has ended (exit code {code}). {self.log}:\n\n{tail}")


class Children:
    """Starts programs, each with a log in `folder`; ends them all, the last one first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Child] = []

    def start(
        self, name: str, module: str, arguments: Sequence[str], *, variables: Mapping[str, str]
    ) -> Child:
        """Start a module as a program; its log and the messages about it call it `name`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{name}.log"
        with log.open("wb") as words:
            process = subprocess.Popen(
                [sys.executable, "-m", "dev.leash", module, *arguments],
                cwd=ROOT,
                env=variables,
                stdin=subprocess.PIPE,  # for dev.leash: it closes when we are gone
                stdout=words,
                stderr=subprocess.STDOUT,
                **apart(),
            )
        child = Child(name, process, log)
        self._running.append(child)
        return child

    def check(self) -> None:
        """Raise `ChildError` if one has ended by itself."""
        for child in self._running:
            if child.process.poll() is not None:
                raise child.died()

    def wait_ready(self, child: Child, url: str) -> None:
        """Return when `url` answers with 200."""
        deadline = time.monotonic() + _READY_SECONDS
        while not answers(url):
            if child.process.poll() is not None:
                raise child.died()
            if time.monotonic() > deadline:
                raise ChildError(
                    f"The {child.name} has not answered within {_READY_SECONDS:.0f} s at {url}; "
                    f"its log is {child.log}."
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End them all, the last one first; return when they have ended."""
        while self._running:
            _end(self._running.pop().process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def apart() -> dict[str, Any]:
    """Put a child into a process group of its own.

    A terminal sends Ctrl-C to its whole foreground group; we end our children ourselves, in an
    order in which nobody loses what another still writes.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let SIGTERM, and a closed terminal, end a `with` block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals nowhere else
        return

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM]
    if sys.platform != "win32":
        numbers.append(signal.SIGHUP)
    with ExitStack() as undo:
        for number in numbers:
            undo.callback(signal.signal, number, signal.signal(number, end))
        yield


def free_ports(count: int) -> list[int]:
    """Find ports that nobody uses, all different."""
    shuffled = random.sample(PORTS, len(PORTS))
    return list(itertools.islice(filter(_is_free, shuffled), count))


def require_free(port: int, purpose: str, option: str) -> None:
    """Raise `PortInUse` if somebody listens on `port`."""
    if not _is_free(port):
        raise PortInUse(
            f"Port {port}, meant for {purpose}, is in use: end the program that uses it, or "
            f"choose another with {option} (0 is any free one)."
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if sys.platform != "win32":
            # Else a port counts as taken for a minute after its last connection ended.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(url: str) -> bool:
    """Tell whether `url` answers with 200; on this machine, so past any proxy."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, hard=False)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(process, hard=True)
        process.wait()
    finally:
        if process.stdin:
            process.stdin.close()


def _signal(process: subprocess.Popen[bytes], *, hard: bool) -> None:
    """Tell a child, and its children, to end."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        if hard:
            process.kill()
        else:
            process.send_signal(signal.CTRL_BREAK_EVENT)
        return
    os.killpg(process.pid, signal.SIGKILL if hard else signal.SIGTERM)
