from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.core import backoff
from shared.core.model import (
    ACTIVE,
    HISTORY_START,
    AccountId,
    Bell,
    ChunkJob,
    Deletion,
    Head,
    Known,
    Lane,
    Limit,
    Page,
    Place,
    Progress,
    Question,
    Record,
    RecordId,
    ResourceName,
    RunId,
    Secret,
    Span,
    Status,
)
from shared.core.plan import PATIENT_PAGES, history
from shared.core.settle import Transaction
from shared.errors import (
    AccountDeactivated,
    CursorRefused,
    GrantDead,
    LostRace,
    NotConnected,
    NotThere,
    ProviderError,
    RateLimited,
    Rejected,
    ScopeMissing,
    StorageDown,
    Unavailable,
)
from shared.keeping import STORAGE_PAUSE
from shared.ports import Etag
from shared.slices import SLICE
from shared.spending import Spending
from shared.sync import STALE
from tests.builders import NOW, PLACE, RESOURCE, a_document, a_page, a_record
from tests.services.world import PROFILE, Acme, World


def records(count: int) -> list[Record]:
    return [a_record(f"r{n}", start=NOW - timedelta(hours=6 * n + 1)) for n in range(count)]


def connected(count: int = 60) -> World:
    """A world whose member has just connected, with nothing synced yet but the profile."""
    world = World()
    world.acme.records = records(count)
    world.connect()
    return world


def head(world: World, resource: ResourceName = RESOURCE) -> Head:
    return world.records.head(world.place(resource)).value


def test_connecting_brings_the_last_thirty_days() -> None:
    world = connected(130)

    world.work()

    in_goal = {r.id for r in world.acme.records if r.start and r.start >= NOW - timedelta(days=30)}
    assert world.held() == in_goal
    assert head(world).held == head(world).goal
    assert head(world).progress is Progress.FINISHED


def test_a_run_asks_for_every_page_once_and_for_nothing_else() -> None:
    world = connected(50)

    world.work()

    asked = [name for name, _ in world.acme.asked]
    assert asked == [PROFILE, RESOURCE, RESOURCE]


def test_the_document_that_connecting_reads_is_kept_and_not_asked_for_again() -> None:
    world = connected()

    assert set(world.records.current(world.place(PROFILE))) == {"profile"}
    world.work()
    assert [name for name, _ in world.acme.asked].count(PROFILE) == 1


def test_a_document_is_asked_for_again_after_a_week() -> None:
    world = connected()
    world.work()
    world.at(timedelta(days=8))
    world.acme.document = a_document("changed")
    world.acme.asked.clear()

    world.start()
    world.work()

    assert [name for name, _ in world.acme.asked].count(PROFILE) == 1
    assert len(world.records.versions[world.place(PROFILE)]) == 2


def test_a_document_that_is_not_there_is_no_failure() -> None:
    world = World()
    world.acme.document = NotThere("no value yet")
    world.connect()

    world.work()

    assert head(world, PROFILE).progress is Progress.FINISHED
    assert head(world, PROFILE).records == 0


def test_an_incremental_run_reads_the_lookback_and_keeps_re_scores() -> None:
    world = connected(4)
    world.work()
    world.at(timedelta(days=1))
    newer = replace(world.acme.records[0], updated_at=NOW + timedelta(hours=1), digest="new")
    world.acme.records[0] = newer
    world.acme.asked.clear()

    world.start(Lane.NIGHTLY)
    world.work()

    (_, question) = world.acme.asked[0]
    assert question is not None
    assert question.span.start == NOW - timedelta(days=3)
    assert question.span.end == world.time
    assert world.records.current(PLACE)[RecordId("r0")].content == newer
    assert len(world.records.versions[PLACE]) == 5


def test_a_record_that_is_not_listed_any_more_is_asked_for_and_buried() -> None:
    world = connected(8)
    world.work()
    world.at(timedelta(hours=6))
    gone = world.acme.records.pop(2)

    world.start(Lane.NIGHTLY)
    world.work()

    assert world.acme.looked == [(RESOURCE, gone.id)]
    grave = world.records.current(PLACE)[gone.id]
    assert grave.content == Deletion(gone.id, world.time, "not_found")
    assert (head(world).records, head(world).versions) == (7, 9)
    assert head(world).progress is Progress.FINISHED
    world.start(Lane.NIGHTLY)
    world.work()
    assert len(world.acme.looked) == 1


def test_a_record_that_only_a_list_forgot_stays() -> None:
    world = connected(8)
    world.work()
    forgotten = world.acme.records[2]
    world.acme.script = [a_page([r for r in world.acme.records if r != forgotten])]

    world.start(Lane.NIGHTLY)
    world.work()

    assert world.acme.looked == [(RESOURCE, forgotten.id)]
    assert len(world.records.versions[PLACE]) == 8


def test_an_incident_that_empties_a_list_buries_nothing(caplog: pytest.LogCaptureFixture) -> None:
    world = connected(8)
    world.work()
    world.acme.script = [Page(())]

    world.start(Lane.NIGHTLY)
    world.work()

    assert world.acme.looked == []
    assert head(world).records == 8
    assert "records.absent" in caplog.text


def test_a_record_that_comes_back_lives_again() -> None:
    world = connected(8)
    world.work()
    gone = world.acme.records.pop(2)
    world.start(Lane.NIGHTLY)
    world.work()
    world.acme.records.insert(2, gone)
    world.at(timedelta(minutes=1))

    world.start(Lane.NIGHTLY)
    world.work()

    assert world.records.current(PLACE)[gone.id].content == gone
    assert head(world).records == 8


def test_the_night_asks_by_id_for_older_records_that_were_not_scored() -> None:
    world = connected(0)
    late = [
        replace(a_record(f"r{n}", start=NOW - timedelta(days=5 + n)), settled=n > 6)
        for n in range(8)
    ]
    world.acme.records = list(late)
    world.work()
    scored = replace(late[1], settled=True, updated_at=NOW, digest="scored")
    world.acme.records[1] = scored

    world.start(Lane.NIGHTLY)
    world.work()

    assert [name for _, name in world.acme.looked] == ["r6", "r5", "r4", "r3", "r2"]
    world.start(Lane.MANUAL)
    world.work()
    assert len(world.acme.looked) == 5


def test_a_single_record_of_another_account_signs_nobody_out() -> None:
    world = connected(0)
    late = replace(a_record("late", start=NOW - timedelta(days=5)), settled=False)
    world.acme.records = [late]
    world.work()
    world.acme.records = [replace(late, account=AccountId("777"), digest="another's")]
    world.at(timedelta(hours=1))
    world.start(Lane.NIGHTLY)

    world.work()

    assert world.connection().status is Status.CONNECTED
    assert head(world).progress is Progress.FINISHED
    assert [one.reason for one in world.records.quarantined[PLACE]] == ["foreign_account"]
    assert world.records.current(PLACE)[RecordId("late")].known.digest == late.digest


def test_a_score_that_came_late_is_kept_and_not_asked_for_again() -> None:
    world = connected(0)
    late = replace(a_record("late", start=NOW - timedelta(days=5)), settled=False)
    world.acme.records = [late]
    world.work()
    world.acme.records = [replace(late, settled=True, updated_at=NOW, digest="scored")]
    for _ in range(2):
        world.at(timedelta(hours=1))
        world.start(Lane.NIGHTLY)
        world.work()

    assert len(world.acme.looked) == 1
    assert world.records.current(PLACE)[RecordId("late")].known.digest == "scored"


def test_a_check_that_the_provider_refuses_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    world = connected(8)
    world.work()
    gone = world.acme.records.pop(2)
    world.acme.script = [world.acme.truly, Rejected("made up")]

    world.start(Lane.NIGHTLY)
    world.work()

    assert world.acme.looked == [(RESOURCE, gone.id)]
    assert (head(world).progress, head(world).checks) == (Progress.FINISHED, ())
    assert head(world).records == 8
    assert "record.given_up" in caplog.text


def test_a_check_waits_like_any_other_request() -> None:
    world = connected(8)
    world.work()
    world.at(timedelta(hours=1))
    world.acme.records.pop(2)
    world.acme.script = [world.acme.truly, RateLimited(world.time + timedelta(seconds=30))]

    world.start(Lane.NIGHTLY)
    world.work()

    assert len(world.acme.looked) == 2
    assert (head(world).progress, head(world).records) == (Progress.FINISHED, 7)


def test_what_others_write_beside_a_run_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = connected(60)
    commit, armed = world.records.commit, [True]

    def beside(place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        if armed and place == PLACE:
            armed.clear()
            stored = world.records.head(place)
            told = replace(stored.value, days=b"\x01")
            world.records.put_head(place, told, stored.etag)
        return commit(place, transaction, etag)

    monkeypatch.setattr(world.records, "commit", beside)
    world.work()

    assert not armed
    assert (head(world).progress, head(world).records) == (Progress.FINISHED, 60)
    assert head(world).days[0] & 1
    assert [q.cursor for _, q in world.acme.asked if q] == [None, "25", "50"]


def test_a_resource_that_others_write_all_the_time_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = connected(3)
    job = world.chunk()

    def always(place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        raise LostRace("412")

    monkeypatch.setattr(world.records, "commit", always)
    world.services.run(job)

    assert (job, STORAGE_PAUSE) in world.queue.deferred


def test_readers_are_told_of_what_has_landed_once_a_slice() -> None:
    world = connected(60)

    world.work()

    told = [bell for bell in world.queue.rung if bell.resource == RESOURCE]
    assert told == [Bell(world.connection().ref, RESOURCE, head(world).generation or "", 60)]
    assert head(world).announced == 60
    world.start()
    world.work()
    assert len([bell for bell in world.queue.rung if bell.resource == RESOURCE]) == 1


def test_a_bell_that_could_not_be_rung_is_rung_by_the_same_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = connected(3)
    job = world.chunk()
    ring = world.queue.ring

    def down(bell: Bell) -> None:
        raise StorageDown("made up")

    monkeypatch.setattr(world.queue, "ring", down)
    world.services.run(job)
    assert (head(world).progress, head(world).announced) == (Progress.FINISHED, 0)
    monkeypatch.setattr(world.queue, "ring", ring)
    world.work()

    assert [bell.seq for bell in world.queue.rung if bell.resource == RESOURCE] == [3]


def test_a_start_rings_for_what_a_lost_job_has_left() -> None:
    world = connected(3)
    world.work()
    stored = world.records.head(PLACE)
    world.records.put_head(PLACE, replace(stored.value, announced=1), stored.etag)
    world.queue.rung.clear()

    world.start()

    assert [bell.seq for bell in world.queue.rung] == [3]


def test_a_bell_that_somebody_else_overtakes_was_rung_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = connected(3)
    put = world.records.put_head

    def lost(place: Place, head: Head, etag: Etag | None) -> Etag:
        if head.announced:
            raise LostRace("412")
        return put(place, head, etag)

    monkeypatch.setattr(world.records, "put_head", lost)
    world.work()

    assert [bell.seq for bell in world.queue.rung if bell.resource == RESOURCE] == [3]
    assert head(world).progress is Progress.FINISHED


def test_a_record_that_cannot_be_asked_for_is_given_up_after_one_night() -> None:
    world = connected(8)
    world.work()
    world.at(timedelta(hours=1))
    gone = world.acme.records.pop(2)
    world.acme.script = [world.acme.truly, *[Unavailable("made up")] * backoff.MAX_ATTEMPTS]

    world.start(Lane.NIGHTLY)
    world.work()
    assert (head(world).progress, head(world).checks) == (Progress.FAILED, ())
    world.at(timedelta(days=1))
    world.start(Lane.NIGHTLY)
    world.work()

    assert head(world).progress is Progress.FINISHED
    assert len(world.acme.looked) == backoff.MAX_ATTEMPTS
    assert gone.id in world.records.current(PLACE)


def test_a_wish_also_reaches_what_the_run_has_finished_already() -> None:
    world = connected(60)
    job = world.chunk()
    world.services.run(job)
    world.acme.records += [a_record("old", start=NOW - timedelta(days=300))]
    stored = world.records.head(world.place(PROFILE))
    world.records.put_head(
        world.place(PROFILE),
        replace(stored.value, progress=Progress.RUNNING, run=job.run),
        stored.etag,
    )

    run = world.services.sync.start(
        world.connection(), Lane.BACKFILL, since=NOW - timedelta(days=400)
    )
    world.work()

    assert run == job.run
    assert "old" in world.held()


def test_a_tombstone_says_when_its_question_left(monkeypatch: pytest.MonkeyPatch) -> None:
    world = connected(8)
    world.work()
    world.at(timedelta(hours=2))
    gone = world.acme.records.pop(2)
    fetch = world.acme.fetch_one

    def later(access: Secret, resource: ResourceName, record: RecordId) -> Page:
        assert world.time == left[-1]
        return fetch(access, resource, record)

    left: list[datetime] = []
    send = Spending.send

    def slow(self: Spending, provider: Acme, lane: Lane, call: Callable[[], Page]) -> Page:
        left.append(world.at(timedelta(seconds=10)))
        return send(self, provider, lane, call)

    monkeypatch.setattr(world.acme, "fetch_one", later)
    monkeypatch.setattr(Spending, "send", slow)
    world.start(Lane.NIGHTLY)
    world.work()

    grave = world.records.current(PLACE)[gone.id].content
    assert grave == Deletion(gone.id, left[-1], "not_found")


def test_fields_that_nobody_knows_are_kept_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    world = connected(2)
    page = replace(a_page(world.acme.records), unknown=(("mood", 2), ("score.depth", 1)))
    world.acme.script = [page]
    caplog.set_level("INFO")

    world.work()

    assert world.held() == {"r0", "r1"}
    [told] = [r for r in caplog.records if r.__dict__.get("event") == "records.unknown_fields"]
    assert told.__dict__["fields"] == ["mood: 2", "score.depth: 1"]


@pytest.mark.parametrize(
    ("lane", "renews"), [(Lane.NIGHTLY, Lane.NIGHTLY), (Lane.MANUAL, Lane.AUTH)]
)
def test_a_renewal_that_nobody_waits_for_takes_no_room_from_those_who_wait(
    monkeypatch: pytest.MonkeyPatch, lane: Lane, renews: Lane
) -> None:
    world = connected(3)
    world.work()
    world.at(timedelta(hours=2))
    lanes: list[Lane] = []
    send = Spending.send

    def spied(self: Spending, provider: Acme, lane: Lane, call: Callable[[], Page]) -> Page:
        lanes.append(lane)
        return send(self, provider, lane, call)

    monkeypatch.setattr(Spending, "send", spied)
    world.start(lane)
    world.work()

    assert world.acme.renewals == 1
    assert lanes == [renews, lane]


def test_nothing_new_writes_nothing() -> None:
    world = connected(4)
    world.work()
    before = dict(world.records.versions[PLACE])
    world.at(timedelta(hours=1))

    world.start()
    world.work()

    assert world.records.versions[PLACE] == before
    assert head(world).seq == 4


def test_the_same_call_while_a_run_is_active_answers_with_that_run() -> None:
    world = connected()
    first = head(world).run
    waiting = list(world.queue.deferred)

    assert world.services.sync.start(world.connection(), Lane.MANUAL) == first

    assert world.queue.deferred == waiting


def test_a_new_call_after_a_run_is_a_new_run() -> None:
    world = connected()
    world.work()
    first = head(world).run
    world.at(timedelta(minutes=1))

    assert world.services.sync.start(world.connection(), Lane.MANUAL) != first


def test_a_run_whose_message_was_lost_is_revived_once_it_shows_no_sign_of_life() -> None:
    world = connected()
    world.queue.take()

    world.at(STALE - timedelta(seconds=1))
    world.start()
    assert world.queue.deferred == []

    world.at(timedelta(seconds=1))
    world.start()
    world.work()
    assert head(world).progress is Progress.FINISHED


def test_a_waiting_run_is_not_revived_before_its_time() -> None:
    world = connected()
    world.acme.script = [RateLimited(NOW + timedelta(hours=5))]
    world.services.run(world.chunk())
    world.queue.take()

    world.at(timedelta(hours=5))
    world.start()

    assert world.queue.deferred == []


def test_a_parked_connection_is_not_synced() -> None:
    world = connected()
    parked = replace(world.connection(), status=Status.PARKED)

    with pytest.raises(NotConnected):
        world.services.sync.start(parked, Lane.MANUAL)


def test_a_job_of_an_older_run_does_nothing() -> None:
    world = connected()
    job = world.chunk()

    world.services.run(replace(job, run=RunId("older")))

    assert [name for name, _ in world.acme.asked] == [PROFILE]


def test_a_job_of_an_unknown_connection_does_nothing() -> None:
    world = connected()
    job = world.chunk()

    world.services.run(replace(job, ref=type(job.ref)("nobody")))

    assert [name for name, _ in world.acme.asked] == [PROFILE]


def test_a_job_delivered_twice_reads_nothing_twice() -> None:
    world = connected()
    job = world.chunk()
    world.services.run(job)
    asked = len(world.acme.asked)

    world.services.run(job)

    assert len(world.acme.asked) == asked
    assert head(world).records == 60


def test_a_member_who_waits_is_served_first_and_history_gives_way() -> None:
    world = World(days=0)
    world.acme.records = records(25 * (PATIENT_PAGES + 2))
    world.connect()

    jobs = [job for job, _ in world.work() if isinstance(job, ChunkJob)]

    assert [job.lane for job in jobs if job.resource == RESOURCE] == [Lane.MANUAL, Lane.BACKFILL]
    assert len(world.held()) == 25 * (PATIENT_PAGES + 2)


def test_a_slice_ends_in_time_and_the_next_one_goes_on() -> None:
    world = connected()

    def slow(question: Question | None) -> Page:
        assert question is not None
        world.at(SLICE)
        return world.acme.page(question)

    world.acme.script = [slow]
    world.services.run(world.chunk())
    assert head(world).records == 25
    assert head(world).progress is Progress.RUNNING

    world.work()
    assert head(world).records == 60
    assert [question.cursor for _, question in world.acme.asked if question] == [None, "25", "50"]


def test_a_rate_limit_waits_as_long_as_asked_and_costs_no_attempt() -> None:
    world = connected()
    world.acme.script = [RateLimited(NOW + timedelta(seconds=42))]
    job = world.chunk()

    world.services.run(job)

    again = replace(job, waits=1, attempt=0)
    (delay,) = [delay for deferred, delay in world.queue.deferred if deferred == again]
    assert timedelta(seconds=42) <= delay < timedelta(seconds=43)
    assert head(world).progress is Progress.WAITING
    assert head(world).reason == "rate_limited"
    assert head(world).retry_at == world.time + delay


def test_a_rate_limit_in_the_middle_goes_on_with_the_same_cursor() -> None:
    world = connected()
    world.acme.script = [world.acme.truly, RateLimited(NOW + timedelta(seconds=1))]

    world.work()

    assert [q.cursor for _, q in world.acme.asked if q] == [None, "25", "25", "50"]
    assert head(world).records == 60
    assert head(world).reason is None
    assert head(world).retry_at is None


def test_a_storm_of_rate_limits_ends_with_everything_held() -> None:
    world = connected()
    world.acme.script = [RateLimited(NOW) for _ in range(50)]

    world.work()

    assert head(world).progress is Progress.FINISHED
    assert head(world).records == 60


@pytest.mark.parametrize("error", [Unavailable("500"), CursorRefused("x")])
def test_a_passing_trouble_loses_nothing(error: ProviderError) -> None:
    world = connected()
    world.acme.script = [world.acme.truly, error]

    world.work()

    assert head(world).progress is Progress.FINISHED
    assert len(world.held()) == 60


def test_a_refused_cursor_walks_again_from_just_above_what_was_reached() -> None:
    world = connected()
    world.acme.script = [world.acme.truly, CursorRefused("too old")]

    world.work()

    asked = [q for _, q in world.acme.asked if q]
    reached = world.acme.records[24].start
    assert reached is not None
    assert asked[2] == Question(
        replace(asked[0].span, end=reached + timedelta(milliseconds=1)), None
    )


def test_a_provider_that_never_answers_is_given_up_with_a_reason() -> None:
    world = connected()
    world.acme.script = [Unavailable("500") for _ in range(backoff.MAX_ATTEMPTS)]

    jobs = world.work()

    assert head(world).progress is Progress.FAILED
    assert head(world).reason == "provider_unavailable"
    tries = [job for job, _ in jobs if isinstance(job, ChunkJob) and job.resource == RESOURCE]
    assert [job.attempt for job in tries] == list(range(backoff.MAX_ATTEMPTS))


def test_a_failed_run_is_tried_again_by_the_next_one_from_where_it_got_to() -> None:
    world = connected()
    world.acme.script = [
        world.acme.truly,
        *[Unavailable("500") for _ in range(backoff.MAX_ATTEMPTS)],
    ]
    world.work()
    assert head(world).progress is Progress.FAILED
    world.acme.asked.clear()
    world.at(timedelta(minutes=30))

    world.start(Lane.NIGHTLY)
    world.work()

    (first, *_) = [q for _, q in world.acme.asked if q]
    assert first.span.end == (world.acme.records[24].start or NOW) + timedelta(milliseconds=1)
    assert len(world.held()) == 60
    assert head(world).held == Span(NOW - timedelta(days=30), world.goal_end())


def test_an_answer_in_between_forgets_the_failures_before_it() -> None:
    world = connected()
    failures: list[ProviderError] = [Unavailable("500") for _ in range(backoff.MAX_ATTEMPTS - 1)]
    world.acme.script = [*failures, world.acme.truly, *failures]

    world.work()

    assert head(world).progress is Progress.FINISHED


def test_a_cursor_that_leads_round_is_given_up_and_not_followed_for_ever() -> None:
    world = connected(0)
    world.acme.script = [a_page([], cursor="same") for _ in range(100)]

    world.work()

    assert head(world).progress is Progress.FAILED
    assert head(world).reason == "provider_unavailable"
    assert len(world.acme.asked) <= 1 + 2 * backoff.MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("error", "progress", "reason"),
    [
        (ScopeMissing("x"), Progress.NO_SCOPE, "scope_missing"),
        (AccountDeactivated("x"), Progress.DEACTIVATED, "account_deactivated"),
        (Rejected("x"), Progress.FAILED, "request_rejected"),
        (NotThere("x"), Progress.FAILED, "not_there"),
    ],
)
def test_what_does_not_mend_itself_ends_the_run_with_its_own_state(
    error: ProviderError, progress: Progress, reason: str
) -> None:
    world = connected()
    world.acme.script = [error]

    world.work()

    assert (head(world).progress, head(world).reason) == (progress, reason)
    assert world.connection().status is Status.CONNECTED


def test_a_resource_whose_scope_was_not_granted_is_not_asked_for() -> None:
    world = World()
    world.acme.scopes = frozenset({"read:profile", "offline"})
    world.connect()

    world.work()

    assert [name for name, _ in world.acme.asked] == [PROFILE]
    assert head(world).progress is Progress.NO_SCOPE
    assert head(world, PROFILE).progress is Progress.FINISHED


def test_a_dead_grant_parks_the_connection_and_ends_its_runs() -> None:
    world = connected()
    world.time = world.connection().grant.expires_at
    world.acme.token_script = [GrantDead("invalid_grant")]

    world.work()

    assert world.connection().status is Status.PARKED
    assert world.connection().reason == "reauth_required"
    assert (head(world).progress, head(world).reason) == (Progress.FAILED, "reauth_required")


def test_jobs_that_wait_while_a_connection_is_parked_end_their_runs() -> None:
    world = connected()
    stored = world.connections.find(world.connection().user, world.connection().provider)
    assert stored is not None
    world.connections.put(replace(stored.value, status=Status.PARKED), stored.etag)

    world.work()

    assert head(world).progress is Progress.FAILED
    assert [name for name, _ in world.acme.asked] == [PROFILE]


def test_a_missing_key_waits_and_signs_nobody_out() -> None:
    world = connected()
    world.cipher.forget()

    world.services.run(world.chunk())

    assert world.connection().status is Status.CONNECTED
    assert (head(world).progress, head(world).reason) == (Progress.WAITING, "key_missing")


def test_storage_that_does_not_answer_defers_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    world = connected()
    job = world.chunk()

    def down(*_: object) -> None:
        raise StorageDown("503")

    with monkeypatch.context() as patch:
        patch.setattr(world.records, "commit", down)
        world.services.run(job)

    assert (job, STORAGE_PAUSE) in world.queue.deferred
    world.work()
    assert head(world).records == 60


def test_storage_that_does_not_answer_at_all_leaves_the_message_to_the_host() -> None:
    world = connected()
    job = world.chunk()
    world.queue.down = True
    world.acme.script = [RateLimited(NOW)]

    with pytest.raises(StorageDown):
        world.services.run(job)


class Rival:
    """Stands between a worker and its store, and lets something happen before a write."""

    def __init__(self, world: World, *, writes_first: bool) -> None:
        self.store = world.records
        self.writes_first = writes_first
        self.armed = True

    def head(self, place: Place) -> object:
        return self.store.head(place)

    def put_head(self, place: Place, head: Head, etag: Etag | None) -> Etag:
        return self.store.put_head(place, head, etag)

    def known(self, place: Place, ids: list[RecordId]) -> object:
        found: dict[RecordId, list[Known]] = dict(self.store.known(place, ids))  # type: ignore[arg-type]
        return found

    def quarantine(self, *args: object, **kwargs: object) -> None:
        raise AssertionError("nothing is unfit here")

    def commit(self, place: Place, transaction: Transaction, etag: Etag | None) -> Etag:
        if not self.armed:
            return self.store.commit(place, transaction, etag)
        self.armed = False
        if self.writes_first:
            # The answer to our own write is lost, and the client writes again.
            self.store.commit(place, transaction, etag)
        else:
            stored = self.store.head(place)
            self.store.put_head(place, replace(stored.value, writer="rival"), stored.etag)
        raise LostRace("412")


@pytest.mark.parametrize("writes_first", [True, False], ids=["own ghost", "another worker"])
def test_a_worker_goes_on_after_its_own_lost_answer_and_stops_for_another_worker(
    monkeypatch: pytest.MonkeyPatch, *, writes_first: bool
) -> None:
    world = connected()
    job = world.chunk()
    rival = Rival(world, writes_first=writes_first)
    slices = replace(world.services.slices, records=rival)  # type: ignore[arg-type]

    slices.run(job)

    if writes_first:
        assert head(world).progress is Progress.FINISHED
        assert head(world).records == 60
        assert [q.cursor for _, q in world.acme.asked if q] == [None, "25", "50"]
    else:
        assert head(world).records == 0
        assert world.queue.deferred == [
            entry for entry in world.queue.deferred if not isinstance(entry[0], ChunkJob)
        ]


def test_a_start_whose_own_answer_was_lost_still_sends_its_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = connected()
    world.work()
    world.at(timedelta(hours=1))
    put, armed = world.records.put_head, [True]

    def ghost(place: Place, head: Head, etag: Etag | None) -> Etag:
        written = put(place, head, etag)
        if armed and place.resource == RESOURCE:
            armed.clear()
            raise LostRace("412")
        return written

    monkeypatch.setattr(world.records, "put_head", ghost)
    world.start()

    assert isinstance(world.chunk(), ChunkJob)


def test_without_a_profile_the_first_record_says_whose_account_it_is() -> None:
    world = World()
    world.acme.scopes = frozenset({"read:sleep", "offline"})
    world.acme.records = records(3)
    world.connect()
    assert world.connection().account is None

    world.work()

    assert world.connection().account == "10129"
    assert len(world.held()) == 3


def test_without_a_profile_an_account_in_use_is_found_at_the_first_record() -> None:
    world = World()
    world.connect("bea")
    world.work()
    world.acme.scopes = frozenset({"read:sleep", "offline"})
    world.acme.records = records(3)

    world.connect("ana")
    world.work()

    assert world.connection("ana").status is Status.PARKED
    assert world.connection("ana").reason == "account_in_use"
    assert world.connection("bea").status is Status.CONNECTED
    assert world.held() == set()


def test_items_that_cannot_be_stored_are_kept_aside_and_the_page_goes_on() -> None:
    world = connected(0)
    foreign = a_record("foreign", account=type(world.connection().account or "")("666"))  # type: ignore[arg-type]
    world.acme.script = [a_page([foreign, a_record("own")])]

    world.work()

    assert world.held() == {"own"}
    assert {misfit.reason for misfit in world.records.quarantined[PLACE]} == {"foreign_account"}
    assert head(world).progress is Progress.FINISHED


def test_records_of_another_account_park_the_connection_and_hold_nothing() -> None:
    world = connected(0)
    world.work()
    held = head(world).held
    world.acme.scopes = frozenset({"read:sleep", "offline"})
    world.at(timedelta(hours=1))
    world.connect()
    world.acme.script = [a_page([a_record("x", account=AccountId("777"))])]

    world.work()

    assert world.connection().status is Status.PARKED
    assert world.connection().reason == "different_account"
    assert head(world).held == held
    assert world.held() == set()


def test_a_page_of_an_old_grant_says_nothing_about_a_new_one() -> None:
    world = connected(3)

    def reconnected(question: Question | None) -> Page:
        world.at(timedelta(seconds=1))
        world.connect()
        return a_page([a_record("x", account=AccountId("777"))])

    world.acme.script = [reconnected]
    world.work()

    assert world.connection().status is Status.CONNECTED
    assert world.held() == {"r0", "r1", "r2"}


def test_a_start_that_joins_a_run_starts_what_has_failed_in_it() -> None:
    world = connected()
    world.acme.script = [Rejected("400")]
    world.services.run(world.chunk())
    assert head(world).progress is Progress.FAILED
    place = world.place(PROFILE)
    stored = world.records.head(place)
    waiting = replace(stored.value, progress=Progress.WAITING, touched_at=world.time)
    world.records.put_head(place, waiting, stored.etag)

    world.start()
    world.work()

    assert head(world).run == waiting.run
    assert head(world).progress is Progress.FINISHED
    assert head(world).records == 60


def test_a_second_copy_of_a_message_does_not_cut_a_pause_short() -> None:
    world = connected()
    job = world.chunk()
    world.acme.script = [RateLimited(NOW + timedelta(hours=1))]
    world.services.run(job)
    asked = len(world.acme.asked)

    world.services.run(job)

    assert len(world.acme.asked) == asked
    assert all(delay >= timedelta(minutes=59) for j, delay in world.queue.deferred if j == job)


def test_a_pause_that_cannot_be_noted_is_deferred_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = connected()
    job = world.chunk()
    others = list(world.queue.deferred)
    world.acme.script = [RateLimited(NOW + timedelta(hours=1))]

    def down(*_: object) -> None:
        raise StorageDown("503")

    monkeypatch.setattr(world.records, "put_head", down)
    world.services.run(job)

    (sent,) = [entry for entry in world.queue.deferred if entry not in others]
    assert sent[0] == replace(job, waits=1)


def test_a_long_history_is_parked_over_the_days_quota_and_still_ends_whole() -> None:
    world = World(days=0)
    world.acme.limits = (Limit(1_000, timedelta(minutes=1)), Limit(25, timedelta(days=1)))
    world.acme.records = records(25 * 60)
    times: list[datetime] = []
    fetch = world.acme.fetch

    def timed(access: Secret, resource: ResourceName, question: Question | None) -> Page:
        times.append(world.time)
        return fetch(access, resource, question)

    world.acme.fetch = timed  # type: ignore[method-assign]
    world.connect()

    world.work(limit=1_000)

    assert len(world.held()) == 25 * 60
    assert head(world).progress is Progress.FINISHED
    assert len(times) == 61
    for first in times:
        assert sum(first <= at < first + timedelta(days=1) for at in times) <= 25


@pytest.mark.parametrize("lane", [Lane.NIGHTLY, Lane.MANUAL])
def test_news_do_not_wait_for_a_history_that_takes_days(lane: Lane) -> None:
    world = connected(120)
    world.work()
    world.acme.limits = (Limit(1_000, timedelta(minutes=1)), Limit(20, timedelta(days=1)))
    world.acme.records = records(25 * 60)
    history = world.services.sync.start(world.connection(), Lane.BACKFILL, since=HISTORY_START)
    while head(world).progress is not Progress.WAITING:
        world.services.run(world.chunk())
    got = len(world.held())
    world.at(timedelta(days=1, hours=1))
    world.acme.records.append(a_record("news", start=world.time - timedelta(hours=5)))
    world.acme.asked.clear()

    own = RunId("tonight")
    for _ in range(2):
        assert world.services.sync.start(world.connection(), lane, own=own) == own
    world.services.run(ChunkJob(world.connection().ref, RESOURCE, own, lane))

    assert history != own
    assert "news" in world.held()
    assert len(world.held()) == got + 1
    listed = world.connections.listed(world.connection().ref)
    assert listed is not None
    assert listed.synced_at is not None
    assert listed.synced_at >= world.time - timedelta(minutes=1)
    assert head(world).progress in ACTIVE
    world.work(limit=1_000)
    assert len(world.held()) == 25 * 60 + 1
    assert len(world.acme.asked) <= 60
    assert head(world).progress is Progress.FINISHED


def at_history(*late: int) -> World:
    """A member whose run has been at history for two hours, and whose ``late`` have no score."""
    world = World(days=20)
    world.acme.records = [
        replace(a_record(f"r{n}", start=NOW - timedelta(hours=12 * n + 1)), settled=n not in late)
        for n in range(300)
    ]
    world.connect()
    world.work()
    world.at(timedelta(hours=2))
    world.services.sync.start(world.connection(), Lane.BACKFILL, since=HISTORY_START)
    listed = world.acme.page

    def slowly(question: Question) -> Page:
        world.at(SLICE)
        return listed(question)

    world.acme.page = slowly  # type: ignore[method-assign]
    while not (history(head(world)) and head(world).reached):
        world.services.run(world.chunk())
    world.queue.take()
    world.at(timedelta(hours=2))
    return world


def test_a_worker_that_is_overtaken_leaves_the_new_run_to_the_new_job() -> None:
    world = at_history()
    world.acme.records.append(a_record("news", start=world.time - timedelta(hours=1)))
    run = head(world).run
    assert run is not None
    slowly, pages = world.acme.page, 0

    def overtaken(question: Question) -> Page:
        nonlocal pages
        pages += 1
        page = slowly(question)
        world.time -= SLICE
        if pages == 2:
            world.start(Lane.MANUAL)
        return page

    world.acme.page = overtaken  # type: ignore[method-assign]
    world.services.run(ChunkJob(world.connection().ref, RESOURCE, run, Lane.BACKFILL))

    assert pages == 2
    assert head(world).run != run
    world.acme.page = slowly  # type: ignore[method-assign]
    world.work(limit=1_000)
    assert len(world.held()) == 301
    assert head(world).progress is Progress.FINISHED


def test_late_scores_are_asked_for_before_history_and_not_behind_everybody() -> None:
    world = at_history(10, 11)
    world.services.sync.start(world.connection(), Lane.NIGHTLY)

    world.services.run(world.chunk())
    rest = world.chunk()
    world.services.run(rest)

    assert rest.lane is Lane.NIGHTLY
    assert [name for _, name in world.acme.looked] == ["r11", "r10"]
    assert world.chunk().lane is Lane.BACKFILL


def test_records_that_cannot_be_asked_for_do_not_stand_in_the_way_of_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = at_history(10, 11)

    def broken(*_: object) -> Page:
        raise Unavailable("500")

    monkeypatch.setattr(world.acme, "fetch_one", broken)
    world.services.sync.start(world.connection(), Lane.NIGHTLY)

    world.work(limit=1_000)

    assert len(world.held()) == 300
    assert (head(world).progress, head(world).reason) == (Progress.FAILED, Unavailable.code)
    assert head(world).checks == ("r10",)


def test_sync_now_does_not_wait_behind_everybody_for_news() -> None:
    world = connected()
    world.work()
    world.at(timedelta(days=1))
    bulk = world.services.sync.start(world.connection(), Lane.BACKFILL, since=HISTORY_START)
    world.acme.records.append(a_record("news", start=world.time))
    world.at(timedelta(hours=2))

    run = world.services.sync.start(world.connection(), Lane.MANUAL)

    assert run != bulk
    status = world.services.overview.status(world.connection().user, world.connection().provider)
    assert status["run"]["id"] == run
    assert status["run"]["goal"]["start"].startswith("2012-01-01")
    assert world.services.sync.start(world.connection(), Lane.MANUAL) == run
    late, job = (one for one, _ in world.queue.take() if one.resource == RESOURCE)  # type: ignore[union-attr]
    world.services.run(late)
    assert "news" not in world.held()
    world.services.run(job)
    assert "news" in world.held()


def test_a_spent_day_is_told_with_the_time_when_it_goes_on() -> None:
    world = World(days=0)
    world.acme.limits = (Limit(10, timedelta(days=1)),)
    world.acme.records = records(25 * 20)
    world.connect()
    while head(world).progress is not Progress.WAITING:
        world.services.run(world.chunk())

    status = world.services.overview.status(world.connection().user, world.connection().provider)

    assert status["run"]["state"] == "waiting"
    assert status["resources"][0]["reason"] == "out_of_budget"
    assert status["resources"][0]["retry_at"] > "2026-04-01T12:00"
