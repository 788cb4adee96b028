from __future__ import annotations

from datetime import timedelta

import pytest

from shared.core.depart import FORMER, depart, placeholder
from shared.core.model import Claim, Connection, Ref, SealedGrant, Status
from tests.builders import ACCOUNT, NOW, PROVIDER, REF, USER, a_connection

LEFT = NOW + timedelta(days=1)
GONE = (Status.DISCONNECTED, Status.ERASING)


@pytest.mark.parametrize("status", GONE)
def test_who_leaves_keeps_the_account_and_nothing_that_works(status: Status) -> None:
    held = a_connection(
        status=Status.PARKED, reason="reauth_required", claim=Claim("c", NOW), former=(Ref("f"),)
    )

    left = depart(held, status, departure=Ref("d"), ref=Ref("new"), at=LEFT)  # type: ignore[arg-type]

    assert left == Connection(
        user=USER,
        provider=PROVIDER,
        ref=Ref("new"),
        status=status,
        grant=SealedGrant.spent(Ref("d"), LEFT),
        account=ACCOUNT,
        connected_at=NOW,
        former=(Ref("f"), REF),
    )


def test_only_the_newest_refs_are_remembered() -> None:
    held = a_connection(former=tuple(Ref(f"f{n}") for n in range(FORMER)))

    left = depart(held, Status.ERASING, departure=Ref("d"), ref=Ref("new"), at=LEFT)

    assert len(left.former) == FORMER
    assert left.former[-2:] == (Ref(f"f{FORMER - 1}"), REF)


@pytest.mark.parametrize("status", GONE)
def test_who_has_no_connection_can_leave_as_well(status: Status) -> None:
    left = placeholder(USER, PROVIDER, status, departure=Ref("d"), ref=Ref("new"), at=LEFT)  # type: ignore[arg-type]

    assert (left.status, left.account, left.former) == (status, None, ())
    assert left.departed
    assert left.departure == "d"


def test_a_spent_grant_has_nothing_to_open_and_is_as_old_as_the_departure() -> None:
    spent = SealedGrant.spent(Ref("d"), LEFT)

    assert (spent.id, spent.access.text, spent.refresh.text) == ("d", "", "")
    assert (spent.issued_at, spent.expires_at, spent.scopes) == (LEFT, LEFT, frozenset())


@pytest.mark.parametrize("status", Status)
def test_a_connection_knows_whether_it_was_left(status: Status) -> None:
    assert a_connection(status=status).departed == (status in GONE)
