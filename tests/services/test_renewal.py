from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.core.model import AccountId, Claim, Connection, Secret, Status
from shared.errors import (
    Busy,
    GrantDead,
    LostRace,
    ProviderError,
    RateLimited,
    Rejected,
    StorageDown,
    TokenRejected,
    Unavailable,
    Unsealable,
)
from shared.ports import Etag
from shared.renewal import CLAIM, TRIES, YOUNG
from tests.builders import NOW, PROVIDER, USER
from tests.services.world import World

HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    world = World()
    world.connect()
    world.queue.take()
    world.acme.asked.clear()
    return world


def use(world: World) -> str:
    """Return the access token that a call is given; the provider accepts only its newest."""

    def call(access: Secret) -> str:
        if access.reveal() != world.acme.access:
            raise TokenRejected("not the newest")
        return access.reveal()

    return world.services.slices.tokens.use(world.connection().ref, call)


def change(world: World, **changes: object) -> None:
    stored = world.connections.find(USER, PROVIDER)
    assert stored is not None
    changed = replace(stored.value, **changes)  # type: ignore[arg-type]  # the tests name real fields
    world.connections.put(changed, stored.etag)


def test_a_token_that_lasts_is_used_as_it_is(world: World) -> None:
    assert use(world) == "access-0"
    assert world.acme.renewals == 0


@pytest.mark.parametrize(
    ("age", "renewals"),
    [(HOUR - timedelta(minutes=2, seconds=1), 0), (HOUR - timedelta(minutes=2), 1), (3 * HOUR, 1)],
)
def test_a_token_is_renewed_before_it_ends(world: World, age: timedelta, renewals: int) -> None:
    world.at(age)

    use(world)

    assert world.acme.renewals == renewals


def test_a_short_lived_token_keeps_most_of_its_life() -> None:
    world = World()
    world.acme.lifetime = timedelta(seconds=100)
    world.connect()

    world.at(timedelta(seconds=89))
    use(world)
    assert world.acme.renewals == 0

    world.at(timedelta(seconds=1))
    use(world)
    assert world.acme.renewals == 1


def test_the_new_pair_is_stored_before_it_is_used(world: World) -> None:
    world.at(HOUR)

    def call(access: Secret) -> Connection:
        return world.connection()

    connection = world.services.slices.tokens.use(world.connection().ref, call)

    assert connection.grant.issued_at == world.time
    assert connection.grant.expires_at == world.time + HOUR
    assert connection.claim is None


def test_a_refused_token_is_renewed_once(world: World) -> None:
    world.at(YOUNG)
    world.acme.access = "revoked early"

    assert use(world) == "access-1"
    assert world.acme.renewals == 1


def test_a_young_token_that_is_refused_is_the_providers_confusion(world: World) -> None:
    world.at(YOUNG - timedelta(seconds=1))
    world.acme.access = "revoked early"

    with pytest.raises(TokenRejected):
        use(world)

    assert world.acme.renewals == 0
    assert world.connection().status is Status.CONNECTED


def test_a_token_that_is_refused_after_it_was_renewed_is_not_renewed_again(world: World) -> None:
    world.at(YOUNG)

    def call(access: Secret) -> None:
        raise TokenRejected("whatever it is")

    with pytest.raises(TokenRejected):
        world.services.slices.tokens.use(world.connection().ref, call)

    assert world.acme.renewals == 1
    assert world.connection().status is Status.CONNECTED


def test_a_token_that_somebody_else_has_just_renewed_is_taken_from_the_row(world: World) -> None:
    world.at(YOUNG)
    calls = []

    def call(access: Secret) -> str:
        calls.append(access.reveal())
        if len(calls) == 1:
            # Another worker renews while our request is under way: our token dies.
            world.at(HOUR)
            use(world)
            raise TokenRejected("dead by rotation")
        return access.reveal()

    assert world.services.slices.tokens.use(world.connection().ref, call) == "access-1"
    assert world.acme.renewals == 1


def test_fifty_callers_of_one_expired_token_make_one_renewal(world: World) -> None:
    world.at(HOUR)
    renew, started = world.acme.renew, threading.Event()

    def slow(refresh: Secret) -> object:
        started.wait(2)
        return renew(refresh)

    world.acme.renew = slow  # type: ignore[method-assign,assignment]

    def caller(number: int) -> str:
        if number == 49:
            started.set()
        try:
            return use(world)
        except Busy:
            return "busy"

    with ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(caller, range(50)))

    assert world.acme.renewals == 1
    assert set(outcomes) <= {"busy", "access-1"}
    assert "access-1" in outcomes
    assert use(world) == "access-1"


def test_losers_are_told_to_come_back_in_about_a_second(world: World) -> None:
    world.at(HOUR)
    change(world, claim=Claim("rival", world.time + CLAIM))

    with pytest.raises(Busy) as caught:
        use(world)

    assert caught.value.retry_at == world.time + timedelta(seconds=1)
    assert world.acme.renewals == 0


def test_a_claim_whose_maker_died_is_taken_over_and_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.at(HOUR)
    change(world, claim=Claim("dead", world.time + CLAIM))
    world.at(CLAIM)

    assert use(world) == "access-1"

    assert "renewal.interrupted" in caplog.text


@pytest.mark.parametrize(
    "error", [Unavailable("500"), RateLimited(NOW), Rejected("invalid_client")]
)
def test_an_outage_of_any_kind_parks_nobody_and_leaves_the_way_open(
    world: World, error: ProviderError
) -> None:
    world.at(HOUR)
    world.acme.token_script = [error]
    with pytest.raises((Unavailable, RateLimited)):
        use(world)
    assert world.connection().status is Status.CONNECTED
    assert world.connection().claim is None

    assert use(world).startswith("access-")


def test_the_providers_own_word_parks_the_connection(world: World) -> None:
    world.at(HOUR)
    world.acme.token_script = [GrantDead("invalid_grant")]

    with pytest.raises(GrantDead):
        use(world)

    assert world.connection().status is Status.PARKED
    assert world.connection().reason == "reauth_required"
    with pytest.raises(GrantDead):
        use(world)
    assert world.acme.renewals == 1


def test_the_providers_word_is_not_believed_once_the_row_holds_another_pair(
    world: World,
) -> None:
    world.at(HOUR)

    def overtaken(refresh: Secret) -> object:
        change(world, claim=Claim("rival", world.time + CLAIM))
        raise GrantDead("invalid_grant")

    world.acme.renew = overtaken  # type: ignore[method-assign,assignment]

    with pytest.raises(Busy):
        use(world)

    assert world.connection().status is Status.CONNECTED


@pytest.mark.parametrize("error", [None, Unavailable("500")])
def test_whoever_was_overtaken_writes_nothing(world: World, error: ProviderError | None) -> None:
    world.at(HOUR)
    renew = world.acme.renew

    def overtaken(refresh: Secret) -> object:
        change(world, claim=Claim("rival", world.time + CLAIM))
        if error is not None:
            raise error
        return renew(refresh)

    world.acme.renew = overtaken  # type: ignore[method-assign,assignment]

    with pytest.raises((Busy, Unavailable)):
        use(world)

    assert world.connection().claim == Claim("rival", world.time + CLAIM)
    assert world.connection().grant.issued_at == NOW


def _losing(
    put: Callable[[Connection, Etag | None], Etag], *, written: bool
) -> Callable[[Connection, Etag | None], Etag]:
    armed = [True]

    def losing(connection: Connection, etag: Etag | None) -> Etag:
        if not armed:
            return put(connection, etag)
        armed.clear()
        if written:
            put(connection, etag)
        raise LostRace("412")

    return losing


def test_a_claim_whose_own_answer_was_lost_is_recognised(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at(HOUR)
    monkeypatch.setattr(world.connections, "put", _losing(world.connections.put, written=True))

    assert use(world) == "access-1"


def test_a_claim_that_another_caller_won_is_left_to_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at(HOUR)
    monkeypatch.setattr(world.connections, "put", _losing(world.connections.put, written=False))

    with pytest.raises(Busy):
        use(world)

    assert world.acme.renewals == 0


def _failing(
    put: Callable[[Connection, Etag | None], Etag], errors: list[Exception], *, written: bool
) -> Callable[[Connection, Etag | None], Etag]:
    """Fail with ``errors`` when new tokens are written, and before that with nothing."""

    def failing(connection: Connection, etag: Etag | None) -> Etag:
        if connection.claim is not None or not errors:
            return put(connection, etag)
        if written:
            put(connection, etag)
        raise errors.pop(0)

    return failing


@pytest.mark.parametrize("written", [False, True])
def test_new_tokens_are_written_again_to_a_storage_that_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, *, written: bool
) -> None:
    world.at(HOUR)
    errors: list[Exception] = [StorageDown("away") for _ in range(1 if written else TRIES - 1)]
    put = world.connections.put
    monkeypatch.setattr(world.connections, "put", _failing(put, errors, written=written))

    assert use(world) == "access-1"
    assert use(world) == "access-1"
    assert world.acme.renewals == 1


def test_new_tokens_whose_own_answer_was_lost_are_recognised(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at(HOUR)
    put = world.connections.put
    monkeypatch.setattr(world.connections, "put", _failing(put, [LostRace("412")], written=True))

    assert use(world) == "access-1"


def test_new_tokens_that_no_storage_takes_are_reported(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.at(HOUR)
    errors: list[Exception] = [StorageDown("away") for _ in range(TRIES)]
    put = world.connections.put
    monkeypatch.setattr(world.connections, "put", _failing(put, errors, written=False))

    with pytest.raises(StorageDown):
        use(world)

    assert "renewal.lost" in caplog.text
    assert world.connection().status is Status.CONNECTED


def test_an_account_that_is_noted_under_a_claim_does_not_cost_the_new_tokens(world: World) -> None:
    world.at(HOUR)
    renew = world.acme.renew

    def noted(refresh: Secret) -> object:
        change(world, account=AccountId("another"))
        return renew(refresh)

    world.acme.renew = noted  # type: ignore[method-assign,assignment]

    assert use(world) == "access-1"
    assert world.connection().account == "another"
    assert world.connection().claim is None


def test_a_provider_that_keeps_the_refresh_token_keeps_ours(world: World) -> None:
    world.at(HOUR)
    world.acme.refreshes = False
    before = world.connection().grant

    use(world)

    assert world.connection().grant.refresh == before.refresh
    assert world.connection().grant.scopes == before.scopes


def test_an_answer_without_scopes_keeps_those_that_were_granted(world: World) -> None:
    world.at(HOUR)
    before = world.connection().grant.scopes
    world.acme.scopes = frozenset()

    use(world)

    assert world.connection().grant.scopes == before


def test_there_is_no_token_without_a_connection(world: World) -> None:
    with pytest.raises(GrantDead):
        world.services.slices.tokens.use(type(world.connection().ref)("nobody"), lambda _: None)


def test_nobody_asks_under_a_claim_that_could_end_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at(HOUR)
    put = world.connections.put

    def slow(connection: Connection, etag: Etag | None) -> Etag:
        world.at(CLAIM - timedelta(seconds=10))
        return put(connection, etag)

    with monkeypatch.context() as patch:
        patch.setattr(world.connections, "put", slow)
        with pytest.raises(Busy):
            use(world)

    assert world.acme.renewals == 0
    assert world.connection().claim is None
    assert use(world) == "access-1"


def test_a_key_that_is_missing_leaves_no_claim_behind(world: World) -> None:
    world.at(HOUR)
    world.cipher.forget()

    with pytest.raises(Unsealable):
        use(world)

    assert world.connection().claim is None
