"""From the consent page back to the settings page."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from dev.simulator import Fault
from shared.connections import FINISH_AFTER, STATE_LIFE
from shared.core.model import FinishJob, UserId
from tests.functions.world import RESOURCES, WHOOP, Browser, World, run

PROFILE = "/user/profile/basic"
TOKEN = "/oauth2/token"
THREADS = 16


def failed(reason: str) -> dict[str, str]:
    return {"oauth": "error", "provider": "whoop", "reason": reason}


def test_a_member_who_says_yes_is_connected(world: World, ana: Browser) -> None:
    member = world.simulator.world.add_member(days=1)

    outcome = ana.connect(member)

    assert outcome == {"oauth": "success", "provider": "whoop"}
    assert ana.status()["connection"] == {
        "status": "connected",
        "since": "2026-11-22T11:30:00.250Z",
        "reason": None,
        "action": None,
        "missing_scopes": [],
    }
    stored = world.connections.find(UserId("ana"), WHOOP)
    assert stored is not None
    assert stored.value.account == str(member.user_id)


def test_the_first_run_starts_at_once_and_asks_nothing_twice(world: World, ana: Browser) -> None:
    member = world.simulator.world.add_member(days=40)
    ana.connect(member)
    world.work()

    goal = ana.status()["run"]["goal"]
    assert goal == {"start": "2026-10-23T11:30:00.250Z", "end": "2026-11-22T11:30:00.250Z"}
    assert set(ana.progress().values()) == {"finished"}
    start = world.clock.now - timedelta(days=30)
    minimum = world.simulator.minimum_requests([member.user_id], start, None)
    assert len(world.simulator.log) == minimum


# What the provider says instead of a code


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("access_denied", "denied"),
        ("server_error", "provider_error"),
        ("invalid_scope", "provider_error"),
        ("<script>", "provider_error"),
    ],
)
def test_an_error_of_the_provider_is_told_in_our_words(
    ana: Browser, said: str, reason: str
) -> None:
    state = state_of(ana.consent_page())

    answer = ana.get(f"/oauth/whoop/callback/?error={said}&error_description=x&state={state}")

    assert answer.outcome == failed(reason)
    assert said not in answer.location


def test_a_member_who_says_no_is_not_connected(world: World, ana: Browser) -> None:
    world.simulator.world.add_member(days=1)

    outcome = ana.get(world.deny(ana.consent_page())).outcome

    assert outcome == failed("denied")
    assert ana.status()["connection"] == {"status": "none"}


def test_an_answer_with_neither_code_nor_error_is_the_providers_mistake(ana: Browser) -> None:
    state = state_of(ana.consent_page())

    assert ana.get(f"/oauth/whoop/callback/?state={state}").outcome == failed("provider_error")


# States


@pytest.mark.parametrize(
    "query",
    ["", "?code=x", "?state=&code=x", "?state=forged-but-long-enough&code=x", "?error=denied"],
    ids=["nothing at all", "no state", "an empty state", "a forged state", "an error alone"],
)
def test_without_a_state_of_ours_nothing_happens(world: World, ana: Browser, query: str) -> None:
    ana.consent_page()

    assert ana.get(f"/oauth/whoop/callback/{query}").outcome == failed("expired_link")
    assert not world.simulator.log


@pytest.mark.parametrize(
    ("waited", "works"),
    [(STATE_LIFE - timedelta(milliseconds=1), True), (STATE_LIFE, False)],
    ids=["just in time", "a moment too late"],
)
def test_a_state_works_for_ten_minutes(
    world: World, ana: Browser, waited: timedelta, works: object
) -> None:
    page = ana.consent_page()
    world.clock.move(waited.total_seconds())
    back = world.approve(page, world.simulator.world.add_member(days=1))

    outcome = ana.get(back).outcome

    assert outcome == (
        {"oauth": "success", "provider": "whoop"} if works else failed("expired_link")
    )


def test_a_state_works_once(world: World, ana: Browser) -> None:
    back = ana.consent(world.simulator.world.add_member(days=1))
    ana.get(back)

    assert ana.get(back).outcome == failed("expired_link")
    assert ana.status()["connection"]["status"] == "connected"


def test_of_sixteen_callbacks_with_one_state_one_wins(world: World, ana: Browser) -> None:
    back = ana.consent(world.simulator.world.add_member(days=1))
    start = threading.Barrier(THREADS)

    def land(_: int) -> str:
        browser = replace(ana, cookies=dict(ana.cookies))
        start.wait()
        outcome = browser.get(back).outcome
        return outcome.get("reason", "success")

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = sorted(pool.map(land, range(THREADS)))

    assert outcomes == ["expired_link"] * (THREADS - 1) + ["success"]
    assert [one["status"] for one in world.simulator.log if one["kind"] == "token"] == [200]


def test_a_state_is_bound_to_its_browser(world: World, ana: Browser) -> None:
    # Otherwise Eve could have Ana open the end of Eve's own round trip.
    back = ana.consent(world.simulator.world.add_member(days=1))
    eve = world.browser("eve")
    eve.ticket()

    assert eve.get(back).outcome == failed("other_browser")
    assert eve.status()["connection"] == {"status": "none"}
    assert ana.get(back).outcome["oauth"] == "success"


def test_a_lost_cookie_ends_the_round_trip(world: World, ana: Browser) -> None:
    back = ana.consent(world.simulator.world.add_member(days=1))
    ana.cookies.clear()

    assert ana.get(back).outcome == failed("other_browser")
    assert ana.status()["connection"] == {"status": "none"}


# Codes and grants


def test_a_bad_code_is_an_expired_link(ana: Browser) -> None:
    state = state_of(ana.consent_page())

    answer = ana.get(f"/oauth/whoop/callback/?state={state}&code=never-given-out")

    assert answer.outcome == failed("expired_link")
    assert ana.status()["connection"] == {"status": "none"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(Fault(TOKEN, status=503), "provider_unavailable", id="an outage"),
        pytest.param(Fault(TOKEN, status=429), "provider_unavailable", id="a rate limit"),
        pytest.param(Fault(TOKEN, broken=True), "provider_unavailable", id="broken JSON"),
        pytest.param(Fault(TOKEN, cut=True), "provider_unavailable", id="a cut answer"),
        pytest.param(
            Fault(TOKEN, status=401, body='{"error": "invalid_client"}'),
            "provider_error",
            id="our credentials are wrong",
        ),
        pytest.param(Fault(TOKEN, status=403, body="blocked"), "provider_unavailable", id="a wall"),
    ],
)
def test_a_code_that_cannot_be_traded_is_told_as_what_it_is(
    world: World, ana: Browser, fault: Fault, reason: str
) -> None:
    back = ana.consent(world.simulator.world.add_member(days=1))
    world.simulator.add_fault(fault)

    assert ana.get(back).outcome == failed(reason)
    assert ana.status()["connection"] == {"status": "none"}
    assert world.queue.take() == []


def test_a_grant_without_a_refresh_token_is_refused(world: World, ana: Browser) -> None:
    member = world.simulator.world.add_member(days=1)

    outcome = ana.connect(member, scope="read:profile read:sleep")

    assert outcome == failed("no_offline_access")
    assert ana.status()["connection"] == {"status": "none"}
    assert world.queue.take() == []


def test_a_grant_with_fewer_scopes_is_taken_and_reported(
    world: World, ana: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="wearables")
    member = world.simulator.world.add_member(days=1)

    outcome = ana.connect(member, scope="offline read:profile read:sleep")
    world.work()

    missing = ["read:body_measurement", "read:cycles", "read:recovery", "read:workout"]
    assert outcome["oauth"] == "success"
    assert ana.status()["connection"] == {
        "status": "connected",
        "since": "2026-11-22T11:30:00.250Z",
        "reason": "scope_missing",
        "action": "reconnect",
        "missing_scopes": missing,
    }
    assert ana.progress() == {
        **dict.fromkeys(RESOURCES, "no_scope"),
        "sleep": "finished",
        "profile": "finished",
    }
    [made] = [one for one in caplog.records if one.__dict__["event"] == "connection.made"]
    assert made.__dict__["missing_scopes"] == missing
    assert {one["status"] for one in world.simulator.log} == {200}


def test_without_the_profile_the_first_record_says_whose_grant_it_is(
    world: World, ana: Browser
) -> None:
    member = world.simulator.world.add_member(days=3)

    ana.connect(member, scope="offline read:cycles")
    before = world.connections.find(UserId("ana"), WHOOP)
    world.work()
    after = world.connections.find(UserId("ana"), WHOOP)

    assert before is not None
    assert after is not None
    assert (before.value.account, after.value.account) == (None, str(member.user_id))


def test_more_scopes_can_be_granted_later(world: World, ana: Browser) -> None:
    member = world.simulator.world.add_member(days=1)
    ana.connect(member, scope="offline read:profile")
    world.work()

    ana.connect(member)
    world.work()

    assert ana.status()["connection"]["missing_scopes"] == []
    assert set(ana.progress().values()) == {"finished"}


# Whose account it is


def test_an_account_that_is_somebody_elses_is_refused(world: World, ana: Browser) -> None:
    member = world.simulator.world.add_member(days=1)
    ana.connect(member)
    eve = world.browser("eve")

    assert eve.connect(member) == failed("account_in_use")

    assert eve.status()["connection"] == {"status": "none"}
    world.work()  # and the rightful owner's grant is none the worse
    assert ana.status()["connection"]["status"] == "connected"
    assert set(ana.progress().values()) == {"finished"}


def test_another_account_on_top_of_the_first_is_refused(world: World, ana: Browser) -> None:
    first, second = (world.simulator.world.add_member(days=1) for _ in range(2))
    ana.connect(first)
    world.work()

    assert ana.connect(second) == failed("different_account")

    stored = world.connections.find(UserId("ana"), WHOOP)
    assert stored is not None
    assert stored.value.account == str(first.user_id)
    assert ana.status()["connection"]["status"] == "connected"


def test_connecting_again_keeps_the_records_and_the_ref(world: World, ana: Browser) -> None:
    member = world.simulator.world.add_member(days=3)
    ana.connect(member)
    world.work()
    before = world.connections.find(UserId("ana"), WHOOP)
    counts = {one["resource"]: one["records"] for one in ana.status()["resources"]}

    ana.connect(member)
    world.work()

    after = world.connections.find(UserId("ana"), WHOOP)
    assert before is not None
    assert after is not None
    assert before.value.ref == after.value.ref
    assert before.value.grant.id != after.value.grant.id
    assert {one["resource"]: one["records"] for one in ana.status()["resources"]} == counts


# When something fails after the code was traded


def test_a_grant_that_the_callback_cannot_finish_is_finished_by_a_job(
    world: World, ana: Browser
) -> None:
    member = world.simulator.world.add_member(days=1)
    world.simulator.add_fault(Fault(PROFILE, status=503, times=1))

    outcome = ana.connect(member)

    assert outcome == {"oauth": "success", "provider": "whoop"}
    assert ana.status()["connection"] == {"status": "connecting"}
    assert ana.ask("GET", "/providers/").json[0]["connection"] == {"status": "connecting"}
    [(job, delay)] = world.queue.take()
    assert isinstance(job, FinishJob)
    assert delay == FINISH_AFTER
    run(job)
    assert ana.status()["connection"]["status"] == "connected"
    world.work()
    assert set(ana.progress().values()) == {"finished"}
    run(job)  # a message may come twice
    assert world.queue.take() == []


def test_a_job_that_finds_the_connection_made_does_nothing(world: World, ana: Browser) -> None:
    ana.connect(world.simulator.world.add_member(days=1))
    [job] = [job for job, _ in world.queue.take() if isinstance(job, FinishJob)]
    asked = len(world.simulator.log)

    run(job)

    assert world.queue.take() == []
    assert len(world.simulator.log) == asked


def test_a_profile_that_is_never_answered_costs_nobody_their_connection(
    world: World, ana: Browser
) -> None:
    world.simulator.add_fault(Fault(PROFILE, status=503))
    ana.connect(world.simulator.world.add_member(days=1))

    world.work()

    assert ana.status()["connection"]["status"] == "connected"
    assert ana.progress()["sleep"] == "finished"


def test_storage_that_is_down_is_told_on_the_page(world: World, ana: Browser) -> None:
    back = ana.consent(world.simulator.world.add_member(days=1))
    world.once.down = True

    assert ana.get(back).outcome == failed("unavailable")
    world.once.down = False
    assert ana.get(back).outcome["oauth"] == "success"  # the state was not used up


def state_of(consent_page: str) -> str:
    [state] = parse_qs(urlsplit(consent_page).query)["state"]
    return state
