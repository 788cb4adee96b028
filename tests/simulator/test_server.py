import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from dev.simulator import Fault, Simulator, serve
from tests.simulator.receiver import a_receiver
from tests.simulator.visitor import CALLBACK, CLIENT_ID, CLIENT_SECRET, Visitor, a_simulator

ROOT = Path(__file__).parents[2]
SECRETS = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


def connect(url: str, user_id: int) -> dict[str, Any]:
    """Go the whole way of a browser and an app, over HTTP."""
    asked = Visitor(a_simulator()).asked()
    page = requests.get(f"{url}/oauth/oauth2/auth", params=asked, timeout=10)
    assert page.status_code == 200
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    form = hidden | {"member": str(user_id), "decision": "approve"}
    answer = requests.post(f"{url}/oauth/oauth2/auth", data=form, allow_redirects=False, timeout=10)
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    tokens: dict[str, Any] = requests.post(
        f"{url}/oauth/oauth2/token",
        data=SECRETS | {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK},
        timeout=10,
    ).json()
    return tokens


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


@pytest.fixture
def simulator() -> Simulator:
    return a_simulator(seed=3)


def test_a_member_connects_and_is_read_over_http(simulator: Simulator) -> None:
    member = simulator.world.add_member(days=12)

    with serve(simulator) as url:
        tokens = connect(url, member.user_id)
        answer = requests.get(
            f"{url}/developer/v2/cycle", params={"limit": 25}, headers=bearer(tokens), timeout=10
        )

    assert url.startswith("http://127.0.0.1:")
    assert [str(one["id"]) for one in answer.json()["records"]] == [
        one["id"] for one in simulator.truth(member.user_id, None, None)["cycle"]
    ]
    assert answer.headers["Content-Type"] == "application/json"


def test_of_many_renewals_at_once_one_wins(simulator: Simulator) -> None:
    user_id = simulator.world.add_member(days=1).user_id
    with serve(simulator) as url:
        form = SECRETS | {
            "grant_type": "refresh_token",
            "refresh_token": connect(url, user_id)["refresh_token"],
        }
        with ThreadPoolExecutor(16) as pool:
            answers = list(
                pool.map(
                    lambda _: requests.post(f"{url}/oauth/oauth2/token", data=form, timeout=10),
                    range(16),
                )
            )

    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 15}


def test_the_quota_holds_against_many_threads() -> None:
    simulator = a_simulator(per_minute=1000, per_day=40)
    with serve(simulator) as url, ThreadPoolExecutor(16) as pool:
        statuses = pool.map(
            lambda _: requests.get(f"{url}/developer/v2/cycle", timeout=10).status_code,
            range(100),
        )
        counted = Counter(statuses)

    assert counted == {401: 40, 429: 60}


def test_waiting_keeps_nobody_else_waiting() -> None:
    reached, over = Event(), Event()

    def wait(_: float) -> None:
        reached.set()
        over.wait(timeout=10)

    simulator = a_simulator(sleep=wait)
    simulator.add_fault(Fault("/slow", delay=1.0, times=1))
    with serve(simulator) as url, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(requests.get, f"{url}/developer/slow", timeout=20)
        assert reached.wait(timeout=10)
        assert requests.get(f"{url}/developer/v2/cycle", timeout=5).status_code == 401
        assert not slow.done()
        over.set()
        assert slow.result().status_code == 404


def test_a_cut_answer_breaks_off_in_the_client(simulator: Simulator) -> None:
    user_id = simulator.world.add_member(days=12).user_id
    simulator.add_fault(Fault("/v2/cycle", cut=True, times=1))

    with serve(simulator) as url:
        headers = bearer(connect(url, user_id))
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.get(f"{url}/developer/v2/cycle", headers=headers, timeout=10)
        again = requests.get(f"{url}/developer/v2/cycle", headers=headers, timeout=10)

    assert len(again.json()["records"]) == 10


def test_the_server_writes_nothing(
    simulator: Simulator, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    user_id = simulator.world.add_member(days=1).user_id
    with caplog.at_level("DEBUG", logger="werkzeug"), serve(simulator) as url:
        connect(url, user_id)

    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")
    assert [record for record in caplog.records if record.name == "werkzeug"] == []


def test_a_taken_port_is_an_error_that_can_be_caught(simulator: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"in use|one usage"), serve(simulator, port):
            pass


def test_a_port_can_be_chosen_and_used_again(simulator: Simulator) -> None:
    with serve(simulator) as url:
        port = urlsplit(url).port or 0
    for _ in range(2):
        with serve(simulator, port) as again:
            assert again == url
            assert requests.get(f"{url}/control/health", timeout=10).json() == {"ok": True}


# The command line


@contextmanager
def command(*arguments: str, secret: str | None = None) -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("SIMULATOR_CLIENT_SECRET", None)
    if secret:
        environment["SIMULATOR_CLIENT_SECRET"] = secret
    started = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-W", "error", "-m", "dev.simulator", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends its children no signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_command_says_where_it_is_and_ends_when_told(name: str) -> None:
    arguments = ["--client-id", CLIENT_ID, "--redirect-uri", CALLBACK, "--members", "2"]
    with command(*arguments, "--days", "3", "--per-minute", "7", secret=CLIENT_SECRET) as started:
        assert started.stdout is not None
        line = started.stdout.readline()
        url = line.split()[-1]
        members = requests.get(f"{url}/control/members", timeout=10).json()
        tokens = connect(url, members[1]["user_id"])
        answer = requests.get(f"{url}/developer/v2/cycle", headers=bearer(tokens), timeout=10)
        started.send_signal(getattr(signal, name))
        out, err = started.communicate(timeout=10)

    assert re.fullmatch(r"Simulator ready at http://127\.0\.0\.1:\d+\n", line)
    assert [member["days"] for member in members] == [3, 3]
    assert answer.headers["X-RateLimit-Limit"].startswith("7, 7;window=60")
    assert (started.returncode, out, err) == (0, "", "")


def test_the_command_sends_webhooks_where_it_is_told() -> None:
    with a_receiver() as receiver:
        arguments = ["--client-id", CLIENT_ID, "--redirect-uri", CALLBACK, "--days", "3"]
        more = ["--webhook-url", receiver.url, "--hour-seconds", "0.5", "--webhook-timeout", "3"]
        with command(*arguments, *more, secret=CLIENT_SECRET) as started:
            assert started.stdout is not None
            url = started.stdout.readline().split()[-1]
            user_id = requests.get(f"{url}/control/members", timeout=10).json()[0]["user_id"]
            connect(url, user_id)
            change = {"kind": "add_workout", "user_id": user_id}
            made = requests.post(f"{url}/control/changes", json=change, timeout=10).json()
            drained = requests.post(f"{url}/control/webhooks/drain", json={}, timeout=20).json()

    assert drained == {"drained": True}
    assert receiver.told == [("workout.updated", made["record"]["id"])]
    assert receiver.received[0].is_signed(CLIENT_SECRET)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--client-id", "x"], "SIMULATOR_CLIENT_SECRET"),
        (["--client-id", "x", "--client-secret", "y", "--per-minute", "0"], "per_minute"),
        (["--client-id", "x", "--client-secret", "y", "--days", "-1"], "days"),
        (["--client-id", "x", "--client-secret", "y", "--webhook-url", "here"], "URL"),
    ],
)
def test_the_command_says_what_is_missing(arguments: list[str], complaint: str) -> None:
    with command(*arguments) as started:
        _, err = started.communicate(timeout=30)

    assert started.returncode == 2
    assert complaint in err
