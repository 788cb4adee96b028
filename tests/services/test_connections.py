from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.connections import FINISH_AFTER, STATE_LIFE, TICKET_LIFE
from shared.core import backoff
from shared.core.model import (
    AccountId,
    ChunkJob,
    FinishJob,
    Lane,
    LookJob,
    Page,
    Progress,
    ProviderName,
    RecordId,
    Status,
    UserId,
)
from shared.errors import (
    AccountDeactivated,
    ConnectRefused,
    GrantDead,
    LostRace,
    NotThere,
    ProviderError,
    RateLimited,
    Rejected,
    ScopeMissing,
    StorageDown,
    TokenRejected,
    Unavailable,
)
from tests.builders import ACCOUNT, NOW, PROVIDER, RESOURCE, USER, a_document, a_record
from tests.services.world import BROWSER, PROFILE, World

OTHER = "o" * 43


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ConnectRefused) as caught:
        call()
    return caught.value.reason


def test_a_member_who_consents_is_connected_and_their_first_run_has_begun() -> None:
    world = World()

    world.connect()

    connection = world.connection()
    assert connection.status is Status.CONNECTED
    assert connection.account == ACCOUNT
    assert connection.connected_at == NOW
    assert world.chunk().lane is Lane.MANUAL
    assert not world.connections.any_pending(USER, PROVIDER)


def test_a_ticket_works_once() -> None:
    world = World()
    ticket = world.services.connections.ticket(USER, PROVIDER, BROWSER)
    world.services.connections.begin(ticket.secret, PROVIDER, BROWSER)

    again = refused(lambda: world.services.connections.begin(ticket.secret, PROVIDER, BROWSER))

    assert again == "expired_link"


@pytest.mark.parametrize(
    ("later", "provider", "browser", "reason"),
    [
        pytest.param(TICKET_LIFE, PROVIDER, BROWSER, "expired_link", id="too old"),
        pytest.param(
            timedelta(0), ProviderName("other"), BROWSER, "expired_link", id="other provider"
        ),
        pytest.param(timedelta(0), PROVIDER, OTHER, "other_browser", id="other browser"),
        pytest.param(timedelta(0), PROVIDER, None, "other_browser", id="lost cookie"),
    ],
)
def test_a_ticket_is_good_for_its_time_provider_and_browser(
    later: timedelta, provider: ProviderName, browser: str | None, reason: str
) -> None:
    world = World()
    ticket = world.services.connections.ticket(USER, PROVIDER, BROWSER)
    world.at(later)

    begin = world.services.connections.begin
    assert refused(lambda: begin(ticket.secret, provider, browser)) == reason


def test_another_browser_does_not_spoil_a_ticket() -> None:
    world = World()
    ticket = world.services.connections.ticket(USER, PROVIDER, BROWSER)
    refused(lambda: world.services.connections.begin(ticket.secret, PROVIDER, OTHER))

    assert world.services.connections.begin(ticket.secret, PROVIDER, BROWSER)


def test_a_forged_state_is_refused() -> None:
    world = World()

    assert refused(lambda: world.answer("forged")) == "expired_link"


def test_a_ticket_is_no_state() -> None:
    world = World()
    ticket = world.services.connections.ticket(USER, PROVIDER, BROWSER)

    assert refused(lambda: world.answer(ticket.secret)) == "expired_link"


def test_a_state_works_once() -> None:
    world = World()
    state = world.consent()
    world.answer(state)

    assert refused(lambda: world.answer(state)) == "expired_link"


def test_a_state_is_good_for_ten_minutes() -> None:
    world = World()
    state = world.consent()
    world.at(STATE_LIFE)

    assert refused(lambda: world.answer(state)) == "expired_link"


@pytest.mark.parametrize("browser", [OTHER, None])
def test_nobody_finishes_a_connection_in_another_browser(browser: str | None) -> None:
    world = World()
    state = world.consent()

    assert refused(lambda: world.answer(state, browser)) == "other_browser"

    world.answer(state)
    assert world.connection().status is Status.CONNECTED


def test_of_sixteen_answers_with_one_state_exactly_one_connects() -> None:
    world = World()
    state = world.consent()

    def answer(_: int) -> str | None:
        try:
            world.answer(state)
        except ConnectRefused as refusal:
            return refusal.reason
        return None

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(answer, range(16)))

    assert sorted(outcomes, key=str) == [None, *["expired_link"] * 15]


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        ("", "access_denied", "denied"),
        ("", "request_forbidden", "provider_error"),
        ("", "", "provider_error"),
        ("code", "invalid_scope", "provider_error"),
    ],
)
def test_a_no_from_the_consent_page_uses_the_state_up(code: str, said: str, reason: str) -> None:
    world = World()
    state = world.consent()

    def answer() -> None:
        world.services.connections.complete(
            PROVIDER, state=state, code=code, said=said, browser=BROWSER
        )

    assert refused(answer) == reason
    assert refused(answer) == "expired_link"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (GrantDead("invalid_grant"), "expired_link"),
        (Unavailable("500"), "provider_unavailable"),
        (RateLimited(NOW), "provider_unavailable"),
        (Rejected("invalid_client"), "provider_error"),
    ],
)
def test_a_code_that_cannot_be_traded_leaves_nothing_behind(
    error: ProviderError, reason: str
) -> None:
    world = World()
    world.acme.token_script = [error]

    assert refused(world.connect) == reason
    assert world.connections.find(USER, PROVIDER) is None
    assert not world.connections.any_pending(USER, PROVIDER)
    assert world.queue.deferred == []


def test_a_grant_without_a_refresh_token_is_refused() -> None:
    world = World()
    world.acme.refreshes = False

    assert refused(world.connect) == "no_offline_access"
    assert world.connections.find(USER, PROVIDER) is None


def test_fewer_scopes_connect_and_are_reported() -> None:
    world = World()
    world.acme.scopes = frozenset({"read:profile", "offline"})

    world.connect()

    status = world.services.overview.status(USER, PROVIDER)
    assert status["connection"]["status"] == "connected"
    assert status["connection"]["missing_scopes"] == ["read:sleep"]
    assert status["connection"]["reason"] == "scope_missing"
    assert status["connection"]["action"] == "reconnect"


def test_an_account_that_is_in_use_is_refused_and_its_owner_keeps_it() -> None:
    world = World()
    world.connect("bea")

    assert refused(lambda: world.connect("ana")) == "account_in_use"

    assert world.connection("bea").status is Status.CONNECTED
    assert world.connections.find(UserId("ana"), PROVIDER) is None
    assert not world.connections.any_pending(UserId("ana"), PROVIDER)


def test_a_different_account_is_refused_and_the_connection_stays_as_it_was() -> None:
    world = World()
    world.connect()
    before = world.connection()
    world.acme.document = a_document(account=AccountId("777"))

    assert refused(world.connect) == "different_account"

    assert world.connection() == before


def test_reconnecting_takes_the_new_grant_under_the_same_ref() -> None:
    world = World()
    world.connect()
    world.work()
    before = world.connection()
    stored = world.connections.find(USER, PROVIDER)
    assert stored is not None
    world.connections.put(replace(before, status=Status.PARKED, reason="x"), stored.etag)
    world.at(timedelta(days=1))

    world.connect()

    after = world.connection()
    assert (after.status, after.reason, after.ref) == (Status.CONNECTED, None, before.ref)
    assert after.grant.id != before.grant.id
    assert after.account == ACCOUNT


def test_an_account_stays_known_where_a_new_grant_does_not_say() -> None:
    world = World()
    world.connect()
    world.at(timedelta(hours=1))
    world.acme.scopes = frozenset({"read:sleep", "offline"})

    world.connect()

    assert world.connection().account == ACCOUNT


@pytest.mark.parametrize(
    "answer", [ScopeMissing("403"), AccountDeactivated("403"), NotThere("404"), Page(())]
)
def test_a_profile_that_cannot_be_had_is_no_reason_to_refuse(
    answer: ProviderError | Page,
) -> None:
    world = World()
    world.acme.document = answer

    world.connect()

    assert world.connection().status is Status.CONNECTED
    assert world.connection().account is None


def test_a_profile_request_that_is_refused_is_our_mistake_and_told() -> None:
    world = World()
    world.acme.document = Rejected("400")

    assert refused(world.connect) == "provider_error"
    assert not world.connections.any_pending(USER, PROVIDER)


@pytest.mark.parametrize(
    "error", [Unavailable("500"), TokenRejected("401"), RateLimited(NOW + timedelta(minutes=2))]
)
def test_a_provider_that_fails_after_the_code_was_traded_is_waited_for(
    error: ProviderError,
) -> None:
    world = World()
    world.acme.document = error

    world.connect()

    status = world.services.overview.status(USER, PROVIDER)
    assert status["connection"] == {"status": "connecting"}
    ((job, delay),) = world.queue.deferred
    assert isinstance(job, FinishJob)
    assert delay == FINISH_AFTER

    world.acme.document = a_document()
    world.work()
    assert world.connection().status is Status.CONNECTED
    assert world.records.current(world.place(PROFILE))


def test_finishing_waits_as_long_as_the_provider_asks() -> None:
    world = World()
    world.acme.document = Unavailable("500")
    world.connect()
    ((job, _),) = world.queue.take()
    world.acme.document = RateLimited(NOW + timedelta(hours=1))

    world.services.run(job)

    ((again, delay),) = world.queue.deferred
    assert again == replace(job, waits=1)
    assert delay >= timedelta(hours=1)


def test_a_profile_that_is_never_answered_costs_nobody_their_connection() -> None:
    world = World()
    world.acme.document = Unavailable("500")
    world.connect()
    jobs = [world.queue.take()[0][0]]
    while isinstance(jobs[-1], FinishJob):
        world.services.run(jobs[-1])
        jobs.append(world.queue.take()[0][0])

    assert [job.attempt for job in jobs[:-1]] == list(range(backoff.MAX_ATTEMPTS))
    assert world.connection().status is Status.CONNECTED
    assert world.connection().account is None
    assert not world.connections.any_pending(USER, PROVIDER)


def test_a_grant_whose_token_ran_out_while_it_waited_is_connected_without_a_profile() -> None:
    world = World()
    world.acme.records = [a_record("a", start=NOW - timedelta(days=1))]
    world.acme.document = RateLimited(NOW + timedelta(hours=3))
    world.connect()
    ((job, _),) = world.queue.take()
    world.at(timedelta(hours=3))
    world.acme.document = a_document()

    world.services.run(job)
    world.work()

    assert world.connection().status is Status.CONNECTED
    assert world.connection().account == ACCOUNT
    assert world.held() == {"a"}
    assert world.acme.renewals == 1


def test_finishing_what_the_callback_finished_does_nothing() -> None:
    world = World()
    world.connect()
    before = world.connection()
    (job,) = [job for job, _ in world.queue.deferred if isinstance(job, FinishJob)]

    world.services.run(job)

    assert world.connection() == before
    assert [name for name, _ in world.acme.asked] == [PROFILE]


def test_finishing_can_end_in_a_refusal_too() -> None:
    world = World()
    world.connect("bea")
    world.acme.document = Unavailable("500")
    world.connect("ana")
    world.acme.document = a_document()

    world.work()

    assert world.connections.find(UserId("ana"), PROVIDER) is None
    assert not world.connections.any_pending(UserId("ana"), PROVIDER)


def test_a_missing_key_leaves_the_grant_to_be_finished_later() -> None:
    world = World()
    state = world.consent()
    sealed = world.cipher.seal

    def seal_and_lose(*arguments: object) -> object:
        value = sealed(*arguments)  # type: ignore[arg-type]
        world.cipher.forget()
        return value

    connections = replace(world.services.connections, cipher=_Cipher(seal_and_lose, world))  # type: ignore[arg-type]

    connections.complete(PROVIDER, state=state, code="code", said="", browser=BROWSER)

    assert world.connections.any_pending(USER, PROVIDER)
    ((job, _),) = world.queue.take()
    assert isinstance(job, FinishJob)
    connections.finish(job)
    assert world.connections.any_pending(USER, PROVIDER)
    assert world.queue.deferred[0][0] == job


class _Cipher:
    def __init__(self, seal: Callable[..., object], world: World) -> None:
        self.seal = seal
        self.open = world.cipher.open


def test_storage_that_fails_before_the_grant_is_kept_is_told_to_the_member(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.queue.down = True

    with pytest.raises(StorageDown):
        world.connect()

    assert world.services.overview.status(USER, PROVIDER)["connection"] == {"status": "none"}


def test_storage_that_fails_later_is_not_the_members_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    down = [StorageDown("503")]
    put = world.connections.put

    def failing(*arguments: object) -> object:
        if down:
            raise down.pop()
        return put(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.connections, "put", failing)
    world.connect()
    assert world.connections.any_pending(USER, PROVIDER)

    world.work()
    assert world.connection().status is Status.CONNECTED


def test_storage_that_fails_while_finishing_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.acme.document = Unavailable("500")
    world.connect()
    ((job, _),) = world.queue.take()

    def down(*_: object) -> None:
        raise StorageDown("503")

    with monkeypatch.context() as patch:
        patch.setattr(world.connections, "put", down)
        world.acme.document = a_document()
        world.services.run(job)

    assert world.queue.deferred == [(job, FINISH_AFTER)]


class Died(BaseException):
    """The process was killed."""


@pytest.mark.parametrize("call", range(40))
def test_a_crash_at_any_call_leaves_a_grant_that_a_job_turns_into_records(
    call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.acme.records = [a_record("a", start=NOW - timedelta(days=1))]
    state = world.consent()
    calls = itertools.count()

    def mortal(method: Callable[..., object]) -> Callable[..., object]:
        def called(*arguments: object, **options: object) -> object:
            if next(calls) == call:
                raise Died
            return method(*arguments, **options)

        return called

    with monkeypatch.context() as patch:
        for port, names in (
            (world.connections, ("find", "put", "put_pending", "claim_account", "drop_pending")),
            (world.records, ("head", "put_head", "commit")),
            (world.queue, ("defer",)),
        ):
            for name in names:
                patch.setattr(port, name, mortal(getattr(port, name)))
        with suppress(Died):
            world.answer(state)
    kept = world.connections.any_pending(USER, PROVIDER)
    connected = world.connections.find(USER, PROVIDER) is not None

    world.work()

    if kept or connected:
        assert world.connection().status is Status.CONNECTED
        assert world.held() == {"a"}
        assert set(world.records.current(world.place(PROFILE))) == {"profile"}
    assert not world.connections.any_pending(USER, PROVIDER)


def test_two_attempts_of_a_new_member_end_under_one_ref() -> None:
    world = World()
    world.acme.records = [a_record("a", start=NOW - timedelta(days=1))]
    world.acme.document = Unavailable("500")
    world.connect()
    ((older, _),) = world.queue.take()
    world.at(timedelta(seconds=1))
    world.connect()
    ((newer, _),) = world.queue.take()
    world.acme.document = a_document()
    world.services.run(older)
    ref = world.connection().ref

    world.services.run(newer)
    world.work()

    assert world.connection().ref == ref
    assert world.connection().grant.id == newer.grant  # type: ignore[union-attr]
    assert world.held() == {"a"}


def test_finishing_never_writes_an_old_pair_over_a_renewed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    state = world.consent()
    with monkeypatch.context() as patch:
        patch.setattr(world.connections, "drop_pending", _die)
        with pytest.raises(KeyboardInterrupt):
            world.answer(state)
    (finish,) = [job for job, _ in world.queue.deferred if isinstance(job, FinishJob)]
    world.at(timedelta(minutes=59))
    world.services.slices.tokens.use(world.connection().ref, lambda access: access)
    renewed = world.connection().grant
    assert world.acme.renewals == 1

    world.services.run(finish)

    assert world.connection().grant == renewed


def test_an_older_grant_that_waits_does_not_replace_a_newer_one() -> None:
    world = World()
    world.acme.document = Unavailable("500")
    world.connect()
    ((older, _),) = world.queue.take()
    world.acme.document = a_document()
    world.at(timedelta(seconds=30))
    world.connect()
    newer = world.connection().grant

    world.services.run(older)

    assert world.connection().grant == newer
    assert not world.connections.any_pending(USER, PROVIDER)


def test_a_claim_on_an_account_that_led_nowhere_can_be_taken_over() -> None:
    world = World()
    world.connections.claim_account(PROVIDER, ACCOUNT, UserId("bea"), now=world.time)
    assert refused(world.connect) == "account_in_use"

    world.at(timedelta(minutes=11))
    world.connect()

    assert world.connection().status is Status.CONNECTED


# What a record tells of its account, while somebody else claims it


def nameless(world: World) -> None:
    """Connect without a profile, so that the first record tells whose account it is."""
    world.acme.records = [a_record("a", start=NOW - timedelta(days=1))]
    world.acme.document = NotThere("404")
    world.connect()
    world.acme.document = a_document()
    assert world.connection().account is None


def contended(world: World, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    claim, losses = world.connections.claim_account, [LostRace("made up")] * times

    def lose(*given: Any, **more: Any) -> UserId:
        if losses:
            raise losses.pop()
        return claim(*given, **more)

    monkeypatch.setattr(world.connections, "claim_account", lose)


def test_a_contended_claim_costs_a_run_a_second_and_not_its_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    nameless(world)
    contended(world, monkeypatch, 1)
    job = world.chunk()
    world.queue.take()

    world.services.run(job)

    ((again, delay),) = world.queue.deferred
    assert isinstance(again, ChunkJob)
    assert timedelta(0) < delay <= timedelta(seconds=5)
    world.work()
    assert world.held() == {"a"}
    assert world.connection().account == ACCOUNT
    assert world.records.head(world.place()).value.progress is Progress.FINISHED


def test_a_contended_claim_costs_a_look_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    nameless(world)
    world.queue.take()
    contended(world, monkeypatch, 1)
    look = LookJob(
        world.connection().ref,
        RESOURCE,
        RecordId("a"),
        alias=False,
        gone=False,
        at=world.time,
        key="k",
    )

    world.services.run(look)

    ((again, delay),) = world.queue.deferred
    assert isinstance(again, LookJob)
    assert timedelta(0) < delay <= timedelta(seconds=5)
    world.work()
    assert world.held() == {"a"}
    assert world.connection().account == ACCOUNT


def _die(*_: object) -> None:
    raise KeyboardInterrupt
