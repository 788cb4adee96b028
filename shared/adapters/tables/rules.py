"""Which rule each table keeps, so that erasing a member leaves nothing about them behind.

A table without a rule is one that somebody has forgotten to erase.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shared.adapters.tables import (
    budgets,
    connections,
    departures,
    events,
    once,
    poison,
    records,
    slots,
)


class Rule(StrEnum):
    """Why nothing of a member outlives their erasure here."""

    #: Rows are found by the member that they name, and erased.
    BY_MEMBER = "by member"
    #: Rows name nobody but a ref.  They are erased with the connection that had it.
    BY_REF = "by ref"
    #: Rows are sealed, and gone within a day of the departure that they are for.
    A_DAY = "a day"
    #: Rows are about nobody.
    NOBODY = "nobody"


RULES: Final[Mapping[str, Rule]] = {
    records.RECORDS: Rule.BY_MEMBER,
    records.QUARANTINE: Rule.BY_MEMBER,
    connections.CONNECTIONS: Rule.BY_MEMBER,
    connections.REFS: Rule.BY_MEMBER,
    connections.ACCOUNTS: Rule.BY_MEMBER,
    once.TABLE: Rule.BY_MEMBER,
    poison.POISON: Rule.BY_REF,
    events.TABLE: Rule.BY_REF,
    departures.DEPARTURES: Rule.A_DAY,
    departures.RECEIPTS: Rule.NOBODY,
    poison.FAILURES: Rule.NOBODY,
    budgets.TABLE: Rule.NOBODY,
    slots.TABLE: Rule.NOBODY,
}
