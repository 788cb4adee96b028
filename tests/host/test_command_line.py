"""``python -m dev.host`` as a process of its own: signals, sudden death, exit codes."""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.host.conftest import Queue, WriteApp, eventually

ROOT = Path(__file__).resolve().parents[2]
NOTE = """
@app.queue_trigger(**QUEUE)
def job(msg: func.QueueMessage) -> None:
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"begin {msg.dequeue_count}\\n")
        notes.flush()
        time.sleep(float(os.environ["LASTS"]))
        notes.write(f"end {msg.dequeue_count}\\n")
"""


@contextmanager
def process(folder: Path, env: Mapping[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(  # noqa: S603 - it is our own module
        [sys.executable, "-m", "dev.host", "--app", str(folder), "--port", "0", *options],
        cwd=ROOT,
        env={**os.environ, **env},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_an_app_that_cannot_run_is_exit_code_1_and_every_reason(write_app: WriteApp) -> None:
    folder = write_app("""
        @app.timer_trigger(arg_name="timer", schedule="nonsense")
        def one(timer: func.TimerRequest) -> None: ...

        @app.route("admin")
        def two(req: func.HttpRequest) -> str: ...
    """)

    with process(folder, {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}) as host:
        _, log = host.communicate(timeout=20)

    assert host.returncode == 1
    assert "one: the schedule" in log
    assert "two: its route" in log


@pytest.mark.azurite
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send to a child")
def test_sigterm_lets_a_running_function_end(
    write_app: WriteApp, queue: Queue, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    env = {**queue.env, "NOTES": str(notes), "LASTS": "0.7"}
    queue.client.send_message(base64.b64encode(b"a").decode())

    with process(write_app(NOTE), env) as host:
        eventually(lambda: notes.exists() and notes.read_text())
        host.send_signal(signal.SIGTERM)
        _, log = host.communicate(timeout=20)

    assert host.returncode == 0
    assert notes.read_text() == "begin 1\nend 1\n"
    assert "job succeeded in" in log
    assert queue.is_empty()


@pytest.mark.azurite
def test_a_message_whose_host_was_killed_comes_back_after_its_lease(
    write_app: WriteApp, queue: Queue, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    folder = write_app(NOTE)
    env = {**queue.env, "NOTES": str(notes)}
    queue.client.send_message(base64.b64encode(b"a").decode())
    with process(folder, {**env, "LASTS": "60"}, "--lease", "2") as host:
        eventually(lambda: notes.exists() and notes.read_text())
        host.kill()
        host.communicate(timeout=20)

    with process(folder, {**env, "LASTS": "0"}, "--lease", "2") as host:
        eventually(queue.is_empty)
        host.kill()
        host.communicate(timeout=20)

    assert notes.read_text() == "begin 1\nbegin 2\nend 2\n"
