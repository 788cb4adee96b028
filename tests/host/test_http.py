"""HTTP functions, called over real connections."""

import http.client
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

from tests.host.conftest import Run, WriteApp, eventually, seen

ECHO = """
import json

@app.route("a/{x}/{y?}", methods=["GET", "POST", "HEAD"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    SEEN.append(req.get_body())
    return func.HttpResponse(json.dumps({
        "method": req.method, "url": req.url, "params": dict(req.params),
        "route": dict(req.route_params), "agent": req.headers.get("User-AGENT"),
        "body": req.get_body().hex(),
    }), mimetype="application/json")

@app.route("a/{x}/{y?}", methods=["DELETE"])
def erase(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204)
"""


def test_a_function_sees_method_url_query_route_and_headers(run: Run, write_app: WriteApp) -> None:
    host = run(write_app(ECHO))

    answer = requests.get(
        f"{host.url}/A/One%20%C3%A9/?q=1&q=2&empty=&r=%26", headers={"User-Agent": "me"}, timeout=5
    )

    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "method": "GET",
        "url": f"{host.url}/A/One é/?q=1&q=2&empty=&r=%26",
        "params": {"q": "1,2", "r": "&"},
        "route": {"x": "One é"},
        "agent": "me",
        "body": "",
    }


def test_a_body_arrives_byte_for_byte(run: Run, write_app: WriteApp) -> None:
    host = run(write_app(ECHO))
    body = bytes(range(256)) * 4

    kept = requests.post(f"{host.url}/a/b", data=body, timeout=5)
    chunked = requests.post(f"{host.url}/a/b", data=iter([body[:7], body[7:]]), timeout=5)

    assert kept.status_code == chunked.status_code == 200
    assert seen() == [body, body]


def test_methods_decide_between_functions_that_share_a_route(run: Run, write_app: WriteApp) -> None:
    host = run(write_app(ECHO))

    assert requests.delete(f"{host.url}/a/b", timeout=5).status_code == 204
    refused = requests.put(f"{host.url}/a/b", timeout=5)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "DELETE, GET, HEAD, POST")
    assert requests.get(f"{host.url}/b", timeout=5).status_code == 404


def test_head_says_how_long_the_body_would_be_and_sends_none(run: Run, write_app: WriteApp) -> None:
    host = run(write_app(ECHO))

    answer = requests.head(f"{host.url}/a/b", timeout=5)

    assert int(answer.headers["Content-Length"]) > 0
    assert answer.content == b""


def test_a_connection_serves_many_requests_on_either_address(run: Run, write_app: WriteApp) -> None:
    host = run(write_app(ECHO))
    port = urlsplit(host.url).port
    for address in ("127.0.0.1", "localhost"):
        connection = http.client.HTTPConnection(address, port, timeout=5)
        connection.connect()
        kept = connection.sock
        for body in (b"one", b"", b"three"):
            connection.request("POST", "/a/b", body)
            assert connection.getresponse().read()
            assert connection.sock is kept
        connection.close()


def test_several_cookies_survive_and_are_written_as_asp_net_writes_them(
    run: Run, write_app: WriteApp
) -> None:
    host = run(
        write_app("""
            FIRST = "__Host-a=x=; Secure; HttpOnly; SameSite=Lax; Path=/"

            @app.route("cookies")
            def cookies(req: func.HttpRequest) -> func.HttpResponse:
                response = func.HttpResponse(status_code=302, headers={"Location": "/next"})
                response.headers.add("Set-Cookie", FIRST)
                response.headers.add("Set-Cookie", "b=; Max-Age=60; Path=/oauth")
                return response
        """)
    )

    answer = requests.get(f"{host.url}/cookies", allow_redirects=False, timeout=5)

    assert answer.status_code == 302
    assert answer.headers["Location"] == "/next"
    assert answer.raw.headers.getlist("Set-Cookie") == [
        "__Host-a=x%3D; path=/; secure; samesite=lax; httponly",
        "b=; max-age=60; path=/oauth",
    ]


ODD = """
@app.route("bytes")
def raw(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(bytes(range(256)), mimetype="application/octet-stream")

@app.route("text")
def text(req: func.HttpRequest) -> str:
    return "año"

@app.route("nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    pass

@app.route("broken")
def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("the secret is 42")

@app.route("later")
async def later(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("async")

@app.route("who")
def who(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return func.HttpResponse(context.function_name + " " + context.invocation_id)
"""


def test_answers_are_bytes_or_text(run: Run, write_app: WriteApp) -> None:
    host = run(write_app(ODD))

    assert requests.get(f"{host.url}/bytes", timeout=5).content == bytes(range(256))
    text = requests.get(f"{host.url}/text", timeout=5)
    assert (text.text, text.headers["Content-Type"]) == ("año", "text/plain; charset=utf-8")
    assert requests.get(f"{host.url}/later", timeout=5).text == "async"
    assert requests.get(f"{host.url}/who", timeout=5).text.startswith("who ")


@pytest.mark.parametrize("path", ["broken", "nothing"])
def test_a_failure_is_a_500_that_tells_nothing(run: Run, write_app: WriteApp, path: str) -> None:
    host = run(write_app(ODD))

    answer = requests.get(f"{host.url}/{path}", timeout=5)

    assert (answer.status_code, answer.content) == (500, b"")


def test_the_log_has_the_traceback_but_no_query_header_or_body(
    run: Run, write_app: WriteApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host = run(write_app(ODD))

    requests.post(f"{host.url}/broken?q=QUERY", data="BODY", headers={"X-A": "HEADER"}, timeout=5)
    requests.get(f"{host.url}/text?q=QUERY", cookies={"c": "COOKIE"}, timeout=5)

    assert "broken failed in" in caplog.text
    assert "text succeeded in" in caplog.text
    assert 'raise ValueError("the secret is 42")' in caplog.text
    for secret in ("QUERY", "BODY", "HEADER", "COOKIE"):
        assert secret not in caplog.text


KEYS = """
@app.route("open", auth_level=func.AuthLevel.ANONYMOUS)
def unlocked(req: func.HttpRequest) -> str:
    return "open"

@app.route("function", auth_level=func.AuthLevel.FUNCTION)
def function(req: func.HttpRequest) -> str:
    return "function"

@app.route("admins", auth_level=func.AuthLevel.ADMIN)
def admins(req: func.HttpRequest) -> str:
    return "admins"
"""


@pytest.mark.parametrize("path", ["function", "admins"])
def test_a_locked_function_wants_the_master_key(run: Run, write_app: WriteApp, path: str) -> None:
    url = f"{run(write_app(KEYS), {'HOST_MASTER_KEY': 'k3y'}).url}/{path}"

    assert requests.get(url, timeout=5).status_code == 401
    assert requests.get(url, headers={"x-functions-key": "no"}, timeout=5).status_code == 401
    assert requests.get(url, headers={"x-functions-key": "k3y"}, timeout=5).text == path
    assert requests.get(url, params={"code": "k3y"}, timeout=5).text == path


def test_without_a_master_key_only_open_functions_answer(run: Run, write_app: WriteApp) -> None:
    url = run(write_app(KEYS)).url

    assert requests.get(f"{url}/open", timeout=5).text == "open"
    assert requests.get(f"{url}/function?code=", timeout=5).status_code == 401


def test_the_route_prefix_is_api_unless_host_json_says_otherwise(
    run: Run, write_app: WriteApp
) -> None:
    folder = write_app(KEYS)
    (folder / "host.json").write_text(json.dumps({"version": "2.0"}))
    url = run(folder).url

    assert requests.get(f"{url}/api/open", timeout=5).text == "open"
    assert requests.get(f"{url}/open", timeout=5).status_code == 404


def test_a_stopping_host_finishes_what_runs_and_refuses_what_waits(
    run: Run, write_app: WriteApp
) -> None:
    host = run(
        write_app("""
            @app.route("slow")
            def slow(req: func.HttpRequest) -> str:
                SEEN.append(1)
                time.sleep(0.5)
                return "done"
        """),
        {"PYTHON_THREADPOOL_THREAD_COUNT": "1"},
    )
    url = f"{host.url}/slow"
    with ThreadPoolExecutor() as clients:
        answers = [clients.submit(requests.get, url, timeout=5) for _ in range(2)]
        eventually(seen)
        time.sleep(0.1)
        assert host.stop()

        assert sorted(answer.result().status_code for answer in answers) == [200, 503]


def test_a_function_that_never_ends_does_not_keep_the_host_from_stopping(
    run: Run, write_app: WriteApp
) -> None:
    host = run(
        write_app("""
            @app.route("stuck")
            def stuck(req: func.HttpRequest) -> str:
                SEEN.append(go := threading.Event())
                go.wait()
                return ""
        """)
    )
    with ThreadPoolExecutor() as clients:
        answer = clients.submit(requests.get, f"{host.url}/stuck", timeout=5)
        eventually(seen)
        go = seen()[0]

        assert not host.stop(grace_seconds=0.1)

        assert isinstance(answer.exception(), requests.ConnectionError)
        go.set()
