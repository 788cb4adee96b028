"""``DELETE /providers/{provider}/connection/``: leaving, with or without the records."""

from __future__ import annotations

import pytest

from dev.simulator import Fault, Member
from shared.core.model import Status, UserId
from tests.functions.world import WHOOP, Answer, Browser, World

CONNECTION = "/providers/whoop/connection/"
GONE = {"erased": False}


@pytest.fixture
def member(world: World, ana: Browser) -> Member:
    """Ana's account, connected and brought up to date."""
    made = world.simulator.world.add_member(days=60)
    ana.connect(made)
    world.work()
    return made


def leave(browser: Browser, query: str = "") -> Answer:
    return browser.ask("DELETE", f"{CONNECTION}{query}")


def revocations(world: World) -> list[int]:
    """Return how WHOOP answered to each grant that was given back."""
    return [one["status"] for one in world.simulator.log if one["kind"] == "revoke"]


@pytest.mark.parametrize("bearer", [None, "", "a.b.c"], ids=["none", "empty", "bad"])
def test_strangers_are_asked_to_sign_in(world: World, bearer: str | None) -> None:
    answer = world.browser().call("DELETE", CONNECTION, bearer=bearer)

    assert (answer.status, answer.json["code"]) == (401, "unauthorized")


def test_who_disconnects_is_disconnected_at_whoop_as_well(
    world: World, ana: Browser, member: Member
) -> None:
    before = {one["resource"]: one["records"] for one in ana.status()["resources"]}

    answer = leave(ana)

    assert (answer.status, answer.json) == (200, GONE)
    status = ana.status()
    assert status["connection"]["status"] == "disconnected"
    assert status["connection"]["action"] == "reconnect"
    assert {one["resource"]: one["records"] for one in status["resources"]} == before
    assert revocations(world) == [204]
    assert ana.ask("POST", "/providers/whoop/sync/").status == 409
    assert leave(ana).json == GONE
    world.work()
    assert revocations(world) == [204]


def test_who_never_connected_is_told_so(ana: Browser) -> None:
    for query in ("", "?erase=true"):
        answer = leave(ana, query)

        assert (answer.status, answer.json["code"]) == (404, "not_connected")


def test_who_erases_gets_a_receipt_and_is_as_if_they_had_never_come(
    world: World, ana: Browser, member: Member
) -> None:
    answer = leave(ana, "?erase=true")

    assert answer.status == 200
    receipt = answer.json.pop("receipt")
    assert answer.json["erased"] is True
    assert set(receipt) == {"id", "erased_at", "rows"}
    assert receipt["rows"] > 250
    assert receipt["erased_at"] == world.clock().isoformat(timespec="milliseconds")[:23] + "Z"
    assert world.departures.receipts[receipt["id"]].rows["records"] > 250
    assert ana.ask("GET", "/providers/").json[0]["connection"] == {"status": "none"}
    assert all(one["records"] == 0 for one in ana.status()["resources"])
    assert leave(ana, "?erase=true").status == 404


@pytest.mark.parametrize("query", ["?erase=false", ""])
def test_nothing_is_erased_unless_asked(
    ana: Browser, world: World, member: Member, query: str
) -> None:
    assert leave(ana, query).json == GONE
    assert world.departures.receipts == {}
    assert sum(one["records"] for one in ana.status()["resources"]) > 100


@pytest.mark.parametrize("value", ["1", "True", "yes", "true,false", "true&erase=true"])
def test_a_wish_that_is_not_clear_is_not_guessed(
    world: World, ana: Browser, member: Member, value: str
) -> None:
    answer = leave(ana, f"?erase={value}")

    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert ana.status()["connection"]["status"] == "connected"


def test_an_erasure_that_takes_longer_says_so(
    world: World, ana: Browser, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase = world.records.erase

    def slowly(user: UserId, provider: object, *, most: int) -> object:
        world.clock.move(15)
        return erase(user, provider, most=100)  # type: ignore[arg-type]

    monkeypatch.setattr(world.records, "erase", slowly)

    answer = leave(ana, "?erase=true")

    assert (answer.status, answer.json) == (202, {"erased": False, "erasing": True})
    assert ana.ask("GET", "/providers/").json[0]["connection"]["status"] == "erasing"
    assert ana.get(ana.ticket()).outcome["reason"] == "erasing"
    world.work()
    assert ana.ask("GET", "/providers/").json[0]["connection"] == {"status": "none"}
    assert revocations(world) == [204]


@pytest.mark.parametrize("changes", [{"WHOOP_CLIENT_ID": ""}, {"WHOOP_SCOPE": "nonsense"}])
@pytest.mark.parametrize("query", ["", "?erase=true"])
def test_a_provider_that_is_switched_off_keeps_nobody(
    world: World, ana: Browser, member: Member, changes: dict[str, str], query: str
) -> None:
    world.set_up(changes)

    assert leave(ana, query).status == 200

    world.set_up({})
    world.work()
    assert revocations(world) == [204]
    assert world.connections.find(UserId("ana"), WHOOP) is None or query == ""


@pytest.mark.parametrize("query", ["", "?erase=true"])
def test_whoop_being_down_keeps_nobody(
    world: World, ana: Browser, member: Member, query: str
) -> None:
    world.simulator.add_fault(Fault("/user/access", status=503, times=3))

    assert leave(ana, query).status == 200

    world.work()
    assert revocations(world) == [503, 503, 503, 204]


@pytest.mark.parametrize("query", ["", "?erase=true"])
def test_a_dead_token_keeps_nobody(world: World, ana: Browser, member: Member, query: str) -> None:
    world.simulator.revoke_tokens(member.user_id)

    assert leave(ana, query).status == 200

    world.work()
    assert revocations(world) == [401]
    assert world.departures._rows.rows == {}


def test_an_expired_token_is_renewed_to_give_it_back(
    world: World, ana: Browser, member: Member
) -> None:
    world.clock.move(7_200)
    world.simulator.clear_log()

    assert leave(ana).status == 200

    assert [one["kind"] for one in world.simulator.log] == ["token", "revoke"]
    assert revocations(world) == [204]


def test_another_account_on_top_of_the_records_is_refused_until_they_are_erased(
    world: World, ana: Browser, member: Member
) -> None:
    leave(ana)
    other = world.simulator.world.add_member(days=3)
    world.clock.move(60)
    assert ana.connect(other)["reason"] == "different_account"

    leave(ana, "?erase=true")

    world.clock.move(60)
    assert ana.connect(other)["oauth"] == "success"
    world.work()
    assert ana.status()["connection"]["status"] == "connected"
    stored = world.connections.find(UserId("ana"), WHOOP)
    assert stored is not None
    assert stored.value.account == str(other.user_id)


def test_members_end_their_own_connections_only(world: World, ana: Browser, member: Member) -> None:
    eve = world.browser("eve")

    assert leave(eve, "?erase=true").status == 404

    stored = world.connections.find(UserId("ana"), WHOOP)
    assert stored is not None
    assert stored.value.status is Status.CONNECTED


def test_storage_that_is_down_says_when_to_come_back(
    world: World, ana: Browser, member: Member
) -> None:
    world.connections.down = True

    for query in ("", "?erase=true"):
        answer = leave(ana, query)
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
