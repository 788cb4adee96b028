"""Decide what stands in a connection's place once its member has left."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal

from shared.core.model import (
    Connection,
    ProviderName,
    Ref,
    SealedGrant,
    Status,
    UserId,
)

Gone = Literal[Status.DISCONNECTED, Status.ERASING]

#: Refs that are remembered, so that what is kept by ref can be erased.  All of that but messages
#: which nobody could finish is gone within a day.
FORMER = 10


def depart(held: Connection, status: Gone, *, departure: Ref, ref: Ref, at: datetime) -> Connection:
    """Return ``held`` after its member has left: without tokens, and under a new ``ref``.

    Its account stays, and keeps other accounts away from the records.
    """
    return replace(
        held,
        ref=ref,
        status=status,
        grant=SealedGrant.spent(departure, at),
        reason=None,
        claim=None,
        former=(*held.former, held.ref)[-FORMER:],
    )


def placeholder(
    user: UserId,
    provider: ProviderName,
    status: Gone,
    *,
    departure: Ref,
    ref: Ref,
    at: datetime,
) -> Connection:
    """Return what stands for the departure of a member who has no connection.

    It is in the way of whoever is just making one.
    """
    return Connection(
        user=user,
        provider=provider,
        ref=ref,
        status=status,
        grant=SealedGrant.spent(departure, at),
        account=None,
        connected_at=at,
    )
