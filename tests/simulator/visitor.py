"""Somebody who uses a simulator in a test: a made-up clock, a browser and an API client."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from werkzeug.test import Client, TestResponse

from dev.simulator import Options, Simulator

CLIENT_ID = "an-app"
CLIENT_SECRET = "its-secret"
CALLBACK = "http://localhost:7071/oauth/whoop/callback/"
STATE = "sixteen-characters"
SCOPES = (
    "offline read:recovery read:cycles read:sleep read:workout read:profile read:body_measurement"
)
NOW = datetime(2026, 11, 22, 11, 30, 0, 250_000, tzinfo=UTC)
COLLECTIONS = {
    "cycle": "/v2/cycle",
    "recovery": "/v2/recovery",
    "sleep": "/v2/activity/sleep",
    "workout": "/v2/activity/workout",
}


class Watch:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def a_simulator(
    clock: Callable[[], datetime] | None = None,
    *,
    sleep: Callable[[float], None] = lambda _: None,
    **settings: Any,
) -> Simulator:
    # Without limits, unless a test is about them.
    wide: dict[str, Any] = {"per_minute": 100_000, "per_day": 1_000_000}
    options = Options(CLIENT_ID, CLIENT_SECRET, redirect_uris=(CALLBACK,), **(wide | settings))
    return Simulator(options, clock or Watch(), sleep=sleep)


class Visitor:
    """The app and its member's browser, without a network between them and the simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.http = Client(simulator)

    # The browser

    def asked(self, **changes: str | None) -> dict[str, str]:
        asked = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": CALLBACK,
            "scope": SCOPES,
            "state": STATE,
        } | changes
        return {name: value for name, value in asked.items() if value is not None}

    def look(self, **changes: str | None) -> TestResponse:
        return self.http.get("/oauth/oauth2/auth", query_string=self.asked(**changes))

    def decide(
        self, user_id: int, decision: str = "approve", /, **changes: str | None
    ) -> TestResponse:
        form = self.asked(**changes) | {"member": str(user_id), "decision": decision}
        return self.http.post("/oauth/oauth2/auth", data=form)

    def code(self, user_id: int, **changes: str | None) -> str:
        return landed(self.decide(user_id, **changes))["code"]

    # The app

    def trade(self, headers: dict[str, str] | None = None, /, **form: str | None) -> TestResponse:
        sent = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET} | form
        present = {name: value for name, value in sent.items() if value is not None}
        return self.http.post("/oauth/oauth2/token", data=present, headers=headers)

    def redeem(self, code: str, redirect_uri: str = CALLBACK) -> TestResponse:
        return self.trade(grant_type="authorization_code", code=code, redirect_uri=redirect_uri)

    def renew(self, refresh_token: str) -> TestResponse:
        return self.trade(grant_type="refresh_token", refresh_token=refresh_token, scope="offline")

    def connect(self, user_id: int, scope: str = SCOPES) -> dict[str, Any]:
        tokens: dict[str, Any] = self.redeem(self.code(user_id, scope=scope)).get_json()
        return tokens

    def get(self, path: str, access_token: str | None, /, **query: Any) -> TestResponse:
        return self.call("GET", path, access_token, **query)

    def call(
        self, method: str, path: str, access_token: str | None, /, **query: Any
    ) -> TestResponse:
        headers = {} if access_token is None else {"Authorization": f"Bearer {access_token}"}
        return self.http.open(
            f"/developer{path}", method=method, headers=headers, query_string=query
        )

    def pages(self, path: str, access_token: str, /, **query: Any) -> Iterator[dict[str, Any]]:
        """Read a collection to its end."""
        while True:
            response = self.get(path, access_token, **query)
            assert response.status_code == 200, response.text
            page: dict[str, Any] = response.get_json()
            yield page
            if not page.get("next_token"):
                return
            query["nextToken"] = page["next_token"]

    def records(self, path: str, access_token: str, /, **query: Any) -> list[dict[str, Any]]:
        pages = self.pages(path, access_token, **query)
        return [record for page in pages for record in page["records"]]


def landed(response: TestResponse) -> dict[str, str]:
    """Read what a redirect brought back to the app."""
    assert response.status_code == 302, response.text
    assert response.headers["Location"].startswith(f"{CALLBACK}?")
    query = parse_qs(urlsplit(response.headers["Location"]).query)
    return {name: values[0] for name, values in query.items()}
