from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.core import looks
from shared.core.looks import CLOCKS, SECOND_LOOK, Verdict
from shared.core.model import Head, Look, LookJob, Progress, RecordId, ResourceName
from tests.builders import NOW, REF, RESOURCE, a_head, a_record

JOB = LookJob(REF, RESOURCE, RecordId("s1"), alias=False, gone=False, at=NOW, key="k1")
LOOK = Look(NOW + timedelta(minutes=5), "k1")
MS = timedelta(milliseconds=1)
CYCLE = ResourceName("cycle")


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        pytest.param(None, False, id="nobody has looked"),
        pytest.param(Look(NOW + CLOCKS, "k2"), True, id="somebody has, since"),
        pytest.param(Look(NOW + timedelta(hours=1), "k2"), True, id="long since"),
        pytest.param(Look(NOW + CLOCKS - MS, "k2"), False, id="as far as clocks can tell"),
        pytest.param(Look(NOW - timedelta(hours=1), "k2"), False, id="before it was said"),
        pytest.param(Look(NOW + CLOCKS, "k1"), False, id="it was this one, which did not finish"),
    ],
)
def test_somebody_elses_look_will_do_if_it_came_later(look: Look | None, *, expected: bool) -> None:
    assert looks.covered(look, JOB) is expected


@pytest.mark.parametrize("walking", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_what_is_there_is_believed(*, held: bool, walking: bool) -> None:
    def verdict(job: LookJob) -> Verdict:
        return looks.verdict(job, there=True, held=held, walking=walking)

    assert verdict(JOB) == Verdict(believed=True, again=False)
    # Kept, but somebody is behind the times: the record or the word that it is gone.
    assert verdict(replace(JOB, gone=True)) == Verdict(believed=True, again=True)
    assert verdict(replace(JOB, gone=True, looks=1)) == Verdict(believed=True, again=False)


@pytest.mark.parametrize("walking", [False, True])
def test_what_is_held_and_not_there_is_gone_if_it_is_said_twice(*, walking: bool) -> None:
    def verdict(job: LookJob) -> Verdict:
        return looks.verdict(job, there=False, held=True, walking=walking)

    assert verdict(JOB) == Verdict(believed=False, again=True)
    assert verdict(replace(JOB, looks=1)) == Verdict(believed=True, again=False)
    assert verdict(replace(JOB, gone=True)) == Verdict(believed=True, again=False)


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_neither_held_nor_there_may_be_on_its_way_with_a_page(*, gone: bool) -> None:
    job = replace(JOB, gone=gone)

    def verdict(job: LookJob, *, walking: bool) -> Verdict:
        return looks.verdict(job, there=False, held=False, walking=walking)

    assert verdict(job, walking=False) == Verdict(believed=True, again=False)
    assert verdict(job, walking=True) == Verdict(believed=True, again=True)
    assert verdict(replace(job, looks=1), walking=True) == Verdict(believed=True, again=False)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (Head(), False),
        (a_head(), True),
        (a_head(progress=Progress.WAITING), True),
        (a_head(progress=Progress.FAILED), False),
        (a_head(window=None), False),
    ],
)
def test_who_reads(head: Head, *, expected: bool) -> None:
    assert looks.walking(head) is expected


def test_a_second_look_comes_later_and_needs_an_answer_of_its_own() -> None:
    job = replace(JOB, alias=True, gone=True, attempt=3, waits=2)

    second = looks.second(job, NOW)

    assert second == replace(job, at=NOW + SECOND_LOOK, key=second.key, looks=1, attempt=0, waits=0)
    assert second.key != job.key
    assert looks.second(job, NOW + MS).key == second.key
    assert not looks.covered(Look(NOW + SECOND_LOOK - MS, "k3"), second)


def test_what_changes_along_is_looked_at_as_well() -> None:
    kin = ((CYCLE, RecordId("7")), (ResourceName("recovery"), RecordId("7")))
    night, nap = replace(a_record("s1"), kin=kin), a_record("n1")

    jobs = looks.kin(replace(JOB, gone=True, looks=1, attempt=2), LOOK, [night, nap])

    assert [(job.resource, job.record) for job in jobs] == list(kin)
    assert {(job.ref, job.alias, job.gone, job.at, job.looks, job.attempt) for job in jobs} == {
        (REF, False, False, LOOK.at - CLOCKS, 0, 0)
    }


def test_what_follows_from_a_look_is_as_young_as_all_that_the_look_was_enough_for() -> None:
    # Somebody's word was taken care of by this look, although it came after ours.
    other = replace(JOB, key="k2", at=LOOK.at - CLOCKS)
    assert looks.covered(LOOK, other)
    before = Look(other.at - MS, "k3")

    for job in (
        *looks.kin(JOB, LOOK, [replace(a_record(), kin=((CYCLE, RecordId("7")),))]),
        looks.elsewhere(JOB, LOOK, CYCLE),
    ):
        assert job.at >= other.at
        assert not looks.covered(before, job)


def test_everything_that_follows_from_a_job_has_a_key_of_its_own() -> None:
    kin = ((CYCLE, RecordId("7")), (CYCLE, RecordId("8")))
    made = [
        JOB,
        looks.second(JOB, NOW),
        looks.second(looks.second(JOB, NOW), NOW),
        looks.elsewhere(JOB, LOOK, RESOURCE),
        looks.elsewhere(JOB, LOOK, CYCLE),
        *looks.kin(JOB, LOOK, [replace(a_record(), kin=kin)]),
        looks.second(replace(JOB, key="k2"), NOW),
    ]

    assert len({job.key for job in made}) == len(made)


def test_a_second_name_that_leads_nowhere_is_the_id_of_something() -> None:
    elsewhere = looks.elsewhere(replace(JOB, alias=True), LOOK, CYCLE)

    assert (elsewhere.resource, elsewhere.record, elsewhere.alias) == (CYCLE, JOB.record, False)
