from datetime import timedelta
from typing import Any

import pytest

from shared.core.model import Limit, Secret
from shared.provider import Trouble
from whoop import config
from whoop.resources import SCOPES

SECRET = "canary-of-a-secret"
ENV = {
    "WHOOP_CLIENT_ID": "an-app",
    "WHOOP_CLIENT_SECRET": SECRET,
    "WHOOP_REDIRECT_URI": "https://api.gotogym.store/oauth/whoop/callback/",
}
REFERENCE = "@Microsoft.KeyVault(SecretUri=https://gotogym.vault.azure.net/secrets/whoop)"
URLS = ("WHOOP_REDIRECT_URI", "WHOOP_API_URL", "WHOOP_OAUTH_URL")


def read(**changes: Any) -> config.Config:
    """Read good settings; a change to ``...`` leaves one out."""
    env = {name: value for name, value in (ENV | changes).items() if value is not ...}
    return config.read(env)


def test_three_settings_are_enough() -> None:
    assert read() == config.Config(
        client_id="an-app",
        client_secret=Secret(SECRET),
        redirect_uri="https://api.gotogym.store/oauth/whoop/callback/",
        scopes=(
            "read:cycles",
            "read:recovery",
            "read:sleep",
            "read:workout",
            "read:profile",
            "read:body_measurement",
            "offline",
        ),
        api_url="https://api.prod.whoop.com/developer",
        oauth_url="https://api.prod.whoop.com/oauth/oauth2",
        limits=(Limit(100, timedelta(minutes=1)), Limit(10_000, timedelta(days=1))),
        trouble=None,
        problems=(),
    )


def test_without_any_setting_whoop_is_not_configured() -> None:
    nothing = config.read({})
    assert nothing.trouble is Trouble.NOT_CONFIGURED
    assert nothing.problems == (
        "WHOOP_CLIENT_ID is not set",
        "WHOOP_CLIENT_SECRET is not set",
        "WHOOP_REDIRECT_URI is not set",
    )


@pytest.mark.parametrize("value", [..., "", "  \t"], ids=["missing", "empty", "blank"])
@pytest.mark.parametrize("name", ENV)
def test_a_setting_that_is_missing_is_named(name: str, value: Any) -> None:
    partly = read(**{name: value})
    assert partly.trouble is Trouble.NOT_CONFIGURED
    assert partly.problems == (f"{name} is not set",)


@pytest.mark.parametrize("name", [*ENV, "WHOOP_API_URL", "WHOOP_OAUTH_URL"])
def test_a_key_vault_reference_that_did_not_resolve_is_a_mistake(name: str) -> None:
    unresolved = read(**{name: f" {REFERENCE}"})
    assert unresolved.trouble is Trouble.MISCONFIGURED
    assert unresolved.problems == (f"{name} is a Key Vault reference that did not resolve",)


def test_every_problem_is_reported_at_once_and_a_mistake_weighs_more() -> None:
    bad = read(
        WHOOP_CLIENT_ID=...,
        WHOOP_CLIENT_SECRET=REFERENCE,
        WHOOP_REDIRECT_URI="ftp://x",
        WHOOP_SCOPE="read:everything",
    )
    assert bad.trouble is Trouble.MISCONFIGURED
    assert [problem.split()[0] for problem in bad.problems] == [
        "WHOOP_CLIENT_ID",
        "WHOOP_CLIENT_SECRET",
        "WHOOP_REDIRECT_URI",
        "WHOOP_SCOPE",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "api.gotogym.store/oauth",
        "/oauth/whoop/callback/",
        "//api.gotogym.store/oauth",
        "http://api.gotogym.store/oauth",
        "http://localhost.evil.example/",
        "http://127.0.0.2/",
        "ftp://localhost/",
        "whoop://callback",
        "javascript:alert(1)",
        "https:",
        "https://",
        "https:///oauth",
        "https://:443/",
        "https://[::1",
        "https://host:port/",
        "https://host:99999/",
        "https://host:0/",
        "https://user@host/",
        "https://user:password@host/",
        "https://host/?a=b",
        "https://host/#fragment",
    ],
)
@pytest.mark.parametrize("name", URLS)
def test_an_address_that_cannot_be_used_is_a_mistake(name: str, url: str) -> None:
    bad = read(**{name: url})
    assert bad.trouble is Trouble.MISCONFIGURED
    assert bad.problems == (
        f"{name} must be an absolute https address without a query (http only on this machine)",
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://whoop.example/a/b",
        "HTTPS://whoop.example",
        "https://whoop.example:8443",
        "http://localhost:7071",
        "http://127.0.0.1:9000/developer",
        "http://[::1]:9000/developer",
    ],
)
@pytest.mark.parametrize("name", URLS)
def test_an_address_is_https_or_on_this_machine(name: str, url: str) -> None:
    good = read(**{name: url})
    assert good.problems == ()
    assert url in {good.redirect_uri, good.api_url, good.oauth_url}


def test_whoop_may_be_somewhere_else_with_or_without_a_slash_at_the_end() -> None:
    for slash in ("", "/"):
        elsewhere = read(
            WHOOP_API_URL=f"http://127.0.0.1:1/developer{slash}",
            WHOOP_OAUTH_URL=f" http://127.0.0.1:1/oauth{slash} ",
        )
        assert elsewhere.api_url == "http://127.0.0.1:1/developer"
        assert elsewhere.oauth_url == "http://127.0.0.1:1/oauth"


def test_the_redirect_address_stays_exactly_as_registered() -> None:
    for url in ("https://api.gotogym.store/cb/", "https://api.gotogym.store/cb"):
        assert read(WHOOP_REDIRECT_URI=f" {url}\n").redirect_uri == url


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("", (*SCOPES, "offline")),
        ("  ", (*SCOPES, "offline")),
        ("read:sleep", ("read:sleep", "offline")),
        ("offline", ("offline",)),
        ("offline read:sleep", ("offline", "read:sleep")),
        (
            "read:sleep  read:cycles read:sleep offline offline",
            ("read:sleep", "read:cycles", "offline"),
        ),
    ],
)
def test_offline_is_asked_for_once_whatever_is_set(scope: str, scopes: tuple[str, ...]) -> None:
    good = read(WHOOP_SCOPE=scope)
    assert good.scopes == scopes
    assert good.problems == ()


@pytest.mark.parametrize(
    ("scope", "unknown"),
    [
        ("read:workouts", "read:workouts"),
        ("read:cycle read:sleep write:sleep", "read:cycle, write:sleep"),
        ("read:sleep,read:cycles", "read:sleep,read:cycles"),
        ("READ:SLEEP", "READ:SLEEP"),
    ],
    ids=["plural", "two", "comma", "capitals"],
)
def test_a_scope_that_whoop_does_not_know_is_a_mistake(scope: str, unknown: str) -> None:
    bad = read(WHOOP_SCOPE=scope)
    assert bad.trouble is Trouble.MISCONFIGURED
    assert bad.problems == (f"WHOOP_SCOPE has scopes that WHOOP does not know: {unknown}",)


QUOTA = {"WHOOP_REQUESTS_PER_MINUTE": 0, "WHOOP_REQUESTS_PER_DAY": 1}


@pytest.mark.parametrize("value", ["", "  ", "1", " 250 ", "9999999"])
@pytest.mark.parametrize("name", QUOTA)
def test_the_quota_is_what_whoop_granted(name: str, value: str) -> None:
    good = read(**{name: value})
    usual = read().limits
    expected = [limit.count for limit in usual]
    if value.strip():
        expected[QUOTA[name]] = int(value)
    assert good.problems == ()
    assert [limit.count for limit in good.limits] == expected
    assert [limit.window for limit in good.limits] == [limit.window for limit in usual]


@pytest.mark.parametrize(
    "value",
    ["0", "000", "-1", "+5", "1.5", "1e3", "1_000", "1,000", "ten", "100/min", "10000000", "٣"],
)
@pytest.mark.parametrize("name", QUOTA)
def test_a_quota_that_is_no_count_is_a_mistake(name: str, value: str) -> None:
    bad = read(**{name: value})
    assert bad.trouble is Trouble.MISCONFIGURED
    assert bad.problems == (f"{name} must be a whole number from 1 to 9999999",)
    # Nothing is sent with it; but what reads it must not divide by nothing.
    assert all(limit.count >= 1 for limit in bad.limits)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"WHOOP_CLIENT_ID": ...},
        {"WHOOP_CLIENT_SECRET": f"@Microsoft.KeyVault({SECRET})"},
        {"WHOOP_REDIRECT_URI": f"https://user:{SECRET}@host/"},
        {"WHOOP_API_URL": f"https://host/?key={SECRET}"},
    ],
    ids=["good", "partly set", "unresolved", "in an address", "in a query"],
)
def test_no_problem_shows_a_secret(changes: dict[str, Any]) -> None:
    read_one = read(**changes)
    assert SECRET not in "".join(read_one.problems)
    assert SECRET not in repr(read_one.client_secret)
    assert (
        "WHOOP_REDIRECT_URI" in changes
        or "WHOOP_API_URL" in changes
        or (SECRET not in repr(read_one))
    )
    assert read_one.client_secret.reveal()
