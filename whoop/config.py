"""WHOOP's settings, read from a mapping; every problem is reported at once, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from shared.config import UNRESOLVED
from shared.core.model import Limit, Secret
from shared.provider import Trouble
from whoop.resources import SCOPES

API_URL = "https://api.prod.whoop.com/developer"
OAUTH_URL = "https://api.prod.whoop.com/oauth/oauth2"
#: Without it WHOOP issues no refresh token.  https://developer.whoop.com/docs/developing/oauth
OFFLINE = "offline"
#: What WHOOP grants every app, for all of its members together.
#: https://developer.whoop.com/docs/developing/rate-limiting
QUOTA = (
    ("WHOOP_REQUESTS_PER_MINUTE", 100, timedelta(minutes=1)),
    ("WHOOP_REQUESTS_PER_DAY", 10_000, timedelta(days=1)),
)


@dataclass(frozen=True, slots=True)
class Config:
    """Who we are at WHOOP, and where WHOOP is.

    With ``trouble`` set, the app runs without WHOOP, and ``problems`` says why, for the log.
    """

    client_id: str
    client_secret: Secret
    redirect_uri: str
    scopes: tuple[str, ...]
    api_url: str
    oauth_url: str
    #: What WHOOP granted the whole app.
    limits: tuple[Limit, ...]
    trouble: Trouble | None
    problems: tuple[str, ...]


def read(env: Mapping[str, str]) -> Config:
    """Read the ``WHOOP_`` settings.  Raises nothing: a wrong setting switches WHOOP off."""
    required = {
        name: env.get(name, "").strip()
        for name in ("WHOOP_CLIENT_ID", "WHOOP_CLIENT_SECRET", "WHOOP_REDIRECT_URI")
    }
    missing = [f"{name} is not set" for name, value in required.items() if not value]
    redirect_uri = required["WHOOP_REDIRECT_URI"]
    urls = {
        "WHOOP_REDIRECT_URI": redirect_uri,
        "WHOOP_API_URL": env.get("WHOOP_API_URL", "").strip() or API_URL,
        "WHOOP_OAUTH_URL": env.get("WHOOP_OAUTH_URL", "").strip() or OAUTH_URL,
    }
    wrong = [
        f"{name} is a Key Vault reference that did not resolve"
        for name, value in (required | urls).items()
        if value.startswith(UNRESOLVED)
    ]
    wrong += [
        f"{name} must be an absolute https address without a query (http only on this machine)"
        for name, url in urls.items()
        if url and not url.startswith(UNRESOLVED) and not _acceptable(url)
    ]
    asked = env.get("WHOOP_SCOPE", "").split() or list(SCOPES)
    unknown = sorted(set(asked) - {*SCOPES, OFFLINE})
    if unknown:
        wrong.append(f"WHOOP_SCOPE has scopes that WHOOP does not know: {', '.join(unknown)}")
    limits = []
    for name, default, window in QUOTA:
        text = env.get(name, "").strip() or str(default)
        count = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
        if count < 1:
            wrong.append(f"{name} must be a whole number from 1 to 9999999")
        limits.append(Limit(max(1, count), window))
    return Config(
        client_id=required["WHOOP_CLIENT_ID"],
        client_secret=Secret(required["WHOOP_CLIENT_SECRET"]),
        redirect_uri=redirect_uri,
        scopes=tuple(dict.fromkeys([*asked, OFFLINE])),
        api_url=urls["WHOOP_API_URL"].rstrip("/"),
        oauth_url=urls["WHOOP_OAUTH_URL"].rstrip("/"),
        limits=tuple(limits),
        trouble=Trouble.MISCONFIGURED if wrong else Trouble.NOT_CONFIGURED if missing else None,
        problems=(*missing, *wrong),
    )


def _acceptable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    # A user in an address would be sent in place of our own Authorization header.
    if not host or port == 0 or "@" in parts.netloc or parts.query or parts.fragment:
        return False
    local = host in {"localhost", "127.0.0.1", "::1"}
    return parts.scheme == "https" or (parts.scheme == "http" and local)
