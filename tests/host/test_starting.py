"""What the host checks before it runs an app, and what it leaves behind."""

import os
import sys
from pathlib import Path

import pytest
import requests

from dev.host import CannotStart, Host
from tests.host.conftest import Run, WriteApp

HELLO = """
@app.route("hello")
def hello(req: func.HttpRequest) -> str:
    return os.environ.get("GREETING", "none")
"""


def problems(folder: Path, env: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(CannotStart) as caught:
        Host(folder, env=env).start()
    return caught.value.problems


def test_every_missing_setting_is_named_at_once(
    write_app: WriteApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AzureWebJobsStorage", raising=False)
    folder = write_app("""
        @app.queue_trigger(arg_name="msg", queue_name="a-queue", connection="DataStorage")
        def one(msg: func.QueueMessage) -> None: ...

        @app.queue_trigger(arg_name="msg", queue_name="%QUEUE%", connection="DataStorage")
        def two(msg: func.QueueMessage) -> None: ...

        @app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")
        def three(timer: func.TimerRequest) -> None: ...
    """)

    assert problems(folder) == (
        "one: the setting DataStorage is missing; a trigger needs it as its connection",
        "two: the setting QUEUE is missing; a trigger uses it as %QUEUE%",
        "three: the setting AzureWebJobsStorage is missing; a trigger needs it as its connection",
    )


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param(
            """
            @app.queue_trigger("message", "abc", "AzureWebJobsStorage")
            def job(msg: func.QueueMessage) -> None: ...
            """,
            "not bound",
            id="a parameter without a binding",
        ),
        pytest.param(
            """
            @app.route("x")
            def hello() -> str: ...
            """,
            "no parameter of it",
            id="a binding without a parameter",
        ),
        pytest.param(
            """
            @app.route("x")
            def hello(req: func.HttpRequest, context: str) -> str: ...
            """,
            "func.Context",
            id="a context of the wrong type",
        ),
        pytest.param(
            """
            @app.queue_trigger("msg", "abc", "AzureWebJobsStorage")
            def job(msg: func.HttpRequest) -> None: ...
            """,
            "wrong annotation",
            id="a parameter of the wrong type",
        ),
        pytest.param(
            """
            @app.route("x")
            def hello(req: func.HttpRequest) -> func.HttpResponse | None: ...
            """,
            "annotated to return",
            id="a return annotation that is a union",
        ),
        pytest.param(
            """
            @app.route("admin/x")
            def hello(req: func.HttpRequest) -> str: ...
            """,
            "conflicts",
            id="a reserved route",
        ),
        pytest.param(
            """
            @app.route("x")
            def one(req: func.HttpRequest) -> str: ...

            @app.route("X", methods=["GET"])
            def two(req: func.HttpRequest) -> str: ...
            """,
            "already that of one",
            id="a route used twice",
        ),
        pytest.param(
            """
            @app.timer_trigger(arg_name="timer", schedule="0 99 * * * *")
            def tick(timer: func.TimerRequest) -> None: ...
            """,
            "99 is not between",
            id="a wrong schedule",
        ),
        pytest.param(
            """
            @app.route("x")
            @app.queue_output(arg_name="out", queue_name="abc", connection="AzureWebJobsStorage")
            def hello(req: func.HttpRequest, out: func.Out[str]) -> str: ...
            """,
            "not the binding queue",
            id="an output binding",
        ),
        pytest.param(
            """
            @app.blob_trigger(arg_name="blob", path="a", connection="AzureWebJobsStorage")
            def hello(blob: func.InputStream) -> None: ...
            """,
            "not the trigger blobTrigger",
            id="another trigger",
        ),
        pytest.param(
            """
            @app.timer_trigger(arg_name="timer", schedule="0 9 * * * *")
            @app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")
            def tick(timer: func.TimerRequest) -> None: ...
            """,
            "@retry",
            id="a retry policy",
        ),
        pytest.param(
            """
            for _ in range(2):
                @app.route("x")
                def hello(req: func.HttpRequest) -> str: ...
            """,
            "unique function name",
            id="a name used twice",
        ),
        pytest.param("other = func.FunctionApp()", "one FunctionApp", id="two apps"),
        pytest.param("", "no functions", id="no functions"),
        pytest.param("import does_not_exist", "cannot be imported", id="a broken import"),
    ],
)
def test_an_app_that_azure_would_refuse_is_refused(
    write_app: WriteApp, source: str, says: str
) -> None:
    (problem,) = problems(write_app(source), {"AzureWebJobsStorage": "UseDevelopmentStorage=true"})

    assert says in problem


@pytest.mark.parametrize(
    ("value", "says"),
    [("nonsense", "onnection string"), ("", "DataStorage is missing")],
)
def test_a_wrong_connection_is_refused(write_app: WriteApp, value: str, says: str) -> None:
    folder = write_app("""
        @app.queue_trigger(arg_name="msg", queue_name="a-queue", connection="DataStorage")
        def one(msg: func.QueueMessage) -> None: ...
    """)

    (problem,) = problems(folder, {"DataStorage": value})

    assert says in problem


def test_an_identity_based_connection_is_refused_with_the_reason(write_app: WriteApp) -> None:
    folder = write_app("""
        @app.queue_trigger(arg_name="msg", queue_name="a-queue", connection="DataStorage")
        def one(msg: func.QueueMessage) -> None: ...
    """)

    (problem,) = problems(folder, {"DataStorage__queueServiceUri": "https://x"})

    assert "work in Azure only" in problem


def test_a_value_of_host_json_out_of_range_is_refused(write_app: WriteApp) -> None:
    (problem,) = problems(write_app(HELLO, queues={"batchSize": 33}))

    assert problem == "host.json: batchSize must be between 1 and 32, not 33"


def test_a_setting_may_override_host_json(run: Run, write_app: WriteApp) -> None:
    name = "AzureFunctionsJobHost__extensions__http__routePrefix"
    url = run(write_app(HELLO), {name: "v1"}).url

    assert requests.get(f"{url}/v1/hello", timeout=5).status_code == 200


@pytest.mark.parametrize("name", ["AzureWebJobs.hello.Disabled", "AzureWebJobs__hello__Disabled"])
@pytest.mark.parametrize(("said", "status"), [("true", 404), ("1", 404), ("false", 200)])
def test_a_setting_may_disable_a_function(
    run: Run, write_app: WriteApp, name: str, said: str, status: int
) -> None:
    url = run(write_app(HELLO), {name: said}).url

    assert requests.get(f"{url}/hello", timeout=5).status_code == status


def test_a_taken_port_is_said_to_be_taken(run: Run, write_app: WriteApp) -> None:
    folder = write_app(HELLO)
    port = int(run(folder).url.rpartition(":")[2])

    with pytest.raises(CannotStart, match="something else"):
        Host(folder, port).start()


def test_the_environment_wins_over_the_settings_file(
    run: Run, write_app: WriteApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_app(HELLO, settings={"Values": {"GREETING": "file"}})
    settings = folder / "local.settings.json"
    host = run(folder, settings=settings)
    assert requests.get(f"{host.url}/hello", timeout=5).text == "file"
    host = run(folder, {"GREETING": "argument"}, settings=settings)
    assert requests.get(f"{host.url}/hello", timeout=5).text == "argument"


def test_a_stopped_host_leaves_no_trace_and_can_be_started_again(write_app: WriteApp) -> None:
    before = (dict(os.environ), list(sys.path), "function_app" in sys.modules)
    host = Host(write_app(HELLO), env={"GREETING": "hola"})
    with requests.Session() as browser:
        for _ in range(2):
            with host:
                url = host.url
                assert browser.get(f"{url}/hello", timeout=5).text == "hola"
            with pytest.raises(requests.ConnectionError):
                browser.get(f"{url}/hello", timeout=5)

    assert (dict(os.environ), list(sys.path), "function_app" in sys.modules) == before
