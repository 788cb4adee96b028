"""The visitor of the demo follows the real flow and says where it broke off."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug import Request, Response
from werkzeug.serving import make_server

from dev.connecting import ConnectError, connect, read_form

PAGE = "http://localhost:1/pages/settings/Dispositivos.html"
FORM = """
<form method="post" action="/auth?x=1">
  <input type="hidden" name="state" value="a&amp;b"><input name="ignored" value="1">
  <input type="radio" name="member" value="17"><input type="radio" name="member" value="18">
  <button name="decision" value="approve">Approve</button>
</form>
"""


class Flow:
    """An API and a consent page in one, each step of which can be replaced."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, str, str | None, dict[str, str]]] = []
        self.steps: dict[str, Callable[[], Response]] = {
            "/oauth/whoop/ticket/": self.ticket,
            "/authorize": lambda: redirect("/auth?state=1"),
            "/auth": lambda: Response(FORM, content_type="text/html"),
            "POST /auth": lambda: redirect("/callback?code=1"),
            "/callback": lambda: redirect(f"{PAGE}?oauth=success&provider=whoop"),
        }

    def ticket(self) -> Response:
        answer = Response(json.dumps({"authorize_url": f"{self.url}/authorize?ticket=1"}))
        answer.set_cookie("browser", "mine")
        return answer

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        cookie = request.cookies.get("browser")
        self.seen.append((request.method, request.full_path, cookie, request.form.to_dict()))
        step = self.steps.get(f"{request.method} {request.path}") or self.steps[request.path]
        return step()(environ, start_response)


def redirect(to: str) -> Response:
    return Response(status=302, headers={"Location": to})


@pytest.fixture
def flow() -> Iterator[Flow]:
    flow = Flow()
    server = make_server("127.0.0.1", 0, flow, threaded=True)
    flow.url = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield flow
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_redirect_is_followed_with_the_cookie(flow: Flow) -> None:
    consent = connect(flow.url, PAGE, "token", 18)

    assert consent.cookies["browser"] == "mine"
    assert [(method, path) for method, path, _, _ in flow.seen] == [
        ("POST", "/oauth/whoop/ticket/?"),
        ("GET", "/authorize?ticket=1"),
        ("GET", "/auth?state=1"),
        ("POST", "/auth?x=1"),
        ("GET", "/callback?code=1"),
    ]
    assert [cookie for _, _, cookie, _ in flow.seen[1:]] == ["mine"] * 4
    assert flow.seen[3][3] == {"state": "a&b", "member": "18", "decision": "approve"}


def problem() -> Response:
    return Response('{"detail": "Sign in again."}', 401)


@pytest.mark.parametrize(
    ("step", "answer", "said"),
    [
        ("/oauth/whoop/ticket/", problem, r"The ticket was refused: 401 \(Sign in again\.\)"),
        ("/authorize", lambda: Response("oops", 500), r"/authorize answered 500 \(oops\) where a"),
        ("/auth", lambda: Response("no", 400), r"The consent page answered 400 \(no\)"),
        ("/auth", lambda: Response("<form>"), "does not offer the member 18"),
        ("POST /auth", lambda: Response(""), "The consent page answered 200"),
        ("/callback", lambda: redirect(f"{PAGE}?oauth=error&reason=denied"), r"success \(denied\)"),
        (
            "/callback",
            lambda: redirect("/elsewhere?oauth=success&provider=whoop"),
            "without succes",
        ),
        ("/callback", lambda: redirect(f"{PAGE}?oauth=success&provider=other"), "without success"),
    ],
)
def test_a_way_that_breaks_off_is_told(
    flow: Flow, step: str, answer: Callable[[], Response], said: str
) -> None:
    flow.steps[step] = answer

    with pytest.raises(ConnectError, match=said):
        connect(flow.url, PAGE, "token", 18)


def test_a_form_is_read_as_a_browser_would_send_it() -> None:
    form = read_form(FORM)

    assert (form.action, form.fields) == ("/auth?x=1", {"state": "a&b"})
    assert (form.choice, form.choices) == ("member", {"17", "18"})
