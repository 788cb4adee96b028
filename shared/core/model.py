"""The nouns that everything else is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import NewType

UserId = NewType("UserId", str)
ProviderName = NewType("ProviderName", str)
ResourceName = NewType("ResourceName", str)
#: Names a connection wherever a person's id must not appear: messages, logs, spans.
Ref = NewType("Ref", str)
#: Names one run.  The head holds the current one, and workers of older runs stop.
RunId = NewType("RunId", str)
#: Names one grant, so that finishing a connection twice writes its tokens once.
GrantId = NewType("GrantId", str)
#: The provider's own name for the member.
AccountId = NewType("AccountId", str)
RecordId = NewType("RecordId", str)
#: Opaque: the provider made it, and all we may do is hand it back.
Cursor = NewType("Cursor", str)

#: Earlier than any wearable's first record, so a span from here means "everything".
HISTORY_START = datetime(2012, 1, 1, tzinfo=UTC)


class Lane(StrEnum):
    """Who is waiting for a request; the first ones go first."""

    AUTH = "auth"
    WEBHOOK = "webhook"
    MANUAL = "manual"
    NIGHTLY = "nightly"
    BACKFILL = "backfill"

    @property
    def bulk(self) -> bool:
        """Whether nobody is waiting in front of a screen."""
        return self in {Lane.NIGHTLY, Lane.BACKFILL}


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open stretch of time: ``start`` belongs to it, ``end`` does not."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a Span needs aware datetimes")
        if self.end <= self.start:
            raise ValueError(f"a Span runs forwards, not {self.start} to {self.end}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the records of one resource of one member are kept."""

    provider: ProviderName
    user: UserId
    resource: ResourceName


@dataclass(frozen=True, slots=True)
class Record:
    """One item as the provider sent it, with the few facts that we rely on."""

    id: RecordId
    #: None for a document, which the provider does not date: then it is when we saw it first.
    updated_at: datetime | None
    #: When it happened; a walk goes down along these.  None for a document.
    start: datetime | None
    #: The day it belongs to in the member's own time zone, for the calendar.
    day: date | None
    #: Whose it is.  None where the provider does not say.
    account: AccountId | None
    #: A second name that this record can be found by, unique within the resource.
    alias: RecordId | None
    #: The JSON text, byte for byte as it came.
    body: str
    #: sha256 (hex) of the canonical form: sorted keys, no white space.
    digest: str
    #: Whether the provider is done with it: it is over, and scored if it ever will be.
    settled: bool = True
    #: Records that change along with this one and of which nobody tells us.
    kin: tuple[tuple[ResourceName, RecordId], ...] = ()


@dataclass(frozen=True, slots=True)
class Deletion:
    """The provider no longer has a record: by which answer or word, and since when we know."""

    id: RecordId
    #: When the question was asked whose answer said so.
    at: datetime
    evidence: str


@dataclass(frozen=True, slots=True)
class Misfit:
    """An item that the raw layer cannot take, with the reason, so that a person can look."""

    reason: str
    body: str


@dataclass(frozen=True, slots=True)
class Limit:
    """What a provider allows: ``count`` requests in any ``window``."""

    count: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class Quota:
    """What an answer says: the limits, and what is left of the one that is nearest its end."""

    limits: tuple[Limit, ...]
    nearest: Limit
    remaining: int
    reset: timedelta


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a walk: what it listed, and how to ask for the next one."""

    records: tuple[Record, ...]
    misfits: tuple[Misfit, ...] = ()
    cursor: Cursor | None = None
    quota: Quota | None = None
    #: Fields that the provider's documents do not name, and in how many of the records they are.
    unknown: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask for next: everything in ``span``, from ``cursor`` on."""

    span: Span
    cursor: Cursor | None


class Progress(StrEnum):
    """How the newest run of a resource stands."""

    IDLE = "idle"
    RUNNING = "running"
    WAITING = "waiting"
    FINISHED = "finished"
    FAILED = "failed"
    #: The member did not grant what this resource needs.
    NO_SCOPE = "no_scope"
    #: The member's account at the provider is paused.
    DEACTIVATED = "deactivated"


#: A run that will go on by itself.
ACTIVE = frozenset({Progress.RUNNING, Progress.WAITING})


@dataclass(frozen=True, slots=True)
class Recent:
    """What later runs need to know of a record of the last days."""

    id: RecordId
    start: datetime
    settled: bool
    #: Whether the window that is being read has listed it.
    listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What we know about one resource of one member; ``held`` is what we have without a hole.

    Every write to the resource's partition rewrites the head under its ETag, so whoever holds
    an older head can write nothing.
    """

    progress: Progress = Progress.IDLE
    run: RunId | None = None
    lane: Lane | None = None
    #: What the run must cover, frozen when it started.
    goal: Span | None = None
    #: What we hold without a hole; its end is the resource's ``last_sync_at``.
    held: Span | None = None
    #: What is being read now, whole, and how far down this walk may look.
    window: Span | None = None
    until: datetime | None = None
    cursor: Cursor | None = None
    #: Digests of the cursors that this walk has used.
    used: tuple[str, ...] = ()
    #: The start of the oldest record that the walk has written.
    reached: datetime | None = None
    #: Something was deleted above the cursor: the window is read once more before it counts.
    again: bool = False
    #: What was walked lately in several pages, and when that ended; without a date where it has
    #: to be read again.
    walked: Span | None = None
    walked_at: datetime | None = None
    #: The records of the last days, oldest first.
    recent: tuple[Recent, ...] = ()
    #: Records to be asked for by their ids before the run is over.
    checks: tuple[RecordId, ...] = ()
    #: When a document was last asked for.
    checked_at: datetime | None = None
    #: Names this feed: one that begins anew, after an erasure, has another.
    generation: str | None = None
    #: The last number given out in the feed.
    seq: int = 0
    #: Up to which number the readers were told.
    announced: int = 0
    records: int = 0
    versions: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    #: Days with data, one bit a day (``core/days.py``).
    days: bytes = b""
    #: Why the run waits or failed, and until when.
    reason: str | None = None
    retry_at: datetime | None = None
    #: Which worker wrote this, so that it knows its own write when the answer was lost.
    writer: str | None = None
    #: The run's last sign of life.
    touched_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A version that is already stored: which state of the record it is, and its content."""

    updated_at: datetime
    n: int
    #: Empty for a tombstone.
    digest: str
    #: For a tombstone: the time of its evidence.
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A version to write: the ``n``-th state under ``updated_at``; a deletion is a tombstone."""

    content: Record | Deletion
    updated_at: datetime
    n: int
    #: Its number in the feed.
    seq: int

    @property
    def body(self) -> str:
        """The record's JSON text; empty for a tombstone."""
        return self.content.body if isinstance(self.content, Record) else ""

    @property
    def known(self) -> Known:
        """What a later page needs to know of it."""
        if isinstance(self.content, Record):
            return Known(self.updated_at, self.n, self.content.digest)
        return Known(self.updated_at, self.n, "", self.content.at)


@dataclass(frozen=True, slots=True)
class ChunkJob:
    """Carry one run of one resource on, from where its head says it is."""

    ref: Ref
    resource: ResourceName
    run: RunId
    lane: Lane
    #: Failures in a row that were nobody's wish.
    attempt: int = 0
    #: Times in a row that the provider asked us to wait.
    waits: int = 0


@dataclass(frozen=True, slots=True)
class FinishJob:
    """Finish a connection whose grant was kept before something went wrong."""

    ref: Ref
    grant: GrantId
    attempt: int = 0
    waits: int = 0


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start the nightly run of a connection, unless it was synced since ``slot``."""

    ref: Ref
    slot: datetime
    attempt: int = 0
    waits: int = 0


@dataclass(frozen=True, slots=True)
class LookJob:
    """Ask for one record, because the provider has said that something happened to it.

    A second look, and one at a record that changes along with another, are jobs like any other,
    each with a ``key`` of its own.
    """

    ref: Ref
    resource: ResourceName
    record: RecordId
    #: Whether ``record`` is a second name.
    alias: bool
    #: Whether it is said to be gone.
    gone: bool
    #: When the provider said so, by its own clock: an answer from before then says nothing of it.
    at: datetime
    #: Names what was said, so that saying it twice costs nothing.
    key: str
    #: How often the answer was not what was said.
    looks: int = 0
    attempt: int = 0
    waits: int = 0


@dataclass(frozen=True, slots=True)
class LeaveJob:
    """See a departure through, from wherever it came to a halt."""

    #: The departure's name, not a connection's.
    ref: Ref
    attempt: int = 0
    waits: int = 0


Job = ChunkJob | FinishJob | StartJob | LookJob | LeaveJob


@dataclass(frozen=True, slots=True)
class Bell:
    """What readers are told: the feed of this name has got as far as ``seq``."""

    ref: Ref
    resource: ResourceName
    generation: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a provider has told us: something happened to a record of one of its accounts."""

    account: AccountId
    resource: ResourceName
    record: RecordId
    #: Whether ``record`` is a second name.
    alias: bool
    #: Whether it is said to be gone.
    gone: bool
    #: When the provider said so.
    at: datetime
    #: Names what was said, so that saying it twice costs nothing.
    key: str
    #: How long to wait for what else may be said of the same thing, so that one look will do.
    wait: timedelta


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that a provider has said and that is not for us; ``reason`` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody is about to ask for a record, or has: since when, and whose ``key`` made them."""

    at: datetime
    key: str


class Status(StrEnum):
    """How a connection stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    #: Nothing is fetched until the member signs in again.
    PARKED = "parked"
    #: The member has left; the records stay, and wait for the same account.
    DISCONNECTED = "disconnected"
    #: The member has left, and everything about them is being deleted.
    ERASING = "erasing"


class Secret:
    """A text that never shows itself in a log, an error or a debugger."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, at the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret that only our cipher can open, and only where it was sealed for."""

    text: str


@dataclass(frozen=True, slots=True)
class SealedGrant:
    """A grant at rest."""

    id: GrantId
    access: Sealed
    refresh: Sealed
    issued_at: datetime
    expires_at: datetime
    scopes: frozenset[str]

    @classmethod
    def spent(cls, departure: Ref, at: datetime) -> SealedGrant:
        """Return what stands in a grant's place after a departure: its name, and no token.

        Whatever was granted before ``at`` is older, and does not connect again.
        """
        return cls(GrantId(departure), Sealed(""), Sealed(""), at, at, frozenset())


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody's announcement that they are about to renew, or to erase, until ``until``."""

    id: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One member's consent at one provider."""

    user: UserId
    provider: ProviderName
    ref: Ref
    status: Status
    grant: SealedGrant
    #: The provider's name for the member; None until a profile or a record has told us.
    account: AccountId | None
    connected_at: datetime
    #: Why it is parked.
    reason: str | None = None
    #: Who is renewing the grant, or erasing, now.
    claim: Claim | None = None
    #: The refs that it had before its member left, the newest last.
    former: tuple[Ref, ...] = ()

    @property
    def departed(self) -> bool:
        """Whether its member has left: then ``grant`` is a spent one."""
        return self.status in {Status.DISCONNECTED, Status.ERASING}

    @property
    def departure(self) -> Ref:
        """The name of the departure with which it ended, or would end."""
        return Ref(self.grant.id)


class Todo(StrEnum):
    """What a departure still has to do about the records."""

    #: They stay, or are gone for good.
    NOTHING = "nothing"
    ERASE = "erase"
    #: They are gone, but a worker that was late may have left something behind.
    LOOK_AGAIN = "look_again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """What is left to be done for a member who left.  Only our keys open whom it is about."""

    #: Named after the grant, so that leaving twice is one departure; random where there is none.
    ref: Ref
    provider: ProviderName
    user: Sealed
    #: The provider's name for the member, where we know it.
    account: Sealed | None
    #: What is to be given back to the provider, as it was in the connection.
    grant: SealedGrant | None
    at: datetime
    todo: Todo
    #: How many rows were deleted so far, by what they held.
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """A connection in a list of all of them; ``synced_at`` is None before the first run."""

    ref: Ref
    provider: ProviderName
    #: The end of what we hold of the collection that is furthest behind.
    synced_at: datetime | None
    #: When the provider last told us of a change.
    heard_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A grant that was redeemed and is not yet a connection."""

    user: UserId
    provider: ProviderName
    ref: Ref
    grant: SealedGrant
    #: The fingerprint of the state that it answers; empty where an earlier version kept it.
    state: str = ""
