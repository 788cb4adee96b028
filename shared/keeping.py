"""Write what an answer says into the raw layer, with the progress that it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.core.keys import fingerprint
from shared.core.model import Connection, Deletion, Head, Lane, Page, Place
from shared.core.settle import settle
from shared.log import alarm, event
from shared.ports import Etag, RecordStore, Stored

#: A storage partition that moves to another server is back within seconds.
STORAGE_PAUSE = timedelta(seconds=10)
#: Lost races in a row against those who write a record beside a run: it waits for none of them.
RIVALS = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a page."""

    new: int
    unchanged: int
    misfits: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider answered, when it was asked, and what that says is gone."""

    page: Page
    asked: datetime
    gone: tuple[Deletion, ...] = ()
    #: Who asked, where it was not the run.
    beside: Lane | None = None


def keep(
    records: RecordStore,
    place: Place,
    stored: Stored[Head],
    after: Head,
    answer: Answer,
    *,
    connection: Connection,
    now: datetime,
) -> tuple[Head, Etag | None, Outcome]:
    """Write ``answer`` and the progress that it makes; return the head as it then is.

    Writes nothing where that changes nothing.  May raise ``LostRace``: then nothing that the head
    counts has changed.
    """
    # Where nothing was ever written there is nothing to compare with.
    names = [record.id for record in answer.page.records]
    names += [deletion.id for deletion in answer.gone]
    known = records.known(place, names) if names and stored.value.seq else {}
    generation = stored.value.generation or fingerprint(connection.ref)[:16]
    settled = settle(
        replace(stored.value, generation=generation),
        replace(after, generation=generation),
        answer.page,
        known,
        account=connection.account,
        now=now,
        asked=answer.asked,
        gone=answer.gone,
        beside=answer.beside,
    )
    # Misfits first: they are kept under their own digest, so that a crash before the
    # transaction keeps them once more under the same name.
    if settled.misfits:
        alarm("records.misfit", ref=connection.ref, resource=place.resource,
              reason=settled.misfits[0].reason, misfits=len(settled.misfits))  # fmt: skip
        records.quarantine(place, settled.misfits, now=now)
    if answer.page.unknown:
        event("records.unknown_fields", provider=place.provider, resource=place.resource,
              fields=[f"{name}: {count}" for name, count in answer.page.unknown])  # fmt: skip
    head, etag = stored.value, stored.etag
    for transaction in settled.transactions:
        if not transaction.versions and transaction.head == stored.value:
            continue
        etag = records.commit(place, transaction, etag)
        head = transaction.head
    new = sum(len(transaction.versions) for transaction in settled.transactions)
    return head, etag, Outcome(new, settled.unchanged, len(settled.misfits))
