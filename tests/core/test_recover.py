from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared import errors
from shared.core import backoff
from shared.core.model import FinishJob, GrantId, Job, Progress
from shared.core.recover import Recovery, Retry, Rewalk, Stop, recover
from tests.builders import JOB, NOW, REF

LAST = backoff.MAX_ATTEMPTS - 1
FINISH = FinishJob(REF, GrantId("g"))
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("job", "error", "expected"),
    [
        pytest.param(
            JOB,
            errors.RateLimited(NOW + MINUTE),
            Retry(replace(JOB, waits=1), NOW + timedelta(seconds=60.5), "rate_limited"),
            id="a rate limit waits as asked, spread a little, and costs no attempt",
        ),
        pytest.param(
            replace(JOB, waits=6),
            errors.RateLimited(NOW),
            Retry(replace(JOB, waits=7), NOW + timedelta(seconds=64 + 32), "rate_limited"),
            id="a provider that repeats itself doubles the floor",
        ),
        pytest.param(
            replace(JOB, waits=6),
            errors.OutOfBudget(NOW + MINUTE),
            Retry(replace(JOB, waits=6), NOW + timedelta(seconds=59), "out_of_budget"),
            id="who waits for a spent budget is back a moment early, and waits no longer each time",
        ),
        pytest.param(
            JOB,
            errors.OutOfBudget(NOW + timedelta(seconds=0.5)),
            Retry(JOB, NOW, "out_of_budget"),
            id="a moment early is not in the past",
        ),
        pytest.param(
            FINISH,
            errors.RateLimited(NOW + MINUTE),
            Retry(replace(FINISH, waits=1), NOW + timedelta(seconds=60.5), "rate_limited"),
            id="finishing waits too",
        ),
        pytest.param(
            JOB,
            errors.Busy(NOW + MINUTE),
            Retry(JOB, NOW + timedelta(seconds=60.5), "renewing"),
            id="losers of a renewal come back, and it costs nothing",
        ),
        pytest.param(
            JOB,
            errors.Unsealable("no key"),
            Retry(JOB, NOW + timedelta(minutes=15) * 0.75, "key_missing"),
            id="a missing key never ends a run",
        ),
        pytest.param(JOB, errors.CursorRefused("x"), Rewalk(), id="a refused cursor walks again"),
        pytest.param(
            FINISH,
            errors.CursorRefused("x"),
            Stop(Progress.FAILED, "cursor_refused"),
            id="finishing has no cursor",
        ),
        pytest.param(
            JOB,
            errors.ScopeMissing("x"),
            Stop(Progress.NO_SCOPE, "scope_missing"),
            id="a missing scope is its own state",
        ),
        pytest.param(
            JOB,
            errors.AccountDeactivated("x"),
            Stop(Progress.DEACTIVATED, "account_deactivated"),
            id="a paused account is its own state",
        ),
        pytest.param(
            JOB,
            errors.Unavailable("x"),
            Retry(replace(JOB, attempt=1), NOW + timedelta(seconds=1), "provider_unavailable"),
            id="an outage is tried again",
        ),
        pytest.param(
            replace(JOB, attempt=3),
            errors.TokenRejected("x"),
            Retry(replace(JOB, attempt=4), NOW + timedelta(seconds=8), "token_rejected"),
            id="a refused token is an outage, further apart each time",
        ),
        pytest.param(
            replace(JOB, attempt=LAST - 1),
            errors.Unavailable("x"),
            Retry(
                replace(JOB, attempt=LAST),
                NOW + timedelta(seconds=2 * 2 ** (LAST - 1) / 2),
                "provider_unavailable",
            ),
            id="the last attempt but one",
        ),
        pytest.param(
            replace(JOB, attempt=LAST),
            errors.Unavailable("x"),
            Stop(Progress.FAILED, "provider_unavailable"),
            id="after eight attempts the reason stays",
        ),
        pytest.param(
            JOB,
            errors.GrantDead("x"),
            Stop(Progress.FAILED, "reauth_required"),
            id="a dead grant",
        ),
        pytest.param(
            JOB, errors.NotThere("x"), Stop(Progress.FAILED, "not_there"), id="nothing there"
        ),
        pytest.param(
            JOB, errors.Rejected("x"), Stop(Progress.FAILED, "request_rejected"), id="our mistake"
        ),
    ],
)
def test_recover(
    job: Job, error: errors.ProviderError | errors.Busy | errors.Unsealable, expected: Recovery
) -> None:
    assert recover(job, error, now=NOW, roll=0.5) == expected


@pytest.mark.parametrize("roll", [0.0, 0.999])
def test_nobody_comes_back_before_the_provider_asked(roll: float) -> None:
    asked = NOW + timedelta(hours=6)

    decision = recover(JOB, errors.RateLimited(asked), now=NOW, roll=roll)

    assert isinstance(decision, Retry)
    assert asked <= decision.at < asked + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("attempt", "roll", "seconds"),
    [
        (0, 0.0, 0.0),
        (0, 0.5, 1.0),
        (1, 0.5, 2.0),
        (3, 1.0, 16.0),
        (8, 1.0, 512.0),
        (9, 1.0, 900.0),
        (40, 0.5, 450.0),
        (1_000_000, 1.0, 900.0),
    ],
)
def test_the_wait_doubles_up_to_a_quarter_of_an_hour(
    attempt: int, roll: float, seconds: float
) -> None:
    assert backoff.delay(attempt, roll) == timedelta(seconds=seconds)


def test_eight_attempts() -> None:
    assert backoff.MAX_ATTEMPTS == 8
