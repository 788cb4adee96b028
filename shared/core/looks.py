"""Decide what a provider's word is worth: whether to ask, and what to believe of the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.core.keys import fingerprint
from shared.core.model import ACTIVE, Head, Look, LookJob, Record, RecordId, ResourceName

#: A provider that says one thing and answers another may need so long to agree with itself.
SECOND_LOOK = timedelta(seconds=60)
#: What a provider's clock and ours may differ by.
CLOCKS = timedelta(milliseconds=250)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer is believed, and whether to look once more."""

    believed: bool
    again: bool


def covered(look: Look | None, job: LookJob) -> bool:
    """Say whether ``look``, which is somebody else's, answers what ``job`` wants to know.

    Its request leaves after ``look.at``, and its message is as lasting as ours.  So is whatever
    follows from it: see ``_another``.
    """
    return look is not None and look.key != job.key and look.at >= job.at + CLOCKS


def verdict(job: LookJob, *, there: bool, held: bool, walking: bool) -> Verdict:
    """Decide what to make of an answer that says whether the record is ``there``.

    ``held`` is whether we hold it and ``walking`` whether a run is reading, whose next page may
    bring a record that was deleted after the page was asked for.
    """
    first = job.looks == 0
    if there:
        return Verdict(believed=True, again=first and job.gone)
    if held:
        believed = job.gone or not first
        return Verdict(believed=believed, again=not believed)
    return Verdict(believed=True, again=first and walking)


def walking(head: Head) -> bool:
    """Say whether a run is reading."""
    return head.progress in ACTIVE and head.window is not None


def second(job: LookJob, now: datetime) -> LookJob:
    """Return the job that looks once more; nothing that is asked for before then will do."""
    return replace(
        _another(job, job.resource, job.record, "again", at=now + SECOND_LOOK),
        alias=job.alias,
        gone=job.gone,
        looks=job.looks + 1,
    )


def said(job: LookJob) -> datetime:
    """Return when the provider said at the latest what ``job`` looks at."""
    return job.at - SECOND_LOOK * job.looks


def kin(job: LookJob, look: Look, records: Iterable[Record]) -> list[LookJob]:
    """Return jobs for what changes along with ``records``, which ``look`` has brought."""
    return [
        _another(job, resource, name, "kin", at=look.at - CLOCKS)
        for record in records
        for resource, name in record.kin
    ]


def elsewhere(job: LookJob, look: Look, resource: ResourceName) -> LookJob:
    """Return a job for the record of ``resource`` that ``job``'s second name is the id of."""
    return _another(job, resource, job.record, "elsewhere", at=look.at - CLOCKS)


def _another(
    job: LookJob, resource: ResourceName, record: RecordId, why: str, *, at: datetime
) -> LookJob:
    """Return a job under a key that is the same whenever ``job`` is repeated.

    It stands for all that ``job``'s look was enough for, and not only for what ``job`` itself was
    told: hence it is as young as the youngest of that.
    """
    return LookJob(
        ref=job.ref,
        resource=resource,
        record=record,
        alias=False,
        gone=False,
        at=at,
        key=fingerprint(f"{job.key} {why} {resource} {record}"),
    )
