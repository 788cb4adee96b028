"""What a test breaks inside a host process, told by environment variables.

Only the copy of ``function_app.py`` that ``plant.py`` makes knows this module; the app does not.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dev.host import queues
from shared.adapters.clock import StorageClock
from tests.faults.speed import SPEED, Speed

#: ``module:Class.method``; the process dies right after the ``DIE_CALL``-th such call, once
#: among all processes that share ``DIE_MARK``.
DIE, DIE_CALL, DIE_MARK = "FAULTS_DIE", "FAULTS_DIE_CALL", "FAULTS_DIE_MARK"
#: ``module:NAME=seconds``, space-separated: constants that would make a test take too long.
SET = "FAULTS_SET"
#: Seconds by which this process's clock is wrong.
CLOCK = "FAULTS_CLOCK"


def apply() -> None:
    """Break what the environment asks for."""
    if CLOCK in os.environ:
        by = timedelta(seconds=float(os.environ[CLOCK]))
        _set_clock(lambda: datetime.now(UTC) + by)
    if SPEED in os.environ:
        _hurry(Speed.read(os.environ[SPEED]))
    for order in os.environ.get(SET, "").split():
        where, _, value = order.partition("=")
        module, _, name = where.partition(":")
        target = importlib.import_module(module)
        kind = type(getattr(target, name))
        seconds = float(value)
        setattr(target, name, timedelta(seconds=seconds) if kind is timedelta else kind(seconds))
    if DIE in os.environ:
        _die_after(os.environ[DIE], int(os.environ.get(DIE_CALL, "1")))


def _die_after(where: str, call: int) -> None:
    module, _, path = where.partition(":")
    owner_name, _, method_name = path.partition(".")
    owner: Any = getattr(importlib.import_module(module), owner_name)
    method: Callable[..., Any] = getattr(owner, method_name)
    mark, lock, calls = Path(os.environ[DIE_MARK]), threading.Lock(), [0]

    def fatal(*args: Any, **named: Any) -> Any:
        answer = method(*args, **named)
        with lock:
            calls[0] += 1
            if calls[0] >= call:
                with suppress(FileExistsError):
                    mark.touch(exist_ok=False)
                    os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, method_name, fatal)


def _set_clock(base: Callable[[], datetime]) -> None:
    """Set this process's clock, as far as the app can see it."""
    build = StorageClock.__init__

    def init(clock: StorageClock) -> None:
        build(clock, base)

    StorageClock.__init__ = init  # type: ignore[method-assign,assignment]


def _hurry(speed: Speed) -> None:
    """Let time pass faster: the app's clock, and the half-life after which a lease is renewed."""
    _set_clock(speed)

    def hurried(futures: Any, timeout: float) -> Any:
        return wait(futures, timeout / speed.factor)

    vars(queues)["wait"] = hurried
