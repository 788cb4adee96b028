"""One class per port: what every implementation must do.  Subclass it and provide the fixtures.

Every test makes up its own names, so that one storage can serve them all.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.core import budget as budgets
from shared.core import keys
from shared.core.feed import Landed, Number
from shared.core.model import (
    AccountId,
    Bell,
    ChunkJob,
    Claim,
    Connection,
    Cursor,
    Deletion,
    Departure,
    FinishJob,
    GrantId,
    Head,
    Job,
    Known,
    Lane,
    Limit,
    Listed,
    Look,
    LookJob,
    Misfit,
    Page,
    Pending,
    Place,
    Progress,
    ProviderName,
    Quota,
    Recent,
    Record,
    RecordId,
    Ref,
    ResourceName,
    RunId,
    Sealed,
    SealedGrant,
    Secret,
    Span,
    StartJob,
    Status,
    Todo,
    UserId,
    Version,
)
from shared.core.settle import Transaction, settle
from shared.core.sizes import PROPERTY, row_fits
from shared.errors import LostRace, Unsealable
from shared.ports import (
    BudgetStore,
    Cipher,
    ConnectionStore,
    DepartureStore,
    Etag,
    EventStore,
    JobQueue,
    OneTime,
    OneTimeStore,
    Poisoned,
    PoisonStore,
    Receipt,
    RecordStore,
    SealPlace,
    Slot,
    SlotStore,
    Stored,
)

NOW = datetime(2026, 11, 22, 11, 30, 0, 250_001, tzinfo=UTC)
THREADS = 16
SLEEP = ResourceName("sleep")
OTHER = ProviderName("other")
DAY = timedelta(days=1)
#: A time that no other test's rows are older than.
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
#: Of a form that Azure can read, and of no row.
NOBODYS = Etag("W/\"datetime'2020-01-01T00%3A00%3A00.0000000Z'\"")
#: Whatever a member may be called: all that Azure forbids or advises against in keys, and more.
ODD_NAMES = [
    pytest.param("a/b\\c#d?e", id="forbidden in keys"),
    pytest.param("50%+1", id="advised against"),
    pytest.param("Ana María Ñandú", id="with spaces and accents"),
    pytest.param("🏋🏽‍♀️", id="an emoji of several characters"),
    pytest.param("o'Neill''s \"x\"", id="with quotes"),
    pytest.param("a|b~c!d", id="with our own separators"),
    pytest.param("=41", id="as if it were escaped"),
    pytest.param("\x00\x1f\x7f\x9f", id="control characters"),
    pytest.param("x" * 200, id="as long as they get"),
]

T = TypeVar("T")


def fresh(before: str = "") -> str:
    """Return a name that nobody has used."""
    return f"{before}{uuid4().hex}"


def at_once(call: Callable[[], T], threads: int = THREADS) -> list[T | None]:
    """Call from many threads at the same moment; None where the race was lost."""
    start = threading.Barrier(threads)

    def run(_: int) -> T | None:
        start.wait()
        with suppress(LostRace):
            return call()
        return None

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


#: Whatever may be in a queue.
BODIES = [
    pytest.param(b"", id="empty"),
    pytest.param(b'{"form": 1}', id="text"),
    pytest.param(bytes(range(256)), id="every byte"),
    pytest.param(bytes(range(256)) * 256, id="64 KiB"),
]


# One-time secrets


def a_ticket(user: str = "ana") -> OneTime:
    return OneTime(UserId(user), ProviderName("acme"), keys.fingerprint("browser"), NOW)


def winners(store: OneTimeStore, kind: str) -> int:
    """Let many threads use up one secret; count those who are told that it was them."""
    name = fresh()
    store.keep(kind, name, a_ticket())
    found = threading.Barrier(THREADS)

    def redeem() -> bool:
        stored = store.find(kind, name)
        found.wait()  # everybody has seen it unused
        if stored is None or stored.etag is None:
            return False
        store.use_up(kind, name, stored.etag)
        return True

    return at_once(redeem).count(True)


class OneTimeContract:
    """What every ``OneTimeStore`` must do."""

    def test_what_is_kept_is_found_as_it_was(self, once: OneTimeStore) -> None:
        name = fresh()
        once.keep("ticket", name, a_ticket())

        found = once.find("ticket", name)

        assert found is not None
        assert found.value == a_ticket()

    @pytest.mark.parametrize("user", ODD_NAMES)
    def test_it_may_be_anybodys(self, once: OneTimeStore, user: str) -> None:
        name = fresh()
        once.keep("ticket", name, a_ticket(user))

        found = once.find("ticket", name)

        assert found is not None
        assert found.value.user == user

    def test_what_was_never_kept_is_not_found(self, once: OneTimeStore) -> None:
        assert once.find("ticket", fresh()) is None
        assert not once.kept("ticket", fresh())

    def test_a_ticket_is_no_state(self, once: OneTimeStore) -> None:
        name = fresh()
        once.keep("ticket", name, a_ticket())

        assert once.find("state", name) is None

    def test_it_cannot_be_kept_twice(self, once: OneTimeStore) -> None:
        name = fresh()
        once.keep("ticket", name, a_ticket())

        with pytest.raises(LostRace):
            once.keep("ticket", name, a_ticket("eve"))

        found = once.find("ticket", name)
        assert found is not None
        assert found.value.user == "ana"

    def test_what_was_used_up_is_not_found_and_not_used_up_again(self, once: OneTimeStore) -> None:
        name = fresh()
        once.keep("ticket", name, a_ticket())
        found = once.find("ticket", name)
        assert found is not None
        assert found.etag is not None
        once.use_up("ticket", name, found.etag)

        assert once.find("ticket", name) is None
        assert once.kept("ticket", name)
        with pytest.raises(LostRace):
            once.use_up("ticket", name, found.etag)

    def test_what_was_used_up_cannot_be_kept_again(self, once: OneTimeStore) -> None:
        name = fresh()
        once.keep("ticket", name, a_ticket())
        found = once.find("ticket", name)
        assert found is not None
        assert found.etag is not None
        once.use_up("ticket", name, found.etag)

        with pytest.raises(LostRace):
            once.keep("ticket", name, a_ticket())

    def test_a_stale_etag_uses_nothing_up(self, once: OneTimeStore) -> None:
        name = fresh()
        once.keep("ticket", name, a_ticket())

        with pytest.raises(LostRace):
            once.use_up("ticket", name, NOBODYS)

        assert once.find("ticket", name) is not None

    def test_what_does_not_exist_is_not_used_up(self, once: OneTimeStore) -> None:
        with pytest.raises(LostRace):
            once.use_up("ticket", fresh(), NOBODYS)

    @pytest.mark.parametrize("kind", ["ticket", "state"])
    def test_of_sixteen_who_use_it_up_at_once_one_does(self, once: OneTimeStore, kind: str) -> None:
        assert winners(once, kind) == 1

    def test_what_has_expired_is_dropped_used_or_not(self, once: OneTimeStore) -> None:
        names = {
            "unused": LONG_AGO - timedelta(seconds=1),
            "used": LONG_AGO - timedelta(days=1),
            "good": LONG_AGO,
        }
        mine = {name: fresh(name) for name in names}
        for name, expires_at in names.items():
            once.keep("state", mine[name], replace(a_ticket(), expires_at=expires_at))
        found = once.find("state", mine["used"])
        assert found is not None
        assert found.etag is not None
        once.use_up("state", mine["used"], found.etag)

        assert once.drop_expired(LONG_AGO, most=100) == 2

        assert once.find("state", mine["unused"]) is None
        assert once.find("state", mine["good"]) is not None
        # Were it still there, used up, it could not be kept again.
        once.keep("state", mine["used"], a_ticket())

    def test_no_more_is_dropped_than_was_asked_for(self, once: OneTimeStore) -> None:
        long_before = LONG_AGO - timedelta(days=400)
        for kind in ("ticket", "state", "state"):
            once.keep(kind, fresh(), replace(a_ticket(), expires_at=long_before))

        before = long_before + timedelta(days=1)
        assert [once.drop_expired(before, most=2) for _ in range(3)] == [2, 1, 0]

    def test_erasing_takes_all_of_a_member_at_a_provider_used_or_not(
        self, once: OneTimeStore
    ) -> None:
        ana, eve = fresh("o'Neill|"), fresh("eve-")
        mine = [fresh() for _ in range(3)]
        for kind, name in zip(("ticket", "state", "state"), mine, strict=True):
            once.keep(kind, name, a_ticket(ana))
        found = once.find("state", mine[2])
        assert found is not None
        assert found.etag is not None
        once.use_up("state", mine[2], found.etag)
        others = {fresh(): a_ticket(eve), fresh(): replace(a_ticket(ana), provider=OTHER)}
        for name, once_only in others.items():
            once.keep("state", name, once_only)

        assert once.erase(UserId(ana), ProviderName("acme")) == 3

        assert once.find("ticket", mine[0]) is None
        assert not any(once.kept("state", name) for name in mine[1:])
        once.keep("state", mine[2], a_ticket(ana))
        assert all(once.find("state", name) is not None for name in others)
        assert once.erase(UserId(ana), ProviderName("acme")) == 1
        assert once.erase(UserId(ana), ProviderName("acme")) == 0


# Slots


def a_slot(**changes: object) -> Slot:
    """Return a slot that no other test has."""
    hours = random.SystemRandom().randrange(5_000_000)
    return replace(Slot(LONG_AGO + timedelta(hours=hours)), **changes)  # type: ignore[arg-type]


class SlotContract:
    """What every ``SlotStore`` must do."""

    def test_a_slot_that_nobody_opened_is_not_there(self, slots: SlotStore) -> None:
        assert slots.find(a_slot().at) is None

    @pytest.mark.parametrize(
        "changes",
        [{}, {"cursor": " ref-1"}, {"cursor": "2026 ref", "done": True}],
        ids=["opened", "under way", "done"],
    )
    def test_a_slot_comes_back_as_it_was(
        self, slots: SlotStore, changes: dict[str, object]
    ) -> None:
        slot = a_slot(**changes)
        etag = slots.save(slot, None)

        assert slots.find(slot.at) == Stored(slot, etag)

    def test_a_slot_is_opened_once(self, slots: SlotStore) -> None:
        slot = a_slot()
        slots.save(slot, None)

        with pytest.raises(LostRace):
            slots.save(slot, None)

    def test_of_sixteen_who_mark_it_one_does(self, slots: SlotStore) -> None:
        slot = a_slot()
        etag = slots.save(slot, None)

        wins = at_once(lambda: slots.save(replace(slot, cursor="x"), etag))

        assert len([one for one in wins if one is not None]) == 1

    def test_what_is_not_done_is_listed_oldest_first(self, slots: SlotStore) -> None:
        mine = sorted((a_slot(cursor="x") for _ in range(4)), key=lambda slot: slot.at)
        etags = {slot.at: slots.save(slot, None) for slot in reversed(mine)}
        etags[mine[1].at] = slots.save(replace(mine[1], done=True), etags[mine[1].at])

        listed = [one for one in slots.unfinished() if one.value.at in etags]

        assert listed == [Stored(slot, etags[slot.at]) for slot in mine if slot is not mine[1]]

    def test_old_slots_are_dropped_and_no_more_than_was_asked_for(self, slots: SlotStore) -> None:
        before = LONG_AGO - timedelta(days=400)
        mine = [Slot(before + timedelta(hours=n), done=bool(n % 2)) for n in range(-3, 1)]
        for slot in mine:
            slots.save(slot, None)

        assert [slots.drop(before, most=2) for _ in range(3)] == [2, 1, 0]

        found = slots.find(before)
        assert found is not None
        assert slots.drop(before + timedelta(hours=1), most=1) == 1


# Connections


def a_grant(**changes: object) -> SealedGrant:
    grant = SealedGrant(
        id=GrantId(fresh("grant-")),
        access=Sealed("s1:k:access=="),
        refresh=Sealed("s1:k:refresh=="),
        issued_at=NOW,
        expires_at=NOW + timedelta(hours=1),
        scopes=frozenset({"read:sleep", "offline"}),
    )
    return replace(grant, **changes)  # type: ignore[arg-type]


def a_connection(**changes: object) -> Connection:
    connection = Connection(
        user=UserId(fresh("user-")),
        provider=ProviderName("acme"),
        ref=Ref(fresh("ref-")),
        status=Status.CONNECTED,
        grant=a_grant(),
        account=AccountId("10129"),
        connected_at=NOW,
    )
    return replace(connection, **changes)  # type: ignore[arg-type]


def a_pending(connection: Connection) -> Pending:
    """Return a new grant of the same member under the same ref."""
    return Pending(connection.user, connection.provider, connection.ref, a_grant(), "a-state")


def connect(connections: ConnectionStore, connection: Connection) -> Etag:
    """Claim the connection's account, then write it, as connecting does."""
    assert connection.account is not None
    connections.claim_account(
        connection.provider, connection.account, connection.user, now=connection.connected_at
    )
    return connections.put(connection, None)


class ConnectionContract:
    """What every ``ConnectionStore`` must do."""

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({}, id="the usual"),
            pytest.param({"account": None}, id="whose account nobody has told"),
            pytest.param({"status": Status.PARKED, "reason": "reauth_required"}, id="parked"),
            pytest.param({"status": Status.CONNECTING}, id="connecting"),
            pytest.param({"claim": Claim("c1", NOW + timedelta(seconds=60))}, id="claimed"),
            pytest.param({"grant": a_grant(scopes=frozenset())}, id="without scopes"),
            pytest.param({"former": (Ref("-a_1"), Ref("b"))}, id="that was left twice"),
            pytest.param(
                {"status": Status.DISCONNECTED, "grant": SealedGrant.spent(Ref("x"), NOW)},
                id="left",
            ),
            pytest.param({"status": Status.ERASING}, id="to be erased"),
            pytest.param({"grant": a_grant(access=Sealed("a" * 8_000))}, id="with long tokens"),
            pytest.param(
                {"connected_at": datetime(2026, 1, 1, tzinfo=UTC)}, id="at a whole second"
            ),
        ],
    )
    def test_every_field_comes_back(
        self, connections: ConnectionStore, changes: dict[str, object]
    ) -> None:
        connection = a_connection(**changes)
        etag = connections.put(connection, None)

        found = connections.find(connection.user, connection.provider)

        assert found is not None
        assert found.value == connection
        assert found.etag == etag

    def test_a_field_that_is_emptied_stays_empty(self, connections: ConnectionStore) -> None:
        full = a_connection(status=Status.PARKED, reason="reauth_required", claim=Claim("c1", NOW))
        etag = connections.put(full, None)
        empty = replace(full, account=None, reason=None, claim=None)
        connections.put(empty, etag)

        found = connections.find(full.user, full.provider)

        assert found is not None
        assert found.value == empty

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_members_and_providers_may_be_called_anything(
        self, connections: ConnectionStore, name: str
    ) -> None:
        connection = a_connection(provider=ProviderName(name), user=UserId(name + fresh()[:8]))
        connections.put(connection, None)

        by_name = connections.find(connection.user, connection.provider)
        by_ref = connections.by_ref(connection.ref)

        assert by_name == by_ref
        assert by_name is not None
        assert by_name.value == connection

    def test_a_stranger_has_no_connection(self, connections: ConnectionStore) -> None:
        assert connections.find(UserId(fresh()), ProviderName("acme")) is None
        assert connections.by_ref(Ref(fresh())) is None

    def test_a_connection_is_its_providers_alone(self, connections: ConnectionStore) -> None:
        connection = a_connection()
        connections.put(connection, None)

        assert connections.find(connection.user, ProviderName("other")) is None
        assert connections.find(connection.user, ProviderName("acm")) is None

    def test_a_stale_etag_loses(self, connections: ConnectionStore) -> None:
        connection = a_connection()
        old = connections.put(connection, None)
        new = connections.put(replace(connection, reason="first"), old)

        with pytest.raises(LostRace):
            connections.put(replace(connection, reason="second"), old)

        found = connections.find(connection.user, connection.provider)
        assert found is not None
        assert (found.value.reason, found.etag) == ("first", new)

    def test_a_row_that_is_gone_is_not_written_over(self, connections: ConnectionStore) -> None:
        connection = a_connection()

        with pytest.raises(LostRace):
            connections.put(connection, NOBODYS)

        assert connections.find(connection.user, connection.provider) is None

    def test_there_cannot_be_two(self, connections: ConnectionStore) -> None:
        connection = a_connection()
        connections.put(connection, None)

        with pytest.raises(LostRace):
            connections.put(replace(connection, account=AccountId("2")), None)

        found = connections.find(connection.user, connection.provider)
        assert found is not None
        assert found.value.account == "10129"

    def test_of_sixteen_writers_with_one_etag_one_wins(self, connections: ConnectionStore) -> None:
        connection = a_connection()
        etag = connections.put(connection, None)
        names = itertools.count()

        def claim() -> Etag:
            claim = Claim(f"c{next(names)}", NOW)
            return connections.put(replace(connection, claim=claim), etag)

        won = [one for one in at_once(claim) if one is not None]

        found = connections.find(connection.user, connection.provider)
        assert found is not None
        assert won == [found.etag]

    def test_a_ref_leads_to_its_connection(self, connections: ConnectionStore) -> None:
        connection = a_connection()
        etag = connections.put(connection, None)

        found = connections.by_ref(connection.ref)

        assert found is not None
        assert (found.value, found.etag) == (connection, etag)

    def test_a_ref_that_a_newer_connection_does_not_have_leads_nowhere(
        self, connections: ConnectionStore
    ) -> None:
        old = a_connection()
        etag = connections.put(old, None)
        connections.put(replace(old, ref=Ref(fresh("ref-"))), etag)

        assert connections.by_ref(old.ref) is None

    def test_a_departure_that_stands_for_no_connection_has_no_ref(
        self, connections: ConnectionStore
    ) -> None:
        gone = a_connection(status=Status.ERASING)
        connections.put(gone, None)

        assert connections.by_ref(gone.ref) is None
        assert connections.listed(gone.ref) is None

    def test_a_connection_can_be_dropped(self, connections: ConnectionStore) -> None:
        connection = a_connection()
        etag = connections.put(connection, None)

        connections.drop(connection, etag)
        connections.drop(connection, etag)

        assert connections.find(connection.user, connection.provider) is None
        assert connections.by_ref(connection.ref) is None

    def test_a_connection_that_was_changed_is_not_dropped(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection()
        etag = connections.put(connection, None)
        connections.put(replace(connection, reason="x"), etag)

        with pytest.raises(LostRace):
            connections.drop(connection, etag)

        assert connections.find(connection.user, connection.provider) is not None

    def test_a_ref_can_be_dropped_twice(self, connections: ConnectionStore) -> None:
        connection = a_connection()
        connections.put(connection, None)
        connections.touch(connection.ref, SLEEP, NOW)

        connections.drop_ref(connection.ref)
        connections.drop_ref(connection.ref)

        assert connections.by_ref(connection.ref) is None
        assert connections.listed(connection.ref) is None
        assert connections.find(connection.user, connection.provider) is not None

    # Erasing

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_erasing_takes_all_but_the_connection_and_only_the_members(
        self, connections: ConnectionStore, name: str
    ) -> None:
        user, provider = UserId(name[:150] + fresh()[:8]), ProviderName(fresh())
        connection = a_connection(user=user, provider=provider)
        connections.put(connection, None)
        waiting = [replace(a_pending(connection), ref=Ref(fresh("ref-"))) for _ in range(2)]
        for pending in waiting:
            connections.put_pending(pending)
        accounts = [AccountId(fresh()) for _ in range(3)]
        for account, owner in zip(accounts, (user, user, UserId("eve")), strict=True):
            connections.claim_account(provider, account, owner, now=NOW)
        eve = a_connection(provider=provider)
        connections.put(eve, None)
        elsewhere = a_connection(user=user, provider=OTHER)
        connections.put(elsewhere, None)
        connections.claim_account(OTHER, accounts[0], user, now=NOW)

        assert connections.mentioned(user, provider)
        erased = connections.erase(user, provider)

        assert dict(erased) == {"grants": 2, "refs": 3, "accounts": 2}
        assert not connections.mentioned(user, provider)
        assert connections.mentioned(user, OTHER)
        assert connections.waiting(user, provider) == []
        assert connections.by_ref(connection.ref) is None
        assert connections.find(user, provider) is not None
        assert [connections.owner(provider, one) for one in accounts] == [None, None, "eve"]
        assert connections.owner(OTHER, accounts[0]) == user
        assert connections.by_ref(eve.ref) is not None
        assert connections.by_ref(elsewhere.ref) is not None
        assert not any(connections.erase(user, provider).values())

    def test_a_claim_without_a_connection_is_a_mention_as_well(
        self, connections: ConnectionStore
    ) -> None:
        provider, user = ProviderName(fresh()), UserId(fresh())
        assert not connections.mentioned(user, provider)
        connections.claim_account(provider, AccountId("1"), user, now=NOW)

        assert connections.mentioned(user, provider)
        assert not connections.mentioned(UserId(fresh()), provider)

    # How far each is held

    def test_whoever_was_never_synced_is_listed_without_a_time(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection()
        connections.put(connection, None)

        listed = Listed(connection.ref, connection.provider, None)
        assert connections.listed(connection.ref) == listed
        assert listed in list(connections.everyone())

    def test_the_resource_that_is_furthest_behind_counts(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection()
        connections.put(connection, None)
        connections.touch(connection.ref, SLEEP, NOW)
        connections.touch(connection.ref, ResourceName("body_measurement"), NOW - DAY)

        listed = Listed(connection.ref, connection.provider, NOW - DAY)
        assert connections.listed(connection.ref) == listed
        assert listed in list(connections.everyone())

        connections.touch(connection.ref, ResourceName("body_measurement"), NOW + DAY)
        assert connections.listed(connection.ref) == replace(listed, synced_at=NOW)

    def test_nothing_but_a_run_changes_how_far_a_connection_is_held(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection()
        etag = connections.put(connection, None)
        connections.touch(connection.ref, SLEEP, NOW)

        pending = a_pending(connection)
        connections.put_pending(pending)
        connections.put(replace(connection, reason="x"), etag)
        with pytest.raises(LostRace):
            connections.put(connection, None)
        connections.drop_pending(pending)

        listed = connections.listed(connection.ref)
        assert listed is not None
        assert listed.synced_at == NOW

    def test_resources_that_finish_side_by_side_are_all_noted(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection()
        connections.put(connection, None)
        ages = itertools.count(1)

        def touch() -> None:
            age = next(ages)
            connections.touch(connection.ref, ResourceName(f"resource_{age}"), NOW - age * DAY)

        at_once(touch)

        listed = connections.listed(connection.ref)
        assert listed is not None
        assert listed.synced_at == NOW - THREADS * DAY
        # Each of them: whichever is the furthest behind would show.
        for age in range(THREADS, 0, -1):
            connections.touch(connection.ref, ResourceName(f"resource_{age}"), NOW)
            listed = connections.listed(connection.ref)
            assert listed is not None
            assert listed.synced_at == NOW - (age - 1) * DAY

    def test_a_ref_that_is_gone_does_not_come_back(self, connections: ConnectionStore) -> None:
        pending = a_pending(a_connection())
        connections.put_pending(pending)
        connections.touch(pending.ref, SLEEP, NOW)
        connections.drop_pending(pending)

        connections.touch(pending.ref, SLEEP, NOW)

        assert connections.listed(pending.ref) is None
        assert pending.ref not in {one.ref for one in connections.everyone()}
        connections.put_pending(pending)
        assert connections.listed(pending.ref) == Listed(pending.ref, pending.provider, None)

    def test_everyone_is_listed_in_the_order_of_their_refs_from_anywhere(
        self, connections: ConnectionStore
    ) -> None:
        mine = sorted(Ref(f"{sign}{fresh()}") for sign in "-09AZ_az")
        for ref in reversed(mine):
            connections.put(a_connection(ref=ref), None)

        listed = [one.ref for one in connections.everyone() if one.ref in mine]
        after = [one.ref for one in connections.everyone(mine[2]) if one.ref in mine]

        assert listed == mine
        assert after == mine[3:]

    # When the provider last told of it

    def test_whoever_was_never_told_of_is_listed_without_a_time(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection()
        connections.put(connection, None)
        connections.touch(connection.ref, SLEEP, NOW)

        listed = connections.listed(connection.ref)
        assert listed is not None
        assert listed.heard_at is None

    def test_the_last_word_counts_and_changes_nothing_else(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection()
        etag = connections.put(connection, None)
        connections.touch(connection.ref, SLEEP, NOW)
        connections.heard(connection.ref, NOW - DAY)
        connections.heard(connection.ref, NOW + DAY)

        listed = Listed(connection.ref, connection.provider, NOW, NOW + DAY)
        assert connections.listed(connection.ref) == listed
        assert listed in list(connections.everyone())
        assert connections.by_ref(connection.ref) == Stored(connection, etag)

        connections.touch(connection.ref, SLEEP, NOW + DAY)
        connections.put(replace(connection, reason="x"), etag)
        assert connections.listed(connection.ref) == replace(listed, synced_at=NOW + DAY)

    def test_what_is_heard_of_a_ref_that_is_gone_does_not_bring_it_back(
        self, connections: ConnectionStore
    ) -> None:
        pending = a_pending(a_connection())
        connections.put_pending(pending)
        connections.heard(pending.ref, NOW)
        connections.drop_pending(pending)

        connections.heard(pending.ref, NOW)

        assert connections.listed(pending.ref) is None
        connections.put_pending(pending)
        assert connections.listed(pending.ref) == Listed(pending.ref, pending.provider, None)

    # Whose account it is

    def test_an_account_leads_to_its_connection(self, connections: ConnectionStore) -> None:
        connection = a_connection(account=AccountId(fresh()))
        etag = connect(connections, connection)

        found = connections.by_account(connection.provider, connection.account or AccountId(""))
        assert found == Stored(connection, etag)

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_an_account_that_is_called_anything_leads_there(
        self, connections: ConnectionStore, name: str
    ) -> None:
        connection = a_connection(account=AccountId(name + fresh()))
        connect(connections, connection)

        found = connections.by_account(connection.provider, connection.account or AccountId(""))
        assert found is not None
        assert found.value == connection

    def test_an_account_that_nobody_has_leads_nowhere(self, connections: ConnectionStore) -> None:
        connection = a_connection(account=AccountId(fresh()))
        connect(connections, connection)

        assert connections.by_account(connection.provider, AccountId(fresh())) is None
        other = ProviderName("other")
        assert connections.by_account(other, connection.account or AccountId("")) is None

    def test_a_claim_without_a_connection_leads_nowhere(self, connections: ConnectionStore) -> None:
        account, user = AccountId(fresh()), UserId(fresh("user-"))
        provider = ProviderName("acme")
        connections.claim_account(provider, account, user, now=NOW)

        assert connections.by_account(provider, account) is None
        connections.put(a_connection(user=user, account=AccountId(fresh())), None)
        assert connections.by_account(provider, account) is None
        connections.put(a_connection(account=account), None)
        assert connections.by_account(provider, account) is None

    # Grants that wait

    def test_a_grant_that_waits_comes_back_as_it_was(self, connections: ConnectionStore) -> None:
        pending = a_pending(a_connection())
        connections.put_pending(pending)

        assert connections.pending(pending.ref, pending.grant.id) == pending
        assert connections.any_pending(pending.user, pending.provider)
        assert connections.waiting(pending.user, pending.provider) == [pending]

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_a_grant_may_be_anybodys(self, connections: ConnectionStore, name: str) -> None:
        pending = a_pending(
            a_connection(provider=ProviderName(name), user=UserId(name + fresh()[:8]))
        )
        connections.put_pending(pending)

        assert connections.pending(pending.ref, pending.grant.id) == pending
        assert connections.any_pending(pending.user, pending.provider)
        connections.drop_pending(pending)
        assert not connections.any_pending(pending.user, pending.provider)

    def test_a_grant_that_waits_is_no_connection(self, connections: ConnectionStore) -> None:
        pending = a_pending(a_connection())
        connections.put_pending(pending)

        assert connections.find(pending.user, pending.provider) is None
        assert connections.by_ref(pending.ref) is None

    def test_two_grants_of_one_member_wait_side_by_side(self, connections: ConnectionStore) -> None:
        first = a_pending(a_connection())
        second = replace(first, ref=Ref(fresh("ref-")), grant=a_grant())
        connections.put_pending(first)
        connections.put_pending(second)

        connections.drop_pending(first)

        assert connections.pending(first.ref, first.grant.id) is None
        assert connections.pending(second.ref, second.grant.id) == second
        assert connections.waiting(first.user, first.provider) == [second]
        assert connections.any_pending(first.user, first.provider)
        connections.drop_pending(second)
        assert not connections.any_pending(first.user, first.provider)

    def test_a_grant_is_found_under_its_own_ref_only(self, connections: ConnectionStore) -> None:
        pending = a_pending(a_connection())
        connections.put_pending(pending)

        assert connections.pending(Ref(fresh()), pending.grant.id) is None
        assert connections.pending(pending.ref, GrantId(fresh())) is None

    def test_grants_of_others_do_not_count(self, connections: ConnectionStore) -> None:
        pending = a_pending(a_connection(provider=ProviderName("acme-2")))
        connections.put_pending(pending)
        connections.put(a_connection(user=pending.user, provider=ProviderName("acme")), None)

        assert not connections.any_pending(pending.user, ProviderName("acme"))
        assert connections.waiting(pending.user, ProviderName("acme")) == []
        assert not connections.any_pending(UserId(fresh()), pending.provider)

    def test_a_ref_outlives_the_grant_where_a_connection_has_it(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection()
        pending = a_pending(connection)
        connections.put_pending(pending)
        connections.put(connection, None)

        connections.drop_pending(pending)

        found = connections.by_ref(connection.ref)
        assert found is not None
        assert found.value == connection

    def test_a_ref_goes_with_the_grant_where_nobody_else_has_it(
        self, connections: ConnectionStore
    ) -> None:
        pending = a_pending(a_connection())
        connections.put_pending(pending)
        connections.drop_pending(pending)

        # Were the ref still there, it would lead to a connection that somebody makes later.
        etag = connections.put(
            a_connection(user=pending.user, provider=pending.provider, ref=Ref(fresh("ref-"))), None
        )
        found = connections.find(pending.user, pending.provider)
        assert found is not None
        connections.put(replace(found.value, ref=pending.ref), etag)
        assert connections.by_ref(pending.ref) is None

    def test_a_ref_goes_with_the_grant_where_the_connection_has_another(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection()
        etag = connections.put(connection, None)
        pending = replace(a_pending(connection), ref=Ref(fresh("ref-")))
        connections.put_pending(pending)
        connections.drop_pending(pending)

        # Were the ref still there, it would lead to the connection again.
        connections.put(replace(connection, ref=pending.ref), etag)
        assert connections.by_ref(pending.ref) is None

    def test_a_grant_can_be_dropped_twice(self, connections: ConnectionStore) -> None:
        pending = a_pending(a_connection())
        connections.put_pending(pending)

        connections.drop_pending(pending)
        connections.drop_pending(pending)

        assert connections.pending(pending.ref, pending.grant.id) is None

    # Who holds which account

    def test_an_account_is_whoevers_claims_it_first(self, connections: ConnectionStore) -> None:
        account = AccountId(fresh())

        def claim(user: str) -> UserId:
            return connections.claim_account(ProviderName("acme"), account, UserId(user), now=NOW)

        assert connections.owner(ProviderName("acme"), account) is None
        assert claim("ana") == "ana"
        assert claim("eve") == "ana"
        assert claim("ana") == "ana"
        assert connections.owner(ProviderName("acme"), account) == "ana"

    def test_an_account_at_another_provider_is_another_account(
        self, connections: ConnectionStore
    ) -> None:
        account = AccountId(fresh())
        connections.claim_account(ProviderName("acme"), account, UserId("ana"), now=NOW)

        owner = connections.claim_account(ProviderName("other"), account, UserId("eve"), now=NOW)

        assert owner == "eve"

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_accounts_may_be_called_anything(self, connections: ConnectionStore, name: str) -> None:
        provider = ProviderName(fresh())
        account, user = AccountId(name), UserId(name)

        assert connections.claim_account(provider, account, user, now=NOW) == name
        assert connections.claim_account(provider, account, UserId("eve"), now=NOW) == name

    @pytest.mark.parametrize(
        ("age", "owner"),
        [
            pytest.param(timedelta(minutes=10), "ana", id="not before its ten minutes are over"),
            pytest.param(timedelta(minutes=10, seconds=1), "eve", id="but then"),
        ],
    )
    def test_a_claim_without_a_connection_is_taken_over(
        self, connections: ConnectionStore, age: timedelta, owner: str
    ) -> None:
        provider, account = ProviderName(fresh()), AccountId("10129")
        connections.claim_account(provider, account, UserId("ana"), now=NOW)

        assert connections.claim_account(provider, account, UserId("eve"), now=NOW + age) == owner
        assert connections.claim_account(provider, account, UserId("ana"), now=NOW + age) == owner

    @pytest.mark.parametrize("status", Status)
    def test_a_claim_is_kept_while_its_owner_has_a_connection(
        self, connections: ConnectionStore, status: Status
    ) -> None:
        connection = a_connection(provider=ProviderName(fresh()), status=status)
        assert connection.account is not None
        connections.claim_account(connection.provider, connection.account, connection.user, now=NOW)
        connections.put(connection, None)

        owner = connections.claim_account(
            connection.provider, connection.account, UserId("eve"), now=NOW + timedelta(days=99)
        )

        assert owner == connection.user

    def test_a_connection_with_another_account_keeps_no_claim(
        self, connections: ConnectionStore
    ) -> None:
        connection = a_connection(provider=ProviderName(fresh()), account=AccountId("another"))
        account = AccountId("10129")
        connections.claim_account(connection.provider, account, connection.user, now=NOW)
        connections.put(connection, None)

        owner = connections.claim_account(
            connection.provider, account, UserId("eve"), now=NOW + timedelta(minutes=11)
        )

        assert owner == "eve"

    @pytest.mark.parametrize("abandoned", [False, True], ids=["a new one", "an abandoned one"])
    def test_of_sixteen_members_one_gets_the_account(
        self,
        connections: ConnectionStore,
        abandoned: bool,  # noqa: FBT001 - a parameter of tests
    ) -> None:
        provider, account = ProviderName(fresh()), AccountId("10129")
        if abandoned:
            long_ago = NOW - timedelta(hours=1)
            connections.claim_account(provider, account, UserId("ana"), now=long_ago)
        numbers = itertools.count()

        def claim() -> tuple[UserId, UserId]:
            user = UserId(f"user-{next(numbers)}")
            return user, connections.claim_account(provider, account, user, now=NOW)

        answers = [answer for answer in at_once(claim) if answer is not None]

        assert len([user for user, owner in answers if owner == user]) == 1
        assert len({owner for _, owner in answers}) == 1

    def test_it_can_be_reached(self, connections: ConnectionStore) -> None:
        assert connections.reachable()


# The raw layer


@dataclass(frozen=True, slots=True)
class Row:
    """What is stored of one version."""

    id: str
    body: str
    seq: int


class Reader(Protocol):
    """Looks at what a ``RecordStore`` has written, as layer 2 would."""

    def versions(self, place: Place) -> Mapping[str, Row]:
        """Return every version by its row key."""
        ...

    def feed(self, place: Place) -> Mapping[int, str]:
        """Return the row keys by their number."""
        ...

    def aliases(self, place: Place) -> Mapping[str, str]:
        """Return the ids by their second name."""
        ...

    def quarantined(self, place: Place) -> Sequence[str]:
        """Return the bodies."""
        ...


def a_place(user: str | None = None) -> Place:
    return Place(ProviderName("acme"), UserId(user or fresh("user-")), SLEEP)


def a_version(
    name: str,
    seq: int,
    *,
    n: int = 0,
    at: datetime = NOW,
    body: str | None = None,
    alias: str | None = None,
) -> Version:
    record = a_stored(name, seq, n=n, at=at, body=body, alias=alias)
    return Version(record, at, n, seq)


def a_stored(
    name: str,
    seq: int = 0,
    *,
    n: int = 0,
    at: datetime = NOW,
    body: str | None = None,
    alias: str | None = None,
) -> Record:
    text = json.dumps({"id": name, "n": n}) if body is None else body
    return Record(
        id=RecordId(name),
        updated_at=at,
        start=at - timedelta(hours=8),
        day=at.date(),
        account=AccountId("10129"),
        alias=None if alias is None else RecordId(alias),
        body=text,
        digest=keys.fingerprint(f"{name}{seq}"),
    )


def a_tombstone(name: str, seq: int, *, n: int, at: datetime = NOW) -> Version:
    return Version(Deletion(RecordId(name), at, "not_found"), at, n, seq)


def seq_of(landed: Landed) -> int:
    return landed.number.seq


def known_of(version: Version) -> Known:
    return version.known


def rows_of(reader: Reader, place: Place) -> int:
    """Count what stands beside the head."""
    return len(reader.versions(place)) + len(reader.feed(place)) + len(reader.aliases(place))


def after(seq: int) -> Head:
    return Head(run=RunId("run"), lane=Lane.MANUAL, seq=seq, versions=seq, touched_at=NOW)


def write(store: RecordStore, place: Place, *versions: Version) -> Etag:
    """Commit ``versions`` on top of what is there."""
    stored = store.head(place)
    seq = max(version.seq for version in versions)
    head = after(seq)
    transaction = Transaction(head, versions, seen_at=NOW, run=head.run, lane=head.lane)
    return store.commit(place, transaction, stored.etag)


moments = st.datetimes(
    min_value=datetime(1000, 1, 1),  # noqa: DTZ001 - the strategy wants them naive
    max_value=datetime(9999, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start, end = sorted(draw(st.lists(moments, min_size=2, max_size=2, unique=True)))
    return Span(start, end)


counts = st.integers(0, 2**31 - 1)
words = st.text(min_size=0, max_size=40)
heads = st.builds(
    Head,
    progress=st.sampled_from(Progress),
    run=st.none() | words.map(RunId),
    lane=st.none() | st.sampled_from(Lane),
    goal=st.none() | spans(),
    held=st.none() | spans(),
    window=st.none() | spans(),
    until=st.none() | moments,
    cursor=st.none() | words.map(Cursor),
    used=st.lists(st.from_regex("[0-9a-f]{8}", fullmatch=True), max_size=5).map(tuple),
    reached=st.none() | moments,
    again=st.booleans(),
    walked=st.none() | spans(),
    walked_at=st.none() | moments,
    recent=st.lists(
        st.builds(Recent, words.map(RecordId), moments, st.booleans(), st.booleans()), max_size=5
    ).map(tuple),
    checks=st.lists(words.map(RecordId), max_size=5).map(tuple),
    checked_at=st.none() | moments,
    generation=st.none() | words,
    announced=counts,
    seq=counts,
    records=counts,
    versions=counts,
    oldest=st.none() | moments,
    newest=st.none() | moments,
    days=st.binary(max_size=60),
    reason=st.none() | words,
    retry_at=st.none() | moments,
    writer=st.none() | words,
    touched_at=st.none() | moments,
)
FULL = Head(
    progress=Progress.WAITING,
    run=RunId("run"),
    lane=Lane.BACKFILL,
    goal=Span(NOW - timedelta(days=30), NOW),
    held=Span(NOW - timedelta(days=20), NOW - timedelta(days=1)),
    window=Span(NOW - timedelta(days=4), NOW),
    until=NOW - timedelta(days=2),
    cursor=Cursor("MTIzOjE=|ñ😀"),
    used=("0a1b2c3d", "4e5f6a7b"),
    reached=NOW - timedelta(days=2),
    again=True,
    walked=Span(NOW - timedelta(days=9), NOW - timedelta(days=5)),
    walked_at=NOW - timedelta(days=1),
    recent=(
        Recent(RecordId("r1|ñ😀"), NOW - timedelta(days=2), settled=True, listed=False),
        Recent(RecordId("r2"), NOW - timedelta(days=1), settled=False, listed=True),
    ),
    checks=(RecordId("r3|"), RecordId("r4")),
    checked_at=NOW,
    generation="0a1b2c3d4e5f6a7b",
    announced=2**31 - 2,
    seq=2**31 - 1,
    records=12,
    versions=13,
    oldest=NOW - timedelta(days=19),
    newest=NOW,
    days=bytes(range(256)) * 3,
    reason="rate_limited",
    retry_at=NOW + timedelta(seconds=42),
    writer="w1",
    touched_at=NOW,
)


class RecordContract:
    """What every ``RecordStore`` must do.  ``reader`` looks at what it has written."""

    # Tombstones

    def test_a_tombstone_is_known_as_one(self, records: RecordStore, reader: Reader) -> None:
        place = a_place()
        write(records, place, a_version("r1", 1, alias="s1"))
        write(records, place, a_tombstone("r1", 2, n=1))

        states = records.known(place, [RecordId("r1")])[RecordId("r1")]
        assert [(state.n, state.deleted_at) for state in states] == [(0, None), (1, NOW)]
        assert states[1].digest == ""
        assert len(reader.versions(place)) == len(reader.feed(place)) == 2
        assert reader.aliases(place) == {"s1": "r1"}

    # The head

    def test_the_head_of_nothing_is_a_new_one(self, records: RecordStore) -> None:
        stored = records.head(a_place())

        assert (stored.value, stored.etag) == (Head(), None)

    @pytest.mark.parametrize("head", [Head(), FULL], ids=["a new one", "a full one"])
    def test_every_field_of_the_head_comes_back(self, records: RecordStore, head: Head) -> None:
        place = a_place()
        etag = records.put_head(place, head, None)

        stored = records.head(place)

        assert stored.value == head
        assert stored.etag == etag

    # One store serves all examples, and both subclasses run this: each example has its own place.
    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(head=heads)
    def test_any_head_comes_back(self, records: RecordStore, head: Head) -> None:
        place = a_place()
        records.put_head(place, head, None)

        assert records.head(place).value == head

    def test_a_field_of_the_head_that_is_emptied_stays_empty(self, records: RecordStore) -> None:
        place = a_place()
        etag = records.put_head(place, FULL, None)
        records.put_head(place, Head(), etag)

        assert records.head(place).value == Head()

    def test_a_stale_head_is_not_written(self, records: RecordStore) -> None:
        place = a_place()
        old = records.put_head(place, after(1), None)
        records.put_head(place, after(2), old)

        for etag in (old, None, NOBODYS):
            with pytest.raises(LostRace):
                records.put_head(place, after(3), etag)
        assert records.head(place).value.seq == 2

    def test_a_head_that_is_gone_is_not_written_over(self, records: RecordStore) -> None:
        place = a_place()

        with pytest.raises(LostRace):
            records.put_head(place, after(1), NOBODYS)
        with pytest.raises(LostRace):
            records.commit(place, Transaction(after(1), (a_version("r1", 1),)), NOBODYS)

        assert records.head(place).etag is None

    # Erasing

    @pytest.mark.parametrize("user", ODD_NAMES)
    def test_erasing_takes_every_resource_of_a_member_and_nobody_elses(
        self, records: RecordStore, reader: Reader, user: str
    ) -> None:
        mine = a_place(user[:150] + fresh()[:8])
        kinds = [mine, *(replace(mine, resource=ResourceName(one)) for one in ("a", "zzz|é"))]
        others = [a_place(mine.user + "2"), replace(mine, provider=OTHER), a_place("a")]
        for place in (*kinds, *others):
            if records.head(place).etag is None:
                write(records, place, a_version("r1", 1, alias="s1"), a_version("r2", 2))
            records.quarantine(place, [Misfit("odd", "x")], now=NOW)

        erased = records.erase(mine.user, mine.provider, most=1_000)

        # Two versions with their numbers, a second name and the head.
        assert dict(erased) == {"records": 6 * len(kinds), "quarantine": len(kinds)}
        for place in kinds:
            assert records.head(place).etag is None
            assert rows_of(reader, place) == 0
            assert reader.quarantined(place) == []
        for place in others:
            assert len(reader.versions(place)) == 2
            assert records.head(place).value == after(2)
            assert reader.quarantined(place) == ["x"]
        assert not any(records.erase(mine.user, mine.provider, most=1_000).values())

    def test_erasing_goes_on_where_it_stopped_and_begins_with_the_heads(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        etag = write(records, place, *(a_version(f"r{n}", n) for n in range(1, 21)))

        counts = [sum(records.erase(place.user, place.provider, most=7).values())]

        with pytest.raises(LostRace):
            records.commit(place, Transaction(after(21), (a_version("r21", 21),)), etag)
        with pytest.raises(LostRace):
            records.put_head(place, after(21), etag)
        while counts[-1]:
            counts.append(sum(records.erase(place.user, place.provider, most=7).values()))
        assert sum(counts) == 41
        assert max(counts) == 7
        assert rows_of(reader, place) == 0

    def test_more_than_a_transaction_takes_is_erased(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place, etag = a_place(), None
        for group in range(5):
            first = 45 * group + 1
            versions = tuple(a_version(f"r{n}", n) for n in range(first, first + 45))
            etag = records.commit(place, Transaction(after(first + 44), versions), etag)

        assert records.erase(place.user, place.provider, most=1_000)["records"] == 451
        assert reader.versions(place) == {}

    def test_of_several_who_erase_at_once_none_fails(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place, etag = a_place(), None
        for group in range(4):
            first = 45 * group + 1
            versions = tuple(a_version(f"r{n}", n) for n in range(first, first + 45))
            etag = records.commit(place, Transaction(after(first + 44), versions), etag)

        answers = at_once(lambda: records.erase(place.user, place.provider, most=1_000), 4)

        assert None not in answers
        assert rows_of(reader, place) == 0

    # A page

    def test_versions_feed_second_names_and_head_are_written_together(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        one, two = a_version("r1", 1, alias="s1"), a_version("r2", 2)
        etag = write(records, place, one, two)

        rows = {
            keys.version_row(v.content.id, v.updated_at, v.n): Row(v.content.id, v.body, v.seq)
            for v in (one, two)
        }
        assert reader.versions(place) == rows
        assert reader.feed(place) == dict(enumerate(rows, 1))
        assert reader.aliases(place) == {"s1": "r1"}
        assert records.head(place).value == after(2)
        assert records.head(place).etag == etag

    def test_a_page_without_news_moves_the_head_alone(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        etag = write(records, place, a_version("r1", 1))

        new = records.commit(place, Transaction(FULL, ()), etag)

        assert records.head(place).value == FULL
        assert records.head(place).etag == new
        assert len(reader.versions(place)) == 1

    @pytest.mark.parametrize("etag", [NOBODYS, None], ids=["an older head", "no head"])
    def test_who_loses_the_race_leaves_nothing_behind(
        self, records: RecordStore, reader: Reader, etag: Etag | None
    ) -> None:
        place = a_place()
        write(records, place, a_version("r1", 1))
        late = Transaction(after(3), (a_version("r2", 2, alias="s2"), a_version("r3", 3)))

        with pytest.raises(LostRace):
            records.commit(place, late, etag)

        assert [row.id for row in reader.versions(place).values()] == ["r1"]
        assert list(reader.feed(place)) == [1]
        assert reader.aliases(place) == {}
        assert records.head(place).value == after(1)
        assert records.known(place, [RecordId("r2"), RecordId("r3")]) == {}

    def test_of_sixteen_workers_on_one_page_one_writes_it(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        etag = write(records, place, a_version("r0", 1))
        names = itertools.count(1)

        def commit() -> str:
            name = f"r{next(names)}"
            records.commit(place, Transaction(after(2), (a_version(name, 2),)), etag)
            return name

        won = [name for name in at_once(commit) if name is not None]

        assert len(won) == 1
        assert sorted(row.id for row in reader.versions(place).values()) == ["r0", *won]

    def test_a_full_page_with_second_names_is_one_transaction(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        page = [a_version(f"r{n}", n, alias=f"s{n}") for n in range(1, 26)]

        write(records, place, *page)

        assert len(reader.versions(place)) == len(reader.feed(place)) == 25
        assert reader.aliases(place) == {f"s{n}": f"r{n}" for n in range(1, 26)}

    def test_as_much_as_settling_puts_into_one_transaction_is_taken(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        page = Page(tuple(a_stored(f"r{n}", alias=f"s{n}") for n in range(60)))
        settled = settle(Head(), FULL, page, {}, account=None, now=NOW, asked=NOW)
        assert [len(one.versions) for one in settled.transactions] == [33, 27]

        first = records.commit(place, settled.transactions[0], None)

        # Were this the end of the process, the page would be read again, and 33 be known.
        begun = records.head(place).value
        assert (begun.seq, begun.records, begun.versions) == (33, 33, 33)
        assert (begun.held, begun.window, begun.cursor, begun.reached) == (None, None, None, None)
        assert (begun.run, begun.writer) == (FULL.run, FULL.writer)
        assert len(records.known(place, [record.id for record in page.records])) == 33
        records.commit(place, settled.transactions[1], first)
        assert records.head(place).value == settled.transactions[1].head
        assert list(reader.feed(place)) == list(range(1, 61))
        assert len(reader.aliases(place)) == 60

    def test_as_many_bytes_as_settling_puts_into_one_transaction_are_taken(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place, etag = a_place(), None
        # Each letter is six bytes on the wire, where JSON escapes it.
        page = Page(tuple(a_stored(f"r{n}", body="ñ" * 180_000) for n in range(7)))
        settled = settle(Head(), FULL, page, {}, account=None, now=NOW, asked=NOW)
        assert [len(one.versions) for one in settled.transactions] == [3, 3, 1]

        for transaction in settled.transactions:
            etag = records.commit(place, transaction, etag)

        assert {row.body for row in reader.versions(place).values()} == {"ñ" * 180_000}
        assert len(reader.versions(place)) == 7

    def test_a_second_name_stays_from_version_to_version(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        write(records, place, a_version("r1", 1, alias="s1"))
        write(
            records, place, a_version("r1", 2, n=1, alias="s1"), a_version("r1", 3, n=2, alias="s1")
        )

        assert reader.aliases(place) == {"s1": "r1"}
        assert len(reader.versions(place)) == 3

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_a_second_name_leads_to_the_record(self, records: RecordStore, name: str) -> None:
        place = a_place()
        write(records, place, a_version("r1", 1, alias=name), a_version("r2", 2, alias="s2"))

        assert records.alias(place, RecordId(name)) == "r1"
        assert records.alias(a_place(), RecordId(name)) is None

    def test_a_second_name_leads_to_whoever_had_it_last_also_when_that_is_gone(
        self, records: RecordStore
    ) -> None:
        place = a_place()
        write(records, place, a_version("r1", 1, alias="s1"))
        write(records, place, a_version("r2", 2, alias="s1"))
        write(records, place, a_tombstone("r2", 3, n=1))

        assert records.alias(place, RecordId("s1")) == "r2"
        assert records.alias(place, RecordId("r2")) is None
        assert records.alias(place, RecordId("s2")) is None

    def test_a_number_of_the_feed_is_given_out_once(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        etag = write(records, place, a_version("r1", 1))

        with pytest.raises(LostRace):
            records.commit(place, Transaction(after(1), (a_version("r2", 1),)), etag)

        assert [row.id for row in reader.versions(place).values()] == ["r1"]

    def test_a_version_is_immutable(self, records: RecordStore, reader: Reader) -> None:
        place = a_place()
        etag = write(records, place, a_version("r1", 1, body="first"))
        again = a_version("r1", 2, body="second")

        with pytest.raises(LostRace):
            records.commit(place, Transaction(after(2), (again,)), etag)

        assert [row.body for row in reader.versions(place).values()] == ["first"]
        assert records.head(place).value == after(1)

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param('{"a": 1.0, "b":1e3 ,"c" : "\\u00e9"}', id="odd spelling"),
            pytest.param("", id="empty"),
            pytest.param("  \t\r\n x \n", id="white space at both ends"),
            pytest.param("ñ" * PROPERTY, id="just one column"),
            pytest.param("x" * (PROPERTY + 1), id="one character too many for a column"),
            pytest.param("😀" * PROPERTY, id="two units a character"),
            pytest.param("x" + "😀" * PROPERTY + "y", id="never cut inside a character"),
            pytest.param("x" * 499_000, id="as large as a row gets"),
        ],
    )
    def test_a_body_comes_back_verbatim(
        self, records: RecordStore, reader: Reader, body: str
    ) -> None:
        assert row_fits(body)
        place = a_place()
        write(records, place, a_version("r1", 1, body=body))

        assert [row.body for row in reader.versions(place).values()] == [body]

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_members_and_records_may_be_called_anything(
        self, records: RecordStore, reader: Reader, name: str
    ) -> None:
        place = a_place(name + fresh()[:8])
        version = a_version(name, 1, alias=name)
        write(records, place, version)

        assert records.known(place, [RecordId(name)]) == {name: [known_of(version)]}
        assert reader.aliases(place) == {keys.escape(name): name} or reader.aliases(place) == {
            name: name
        }
        assert records.head(place).value == after(1)

    # What is known

    def test_nothing_is_known_of_nothing(self, records: RecordStore) -> None:
        place = a_place()
        write(records, place, a_version("r1", 1))

        assert records.known(place, []) == {}
        assert records.known(place, [RecordId("r2")]) == {}
        assert records.known(a_place(), [RecordId("r1")]) == {}

    def test_every_version_is_known_oldest_first(self, records: RecordStore) -> None:
        place = a_place()
        hour = timedelta(hours=1)
        newest = a_version("r1", 1, at=NOW + hour)
        oldest = a_version("r1", 2, at=NOW - hour)
        middle = [a_version("r1", 3 + n, n=n) for n in range(12)]
        write(records, place, newest)
        write(records, place, oldest, *reversed(middle))

        known = records.known(place, [RecordId("r1")])

        assert known == {"r1": [known_of(one) for one in (oldest, *middle, newest)]}

    @pytest.mark.parametrize(
        "names",
        [
            pytest.param(["1", "12", "123", "2", "10"], id="numbers that begin others"),
            pytest.param(["a", "a-", "a.b", "a@", "ab", "aB", "A"], id="signs that sort oddly"),
            pytest.param(["a/b", "a", "a|b", "a~", "a=7C", "a b", "😀", "😀a"], id="escapes"),
            pytest.param(["!", "s", "v", "k", "v|", "s|000000000001"], id="our own row keys"),
        ],
    )
    def test_exactly_what_was_asked_for_is_known(
        self, records: RecordStore, names: list[str]
    ) -> None:
        place = a_place()
        versions = {name: a_version(name, seq) for seq, name in enumerate(names, 1)}
        write(records, place, *versions.values())

        for asked in (names, names[:1], names[1:3], [names[0], names[-1]], [*names, "not there"]):
            expected = {name: [known_of(versions[name])] for name in asked if name in versions}
            assert records.known(place, [RecordId(name) for name in asked]) == expected

    # The feed

    def test_the_feed_is_read_from_a_number_on(self, records: RecordStore) -> None:
        place = a_place()
        write(records, place, *(a_version(f"r{9 - seq}", seq) for seq in range(1, 5)))
        write(records, place, a_version("r7", 5, n=1), a_tombstone("r5", 6, n=1))

        def told(after: int, most: int) -> list[tuple[int, str, int]]:
            numbers = records.numbers(place, after=after, most=most)
            assert {number.updated_at for number in numbers} <= {NOW}
            return [(number.seq, number.record, number.n) for number in numbers]

        assert told(2, 3) == [(3, "r6", 0), (4, "r5", 0), (5, "r7", 1)]
        assert told(4, 100) == [(5, "r7", 1), (6, "r5", 1)]
        assert [seq for seq, _, _ in told(0, 100)] == [1, 2, 3, 4, 5, 6]
        assert told(6, 100) == told(0, 0) == []
        assert records.numbers(a_place(), after=0, most=100) == []

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_a_version_is_read_as_it_landed(self, records: RecordStore, name: str) -> None:
        place, body = a_place(), '{"a": 1.0, "ñ":1e3 ,\n"c" : "\\u00e9😀"}'
        write(records, place, a_version(name, 1, body=body), a_tombstone(name, 2, n=1))

        one, two = records.numbers(place, after=0, most=2)

        assert (one, two) == (
            Number(1, RecordId(name), NOW, 0),
            Number(2, RecordId(name), NOW, 1),
        )
        assert sorted(records.read(place, [two, one]), key=seq_of) == [
            Landed(one, NOW, body),
            Landed(two, NOW, Deletion(RecordId(name), NOW, "not_found")),
        ]

    def test_a_body_of_many_columns_is_read_whole(self, records: RecordStore) -> None:
        place, body = a_place(), "x" + "😀" * PROPERTY + "y"
        write(records, place, a_version("r1", 1, body=body))

        [landed] = records.read(place, records.numbers(place, after=0, most=1))

        assert landed.content == body

    def test_exactly_the_versions_that_are_asked_for_are_read(self, records: RecordStore) -> None:
        place = a_place()
        write(records, place, *(a_version(f"r{seq % 4}", seq, n=seq // 4) for seq in range(1, 13)))
        numbers = records.numbers(place, after=0, most=100)

        for asked in (numbers, numbers[:1], numbers[3:9], numbers[::5], numbers[::-2], []):
            read = sorted(records.read(place, asked), key=seq_of)
            assert [one.number for one in read] == sorted(asked, key=lambda one: one.seq)

    def test_what_is_not_there_is_not_read(self, records: RecordStore) -> None:
        place = a_place()
        write(records, place, a_version("r1", 1))
        [number] = records.numbers(place, after=0, most=1)

        assert list(records.read(place, [replace(number, seq=2)])) == []
        assert list(records.read(a_place(), [number])) == []

    # Quarantine

    def test_what_cannot_be_stored_is_kept_whole(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        dice = random.Random(7)
        large = dice.randbytes(900_000).hex()
        bodies = ['{"id": null}', "", "half a pair \ud83d", large]
        assert len(large) > 2**20

        records.quarantine(place, [Misfit("unreadable:id", body) for body in bodies], now=NOW)

        assert sorted(reader.quarantined(place)) == sorted(bodies)

    def test_the_same_item_is_kept_once(self, records: RecordStore, reader: Reader) -> None:
        place = a_place()
        misfit = Misfit("too_large", "x" * 100)

        records.quarantine(place, [misfit, misfit], now=NOW)
        records.quarantine(place, [replace(misfit, reason="other")], now=NOW + timedelta(days=1))

        assert reader.quarantined(place) == [misfit.body]

    def test_quarantine_is_no_part_of_the_raw_layer(
        self, records: RecordStore, reader: Reader
    ) -> None:
        place = a_place()
        records.quarantine(place, [Misfit("too_large", "x")], now=NOW)

        assert records.head(place).etag is None
        assert reader.versions(place) == {}


# Events


class EventContract:
    """What every ``EventStore`` must do."""

    def test_what_was_not_noted_was_not_seen(self, events: EventStore) -> None:
        assert not events.seen(Ref(fresh()), "k")

    def test_what_was_noted_was_seen_under_its_ref_and_its_key(self, events: EventStore) -> None:
        ref = Ref(fresh())
        events.note(ref, "k1", at=NOW)
        events.note(ref, "k1", at=NOW + DAY)

        assert events.seen(ref, "k1")
        assert not events.seen(ref, "k2")
        assert not events.seen(Ref(fresh()), "k1")

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_keys_and_records_may_be_called_anything(self, events: EventStore, name: str) -> None:
        ref, look = Ref(fresh()), Look(NOW, name)
        events.note(ref, name, at=NOW)
        etag = events.save(ref, ResourceName(name), RecordId(name), look, None)

        assert events.seen(ref, name)
        assert events.find(ref, ResourceName(name), RecordId(name)) == Stored(look, etag)

    def test_a_look_is_one_records(self, events: EventStore) -> None:
        ref, look = Ref(fresh()), Look(NOW, "k")
        events.save(ref, SLEEP, RecordId("s1"), look, None)

        assert events.find(ref, SLEEP, RecordId("s2")) is None
        assert events.find(ref, ResourceName("cycle"), RecordId("s1")) is None
        assert events.find(Ref(fresh()), SLEEP, RecordId("s1")) is None
        assert not events.seen(ref, "k")

    def test_a_stale_look_is_not_written(self, events: EventStore) -> None:
        ref, record = Ref(fresh()), RecordId("s1")
        old = events.save(ref, SLEEP, record, Look(NOW, "k1"), None)
        new = events.save(ref, SLEEP, record, Look(NOW + DAY, "k2"), old)

        for etag in (old, None):
            with pytest.raises(LostRace):
                events.save(ref, SLEEP, record, Look(NOW, "k3"), etag)
        assert events.find(ref, SLEEP, record) == Stored(Look(NOW + DAY, "k2"), new)

    def test_of_sixteen_who_are_about_to_look_one_does(self, events: EventStore) -> None:
        ref, record = Ref(fresh()), RecordId("s1")
        first = at_once(lambda: events.save(ref, SLEEP, record, Look(NOW, "k"), None))
        [etag] = [one for one in first if one is not None]
        second = at_once(lambda: events.save(ref, SLEEP, record, Look(NOW, "k"), etag))

        assert len([one for one in second if one is not None]) == 1

    def test_all_of_a_ref_can_be_dropped_twice(self, events: EventStore) -> None:
        ref, other = Ref(fresh()), Ref(fresh())
        for one in (ref, other):
            events.save(one, SLEEP, RecordId("s1"), Look(NOW, "k"), None)
            for number in range(3):
                events.note(one, f"k{number}", at=NOW)

        assert [events.drop(ref), events.drop(ref)] == [4, 0]

        assert events.find(ref, SLEEP, RecordId("s1")) is None
        assert not any(events.seen(ref, f"k{number}") for number in range(3))
        assert events.find(other, SLEEP, RecordId("s1")) is not None
        assert all(events.seen(other, f"k{number}") for number in range(3))

    def test_what_is_old_is_swept_and_no_more_than_was_asked_for(self, events: EventStore) -> None:
        before, ref = LONG_AGO - 900 * DAY, Ref(fresh())
        for age in (-1, 0, 1, 2):
            events.note(ref, f"k{age}", at=before - age * DAY)
            look = Look(before - age * DAY, "k")
            events.save(ref, SLEEP, RecordId(f"s{age}"), look, None)

        assert [events.sweep(before, most=3) for _ in range(3)] == [3, 1, 0]

        assert [events.seen(ref, f"k{age}") for age in (-1, 0, 1, 2)] == [True, True, False, False]
        looks = [events.find(ref, SLEEP, RecordId(f"s{age}")) for age in (-1, 0, 1, 2)]
        assert [look is not None for look in looks] == [True, True, False, False]


# Poison


def a_departure(**changes: object) -> Departure:
    departure = Departure(
        ref=Ref(fresh("grant-")),
        provider=ProviderName("acme"),
        user=Sealed("s1:k:user=="),
        account=Sealed("s1:k:account=="),
        grant=a_grant(),
        at=NOW,
        todo=Todo.ERASE,
        rows={"records": 12, "links": 1},
    )
    return replace(departure, **changes)  # type: ignore[arg-type]


class DepartureContract:
    """What every ``DepartureStore`` must do."""

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"account": None, "grant": None, "rows": {}},
            {"todo": Todo.LOOK_AGAIN},
            {"ref": Ref("a/b#c")},
        ],
        ids=["full", "empty", "almost over", "oddly named"],
    )
    def test_a_departure_comes_back_as_it_was(
        self, departures: DepartureStore, changes: dict[str, object]
    ) -> None:
        departure = a_departure(**changes)
        etag = departures.save(departure, None)

        assert departures.find(departure.ref) == Stored(departure, etag)

    def test_what_is_done_leaves_nothing_behind(self, departures: DepartureStore) -> None:
        departure = a_departure()
        etag = departures.save(departure, None)
        done = replace(departure, grant=None, account=None, rows={}, todo=Todo.NOTHING)
        departures.save(done, etag)

        found = departures.find(departure.ref)
        assert found is not None
        assert found.value == done

    def test_what_was_never_saved_is_not_there(self, departures: DepartureStore) -> None:
        assert departures.find(Ref(fresh())) is None

    def test_a_stale_departure_is_not_written(self, departures: DepartureStore) -> None:
        departure = a_departure()
        old = departures.save(departure, None)
        departures.save(departure, old)

        for etag in (old, None):
            with pytest.raises(LostRace):
                departures.save(departure, etag)

    def test_a_departure_can_be_dropped_twice_but_not_when_changed(
        self, departures: DepartureStore
    ) -> None:
        departure = a_departure()
        old = departures.save(departure, None)
        new = departures.save(departure, old)

        with pytest.raises(LostRace):
            departures.drop(departure.ref, old)
        departures.drop(departure.ref, new)
        departures.drop(departure.ref, new)

        assert departures.find(departure.ref) is None

    def test_old_departures_are_swept_unless_there_is_something_to_erase(
        self, departures: DepartureStore
    ) -> None:
        before = LONG_AGO - timedelta(days=2_000)
        ages = {todo: a_departure(at=before - DAY, todo=todo) for todo in Todo}
        for departure in (*ages.values(), young := a_departure(at=before, todo=Todo.NOTHING)):
            departures.save(departure, None)

        assert [departures.sweep(before, most=1) for _ in range(3)] == [1, 1, 0]

        assert departures.find(ages[Todo.ERASE].ref) is not None
        assert departures.find(ages[Todo.NOTHING].ref) is None
        assert departures.find(ages[Todo.LOOK_AGAIN].ref) is None
        assert departures.find(young.ref) is not None

    def test_the_first_receipt_of_an_erasure_is_the_one(self, departures: DepartureStore) -> None:
        receipt = Receipt(fresh(), NOW, {"records": 12})

        assert departures.keep(receipt) == receipt
        assert departures.keep(replace(receipt, at=NOW + DAY, rows={})) == receipt


def a_poisoned(**changes: object) -> Poisoned:
    """Return a message that nobody else has kept."""
    made = Poisoned(fresh(), b"a body", "sync-now", "KeyError", NOW, 3, 2, stuck=True)
    return replace(made, **changes)  # type: ignore[arg-type]  # the tests name real fields


class PoisonContract:
    """What every ``PoisonStore`` must do."""

    def test_what_was_never_noted_is_not_there(self, poison: PoisonStore) -> None:
        assert poison.noted(fresh()) is None

    def test_the_last_failure_is_the_one_that_counts(self, poison: PoisonStore) -> None:
        key, other = fresh(), fresh()
        poison.note(key, "KeyError", at=NOW)
        poison.note(other, "ValueError", at=NOW)
        poison.note(key, "TypeError", at=NOW)

        assert (poison.noted(key), poison.noted(other)) == ("TypeError", "ValueError")

    def test_a_failure_can_be_forgotten_twice(self, poison: PoisonStore) -> None:
        key = fresh()
        poison.note(key, "KeyError", at=NOW)
        poison.forget(key)
        poison.forget(key)

        assert poison.noted(key) is None

    def test_a_failure_is_no_kept_message(self, poison: PoisonStore) -> None:
        key = fresh()
        poison.note(key, "KeyError", at=NOW)

        assert poison.find(key) is None

    @pytest.mark.parametrize("stuck", [True, False], ids=["stuck", "back at work"])
    @pytest.mark.parametrize("body", BODIES)
    def test_a_message_comes_back_as_it_was(
        self, poison: PoisonStore, body: bytes, stuck: object
    ) -> None:
        made = a_poisoned(body=body, stuck=stuck)

        etag = poison.save(made, None)

        assert poison.find(made.key) == Stored(made, etag)
        assert made in poison.everything()

    def test_a_longer_body_leaves_nothing_behind(self, poison: PoisonStore) -> None:
        made = a_poisoned(body=b"x" * 65_536)
        etag = poison.save(made, None)
        poison.save(replace(made, body=b"short"), etag)

        found = poison.find(made.key)
        assert found is not None
        assert found.value.body == b"short"

    def test_it_cannot_be_kept_twice(self, poison: PoisonStore) -> None:
        made = a_poisoned()
        poison.save(made, None)

        with pytest.raises(LostRace):
            poison.save(made, None)

    def test_of_sixteen_who_count_an_arrival_at_once_one_does(self, poison: PoisonStore) -> None:
        made = a_poisoned()
        etag = poison.save(made, None)

        wins = at_once(lambda: poison.save(replace(made, count=4), etag))

        assert len([one for one in wins if one is not None]) == 1

    def test_a_message_can_be_dropped_twice(self, poison: PoisonStore) -> None:
        made = a_poisoned()
        etag = poison.save(made, None)
        poison.drop(made.key, etag)
        poison.drop(made.key, etag)

        assert poison.find(made.key) is None
        assert made not in poison.everything()

    def test_a_message_that_came_again_is_not_dropped(self, poison: PoisonStore) -> None:
        made = a_poisoned()
        etag = poison.save(made, None)
        poison.save(replace(made, count=4), etag)

        with pytest.raises(LostRace):
            poison.drop(made.key, etag)
        assert poison.find(made.key) is not None

    def test_what_is_old_is_swept_unless_it_waits_for_a_person(self, poison: PoisonStore) -> None:
        old, new = LONG_AGO - timedelta(seconds=1), LONG_AGO
        failures = {at: fresh() for at in (old, new)}
        for at, key in failures.items():
            poison.note(key, "KeyError", at=at)
        rows = {
            (at, stuck): a_poisoned(at=at, stuck=stuck)
            for at in (old, new)
            for stuck in (True, False)
        }
        for row in rows.values():
            poison.save(row, None)

        assert poison.sweep(LONG_AGO, most=100) == 2

        assert [key for at, key in failures.items() if poison.noted(key)] == [failures[new]]
        assert {why for why, row in rows.items() if poison.find(row.key)} == {
            (old, True),
            (new, True),
            (new, False),
        }

    def test_no_more_is_swept_than_was_asked_for(self, poison: PoisonStore) -> None:
        long_before = LONG_AGO - timedelta(days=400)
        for _ in range(3):
            poison.note(fresh(), "KeyError", at=long_before)
            poison.save(a_poisoned(at=long_before, stuck=False), None)

        swept = [poison.sweep(LONG_AGO - timedelta(days=1), most=2) for _ in range(4)]

        assert swept == [2, 2, 2, 0]


# Queues

CHUNK = ChunkJob(Ref("ref"), SLEEP, RunId("run"), Lane.MANUAL, attempt=2, waits=1)
FINISH = FinishJob(Ref("ref"), GrantId("grant"), attempt=1)
START = StartJob(Ref("ref"), NOW.replace(minute=0))
BELL = Bell(Ref("ref"), ResourceName("sleep"), "0a1b2c3d", 42)
LOOK = LookJob(Ref("ref"), SLEEP, RecordId("s1"), alias=False, gone=True, at=NOW, key="k")


class QueueContract:
    """What every ``JobQueue`` must do.  ``received`` empties the queues."""

    @pytest.mark.parametrize(
        "job",
        [CHUNK, replace(CHUNK, lane=Lane.BACKFILL), FINISH, START, LOOK],
        ids=["somebody waits", "nobody waits", "finish a connection", "start a night", "look"],
    )
    def test_a_job_arrives_as_it_was(
        self, queue: JobQueue, received: Callable[[], list[Job]], job: Job
    ) -> None:
        queue.defer(job, timedelta(0))

        assert received() == [job]
        assert received() == []

    def test_a_time_that_is_over_means_now(
        self, queue: JobQueue, received: Callable[[], list[Job]]
    ) -> None:
        queue.defer(CHUNK, timedelta(seconds=-3))

        assert received() == [CHUNK]

    def test_the_same_job_twice_is_two_jobs(
        self, queue: JobQueue, received: Callable[[], list[Job]]
    ) -> None:
        queue.defer(CHUNK, timedelta(0))
        queue.defer(CHUNK, timedelta(0))

        assert received() == [CHUNK, CHUNK]

    def test_readers_hear_a_bell_and_workers_do_not(
        self,
        queue: JobQueue,
        received: Callable[[], list[Job]],
        heard: Callable[[], list[dict[str, object]]],
    ) -> None:
        queue.ring(BELL)

        told = {"form": 1, "ref": "ref", "resource": "sleep", "generation": "0a1b2c3d", "seq": 42}
        assert heard() == [told]
        assert received() == []

    @pytest.mark.parametrize("body", BODIES)
    @pytest.mark.parametrize("origin", ["sync-now", "sync-later", "sync-events"])
    def test_a_message_is_put_back_as_it_was(
        self,
        queue: JobQueue,
        received: Callable[[], list[Job]],
        returned: Callable[[str], list[bytes]],
        origin: str,
        body: bytes,
    ) -> None:
        queue.put_back(body[:48_000], origin, timedelta(0))  # 64 KiB in base64

        assert returned(origin) == [body[:48_000]]
        assert received() == []

    def test_it_can_be_reached(self, queue: JobQueue) -> None:
        assert queue.reachable()


# Ciphers

SEAL_PLACE = SealPlace(UserId("ana"), ProviderName("acme"), "refresh")


class BudgetContract:
    """Subclass and provide ``store``."""

    def test_before_the_first_request_there_is_none(self, store: BudgetStore) -> None:
        assert store.load(ProviderName(fresh())) is None

    def test_a_budget_comes_back_as_it_was(self, store: BudgetStore) -> None:
        name = ProviderName(fresh())
        limits = (Limit(100, timedelta(seconds=60)), Limit(10_000, timedelta(days=1)))
        budget, _ = budgets.take(budgets.fresh(limits), [Lane.AUTH] * 70, NOW)
        budget, _ = budgets.take(budget, [Lane.MANUAL] * 5, NOW + timedelta(seconds=9))
        quota = Quota(limits, limits[0], 3, timedelta(seconds=17))
        budget = budgets.learn(budget, limits, quota, NOW + timedelta(seconds=9))
        budget = budgets.close(budget, NOW + timedelta(milliseconds=1_234))

        etag = store.save(name, budget, None)

        assert store.load(name) == Stored(budget, etag)

    def test_a_day_of_spending_fits_into_a_row(self, store: BudgetStore) -> None:
        name = ProviderName(fresh())
        limits = (Limit(1_000_000, timedelta(minutes=1)), Limit(10_000_000, timedelta(days=1)))
        budget = budgets.fresh(limits)
        for number in range(600):
            at = NOW + number * timedelta(minutes=3) + number * timedelta(milliseconds=77)
            budget, _ = budgets.take(budget, [Lane.AUTH] * 40, at)

        etag = store.save(name, budget, None)

        assert store.load(name) == Stored(budget, etag)

    def test_an_old_etag_loses(self, store: BudgetStore) -> None:
        name = ProviderName(fresh())
        budget = budgets.fresh([Limit(3, timedelta(minutes=1))])
        old = store.save(name, budget, None)
        store.save(name, budget, old)

        for etag in (old, None):
            with pytest.raises(LostRace):
                store.save(name, budget, etag)

    def test_of_many_writers_exactly_one_wins(self, store: BudgetStore) -> None:
        name = ProviderName(fresh())
        budget = budgets.fresh([Limit(3, timedelta(minutes=1))])
        etag = store.save(name, budget, None)

        def write_over() -> bool:
            with suppress(LostRace):
                store.save(name, budget, etag)
                return True
            return False

        assert at_once(write_over).count(True) == 1


class CipherContract:
    """What every ``Cipher`` must do.  ``older`` was sealed with a key that still opens."""

    @pytest.mark.parametrize("text", ["a token", "", "ñ😀", "x" * 10_000])
    def test_what_was_sealed_opens(self, cipher: Cipher, text: str) -> None:
        assert cipher.open(cipher.seal(Secret(text), SEAL_PLACE), SEAL_PLACE) == Secret(text)

    @pytest.mark.parametrize(
        "place",
        [
            replace(SEAL_PLACE, user=UserId("eve")),
            replace(SEAL_PLACE, provider=ProviderName("other")),
            replace(SEAL_PLACE, field="access"),
        ],
        ids=["another member", "another provider", "another field"],
    )
    def test_it_opens_nowhere_else(self, cipher: Cipher, place: SealPlace) -> None:
        sealed = cipher.seal(Secret("a token"), SEAL_PLACE)

        with pytest.raises(Unsealable):
            cipher.open(sealed, place)

    def test_places_that_read_the_same_are_not_the_same(self, cipher: Cipher) -> None:
        one = SealPlace(UserId("a"), ProviderName("b|c"), "d")
        other = SealPlace(UserId("a|b"), ProviderName("c"), "d")

        with pytest.raises(Unsealable):
            cipher.open(cipher.seal(Secret("a token"), one), other)

    def test_what_an_older_key_sealed_opens_and_is_stale(
        self, cipher: Cipher, older: Sealed
    ) -> None:
        assert cipher.stale(older)
        anew = cipher.seal(cipher.open(older, SEAL_PLACE), SEAL_PLACE)
        assert not cipher.stale(anew)
        assert cipher.open(anew, SEAL_PLACE) == cipher.open(older, SEAL_PLACE)

    def test_the_same_secret_never_looks_the_same(self, cipher: Cipher) -> None:
        sealed = {cipher.seal(Secret("a token"), SEAL_PLACE).text for _ in range(100)}

        assert len(sealed) == 100

    def test_the_secret_does_not_show(self, cipher: Cipher) -> None:
        assert "token" not in repr(cipher.seal(Secret("token"), SEAL_PLACE))

    @pytest.mark.parametrize("text", ["", "s1", "s1:", "s1:k", "s2:k:AAAA", "plain", "::", "s1::"])
    def test_an_unknown_form_does_not_open(self, cipher: Cipher, text: str) -> None:
        with pytest.raises(Unsealable):
            cipher.open(Sealed(text), SEAL_PLACE)
