"""Connect a member: ticket, consent, callback, and the grant that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from shared.core.keys import fingerprint
from shared.core.model import (
    AccountId,
    Connection,
    FinishJob,
    GrantId,
    Lane,
    Page,
    Pending,
    ProviderName,
    Ref,
    ResourceName,
    RunId,
    Secret,
    Status,
    UserId,
)
from shared.core.recover import Retry, recover
from shared.errors import (
    AccountDeactivated,
    ConnectRefused,
    GrantDead,
    LostRace,
    NotThere,
    ProviderError,
    RateLimited,
    Rejected,
    ScopeMissing,
    StorageDown,
    Unavailable,
    Unsealable,
)
from shared.log import alarm, event
from shared.ports import (
    ONCE_KEPT,
    Cipher,
    Clock,
    ConnectionStore,
    Dice,
    JobQueue,
    Mint,
    OneTime,
    OneTimeStore,
    SealPlace,
)
from shared.provider import Grant, Provider
from shared.renewal import seal_grant
from shared.spending import Spending

#: Long enough for a slow phone to follow a link, too short to be found in a history.
TICKET_LIFE = timedelta(seconds=60)
#: Long enough to sign in at the provider, with a forgotten password.
STATE_LIFE = timedelta(minutes=10)
#: The finishing job comes after the callback has most likely done its work.
FINISH_AFTER = timedelta(seconds=60)
TICKET, STATE = "ticket", "state"
TRIES = 4


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the page needs to send a member on their way."""

    secret: str
    lifetime: timedelta


class StartRun(Protocol):
    """Starts a run; repeating the call for the same ``own`` run repairs what a crash left."""

    def __call__(self, connection: Connection, lane: Lane, *, own: RunId | None = None) -> RunId:
        """Return the run's name."""
        ...


@dataclass(frozen=True, slots=True)
class Connections:
    """Makes connections.  ``provider`` arguments are usable ones: the edge has looked."""

    providers: Mapping[ProviderName, Provider]
    once: OneTimeStore
    connections: ConnectionStore
    cipher: Cipher
    spending: Spending
    queue: JobQueue
    clock: Clock
    dice: Dice
    mint: Mint
    #: Starts the first run.
    on_connected: StartRun
    #: Keeps the document that told us whose grant it is.
    on_document: Callable[[Connection, ResourceName, Page], None]

    def ticket(self, user: UserId, provider: ProviderName, browser: str) -> Ticket:
        """Return a ticket for ``user`` that works once, soon, and in ``browser`` only."""
        return Ticket(self._keep(TICKET, user, provider, browser, TICKET_LIFE), TICKET_LIFE)

    def begin(self, ticket: str, provider: ProviderName, browser: str | None) -> str:
        """Trade a ticket for the URL where the member gives consent.

        Raises ``ConnectRefused`` for a ticket that is unknown, used, too old, or another
        browser's, and while the member is being erased.
        """
        once = self._redeem(TICKET, ticket, provider, browser)
        found = self.connections.find(once.user, provider)
        if found is not None and found.value.status is Status.ERASING:
            # They would give a consent in vain, and nobody would take it back.
            raise ConnectRefused("erasing")
        return self.consent_url(once.user, provider, browser or "")

    def consent_url(self, user: UserId, provider: ProviderName, browser: str) -> str:
        """Return the URL where ``user`` gives consent, bound to ``browser``."""
        state = self._keep(STATE, user, provider, browser, STATE_LIFE)
        return self.providers[provider].authorize_url(state)

    def complete(
        self,
        provider: ProviderName,
        *,
        state: str,
        code: str,
        said: str,
        browser: str | None,
    ) -> None:
        """Turn the answer from the consent page into a connection and its first run.

        ``said`` is the provider's ``error``, empty when there is a ``code``.  Raises
        ``ConnectRefused``.  When the provider cannot be reached after the code was traded, the
        grant is kept and a job finishes the connection.
        """
        once = self._redeem(STATE, state, provider, browser)
        if said or not code:
            # RFC 6749, section 4.1.2.1: the member's own no, or something that is not theirs.
            denied = said == "access_denied"
            raise ConnectRefused("denied" if denied else "provider_error")
        grant = self._redeem_code(provider, code)
        pending = self._pend(once.user, provider, grant, fingerprint(state))
        try:
            self._finish(pending)
        except ConnectRefused as refusal:
            event("connection.refused", ref=pending.ref, reason=refusal.reason)
            raise
        except (ProviderError, Unsealable, StorageDown, LostRace) as error:
            # Not the member's problem any more: the job goes on, and the status says so.
            event("connection.unfinished", ref=pending.ref, error=type(error).__name__)

    def finish(self, job: FinishJob) -> None:
        """Finish a connection that its callback could not; do nothing where it could."""
        pending = self.connections.pending(job.ref, job.grant)
        if pending is None:
            return
        try:
            self._conclude(pending)
        except (LostRace, StorageDown):
            self.queue.defer(job, FINISH_AFTER)
        except (ProviderError, Unsealable) as error:
            now = self.clock()
            decision = recover(job, error, now=now, roll=self.dice())
            if isinstance(decision, Retry):
                self.queue.defer(decision.job, decision.at - now)
                return
            # Without the profile, then.  The grant is good as far as anybody knows, and the
            # first record tells whose it is.
            alarm("connection.without_profile", ref=job.ref, error=type(error).__name__)
            self._conclude(pending, profile=Page(()))

    def _keep(
        self,
        kind: str,
        user: UserId,
        provider: ProviderName,
        browser: str,
        life: timedelta,
    ) -> str:
        secret = self.mint()
        once = OneTime(user, provider, fingerprint(browser), self.clock() + life)
        self.once.keep(kind, fingerprint(secret), once)
        return secret

    def _redeem(
        self, kind: str, secret: str, provider: ProviderName, browser: str | None
    ) -> OneTime:
        stored = self.once.find(kind, fingerprint(secret))
        if stored is None or stored.etag is None:
            raise ConnectRefused("expired_link")
        once = stored.value
        if once.provider != provider or once.expires_at <= self.clock():
            raise ConnectRefused("expired_link")
        # Before it is used up: whoever follows somebody else's link must not spoil it.
        if browser is None or fingerprint(browser) != once.browser:
            raise ConnectRefused("other_browser")
        try:
            self.once.use_up(kind, fingerprint(secret), stored.etag)
        except LostRace as error:
            raise ConnectRefused("expired_link") from error
        return once

    def _redeem_code(self, provider: ProviderName, code: str) -> Grant:
        try:
            known = self.providers[provider]
            grant = self.spending.send(known, Lane.AUTH, lambda: known.redeem(Secret(code)))
        except GrantDead as error:
            raise ConnectRefused("expired_link") from error
        except (Unavailable, RateLimited) as error:
            raise ConnectRefused("provider_unavailable") from error
        except ProviderError as error:
            alarm("connection.code_rejected", provider=provider, error=type(error).__name__)
            raise ConnectRefused("provider_error") from error
        if grant.refresh is None:
            # It would be dead within the hour, and nobody could tell the member why.
            alarm("connection.no_refresh_token", provider=provider)
            raise ConnectRefused("no_offline_access")
        return grant

    def _pend(self, user: UserId, provider: ProviderName, grant: Grant, state: str) -> Pending:
        # The code is used up, so from here on the grant must not be lost.  First the job, which
        # comes a minute later and does nothing where it finds no grant; then the grant; then
        # the work that may fail.  So a grant that is kept has a job that will finish it.
        found = self.connections.find(user, provider)
        pending = Pending(
            user,
            provider,
            # Whoever comes back after leaving is somebody new to messages and logs.
            found.value.ref if found and not found.value.departed else Ref(self.mint()),
            seal_grant(
                self.cipher,
                grant,
                user=user,
                provider=provider,
                grant_id=GrantId(self.mint()),
                now=self.clock(),
            ),
            state,
        )
        self.queue.defer(FinishJob(pending.ref, pending.grant.id), FINISH_AFTER)
        self.connections.put_pending(pending)
        return pending

    def _conclude(self, pending: Pending, *, profile: Page | None = None) -> None:
        """Finish, where nobody waits to hear of a refusal."""
        try:
            self._finish(pending, profile=profile)
        except ConnectRefused as refusal:
            event("connection.refused", ref=pending.ref, reason=refusal.reason)

    def _finish(self, pending: Pending, *, profile: Page | None = None) -> None:
        """Turn a kept grant into a connection.  Doing it twice changes nothing.

        Where no ``profile`` is given, the provider is asked for it.
        A refusal forgets the grant and never gives it back to the provider: revoking it would
        end the grant of the account's rightful owner as well.
        """
        try:
            connection = self._connect(pending, profile)
        except ConnectRefused:
            self.connections.drop_pending(pending)
            raise
        if connection is not None and connection.status is Status.CONNECTED:
            # Named after the grant: the same call after a crash finds the run that it began.
            self.on_connected(connection, Lane.MANUAL, own=RunId(pending.grant.id))
        # Last: until here a job would do all of this again.
        self.connections.drop_pending(pending)

    def _connect(self, pending: Pending, profile: Page | None) -> Connection | None:
        found = self.connections.find(pending.user, pending.provider)
        if found is not None and found.value.grant.id == pending.grant.id:
            return found.value
        if self._erased(pending):
            raise ConnectRefused("erasing")
        profile = self._profile(pending) if profile is None else profile
        account = next((record.account for record in profile.records), None)
        for _ in range(TRIES):
            found = self.connections.find(pending.user, pending.provider)
            held = found.value if found else None
            if (held and _outlived(held, pending)) or self._forgotten(pending):
                return None
            self._admit(pending, held, account)
            connection = Connection(
                user=pending.user,
                provider=pending.provider,
                # Two attempts of a new member have a ref each; the first that is finished holds.
                ref=held.ref if held and not held.departed else pending.ref,
                status=Status.CONNECTED,
                grant=pending.grant,
                account=account or (held.account if held else None),
                connected_at=self.clock(),
                former=held.former if held else (),
            )
            try:
                etag = self.connections.put(connection, found.etag if found else None)
            except LostRace:
                continue
            if found is None and self._forgotten(pending):
                # Erased as a whole since the first look, down to the row that we would have
                # lost to.  Whoever has written over ours meanwhile has seen it, and decides.
                with suppress(LostRace):
                    self.connections.drop(connection, etag)
                return None
            self._welcome(connection, profile)
            return connection
        raise LostRace("the connection changes too often")

    def _erased(self, pending: Pending) -> bool:
        """Say whether an erasure came and went, row and all, while the code was traded.

        It deletes states, used ones as well, and grants that wait, until a whole round finds
        nothing.  So it has found this grant, or its state is gone by now.
        """
        if not pending.state or self.clock() >= pending.grant.issued_at + ONCE_KEPT / 2:
            return False  # swept, perhaps
        return not self.once.kept(STATE, pending.state)

    def _forgotten(self, pending: Pending) -> bool:
        """Say whether a grant waits no more: it was finished, or its member has left.

        Who lets a member go forgets the grants that wait before they write what stands in the
        connection's place.  So where this says no after the row was read, a departure that
        comes later makes our write lose.  Where there was no row, an erasure may have come and
        gone, row and all; then this says yes once ours is written.
        """
        return self.connections.pending(pending.ref, pending.grant.id) is None

    def _profile(self, pending: Pending) -> Page:
        """Ask whose grant this is; an empty page where the provider does not tell."""
        provider = self.providers[pending.provider]
        resource = next(r for r in provider.resources if r.name == provider.identity)
        if resource.scope not in pending.grant.scopes or pending.grant.expires_at <= self.clock():
            # The first record will tell: refusing a good grant for it would be a pity.
            return Page(())
        place = SealPlace(pending.user, pending.provider, "access")
        try:
            access = self.cipher.open(pending.grant.access, place)
            return self.spending.send(
                provider, Lane.AUTH, lambda: provider.fetch(access, provider.identity, None)
            )
        except (ScopeMissing, AccountDeactivated, NotThere):
            return Page(())
        except Rejected as error:
            alarm("connection.profile_rejected", provider=pending.provider, ref=pending.ref)
            raise ConnectRefused("provider_error") from error

    def _admit(self, pending: Pending, held: Connection | None, account: AccountId | None) -> None:
        if held is not None and held.status is Status.ERASING:
            raise ConnectRefused("erasing")
        if account is None:
            return
        if held is not None and held.account not in (None, account):
            raise ConnectRefused("different_account")
        owner = self.connections.claim_account(
            pending.provider, account, pending.user, now=self.clock()
        )
        if owner != pending.user:
            raise ConnectRefused("account_in_use")

    def _welcome(self, connection: Connection, profile: Page) -> None:
        provider = self.providers[connection.provider]
        event(
            "connection.made",
            provider=connection.provider,
            ref=connection.ref,
            missing_scopes=list(provider.missing_scopes(connection.grant.scopes)),
        )
        if profile.records or profile.misfits:
            self.on_document(connection, provider.identity, profile)


def _outlived(held: Connection, pending: Pending) -> bool:
    """Say whether a grant is older than the connection, or than its member's leaving."""
    if held.status is Status.PARKED:
        return False
    return held.grant.issued_at > pending.grant.issued_at or pending.ref in held.former
