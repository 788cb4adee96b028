"""Tickets and states in Azure Tables."""

from __future__ import annotations

from datetime import datetime

from shared.adapters.tables import Tables, delete, read, storage_errors, sweep, write
from shared.core.keys import instant
from shared.core.model import ProviderName, UserId
from shared.core.times import parse
from shared.errors import LostRace
from shared.ports import Etag, OneTime, Stored

TABLE = "OneTime"


class TableOneTime:
    """Implements ``OneTimeStore``: partition = kind, row = fingerprint."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def keep(self, kind: str, fingerprint: str, once: OneTime) -> None:
        """Keep a new one."""
        write(self._tables.open(TABLE), self._row(kind, fingerprint, once, used=False), None)

    def find(self, kind: str, fingerprint: str) -> Stored[OneTime] | None:
        """Return one that was not used up."""
        row = read(self._tables.open(TABLE), kind, fingerprint)
        if row is None or row["used"]:
            return None
        once = OneTime(
            user=UserId(row["user"]),
            provider=ProviderName(row["provider"]),
            browser=row["browser"],
            expires_at=parse(row["expires_at"]),
        )
        return Stored(once, Etag(row["etag"]))

    def use_up(self, kind: str, fingerprint: str, etag: Etag) -> None:
        """Mark it used, which only one caller can.

        Never ``delete_entity``: the SDK reports success for a row that is already gone.
        """
        stored = self.find(kind, fingerprint)
        if stored is None or stored.etag != etag:
            raise LostRace("it was used before")
        row = self._row(kind, fingerprint, stored.value, used=True)
        write(self._tables.open(TABLE), row, etag)

    def kept(self, kind: str, fingerprint: str) -> bool:
        """Look for the row."""
        return read(self._tables.open(TABLE), kind, fingerprint) is not None

    def drop_expired(self, before: datetime, *, most: int) -> int:
        """Delete what has expired: nobody can race for that any more."""
        return sweep(self._tables.open(TABLE), "expires_at lt @before", before, most=most)

    def erase(self, user: UserId, provider: ProviderName) -> int:
        """Look through the whole table: it holds the links of the last hours."""
        table = self._tables.open(TABLE)
        with storage_errors():
            rows = table.query_entities(
                "user eq @user and provider eq @provider",
                parameters={"user": user, "provider": provider},
                select=["PartitionKey", "RowKey"],
            )
            return delete(table, [(row["PartitionKey"], row["RowKey"]) for row in rows])

    @staticmethod
    def _row(kind: str, fingerprint: str, once: OneTime, *, used: bool) -> dict[str, str | bool]:
        return {
            "PartitionKey": kind,
            "RowKey": fingerprint,
            "user": once.user,
            "provider": once.provider,
            "browser": once.browser,
            "expires_at": instant(once.expires_at),
            "used": used,
        }
