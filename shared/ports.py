"""What we need from storage, queues and ciphers.  ``adapters/`` has two of each.

All times are aware datetimes in UTC.  ``StorageDown`` may come from any call that reaches
storage; the other errors are named where they are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, NewType, Protocol, TypeAlias, TypeVar

from shared.core.model import (
    AccountId,
    Connection,
    GrantId,
    Head,
    Job,
    Known,
    Misfit,
    Pending,
    Place,
    ProviderName,
    RecordId,
    Ref,
    Sealed,
    Secret,
    UserId,
)
from shared.core.settle import Transaction

#: Returns the time now.
Clock: TypeAlias = Callable[[], datetime]
#: Returns a number in [0, 1).
Dice: TypeAlias = Callable[[], float]
#: Returns an unguessable, url-safe text of at least 128 bits.
Mint: TypeAlias = Callable[[], str]

Etag = NewType("Etag", str)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A value as it was read.  ``etag`` is None for a row that does not exist yet."""

    value: T
    etag: Etag | None


@dataclass(frozen=True, slots=True)
class OneTime:
    """A secret that works once: what it was made for, and in which browser."""

    user: UserId
    provider: ProviderName
    #: Fingerprint of the cookie that the browser must bring back.
    browser: str
    expires_at: datetime


class OneTimeStore(Protocol):
    """Tickets and states.  Only fingerprints of them are kept."""

    def keep(self, kind: str, fingerprint: str, once: OneTime) -> None:
        """Keep a new one."""
        ...

    def find(self, kind: str, fingerprint: str) -> Stored[OneTime] | None:
        """Return one that was not used up, or None.  Expiry is the caller's to judge."""
        ...

    def use_up(self, kind: str, fingerprint: str, etag: Etag) -> None:
        """Use it up; ``LostRace`` for all but one of any number of callers."""
        ...


class ConnectionStore(Protocol):
    """Connections, the refs that stand for them, and who holds which account."""

    def find(self, user: UserId, provider: ProviderName) -> Stored[Connection] | None:
        """Return a member's connection."""
        ...

    def by_ref(self, ref: Ref) -> Stored[Connection] | None:
        """Return the connection that ``ref`` stands for."""
        ...

    def put(self, connection: Connection, etag: Etag | None) -> Etag:
        """Write over the row that was read with ``etag``, or a new one; may ``LostRace``."""
        ...

    def put_pending(self, pending: Pending) -> None:
        """Keep a grant, and the ref that leads to it, until it becomes a connection."""
        ...

    def pending(self, ref: Ref, grant: GrantId) -> Pending | None:
        """Return a grant that waits."""
        ...

    def any_pending(self, user: UserId, provider: ProviderName) -> bool:
        """Say whether a grant of this member waits."""
        ...

    def drop_pending(self, pending: Pending) -> None:
        """Forget a grant that waits, and its ref unless a connection has it; twice is fine."""
        ...

    def claim_account(
        self, provider: ProviderName, account: AccountId, user: UserId, *, now: datetime
    ) -> UserId:
        """Note that ``account`` is ``user``'s, unless it is somebody's; return whose it is.

        A claim whose owner has no connection with this account is taken over once it is older
        than ten minutes: its maker died between the claim and the connection.
        """
        ...

    def reachable(self) -> bool:
        """Say, within seconds, whether the tables answer."""
        ...


class RecordStore(Protocol):
    """The raw layer."""

    def head(self, place: Place) -> Stored[Head]:
        """Return the head; a new one where nothing is stored."""
        ...

    def put_head(self, place: Place, head: Head, etag: Etag | None) -> Etag:
        """Write over the head that was read with ``etag``; may ``LostRace``."""
        ...

    def known(
        self, place: Place, records: Sequence[RecordId]
    ) -> Mapping[RecordId, Sequence[Known]]:
        """Return every stored version of ``records``, each record's oldest first."""
        ...

    def commit(self, place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        """Write versions, their numbers and the head together or not at all; may ``LostRace``."""
        ...

    def quarantine(self, place: Place, misfits: Sequence[Misfit], *, now: datetime) -> None:
        """Keep what the raw layer cannot take, whole.  The same item is kept once."""
        ...


class JobQueue(Protocol):
    """Work to be done later.  A job may run more than once, and after jobs deferred later."""

    def defer(self, job: Job, delay: timedelta) -> None:
        """Ask for ``job`` to run, no sooner than after ``delay``; at most a day at a time."""
        ...

    def reachable(self) -> bool:
        """Say, within seconds, whether the queues answer."""
        ...


@dataclass(frozen=True, slots=True)
class SealPlace:
    """Where a sealed value belongs; it opens nowhere else."""

    user: UserId
    provider: ProviderName
    field: str


class Cipher(Protocol):
    """Seals secrets before they are stored."""

    def seal(self, secret: Secret, place: SealPlace) -> Sealed:
        """Seal with the newest key."""
        ...

    def open(self, sealed: Sealed, place: SealPlace) -> Secret:
        """Open; ``Unsealable`` when the key is unknown here or ``place`` is another."""
        ...
