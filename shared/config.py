"""The app's settings, read once from a mapping; every problem is reported at once, by name."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.core.model import Secret
from shared.errors import ConfigError

SETTINGS_PAGE_URL = "https://www.gotogym.store/pages/settings/Dispositivos.html"
#: What an unresolved Key Vault reference looks like to an app.
#: https://learn.microsoft.com/azure/app-service/app-service-key-vault-references
UNRESOLVED = "@Microsoft.KeyVault("
ALGORITHMS = ("HS256", "RS256", "ES256")
#: RFC 7518, section 3.2: an HS256 key is at least as long as the hash.
SHORTEST_SECRET = 32
KEY_BYTES = 32
#: https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
SCHEDULE_FIELDS = 6
LONGEST_BACKFILL = 20_000
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Storage:
    """Where queues and tables are: a connection string, or addresses and an identity."""

    connection_string: Secret | None
    queue_url: str = ""
    table_url: str = ""
    #: Client id of the user-assigned identity; empty for the system-assigned one.
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class Jwt:
    """How GoToGym's own tokens are checked.  The algorithm is ours to say, never the token's."""

    algorithm: str
    secret: Secret | None
    jwks_url: str
    issuer: str
    audience: str
    #: The claim that holds the user id; empty for ``user_id``, then ``sub``.
    user_claim: str


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key that seals tokens; every sealed value names its key."""

    id: str
    key: Secret


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the app is told from outside, but for the providers' own settings."""

    storage: Storage
    public_url: str
    settings_page_url: str
    backfill_days: int
    jwt: Jwt
    #: Newest first: the first one seals, all of them open.
    token_keys: tuple[SealingKey, ...]
    allow_query_token: bool

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings; raise ``ConfigError`` with everything that is wrong."""
        reader = _Reader(env)
        settings = cls(
            storage=reader.storage(),
            public_url=reader.url("PUBLIC_URL", ""),
            settings_page_url=reader.url("SETTINGS_PAGE_URL", SETTINGS_PAGE_URL),
            backfill_days=reader.number("BACKFILL_DAYS", 30, most=LONGEST_BACKFILL),
            jwt=reader.jwt(),
            token_keys=reader.token_keys(),
            allow_query_token=reader.flag("ALLOW_QUERY_TOKEN"),
        )
        reader.text("AzureWebJobsStorage", also="AzureWebJobsStorage__")
        reader.schedule("SYNC_SCHEDULE")
        if not reader.problems and not same_site(settings.public_url, settings.settings_page_url):
            # The browser would send our cookie with none of the page's requests.
            reader.problems.append("PUBLIC_URL and SETTINGS_PAGE_URL must be on the same site")
        if reader.problems:
            raise ConfigError(reader.problems)
        return settings


def same_site(one: str, other: str) -> bool:
    """Say whether a browser takes the two addresses for one site.

    https://developer.mozilla.org/docs/Glossary/Site : same scheme and registrable domain.  We
    carry no list of public suffixes; a short second label under a country (``co.uk``,
    ``com.mx``) counts as part of the suffix, which is right for every domain of this product.
    """
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, _domain(first.hostname or "")) == (
        second.scheme,
        _domain(second.hostname or ""),
    )


def origin(url: str) -> str:
    """Return the origin of ``url``: scheme, host, and port where one is given; else nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _domain(host: str) -> str:
    labels = host.split(".")
    if host in LOCAL or labels[-1].isdigit():
        return host
    under_country = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if under_country else -2 :])


class _Reader:
    """Reads settings one by one and collects what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.problems: list[str] = []

    def text(self, name: str, *, also: str = "") -> str:
        """Read a required setting; ``also`` is the prefix of settings that replace it."""
        value = self.env.get(name, "").strip()
        if not value and not (also and any(key.startswith(also) for key in self.env)):
            self.problems.append(f"{name} is not set")
        return self._resolved(name, value)

    def optional(self, name: str) -> str:
        return self._resolved(name, self.env.get(name, "").strip())

    def url(self, name: str, default: str) -> str:
        value = self.optional(name) or default
        if not value:
            if f"{name} is a Key Vault" not in "".join(self.problems):
                self.problems.append(f"{name} is not set")
            return ""
        try:
            parts = urlsplit(value)
            local = parts.hostname in LOCAL
            good = parts.scheme == "https" or (parts.scheme == "http" and local)
            good = good and bool(parts.hostname) and not parts.query and not parts.fragment
        except ValueError:
            good = False
        if not good:
            self.problems.append(
                f"{name} must be an absolute https address without a query"
                " (http only on this machine)"
            )
        return value.rstrip("/") if name == "PUBLIC_URL" else value

    def number(self, name: str, default: int, *, most: int) -> int:
        value = self.optional(name)
        if not value:
            return default
        if not (value.isascii() and value.isdigit() and int(value[:9]) <= most and len(value) < 9):
            self.problems.append(f"{name} must be a whole number from 0 to {most}")
            return default
        return int(value)

    def schedule(self, name: str) -> None:
        """Check a timer's schedule, which the host reads by itself and does not explain."""
        value = self.text(name)
        if value and len(value.split()) != SCHEDULE_FIELDS:
            self.problems.append(f"{name} must have six fields, the first one for seconds")

    def flag(self, name: str) -> bool:
        value = self.optional(name).lower()
        if value not in {"", "true", "false"}:
            self.problems.append(f"{name} must be true or false")
        return value == "true"

    def storage(self) -> Storage:
        if self.env.get("DataStorage", "").strip():
            text = self.optional("DataStorage")
            if text and not _is_connection_string(text):
                self.problems.append("DataStorage must be a connection string of a storage account")
            return Storage(Secret(text))
        urls = {
            name: self.env.get(name, "").strip()
            for name in ("DataStorage__queueServiceUri", "DataStorage__tableServiceUri")
        }
        if not any(urls.values()):
            self.problems.append("DataStorage is not set")
        else:
            self.problems += [
                f"{name} must be an https address"
                for name, url in urls.items()
                if not url.startswith("https://")
            ]
        queue_url, table_url = urls.values()
        return Storage(None, queue_url, table_url, self.optional("DataStorage__clientId"))

    def jwt(self) -> Jwt:
        algorithm = self.optional("JWT_ALGORITHM")
        secret, jwks_url = self.optional("JWT_SECRET"), self.optional("JWT_JWKS_URL")
        if algorithm not in ALGORITHMS:
            self.problems.append(f"JWT_ALGORITHM must be one of {', '.join(ALGORITHMS)}")
        elif algorithm == "HS256":
            if len(secret.encode()) < SHORTEST_SECRET:
                self.problems.append(
                    f"JWT_SECRET must have at least {SHORTEST_SECRET} bytes for HS256"
                )
            if jwks_url:
                self.problems.append("JWT_JWKS_URL goes with RS256 and ES256, not with HS256")
        else:
            jwks_url = self.url("JWT_JWKS_URL", "")
        return Jwt(
            algorithm=algorithm,
            secret=Secret(secret) if secret else None,
            jwks_url=jwks_url,
            issuer=self.optional("JWT_ISSUER"),
            audience=self.optional("JWT_AUDIENCE"),
            user_claim=self.optional("JWT_USER_CLAIM"),
        )

    def token_keys(self) -> tuple[SealingKey, ...]:
        text = self.text("TOKEN_KEYS")
        keys: list[SealingKey] = []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, _, encoded = entry.partition(":")
            if not _is_key(encoded) or not name.isalnum() or not name.isascii():
                # Without the entry itself: it is a key, or close to one.
                self.problems.append(
                    "TOKEN_KEYS must be id:base64 pairs, each of 32 bytes, newest first"
                )
                return ()
            keys.append(SealingKey(name, Secret(encoded)))
        if text and not keys:
            self.problems.append("TOKEN_KEYS holds no key")
        if len({key.id for key in keys}) < len(keys):
            self.problems.append("TOKEN_KEYS names a key twice")
        return tuple(keys)

    def _resolved(self, name: str, value: str) -> str:
        if value.startswith(UNRESOLVED):
            self.problems.append(f"{name} is a Key Vault reference that did not resolve")
            return ""
        return value


def _is_connection_string(text: str) -> bool:
    parts = dict(part.partition("=")[::2] for part in text.strip(";").split(";"))
    known = {name.strip().lower() for name, value in parts.items() if value.strip()}
    return "usedevelopmentstorage" in known or (
        bool(known & {"accountname", "queueendpoint", "tableendpoint"})
        and bool(known & {"accountkey", "sharedaccesssignature"})
    )


def _is_key(encoded: str) -> bool:
    try:
        return len(base64.b64decode(encoded, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False
