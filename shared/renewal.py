"""An access token that works, renewed by one caller at a time.

Providers that rotate refresh tokens kill the old pair as soon as they answer, so of two
concurrent renewals one fails, and may take the winner's pair down with it.  Hence: claim the
connection's row, renew, store the new pair, use it, in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from shared.core.model import (
    Claim,
    Connection,
    GrantId,
    Lane,
    Pending,
    ProviderName,
    Ref,
    SealedGrant,
    Secret,
    Status,
    UserId,
)
from shared.errors import (
    Busy,
    GrantDead,
    LostRace,
    ProviderError,
    Rejected,
    StorageDown,
    TokenRejected,
)
from shared.log import alarm, event
from shared.ports import (
    Cipher,
    Clock,
    ConnectionStore,
    DepartureStore,
    Etag,
    Mint,
    SealPlace,
    Stored,
)
from shared.provider import Grant, Provider
from shared.spending import Spending

#: Longer than any call to a token endpoint takes, so that a claim never ends under its owner.
CLAIM = timedelta(seconds=60)
#: More than a call to a token endpoint takes before it is given up.
LONGEST_CALL = timedelta(seconds=20)
#: Renew this long before the end, so that a token does not die between check and use.
MARGIN = timedelta(minutes=2)
#: Tokens that live shorter than that keep most of their life.
MARGIN_SHARE = 0.1
#: A token that is refused sooner than this after we got it is the provider's confusion, and
#: another one would fare no better.
YOUNG = timedelta(seconds=30)
#: When the winner of a renewal has most likely finished.
LOSERS_WAIT = timedelta(seconds=1)
#: How often new tokens are written to a storage that does not answer; the SDK waits in between.
TRIES = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Lends working access tokens."""

    providers: Mapping[ProviderName, Provider]
    connections: ConnectionStore
    departures: DepartureStore
    cipher: Cipher
    spending: Spending
    clock: Clock
    mint: Mint

    def use(self, ref: Ref, call: Callable[[Secret], T], lane: Lane = Lane.AUTH) -> T:
        """Return what ``call`` makes of a working access token.

        A token that is refused is renewed once, in ``lane``.  Raises what ``call`` raises;
        ``GrantDead`` when the member must sign in again, and the connection is then parked;
        ``Busy`` while another caller renews; ``Unavailable`` when the provider's token endpoint
        does not answer.
        """
        access = self._fresh(ref, refused=None, lane=lane)
        try:
            return call(access)
        except TokenRejected:
            # Refused although not expired: either somebody has just renewed, and the row holds
            # the token to use, or the provider has dropped this one.
            return call(self._fresh(ref, refused=access, lane=lane))

    def _fresh(self, ref: Ref, *, refused: Secret | None, lane: Lane) -> Secret:
        stored = self.connections.by_ref(ref)
        if stored is None or stored.value.status is not Status.CONNECTED:
            raise GrantDead("there is no connection to use")
        connection, now = stored.value, self.clock()
        access = open_access(self.cipher, connection)
        if not expiring(connection.grant, now):
            if access != refused:
                return access
            if now < connection.grant.issued_at + YOUNG:
                raise TokenRejected("the provider refuses a token that it has just issued")
        if connection.claim is not None and now < connection.claim.until:
            raise Busy(now + LOSERS_WAIT)
        return self._renew(stored, now, lane)

    def _renew(self, stored: Stored[Connection], now: datetime, lane: Lane) -> Secret:
        # The claim is the intent: it is written before the provider is asked, so that a crash
        # between its answer and our write can be seen.  Writing it over the row that was read
        # is also the second look at whether the token is still stale.
        provider = self.providers[stored.value.provider]
        refresh = open_refresh(self.cipher, stored.value)
        if stored.value.claim is not None:
            alarm("renewal.interrupted", ref=stored.value.ref, provider=stored.value.provider)
        until = now + CLAIM
        claimed = replace(stored.value, claim=Claim(self.mint(), until))
        mine = self._claim(claimed, stored.etag, now)

        def renew() -> Grant:
            # Storage may have been slow: nobody may ask under a claim that could end meanwhile.
            if until < self.clock() + LONGEST_CALL:
                raise Busy(until)
            return provider.renew(refresh)

        try:
            grant = self.spending.send(provider, lane, renew)
        except GrantDead as error:
            self._park(mine)
            raise GrantDead("the provider ended this grant") from error
        except Rejected as error:
            # A form or a client secret that the token endpoint refuses is our bug or our
            # settings.  It says nothing about the member's grant.
            self._release(mine)
            alarm("renewal.rejected", ref=claimed.ref, provider=claimed.provider)
            raise TokenRejected("the token endpoint finds our request wrong") from error
        except (ProviderError, StorageDown, Busy):
            # None of these is an answer of the token endpoint that could have changed the pair,
            # but for a time-out, after which nobody can know.
            self._release(mine)
            raise
        return self._store(mine, grant)

    def _claim(self, claimed: Connection, etag: Etag | None, now: datetime) -> Stored[Connection]:
        try:
            return Stored(claimed, self.connections.put(claimed, etag))
        except LostRace as error:
            # Lost to ourselves, where the answer to our write was lost and it was sent again.
            stored = self.connections.by_ref(claimed.ref)
            if stored is not None and stored.value.claim == claimed.claim:
                return stored
            raise Busy(now + LOSERS_WAIT) from error

    def _store(self, mine: Stored[Connection], grant: Grant) -> Secret:
        # Stored before it is used: the old pair is dead already, and this is the only copy of
        # the new one.  Hence several tries, whatever stands in the way.
        connection = mine.value
        sealed = seal_grant(
            self.cipher,
            grant,
            user=connection.user,
            provider=connection.provider,
            grant_id=connection.grant.id,
            now=self.clock(),
            former=connection.grant,
        )
        trouble: StorageDown | None = None
        for _ in range(TRIES):
            try:
                self._put_grant(mine, sealed)
            except StorageDown as error:
                trouble = error
            else:
                event("renewal.done", ref=connection.ref, provider=connection.provider)
                return grant.access
        alarm("renewal.lost", ref=connection.ref, provider=connection.provider)
        raise StorageDown("the new tokens could not be stored") from trouble

    def _put_grant(self, mine: Stored[Connection], sealed: SealedGrant) -> None:
        stored: Stored[Connection] | None = mine
        while stored is not None and stored.value.claim == mine.value.claim:
            renewed = replace(stored.value, claim=None, grant=sealed)
            try:
                self.connections.put(renewed, stored.etag)
            except LostRace:
                # Somebody has noted whose account it is; or our own answer was lost.
                stored = self.connections.by_ref(mine.value.ref)
            else:
                return
        if stored is None:
            self._hand_over(sealed)
        if stored is None or stored.value.grant != sealed:
            # A reconnection writes over an open claim, and its pair is newer than ours.
            raise Busy(self.clock() + LOSERS_WAIT)

    def _hand_over(self, sealed: SealedGrant) -> None:
        """Give the new pair to the departure of a member who has left while we renewed.

        It has to give the grant back, and the pair that it holds is dead.
        """
        departure = self.departures.find(Ref(sealed.id))
        if departure is not None and departure.value.grant is not None:
            with suppress(LostRace):  # it is being given back already, or was swept
                kept = replace(departure.value, grant=sealed)
                self.departures.save(kept, departure.etag)

    def _park(self, mine: Stored[Connection]) -> None:
        # Written over our own claim: if this succeeds, nobody else was renewing and the pair
        # that the provider refused is still the one that we hold.
        parked = replace(mine.value, claim=None, status=Status.PARKED, reason=GrantDead.code)
        try:
            self.connections.put(parked, mine.etag)
        except LostRace as error:
            raise Busy(self.clock() + LOSERS_WAIT) from error
        alarm("connection.parked", ref=parked.ref, provider=parked.provider, reason=GrantDead.code)

    def _release(self, mine: Stored[Connection]) -> None:
        try:
            self.connections.put(replace(mine.value, claim=None), mine.etag)
        except LostRace:
            event("renewal.overtaken", ref=mine.value.ref, provider=mine.value.provider)


def seal_grant(
    cipher: Cipher,
    grant: Grant,
    *,
    user: UserId,
    provider: ProviderName,
    grant_id: GrantId,
    now: datetime,
    former: SealedGrant | None = None,
) -> SealedGrant:
    """Seal ``grant``, received at ``now``; what it lacks stays as it was in ``former``."""
    if grant.refresh is not None:
        refresh = cipher.seal(grant.refresh, SealPlace(user, provider, "refresh"))
    elif former is not None:
        refresh = former.refresh
    else:
        raise ValueError("a first grant has a refresh token")
    return SealedGrant(
        id=grant_id,
        access=cipher.seal(grant.access, SealPlace(user, provider, "access")),
        refresh=refresh,
        issued_at=now,
        expires_at=now + grant.lifetime,
        scopes=grant.scopes or (former.scopes if former else frozenset()),
    )


def open_access(cipher: Cipher, owner: Connection | Pending) -> Secret:
    """Open a member's access token."""
    return cipher.open(owner.grant.access, SealPlace(owner.user, owner.provider, "access"))


def open_refresh(cipher: Cipher, owner: Connection | Pending) -> Secret:
    """Open a member's refresh token."""
    return cipher.open(owner.grant.refresh, SealPlace(owner.user, owner.provider, "refresh"))


def expiring(grant: SealedGrant, now: datetime) -> bool:
    """Say whether a grant's access token has ended, or is about to."""
    margin = min(MARGIN, (grant.expires_at - grant.issued_at) * MARGIN_SHARE)
    return grant.expires_at - margin <= now
