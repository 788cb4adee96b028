"""The admin routes."""

import pytest
import requests

from dev.host import Host
from tests.host.conftest import Run, WriteApp, eventually, seen

APP = """
@app.route("hello/{name}", methods=["GET"])
def hello(req: func.HttpRequest) -> str:
    return "hello"

@app.timer_trigger(arg_name="timer", schedule="0 0 0 29 2 *")
def nightly(timer: func.TimerRequest) -> None:
    SEEN.append("nightly")

@app.queue_trigger(arg_name="msg", queue_name="jobs", connection="JobStorage")
def job(msg: func.QueueMessage) -> None:
    SEEN.append((msg.get_body(), msg.dequeue_count))
    if msg.get_body() == b"fail":
        raise LookupError("no such job")
"""


@pytest.fixture
def host(run: Run, write_app: WriteApp) -> Host:
    # A discarded port: the listener finds no storage, which must not trouble anybody else.
    away = "AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/a;"
    return run(write_app(APP), {"JobStorage": away})


def test_the_host_says_that_it_runs_and_what(host: Host) -> None:
    assert requests.get(f"{host.url}/admin/host/status", timeout=5).json() == {
        "state": "Running",
        "functions": ["hello", "job", "nightly"],
    }
    functions = requests.get(f"{host.url}/admin/functions", timeout=5).json()
    assert sorted(functions, key=lambda function: str(function["name"])) == [
        {"name": "hello", "trigger": "http", "route": "/hello/{name}", "methods": ["GET"]},
        {"name": "job", "trigger": "queue", "queue": "jobs"},
        {"name": "nightly", "trigger": "timer", "schedule": "0 0 0 29 2 *"},
    ]


def test_a_timer_can_be_set_off_by_hand(host: Host) -> None:
    answer = requests.post(f"{host.url}/admin/functions/nightly", json={"input": ""}, timeout=5)

    assert answer.status_code == 202
    eventually(seen)
    assert seen() == ["nightly"]


def test_a_queue_function_can_be_given_a_message_by_hand(host: Host) -> None:
    requests.post(f"{host.url}/admin/functions/Job", json={"input": '{"a": 1}'}, timeout=5)

    eventually(seen)
    assert seen() == [(b'{"a": 1}', 1)]


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [("nobody", "{}", 404), ("hello", "{}", 400), ("nightly", "[]", 400), ("nightly", "{", 400)],
)
def test_a_wrong_wish_is_explained(host: Host, name: str, body: str, status: int) -> None:
    answer = requests.post(f"{host.url}/admin/functions/{name}", data=body, timeout=5)

    assert answer.status_code == status
    assert answer.json()["detail"]


@pytest.mark.parametrize("headers", [{"Origin": "http://localhost:5500"}, {"Host": "evil.example"}])
def test_a_web_page_cannot_use_the_admin_routes(host: Host, headers: dict[str, str]) -> None:
    answer = requests.post(f"{host.url}/admin/functions/nightly", headers=headers, timeout=5)

    assert answer.status_code == 403
    assert seen() == []


def test_invoke_waits_and_raises_what_the_function_raises(host: Host) -> None:
    host.invoke("nightly")
    with pytest.raises(LookupError):
        host.invoke("job", b"fail")

    assert seen() == ["nightly", (b"fail", 1)]
