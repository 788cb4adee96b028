"""The raw layer in Azure Tables: a public contract, described in the README.

RawRecords   provider|user|resource | !                          the head
                                    | v|id|updated_at|n          a version
                                    | s|seq                      the feed
                                    | k|alias                    a record's second name
Quarantine   provider|user|resource | digest|part                what could not be stored
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from azure.core import MatchConditions
from azure.data.tables import UpdateMode

from shared.adapters.tables import Tables, delete, read, storage_errors, write
from shared.core import keys
from shared.core.feed import Landed, Number
from shared.core.model import (
    Cursor,
    Deletion,
    Head,
    Known,
    Lane,
    Misfit,
    Place,
    Progress,
    ProviderName,
    Recent,
    Record,
    RecordId,
    RunId,
    UserId,
    Version,
)
from shared.core.settle import Transaction
from shared.core.sizes import columns, join
from shared.core.times import (
    instant_optional,
    parse,
    parse_optional,
    parse_span,
    span_columns,
)
from shared.ports import Etag, Stored, Tally

RECORDS, QUARANTINE = "RawRecords", "Quarantine"
#: Bytes in one column of a quarantine row, and columns in one row; Azure takes 64 KiB and 1 MiB,
#: and the emulator counts the base64 that carries them.
CHUNK, CHUNKS = 60_000, 12


class TableRecords:
    """Implements ``RecordStore``."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def head(self, place: Place) -> Stored[Head]:
        """Return the head."""
        row = read(self._tables.open(RECORDS), keys.partition(place), keys.HEAD)
        return Stored(Head(), None) if row is None else Stored(_head(row), Etag(row["etag"]))

    def put_head(self, place: Place, head: Head, etag: Etag | None) -> Etag:
        """Write the head alone."""
        return write(self._tables.open(RECORDS), _head_row(place, head), etag)

    def known(
        self, place: Place, records: Sequence[RecordId]
    ) -> Mapping[RecordId, Sequence[Known]]:
        """Read the keys and hashes between the first and the last of ``records`` in one range.

        Not one condition per record: a filter with ``or`` makes the service scan the partition
        once for each answer page, and a range from the lowest to the highest key never reads
        more than that.
        https://learn.microsoft.com/azure/storage/tables/table-storage-design-for-query
        """
        if not records:
            return {}
        prefixes = {keys.versions_of(record): record for record in records}
        found: dict[RecordId, list[Known]] = {record: [] for record in records}
        with storage_errors():
            rows = self._tables.open(RECORDS).query_entities(
                "PartitionKey eq @partition and RowKey ge @low and RowKey lt @high",
                parameters={
                    "partition": keys.partition(place),
                    "low": min(prefixes),
                    "high": max(prefixes) + "~",
                },
                select=["RowKey", "hash", "deleted"],
            )
            for row in rows:
                prefix, stamp, n = _parts(row["RowKey"])
                if prefix in prefixes:
                    deleted = parse_optional(row.get("deleted"))
                    state = Known(parse(stamp), int(n), row.get("hash") or "", deleted)
                    found[prefixes[prefix]].append(state)
        return {record: states for record, states in found.items() if states}

    def alias(self, place: Place, name: RecordId) -> RecordId | None:
        """Return the id of the record whose second name this is."""
        row = read(self._tables.open(RECORDS), keys.partition(place), keys.alias_row(name))
        return None if row is None else RecordId(row["id"])

    def commit(self, place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        """Write versions, feed, second names and head as one entity-group transaction."""
        if not transaction.versions:
            return self.put_head(place, transaction.head, etag)
        head = _head_row(place, transaction.head)
        operations: list[Any] = [
            ("create", head)
            if etag is None
            else (
                "update",
                head,
                {
                    "mode": UpdateMode.REPLACE,
                    "etag": etag,
                    "match_condition": MatchConditions.IfNotModified,
                },
            )
        ]
        # The head's ETag stands for the whole partition, so that these cannot exist yet.  Only
        # a second name may: a record keeps it from version to version.
        operations += [("create", row) for row in _rows(place, transaction)]
        aliases = {
            content.alias: content.id
            for content in (version.content for version in transaction.versions)
            if isinstance(content, Record) and content.alias is not None
        }
        operations += [
            (
                "upsert",
                {
                    "PartitionKey": keys.partition(place),
                    "RowKey": keys.alias_row(alias),
                    "id": record,
                },
            )
            for alias, record in aliases.items()
        ]
        with storage_errors():
            answers = self._tables.open(RECORDS).submit_transaction(operations)
        return Etag(answers[0]["etag"])

    def numbers(self, place: Place, *, after: int, most: int) -> Sequence[Number]:
        """Read a range of the feed."""
        with storage_errors():
            rows = self._tables.open(RECORDS).query_entities(
                "PartitionKey eq @partition and RowKey gt @after and RowKey le @last",
                parameters={
                    "partition": keys.partition(place),
                    "after": keys.feed_row(after),
                    "last": keys.feed_row(after + most),
                },
                select=["RowKey", "version"],
            )
            return [
                Number(keys.parse_feed_row(row["RowKey"]), *keys.parse_version_row(row["version"]))
                for row in rows
            ]

    def read(self, place: Place, numbers: Sequence[Number]) -> Iterator[Landed]:
        """Read the range between the lowest and the highest key.

        Most ids are random, so that the versions of a page lie all over the partition.  The
        service goes through the range, and sends only what has one of the numbers: point reads
        would be a request each.
        """
        if not numbers:
            return
        wanted = {number.seq: number for number in numbers}
        rows = [keys.version_row(number.record, number.updated_at, number.n) for number in numbers]
        with storage_errors():
            found = self._tables.open(RECORDS).query_entities(
                "PartitionKey eq @partition and RowKey ge @low and RowKey le @high"
                " and seq ge @first and seq le @last",
                parameters={
                    "partition": keys.partition(place),
                    "low": min(rows),
                    "high": max(rows),
                    "first": min(wanted),
                    "last": max(wanted),
                },
            )
            for row in found:
                if row["seq"] in wanted:
                    yield _landed(wanted[row["seq"]], row)

    def quarantine(self, place: Place, misfits: Sequence[Misfit], *, now: datetime) -> None:
        """Keep each item whole, compressed, over as many rows as it takes."""
        table = self._tables.open(QUARANTINE)
        for misfit in misfits:
            digest = hashlib.sha256(misfit.body.encode("utf-8", "surrogatepass")).hexdigest()
            packed = gzip.compress(misfit.body.encode("utf-8", "surrogatepass"), mtime=0)
            size = CHUNK * CHUNKS
            for part, at in enumerate(range(0, len(packed), size)):
                piece = packed[at : at + size]
                row = {
                    "PartitionKey": keys.partition(place),
                    "RowKey": f"{digest}|{part:04}",
                    "reason": misfit.reason,
                    "length": len(misfit.body),
                    "seen_at": keys.instant(now),
                    **{
                        f"gzip_{number}": piece[start : start + CHUNK]
                        for number, start in enumerate(range(0, len(piece), CHUNK))
                    },
                }
                with storage_errors():
                    table.upsert_entity(row)

    def erase(self, user: UserId, provider: ProviderName, *, most: int) -> Tally:
        """Delete heads, then whatever else stands in the member's partitions of both tables.

        All of them, found by what their keys begin with: there may be some of resources that no
        provider has any more.
        """
        low, high = keys.partitions(user, provider)
        records = self._delete(RECORDS, low, high, most, f" and RowKey eq '{keys.HEAD}'")
        records += self._delete(RECORDS, low, high, most - records)
        quarantine = self._delete(QUARANTINE, low, high, most - records)
        return {"records": records, "quarantine": quarantine}

    def _delete(self, name: str, low: str, high: str, most: int, condition: str = "") -> int:
        table = self._tables.open(name)
        with storage_errors():
            rows = table.query_entities(
                f"PartitionKey ge @low and PartitionKey lt @high{condition}",
                parameters={"low": low, "high": high},
                select=["PartitionKey", "RowKey"],
            )
            found = [(row["PartitionKey"], row["RowKey"]) for row in islice(rows, max(0, most))]
        return delete(table, found)


def _rows(place: Place, transaction: Transaction) -> list[dict[str, Any]]:
    partition = keys.partition(place)
    rows: list[dict[str, Any]] = []
    for version in transaction.versions:
        row = keys.version_row(version.content.id, version.updated_at, version.n)
        rows += [
            {"PartitionKey": partition, "RowKey": row, **_version(version, transaction)},
            {"PartitionKey": partition, "RowKey": keys.feed_row(version.seq), "version": row},
        ]
    return rows


def _version(version: Version, transaction: Transaction) -> dict[str, Any]:
    content = version.content
    return {
        "id": content.id,
        "updated_at": keys.instant(version.updated_at),
        "n": version.n,
        "seq": version.seq,
        "first_seen": instant_optional(transaction.seen_at),
        "run": transaction.run,
        "lane": transaction.lane.value if transaction.lane else None,
        **(_body(content) if isinstance(content, Record) else _grave(content)),
    }


def _body(record: Record) -> dict[str, Any]:
    return {
        "hash": record.digest,
        "start": instant_optional(record.start),
        **columns("body", record.body),
    }


def _grave(deletion: Deletion) -> dict[str, Any]:
    return {"deleted": keys.instant(deletion.at), "evidence": deletion.evidence}


def _landed(number: Number, row: Mapping[str, Any]) -> Landed:
    deleted = parse_optional(row.get("deleted"))
    content = (
        join("body", row) if deleted is None else Deletion(number.record, deleted, row["evidence"])
    )
    return Landed(number, parse_optional(row.get("first_seen")), content)


def _parts(row_key: str) -> tuple[str, str, str]:
    prefix, stamp, n = row_key.rsplit("|", 2)
    return prefix + "|", stamp, n


def _head_row(place: Place, head: Head) -> dict[str, Any]:
    return {
        "PartitionKey": keys.partition(place),
        "RowKey": keys.HEAD,
        "progress": head.progress.value,
        "run": head.run,
        "lane": head.lane.value if head.lane else None,
        **span_columns("goal", head.goal),
        **span_columns("held", head.held),
        **span_columns("window", head.window),
        "until": instant_optional(head.until),
        "cursor": head.cursor,
        "used": " ".join(head.used),
        "reached": instant_optional(head.reached),
        "again": head.again,
        **span_columns("walked", head.walked),
        "walked_at": instant_optional(head.walked_at),
        **columns("recent", _recent_text(head.recent)),
        "checks": json.dumps(head.checks),
        "checked_at": instant_optional(head.checked_at),
        "generation": head.generation,
        "seq": head.seq,
        "announced": head.announced,
        "records": head.records,
        "versions": head.versions,
        "oldest": instant_optional(head.oldest),
        "newest": instant_optional(head.newest),
        "days": head.days,
        "reason": head.reason,
        "retry_at": instant_optional(head.retry_at),
        "writer": head.writer,
        "touched_at": instant_optional(head.touched_at),
    }


def _head(row: dict[str, Any]) -> Head:
    run, lane, cursor = row.get("run"), row.get("lane"), row.get("cursor")
    return Head(
        progress=Progress(row["progress"]),
        run=None if run is None else RunId(run),
        lane=None if lane is None else Lane(lane),
        goal=parse_span("goal", row),
        held=parse_span("held", row),
        window=parse_span("window", row),
        until=parse_optional(row.get("until")),
        cursor=None if cursor is None else Cursor(cursor),
        used=tuple(row["used"].split()),
        reached=parse_optional(row.get("reached")),
        again=row.get("again", False),
        walked=parse_span("walked", row),
        walked_at=parse_optional(row.get("walked_at")),
        # The columns that came later are missing in rows of before.
        recent=_recent(join("recent", row) if "recent" in row else "[]"),
        checks=tuple(RecordId(check) for check in json.loads(row.get("checks", "[]"))),
        checked_at=parse_optional(row.get("checked_at")),
        generation=row.get("generation"),
        seq=row["seq"],
        announced=row.get("announced", 0),
        records=row["records"],
        versions=row["versions"],
        oldest=parse_optional(row.get("oldest")),
        newest=parse_optional(row.get("newest")),
        days=row["days"],
        reason=row.get("reason"),
        retry_at=parse_optional(row.get("retry_at")),
        writer=row.get("writer"),
        touched_at=parse_optional(row.get("touched_at")),
    )


def _recent_text(recent: Sequence[Recent]) -> str:
    rows = [[one.id, keys.instant(one.start), one.settled, one.listed] for one in recent]
    return json.dumps(rows, separators=(",", ":"))


def _recent(text: str) -> tuple[Recent, ...]:
    return tuple(
        Recent(RecordId(record), parse(start), settled, listed)
        for record, start, settled, listed in json.loads(text)
    )
