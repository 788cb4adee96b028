"""Learn whose account a grant is for, where the first record is the first to say so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from shared.core.model import AccountId, Connection, Status
from shared.errors import Busy, GrantDead, LostRace
from shared.log import alarm
from shared.ports import Clock, ConnectionStore

TRIES = 4
#: Whoever was faster is done by then.
PAUSE = timedelta(seconds=1)


def confirm(
    connections: ConnectionStore,
    connection: Connection,
    accounts: Iterable[AccountId],
    clock: Clock,
    *,
    listed: bool = True,
) -> Connection:
    """Hold ``connection`` against the ``accounts`` that its records name; return it as it then is.

    Where they were not ``listed`` but asked for by id, a known account stands: a single record of
    another one proves nothing.  Otherwise parks it and raises ``GrantDead`` when the records are
    another account's than the one that it was made for, or when their account is somebody else's.
    Raises ``Busy`` when the row or the claim changes too often to write to, or when the row was
    connected anew since ``connection`` was read.
    """
    named = set(accounts)
    known = connection.account is not None
    if not named or connection.account in named or (known and not listed):
        # A stray record among one's own is for the raw layer to refuse.
        return connection
    if known:
        return _note(connections, connection, clock, parked="different_account")
    account = min(named)
    provider, user = connection.provider, connection.user
    try:
        owner = connections.claim_account(provider, account, user, now=clock())
    except LostRace as error:
        # Not about a head: a run that took it for a lost one would drop its message.
        raise Busy(clock() + PAUSE) from error
    if owner != user:
        return _note(connections, connection, clock, parked="account_in_use")
    return _note(connections, connection, clock, account=account)


def _note(
    connections: ConnectionStore,
    connection: Connection,
    clock: Clock,
    *,
    account: AccountId | None = None,
    parked: str | None = None,
) -> Connection:
    for _ in range(TRIES):
        stored = connections.by_ref(connection.ref)
        if stored is None:
            raise GrantDead("the connection is gone")
        if stored.value.grant.id != connection.grant.id:
            # What an old grant brought says nothing about a new one.
            break
        if parked is not None:
            known = replace(stored.value, status=Status.PARKED, reason=parked)
        elif stored.value.account == account:
            return stored.value
        else:
            known = replace(stored.value, account=account)
        try:
            connections.put(known, stored.etag)
        except LostRace:
            continue
        if parked is None:
            return known
        alarm("connection.parked", ref=known.ref, provider=known.provider, reason=parked)
        raise GrantDead("these records are another account's")
    raise Busy(clock() + PAUSE)
