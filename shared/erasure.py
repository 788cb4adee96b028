"""Delete everything that is kept of a member at a provider, until nothing more is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.core.depart import placeholder
from shared.core.model import Claim, Connection, ProviderName, Ref, Status, UserId
from shared.errors import Busy
from shared.ports import (
    Clock,
    ConnectionStore,
    Etag,
    Mint,
    OneTimeStore,
    RecordStore,
    Stored,
    Tally,
)

#: A member waits for this long; what is left by then is a job's.
SLICE = timedelta(seconds=20)
#: Much longer than a slice, so that nobody deletes under a claim that has ended.
CLAIM = timedelta(minutes=2)
#: Rows between two looks at the clock.
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases members, one worker at a time for each."""

    connections: ConnectionStore
    records: RecordStore
    once: OneTimeStore
    #: What else is kept by ref: its name in receipts, and what deletes one ref's.
    by_ref: Mapping[str, Callable[[Ref], int]]
    clock: Clock
    mint: Mint

    def work(self, user: UserId, provider: ProviderName, departure: Ref) -> tuple[Tally, bool]:
        """Delete for a while; return how many rows of what, and whether that was all.

        The connection stands as ``ERASING`` meanwhile, so that nobody connects on top of rows
        that are about to go, and goes last.  Raises ``Busy`` while somebody else is at it, and
        may raise ``LostRace``.
        """
        now = self.clock()
        mine, etag = self._claim(user, provider, departure, now)
        counts: Counter[str] = Counter()
        whole = False
        while not whole:
            before = counts.total()
            for some in self._round(mine):
                counts.update(some)
                if self.clock() >= now + SLICE:
                    # For the next one, who need not wait for its end.
                    self.connections.put(replace(mine, claim=None), etag)
                    return counts, False
            # A worker that was late may have written behind our back: it is all gone once a
            # whole round finds nothing.
            whole = counts.total() == before
        self.connections.drop(mine, etag)
        # A row that was made for this only is nobody's data.
        counts["connections"] += bool(mine.former)
        return counts, True

    def _claim(
        self, user: UserId, provider: ProviderName, departure: Ref, now: datetime
    ) -> tuple[Connection, Etag]:
        found = self.connections.find(user, provider)
        if found is None:
            ref = Ref(self.mint())
            found = Stored(
                placeholder(user, provider, Status.ERASING, departure=departure, ref=ref, at=now),
                None,
            )
        held = found.value
        if held.claim is not None and now < held.claim.until:
            raise Busy(held.claim.until)
        if (held.status, held.departure) != (Status.ERASING, departure):
            raise Busy(now + CLAIM)
        claimed = replace(held, claim=Claim(self.mint(), now + CLAIM))
        return claimed, self.connections.put(claimed, found.etag)

    def _round(self, connection: Connection) -> Iterator[Tally]:
        user, provider = connection.user, connection.provider
        while any((some := self.records.erase(user, provider, most=BATCH)).values()):
            yield some
        yield self.connections.erase(user, provider)
        yield {"links": self.once.erase(user, provider)}
        for name, erase in self.by_ref.items():
            for ref in connection.former:
                yield {name: erase(ref)}
