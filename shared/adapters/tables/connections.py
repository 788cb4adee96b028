"""Connections in Azure Tables.

    Connections   user        | provider                    the connection, its tokens sealed
                  user        | provider|pending|grant      a grant that is not yet a connection
    Refs          ref         | ref                         whose connection it is, how far each
                                                            resource is held, when the provider
                                                            last told of a change
    Accounts      provider|account | account                whose account it is

Connection and tokens are one row, so that parking, renewing and reconnecting are one
compare-and-set each, and a job reads both at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError
from azure.data.tables import TableClient, UpdateMode

from shared.adapters.tables import Tables, delete, read, storage_errors, write
from shared.core.keys import escape, instant
from shared.core.model import (
    AccountId,
    Claim,
    Connection,
    GrantId,
    Listed,
    Pending,
    ProviderName,
    Ref,
    ResourceName,
    Sealed,
    SealedGrant,
    Status,
    UserId,
)
from shared.core.times import parse, parse_optional
from shared.errors import LostRace, StorageDown
from shared.ports import CLAIM_LIFE, Etag, Stored, Tally

CONNECTIONS, REFS, ACCOUNTS = "Connections", "Refs", "Accounts"
TRIES = 4
#: What the columns are called that say how far a resource is held.
HELD = "held_"


class TableConnections:
    """Implements ``ConnectionStore``."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, user: UserId, provider: ProviderName) -> Stored[Connection] | None:
        """Return a member's connection."""
        row = read(self._tables.open(CONNECTIONS), escape(user), escape(provider))
        return None if row is None else Stored(_connection(row), Etag(row["etag"]))

    def by_ref(self, ref: Ref) -> Stored[Connection] | None:
        """Return the connection that ``ref`` stands for."""
        owner = self._owner(ref)
        stored = None if owner is None else self.find(*owner)
        return stored if stored is not None and stored.value.ref == ref else None

    def by_account(self, provider: ProviderName, account: AccountId) -> Stored[Connection] | None:
        """Return the connection of whoever has claimed ``account``, if they ever got so far."""
        claimed = read(self._tables.open(ACCOUNTS), _account(provider, account), "account")
        stored = None if claimed is None else self.find(UserId(claimed["user"]), provider)
        return stored if stored is not None and stored.value.account == account else None

    def put(self, connection: Connection, etag: Etag | None) -> Etag:
        """Write a connection, the ref that leads to it first."""
        if etag is None and not connection.departed:
            self._put_ref(connection.ref, connection.user, connection.provider)
        row = {
            "PartitionKey": escape(connection.user),
            "RowKey": escape(connection.provider),
            "user": connection.user,
            "provider": connection.provider,
            "ref": connection.ref,
            "status": connection.status.value,
            "account": connection.account,
            "connected_at": instant(connection.connected_at),
            "reason": connection.reason,
            "claim": connection.claim.id if connection.claim else None,
            "claimed_until": instant(connection.claim.until) if connection.claim else None,
            "former": " ".join(connection.former),
            **grant_columns(connection.grant),
        }
        return write(self._tables.open(CONNECTIONS), row, etag)

    def drop(self, connection: Connection, etag: Etag) -> None:
        """Delete a connection, unless it was changed."""
        with storage_errors():
            self._tables.open(CONNECTIONS).delete_entity(
                escape(connection.user),
                escape(connection.provider),
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
            )

    def drop_ref(self, ref: Ref) -> None:
        """Delete a ref."""
        with storage_errors():
            self._tables.open(REFS).delete_entity(ref, "ref")

    def touch(self, ref: Ref, resource: ResourceName, held_end: datetime) -> None:
        """Merge one column into the ref's row.

        Without an ETag: the resources of a connection finish side by side, each with a column
        of its own.  An update and no upsert: a ref that is gone must not come back.
        """
        row = {"PartitionKey": ref, "RowKey": "ref", f"{HELD}{resource}": instant(held_end)}
        with suppress(LostRace), storage_errors():
            self._tables.open(REFS).update_entity(row, mode=UpdateMode.MERGE)

    def heard(self, ref: Ref, at: datetime) -> None:
        """Merge a column into the ref's row, as ``touch`` does."""
        row = {"PartitionKey": ref, "RowKey": "ref", "heard_at": instant(at)}
        with suppress(LostRace), storage_errors():
            self._tables.open(REFS).update_entity(row, mode=UpdateMode.MERGE)

    def listed(self, ref: Ref) -> Listed | None:
        """Return a connection as a list has it."""
        row = read(self._tables.open(REFS), escape(ref), "ref")
        return None if row is None else _listed(row)

    def everyone(self, after: Ref | None = None) -> Iterator[Listed]:
        """List the refs: the service answers with up to 1,000 at a time, in order.

        Every column, because only the providers know which resources there are; the rows are
        short.
        """
        with storage_errors():
            rows = self._tables.open(REFS).query_entities(
                "PartitionKey gt @after", parameters={"after": after or ""}
            )
            for row in rows:
                yield _listed(row)

    def put_pending(self, pending: Pending) -> None:
        """Keep a grant, the ref that leads to it first."""
        self._put_ref(pending.ref, pending.user, pending.provider)
        row = {
            "PartitionKey": escape(pending.user),
            "RowKey": _pending_row(pending.provider, pending.grant.id),
            "ref": pending.ref,
            "state": pending.state,
            **grant_columns(pending.grant),
        }
        with storage_errors():
            self._tables.open(CONNECTIONS).upsert_entity(row)

    def pending(self, ref: Ref, grant: GrantId) -> Pending | None:
        """Return a grant that waits."""
        owner = self._owner(ref)
        if owner is None:
            return None
        user, provider = owner
        row = read(self._tables.open(CONNECTIONS), escape(user), _pending_row(provider, grant))
        return None if row is None else _read_pending(user, provider, row)

    def waiting(self, user: UserId, provider: ProviderName) -> Sequence[Pending]:
        """Return the grants that wait."""
        with storage_errors():
            return [
                _read_pending(user, provider, row) for row in self._pending_rows(user, provider)
            ]

    def any_pending(self, user: UserId, provider: ProviderName) -> bool:
        """Say whether a grant of this member waits."""
        with storage_errors():
            rows = self._pending_rows(user, provider, select=["RowKey"], results_per_page=1)
            return next(iter(rows), None) is not None

    def drop_pending(self, pending: Pending) -> None:
        """Forget a grant, and its ref unless a connection has it."""
        with storage_errors():
            self._tables.open(CONNECTIONS).delete_entity(
                escape(pending.user), _pending_row(pending.provider, pending.grant.id)
            )
        stored = self.find(pending.user, pending.provider)
        if stored is None or stored.value.ref != pending.ref:
            self.drop_ref(pending.ref)

    def claim_account(
        self, provider: ProviderName, account: AccountId, user: UserId, *, now: datetime
    ) -> UserId:
        """Claim by creating a row, which only one member can; return whose it is."""
        table = self._tables.open(ACCOUNTS)
        row = {
            "PartitionKey": _account(provider, account),
            "RowKey": "account",
            "user": user,
            "claimed_at": instant(now),
        }
        for _ in range(TRIES):
            claimed = read(table, row["PartitionKey"], row["RowKey"])
            if claimed is not None:
                # One's own claim is made again until a connection holds it, lest it grows old
                # while somebody waits to take it over.
                owner = UserId(claimed["user"])
                if self._held(owner, provider, account):
                    return owner
                if owner != user and now <= parse(claimed["claimed_at"]) + CLAIM_LIFE:
                    return owner
            try:
                write(table, row, None if claimed is None else Etag(claimed["etag"]))
            except LostRace:
                continue
            return user
        raise LostRace("the claim on this account changes too often")

    def owner(self, provider: ProviderName, account: AccountId) -> UserId | None:
        """Return who claims an account."""
        row = read(self._tables.open(ACCOUNTS), _account(provider, account), "account")
        return None if row is None else UserId(row["user"])

    def mentioned(self, user: UserId, provider: ProviderName) -> bool:
        """Look for a ref or a claim."""
        with storage_errors():
            return any(
                next(iter(rows), None) is not None for _, rows in self._mentions(user, provider)
            )

    def erase(self, user: UserId, provider: ProviderName) -> Tally:
        """Delete everything but the connection."""
        waiting = self._pending_rows(user, provider, select=["PartitionKey", "RowKey"])
        with storage_errors():
            (refs, those), (accounts, claims) = self._mentions(user, provider)
            return {
                "grants": _delete(self._tables.open(CONNECTIONS), waiting),
                "refs": _delete(refs, those),
                "accounts": _delete(accounts, claims),
            }

    def reachable(self) -> bool:
        """Ask for a row that does not exist."""
        try:
            self._tables.knock(REFS)
        except LostRace:
            return True  # an answer, if from an account that has no tables yet
        except (AzureError, StorageDown):
            return False
        return True

    def _held(self, owner: UserId, provider: ProviderName, account: AccountId) -> bool:
        stored = self.find(owner, provider)
        return stored is not None and stored.value.account == account

    def _owner(self, ref: Ref) -> tuple[UserId, ProviderName] | None:
        row = read(self._tables.open(REFS), escape(ref), "ref")
        return None if row is None else (UserId(row["user"]), ProviderName(row["provider"]))

    def _mentions(
        self, user: UserId, provider: ProviderName
    ) -> Sequence[tuple[TableClient, Iterable[Mapping[str, Any]]]]:
        """Return the tables whose rows name a member, and those rows.

        Each is looked through as a whole, a row a member: an attempt to connect that came to
        grief may have left some that nothing else leads to.
        """
        columns, prefix = ["PartitionKey", "RowKey"], escape(provider)
        refs, accounts = self._tables.open(REFS), self._tables.open(ACCOUNTS)
        return (
            (
                refs,
                refs.query_entities(
                    "user eq @user and provider eq @provider",
                    parameters={"user": user, "provider": provider},
                    select=columns,
                ),
            ),
            (
                accounts,
                accounts.query_entities(
                    "PartitionKey ge @low and PartitionKey lt @high and user eq @user",
                    parameters={"low": f"{prefix}|", "high": f"{prefix}}}", "user": user},
                    select=columns,
                ),
            ),
        )

    def _pending_rows(
        self, user: UserId, provider: ProviderName, **options: Any
    ) -> Iterable[Mapping[str, Any]]:
        low = _pending_row(provider, GrantId(""))
        rows: Iterable[Mapping[str, Any]] = self._tables.open(CONNECTIONS).query_entities(
            "PartitionKey eq @user and RowKey ge @low and RowKey lt @high",
            parameters={"user": escape(user), "low": low, "high": low + "~"},
            **options,
        )
        return rows

    def _put_ref(self, ref: Ref, user: UserId, provider: ProviderName) -> None:
        row = {"PartitionKey": ref, "RowKey": "ref", "user": user, "provider": provider}
        with storage_errors():
            # Merged: what the row says of the resources stays.
            self._tables.open(REFS).upsert_entity(row, mode=UpdateMode.MERGE)


def _account(provider: ProviderName, account: AccountId) -> str:
    return f"{escape(provider)}|{escape(account)}"


def _read_pending(user: UserId, provider: ProviderName, row: Mapping[str, Any]) -> Pending:
    return Pending(user, provider, Ref(row["ref"]), read_grant(row), row.get("state", ""))


def _pending_row(provider: ProviderName, grant: GrantId) -> str:
    return f"{escape(provider)}|pending|{grant}"


def _delete(table: TableClient, rows: Iterable[Mapping[str, Any]]) -> int:
    return delete(table, [(row["PartitionKey"], row["RowKey"]) for row in rows])


def _listed(row: Mapping[str, Any]) -> Listed:
    held = [parse(value) for name, value in row.items() if name.startswith(HELD)]
    return Listed(
        Ref(row["PartitionKey"]),
        ProviderName(row["provider"]),
        min(held, default=None),
        parse_optional(row.get("heard_at")),
    )


def grant_columns(grant: SealedGrant) -> dict[str, str]:
    """Return the columns that hold a grant."""
    return {
        "grant": grant.id,
        "access": grant.access.text,
        "refresh": grant.refresh.text,
        "issued_at": instant(grant.issued_at),
        "expires_at": instant(grant.expires_at),
        "scopes": " ".join(sorted(grant.scopes)),
    }


def read_grant(row: Mapping[str, Any]) -> SealedGrant:
    """Read a grant from its columns."""
    return SealedGrant(
        id=GrantId(row["grant"]),
        access=Sealed(row["access"]),
        refresh=Sealed(row["refresh"]),
        issued_at=parse(row["issued_at"]),
        expires_at=parse(row["expires_at"]),
        scopes=frozenset(row["scopes"].split()),
    )


def _connection(row: Mapping[str, Any]) -> Connection:
    claim = row.get("claim")
    account = row.get("account")
    return Connection(
        user=UserId(row["user"]),
        provider=ProviderName(row["provider"]),
        ref=Ref(row["ref"]),
        status=Status(row["status"]),
        grant=read_grant(row),
        account=None if account is None else AccountId(account),
        connected_at=parse(row["connected_at"]),
        reason=row.get("reason"),
        claim=None if claim is None else Claim(claim, parse(row["claimed_until"])),
        former=tuple(Ref(ref) for ref in row.get("former", "").split()),
    )
