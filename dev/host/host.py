"""Starts and stops a function app on this machine."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev.host import bindings, configuration, indexing, queues
from dev.host.admin import Admin
from dev.host.configuration import HostJson
from dev.host.cors import Cors
from dev.host.functions import CannotStart, Function, HttpTrigger, QueueTrigger, TimerTrigger
from dev.host.invoking import Invoker
from dev.host.queues import Listener
from dev.host.routes import Entry
from dev.host.server import Server
from dev.host.timers import Timer
from dev.host.web import Web

#: Azure leases a message for ten minutes, whatever host.json says.
LEASE_SECONDS = 600.0
GRACE_SECONDS = 5.0


class Host:
    """Runs the ``function_app.py`` of one folder.

    ``env`` is laid over the environment while the host runs, ``settings`` names a
    local.settings.json that fills in what is still missing.  The environment belongs to the
    process, so two hosts in one process must agree on it.
    """

    def __init__(
        self,
        app_dir: Path,
        port: int = 0,
        lease_seconds: float = LEASE_SECONDS,
        env: Mapping[str, str] | None = None,
        *,
        settings: Path | None = None,
    ) -> None:
        self._app_dir = app_dir.resolve()
        self._port = port
        self._lease = timedelta(seconds=lease_seconds)
        self._env = dict(env or {})
        self._settings = settings
        self._undo = ExitStack()
        self._functions: dict[str, Function] = {}
        #: The others run by hand only.
        self._enabled: list[Function] = []
        self._invoker: Invoker | None = None
        self._server: Server | None = None
        self._listeners: list[Listener] = []
        self._timers: list[Timer] = []

    @property
    def url(self) -> str:
        """Return where the host is reached, without a slash at the end."""
        return f"http://localhost:{self._started().port}"

    @property
    def functions(self) -> Mapping[str, Function]:
        """Return the indexed functions by name."""
        return self._functions

    def start(self) -> None:
        """Index the app and run it; CannotStart lists everything that is wrong with it."""
        with ExitStack() as undo:
            self._start(undo)
            self._undo = undo.pop_all()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> bool:
        """Finish what runs, within ``grace_seconds``; say whether everything ended."""
        if self._server is None or self._invoker is None:
            return True
        for source in self._sources():
            source.stop()
        self._server.stop()
        ended = self._invoker.close(grace_seconds)
        for listener in self._listeners:
            listener.close(grace_seconds if ended else 0)
        self._undo.close()
        return ended

    def invoke(self, name: str, body: bytes = b"") -> None:
        """Run a queue or timer function by hand and wait; what it raises is raised here."""
        self._set_off(self._functions[name], body).result()

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

    def _forget(self) -> None:
        self._server = self._invoker = None
        self._listeners, self._timers = [], []

    def _start(self, undo: ExitStack) -> None:
        undo.callback(self._forget)
        settings = (
            configuration.read_local_settings(self._settings)
            if self._settings is not None
            else configuration.NO_SETTINGS
        )
        undo.enter_context(_environment(self._env, settings.values))
        host_json = configuration.read_host_json(self._app_dir / "host.json", os.environ)
        threads = _threads(os.environ)
        module = undo.enter_context(indexing.imported(self._app_dir))
        functions = indexing.index(module, os.environ, route_prefix=host_json.route_prefix)
        self._functions = {function.name: function for function in functions}
        self._enabled = [
            function
            for function in functions
            if not configuration.is_disabled(function.name, os.environ)
        ]

        self._invoker = Invoker(self._app_dir, threads)
        undo.callback(self._invoker.close, 0)
        web = self._web(self._invoker, settings.cors)
        self._server = Server(web.reply, self._port)
        undo.callback(self._server.close)

        self._listen(self._invoker, host_json)
        self._server.start()
        for source in self._sources():
            source.start()

    def _web(self, invoker: Invoker, cors: Cors) -> Web:
        entries = [
            Entry(function.trigger.route, function.trigger.methods, function)
            for function in self._enabled
            if isinstance(function.trigger, HttpTrigger)
        ]
        admin = Admin(self._functions, self._set_off)
        return Web(entries, invoker, admin, cors, os.environ.get("HOST_MASTER_KEY"))

    def _listen(self, invoker: Invoker, host_json: HostJson) -> None:
        for function in self._enabled:
            match function.trigger:
                case QueueTrigger() as trigger:
                    self._listeners.append(
                        Listener(function, trigger, invoker, host_json.queues, self._lease)
                    )
                case TimerTrigger() as trigger:
                    self._timers.append(Timer(function, trigger, invoker))
                case HttpTrigger():
                    pass

    def _set_off(self, function: Function, body: bytes) -> "Future[Any]":
        if self._invoker is None:
            raise RuntimeError("the host is not running")
        match function.trigger:
            case QueueTrigger():
                argument = bindings.queue_message(queues.message_from_hand(body))
            case TimerTrigger():
                argument = bindings.timer_request(last=None, due=None)
            case HttpTrigger():
                raise ValueError(f"{function.name} answers HTTP: call its route")
        return self._invoker.submit(function, argument)

    def _sources(self) -> list[Listener | Timer]:
        return [*self._listeners, *self._timers]

    def _started(self) -> Server:
        if self._server is None:
            raise RuntimeError("the host is not running")
        return self._server


@contextmanager
def _environment(first: Mapping[str, str], otherwise: Mapping[str, str]) -> Iterator[None]:
    """Apply settings to this process, and take them back in the end."""
    added = {**{name: otherwise[name] for name in otherwise if name not in os.environ}, **first}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _threads(env: Mapping[str, str]) -> int | None:
    text = env.get("PYTHON_THREADPOOL_THREAD_COUNT")
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise CannotStart([f'PYTHON_THREADPOOL_THREAD_COUNT must be a number, not "{text}"'])
    return int(text)
