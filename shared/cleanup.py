"""Put away what nobody needs any more, and seal anew what an old key sealed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, islice, takewhile

from shared.core.model import Connection, Listed, Ref, SealedGrant
from shared.errors import LostRace, Unsealable
from shared.log import alarm, event
from shared.ports import (
    Cipher,
    ConnectionStore,
    Mint,
    OneTimeStore,
    PoisonStore,
    SealPlace,
    SlotStore,
)
from shared.renewal import open_access, open_refresh

#: Long after anybody could still follow a link.
ONCE_LIFE = timedelta(hours=1)
#: A month of nights, for whoever wonders how they went.
SLOT_LIFE = timedelta(days=30)
#: Failures that mended themselves; what is stuck stays until a person has looked.
FAILURE_LIFE = timedelta(days=30)
#: Rows of a kind that one run looks at, so that it ends in time; the next one goes on.
MOST = 5_000


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Runs every hour.  Being stopped anywhere, or run twice at once, does no harm."""

    once: OneTimeStore
    slots: SlotStore
    poison: PoisonStore
    connections: ConnectionStore
    cipher: Cipher
    mint: Mint
    most: int = MOST

    def run(self, now: datetime) -> None:
        """Drop what is old, then look for tokens to seal anew."""
        dropped = self.once.drop_expired(now - ONCE_LIFE, most=self.most)
        dropped += self.slots.drop(now - SLOT_LIFE, most=self.most)
        dropped += self.poison.sweep(now - FAILURE_LIFE, most=self.most)
        resealed = overtaken = unsealable = 0
        for one in self._some():
            try:
                resealed += self._reseal(one.ref)
            except LostRace:
                overtaken += 1  # whoever wrote it sealed it with the newest key, or we come again
            except Unsealable:
                unsealable += 1
        if unsealable:
            alarm("reseal.unsealable", skipped=unsealable)
        event("cleanup.done", dropped=dropped, resealed=resealed, skipped=overtaken + unsealable)

    def _some(self) -> Iterator[Listed]:
        """Yield as many connections as one run looks at, from anywhere in their ring.

        Refs are random, and so is where this begins: however many connections there are, each
        is looked at within a few runs, and none that cannot be mended stands in the way.
        """
        start = Ref(self.mint())
        before = takewhile(lambda one: one.ref <= start, self.connections.everyone())
        return islice(chain(self.connections.everyone(start), before), self.most)

    def _reseal(self, ref: Ref) -> bool:
        stored = self.connections.by_ref(ref)
        # Whoever has a claim on it is about to write new tokens, or has died in the middle of
        # that: then the next renewal has to find the row as it was left.
        if stored is None or stored.value.claim is not None or not self._stale(stored.value.grant):
            return False
        self.connections.put(self._sealed_anew(stored.value), stored.etag)
        return True

    def _stale(self, grant: SealedGrant) -> bool:
        return self.cipher.stale(grant.access) or self.cipher.stale(grant.refresh)

    def _sealed_anew(self, connection: Connection) -> Connection:
        user, provider = connection.user, connection.provider
        access = open_access(self.cipher, connection)
        refresh = open_refresh(self.cipher, connection)
        grant = replace(
            connection.grant,
            access=self.cipher.seal(access, SealPlace(user, provider, "access")),
            refresh=self.cipher.seal(refresh, SealPlace(user, provider, "refresh")),
        )
        return replace(connection, grant=grant)
