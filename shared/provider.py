"""What a provider must offer.  One folder implements it; nothing else knows its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from shared.core.model import (
    Ignored,
    Limit,
    Notice,
    Page,
    ProviderName,
    Question,
    Quota,
    RecordId,
    ResourceName,
    Secret,
)


class Shape(StrEnum):
    """How a resource is asked for."""

    #: Many dated records, walked page by page.
    COLLECTION = "collection"
    #: One document with the current values.
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of record, and the scope that the member must have granted for it."""

    name: ResourceName
    shape: Shape
    scope: str
    #: The resource whose ids are second names here: each record belongs to one of that one's.
    named_after: ResourceName | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token endpoint gave us."""

    access: Secret
    #: None when the provider gave none: then nothing lasts longer than ``lifetime``.
    refresh: Secret | None
    lifetime: timedelta
    scopes: frozenset[str]
    quota: Quota | None = None


class Trouble(StrEnum):
    """Why a provider cannot be offered to members."""

    NOT_CONFIGURED = "not_configured"
    MISCONFIGURED = "misconfigured"


class Provider(Protocol):
    """A wearable company.  Every call that reaches it raises only ``ProviderError``s.

    ``at`` times in those errors are aware datetimes in UTC.
    """

    @property
    def name(self) -> ProviderName:
        """The name in URLs, keys and messages."""
        ...

    @property
    def title(self) -> str:
        """The name that members know."""
        ...

    @property
    def resources(self) -> Sequence[Resource]:
        """Everything that can be fetched, in the order in which members want to see it."""
        ...

    @property
    def identity(self) -> ResourceName:
        """The document that says whose grant this is."""
        ...

    @property
    def limits(self) -> Sequence[Limit]:
        """How many requests the whole app may send, as far as the settings know."""
        ...

    @property
    def trouble(self) -> Trouble | None:
        """Why it cannot be used, or None."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with its settings, each by name: for the log, never for members."""
        ...

    def authorize_url(self, state: str) -> str:
        """Return where the member gives consent; ``state`` comes back with the answer."""
        ...

    def redeem(self, code: Secret) -> Grant:
        """Trade the code from the callback; ``GrantDead`` when the code is no good."""
        ...

    def renew(self, refresh: Secret) -> Grant:
        """Trade a refresh token; ``GrantDead`` when the provider says it is over.

        A missing new refresh token means that the old one stays.
        """
        ...

    def revoke(self, access: Secret) -> None:
        """Give the grant back, and with it every other grant of the same account.

        One that is gone already is fine; ``TokenRejected`` where ``access`` is no good any more.
        """
        ...

    def missing_scopes(self, granted: frozenset[str]) -> Sequence[str]:
        """Return the scopes that were asked for and not granted, sorted."""
        ...

    def fetch(self, access: Secret, resource: ResourceName, question: Question | None) -> Page:
        """Ask for one page of a collection, or for a document when ``question`` is None.

        ``CursorRefused`` only where the question has a cursor.
        """
        ...

    def fetch_one(self, access: Secret, resource: ResourceName, record: RecordId) -> Page:
        """Ask for one record of a collection by its id; ``NotThere`` when there is none."""
        ...

    def hear(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice | Ignored:
        """Read what the provider has sent; ``Forged`` when it was not the provider.

        ``headers`` must have lowercase keys, and ``body`` must be the bytes as they came.  Asks
        nobody.
        """
        ...
