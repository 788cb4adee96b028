"""What every route has in common: headers, problems, settings, health, messages, and silence."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.host.functions import HttpTrigger, QueueTrigger
from dev.simulator import Fault
from shared.adapters.http import HEADERS
from shared.core.codec import encode
from shared.errors import UnreadableMessage
from shared.poison import fingerprint
from tests.functions.test_webhooks import signed
from tests.functions.world import ENV, JWT_SECRET, WHOOP, Answer, Browser, World, app, message


def synced(world: World, ana: Browser) -> Answer:
    ana.connect(world.simulator.world.add_member(days=1))
    return ana.ask("POST", "/providers/whoop/sync/")


def without_storage(world: World, ana: Browser) -> Answer:
    world.connections.down = True
    return ana.ask("GET", "/providers/whoop/status/")


def said(world: World, body: bytes) -> Answer:
    return world.browser().call(
        "POST", "/webhooks/whoop/", headers=signed(body, world.clock.now), body=body
    )


#: Every way to be answered, one per status at least.
ANSWERS: dict[str, Callable[[World, Browser], Answer]] = {
    "200": lambda _, ana: ana.get("/providers/"),
    "200 with a cookie": lambda _, ana: ana.ask("POST", "/oauth/whoop/ticket/"),
    "200 of a status": lambda _, ana: ana.ask("GET", "/providers/whoop/status/"),
    "200 of health": lambda _, ana: ana.get("/health/"),
    "202": synced,
    "204": lambda world, _: said(world, b"[]"),
    "302 to the provider": lambda _, ana: ana.get(ana.ticket()),
    "302 to the page": lambda _, ana: ana.get("/oauth/whoop/authorize/?ticket=x"),
    "302 from the callback": lambda _, ana: ana.get("/oauth/whoop/callback/?state=x"),
    "400": lambda _, ana: ana.ask("GET", "/providers/whoop/records/sleep/?limit=0"),
    "400 of a connection": lambda _, ana: ana.ask("DELETE", "/providers/whoop/connection/?erase=x"),
    "401": lambda _, ana: ana.get("/providers/whoop/status/"),
    "401 of a webhook": lambda _, ana: ana.ask("POST", "/webhooks/whoop/"),
    "403": lambda _, ana: ana.get("/oauth/whoop/authorize/?token=x"),
    "404": lambda _, ana: ana.ask("GET", "/providers/oura/status/"),
    "404 of a connection": lambda _, ana: ana.ask("DELETE", "/providers/whoop/connection/"),
    "404 of a link": lambda _, ana: ana.get("/oauth/oura/authorize/?ticket=x"),
    "409": lambda _, ana: ana.ask("POST", "/providers/whoop/sync/"),
    "410": lambda _, ana: ana.ask("GET", "/providers/whoop/records/sleep/?since=1"),
    "413": lambda world, _: said(world, b"x" * 100_000),
    "503": without_storage,
}
PROBLEMS = [
    "400",
    "400 of a connection",
    "401",
    "401 of a webhook",
    "403",
    "404",
    "404 of a connection",
    "404 of a link",
    "409",
    "410",
    "413",
    "503",
]


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_carries_the_security_headers(world: World, ana: Browser, name: str) -> None:
    answer = ANSWERS[name](world, ana)

    assert answer.status == int(name[:3])
    for header, value in HEADERS.items():
        assert answer.headers[header.lower()] == value
    # CORS is the platform's, from its own settings: ours would come on top.
    assert not [header for header in answer.headers if header.startswith("access-control-")]


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_refusal_is_a_problem_in_words(world: World, ana: Browser, name: str) -> None:
    answer = ANSWERS[name](world, ana)

    assert answer.headers["content-type"].partition(";")[0] == "application/problem+json"
    assert set(answer.json) == {"type", "title", "status", "detail", "code"}
    assert answer.json["type"] == "about:blank"
    assert answer.json["status"] == answer.status
    assert answer.json["detail"].endswith((".", "…'."))
    assert answer.json["code"].isidentifier()


def test_json_is_declared_as_such(ana: Browser) -> None:
    assert ana.get("/providers/").headers["content-type"] == "application/json"


def test_storage_that_is_down_says_when_to_come_back(world: World, ana: Browser) -> None:
    answer = without_storage(world, ana)

    assert (answer.json["code"], answer.headers["retry-after"]) == ("unavailable", "5")


@pytest.mark.parametrize("name", ["oura", "WHOOP", "whoop2", "%F0%9F%98%80", "x" * 5_000])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/providers/{}/status/"),
        ("GET", "/providers/{}/records/sleep/"),
        ("POST", "/providers/{}/sync/"),
        ("DELETE", "/providers/{}/connection/"),
        ("POST", "/oauth/{}/ticket/"),
        ("GET", "/oauth/{}/authorize/?ticket=x"),
        ("GET", "/oauth/{}/callback/?state=x&code=y"),
        ("POST", "/webhooks/{}/"),
    ],
)
def test_an_unknown_provider_is_not_found(ana: Browser, method: str, path: str, name: str) -> None:
    answer = ana.ask(method, path.format(name))

    assert (answer.status, answer.json["code"]) == (404, "unknown_provider")
    assert name not in answer.body.decode()


def test_who_calls_comes_before_what_is_asked_for(ana: Browser) -> None:
    # A stranger learns nothing about which providers there are.
    assert ana.get("/providers/oura/status/").status == 401


# A provider without its settings


@pytest.mark.parametrize(
    ("changes", "code", "blamed"),
    [
        ({"WHOOP_CLIENT_SECRET": ""}, "not_configured", "WHOOP_CLIENT_SECRET is not set"),
        (
            {"WHOOP_CLIENT_ID": "@Microsoft.KeyVault(VaultName=v;SecretName=s)"},
            "misconfigured",
            "WHOOP_CLIENT_ID is a Key Vault reference that did not resolve",
        ),
    ],
)
@pytest.mark.parametrize(
    "question",
    ["GET /providers/whoop/status/", "POST /providers/whoop/sync/", "POST /oauth/whoop/ticket/"],
)
def test_a_provider_that_is_not_set_up_answers_503_and_only_the_log_knows_why(
    world: World,
    caplog: pytest.LogCaptureFixture,
    *,
    changes: dict[str, str],
    code: str,
    blamed: str,
    question: str,
) -> None:
    world.set_up(changes)

    answer = world.browser().ask(*question.split(" "))

    assert (answer.status, answer.json["code"]) == (503, "not_configured")
    assert "WHOOP_" not in answer.body.decode()
    [record] = caplog.records
    assert record.__dict__["event"] == "provider.disabled"
    assert record.__dict__["reason"] == code
    assert record.__dict__["problems"] == [blamed]


def test_on_the_way_to_the_provider_it_is_told_on_the_page(world: World, ana: Browser) -> None:
    link = ana.ticket()
    world.set_up({"WHOOP_CLIENT_ID": ""})

    for address in (link, "/oauth/whoop/callback/?state=x&code=y"):
        assert ana.get(address).outcome["reason"] == "not_configured"


# An app without its settings


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A browser of an app that was deployed without settings, and wires itself."""
    for name in ENV:
        monkeypatch.delenv(name, raising=False)
    app().module.services.cache_clear()
    return Browser(world=Unset(), token="a.b.c")  # type: ignore[arg-type]


class Unset:
    """Has just what a browser needs to know."""

    class settings:  # noqa: N801 - stands for the field of this name
        public_url = "https://api.gotogym.example"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/providers/"),
        ("GET", "/providers/whoop/status/"),
        ("GET", "/providers/whoop/records/sleep/"),
        ("POST", "/providers/whoop/sync/"),
        ("DELETE", "/providers/whoop/connection/"),
        ("POST", "/oauth/whoop/ticket/"),
        ("GET", "/oauth/whoop/authorize/?ticket=x"),
        ("GET", "/oauth/whoop/authorize/?token=x"),
        ("GET", "/oauth/whoop/callback/?state=x"),
    ],
)
def test_an_app_without_settings_answers_503_and_only_the_log_knows_why(
    unset: Browser, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    answer = unset.ask(method, path)

    assert (answer.status, answer.json["code"]) == (503, "misconfigured")
    assert "JWT" not in answer.body.decode()
    [record] = caplog.records
    assert record.__dict__["event"] == "settings.wrong"
    assert "PUBLIC_URL is not set" in record.__dict__["problems"]
    assert "DataStorage is not set" in record.__dict__["problems"]


def test_an_app_without_settings_is_not_healthy(
    unset: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    answer = unset.get("/health/")

    assert answer.status == 503
    assert answer.json == {"healthy": False, "checks": {"settings": "misconfigured"}}
    assert [record.__dict__["event"] for record in caplog.records] == ["settings.wrong"]


def test_the_app_wires_itself_once_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    services = app().module.services
    services.cache_clear()
    try:
        assert services() is services()
        assert list(services().providers) == [WHOOP]
    finally:
        services.cache_clear()


# Health


def test_health_is_told_check_by_check(ana: Browser) -> None:
    answer = ana.get("/health/")

    assert answer.status == 200
    assert answer.json == {
        "healthy": True,
        "checks": {
            "settings": "ok",
            "tables": "ok",
            "queues": "ok",
            "clock": "ok",
            "provider.whoop": "ok",
        },
    }


@pytest.mark.parametrize(
    ("ail", "check", "said"),
    [
        (lambda world: setattr(world.queue, "down", True), "queues", "unreachable"),
        (lambda world: setattr(world.connections, "down", True), "tables", "unreachable"),
        (lambda world: world.set_up({"WHOOP_CLIENT_ID": ""}), "provider.whoop", "not_configured"),
        (
            lambda world: world.set_up({"WHOOP_API_URL": "ftp://x"}),
            "provider.whoop",
            "misconfigured",
        ),
    ],
    ids=["queues", "tables", "no settings", "bad settings"],
)
def test_what_is_wrong_is_told_by_name_and_nothing_more(
    world: World, ana: Browser, ail: Callable[[World], Any], check: str, said: str
) -> None:
    ail(world)

    answer = ana.get("/health/")

    assert answer.status == 503
    assert answer.json["healthy"] is False
    assert {name: one for name, one in answer.json["checks"].items() if one != "ok"} == {
        check: said
    }
    for secret in (*ENV.values(), world.url):
        assert secret not in answer.body.decode()


# Messages


@pytest.mark.parametrize("trigger", ["sync_now", "sync_later", "sync_events"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON, but a canary",
        b"\xff\xfe",
        b"[]",
        b'{"form": 99, "kind": "chunk"}',
        b'{"form": 1, "kind": "canary"}',
        b'{"form": 1, "kind": "chunk", "ref": "canary"}',
        b"[" * 100_000,
    ],
    ids=["empty", "text", "bytes", "a list", "another form", "another kind", "half", "deep"],
)
def test_a_message_that_cannot_be_read_is_left_to_the_host(
    world: World, trigger: str, body: bytes
) -> None:
    # The host tries again, and then keeps it in the poison queue.
    with pytest.raises(UnreadableMessage) as caught:
        app().functions[trigger].call(msg=message(body))

    assert "canary" not in str(caught.value)
    assert world.queue.deferred == []
    assert world.poison.noted(fingerprint(body)) == "UnreadableMessage"


@pytest.mark.parametrize("origin", ["sync_now", "sync_later", "sync_events"])
def test_a_message_that_the_host_gives_up_is_kept(world: World, origin: str) -> None:
    app().functions[f"{origin}_poison"].call(msg=message(b"\xff\xfe"))

    [kept] = world.services.poison.list()
    assert (kept.body, kept.queue) == (b"\xff\xfe", origin.replace("_", "-"))


@pytest.mark.parametrize("trigger", ["sync_now", "sync_later", "sync_events"])
def test_each_queue_runs_every_kind_of_job(world: World, ana: Browser, trigger: str) -> None:
    ana.connect(world.simulator.world.add_member(days=1))
    world.work()
    world.clock.move(60)
    ana.ask("POST", "/providers/whoop/sync/")

    for job, _ in world.queue.take():
        app().functions[trigger].call(msg=message(encode(job)))

    assert set(ana.progress().values()) == {"finished"}


def test_a_message_of_a_connection_that_is_gone_is_dropped(world: World) -> None:
    gone = {"form": 1, "kind": "chunk", "ref": "gone", "resource": "sleep", "run": "r"}
    counts = {"lane": "manual", "attempt": 0, "waits": 0}

    app().functions["sync_now"].call(msg=message(json.dumps({**gone, **counts})))

    assert world.queue.deferred == []


# Bugs, and whatever anybody sends


@pytest.mark.parametrize("bug", [ZeroDivisionError, UnreadableMessage])
def test_a_bug_stays_an_exception(
    world: World, monkeypatch: pytest.MonkeyPatch, bug: type[Exception]
) -> None:
    def broken() -> None:
        raise bug

    monkeypatch.setattr(app().module, "services", broken)

    with pytest.raises(bug):
        world.browser().get("/providers/")


def test_nothing_that_is_sent_breaks_anything(world: World) -> None:
    world.set_up({"ALLOW_QUERY_TOKEN": "true"})
    ana = world.browser("ana")
    latin = st.text(st.characters(max_codepoint=255), max_size=60)
    text = st.text(max_size=60)
    gets = ["providers/", "providers/whoop/status/", "oauth/whoop/authorize/"]
    gets += ["oauth/whoop/callback/", "health/"]

    @settings(max_examples=250, deadline=None)
    @given(
        path=st.sampled_from(gets),
        query=st.dictionaries(
            st.sampled_from(["ticket", "token", "state", "code", "error", "x"]), text, max_size=4
        ),
        headers=st.dictionaries(
            st.sampled_from(["Authorization", "Cookie", "Referer", "Sec-Fetch-Site", "X-Y"]),
            latin | latin.map("Bearer {}".format) | st.just("same-site"),
            max_size=4,
        ),
    )
    def check(path: str, query: dict[str, str], headers: dict[str, str]) -> None:
        asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        ana.cookies.clear()
        answer = ana.get(f"/{path}?{asked}", headers=headers)
        assert answer.status in {200, 302, 401, 403}

    check()


# Silence


def test_no_log_line_tells_a_secret_or_whom_it_is_about(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ana = world.browser("canary-user")
    member = world.simulator.world.add_member(days=90)
    link = ana.ticket()
    page = ana.get(link).location
    back = world.approve(page, member)
    ana.get(back)
    world.work()
    world.clock.move(7_200)
    ana.ask("POST", "/providers/whoop/sync/")
    world.work()
    ana.status()
    ana.get(back)
    eve = world.browser("canary-eve")
    eve.connect(member)
    bea = world.browser("canary-bea")
    world.simulator.add_fault(Fault("/user/profile/basic", status=503, times=1))
    bea.connect(world.simulator.world.add_member(days=1))
    world.work()
    hook = {
        "user_id": member.user_id,
        "id": "some-sleep",
        "type": "sleep.updated",
        "trace_id": "canary",
    }
    for changes in ({}, {"user_id": 77}, {"type": "canary"}, {"id": "../canary"}):
        said(world, json.dumps({**hook, **changes}).encode())
    world.browser().call("POST", "/webhooks/whoop/", body=json.dumps(hook).encode())
    world.work()
    world.simulator.revoke_tokens(member.user_id)
    world.clock.move(7_200)
    ana.ask("POST", "/providers/whoop/sync/")
    world.work()
    assert ana.status()["connection"]["status"] == "parked"
    ana.ask("DELETE", "/providers/whoop/connection/?erase=true")
    world.simulator.add_fault(Fault("/user/access", status=503, times=1))
    bea.ask("DELETE", "/providers/whoop/connection/")
    world.work()

    oauth = world.simulator._oauth
    canaries = [
        "canary",
        JWT_SECRET,
        str(ana.token),
        link.rpartition("=")[2],
        page.rpartition("state=")[2],
        *oauth._codes,
        *oauth._by_access,
        *oauth._by_refresh,
        *ana.cookies.values(),
        member.email,
        member.last_name,
        str(member.user_id),
    ]
    assert len(canaries) > 15
    assert {
        "connection.made",
        "run.finished",
        "renewal.done",
        "connection.refused",
        "connection.unfinished",
        "connection.disconnected",
        "connection.erased",
        "revocation.done",
        "webhook.taken",
        "webhook.forged",
        "webhook.ignored",
        "webhook.unknown_account",
        "look.done",
    } <= {record.__dict__.get("event") for record in caplog.records}
    told = [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    assert [line for line in told for canary in canaries if canary in line] == []


def test_the_routes_are_the_ones_in_the_contract() -> None:
    triggers = [one.trigger for one in app().functions.values()]

    assert {
        (tuple(sorted(one.methods)), one.route.template.strip("/"))
        for one in triggers
        if isinstance(one, HttpTrigger)
    } == {
        (("GET",), "providers"),
        (("GET",), "providers/{provider}/status"),
        (("POST",), "providers/{provider}/sync"),
        (("GET",), "providers/{provider}/records/{resource}"),
        (("DELETE",), "providers/{provider}/connection"),
        (("POST",), "oauth/{provider}/ticket"),
        (("GET",), "oauth/{provider}/authorize"),
        (("GET",), "oauth/{provider}/callback"),
        (("POST",), "webhooks/{provider}"),
        (("GET",), "health"),
    }
    assert {one.queue for one in triggers if isinstance(one, QueueTrigger)} == {
        "sync-now",
        "sync-later",
        "sync-events",
        "sync-events-poison",
        "sync-now-poison",
        "sync-later-poison",
    }
