"""CORS as the platform does it: from local.settings.json, before the function runs."""

from pathlib import Path

import pytest
import requests

from dev.host import CannotStart
from tests.host.conftest import Run, WriteApp, seen

APP = """
@app.route("a", methods=["GET", "POST", "OPTIONS"])
def a(req: func.HttpRequest) -> func.HttpResponse:
    SEEN.append(req.method)
    return func.HttpResponse("a", status_code=418, headers={"Vary": "Accept"})
"""
PAGE = "http://localhost:5500"


@pytest.fixture
def settings(write_app: WriteApp) -> Path:
    folder = write_app(
        APP, settings={"Values": {}, "Host": {"CORS": f"{PAGE},http://b", "CORSCredentials": True}}
    )
    return folder / "local.settings.json"


def test_a_known_origin_may_read_answers_and_send_cookies(run: Run, settings: Path) -> None:
    host = run(settings.parent, settings=settings)

    answer = requests.get(f"{host.url}/a", headers={"Origin": PAGE}, timeout=5)

    assert answer.status_code == 418
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Vary"] == "Accept, Origin"


def test_a_preflight_never_reaches_the_function(run: Run, settings: Path) -> None:
    host = run(settings.parent, settings=settings)
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }

    answer = requests.options(f"{host.url}/a", headers=asked, timeout=5)

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert seen() == []


def test_an_unknown_origin_gets_no_permission(run: Run, settings: Path) -> None:
    host = run(settings.parent, settings=settings)
    asked = {"Origin": "http://evil", "Access-Control-Request-Method": "POST"}

    for answer in (
        requests.options(f"{host.url}/a", headers=asked, timeout=5),
        requests.get(f"{host.url}/a", headers={"Origin": "http://evil"}, timeout=5),
    ):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_without_cors_settings_options_go_to_the_function(run: Run, write_app: WriteApp) -> None:
    host = run(write_app(APP))
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}

    assert requests.options(f"{host.url}/a", headers=asked, timeout=5).status_code == 418


def test_any_origin_with_credentials_is_refused(run: Run, write_app: WriteApp) -> None:
    folder = write_app(APP, settings={"Host": {"CORS": "*", "CORSCredentials": True}})

    with pytest.raises(CannotStart, match="cannot go together"):
        run(folder, settings=folder / "local.settings.json")
