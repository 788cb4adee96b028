"""The HTTP edge: answers, problem details, cookies, and what a request may carry."""

from __future__ import annotations

import functools
import json
import re
import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlencode

import azure.functions as func
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import dump_cookie, parse_accept_header, parse_etags

from shared.config import Settings, origin
from shared.errors import (
    AppError,
    BadRequest,
    ConfigError,
    Forbidden,
    LostRace,
    Problem,
    StorageDown,
)
from shared.log import alarm
from shared.reading import JSON, LINES, Feed, FeedPage

Handler = Callable[[func.HttpRequest], func.HttpResponse]

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}
#: RFC 9745: the day from which the token in the authorize link is deprecated, 2026-11-01.
DEPRECATION = "@1793491200"
#: What ``secrets.token_urlsafe(32)`` makes; anything else in our cookie is not ours.
COOKIE_VALUE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
SAME_SITE = frozenset({"same-site", "same-origin"})
#: Bytes in a body; ours are shorter than a line.
LONGEST_BODY = 1_024
#: Characters in a query value; a front end takes 4,096 bytes for the whole query.
LONGEST_VALUE = 4_096


def answers_errors(handler: Handler) -> Handler:
    """Turn our errors into problem details; bugs stay exceptions, and the host answers 500."""

    @functools.wraps(handler)
    def answer(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return handler(req)
        except AppError as error:
            return problem(error)

    return answer


def problem(error: AppError) -> func.HttpResponse:
    """Return ``error`` as RFC 9457 problem details, without a word that is for the log only."""
    retry = {"Retry-After": "5"}
    match error:
        case Problem():
            extra = {"WWW-Authenticate": error.challenge} if error.status == 401 else {}
            return _problem(error.status, error.title, error.detail, error.code, extra)
        case ConfigError():
            alarm("settings.wrong", problems=list(error.problems))
            return _problem(
                503, "The app is not set up", "Its operator finds the reason in the log.",
                "misconfigured", {},
            )  # fmt: skip
        case StorageDown() | LostRace():
            return _problem(
                503, "Try again in a moment", "Our storage did not answer in time.",
                "unavailable", retry,
            )  # fmt: skip
        case _:
            raise error


def json_answer(body: Any, status: int = 200) -> func.HttpResponse:
    """Return ``body`` as JSON."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return func.HttpResponse(
        text, status_code=status, headers=HEADERS, mimetype="application/json", charset="utf-8"
    )


def form_of(req: func.HttpRequest) -> str:
    """Return the form in which the caller would rather have records; JSON if they do not say."""
    accepted = parse_accept_header(req.headers.get("Accept"), MIMEAccept)
    return accepted.best_match((JSON, LINES), JSON)


def has_newest(req: func.HttpRequest, feed: Feed, form: str) -> bool:
    """Say whether the caller has what they ask for (RFC 9110, section 13.1.2)."""
    return parse_etags(req.headers.get("If-None-Match")).contains_weak(feed.tag(form))


def not_modified(feed: Feed, form: str) -> func.HttpResponse:
    """Tell the caller that they have it."""
    return func.HttpResponse(status_code=304, headers=_validators(feed, form))


def records_answer(page: FeedPage, form: str) -> func.HttpResponse:
    """Return records, and in headers where to go on."""
    feed, wish = page.feed, page.feed.wish
    headers = {**_validators(feed, form), "Feed-Cursor": str(page.cursor)}
    if feed.generation is not None:
        headers["Feed-Generation"] = feed.generation
    if page.more:
        path = f"/providers/{feed.place.provider}/records/{feed.place.resource}/"
        following = {"cursor": page.cursor, "limit": wish.limit, "generation": feed.generation}
        history = {"history": "true"} if wish.history else {}
        headers["Link"] = f'<{path}?{urlencode({**following, **history})}>; rel="next"'
    return func.HttpResponse(
        page.text(form).encode(), status_code=200, headers=headers, mimetype=form, charset="utf-8"
    )


def no_content() -> func.HttpResponse:
    """Say that all is well, and nothing more."""
    return func.HttpResponse(status_code=204, headers=HEADERS)


def redirect(location: str) -> func.HttpResponse:
    """Send the browser to ``location``, which comes from configuration only."""
    return func.HttpResponse(status_code=302, headers={**HEADERS, "Location": location})


def back_to_page(settings: Settings, provider: str, reason: str | None) -> func.HttpResponse:
    """Send the member back to the settings page, with what came of it."""
    query = {"oauth": "error" if reason else "success", "provider": provider}
    if reason:
        query["reason"] = reason
    return redirect(f"{settings.settings_page_url}?{urlencode(query)}")


def with_browser(
    response: func.HttpResponse, settings: Settings, browser: str
) -> func.HttpResponse:
    """Set the cookie that binds tickets and states to this browser."""
    secure = settings.public_url.startswith("https://")
    # Lax: it has to come along when the provider sends the member back to us, and with nothing
    # that another site embeds.  https://developer.mozilla.org/docs/Web/HTTP/Cookies
    response.headers.add(
        "Set-Cookie",
        dump_cookie(
            _cookie_name(settings), browser, path="/", secure=secure, httponly=True, samesite="Lax"
        ),
    )
    return response


def browser_of(req: func.HttpRequest, settings: Settings) -> str | None:
    """Return the value of our cookie, if it has one that we could have made.

    Without a parser of cookies: an odd letter in somebody else's would make it fail on ours.
    """
    for cookie in req.headers.get("Cookie", "").split(";"):
        name, _, value = cookie.strip(" \t").partition("=")
        if name == _cookie_name(settings):
            return value if COOKIE_VALUE.fullmatch(value) else None
    return None


def new_browser() -> str:
    """Make a value for our cookie."""
    return secrets.token_urlsafe(32)


def query(req: func.HttpRequest, name: str) -> str:
    """Return a query value; empty where it is missing or longer than any of ours."""
    value: str = req.params.get(name) or ""
    return value if len(value) <= LONGEST_VALUE else ""


def since_of(req: func.HttpRequest) -> datetime | None:
    """Return the midnight (UTC) from which the body wants records; None where it has no wish.

    Raises ``BadRequest`` for a body that is anything but empty or ``{"since": "2024-01-31"}``.
    """
    body = req.get_body()
    if not body.strip():
        return None
    try:
        match json.loads(body[:LONGEST_BODY]):
            case {"since": None, **more} if not more:
                return None
            case {"since": str(day), **more} if not more:
                return datetime.combine(date.fromisoformat(day), time(), UTC)
            case dict(empty) if not empty:
                return None
    except (ValueError, RecursionError):
        pass
    raise BadRequest('Send no body, or a day such as {"since": "2024-01-31"}.')


def flag(req: func.HttpRequest, name: str) -> bool:
    """Return a query value that is true or false, false where it is missing.

    Raises ``BadRequest`` for anything else: what it decides may be final.
    """
    value = req.params.get(name, "false")
    if value not in {"true", "false"}:
        raise BadRequest(f"{name} is true or false.")
    return bool(value == "true")


def require_own_page(req: func.HttpRequest, settings: Settings) -> None:
    """Raise ``Forbidden`` unless a page of our own site led here.

    For the legacy link only, whose token would otherwise let one member's link connect
    another member's wearable.
    """
    if not settings.allow_query_token:
        raise Forbidden("Start from the settings page: links with a token are switched off.")
    site = req.headers.get("Sec-Fetch-Site")
    referer = req.headers.get("Referer", "")
    own = site in SAME_SITE if site else origin(referer) == origin(settings.settings_page_url)
    if not own:
        raise Forbidden("Start from the settings page: this link works nowhere else.")


def _cookie_name(settings: Settings) -> str:
    # A prefix that only https may use, and that no subdomain can forge.
    return "__Host-gotogym_oauth" if settings.public_url.startswith("https") else "gotogym_oauth"


def _validators(feed: Feed, form: str) -> dict[str, str]:
    # A private cache may keep it, and has to ask each time whether it still is the newest.
    return {
        **HEADERS,
        "Cache-Control": "private, no-cache",
        # Weak: what lands between two reads of one answer may be in it or not.
        "ETag": f'W/"{feed.tag(form)}"',
        "Vary": "Accept, Authorization",
    }


def _problem(
    status: int, title: str, detail: str, code: str, extra: dict[str, str]
) -> func.HttpResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    return func.HttpResponse(
        json.dumps(body, ensure_ascii=False),
        status_code=status,
        headers={**HEADERS, **extra},
        mimetype="application/problem+json",
        charset="utf-8",
    )
