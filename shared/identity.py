"""Learn whose account a grant is for, where the first record is the first to say so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from shared.core.model import AccountId, Connection, Status
from shared.errors import Busy, GrantDead, LostRace
from shared.log import alarm
from shared.ports import Clock, ConnectionStore

TRIES = 4


def identify(
    connections: ConnectionStore, connection: Connection, account: AccountId, clock: Clock
) -> Connection:
    """Note ``account`` on ``connection`` and return it as it then is.

    Raises ``GrantDead`` after parking the connection when the account is somebody else's;
    ``Busy`` when the row changes too often to write to.
    """
    owner = connections.claim_account(connection.provider, account, connection.user, now=clock())
    for _ in range(TRIES):
        stored = connections.by_ref(connection.ref)
        if stored is None:
            raise GrantDead("the connection is gone")
        if owner != connection.user:
            known = replace(stored.value, status=Status.PARKED, reason="account_in_use")
        elif stored.value.account == account:
            return stored.value
        else:
            known = replace(stored.value, account=account)
        try:
            connections.put(known, stored.etag)
        except LostRace:
            continue
        if known.status is Status.PARKED:
            alarm("connection.parked", ref=known.ref, reason="account_in_use")
            raise GrantDead("this account is somebody else's")
        return known
    raise Busy(clock() + timedelta(seconds=1))
