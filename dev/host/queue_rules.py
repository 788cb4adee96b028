"""Decides what becomes of a queue message, by the rules of Azure's queue extension."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

POISON_SUFFIX = "-poison"
SHORTEST_PAUSE = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """The ``extensions.queues`` block of host.json."""

    batch_size: int
    new_batch_threshold: int
    max_dequeue_count: int
    visibility_timeout: timedelta
    max_polling_interval: timedelta
    base64: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """Done with it."""


@dataclass(frozen=True, slots=True)
class Release:
    """Let it come back after a while."""

    after: timedelta


@dataclass(frozen=True, slots=True)
class MoveToPoison:
    """Copy it to the poison queue, then delete it."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Do not touch it: it comes back when its lease ends."""


@dataclass(frozen=True, slots=True)
class Run:
    """Hand it to the function."""


Ending: TypeAlias = Delete | Release | MoveToPoison | Leave


def before(queue: str, dequeue_count: int, options: QueueOptions) -> Run | MoveToPoison | Leave:
    """Decide whether a message that just arrived is still run."""
    if dequeue_count <= options.max_dequeue_count:
        return Run()
    return MoveToPoison() if has_poison_queue(queue) else Leave()


def after_success() -> Ending:
    """Decide what becomes of a message whose function returned."""
    return Delete()


def after_failure(queue: str, dequeue_count: int, options: QueueOptions) -> Ending:
    """Decide what becomes of a message whose function raised."""
    if not has_poison_queue(queue):
        # Azure leaves it leased, "to prevent a fast infinite loop".
        return Leave()
    if dequeue_count >= options.max_dequeue_count:
        return MoveToPoison()
    return Release(options.visibility_timeout)


def has_poison_queue(queue: str) -> bool:
    """Say whether failures of ``queue`` have somewhere to go."""
    return not queue.endswith(POISON_SUFFIX)


def longer_pause(pause: timedelta, limit: timedelta) -> timedelta:
    """Back off while a queue stays empty."""
    return min(max(pause * 2, SHORTEST_PAUSE), limit)
