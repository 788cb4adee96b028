"""In-memory twins of every port, held to the same contract tests as the real adapters."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from shared.core import keys
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
    Record,
    RecordId,
    Ref,
    ResourceName,
    Sealed,
    Secret,
    Todo,
    UserId,
    Version,
)
from shared.core.settle import Transaction
from shared.errors import LostRace, StorageDown, Unsealable
from shared.ports import (
    CLAIM_LIFE,
    Etag,
    OneTime,
    Poisoned,
    Receipt,
    SealPlace,
    Slot,
    Stored,
    Tally,
)

K = TypeVar("K")
V = TypeVar("V")


class _Rows(Generic[K, V]):
    """Rows with ETags, as Azure Tables has them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.rows: dict[K, Stored[V]] = {}
        self._numbers = itertools.count(1)

    def get(self, key: K) -> Stored[V] | None:
        with self.lock:
            return self.rows.get(key)

    def put(self, key: K, value: V, etag: Etag | None) -> Etag:
        with self.lock:
            held = self.rows.get(key)
            if (held.etag if held else None) != etag:
                raise LostRace("the row was changed")
            return self.force(key, value)

    def force(self, key: K, value: V) -> Etag:
        with self.lock:
            new = Etag(str(next(self._numbers)))
            self.rows[key] = Stored(value, new)
            return new

    def drop(self, key: K) -> None:
        with self.lock:
            self.rows.pop(key, None)

    def drop_stored(self, key: K, etag: Etag) -> None:
        with self.lock:
            held = self.rows.get(key)
            if held is not None and held.etag != etag:
                raise LostRace("the row was changed")
            self.drop(key)


class MemoryOneTime:
    """Implements ``OneTimeStore``."""

    def __init__(self) -> None:
        self._rows: _Rows[tuple[str, str], OneTime | None] = _Rows()
        self._expiry: dict[tuple[str, str], datetime] = {}
        self._owners: dict[tuple[str, str], tuple[UserId, ProviderName]] = {}

    def keep(self, kind: str, fingerprint: str, once: OneTime) -> None:
        """Keep a new one."""
        self._rows.put((kind, fingerprint), once, None)
        self._expiry[kind, fingerprint] = once.expires_at
        self._owners[kind, fingerprint] = (once.user, once.provider)

    def find(self, kind: str, fingerprint: str) -> Stored[OneTime] | None:
        """Return one that was not used up."""
        stored = self._rows.get((kind, fingerprint))
        if stored is None or stored.value is None:
            return None
        return Stored(stored.value, stored.etag)

    def use_up(self, kind: str, fingerprint: str, etag: Etag) -> None:
        """Use it up."""
        self._rows.put((kind, fingerprint), None, etag)

    def kept(self, kind: str, fingerprint: str) -> bool:
        """Look for the key."""
        return self._rows.get((kind, fingerprint)) is not None

    def drop_expired(self, before: datetime, *, most: int) -> int:
        """Forget what has expired."""
        expired = [key for key, at in self._expiry.items() if at < before][:most]
        for key in expired:
            self._forget(key)
        return len(expired)

    def erase(self, user: UserId, provider: ProviderName) -> int:
        """Forget a member's."""
        mine = [key for key, owner in self._owners.items() if owner == (user, provider)]
        for key in mine:
            self._forget(key)
        return len(mine)

    def _forget(self, key: tuple[str, str]) -> None:
        self._rows.drop(key)
        del self._expiry[key], self._owners[key]


class MemorySlots:
    """Implements ``SlotStore``."""

    def __init__(self) -> None:
        self._rows: _Rows[datetime, Slot] = _Rows()

    def find(self, at: datetime) -> Stored[Slot] | None:
        """Return a slot."""
        return self._rows.get(at)

    def save(self, slot: Slot, etag: Etag | None) -> Etag:
        """Write a slot."""
        return self._rows.put(slot.at, slot, etag)

    def unfinished(self) -> Sequence[Stored[Slot]]:
        """Return the slots that are not done."""
        return [stored for _, stored in sorted(self._rows.rows.items()) if not stored.value.done]

    def drop(self, before: datetime, *, most: int) -> int:
        """Forget old slots."""
        old = [at for at in sorted(self._rows.rows) if at < before][:most]
        for at in old:
            self._rows.drop(at)
        return len(old)


class MemoryBudgets:
    """Implements ``BudgetStore``."""

    def __init__(self) -> None:
        self._rows: _Rows[ProviderName, Budget] = _Rows()

    def load(self, provider: ProviderName) -> Stored[Budget] | None:
        """Return the budget."""
        return self._rows.get(provider)

    def save(self, provider: ProviderName, budget: Budget, etag: Etag | None) -> Etag:
        """Write the budget."""
        return self._rows.put(provider, budget, etag)


class MemoryConnections:
    """Implements ``ConnectionStore``."""

    def __init__(self) -> None:
        self._connections: _Rows[tuple[UserId, ProviderName], Connection] = _Rows()
        self._refs: dict[Ref, tuple[UserId, ProviderName]] = {}
        self._held: dict[Ref, dict[ResourceName, datetime]] = {}
        self._heard: dict[Ref, datetime] = {}
        self._pending: dict[tuple[Ref, GrantId], Pending] = {}
        self._accounts: dict[tuple[ProviderName, AccountId], tuple[UserId, datetime]] = {}
        self._lock = threading.RLock()

    def find(self, user: UserId, provider: ProviderName) -> Stored[Connection] | None:
        """Return a member's connection."""
        return self._connections.get((user, provider))

    def by_ref(self, ref: Ref) -> Stored[Connection] | None:
        """Return the connection that ``ref`` stands for."""
        owner = self._refs.get(ref)
        stored = None if owner is None else self.find(*owner)
        return stored if stored is not None and stored.value.ref == ref else None

    def by_account(self, provider: ProviderName, account: AccountId) -> Stored[Connection] | None:
        """Return the connection that was made for an account."""
        owner, _ = self._accounts.get((provider, account), (None, None))
        stored = None if owner is None else self.find(owner, provider)
        return stored if stored is not None and stored.value.account == account else None

    def put(self, connection: Connection, etag: Etag | None) -> Etag:
        """Write a connection."""
        if etag is None and not connection.departed:
            self._refs[connection.ref] = (connection.user, connection.provider)
        return self._connections.put((connection.user, connection.provider), connection, etag)

    def drop(self, connection: Connection, etag: Etag) -> None:
        """Forget a connection."""
        self._connections.drop_stored((connection.user, connection.provider), etag)

    def drop_ref(self, ref: Ref) -> None:
        """Forget a ref."""
        self._refs.pop(ref, None)
        self._held.pop(ref, None)
        self._heard.pop(ref, None)

    def touch(self, ref: Ref, resource: ResourceName, held_end: datetime) -> None:
        """Note how far a resource is held."""
        if ref in self._refs:
            self._held.setdefault(ref, {})[resource] = held_end

    def heard(self, ref: Ref, at: datetime) -> None:
        """Note when the provider last told us of a change."""
        if ref in self._refs:
            self._heard[ref] = at

    def listed(self, ref: Ref) -> Listed | None:
        """Return a connection as a list has it."""
        owner = self._refs.get(ref)
        if owner is None:
            return None
        synced_at = min(self._held.get(ref, {}).values(), default=None)
        return Listed(ref, owner[1], synced_at, self._heard.get(ref))

    def everyone(self, after: Ref | None = None) -> Iterator[Listed]:
        """List all connections."""
        refs = sorted(ref for ref in self._refs if after is None or after < ref)
        return (listed for listed in map(self.listed, refs) if listed is not None)

    def put_pending(self, pending: Pending) -> None:
        """Keep a grant."""
        self._refs[pending.ref] = (pending.user, pending.provider)
        self._pending[pending.ref, pending.grant.id] = pending

    def pending(self, ref: Ref, grant: GrantId) -> Pending | None:
        """Return a grant that waits."""
        return self._pending.get((ref, grant))

    def waiting(self, user: UserId, provider: ProviderName) -> Sequence[Pending]:
        """Return the grants that wait."""
        return [
            pending
            for pending in self._pending.values()
            if (pending.user, pending.provider) == (user, provider)
        ]

    def any_pending(self, user: UserId, provider: ProviderName) -> bool:
        """Say whether a grant of this member waits."""
        return bool(self.waiting(user, provider))

    def drop_pending(self, pending: Pending) -> None:
        """Forget a grant, and its ref unless a connection has it."""
        self._pending.pop((pending.ref, pending.grant.id), None)
        stored = self.find(pending.user, pending.provider)
        if stored is None or stored.value.ref != pending.ref:
            self.drop_ref(pending.ref)

    def claim_account(
        self, provider: ProviderName, account: AccountId, user: UserId, *, now: datetime
    ) -> UserId:
        """Claim an account; return whose it is."""
        with self._lock:
            claimed = self._accounts.get((provider, account))
            if claimed is not None:
                owner, since = claimed
                stored = self.find(owner, provider)
                held = stored is not None and stored.value.account == account
                if held or (owner != user and now <= since + CLAIM_LIFE):
                    return owner
            self._accounts[provider, account] = (user, now)
            return user

    def owner(self, provider: ProviderName, account: AccountId) -> UserId | None:
        """Return who claims an account."""
        owner, _ = self._accounts.get((provider, account), (None, None))
        return owner

    def mentioned(self, user: UserId, provider: ProviderName) -> bool:
        """Say whether a ref or a claim names a member."""
        claims = [(owner, key[0]) for key, (owner, _) in self._accounts.items()]
        return (user, provider) in {*self._refs.values(), *claims}

    def erase(self, user: UserId, provider: ProviderName) -> Tally:
        """Forget everything but the connection."""
        mine = (user, provider)
        grants = [key for key, one in self._pending.items() if (one.user, one.provider) == mine]
        refs = [ref for ref, owner in self._refs.items() if owner == mine]
        claims = [key for key, (owner, _) in self._accounts.items() if (owner, key[0]) == mine]
        for key in grants:
            del self._pending[key]
        for ref in refs:
            self.drop_ref(ref)
        for claim in claims:
            del self._accounts[claim]
        return {"grants": len(grants), "refs": len(refs), "accounts": len(claims)}

    def reachable(self) -> bool:
        """Say yes."""
        return True


class MemoryRecords:
    """Implements ``RecordStore``.

    ``versions`` has every version of a place by its row key, ``feed`` the row keys by number:
    tests read both.
    """

    def __init__(self) -> None:
        self._heads: _Rows[Place, Head] = _Rows()
        self.versions: dict[Place, dict[str, Version]] = {}
        self.feed: dict[Place, dict[int, str]] = {}
        self.aliases: dict[Place, dict[RecordId, RecordId]] = {}
        self._first_seen: dict[Place, dict[int, datetime | None]] = {}
        self.quarantined: dict[Place, set[Misfit]] = {}

    def head(self, place: Place) -> Stored[Head]:
        """Return the head."""
        return self._heads.get(place) or Stored(Head(), None)

    def put_head(self, place: Place, head: Head, etag: Etag | None) -> Etag:
        """Write the head alone."""
        return self._heads.put(place, head, etag)

    def known(
        self, place: Place, records: Sequence[RecordId]
    ) -> Mapping[RecordId, Sequence[Known]]:
        """Return every stored version of ``records``."""
        wanted = set(records)
        found: dict[RecordId, list[Known]] = {}
        for _, version in sorted(self.versions.get(place, {}).items()):
            if version.content.id in wanted:
                found.setdefault(version.content.id, []).append(version.known)
        return found

    def alias(self, place: Place, name: RecordId) -> RecordId | None:
        """Return the id of the record whose second name this is."""
        return self.aliases.get(place, {}).get(name)

    def commit(self, place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        """Write versions and head together."""
        with self._heads.lock:
            versions = self.versions.setdefault(place, {})
            feed = self.feed.setdefault(place, {})
            added = {
                keys.version_row(version.content.id, version.updated_at, version.n): version
                for version in transaction.versions
            }
            numbers = {version.seq: row for row, version in added.items()}
            if versions.keys() & added.keys() or feed.keys() & numbers.keys():
                raise LostRace("a version is there already")
            new = self._heads.put(place, transaction.head, etag)
            versions.update(added)
            feed.update(numbers)
            seen = self._first_seen.setdefault(place, {})
            seen.update(dict.fromkeys(numbers, transaction.head.touched_at))
            self.aliases.setdefault(place, {}).update(
                {
                    content.alias: content.id
                    for content in (version.content for version in transaction.versions)
                    if isinstance(content, Record) and content.alias is not None
                }
            )
            return new

    def numbers(self, place: Place, *, after: int, most: int) -> Sequence[Number]:
        """Return a stretch of the feed."""
        feed = self.feed.get(place, {})
        return [
            Number(seq, *keys.parse_version_row(feed[seq]))
            for seq in sorted(feed)
            if after < seq <= after + most
        ]

    def read(self, place: Place, numbers: Sequence[Number]) -> Iterator[Landed]:
        """Yield versions in the order of their keys."""
        wanted = {number.seq: number for number in numbers}
        seen = self._first_seen.get(place, {})
        for _, version in sorted(self.versions.get(place, {}).items()):
            if version.seq in wanted:
                content = version.content
                yield Landed(
                    wanted[version.seq],
                    seen[version.seq],
                    content.body if isinstance(content, Record) else content,
                )

    def quarantine(self, place: Place, misfits: Sequence[Misfit], *, now: datetime) -> None:
        """Keep items that cannot be stored, each body once."""
        newest = {misfit.body: misfit for misfit in (*self.quarantined.get(place, ()), *misfits)}
        self.quarantined[place] = set(newest.values())

    def erase(self, user: UserId, provider: ProviderName, *, most: int) -> Tally:
        """Forget a member's rows, heads first."""
        with self._heads.lock:
            heads = [
                one for one in self._heads.rows if (one.user, one.provider) == (user, provider)
            ]
            for place in heads:
                self._heads.drop(place)
            left = most - len(heads)
            kept: list[Mapping[Place, dict[Any, Any] | set[Misfit]]]
            kept = [self.versions, self.feed, self.aliases, self.quarantined]
            counts = [0] * len(kept)
            for number, table in enumerate(kept):
                for place, rows in table.items():
                    if (place.user, place.provider) == (user, provider):
                        for row in list(rows)[: max(0, left)]:
                            rows.pop(row) if isinstance(rows, dict) else rows.remove(row)
                            counts[number] += 1
                            left -= 1
            return {"records": len(heads) + sum(counts[:3]), "quarantine": counts[3]}

    def current(self, place: Place) -> dict[RecordId, Version]:
        """Return the current version of every record: the last row of its id."""
        return {
            version.content.id: version
            for _, version in sorted(self.versions.get(place, {}).items())
        }


class MemoryEvents:
    """Implements ``EventStore``."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Ref, str], datetime] = {}
        self._looks: _Rows[tuple[Ref, ResourceName, RecordId], Look] = _Rows()

    def seen(self, ref: Ref, key: str) -> bool:
        """Say whether everything was done."""
        return (ref, key) in self._seen

    def note(self, ref: Ref, key: str, *, at: datetime) -> None:
        """Note that everything was done."""
        self._seen[ref, key] = at

    def find(self, ref: Ref, resource: ResourceName, record: RecordId) -> Stored[Look] | None:
        """Return the newest look."""
        return self._looks.get((ref, resource, record))

    def save(
        self, ref: Ref, resource: ResourceName, record: RecordId, look: Look, etag: Etag | None
    ) -> Etag:
        """Write a look."""
        return self._looks.put((ref, resource, record), look, etag)

    def drop(self, ref: Ref) -> int:
        """Forget all of a ref."""
        seen = [name for name in self._seen if name[0] == ref]
        looks = [look for look in self._looks.rows if look[0] == ref]
        for name in seen:
            del self._seen[name]
        for look in looks:
            self._looks.drop(look)
        return len(seen) + len(looks)

    def sweep(self, before: datetime, *, most: int) -> int:
        """Forget what is old."""
        seen = [name for name, at in self._seen.items() if at < before][:most]
        for name in seen:
            del self._seen[name]
        looks = [key for key, stored in self._looks.rows.items() if stored.value.at < before]
        looks = looks[: most - len(seen)]
        for key in looks:
            self._looks.drop(key)
        return len(seen) + len(looks)


class MemoryPoison:
    """Implements ``PoisonStore``."""

    def __init__(self) -> None:
        self._notes: dict[str, tuple[str, datetime]] = {}
        self._rows: _Rows[str, Poisoned] = _Rows()

    def note(self, key: str, error: str, *, at: datetime) -> None:
        """Note a failure."""
        self._notes[key] = (error, at)

    def noted(self, key: str) -> str | None:
        """Return a failure."""
        error, _ = self._notes.get(key, (None, None))
        return error

    def forget(self, key: str) -> None:
        """Forget a failure."""
        self._notes.pop(key, None)

    def find(self, key: str) -> Stored[Poisoned] | None:
        """Return a message."""
        return self._rows.get(key)

    def save(self, poisoned: Poisoned, etag: Etag | None) -> Etag:
        """Write a message."""
        return self._rows.put(poisoned.key, poisoned, etag)

    def everything(self) -> Sequence[Poisoned]:
        """Return every message."""
        return [stored.value for stored in self._rows.rows.values()]

    def drop(self, key: str, etag: Etag) -> None:
        """Forget a message."""
        self._rows.drop_stored(key, etag)

    def sweep(self, before: datetime, *, most: int) -> int:
        """Forget old notes, and messages that were sent back to work."""
        notes = [key for key, (_, at) in self._notes.items() if at < before][:most]
        for key in notes:
            self.forget(key)
        done = [one for one in self.everything() if not one.stuck and one.at < before]
        done = done[: most - len(notes)]
        for one in done:
            self._rows.drop(one.key)
        return len(notes) + len(done)


class MemoryDepartures:
    """Implements ``DepartureStore``: ``receipts`` holds what was kept."""

    def __init__(self) -> None:
        self._rows: _Rows[Ref, Departure] = _Rows()
        self.receipts: dict[str, Receipt] = {}

    def find(self, ref: Ref) -> Stored[Departure] | None:
        """Return a departure."""
        return self._rows.get(ref)

    def save(self, departure: Departure, etag: Etag | None) -> Etag:
        """Write a departure."""
        return self._rows.put(departure.ref, departure, etag)

    def drop(self, ref: Ref, etag: Etag) -> None:
        """Forget a departure."""
        self._rows.drop_stored(ref, etag)

    def sweep(self, before: datetime, *, most: int) -> int:
        """Forget old departures."""
        departures = [stored.value for stored in self._rows.rows.values()]
        old = [one for one in departures if one.at < before and one.todo is not Todo.ERASE][:most]
        for one in old:
            self._rows.drop(one.ref)
        return len(old)

    def keep(self, receipt: Receipt) -> Receipt:
        """Keep a receipt."""
        return self.receipts.setdefault(receipt.id, receipt)


@dataclass
class MemoryQueue:
    """Implements ``JobQueue``: ``deferred`` holds what was sent, in order, with its delay."""

    deferred: list[tuple[Job, timedelta]] = field(default_factory=list)
    #: What was put back into poison queues: body, origin and delay.
    returned: list[tuple[bytes, str, timedelta]] = field(default_factory=list)
    #: The bells, in order.
    rung: list[Bell] = field(default_factory=list)
    down: bool = False

    def defer(self, job: Job, delay: timedelta) -> None:
        """Keep the job."""
        if self.down:
            raise StorageDown("the queue was switched off")
        self.deferred.append((job, max(delay, timedelta(0))))

    def ring(self, bell: Bell) -> None:
        """Ring, in so far as anybody hears it."""
        if self.down:
            raise StorageDown("the queue was switched off")
        self.rung.append(bell)

    def put_back(self, body: bytes, queue: str, delay: timedelta) -> None:
        """Keep the message."""
        if self.down:
            raise StorageDown("the queue was switched off")
        self.returned.append((body, queue, delay))

    def reachable(self) -> bool:
        """Say whether it was switched off."""
        return not self.down

    def take(self) -> list[tuple[Job, timedelta]]:
        """Empty the queue and return what was in it."""
        taken, self.deferred = self.deferred, []
        return taken


@dataclass(slots=True)
class MemoryCipher:
    """Implements ``Cipher`` without cryptography: it remembers, and ``forget`` loses the key."""

    _secrets: dict[str, tuple[Secret, SealPlace]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _key: int = 1

    def seal(self, secret: Secret, place: SealPlace) -> Sealed:
        """Remember the secret."""
        text = f"sealed-{self._key}-{next(self._numbers)}"
        self._secrets[text] = (secret, place)
        return Sealed(text)

    def open(self, sealed: Sealed, place: SealPlace) -> Secret:
        """Return the secret, to the place that it was sealed for."""
        secret, sealed_for = self._secrets.get(sealed.text, (None, None))
        if secret is None or sealed_for != place:
            raise Unsealable("unknown here")
        return secret

    def stale(self, sealed: Sealed) -> bool:
        """Say whether it was sealed before the last ``rotate``."""
        return not sealed.text.startswith(f"sealed-{self._key}-")

    def rotate(self) -> None:
        """Seal with a new key from now on; the older ones still open."""
        self._key += 1

    def forget(self) -> None:
        """Lose every key."""
        self._secrets.clear()
