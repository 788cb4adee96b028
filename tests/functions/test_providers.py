"""``GET /providers/``: what the settings page asks first."""

from __future__ import annotations

import pytest

from tests.functions.world import Browser, World, a_token


def test_anyone_may_know_which_providers_there_are(world: World) -> None:
    answer = world.browser().get("/providers/")

    assert answer.status == 200
    assert answer.json == [{"id": "whoop", "name": "WHOOP", "enabled": True}]


def test_a_slash_at_the_end_does_not_matter(world: World) -> None:
    assert world.browser().get("/providers") == world.browser().get("/providers/")


def test_a_member_also_sees_the_connection(world: World, ana: Browser) -> None:
    assert ana.ask("GET", "/providers/").json[0]["connection"] == {"status": "none"}

    ana.connect(world.simulator.world.add_member(days=1))

    connection = ana.ask("GET", "/providers/").json[0]["connection"]
    assert connection["status"] == "connected"
    assert connection["missing_scopes"] == []


def test_members_see_their_own_connections_only(world: World, ana: Browser) -> None:
    ana.connect(world.simulator.world.add_member(days=1))

    [entry] = world.browser("eve").ask("GET", "/providers/").json

    assert entry["connection"] == {"status": "none"}


@pytest.mark.parametrize("bearer", ["", "x", "a.b.c", a_token("ana")[:-4] + "AAAA"])
def test_a_bad_token_is_refused_rather_than_ignored(world: World, bearer: str) -> None:
    answer = world.browser().call("GET", "/providers/", bearer=bearer)

    assert (answer.status, answer.json["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"WHOOP_CLIENT_ID": ""}, "not_configured"),
        ({"WHOOP_CLIENT_SECRET": ""}, "not_configured"),
        ({"WHOOP_REDIRECT_URI": ""}, "not_configured"),
        (
            {"WHOOP_CLIENT_SECRET": "@Microsoft.KeyVault(SecretUri=https://v/secrets/s)"},
            "misconfigured",
        ),
        ({"WHOOP_API_URL": "http://api.example.com"}, "misconfigured"),
        ({"WHOOP_SCOPE": "read:everything"}, "misconfigured"),
    ],
    ids=["no id", "no secret", "no redirect", "unresolved secret", "plain http", "unknown scope"],
)
def test_a_provider_that_cannot_be_offered_says_so_and_not_why(
    world: World, changes: dict[str, str], reason: str
) -> None:
    world.set_up(changes)

    answer = world.browser().get("/providers/")

    assert answer.json == [{"id": "whoop", "name": "WHOOP", "enabled": False, "reason": reason}]
