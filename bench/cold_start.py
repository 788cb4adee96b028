"""Measure what a cold start costs: imports, the first answer, the first job.

    .venv/bin/python bench/cold_start.py [RUNS]

Each figure comes from a fresh process, with Azurite and the WHOOP look-alike running already.
Prints the minimum, median and maximum of each in milliseconds.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

API = "http://localhost:7071"
JWT_SECRET = secrets.token_hex(32)


def main() -> None:
    """Run every measurement and print a table."""
    from dev.azurite import Azurite  # noqa: PLC0415 - the children must not pay for it
    from dev.simulator import Options, Simulator, serve  # noqa: PLC0415

    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    figures: dict[str, list[float]] = {}
    options = Options("an-app", "its-secret", redirect_uris=(f"{API}/oauth/whoop/callback/",))
    simulator = Simulator(options)
    with (
        tempfile.TemporaryDirectory() as folder,
        Azurite(Path(folder)) as azurite,
        serve(simulator) as whoop,
    ):
        env = {**os.environ, **_settings(azurite.connection_string, whoop)}
        for number in range(runs):
            member = simulator.world.add_member(days=30).user_id
            messages = _child(env, "connect", f"user-{number}", str(member))["messages"]
            assert isinstance(messages, list)
            measured = {
                **_child(env, "import"),
                **_child(env, "providers"),
                **_child(env, "job", next(m for m in messages if '"sleep"' in m)),
            }
            for name, value in measured.items():
                assert isinstance(value, float)
                figures.setdefault(name, []).append(value)
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {version}, {runs} fresh processes each, milliseconds")
    for name, values in figures.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:<45} min {low:7.1f}   median {middle:7.1f}   max {high:7.1f}")


def _settings(storage: str, whoop: str) -> dict[str, str]:
    return {
        "AzureWebJobsStorage": storage,
        "DataStorage": storage,
        "WHOOP_CLIENT_ID": "an-app",
        "WHOOP_CLIENT_SECRET": "its-secret",
        "WHOOP_REDIRECT_URI": f"{API}/oauth/whoop/callback/",
        "WHOOP_API_URL": f"{whoop}/developer",
        "WHOOP_OAUTH_URL": f"{whoop}/oauth/oauth2",
        "PUBLIC_URL": API,
        "SETTINGS_PAGE_URL": "http://localhost:8080/pages/settings/Dispositivos.html",
        "SYNC_SCHEDULE": "0 0 9 * * *",
        "JWT_ALGORITHM": "HS256",
        "JWT_SECRET": JWT_SECRET,
        "TOKEN_KEYS": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
    }


def _child(env: dict[str, str], *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        env=env,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def child(what: str, *arguments: str) -> dict[str, object]:
    """Do one thing in this fresh process."""
    began = time.perf_counter()
    import azure.functions as func  # noqa: PLC0415 - importing it is what is measured

    library = time.perf_counter()
    import function_app as app  # noqa: PLC0415

    loaded = time.perf_counter()
    if what == "import":
        return {
            "import azure.functions": (library - began) * 1e3,
            "import function_app on top of it": (loaded - library) * 1e3,
        }
    if what == "providers":
        answer = app.providers(func.HttpRequest("GET", f"{API}/providers/", body=b""))
        assert answer.status_code == 200
        return {"first GET /providers/, imports included": (time.perf_counter() - began) * 1e3}
    if what == "job":
        from azure.functions.queue import QueueMessage  # noqa: PLC0415

        message = QueueMessage(id="1", body=arguments[0].encode())  # type: ignore[no-untyped-call]
        app.sync_now(message)
        return {"first sync message, imports included": (time.perf_counter() - began) * 1e3}
    return {"messages": _connect(*arguments)}


def _connect(user: str, member: str) -> list[str]:
    """Connect a member, and return the messages that wait for a host."""
    import azure.functions as func  # noqa: PLC0415
    import jwt  # noqa: PLC0415
    import requests  # noqa: PLC0415
    from azure.storage.queue import QueueClient, TextBase64DecodePolicy  # noqa: PLC0415

    import function_app as app  # noqa: PLC0415

    def ask(trigger: object, method: str, url: str, **headers: str) -> func.HttpResponse:
        assert callable(trigger)
        answer: func.HttpResponse = trigger(
            func.HttpRequest(
                method,
                url,
                headers=headers,
                params=dict(parse_qsl(urlsplit(url).query)),
                route_params={"provider": "whoop"},
                body=b"",
            )
        )
        return answer

    token = jwt.encode({"user_id": user, "exp": int(time.time()) + 600}, os.environ["JWT_SECRET"])
    ticket = ask(app.oauth_ticket, "POST", f"{API}/", Authorization=f"Bearer {token}")
    cookie = ticket.headers["Set-Cookie"].partition(";")[0]
    link = json.loads(ticket.get_body())["authorize_url"]
    consent = ask(app.oauth_authorize, "GET", link, Cookie=cookie).headers["Location"]
    form = {**dict(parse_qsl(urlsplit(consent).query)), "member": member, "decision": "approve"}
    back = requests.post(consent.partition("?")[0], data=form, allow_redirects=False, timeout=30)
    done = ask(app.oauth_callback, "GET", back.headers["Location"], Cookie=cookie)
    assert "oauth=success" in done.headers["Location"], done.headers["Location"]
    with QueueClient.from_connection_string(
        os.environ["AzureWebJobsStorage"],  # noqa: SIM112 - this is its name
        "sync-now",
        message_decode_policy=TextBase64DecodePolicy(),
    ) as queue:
        return [str(message.content) for message in queue.receive_messages(max_messages=32)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(*sys.argv[2:])))
    else:
        main()
