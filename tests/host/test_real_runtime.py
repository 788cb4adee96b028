"""What Microsoft's own runtime says to our app, and to apps like it."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dev.azurite import Azurite
from tests.host import real_runtime
from tests.host.conftest import Run, WriteApp, seen
from tests.host.real_runtime import RealRuntime

pytestmark = pytest.mark.skipif(
    real_runtime.why_not() is not None, reason=str(real_runtime.why_not())
)

ROOT = Path(__file__).resolve().parents[2]
TINY = """
@app.route("hello/{name}", methods=["POST"])
def hello(req: func.HttpRequest) -> func.HttpResponse:
    text = f"{req.route_params['name']} {req.params['q']} {req.headers['X-A']}"
    return func.HttpResponse(text.encode() + req.get_body(), status_code=201)

@app.route("nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    pass

@app.queue_trigger(arg_name="msg", queue_name="jobs", connection="AzureWebJobsStorage")
def job(msg: func.QueueMessage) -> None:
    SEEN.append((msg.get_body(), msg.id, msg.dequeue_count, msg.insertion_time.isoformat()))

@app.queue_trigger(arg_name="msg", queue_name="talk", connection="AzureWebJobsStorage")
def talkative(msg: func.QueueMessage):
    return "more than None"

@app.timer_trigger(arg_name="timer", schedule="0 0 9 * * *")
def nightly(timer: func.TimerRequest) -> None:
    SEEN.append(timer.past_due)
"""


@pytest.fixture
def tiny(write_app: WriteApp) -> Iterator[RealRuntime]:
    with real_runtime.loaded(write_app(TINY), {}) as runtime:
        yield runtime


def test_an_http_function_answers(tiny: RealRuntime) -> None:
    answer = tiny.http(
        "hello",
        method="POST",
        query={"q": "1"},
        route_params={"name": "Ana"},
        headers={"x-a": "b"},
        body=b"\xff",
    )

    assert (answer.ok, answer.status, answer.body) == (True, 201, b"Ana 1 b\xff")


def test_a_queue_function_gets_its_message(tiny: RealRuntime) -> None:
    assert tiny.queue("job", b'{"a": 1}').ok
    assert seen() == [(b'{"a": 1}', "4f2a", 2, "2026-11-22T09:00:00+00:00")]


def test_a_timer_function_runs(tiny: RealRuntime) -> None:
    assert tiny.timer("nightly").ok
    assert seen() == [True]


def test_our_host_fails_where_the_runtime_fails(
    tiny: RealRuntime, run: Run, write_app: WriteApp
) -> None:
    assert not tiny.http("nothing").ok
    assert not tiny.queue("talkative", b"").ok

    away = "AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/a;"
    host = run(write_app(TINY), {"AzureWebJobsStorage": away})

    assert requests.get(f"{host.url}/nothing", timeout=5).status_code == 500
    with pytest.raises(RuntimeError, match="no \\$return binding"):
        host.invoke("talkative")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            """
            @app.queue_trigger("message", "jobs", "AzureWebJobsStorage")
            def job(msg: func.QueueMessage) -> None: ...
            """,
            "declared in Python but not in the function definition",
        ),
        (
            """
            @app.queue_trigger("msg", "jobs", "AzureWebJobsStorage")
            def job(msg: func.HttpRequest) -> None: ...
            """,
            "do not match the corresponding function parameter",
        ),
        (
            """
            @app.route("x")
            def hello(req: func.HttpRequest) -> func.HttpResponse | None: ...
            """,
            "non-type return annotation",
        ),
    ],
)
def test_the_runtime_refuses_a_wrong_signature(write_app: WriteApp, source: str, says: str) -> None:
    with pytest.raises(RuntimeError, match=says), real_runtime.loaded(write_app(source), {}):
        pass


@pytest.fixture
def ours(storage: Azurite) -> Iterator[RealRuntime]:
    key = base64.b64encode(bytes(32)).decode()
    env = {
        "AzureWebJobsStorage": storage.connection_string,
        "DataStorage": storage.connection_string,
        "WHOOP_CLIENT_ID": "an-app",
        "WHOOP_CLIENT_SECRET": "its-secret",
        "WHOOP_REDIRECT_URI": "http://localhost:7071/oauth/whoop/callback/",
        "PUBLIC_URL": "http://localhost:7071",
        "SETTINGS_PAGE_URL": "http://localhost:5500/pages/settings/Dispositivos.html",
        "JWT_ALGORITHM": "HS256",
        "JWT_SECRET": "a-secret-of-at-least-thirty-two-bytes",
        "TOKEN_KEYS": f"k1:{key}",
        "SYNC_SCHEDULE": "0 0 9 * * *",
    }
    with real_runtime.loaded(ROOT, env) as runtime:
        yield runtime


@pytest.mark.azurite
def test_our_own_app_loads_and_answers(ours: RealRuntime) -> None:
    assert {"providers", "health"} <= set(ours.functions)

    assert ours.http("providers", url="http://localhost/providers/").status == 200
    assert ours.http("health", url="http://localhost/health/").status == 200


@pytest.mark.azurite
def test_every_queue_function_of_ours_is_given_a_message(ours: RealRuntime) -> None:
    queues = [
        name
        for name, bindings in ours.functions.items()
        if any(binding["type"] == "queueTrigger" for binding in bindings)
    ]

    assert queues
    for name in queues:
        message = ours.decoded_message(name, b'{"v": 1}')
        assert (message.get_json(), message.dequeue_count) == ({"v": 1}, 2)
