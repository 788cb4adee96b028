"""WHOOP as a provider: joins configuration, dialect and client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.core.model import (
    Ignored,
    Limit,
    Notice,
    Page,
    ProviderName,
    Question,
    RecordId,
    ResourceName,
    Secret,
)
from shared.provider import Grant, Resource, Trouble
from whoop import oauth, webhooks
from whoop.config import Config, read
from whoop.resources import FACTS, PROFILE, RESOURCES

if TYPE_CHECKING:
    from whoop.client import Client

NAME = ProviderName("whoop")


def _utc() -> datetime:
    return datetime.now(UTC)


def provider(env: Mapping[str, str], clock: Callable[[], datetime] = _utc) -> Whoop:
    """Return WHOOP as ``env`` configures it; one with ``trouble`` where it does not.

    ``clock`` is the one by which errors say until when to wait.
    """
    return Whoop(read(env), clock)


@dataclass(slots=True)
class Whoop:
    """Implements ``shared.provider.Provider``."""

    config: Config
    clock: Callable[[], datetime] = _utc
    name: ProviderName = NAME
    title: str = "WHOOP"
    resources: Sequence[Resource] = RESOURCES
    identity: ResourceName = PROFILE
    _client: Client | None = field(default=None, repr=False)

    @property
    def trouble(self) -> Trouble | None:
        """Why WHOOP cannot be offered."""
        return self.config.trouble

    @property
    def limits(self) -> Sequence[Limit]:
        """What WHOOP granted, by the settings."""
        return self.config.limits

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the settings."""
        return self.config.problems

    def authorize_url(self, state: str) -> str:
        """Return where the member gives consent."""
        return oauth.authorize_url(self.config, state)

    def redeem(self, code: Secret) -> Grant:
        """Trade a code."""
        return self._wire().redeem(code)

    def renew(self, refresh: Secret) -> Grant:
        """Trade a refresh token."""
        return self._wire().renew(refresh)

    def revoke(self, access: Secret) -> None:
        """Give a grant back."""
        self._wire().revoke(access)

    def missing_scopes(self, granted: frozenset[str]) -> Sequence[str]:
        """Return what was asked for and not granted."""
        return sorted(set(self.config.scopes) - granted)

    def fetch(self, access: Secret, resource: ResourceName, question: Question | None) -> Page:
        """Ask for a page or a document."""
        return self._wire().fetch(access, FACTS[resource], question)

    def fetch_one(self, access: Secret, resource: ResourceName, record: RecordId) -> Page:
        """Ask for one record."""
        return self._wire().fetch_one(access, FACTS[resource], record)

    def hear(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice | Ignored:
        """Read a webhook."""
        signed = webhooks.verify(headers, body, self.config.client_secret, now=now)
        return webhooks.read(signed)

    def _wire(self) -> Client:
        if self._client is None:
            # Here, because requests takes a tenth of a second to import, and most cold starts
            # are for a page that only wants to know which providers there are.
            from whoop.client import Client  # noqa: PLC0415

            self._client = Client(self.config, self.clock)
        return self._client
