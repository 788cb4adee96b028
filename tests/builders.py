"""Short ways to say what a test is about."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.core.model import (
    AccountId,
    ChunkJob,
    Connection,
    Cursor,
    GrantId,
    Head,
    Lane,
    Page,
    Place,
    Progress,
    ProviderName,
    Record,
    RecordId,
    Ref,
    ResourceName,
    RunId,
    Sealed,
    SealedGrant,
    Span,
    Status,
    UserId,
)

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
USER = UserId("ana")
PROVIDER = ProviderName("acme")
RESOURCE = ResourceName("sleep")
PLACE = Place(PROVIDER, USER, RESOURCE)
ACCOUNT = AccountId("10129")
REF = Ref("ref-1")
RUN = RunId("run-1")
JOB = ChunkJob(REF, RESOURCE, RUN, Lane.MANUAL)

SCOPES = frozenset({"read:sleep", "read:profile", "offline"})


def day(text: str) -> datetime:
    """Return ``MM-DD`` of 2026 in UTC; ``YYYY-MM-DD`` of any year."""
    return datetime.fromisoformat(text if len(text) > 5 else f"2026-{text}").replace(tzinfo=UTC)


def span(start: str, end: str) -> Span:
    """Return the span between two days."""
    return Span(day(start), day(end))


def a_record(
    name: str = "r1",
    *,
    start: str | datetime = "03-01",
    updated: str | datetime = "03-02",
    content: object = 1,
    account: AccountId | None = ACCOUNT,
    alias: str | None = None,
) -> Record:
    """Return a record; ``content`` is all that its body says beside its name."""
    began = day(start) if isinstance(start, str) else start
    body = json.dumps({"id": name, "content": content})
    return Record(
        id=RecordId(name),
        updated_at=day(updated) if isinstance(updated, str) else updated,
        start=began,
        day=began.date(),
        account=account,
        alias=None if alias is None else RecordId(alias),
        body=body,
        digest=hashlib.sha256(body.encode()).hexdigest(),
    )


def a_document(content: object = 1, account: AccountId | None = ACCOUNT) -> Page:
    """Return a page with one undated document."""
    record = a_record("profile", content=content, account=account)
    return Page((replace(record, updated_at=None, start=None, day=None),))


def a_page(records: Sequence[Record], cursor: str | None = None) -> Page:
    """Return a page of ``records``."""
    return Page(tuple(records), (), Cursor(cursor) if cursor else None)


def a_head(**changes: object) -> Head:
    """Return the head of a run that has just begun to read March 2026."""
    goal = span("03-01", "03-31")
    begun = Head(
        progress=Progress.RUNNING, run=RUN, lane=Lane.MANUAL, goal=goal, window=goal, until=goal.end
    )
    return replace(begun, **changes)  # type: ignore[arg-type]  # the tests name real fields


def a_connection(**changes: object) -> Connection:
    """Return a working connection whose tokens last another hour."""
    made = Connection(
        user=USER,
        provider=PROVIDER,
        ref=REF,
        status=Status.CONNECTED,
        grant=SealedGrant(
            id=GrantId("grant-1"),
            access=Sealed("access"),
            refresh=Sealed("refresh"),
            issued_at=NOW - timedelta(hours=1),
            expires_at=NOW + timedelta(hours=1),
            scopes=SCOPES,
        ),
        account=ACCOUNT,
        connected_at=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the tests name real fields


def names() -> Iterator[str]:
    """Yield names that were not used before."""
    return (f"name-{number}" for number in itertools.count())
