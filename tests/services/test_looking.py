"""Looking at what the provider has told us of: what it costs, and what is there in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from shared.bootstrap import Ports, Services, wire
from shared.core.backoff import MAX_ATTEMPTS
from shared.core.looks import SECOND_LOOK
from shared.core.model import (
    AccountId,
    Deletion,
    Head,
    Lane,
    Misfit,
    Page,
    Place,
    Progress,
    RecordId,
    Ref,
    ResourceName,
    StartJob,
    Status,
    Version,
)
from shared.core.settle import Transaction
from shared.errors import (
    AccountDeactivated,
    LostRace,
    ProviderError,
    RateLimited,
    Rejected,
    ScopeMissing,
    StorageDown,
    Unavailable,
)
from shared.keeping import RIVALS, STORAGE_PAUSE
from shared.ports import Etag
from shared.provider import Trouble
from tests.builders import NOW, PROVIDER, USER
from tests.services.nights import (
    COLLECTIONS,
    CYCLE,
    DAY,
    HOUR,
    RECOVERY,
    SIGNED,
    SLEEP,
    WORKOUT,
    Told,
)
from tests.services.world import settings as app_settings

W0 = RecordId("w-0")


@pytest.fixture
def told() -> Told:
    return Told()


def versions(told: Told, resource: ResourceName, name: str) -> list[Version]:
    """Return every version of a record, oldest first."""
    stored = told.records.versions.get(told.at_place(resource), {})
    return [version for _, version in sorted(stored.items()) if version.content.id == name]


def head(told: Told, resource: ResourceName) -> Head:
    return told.records.head(told.at_place(resource)).value


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [str(record.__dict__.get("event")) for record in caplog.records]
    return [name for name in found if name.startswith("look.")]


# What it costs


def test_a_day_costs_a_request_for_each_record(told: Told) -> None:
    told.time += 8 * HOUR
    night = told.nights.night(told.time - 8 * HOUR)
    told.tell_of_night(night)
    told.work()
    told.time += 4 * HOUR
    for name in ("w1", "w2"):
        told.nights.put(WORKOUT, name, told.time - HOUR)
        told.tell(WORKOUT, name)
    told.work()

    assert sorted(told.nights.looked) == sorted(
        [
            (SLEEP, f"s{night}"),
            (CYCLE, f"c{night}"),
            (RECOVERY, f"c{night}"),
            (WORKOUT, "w1"),
            (WORKOUT, "w2"),
        ]
    )
    assert told.nights.asked == []
    assert told.alive() == told.true()


def test_whoever_is_told_of_costs_nothing_in_the_next_nights(told: Told) -> None:
    nights, asked = [], []
    for number in range(7):
        told.time = NOW + number * DAY + 20 * HOUR
        night = told.nights.night(told.time - 8 * HOUR)
        told.tell_of_night(night)
        told.work()
        told.nights.asked.clear()
        slot = NOW + number * DAY + 22 * HOUR
        told.time = slot + timedelta(minutes=30)
        told.run(StartJob(told.connection().ref, slot))
        told.work()
        nights.append(bool(told.nights.asked))
        asked.append(len(told.nights.looked))
        told.nights.looked.clear()

    assert nights == [False, False, True, False, False, True, False]
    assert max(asked) == 3
    assert told.alive() == told.true()


def test_whose_run_came_to_grief_is_read_although_they_are_told_of(told: Told) -> None:
    stored = told.records.head(told.at_place(CYCLE))
    told.records.put_head(
        told.at_place(CYCLE), replace(stored.value, progress=Progress.FAILED), stored.etag
    )
    told.tell_of_night("-0")
    told.work()
    told.nights.asked.clear()
    told.time += DAY

    told.run(StartJob(told.connection().ref, told.time))
    told.work()

    assert told.nights.asked != []


def test_whoever_is_no_longer_told_of_is_read_every_night(told: Told) -> None:
    told.tell_of_night("-0")
    told.work()
    told.time += 2 * DAY

    told.run(StartJob(told.connection().ref, told.time))
    told.work()

    assert told.nights.asked != []


def test_the_same_message_costs_nothing_the_second_time(told: Told) -> None:
    message = told.say(WORKOUT, "w-0")
    told.hear(message)
    told.work()
    told.hear(message, message)
    told.work()

    assert told.nights.looked == [(WORKOUT, "w-0")]


def test_what_was_said_before_the_last_look_costs_nothing(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said = [told.say(WORKOUT, "w-0") for _ in range(4)]
    told.time += timedelta(seconds=1)
    told.hear(*said)
    told.work()

    assert told.nights.looked == [(WORKOUT, "w-0")]
    assert sorted(events(caplog)) == ["look.covered"] * 3 + ["look.done"]


def test_what_is_said_after_the_last_look_is_looked_at(told: Told) -> None:
    told.tell(WORKOUT, "w-0")
    told.work()
    told.time += timedelta(seconds=1)
    told.nights.change(WORKOUT, "w-0")
    told.tell(WORKOUT, "w-0")
    told.work()

    assert told.nights.looked == [(WORKOUT, "w-0")] * 2
    assert told.alive() == told.true()


def test_whose_look_is_spared_is_not_spared_what_follows_from_it(told: Told) -> None:
    told.tell(SLEEP, "s-0")
    told.look()
    kin = told.queue.take()
    told.time += timedelta(seconds=10)
    early = told.say(SLEEP, "s-0")
    told.time += timedelta(seconds=10)
    told.queue.deferred = kin
    told.work()  # the cycle, after the early word and before the late one
    told.time += timedelta(seconds=10)
    told.nights.change(CYCLE, "c-0")
    late = told.say(SLEEP, "s-0")
    told.time += timedelta(seconds=10)
    told.hear(early)
    told.look()  # enough for the late word as well
    told.hear(late)
    told.work()

    assert told.alive() == told.true()


@pytest.mark.parametrize("first", [SLEEP, RECOVERY])
def test_a_night_that_was_changed_costs_as_much_as_a_new_one(
    told: Told, first: ResourceName
) -> None:
    told.nights.change(SLEEP, "s-0")
    told.nights.change(CYCLE, "c-0")
    told.nights.change(RECOVERY, "c-0")
    said = [told.say(SLEEP, "s-0"), told.say(RECOVERY, "s-0", alias=True)]
    told.hear(*(said if first == SLEEP else said[::-1]))
    told.work()

    assert sorted(told.nights.looked) == [(CYCLE, "c-0"), (RECOVERY, "c-0"), (SLEEP, "s-0")]
    assert told.alive() == told.true()


def test_a_recovery_that_is_scored_later_costs_one_request(told: Told) -> None:
    told.time += HOUR
    told.nights.change(RECOVERY, "c-0")
    told.tell(RECOVERY, "s-0", alias=True)
    told.work()

    assert told.nights.looked == [(RECOVERY, "c-0")]
    assert told.alive() == told.true()


def test_a_recovery_that_nobody_here_knows_is_found_through_its_sleep(told: Told) -> None:
    night = told.nights.night(told.time - 8 * HOUR)
    told.tell(RECOVERY, f"s{night}", alias=True)
    told.work()

    assert told.nights.looked[0] == (SLEEP, f"s{night}")
    assert told.alive() == told.true()


def test_a_nap_has_no_kin(told: Told) -> None:
    told.nights.put(SLEEP, "nap", told.time - HOUR)
    nap = told.nights.truth[SLEEP][RecordId("nap")]
    told.nights.truth[SLEEP][nap.id] = replace(nap, kin=())
    told.tell(SLEEP, "nap")
    told.work()

    assert told.nights.looked == [(SLEEP, "nap")]


# What is written


def test_what_a_look_brings_is_no_runs(told: Told) -> None:
    before = head(told, WORKOUT)
    told.time += HOUR
    told.nights.put(WORKOUT, "w1", told.time - HOUR)
    transactions = committed(told)
    told.tell(WORKOUT, "w1")
    told.work()

    [transaction] = transactions
    assert (transaction.run, transaction.lane) == (None, Lane.WEBHOOK)
    assert transaction.seen_at == told.time
    after = head(told, WORKOUT)
    assert (after.seq, after.records) == (before.seq + 1, before.records + 1)
    changed = {name for name in Head.__slots__ if getattr(before, name) != getattr(after, name)}
    assert changed == {"seq", "announced", "records", "versions", "newest", "days", "recent"} - (
        {"days"} if before.days == after.days else set()
    )


def committed(told: Told) -> list[Transaction]:
    """Return the list that every transaction from now on is added to."""
    transactions: list[Transaction] = []
    commit = told.records.commit

    def note_and_commit(place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        transactions.append(transaction)
        return commit(place, transaction, etag)

    told.records.commit = note_and_commit  # type: ignore[method-assign]
    return transactions


def test_where_nothing_is_new_nothing_is_written(told: Told) -> None:
    etags = [told.records.head(told.at_place(resource)).etag for resource in COLLECTIONS]
    transactions = committed(told)
    told.tell_of_night("-0")
    told.tell(WORKOUT, "w-0")
    told.work()

    assert len(told.nights.looked) == 4
    assert transactions == []
    assert [told.records.head(told.at_place(name)).etag for name in COLLECTIONS] == etags


def test_what_cannot_be_read_is_kept_aside(told: Told) -> None:
    before = head(told, WORKOUT)
    told.nights.script = [Page((), (Misfit("unreadable:start", "{}"),))]
    told.tell(WORKOUT, "w-0")
    told.work()

    assert told.records.quarantined[told.at_place(WORKOUT)] == {Misfit("unreadable:start", "{}")}
    assert head(told, WORKOUT) == before
    assert told.alive() == told.true()


def test_a_record_of_another_account_is_kept_aside_and_signs_nobody_out(told: Told) -> None:
    told.nights.change(WORKOUT, W0)
    truth = told.nights.truth[WORKOUT]
    truth[W0] = replace(truth[W0], account=AccountId("777"))
    before = told.alive()

    told.tell(WORKOUT, W0)
    told.work()

    assert told.connection().status is Status.CONNECTED
    assert told.alive() == before
    [misfit] = told.records.quarantined[told.at_place(WORKOUT)]
    assert misfit.reason == "foreign_account"


def test_a_run_that_is_under_way_goes_on_as_if_nothing_had_happened(told: Told) -> None:
    for number in range(6):
        told.nights.put(WORKOUT, f"v{number}", told.time - number * HOUR)
    told.nights.size = 2
    told.time += DAY

    def meanwhile() -> None:
        told.nights.meanwhile = lambda: None
        told.nights.put(WORKOUT, "w1", told.time - HOUR)
        told.tell(WORKOUT, "w1")
        told.look()
        told.nights.meanwhile = meanwhile

    told.start()
    job = told.chunk(WORKOUT)
    told.nights.meanwhile = meanwhile
    told.run(job)
    told.nights.meanwhile = lambda: None
    assert len(told.nights.looked) > 1
    told.work()

    after = head(told, WORKOUT)
    assert after.progress is Progress.FINISHED
    assert after.run == job.run
    assert after.held is not None
    assert after.held.end == told.goal_end()
    assert told.alive()[WORKOUT] == told.true()[WORKOUT]


def test_who_writes_between_the_question_and_the_answer_costs_no_second_one(told: Told) -> None:
    told.nights.change(WORKOUT, "w-0")
    commit = told.records.commit

    def rival(place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        told.records.commit = commit  # type: ignore[method-assign]
        stored = told.records.head(place)
        told.records.put_head(place, replace(stored.value, reason="x"), stored.etag)
        return commit(place, transaction, etag)

    told.records.commit = rival  # type: ignore[method-assign]
    told.tell(WORKOUT, "w-0")
    told.work()

    assert told.nights.looked == [(WORKOUT, "w-0")]
    assert head(told, WORKOUT).reason == "x"
    assert told.alive() == told.true()


def test_an_answer_of_storages_that_got_lost_costs_no_second_request(told: Told) -> None:
    told.nights.change(WORKOUT, "w-0")
    commit = told.records.commit

    def lose(place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        told.records.commit = commit  # type: ignore[method-assign]
        commit(place, transaction, etag)
        raise LostRace("this was our own write")

    told.records.commit = lose  # type: ignore[method-assign]
    told.tell(WORKOUT, "w-0")
    told.work()

    assert told.nights.looked == [(WORKOUT, "w-0")]
    assert len(versions(told, WORKOUT, "w-0")) == 2
    assert told.alive() == told.true()


def test_who_never_gets_to_write_comes_again(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    told.nights.change(WORKOUT, "w-0")
    tries: list[Place] = []

    def lose(place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        tries.append(place)
        raise LostRace("made up")

    with monkeypatch.context() as patch:
        patch.setattr(told.records, "commit", lose)
        told.tell(WORKOUT, "w-0")
        [job] = told.looks()
        told.queue.take()
        told.run(job)
    assert len(tries) == RIVALS
    assert told.queue.deferred == [(job, STORAGE_PAUSE)]
    told.work()

    assert told.alive() == told.true()


def test_who_never_gets_to_say_that_they_look_comes_again(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object) -> Etag:
        raise LostRace("made up")

    with monkeypatch.context() as patch:
        patch.setattr(told.events, "save", lose)
        told.tell(WORKOUT, "w-0")
        [(job, _)] = told.queue.take()
        told.run(job)

    assert told.queue.deferred == [(job, STORAGE_PAUSE)]
    assert told.nights.looked == []


def test_when_the_provider_last_told_us_is_noted(told: Told) -> None:
    ref, at = told.connection().ref, told.time
    assert told.connections.listed(ref) is not None
    told.tell(SLEEP, "s-0")
    told.work()

    listed = told.connections.listed(ref)
    assert listed is not None
    assert listed.heard_at is not None
    assert at <= listed.heard_at < told.time


def test_what_cannot_be_noted_was_done_all_the_same(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageDown("made up")

    monkeypatch.setattr(told.connections, "heard", fail)
    told.nights.change(WORKOUT, "w-0")
    told.tell(WORKOUT, "w-0")
    told.work()

    assert told.nights.looked == [(WORKOUT, "w-0")]
    assert told.alive() == told.true()


# What is gone


def test_what_is_said_to_be_gone_and_is_not_there_is_gone_at_once(told: Told) -> None:
    told.nights.drop(WORKOUT, "w-0")
    told.tell(WORKOUT, "w-0", gone=True)
    told.work()

    [before, grave] = versions(told, WORKOUT, "w-0")
    assert grave.content == Deletion(W0, told.time, "webhook")
    assert (grave.updated_at, grave.n) == (before.updated_at, 1)
    assert told.nights.looked == [(WORKOUT, "w-0")]
    assert head(told, WORKOUT).records == 1


def test_a_recovery_that_is_gone_is_found_by_the_name_of_its_sleep(told: Told) -> None:
    told.nights.drop(SLEEP, "s-0")
    told.nights.drop(RECOVERY, "c-0")
    told.tell(SLEEP, "s-0", gone=True)
    told.tell(RECOVERY, "s-0", alias=True, gone=True)
    told.work()

    assert sorted(told.nights.looked) == [(RECOVERY, "c-0"), (SLEEP, "s-0")]
    assert told.alive() == told.true()


def test_what_is_only_not_there_is_looked_at_once_more_before_it_is_gone(told: Told) -> None:
    told.nights.drop(WORKOUT, "w-0")
    told.tell(WORKOUT, "w-0")
    began = told.time

    done = told.work()

    assert [delay for _, delay in done] == [timedelta(0), SECOND_LOOK]
    assert told.nights.looked == [(WORKOUT, "w-0")] * 2
    assert versions(told, WORKOUT, "w-0")[-1].content == Deletion(
        W0, began + SECOND_LOOK, "not_found"
    )


def test_what_is_back_at_the_second_look_was_never_gone(told: Told) -> None:
    record = told.nights.drop(WORKOUT, "w-0")
    assert record is not None
    told.tell(WORKOUT, "w-0")
    told.look()
    told.nights.truth[WORKOUT][record.id] = record
    told.work()

    assert len(versions(told, WORKOUT, "w-0")) == 1


def test_what_is_there_though_it_is_said_to_be_gone_is_looked_at_once_more(told: Told) -> None:
    told.nights.change(WORKOUT, "w-0")
    told.tell(WORKOUT, "w-0", gone=True)
    first, second = told.work()

    assert (first[1], second[1]) == (timedelta(0), SECOND_LOOK)
    assert told.nights.looked == [(WORKOUT, "w-0")] * 2
    assert told.alive() == told.true()


def test_a_second_look_is_not_spared_by_one_that_came_before_it_was_due(told: Told) -> None:
    told.tell(WORKOUT, "w-0", gone=True)
    [(job, _)] = told.queue.take()
    told.run(job)
    second = told.queue.take()
    told.time += SECOND_LOOK / 2
    told.tell(WORKOUT, "w-0")
    told.work()
    told.nights.drop(WORKOUT, "w-0")
    told.queue.deferred = [(one, SECOND_LOOK / 2) for one, _ in second]
    told.work()

    assert told.nights.looked == [(WORKOUT, "w-0")] * 3
    assert told.alive() == told.true()


def test_what_was_never_here_leaves_nothing_when_it_goes(told: Told) -> None:
    before = [head(told, resource) for resource in COLLECTIONS]
    for gone in (False, True):
        told.tell(WORKOUT, "new", gone=gone)
        told.tell(RECOVERY, "new", alias=True, gone=gone)
    told.work()

    assert [head(told, resource) for resource in COLLECTIONS] == before
    # For a recovery that is gone there is nothing to ask for.
    assert sorted(told.nights.looked) == [(SLEEP, "new"), (WORKOUT, "new"), (WORKOUT, "new")]


def test_what_goes_while_a_page_with_it_is_on_its_way_does_not_stay(told: Told) -> None:
    night = told.nights.night(told.time + HOUR)
    told.nights.put(WORKOUT, "w1", told.time + HOUR)
    told.time += DAY

    def delete() -> None:
        told.nights.meanwhile = lambda: None
        told.nights.drop(WORKOUT, "w1")
        told.nights.drop(RECOVERY, f"c{night}")
        told.tell(WORKOUT, "w1", gone=True)
        told.tell(RECOVERY, f"s{night}", alias=True, gone=True)
        told.look()

    told.start()
    for resource in (WORKOUT, RECOVERY):
        job = told.chunk(resource)
        told.nights.meanwhile = delete
        told.run(job)
    told.work()

    assert told.alive() == told.true()


@pytest.mark.parametrize("resource", [WORKOUT, RECOVERY])
def test_nor_does_it_where_no_run_will_look_for_it_again(resource: ResourceName) -> None:
    # Older than what a head remembers, so that nothing else would find it missing.
    told = Told(nights=0, workouts=0, synced=False)
    told.nights.put(resource, "c1", told.time - 20 * DAY, alias="s1")
    alias = resource == RECOVERY

    def delete() -> None:
        told.nights.meanwhile = lambda: None
        told.nights.drop(resource, "c1")
        told.tell(resource, "s1" if alias else "c1", alias=alias, gone=True)
        told.look()

    job = told.chunk(resource)
    told.nights.meanwhile = delete
    told.run(job)
    assert told.alive() != told.true()
    # The page that was on its way has brought it, and a second look finds it gone.
    assert [asked for asked, _ in told.nights.asked].count(resource) == 1
    told.work()

    assert told.alive() == told.true()


def test_what_comes_back_is_there_again(told: Told) -> None:
    record = told.nights.drop(WORKOUT, "w-0")
    assert record is not None
    told.tell(WORKOUT, "w-0", gone=True)
    told.work()
    told.time += timedelta(seconds=1)
    told.nights.truth[WORKOUT][record.id] = record
    told.tell(WORKOUT, "w-0")
    told.work()

    assert [bool(version.body) for version in versions(told, WORKOUT, "w-0")] == [True, False, True]
    assert told.alive() == told.true()


def test_a_recovery_that_has_gone_over_to_another_cycle_is_found_there(told: Told) -> None:
    # The sleep now opens another cycle, whose recovery takes its name.
    sleep = told.nights.truth[SLEEP][RecordId("s-0")]
    told.nights.put(CYCLE, "c9", told.time - HOUR)
    told.nights.put(RECOVERY, "c9", told.time - HOUR, alias="s-0")
    told.nights.drop(RECOVERY, "c-0")
    kin = ((CYCLE, RecordId("c9")), (RECOVERY, RecordId("c9")))
    told.nights.truth[SLEEP][sleep.id] = replace(sleep, kin=kin)
    told.tell(RECOVERY, "s-0", alias=True)
    told.work()

    assert told.alive() == told.true()


# Where nobody looks


def test_nothing_is_begun_that_no_run_has_begun(told: Told) -> None:
    place = told.at_place(WORKOUT)
    del told.records._heads.rows[place]
    told.records.versions[place].clear()
    told.tell(WORKOUT, "w-0")
    told.work()

    assert told.nights.looked == []
    assert told.records.head(place).etag is None


def test_what_is_erased_while_the_answer_is_on_its_way_does_not_come_back(told: Told) -> None:
    place = told.at_place(WORKOUT)

    def erase() -> None:
        del told.records._heads.rows[place]
        told.records.versions[place].clear()

    told.nights.change(WORKOUT, "w-0")
    told.tell(WORKOUT, "w-0")
    told.nights.meanwhile = erase
    told.work()

    assert told.records.head(place).etag is None
    assert told.records.versions[place] == {}


@pytest.mark.parametrize("status", [Status.PARKED, Status.CONNECTING])
def test_nobody_looks_without_a_working_connection(told: Told, status: Status) -> None:
    told.tell(WORKOUT, "w-0")
    change(told, status=status)
    told.work()

    assert told.nights.looked == []


def change(told: Told, **changes: object) -> None:
    stored = told.connections.find(USER, PROVIDER)
    assert stored is not None
    changed = replace(stored.value, **changes)  # type: ignore[arg-type]  # the tests name real fields
    told.connections.put(changed, stored.etag)


def test_a_ref_that_is_gone_leads_nowhere(told: Told) -> None:
    told.tell(WORKOUT, "w-0")
    [(job, _)] = told.queue.take()
    told.run(replace(job, ref=Ref("gone")))

    assert told.nights.looked == []
    assert told.queue.deferred == []


@pytest.mark.parametrize("trouble", list(Trouble))
def test_nobody_looks_at_a_provider_that_cannot_be_used(told: Told, trouble: Trouble) -> None:
    told.tell(WORKOUT, "w-0")
    told.nights.trouble = trouble
    told.work()

    assert told.nights.looked == []
    assert told.queue.deferred == []


@pytest.mark.parametrize("resource", [WORKOUT, ResourceName("profile"), ResourceName("steps")])
@pytest.mark.parametrize("alias", [False, True])
def test_nobody_looks_at_what_was_not_granted_or_does_not_exist(
    told: Told, resource: ResourceName, *, alias: bool
) -> None:
    grant = told.connection().grant
    change(told, grant=replace(grant, scopes=grant.scopes - {"read:workout"}))
    told.tell(resource, "w-0", alias=alias)
    told.work()

    assert told.nights.looked == []
    assert told.queue.deferred == []


# What goes wrong


def test_who_is_told_to_wait_waits(told: Told) -> None:
    told.nights.change(WORKOUT, "w-0")
    told.nights.script = [RateLimited(told.time + timedelta(seconds=42))]
    told.tell(WORKOUT, "w-0")
    [(job, _)] = told.queue.take()
    told.run(job)

    [(again, delay)] = told.queue.deferred
    assert again == replace(job, waits=1)
    assert delay >= timedelta(seconds=42)
    told.work()
    assert told.nights.looked == [(WORKOUT, "w-0")] * 2
    assert told.alive() == told.true()


def test_who_waits_leaves_the_work_to_whoever_comes_later(told: Told) -> None:
    told.nights.script = [RateLimited(told.time + timedelta(seconds=42))]
    told.tell(WORKOUT, "w-0")
    [(job, _)] = told.queue.take()
    told.run(job)
    waiting = told.queue.take()
    told.time += timedelta(seconds=20)
    told.nights.change(WORKOUT, "w-0")
    told.tell(WORKOUT, "w-0")
    told.time += timedelta(hours=1)
    told.work()
    told.queue.deferred = waiting
    told.work()

    assert told.nights.looked == [(WORKOUT, "w-0")] * 2
    assert told.alive() == told.true()


def test_an_outage_is_waited_for_and_not_for_ever(told: Told) -> None:
    told.nights.script = [Unavailable("made up")] * MAX_ATTEMPTS
    told.tell(WORKOUT, "w-0")
    done = told.work()

    assert len(done) == MAX_ATTEMPTS
    assert told.connection().status is Status.CONNECTED


@pytest.mark.parametrize("error", [ScopeMissing, AccountDeactivated, Rejected])
def test_what_the_provider_refuses_is_left_to_the_night(
    told: Told, caplog: pytest.LogCaptureFixture, error: type[ProviderError]
) -> None:
    caplog.set_level(logging.INFO)
    told.nights.script = [error("made up")]
    told.tell(WORKOUT, "w-0")
    told.work()

    assert len(told.nights.looked) == 1
    assert events(caplog) == ["look.stopped"]


def test_storage_that_is_away_is_waited_for(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise StorageDown("made up")

    told.tell(WORKOUT, "w-0")
    with monkeypatch.context() as patch:
        patch.setattr(told.connections, "by_ref", fail)
        [(job, _)] = told.queue.take()
        told.run(job)

    assert told.queue.deferred == [(job, STORAGE_PAUSE)]


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """Any port, through which a process may die: before the call, or after it."""

    def __init__(self, inner: object, life: Callable[[], bool]) -> None:
        self._inner, self._life = inner, life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*args: Any, **named: Any) -> Any:
            if self._life():
                raise Killed
            answer = method(*args, **named)
            if self._life():
                raise Killed
            return answer

        return call


def mortal(told: Told, life: Callable[[], bool]) -> Services:
    """Return another process on the same storage."""

    def port(inner: Any) -> Any:
        return Mortal(inner, life)

    ports = Ports(
        once=told.once,
        slots=told.slots,
        budgets=port(told.budgets),
        connections=port(told.connections),
        records=port(told.records),
        queue=port(told.queue),
        poison=told.poison,
        events=port(told.events),
        departures=port(told.departures),
        sleep=told.sleep,
        cipher=told.cipher,
        clock=lambda: told.time,
        skew=lambda: timedelta(0),
        dice=lambda: 0.5,
        mint=told.ports.mint,
    )
    return wire(app_settings(), [told.nights], ports)


def lives(steps: int) -> tuple[Callable[[], bool], Callable[[], int]]:
    """Return what says no so many times, and then once yes."""
    left = steps

    def dies() -> bool:
        nonlocal left
        left -= 1
        return left == -1

    return dies, lambda: left


@pytest.mark.parametrize("gone", [False, True])
def test_wherever_a_host_is_killed_nothing_is_missing_in_the_end(*, gone: bool) -> None:
    steps = 0
    while True:
        told = Told()
        dies, left = lives(steps)
        told.time += HOUR
        night = told.nights.night(told.time - 8 * HOUR) if not gone else "-0"
        if gone:
            told.nights.drop(SLEEP, "s-0")
            told.nights.drop(RECOVERY, "c-0")
        messages = [told.say(SLEEP, f"s{night}", gone=gone)]
        messages += [told.say(RECOVERY, f"s{night}", alias=True, gone=gone)]
        services = mortal(told, dies)
        for message in messages:
            for _ in range(2):  # whoever gets no answer sends it again
                with suppress(Killed):
                    services.webhooks.receive(told.nights, SIGNED, message)
                    break
        while told.queue.deferred:
            (job, delay) = told.queue.deferred.pop(0)
            told.time += delay
            try:
                services.run(job)
            except Killed:
                services = mortal(told, dies)
                told.queue.deferred.append((job, timedelta(minutes=10)))
        assert told.alive() == told.true(), f"killed at step {steps}"
        if left() >= 0:
            break
        steps += 1
    assert steps > 60


# Any order, any repetition


@dataclass(frozen=True)
class Step:
    """Something that happens; ``choice`` picks from what is there."""

    kind: str
    choice: int


KINDS = [
    *(["hear"] * 4),
    *(["run"] * 6),
    *("night", "sleep", "recovery", "cycle", "workout", "edit", "drop night", "drop workout"),
    *("back", "back", "start", "again", "wait"),
]


class Story:
    """Members' days in any order, at a provider that says everything at least once."""

    def __init__(self, steps: list[Step], *, fresh: bool) -> None:
        self.told = Told(nights=0 if fresh else 3, workouts=0 if fresh else 3)
        self.steps = steps
        self.unheard: list[bytes] = []
        self.heard: list[bytes] = []
        self.gone: list[tuple[ResourceName, str, Any]] = []
        self.depth = 0
        self.told.nights.size = 2
        self.told.nights.meanwhile = self.meanwhile

    def live(self) -> None:
        while self.steps:
            self.step()
        self.told.nights.meanwhile = self.tick
        self.told.hear(*self.unheard)
        self.told.work(limit=2_000)

    def there(
        self, rows: Mapping[ResourceName, Mapping[RecordId, str]]
    ) -> dict[ResourceName, dict[RecordId, str]]:
        """Leave out cycles whose sleep is gone: nothing is ever said of those."""
        sleeps = self.told.nights.truth[SLEEP]
        return {
            resource: {
                name: body
                for name, body in records.items()
                if resource != CYCLE or f"s{name[1:]}" in sleeps
            }
            for resource, records in rows.items()
        }

    def meanwhile(self) -> None:
        """Let something else happen while a question or its answer is on the way."""
        self.tick()
        if self.depth < 2:
            self.depth += 1
            for _ in range(2):
                self.step()
            self.depth -= 1

    def tick(self) -> None:
        self.told.time += timedelta(milliseconds=130)

    def step(self) -> None:
        if not self.steps:
            return
        step = self.steps.pop(0)
        note(f"{'  ' * self.depth}{step.kind} {step.choice} at {self.told.time}")
        getattr(self, step.kind.partition(" ")[0])(step)
        self.told.time += timedelta(milliseconds=step.choice % 400)

    def say(self, resource: ResourceName, name: str, **said: bool) -> None:
        self.unheard.append(self.told.say(resource, name, **said))  # type: ignore[arg-type]

    def changed(self, name: str) -> None:
        self.say(SLEEP, f"s{name}")
        self.say(RECOVERY, f"s{name}", alias=True)

    # What members do

    def night(self, step: Step) -> None:
        self.changed(self.told.nights.night(self.told.time - step.choice % 60 * HOUR))

    def workout(self, step: Step) -> None:
        name = f"w{len(self.told.nights.said)}"
        self.told.nights.put(WORKOUT, name, self.told.time - step.choice % 60 * HOUR)
        self.say(WORKOUT, name)

    def edit(self, step: Step) -> None:
        name = self.pick(list(self.told.nights.truth[WORKOUT]), step)
        if name is not None:
            self.told.nights.change(WORKOUT, name)
            self.say(WORKOUT, name)

    def sleep(self, step: Step) -> None:
        self.of_a_night(SLEEP, step)

    def recovery(self, step: Step) -> None:
        self.of_a_night(RECOVERY, step)

    def cycle(self, step: Step) -> None:
        self.of_a_night(CYCLE, step)

    def of_a_night(self, resource: ResourceName, step: Step) -> None:
        """Change something of a night that has everything."""
        sleep = self.pick(list(self.told.nights.truth[SLEEP]), step)
        if sleep is None:
            return
        name = ("s" if resource == SLEEP else "c") + sleep[1:]
        self.told.nights.change(resource, name)
        if resource == RECOVERY:
            self.say(RECOVERY, sleep, alias=True)
        else:
            self.changed(sleep[1:])

    def drop(self, step: Step) -> None:
        truth = self.told.nights.truth
        workouts = step.kind == "drop workout"
        name = self.pick(list(truth[WORKOUT if workouts else SLEEP]), step)
        if name is None:
            return
        if workouts:
            self.gone.append((WORKOUT, name, (truth[WORKOUT].pop(name),)))
            self.say(WORKOUT, name, gone=True)
            return
        recovery = truth[RECOVERY].pop(RecordId(f"c{name[1:]}"))
        self.gone.append((SLEEP, name, (truth[SLEEP].pop(name), recovery)))
        self.say(SLEEP, name, gone=True)
        self.say(RECOVERY, name, alias=True, gone=True)

    def back(self, step: Step) -> None:
        """Bring back what was deleted, as it was or changed."""
        if not self.gone:
            return
        resource, name, records = self.gone.pop(step.choice % len(self.gone))
        truth = self.told.nights.truth
        for kind, record in zip((resource, RECOVERY), records, strict=False):
            truth[kind][record.id] = record
            if step.choice % 2:
                self.told.nights.change(kind, record.id)
        if resource == WORKOUT:
            self.say(WORKOUT, name)
        else:
            self.changed(name[1:])

    # What happens to us

    def hear(self, step: Step) -> None:
        message = self.pick(self.unheard, step)
        if message is not None:
            self.unheard.remove(message)
            self.heard.append(message)
            self.told.hear(message)

    def again(self, step: Step) -> None:
        message = self.pick(self.heard, step)
        if message is not None:
            self.told.hear(message)

    def run(self, step: Step) -> None:
        """Give any job to a worker, whatever order they were sent in."""
        queue = self.told.queue
        if queue.deferred:
            job, delay = queue.deferred.pop(step.choice % len(queue.deferred))
            self.told.time += delay
            queue.deferred = [
                (one, max(rest - delay, timedelta(0))) for one, rest in queue.deferred
            ]
            self.told.run(job)

    def start(self, step: Step) -> None:
        self.told.start((Lane.MANUAL, Lane.NIGHTLY)[step.choice % 2])

    def wait(self, step: Step) -> None:
        self.told.time += timedelta(minutes=step.choice)

    @staticmethod
    def pick(among: list[Any], step: Step) -> Any:
        return among[step.choice % len(among)] if among else None


STEPS = st.builds(Step, st.sampled_from(KINDS), st.integers(0, 999))
NORMAL = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def holds(steps: list[Step], *, fresh: bool) -> None:
    story = Story(steps, fresh=fresh)
    story.live()
    assert story.there(story.told.alive()) == story.there(story.told.true())
    for resource in COLLECTIONS:
        told, stored = story.told, head(story.told, resource)
        found = told.records.versions.get(told.at_place(resource), {})
        assert sorted(told.records.feed.get(told.at_place(resource), {})) == list(
            range(1, stored.seq + 1)
        )
        assert stored.versions == len(found)
        assert stored.records == len(told.alive()[resource])
        assert stored.progress is Progress.FINISHED


@NORMAL
@given(st.lists(STEPS, max_size=60), st.booleans())
def test_any_order_and_any_repetition_end_in_the_same_rows(
    steps: list[Step],
    fresh: bool,  # noqa: FBT001 - drawn
) -> None:
    holds(list(steps), fresh=fresh)


@pytest.mark.long
@settings(NORMAL, max_examples=1_500)
@given(st.lists(STEPS, min_size=30, max_size=150), st.booleans())
def test_any_order_and_any_repetition_end_in_the_same_rows_deeply(
    steps: list[Step],
    fresh: bool,  # noqa: FBT001 - drawn
) -> None:
    holds(list(steps), fresh=fresh)
