"""In-memory twins of every port, held to the same contract tests as the real adapters."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from shared.core import keys
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
    Version,
)
from shared.core.settle import Transaction
from shared.errors import LostRace, StorageDown, Unsealable
from shared.ports import Etag, OneTime, SealPlace, Stored

CLAIM_LIFE = timedelta(minutes=10)

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


class MemoryOneTime:
    """Implements ``OneTimeStore``."""

    def __init__(self) -> None:
        self._rows: _Rows[tuple[str, str], OneTime | None] = _Rows()

    def keep(self, kind: str, fingerprint: str, once: OneTime) -> None:
        """Keep a new one."""
        self._rows.put((kind, fingerprint), once, None)

    def find(self, kind: str, fingerprint: str) -> Stored[OneTime] | None:
        """Return one that was not used up."""
        stored = self._rows.get((kind, fingerprint))
        if stored is None or stored.value is None:
            return None
        return Stored(stored.value, stored.etag)

    def use_up(self, kind: str, fingerprint: str, etag: Etag) -> None:
        """Use it up."""
        self._rows.put((kind, fingerprint), None, etag)


class MemoryConnections:
    """Implements ``ConnectionStore``."""

    def __init__(self) -> None:
        self._connections: _Rows[tuple[UserId, ProviderName], Connection] = _Rows()
        self._refs: dict[Ref, tuple[UserId, ProviderName]] = {}
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

    def put(self, connection: Connection, etag: Etag | None) -> Etag:
        """Write a connection."""
        if etag is None:
            self._refs[connection.ref] = (connection.user, connection.provider)
        return self._connections.put((connection.user, connection.provider), connection, etag)

    def put_pending(self, pending: Pending) -> None:
        """Keep a grant."""
        self._refs[pending.ref] = (pending.user, pending.provider)
        self._pending[pending.ref, pending.grant.id] = pending

    def pending(self, ref: Ref, grant: GrantId) -> Pending | None:
        """Return a grant that waits."""
        return self._pending.get((ref, grant))

    def any_pending(self, user: UserId, provider: ProviderName) -> bool:
        """Say whether a grant of this member waits."""
        return any(
            (pending.user, pending.provider) == (user, provider)
            for pending in self._pending.values()
        )

    def drop_pending(self, pending: Pending) -> None:
        """Forget a grant, and its ref unless a connection has it."""
        self._pending.pop((pending.ref, pending.grant.id), None)
        stored = self.find(pending.user, pending.provider)
        if stored is None or stored.value.ref != pending.ref:
            self._refs.pop(pending.ref, None)

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
                if owner == user or held or now <= since + CLAIM_LIFE:
                    return owner
            self._accounts[provider, account] = (user, now)
            return user

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
            if version.record.id in wanted:
                state = Known(version.updated_at, version.n, version.record.digest)
                found.setdefault(version.record.id, []).append(state)
        return found

    def commit(self, place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        """Write versions and head together."""
        with self._heads.lock:
            versions = self.versions.setdefault(place, {})
            feed = self.feed.setdefault(place, {})
            added = {
                keys.version_row(version.record.id, version.updated_at, version.n): version
                for version in transaction.versions
            }
            numbers = {version.seq: row for row, version in added.items()}
            if versions.keys() & added.keys() or feed.keys() & numbers.keys():
                raise LostRace("a version is there already")
            new = self._heads.put(place, transaction.head, etag)
            versions.update(added)
            feed.update(numbers)
            self.aliases.setdefault(place, {}).update(
                {
                    version.record.alias: version.record.id
                    for version in transaction.versions
                    if version.record.alias is not None
                }
            )
            return new

    def quarantine(self, place: Place, misfits: Sequence[Misfit], *, now: datetime) -> None:
        """Keep items that cannot be stored, each body once."""
        newest = {misfit.body: misfit for misfit in (*self.quarantined.get(place, ()), *misfits)}
        self.quarantined[place] = set(newest.values())

    def current(self, place: Place) -> dict[RecordId, Version]:
        """Return the current version of every record: the last row of its id."""
        return {
            version.record.id: version
            for _, version in sorted(self.versions.get(place, {}).items())
        }


@dataclass(slots=True)
class MemoryQueue:
    """Implements ``JobQueue``: ``deferred`` holds what was sent, in order, with its delay."""

    deferred: list[tuple[Job, timedelta]] = field(default_factory=list)
    down: bool = False

    def defer(self, job: Job, delay: timedelta) -> None:
        """Keep the job."""
        if self.down:
            raise StorageDown("the queue was switched off")
        self.deferred.append((job, max(delay, timedelta(0))))

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

    def seal(self, secret: Secret, place: SealPlace) -> Sealed:
        """Remember the secret."""
        text = f"sealed-{next(self._numbers)}"
        self._secrets[text] = (secret, place)
        return Sealed(text)

    def open(self, sealed: Sealed, place: SealPlace) -> Secret:
        """Return the secret, to the place that it was sealed for."""
        secret, sealed_for = self._secrets.get(sealed.text, (None, None))
        if secret is None or sealed_for != place:
            raise Unsealable("unknown here")
        return secret

    def forget(self) -> None:
        """Lose every key."""
        self._secrets.clear()
