"""Read the raw layer: what is current, or all that ever was, from a number of the feed on.

A reader asks with the last number that it has looked at.  Numbers only grow and have no holes, so
that whoever follows them misses nothing that stays current: a record that changes while somebody
pages is no longer told of at its old place, and comes at its new one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared.core.feed import current, document, entry, fit, one_line
from shared.core.keys import fingerprint
from shared.core.model import Place, ProviderName, ResourceName, UserId
from shared.errors import BadRequest, FeedRestarted, LostRace, UnknownProvider, UnknownResource
from shared.ports import RecordStore
from shared.provider import Provider

JSON, LINES = "application/json", "application/x-ndjson"
LIMIT = 100
#: How many numbers one answer may look at, by its form.
MOST: Mapping[str, int] = {JSON: 1_000, LINES: 5_000}
#: Bytes of records in one answer: a host holds several, each more than once.
BODY = 8_000_000
#: As wide as numbers are in the keys of the feed.
NUMBER = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a reader asks for: what has a number above ``after``."""

    #: How many numbers to look at, at most.
    limit: int
    after: int = 0
    #: Every version, and not only those that are current.
    history: bool = False
    #: The feed that ``after`` is from; None from a reader who begins.
    generation: str | None = None

    @classmethod
    def of(cls, params: Mapping[str, str], *, most: int) -> Wish:
        """Read the values of an address; raise ``BadRequest`` for one that cannot be."""
        if "since" in params and "cursor" in params:
            raise BadRequest("since and cursor are two names for one number. Give one of them.")
        after = params.get("since", params.get("cursor", "0"))
        if not NUMBER.fullmatch(after):
            name = "since" if "since" in params else "cursor"
            raise BadRequest(f"{name} is a number that an earlier answer gave, or 0.")
        limit = params.get("limit", str(LIMIT))
        if not NUMBER.fullmatch(limit) or not 1 <= int(limit) <= most:
            raise BadRequest(f"limit is a whole number from 1 to {most}.")
        history = params.get("history", "false")
        if history not in {"true", "false"}:
            raise BadRequest("history is true or false.")
        return cls(
            limit=int(limit),
            after=int(after),
            history=history == "true",
            generation=params.get("generation"),
        )


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed as it stands, and what somebody wants of it."""

    place: Place
    #: None as long as nothing has landed.
    generation: str | None
    #: Its last number.
    seq: int
    wish: Wish

    def tag(self, form: str) -> str:
        """Return what changes whenever an answer in ``form`` does."""
        wish = self.wish
        parts = [self.generation, self.seq, wish.after, wish.limit, wish.history, form]
        return fingerprint(json.dumps(parts))[:32]


@dataclass(frozen=True, slots=True)
class FeedPage:
    """One answer: its entries, each written as JSON, and where to go on."""

    feed: Feed
    entries: tuple[str, ...]
    #: The last number that was looked at.
    cursor: int
    more: bool

    def text(self, form: str) -> str:
        """Write it as one document, or as an entry on each line."""
        if form == LINES:
            return "".join(f"{one_line(text)}\n" for text in self.entries)
        return document(
            self.entries,
            resource=self.feed.place.resource,
            generation=self.feed.generation,
            cursor=self.cursor,
            more=self.more,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """Answers those who build on the records, whether or not there still is a connection."""

    providers: Mapping[ProviderName, Provider]
    records: RecordStore

    def open(self, user: UserId, provider: str | None, resource: str | None, wish: Wish) -> Feed:
        """Look at the head of a feed; that is one read.

        Raises ``UnknownProvider``, ``UnknownResource``, and ``FeedRestarted`` where ``wish`` goes
        on from a feed that was erased.
        """
        known = self.providers.get(ProviderName(provider or ""))
        if known is None:
            raise UnknownProvider("Ask for one of the names that /providers/ lists.")
        names = [one.name for one in known.resources]
        if resource not in names:
            raise UnknownResource(f"Ask for one of: {', '.join(names)}.")
        place = Place(known.name, user, ResourceName(resource))
        head = self.records.head(place).value
        # Nobody was ever given a number beyond the end of this feed.
        if wish.generation not in {None, head.generation} or wish.after > head.seq:
            raise FeedRestarted("Forget what you have read of these records, and start from 0.")
        return Feed(place, head.generation, head.seq, wish)

    def read(self, feed: Feed) -> FeedPage:
        """Read a page.

        Costs a read of the feed's next numbers, one of the states of their records unless all
        versions are wanted, and one of the versions; each of the last two goes through the range
        between the first and the last id, a thousand rows at a time.  Raises ``LostRace`` if it
        is erased meanwhile.
        """
        place, wish = feed.place, feed.wish
        count = min(wish.limit, feed.seq - wish.after)
        if not count:
            return FeedPage(feed, (), wish.after, more=False)
        numbers = tuple(self.records.numbers(place, after=wish.after, most=count))
        wanted = numbers
        if not wish.history:
            # After the numbers, so that what makes one of them stale comes later in the feed.
            names = list(dict.fromkeys(number.record for number in numbers))
            wanted = current(numbers, self.records.known(place, names))
        versions = self.records.read(place, wanted)
        kept, left_out = fit(((one.number.seq, entry(one)) for one in versions), BODY)
        cursor = wish.after + count if left_out is None else left_out - 1
        if len(numbers) < count or [seq for seq, _ in kept] != [
            number.seq for number in wanted if number.seq <= cursor
        ]:
            raise LostRace("the feed was erased while it was read")
        return FeedPage(feed, tuple(text for _, text in kept), cursor, more=cursor < feed.seq)
