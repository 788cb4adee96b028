"""Put away what nobody needs any more, and seal anew what an old key sealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, islice, takewhile

from shared.bells import Bells
from shared.core.model import Connection, Listed, Place, ProviderName, Ref, SealedGrant
from shared.errors import LostRace, Unsealable
from shared.log import alarm, event
from shared.ports import (
    ONCE_KEPT,
    Cipher,
    ConnectionStore,
    DepartureStore,
    EventStore,
    Mint,
    OneTimeStore,
    PoisonStore,
    RecordStore,
    SealPlace,
    SlotStore,
)
from shared.provider import Provider
from shared.renewal import open_access, open_refresh

#: A month of nights, for whoever wonders how they went.
SLOT_LIFE = timedelta(days=30)
#: Failures that mended themselves; what is stuck stays until a person has looked.
FAILURE_LIFE = timedelta(days=30)
#: With the hour between two runs, tokens of members who left are gone within a day.
DEPARTURE_LIFE = timedelta(hours=23)
#: Longer than a provider's word is believed, so that nothing can be said twice.
EVENT_LIFE = timedelta(hours=6)
#: Rows of a kind that one run looks at, so that it ends in time; the next one goes on.
MOST = 5_000
#: What looking for a bell costs: every resource of a connection has a head.
HEADS = 10


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Runs every hour.  Being stopped anywhere, or run twice at once, does no harm."""

    providers: Mapping[ProviderName, Provider]
    once: OneTimeStore
    slots: SlotStore
    poison: PoisonStore
    events: EventStore
    departures: DepartureStore
    connections: ConnectionStore
    records: RecordStore
    bells: Bells
    cipher: Cipher
    mint: Mint
    most: int = MOST

    def run(self, now: datetime) -> None:
        """Drop what is old, then look for tokens to seal anew."""
        dropped = self.once.drop_expired(now - ONCE_KEPT, most=self.most)
        dropped += self.slots.drop(now - SLOT_LIFE, most=self.most)
        dropped += self.poison.sweep(now - FAILURE_LIFE, most=self.most)
        dropped += self.departures.sweep(now - DEPARTURE_LIFE, most=self.most)
        dropped += self.events.sweep(now - EVENT_LIFE, most=self.most)
        resealed = overtaken = unsealable = 0
        some = list(self._some())
        for one in some:
            try:
                resealed += self._reseal(one.ref)
            except LostRace:
                overtaken += 1  # whoever wrote it sealed it with the newest key, or we come again
            except Unsealable:
                unsealable += 1
        if unsealable:
            alarm("reseal.unsealable", skipped=unsealable)
        rung = sum(self._ring(one) for one in some[: -(-self.most // HEADS)])
        event("cleanup.done", dropped=dropped, resealed=resealed, rung=rung,
              skipped=overtaken + unsealable)  # fmt: skip

    def _ring(self, one: Listed) -> int:
        """Ring for what a job had no time to ring for; return for how many resources."""
        found = self.connections.by_ref(one.ref)
        provider = self.providers.get(one.provider)
        if found is None or provider is None:
            return 0
        rung = 0
        for resource in provider.resources:
            place = Place(one.provider, found.value.user, resource.name)
            stored = self.records.head(place)
            rung += self.bells.ring(one.ref, place, stored) is not stored
        return rung

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
