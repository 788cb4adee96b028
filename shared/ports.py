"""What we need from storage, queues and ciphers.  ``adapters/`` has two of each.

All times are aware datetimes in UTC.  ``StorageDown`` may come from any call that reaches
storage; the other errors are named where they are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, NewType, Protocol, TypeAlias, TypeVar

from shared.core.budget import Budget
from shared.core.feed import Landed, Number
from shared.core.model import (
    AccountId,
    Bell,
    Connection,
    Departure,
    GrantId,
    Head,
    Job,
    Known,
    Listed,
    Look,
    Misfit,
    Pending,
    Place,
    ProviderName,
    RecordId,
    Ref,
    ResourceName,
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

#: A claim on an account that led to no connection can be taken over after this: longer than any
#: callback takes to get from the one to the other.
CLAIM_LIFE = timedelta(minutes=10)
#: Tickets and states are kept for this long once they have expired, used or not.
ONCE_KEPT = timedelta(hours=1)

#: How many rows were deleted, by what they held.
Tally: TypeAlias = Mapping[str, int]

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

    def kept(self, kind: str, fingerprint: str) -> bool:
        """Say whether it is there, used or not: neither expired long ago nor erased."""
        ...

    def drop_expired(self, before: datetime, *, most: int) -> int:
        """Forget up to ``most`` that expired before then, used or not; return how many."""
        ...

    def erase(self, user: UserId, provider: ProviderName) -> int:
        """Forget all of a member's at a provider, used or not; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class Slot:
    """One firing of the nightly timer, and how far it got."""

    at: datetime
    #: Where in the night's order everybody has had their turn up to.
    cursor: str = ""
    done: bool = False


class SlotStore(Protocol):
    """The nights that were, and the one that is."""

    def find(self, at: datetime) -> Stored[Slot] | None:
        """Return the slot of this time."""
        ...

    def save(self, slot: Slot, etag: Etag | None) -> Etag:
        """Write over the slot that was read with ``etag``, or a new one; may ``LostRace``."""
        ...

    def unfinished(self) -> Sequence[Stored[Slot]]:
        """Return the slots that are not done, oldest first."""
        ...

    def drop(self, before: datetime, *, most: int) -> int:
        """Forget up to ``most`` slots of before then; return how many."""
        ...


class BudgetStore(Protocol):
    """What was spent at each provider, shared by every host."""

    def load(self, provider: ProviderName) -> Stored[Budget] | None:
        """Return the budget, or None before the first request."""
        ...

    def save(self, provider: ProviderName, budget: Budget, etag: Etag | None) -> Etag:
        """Write over the budget that was read with ``etag``; may ``LostRace``."""
        ...


class ConnectionStore(Protocol):
    """Connections, the refs that stand for them, and who holds which account."""

    def find(self, user: UserId, provider: ProviderName) -> Stored[Connection] | None:
        """Return a member's connection."""
        ...

    def by_ref(self, ref: Ref) -> Stored[Connection] | None:
        """Return the connection that ``ref`` stands for."""
        ...

    def by_account(self, provider: ProviderName, account: AccountId) -> Stored[Connection] | None:
        """Return the connection that was made for ``account``."""
        ...

    def put(self, connection: Connection, etag: Etag | None) -> Etag:
        """Write over the row that was read with ``etag``, or a new one; may ``LostRace``."""
        ...

    def drop(self, connection: Connection, etag: Etag) -> None:
        """Forget a connection; ``LostRace`` where it was changed since it was read."""
        ...

    def drop_ref(self, ref: Ref) -> None:
        """Forget a ref, so that it leads nowhere; twice is fine."""
        ...

    def touch(self, ref: Ref, resource: ResourceName, held_end: datetime) -> None:
        """Note how far ``resource`` is held; nothing where the ref is gone."""
        ...

    def heard(self, ref: Ref, at: datetime) -> None:
        """Note when the provider last told us of a change; nothing where the ref is gone."""
        ...

    def listed(self, ref: Ref) -> Listed | None:
        """Return what ``everyone`` would say of ``ref``."""
        ...

    def everyone(self, after: Ref | None = None) -> Iterator[Listed]:
        """List all connections, page by page, in the order of their refs, those after ``after``.

        A ref may lead nowhere any more, or not yet.
        """
        ...

    def put_pending(self, pending: Pending) -> None:
        """Keep a grant, and the ref that leads to it, until it becomes a connection."""
        ...

    def pending(self, ref: Ref, grant: GrantId) -> Pending | None:
        """Return a grant that waits."""
        ...

    def waiting(self, user: UserId, provider: ProviderName) -> Sequence[Pending]:
        """Return the grants of this member that wait."""
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

    def owner(self, provider: ProviderName, account: AccountId) -> UserId | None:
        """Return who claims ``account``, with a connection or without."""
        ...

    def mentioned(self, user: UserId, provider: ProviderName) -> bool:
        """Say whether a ref or a claim names a member, with a connection or without."""
        ...

    def erase(self, user: UserId, provider: ProviderName) -> Tally:
        """Forget a member's grants that wait, refs and claims; the connection itself stays."""
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

    def alias(self, place: Place, name: RecordId) -> RecordId | None:
        """Return the id of the record whose second name is ``name``, held or deleted."""
        ...

    def commit(self, place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        """Write versions, their numbers and the head together or not at all; may ``LostRace``."""
        ...

    def numbers(self, place: Place, *, after: int, most: int) -> Sequence[Number]:
        """Return up to ``most`` entries of the feed after ``after``, in order, without a hole."""
        ...

    def read(self, place: Place, numbers: Sequence[Number]) -> Iterator[Landed]:
        """Yield these versions, in any order; what was erased meanwhile is missing."""
        ...

    def quarantine(self, place: Place, misfits: Sequence[Misfit], *, now: datetime) -> None:
        """Keep what the raw layer cannot take, whole.  The same item is kept once."""
        ...

    def erase(self, user: UserId, provider: ProviderName, *, most: int) -> Tally:
        """Delete about ``most`` rows of a member at a provider, each resource's head first.

        Whoever still writes under a head that is gone loses the race.  Nothing is left once it
        deletes nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an erasure that says nothing about anybody."""

    id: str
    at: datetime
    #: How many rows were deleted, by what they held.
    rows: Tally


class DepartureStore(Protocol):
    """Departures that are not over, and what came of erasures."""

    def find(self, ref: Ref) -> Stored[Departure] | None:
        """Return a departure."""
        ...

    def save(self, departure: Departure, etag: Etag | None) -> Etag:
        """Write over the departure that was read with ``etag``, or a new one; may ``LostRace``."""
        ...

    def drop(self, ref: Ref, etag: Etag) -> None:
        """Forget a departure; twice is fine, and ``LostRace`` where it was changed."""
        ...

    def sweep(self, before: datetime, *, most: int) -> int:
        """Forget up to ``most`` departures of before then that have nothing to erase."""
        ...

    def keep(self, receipt: Receipt) -> Receipt:
        """Keep a receipt for ever; return the one of its name that was kept first."""
        ...


class EventStore(Protocol):
    """What providers have told us, so that the same is not looked at twice.

    All of it is worth nothing after a few hours.
    """

    def seen(self, ref: Ref, key: str) -> bool:
        """Say whether everything was done that ``key`` asked for."""
        ...

    def note(self, ref: Ref, key: str, *, at: datetime) -> None:
        """Note that everything was done; twice is fine."""
        ...

    def find(self, ref: Ref, resource: ResourceName, record: RecordId) -> Stored[Look] | None:
        """Return the newest look at a record."""
        ...

    def save(
        self, ref: Ref, resource: ResourceName, record: RecordId, look: Look, etag: Etag | None
    ) -> Etag:
        """Write over the look that was read with ``etag``, or a new one; may ``LostRace``."""
        ...

    def drop(self, ref: Ref) -> int:
        """Forget all that is known under ``ref``; return how much that was."""
        ...

    def sweep(self, before: datetime, *, most: int) -> int:
        """Forget up to ``most`` of what was noted or looked at before then; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class Poisoned:
    """A message that nobody could finish, under the fingerprint of its body."""

    key: str
    #: It may be anybody's and say anything.
    body: bytes = field(repr=False)
    #: Where it came from.
    queue: str
    #: The name of what it last raised.
    error: str
    #: When it last arrived; ``count`` says how often it did.
    at: datetime
    count: int = 0
    #: How often it was sent back to work, because its workers had been killed.
    redeferred: int = 0
    #: Whether it waits for a person; otherwise it was sent back to work.
    stuck: bool = False


class PoisonStore(Protocol):
    """What messages failed of, and those that nobody could finish."""

    def note(self, key: str, error: str, *, at: datetime) -> None:
        """Note what a message raised, over what was noted before."""
        ...

    def noted(self, key: str) -> str | None:
        """Return what a message raised last."""
        ...

    def forget(self, key: str) -> None:
        """Forget what a message raised; twice is fine."""
        ...

    def find(self, key: str) -> Stored[Poisoned] | None:
        """Return a message that was kept."""
        ...

    def save(self, poisoned: Poisoned, etag: Etag | None) -> Etag:
        """Write over the message that was read with ``etag``, or a new one; may ``LostRace``."""
        ...

    def everything(self) -> Sequence[Poisoned]:
        """Return every message that was kept."""
        ...

    def drop(self, key: str, etag: Etag) -> None:
        """Forget a message; twice is fine, and ``LostRace`` where it was changed."""
        ...

    def sweep(self, before: datetime, *, most: int) -> int:
        """Forget up to ``most`` of what was noted, or sent back to work, before then.

        Return how many.  What is stuck stays until a person has looked.
        """
        ...


class JobQueue(Protocol):
    """Work to be done later.  A job may run more than once, and after jobs deferred later."""

    def defer(self, job: Job, delay: timedelta) -> None:
        """Ask for ``job`` to run, no sooner than after ``delay``; at most a day at a time."""
        ...

    def ring(self, bell: Bell) -> None:
        """Tell the readers of the raw layer, for as long as a week."""
        ...

    def put_back(self, body: bytes, queue: str, delay: timedelta) -> None:
        """Put a message back into the poison queue of ``queue``, to come again after ``delay``."""
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

    def stale(self, sealed: Sealed) -> bool:
        """Say whether another key than the newest sealed it, so that it should be sealed anew."""
        ...
