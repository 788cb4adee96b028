"""Timer functions."""

import time

import pytest

from tests.host.conftest import Run, WriteApp, eventually, seen

APP = """
@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%", run_on_startup={on_startup})
def tick(timer: func.TimerRequest) -> None:
    SEEN.append((time.time(), timer.past_due))
    time.sleep({lasts})
"""
NEVER = "0 0 0 29 2 *"


def test_a_timer_runs_when_it_is_due(run: Run, write_app: WriteApp) -> None:
    run(write_app(APP.format(on_startup=False, lasts=0)), {"SCHEDULE": "* * * * * *"})

    eventually(lambda: len(seen()) == 2)

    for moment, past_due in seen():
        assert moment % 1 < 0.9
        assert past_due is False


def test_a_timer_never_overlaps_itself(run: Run, write_app: WriteApp) -> None:
    run(write_app(APP.format(on_startup=False, lasts=1.2)), {"SCHEDULE": "* * * * * *"})

    eventually(lambda: len(seen()) == 2)

    (first, _), (second, _) = seen()
    assert second - first > 1.2


@pytest.mark.parametrize(("on_startup", "runs"), [(True, 1), (False, 0)])
def test_a_timer_runs_at_start_only_if_asked(
    run: Run, write_app: WriteApp, *, on_startup: bool, runs: int
) -> None:
    run(write_app(APP.format(on_startup=on_startup, lasts=0)), {"SCHEDULE": NEVER})

    time.sleep(0.3)

    assert len(seen()) == runs


def test_a_failing_timer_runs_again_next_time(run: Run, write_app: WriteApp) -> None:
    run(
        write_app("""
            @app.timer_trigger(arg_name="timer", schedule="* * * * * *")
            def tick(timer: func.TimerRequest) -> None:
                SEEN.append(timer.schedule_status)
                raise RuntimeError("no")
        """)
    )

    eventually(lambda: len(seen()) == 2)

    assert seen()[1]["Next"] > seen()[0]["Next"]
