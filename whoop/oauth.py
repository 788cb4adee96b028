"""WHOOP's OAuth dialect, with no HTTP in it.

https://developer.whoop.com/docs/developing/oauth
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from shared.core.model import Secret
from shared.errors import GrantDead, RateLimited, Rejected, Unavailable
from shared.provider import Grant
from whoop.api import pause
from whoop.config import OFFLINE, Config

#: What the token endpoint says of a grant that is over.  The second is what some versions of
#: the server behind it say of a refresh token that was used before.
DEAD = frozenset({"invalid_grant", "token_inactive"})
#: WHOOP promises only that tokens are short-lived; its example says 3600.
DEFAULT_LIFETIME = timedelta(hours=1)
LONGEST_LIFETIME = timedelta(days=365)


def authorize_url(config: Config, state: str) -> str:
    """Return where the member gives consent.

    ``state`` must have at least 8 characters, or WHOOP answers ``invalid_state``.
    """
    if len(state) < 8:
        raise ValueError("WHOOP refuses a state of less than 8 characters")
    query = {
        "response_type": "code",
        "client_id": config.client_id,
        "redirect_uri": config.redirect_uri,
        "scope": " ".join(config.scopes),
        "state": state,
    }
    return f"{config.oauth_url}/auth?{urlencode(query)}"


def code_form(config: Config, code: Secret) -> dict[str, str]:
    """Return the form that trades a code.  WHOOP refuses credentials in a header."""
    return {
        "grant_type": "authorization_code",
        "code": code.reveal(),
        "redirect_uri": config.redirect_uri,
        **_credentials(config),
    }


def refresh_form(config: Config, refresh: Secret) -> dict[str, str]:
    """Return the form that trades a refresh token; both tokens die as soon as it succeeds."""
    return {
        "grant_type": "refresh_token",
        "refresh_token": refresh.reveal(),
        "scope": OFFLINE,
        **_credentials(config),
    }


def decipher(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Grant:
    """Return the grant in a token response; raise what a bad one calls for.

    Its scopes are empty where the answer names none.

    ``headers`` must have lowercase keys.  ``GrantDead`` is raised only for WHOOP's own word
    that the grant is over: nothing else may sign a member out.
    """
    if status == 429:
        raise RateLimited(now + pause(headers))
    if status >= 500 or status < 200:
        raise Unavailable(f"WHOOP's token endpoint answered {status}")
    doc = _document(body)
    if status != 200:
        error = doc.get("error")
        if not isinstance(error, str):
            # Not the token endpoint's own answer: something stands in between.
            raise Unavailable(f"WHOOP's token endpoint answered {status}")
        if error in DEAD:
            raise GrantDead("WHOOP says that the grant is over")
        raise Rejected(f"WHOOP's token endpoint answered {status}")
    return _grant(doc)


def first(grant: Grant, config: Config) -> Grant:
    """Read the answer to a code: a scope that it omits is the one that was asked for.

    RFC 6749, section 5.1.  The answer to a refresh is another matter: there it stays what it was.
    """
    return grant if grant.scopes else replace(grant, scopes=frozenset(config.scopes))


def _grant(doc: Mapping[str, Any]) -> Grant:
    access = _token(doc.get("access_token"))
    if access is None:
        raise Unavailable("WHOOP's token endpoint gave no access token")
    scope = doc.get("scope")
    return Grant(
        access=access,
        refresh=_token(doc.get("refresh_token")),
        lifetime=_lifetime(doc.get("expires_in")),
        scopes=frozenset(scope.split() if isinstance(scope, str) else ()),
    )


def _token(text: Any) -> Secret | None:
    """Return a token, or None for what is none: RFC 6749, appendices A.12 and A.17."""
    if not isinstance(text, str) or not text or not (text.isascii() and text.isprintable()):
        return None
    return Secret(text)


def _lifetime(seconds: Any) -> timedelta:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
        return DEFAULT_LIFETIME
    return timedelta(seconds=min(seconds, LONGEST_LIFETIME.total_seconds()))


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        doc = json.loads(body)
    except (ValueError, RecursionError):
        doc = None
    return doc if isinstance(doc, dict) else {}


def _credentials(config: Config) -> dict[str, str]:
    return {"client_id": config.client_id, "client_secret": config.client_secret.reveal()}
