"""Runs functions in one pool of threads, as Azure's Python worker does, and logs each run."""

import asyncio
import inspect
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from dev.host.functions import Function

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """What a function gets that asks for a ``func.Context``."""

    invocation_id: str
    function_name: str
    function_directory: str
    thread_local_storage: threading.local
    trace_context: SimpleNamespace
    retry_context: SimpleNamespace


class Invoker:
    """Runs functions; at most ``threads`` at a time, the others wait."""

    def __init__(self, directory: Path, threads: int | None) -> None:
        self._directory = directory
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="function")
        self._local = threading.local()
        self._running: set[Future[Any]] = set()

    def submit(self, function: Function, argument: object) -> "Future[Any]":
        """Run ``function`` on ``argument``; raise RuntimeError once we are stopping."""
        future = self._pool.submit(self._run, function, argument)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def close(self, grace_seconds: float) -> bool:
        """Take no more work and wait a while; say whether everything ended."""
        unfinished = list(self._running)
        # What waits for a thread has not begun, and may as well begin elsewhere.
        self._pool.shutdown(wait=False, cancel_futures=True)
        for future in unfinished:
            if future.cancelled():
                future.set_running_or_notify_cancel()  # or wait() would never hear of it
        _, still_running = wait(list(self._running), timeout=grace_seconds)
        return not still_running

    def _run(self, function: Function, argument: object) -> Any:
        invocation = str(uuid4())
        started = time.monotonic()
        try:
            returned = self._call(function, argument, invocation)
        except BaseException:
            _log_run(function, invocation, started, "failed")
            log.exception("%s raised (%s)", function.name, invocation)
            raise
        _log_run(function, invocation, started, "succeeded")
        return returned

    def _call(self, function: Function, argument: object, invocation: str) -> Any:
        arguments = {function.parameter: argument}
        if function.takes_context:
            arguments["context"] = self._context(function, invocation)
        self._local.invocation_id = invocation
        try:
            returned = function.call(**arguments)
            if inspect.isawaitable(returned):
                returned = asyncio.run(_awaited(returned))
        finally:
            self._local.invocation_id = None
        if returned is not None and not function.may_return:
            raise RuntimeError(
                f"{function.name} has no $return binding and returned something other than None"
            )
        return returned

    def _context(self, function: Function, invocation: str) -> Context:
        return Context(
            invocation_id=invocation,
            function_name=function.name,
            function_directory=str(self._directory),
            thread_local_storage=self._local,
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
        )


async def _awaited(returned: Any) -> Any:
    return await returned


def _log_run(function: Function, invocation: str, started: float, outcome: str) -> None:
    spent = round((time.monotonic() - started) * 1000)
    log.info("%s %s in %d ms (%s)", function.name, outcome, spent, invocation)
