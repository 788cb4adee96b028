"""Give the grants of members who left back to their provider."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from shared.core.model import (
    AccountId,
    Departure,
    Lane,
    Page,
    Pending,
    ProviderName,
    Ref,
    Sealed,
    Secret,
    UserId,
)
from shared.errors import Busy, GrantDead, TokenRejected, Unavailable
from shared.log import event
from shared.ports import Cipher, Clock, ConnectionStore, DepartureStore, SealPlace, Stored
from shared.provider import Provider
from shared.renewal import expiring, open_access, open_refresh, seal_grant
from shared.spending import Spending

#: When a member who is just connecting has most likely finished.
CONNECTING = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Revocation:
    """Revokes, unless that would end a newer grant of the same account as well."""

    providers: Mapping[ProviderName, Provider]
    connections: ConnectionStore
    departures: DepartureStore
    cipher: Cipher
    spending: Spending
    clock: Clock

    def work(self, ref: Ref) -> None:
        """Revoke the grant of departure ``ref``, and note that it is done.

        Raises ``ProviderError``, ``Busy`` or ``Unsealable`` where it has to be tried again.
        """
        stored = self.departures.find(ref)
        if stored is None or (grant := stored.value.grant) is None:
            return
        departure = stored.value
        user = open_user(self.cipher, departure)
        if self._connected_again(departure, user):
            event("revocation.overtaken", provider=departure.provider, ref=ref)
        else:
            try:
                owner = Pending(user, departure.provider, ref, grant)
                stored = self._revoke(stored, owner)
            except GrantDead:
                # Nothing to give back.  Where a renewal that was under way has brought newer
                # tokens meanwhile, the write below loses, and the next try takes those.
                event("revocation.not_needed", provider=departure.provider, ref=ref)
            else:
                event("revocation.done", provider=departure.provider, ref=ref)
        self.departures.save(replace(stored.value, grant=None), stored.etag)

    def _connected_again(self, departure: Departure, user: UserId) -> bool:
        """Say whether the account has a grant that is newer than the departure's.

        Raises ``Busy`` while nobody can know.
        """
        provider, account = departure.provider, open_account(self.cipher, departure)
        if self.connections.any_pending(user, provider):
            raise Busy(self.clock() + CONNECTING)
        members = {user}
        # The account may be another member's by now, where this one's records were erased.
        owner = None if account is None else self.connections.owner(provider, account)
        if owner is not None:
            members.add(owner)
        return any(self._holds(member, provider, account) for member in members)

    def _holds(self, user: UserId, provider: ProviderName, account: AccountId | None) -> bool:
        found = self.connections.find(user, provider)
        if found is None or found.value.departed:
            return False
        return account is None or found.value.account in {None, account}

    def _revoke(self, stored: Stored[Departure], owner: Pending) -> Stored[Departure]:
        provider = self.providers[owner.provider]
        if provider.trouble is not None:
            raise Unavailable("the provider lacks settings")
        if not expiring(owner.grant, self.clock()):
            try:
                self._send(provider, owner)
            except TokenRejected:
                # Before its time: only a renewal tells whether the grant is over as well.
                event("revocation.refused", provider=provider.name, ref=stored.value.ref)
            else:
                return stored
        stored, owner = self._renew(provider, stored, owner)
        # A new token is good, unless the provider has just dropped all of them.
        with suppress(TokenRejected):
            self._send(provider, owner)
        return stored

    def _send(self, provider: Provider, owner: Pending) -> None:
        access = open_access(self.cipher, owner)

        def revoke() -> Page:
            provider.revoke(access)
            return Page(())

        self.spending.send(provider, Lane.AUTH, revoke)

    def _renew(
        self, provider: Provider, stored: Stored[Departure], owner: Pending
    ) -> tuple[Stored[Departure], Pending]:
        """Renew, and store the new pair before it is used: the old one is dead already."""
        refresh = open_refresh(self.cipher, owner)
        grant = self.spending.send(provider, Lane.AUTH, lambda: provider.renew(refresh))
        sealed = seal_grant(
            self.cipher,
            grant,
            user=owner.user,
            provider=owner.provider,
            grant_id=owner.grant.id,
            now=self.clock(),
            former=owner.grant,
        )
        kept = replace(stored.value, grant=sealed)
        etag = self.departures.save(kept, stored.etag)
        return Stored(kept, etag), replace(owner, grant=sealed)


def seal_user(cipher: Cipher, ref: Ref, provider: ProviderName, user: UserId) -> Sealed:
    """Seal who leaves, for departure ``ref`` only."""
    return cipher.seal(Secret(user), _place(ref, provider, "user"))


def open_user(cipher: Cipher, departure: Departure) -> UserId:
    """Open whom a departure is about."""
    place = _place(departure.ref, departure.provider, "user")
    return UserId(cipher.open(departure.user, place).reveal())


def seal_account(
    cipher: Cipher, ref: Ref, provider: ProviderName, account: AccountId | None
) -> Sealed | None:
    """Seal whose account it is, for departure ``ref`` only."""
    if account is None:
        return None
    return cipher.seal(Secret(account), _place(ref, provider, "account"))


def open_account(cipher: Cipher, departure: Departure) -> AccountId | None:
    """Open whose account a departure is about."""
    if departure.account is None:
        return None
    place = _place(departure.ref, departure.provider, "account")
    return AccountId(cipher.open(departure.account, place).reveal())


def _place(ref: Ref, provider: ProviderName, field: str) -> SealPlace:
    # The departure's name stands where a member's id would: that is what must not show.
    return SealPlace(UserId(ref), provider, field)
