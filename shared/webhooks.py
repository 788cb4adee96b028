"""Take in what providers tell us: verify, find whose it is, put it on the queue, say thanks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.core.model import AccountId, Ignored, LookJob, Notice, ProviderName, Ref, Status
from shared.errors import Forged, TooLarge, Unsigned
from shared.log import alarm, event
from shared.ports import Clock, ConnectionStore, JobQueue
from shared.provider import Provider

#: Bytes; what providers tell has a few hundred.
LARGEST = 64 * 1024
#: How long we remember which connection an account has.  The events of one night come within
#: seconds; whoever disconnects and connects again takes longer, and has another ref.
REMEMBERED = timedelta(seconds=5)
#: Accounts that are remembered at once.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Receives webhooks.  Asks no provider, and does no work but to ask for it."""

    connections: ConnectionStore
    queue: JobQueue
    clock: Clock
    _refs: dict[tuple[ProviderName, AccountId], tuple[Ref, datetime]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, provider: Provider, headers: Mapping[str, str], body: bytes) -> None:
        """Take in what ``provider`` has sent; when this returns, it cannot get lost any more.

        Raises ``TooLarge`` and ``Unsigned``.  What is the provider's and not for us is counted
        and accepted: it would only be sent again.
        """
        if len(body) > LARGEST:
            alarm("webhook.too_large", provider=provider.name)
            raise TooLarge("Send less at once.")
        lowercase = {name.lower(): value for name, value in headers.items()}
        try:
            said = provider.hear(lowercase, body, self.clock())
        except Forged as error:
            alarm("webhook.forged", provider=provider.name, reason=str(error))
            raise Unsigned("Sign it with the app's secret, and send it at once.") from error
        if isinstance(said, Ignored):
            event("webhook.ignored", provider=provider.name, reason=said.reason)
            return
        ref = self._ref(provider.name, said.account)
        if ref is None:
            event("webhook.unknown_account", provider=provider.name)
            return
        # Before the answer: whoever is told that it has arrived does not send it again.
        self.queue.defer(_job(ref, said), said.wait)
        event("webhook.taken", provider=provider.name, ref=ref, resource=said.resource)

    def _ref(self, provider: ProviderName, account: AccountId) -> Ref | None:
        """Return the ref of the account's connection, or None where there is none to use.

        One that is seconds out of date does no harm: a ref that is gone leads nowhere, and a
        connection that has ended since is not looked at.
        """
        now = self.clock()
        with self._lock:
            known, until = self._refs.get((provider, account), (None, now))
        if known is not None and now < until:
            return known
        stored = self.connections.by_account(provider, account)
        if stored is None or stored.value.status is not Status.CONNECTED:
            # Not remembered: they may be about to connect.
            return None
        with self._lock:
            if len(self._refs) >= MOST:
                self._refs.clear()
            self._refs[provider, account] = (stored.value.ref, now + REMEMBERED)
        return stored.value.ref


def _job(ref: Ref, said: Notice) -> LookJob:
    return LookJob(
        ref=ref,
        resource=said.resource,
        record=said.record,
        alias=said.alias,
        gone=said.gone,
        at=said.at,
        key=said.key,
    )
