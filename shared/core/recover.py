"""Decide what becomes of a job that failed: the table from error to action."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from shared.core import backoff
from shared.core.model import ChunkJob, Job, Progress
from shared.errors import (
    AccountDeactivated,
    Busy,
    CursorRefused,
    OutOfBudget,
    ProviderError,
    RateLimited,
    ScopeMissing,
    Unavailable,
    Unsealable,
)

#: Losers of a renewal come back when the winner has most likely finished.
BUSY_SPREAD = timedelta(seconds=1)
#: Queues round up to the next second, and the last moments are waited for where the request is
#: made, to the millisecond.
BUDGET_EARLY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Retry:
    """Run ``job``, no sooner than ``at``; ``reason`` is what the status says meanwhile."""

    job: Job
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Rewalk:
    """Walk down again from just above what was reached."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run with ``progress``; ``reason`` is what the status says."""

    progress: Progress
    reason: str


Recovery: TypeAlias = Retry | Rewalk | Stop


def recover(
    job: Job, error: ProviderError | Busy | Unsealable, *, now: datetime, roll: float
) -> Recovery:
    """Choose the recovery for ``error``; ``roll`` is uniform in [0, 1)."""
    match error:
        case OutOfBudget(retry_at=at):
            # Our own sums, which are exact: no reason to wait longer each time.
            return Retry(job, max(now, at - BUDGET_EARLY), error.code)
        case RateLimited(retry_at=asked):
            # Never sooner than asked.  Asking again and again doubles the floor, because a
            # provider that repeats itself means it.
            floor = now + backoff.ceiling(job.waits) / 2
            spread = backoff.delay(job.waits, roll) / 2
            return Retry(replace(job, waits=job.waits + 1), max(asked, floor) + spread, error.code)
        case Busy(retry_at=at):
            return Retry(job, at + BUSY_SPREAD * roll, "renewing")
        case Unsealable():
            # Our own fault: signing the member out for it would be the worst answer.
            return Retry(job, now + backoff.CAP * (1 + roll) / 2, "key_missing")
        case CursorRefused() if isinstance(job, ChunkJob):
            return Rewalk()
        case ScopeMissing():
            return Stop(Progress.NO_SCOPE, error.code)
        case AccountDeactivated():
            return Stop(Progress.DEACTIVATED, error.code)
        case Unavailable() if job.attempt + 1 < backoff.MAX_ATTEMPTS:
            # This includes a token refused just after it was renewed, which is the provider's
            # confusion.  Parking on it would sign everyone out during one of their outages.
            again = replace(job, attempt=job.attempt + 1)
            return Retry(again, now + backoff.delay(job.attempt, roll), error.code)
        case _:
            return Stop(Progress.FAILED, error.code)
