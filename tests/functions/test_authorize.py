"""From the button to the consent page: tickets, and the link that today's page makes."""

from __future__ import annotations

import logging
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.connections import TICKET_LIFE
from tests.functions.world import ENV, PAGE, PUBLIC_URL, Answer, Browser, World, a_token

COOKIE = "__Host-gotogym_oauth"
LOCAL = {
    "PUBLIC_URL": "http://localhost:7071",
    "SETTINGS_PAGE_URL": "http://localhost:8080/pages/settings/Dispositivos.html",
}


def attributes(answer: Answer) -> set[str]:
    """Return the attributes of the one cookie that was set."""
    [line] = answer.cookies
    return {part.strip().lower() for part in line.split(";")[1:]}


# The ticket


def test_a_ticket_is_a_link_that_works_for_a_minute(ana: Browser) -> None:
    answer = ana.ask("POST", "/oauth/whoop/ticket/")

    assert answer.status == 200
    assert answer.json["expires_in"] == 60
    link = urlsplit(answer.json["authorize_url"])
    assert f"{link.scheme}://{link.netloc}{link.path}" == f"{PUBLIC_URL}/oauth/whoop/authorize/"
    [ticket] = parse_qs(link.query)["ticket"]
    assert len(ticket) == 43


@pytest.mark.parametrize("bearer", [None, "", "not-a-token"])
def test_there_is_no_ticket_for_strangers(world: World, bearer: str | None) -> None:
    answer = world.browser().call("POST", "/oauth/whoop/ticket/", bearer=bearer)

    assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not answer.cookies


def test_the_cookie_is_for_this_host_and_for_https_alone(ana: Browser) -> None:
    answer = ana.ask("POST", "/oauth/whoop/ticket/")

    assert list(ana.cookies) == [COOKIE]
    assert len(ana.cookies[COOKIE]) == 43
    assert attributes(answer) == {"path=/", "secure", "httponly", "samesite=lax"}


def test_on_this_machine_the_cookie_does_without_https(world: World) -> None:
    world.set_up(LOCAL)
    browser = world.browser()

    answer = browser.ask("POST", "/oauth/whoop/ticket/")

    assert list(browser.cookies) == ["gotogym_oauth"]
    assert attributes(answer) == {"path=/", "httponly", "samesite=lax"}
    assert answer.json["authorize_url"].startswith("http://localhost:7071/oauth/whoop/authorize/?")


def test_a_second_tab_keeps_the_cookie_of_the_first(world: World, ana: Browser) -> None:
    first = ana.ticket()
    cookie = ana.cookies[COOKIE]
    second = ana.ticket()

    assert ana.cookies[COOKIE] == cookie
    assert first != second
    for link in (first, second):
        assert ana.get(link).location.startswith(world.url)


@pytest.mark.parametrize(
    "garbage",
    ["", "x", "A" * 42, "A" * 44, "A" * 42 + "=", "ñ" * 43, "A" * 42 + "\n"],
    ids=["empty", "short", "one less", "one more", "a sign", "letters", "a line break"],
)
def test_a_cookie_that_is_not_ours_is_replaced(ana: Browser, garbage: str) -> None:
    ana.cookies = {COOKIE: garbage}

    ana.ticket()

    assert len(ana.cookies[COOKIE]) == 43
    assert ana.cookies[COOKIE] != garbage


@pytest.mark.parametrize("other", ["naïve", "ñ=ñ", "日本", '"', "=", "a b=c d", "\x01"])
def test_the_cookies_of_others_do_not_matter(ana: Browser, other: str) -> None:
    ana.ticket()
    ours = ana.cookies[COOKIE]
    ana.cookies = {"before": other, COOKIE: ours, "after": other}

    ana.ticket()

    assert ana.cookies[COOKIE] == ours


# With a ticket


def test_a_ticket_leads_to_the_consent_page(world: World, ana: Browser) -> None:
    answer = ana.get(ana.ticket())

    assert answer.status == 302
    page = urlsplit(answer.location)
    asked = {name: values[0] for name, values in parse_qs(page.query).items()}
    assert answer.location.startswith(f"{world.url}/oauth/oauth2/auth?")
    assert asked.pop("state")
    assert asked == {
        "response_type": "code",
        "client_id": ENV["WHOOP_CLIENT_ID"],
        "redirect_uri": ENV["WHOOP_REDIRECT_URI"],
        "scope": "read:cycles read:recovery read:sleep read:workout read:profile"
        " read:body_measurement offline",
    }


def test_no_secret_of_gotogym_is_in_any_address(world: World, ana: Browser) -> None:
    link = ana.ticket()
    page = ana.get(link).location

    for address in (link, page):
        assert str(ana.token) not in address
        assert ana.cookies[COOKIE] not in address
    assert "ticket" not in page


def test_a_ticket_works_once(ana: Browser) -> None:
    link = ana.ticket()
    ana.get(link)

    assert ana.get(link).outcome == {
        "oauth": "error",
        "provider": "whoop",
        "reason": "expired_link",
    }


@pytest.mark.parametrize(
    ("waited", "works"),
    [(TICKET_LIFE - timedelta(milliseconds=1), True), (TICKET_LIFE, False)],
    ids=["just in time", "a moment too late"],
)
def test_a_ticket_works_for_a_minute(
    world: World, ana: Browser, waited: timedelta, works: object
) -> None:
    link = ana.ticket()
    world.clock.move(waited.total_seconds())

    answer = ana.get(link)

    assert answer.location.startswith(world.url if works else f"{PAGE}?oauth=error")


@pytest.mark.parametrize(
    "query",
    ["", "?ticket=", "?ticket=never-made", "?ticket=" + "A" * 43, "?ticket=" + "A" * 9_999],
    ids=["none", "empty", "made up", "well made up", "endless"],
)
def test_without_a_ticket_of_ours_there_is_no_way(ana: Browser, query: str) -> None:
    ana.ticket()

    answer = ana.get(f"/oauth/whoop/authorize/{query}")

    assert answer.outcome["reason"] == "expired_link"


def test_a_ticket_works_in_the_browser_that_asked_for_it_only(world: World, ana: Browser) -> None:
    link = ana.ticket()
    eve = world.browser("eve")

    assert eve.get(link).outcome["reason"] == "other_browser"  # without any cookie
    eve.ticket()
    assert eve.get(link).outcome["reason"] == "other_browser"  # with her own
    assert ana.get(link).location.startswith(world.url)  # and nothing was spoilt


def test_a_lost_cookie_is_told_apart_from_an_old_link(ana: Browser) -> None:
    link = ana.ticket()
    ana.cookies.clear()

    assert ana.get(link).outcome["reason"] == "other_browser"


def test_a_ticket_is_no_state(ana: Browser) -> None:
    ticket = ana.ticket().rpartition("=")[2]

    answer = ana.get(f"/oauth/whoop/callback/?state={ticket}&code=x")

    assert answer.outcome["reason"] == "expired_link"


def test_storage_that_is_down_is_told_on_the_page(world: World, ana: Browser) -> None:
    link = ana.ticket()
    world.once.down = True

    assert ana.get(link).outcome["reason"] == "unavailable"


# With a token: the link that today's page makes


@pytest.fixture
def legacy(world: World) -> World:
    world.set_up({"ALLOW_QUERY_TOKEN": "true"})
    return world


def follow(browser: Browser, headers: dict[str, str], token: str | None = None) -> Answer:
    sent = browser.token if token is None else token
    return browser.get(f"/oauth/whoop/authorize/?token={sent}", headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="from the page"),
        pytest.param({"sec-fetch-site": "same-origin"}, id="from a page of the API's own"),
        pytest.param({"Referer": PAGE}, id="a browser without Sec-Fetch-Site"),
        pytest.param({"Referer": "https://www.gotogym.example/"}, id="that tells the origin only"),
    ],
)
def test_a_link_from_the_page_still_works(legacy: World, headers: dict[str, str]) -> None:
    browser = legacy.browser("ana")

    answer = follow(browser, headers)

    assert answer.status == 302
    assert answer.location.startswith(legacy.url)
    assert answer.headers["deprecation"] == "@1793491200"
    assert len(browser.cookies[COOKIE]) == 43
    assert str(browser.token) not in answer.location


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="from nowhere"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="from another site"),
        pytest.param({"Sec-Fetch-Site": "none"}, id="from an e-mail"),
        pytest.param({"Sec-Fetch-Site": "cross-site", "Referer": PAGE}, id="with a false Referer"),
        pytest.param({"Referer": "https://evil.example/"}, id="another page"),
        pytest.param({"Referer": "https://www.gotogym.example.evil.example/"}, id="a longer name"),
        pytest.param({"Referer": "https://www.gotogym.example@evil.example/"}, id="a user name"),
        pytest.param({"Referer": "http://www.gotogym.example/"}, id="not https"),
        pytest.param({"Referer": "https://[half"}, id="no address at all"),
        pytest.param({"Referer": "null"}, id="an opaque one"),
    ],
)
def test_a_link_from_elsewhere_is_forbidden(legacy: World, headers: dict[str, str]) -> None:
    answer = follow(legacy.browser("ana"), headers)

    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert not answer.cookies


def test_links_with_a_token_are_off_unless_switched_on(ana: Browser) -> None:
    answer = follow(ana, {"Sec-Fetch-Site": "same-site"})

    assert (answer.status, answer.json["code"]) == (403, "forbidden")


def test_a_link_with_a_bad_token_is_refused(legacy: World) -> None:
    answer = follow(legacy.browser(), {"Sec-Fetch-Site": "same-site"}, token="a.b.c")

    assert (answer.status, answer.json["code"]) == (401, "unauthorized")


def test_every_use_of_such_a_link_is_reported(
    legacy: World, caplog: pytest.LogCaptureFixture
) -> None:
    follow(legacy.browser("ana"), {"Sec-Fetch-Site": "same-site"})

    [record] = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert record.getMessage() == 'authorize.query_token {"provider": "whoop"}'


def test_such_a_link_is_bound_to_its_browser_as_well(legacy: World) -> None:
    ana, eve = legacy.browser("ana"), legacy.browser("eve")
    member = legacy.simulator.world.add_member(days=1)
    page = follow(ana, {"Sec-Fetch-Site": "same-site"}).location
    back = legacy.approve(page, member)

    assert eve.get(back).outcome["reason"] == "other_browser"
    assert ana.get(back).outcome["oauth"] == "success"
    assert ana.status()["connection"]["status"] == "connected"


def test_a_tokens_own_user_is_connected_whoever_is_signed_in(legacy: World) -> None:
    browser = legacy.browser("ana")
    member = legacy.simulator.world.add_member(days=1)
    page = follow(browser, {"Sec-Fetch-Site": "same-site"}, token=a_token("bea")).location
    browser.get(legacy.approve(page, member))

    assert browser.status()["connection"]["status"] == "none"
    assert legacy.browser("bea").status()["connection"]["status"] == "connected"
