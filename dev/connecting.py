"""Connects a member as a browser would: every redirect of the real flow, one after the other."""

import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from dev.failures import LocalError

_TIMEOUT_SECONDS = 30.0


class ConnectError(LocalError):
    """The way through the consent page broke off."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A member has agreed and is back on the settings page."""

    #: On the clock of `time.monotonic`, just before the member's answer was sent.
    at: float
    cookies: requests.cookies.RequestsCookieJar = field(repr=False)


def connect(api: str, page: str, token: str, member: int) -> Consent:
    """Go from the settings page `page` to the consent page, agree as `member`, and come back."""
    with requests.Session() as browser:
        browser.trust_env = False  # no proxy knows this machine's own addresses
        ticket = _ticket(browser, api, token)
        consent_page = _follow(browser, ticket)
        asked = _get(browser, consent_page)
        if asked.status_code != requests.codes.ok:
            raise ConnectError(f"The consent page answered {_said(asked)}.")
        form = read_form(asked.text)
        if str(member) not in form.choices:
            raise ConnectError(f"The consent page does not offer the member {member}.")
        at = time.monotonic()
        agreed = browser.post(
            urljoin(consent_page, form.action),
            data={**form.fields, form.choice: str(member), "decision": "approve"},
            allow_redirects=False,
            timeout=_TIMEOUT_SECONDS,
        )
        back = _follow(browser, _location(agreed, "The consent page"))
        _require_success(back, page)
        return Consent(at, browser.cookies)


@dataclass(slots=True)
class Form:
    """The one form of the consent page."""

    action: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    choice: str = ""
    choices: set[str] = field(default_factory=set)


def read_form(html: str) -> Form:
    """Read what a browser would send from the consent page, and who can be chosen on it."""
    reader = _FormReader()
    reader.feed(html)
    return reader.form


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form = Form()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name, value = given.get("name", ""), given.get("value", "")
        match tag, given.get("type"):
            case "form", _:
                self.form.action = given.get("action", "")
            case "input", "hidden":
                self.form.fields[name] = value
            case "input", "radio":
                self.form.choice = name
                self.form.choices.add(value)


def _ticket(browser: requests.Session, api: str, token: str) -> str:
    answer = browser.post(
        f"{api}/oauth/whoop/ticket/",
        headers={"Authorization": f"Bearer {token}"},
        timeout=_TIMEOUT_SECONDS,
    )
    if answer.status_code != requests.codes.ok:
        raise ConnectError(f"The ticket was refused: {_said(answer)}.")
    link: Any = answer.json().get("authorize_url")
    return str(link)


def _follow(browser: requests.Session, url: str) -> str:
    return _location(_get(browser, url), urlsplit(url).path)


def _get(browser: requests.Session, url: str) -> requests.Response:
    return browser.get(url, allow_redirects=False, timeout=_TIMEOUT_SECONDS)


def _location(answer: requests.Response, who: str) -> str:
    """Say where a redirect leads."""
    if not answer.is_redirect:
        raise ConnectError(f"{who} answered {_said(answer)} where a redirect was due.")
    return urljoin(answer.url, answer.headers["Location"])


def _require_success(location: str, page: str) -> None:
    address, _, query = location.partition("?")
    told = {name: values[0] for name, values in parse_qs(query).items()}
    if address != page or told.get("oauth") != "success" or told.get("provider") != "whoop":
        reason = told.get("reason", "no reason given")
        raise ConnectError(f"The member came back without success ({reason}): {address}")


def _said(answer: requests.Response) -> str:
    """Quote an answer, shortly: its detail where it is one of our problem details."""
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200]
    return f"{answer.status_code} ({detail})"
