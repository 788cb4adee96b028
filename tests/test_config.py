"""The settings: what is wrong with them, all at once, and never a secret in what is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whoop
from shared.config import LONGEST_BACKFILL, Settings, Storage, origin, same_site
from shared.core.model import Secret
from shared.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
OTHER_KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
CANARY = "canary-of-more-than-thirty-two-bytes"
GOOD = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "DataStorage": "AccountName=x;AccountKey=canary==",
    "PUBLIC_URL": "https://api.gotogym.store",
    "JWT_ALGORITHM": "HS256",
    "JWT_SECRET": CANARY,
    "TOKEN_KEYS": f"k1:{KEY}",
    "SYNC_SCHEDULE": "0 0 9 * * *",
}
REFERENCE = "@Microsoft.KeyVault(SecretUri=https://canary.vault.azure.net/secrets/x)"


def problems(**changes: str) -> tuple[str, ...]:
    """Return what is wrong with good settings after ``changes``."""
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({**GOOD, **changes})
    return caught.value.problems


def test_the_least_that_an_app_needs() -> None:
    settings = Settings.from_env(GOOD)

    assert settings.storage == Storage(Secret("AccountName=x;AccountKey=canary=="))
    assert settings.public_url == "https://api.gotogym.store"
    assert (
        settings.settings_page_url == "https://www.gotogym.store/pages/settings/Dispositivos.html"
    )
    assert settings.backfill_days == 30
    assert settings.jwt.secret == Secret(CANARY)
    assert (settings.jwt.issuer, settings.jwt.audience, settings.jwt.user_claim) == ("", "", "")
    assert [(key.id, key.key) for key in settings.token_keys] == [("k1", Secret(KEY))]
    assert settings.allow_query_token is False


def test_without_any_setting_everything_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({})

    assert caught.value.problems == (
        "DataStorage is not set",
        "PUBLIC_URL is not set",
        "JWT_ALGORITHM must be one of HS256, RS256, ES256",
        "TOKEN_KEYS is not set",
        "AzureWebJobsStorage is not set",
        "SYNC_SCHEDULE is not set",
    )
    assert str(caught.value) == "; ".join(caught.value.problems)


SIX = "SYNC_SCHEDULE must have six fields, the first one for seconds"
ADDRESS = "must be an absolute https address without a query (http only on this machine)"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("AzureWebJobsStorage", "", "AzureWebJobsStorage is not set"),
        ("AzureWebJobsStorage", "  ", "AzureWebJobsStorage is not set"),
        *(
            ("DataStorage", text, "DataStorage must be a connection string of a storage account")
            for text in ("nonsense", "AccountName=x", "a=b;c=d", "UseDevelopmentStorage")
        ),
        ("DataStorage", " ", "DataStorage is not set"),
        ("PUBLIC_URL", "api.gotogym.store", f"PUBLIC_URL {ADDRESS}"),
        ("PUBLIC_URL", "http://api.gotogym.store", f"PUBLIC_URL {ADDRESS}"),
        ("PUBLIC_URL", "https://", f"PUBLIC_URL {ADDRESS}"),
        ("PUBLIC_URL", "https://[half", f"PUBLIC_URL {ADDRESS}"),
        ("PUBLIC_URL", "https://api.gotogym.store/?a=b", f"PUBLIC_URL {ADDRESS}"),
        ("PUBLIC_URL", "ftp://localhost", f"PUBLIC_URL {ADDRESS}"),
        ("SETTINGS_PAGE_URL", "javascript:alert(1)", f"SETTINGS_PAGE_URL {ADDRESS}"),
        ("SETTINGS_PAGE_URL", "https://www.gotogym.store/#x", f"SETTINGS_PAGE_URL {ADDRESS}"),
        ("BACKFILL_DAYS", "a month", "BACKFILL_DAYS must be a whole number from 0 to 20000"),
        ("BACKFILL_DAYS", "-1", "BACKFILL_DAYS must be a whole number from 0 to 20000"),
        ("BACKFILL_DAYS", "1.5", "BACKFILL_DAYS must be a whole number from 0 to 20000"),
        ("BACKFILL_DAYS", "20001", "BACKFILL_DAYS must be a whole number from 0 to 20000"),
        ("BACKFILL_DAYS", "9" * 5_000, "BACKFILL_DAYS must be a whole number from 0 to 20000"),
        ("BACKFILL_DAYS", "٣٠", "BACKFILL_DAYS must be a whole number from 0 to 20000"),
        ("JWT_ALGORITHM", "none", "JWT_ALGORITHM must be one of HS256, RS256, ES256"),
        ("JWT_ALGORITHM", "hs256", "JWT_ALGORITHM must be one of HS256, RS256, ES256"),
        ("JWT_SECRET", "", "JWT_SECRET must have at least 32 bytes for HS256"),
        ("JWT_SECRET", "canary", "JWT_SECRET must have at least 32 bytes for HS256"),
        (
            "JWT_JWKS_URL",
            "https://gotogym.store/jwks",
            "JWT_JWKS_URL goes with RS256 and ES256, not with HS256",
        ),
        ("TOKEN_KEYS", "", "TOKEN_KEYS is not set"),
        ("SYNC_SCHEDULE", " ", "SYNC_SCHEDULE is not set"),
        ("SYNC_SCHEDULE", "0 9 * * *", SIX),
        ("SYNC_SCHEDULE", "0 0 9 * * * *", SIX),
        ("SYNC_SCHEDULE", "every night", SIX),
        ("ALLOW_QUERY_TOKEN", "yes", "ALLOW_QUERY_TOKEN must be true or false"),
        ("PUBLIC_URL", REFERENCE, "PUBLIC_URL is a Key Vault reference that did not resolve"),
        ("DataStorage", REFERENCE, "DataStorage is a Key Vault reference that did not resolve"),
        ("SYNC_SCHEDULE", REFERENCE, "SYNC_SCHEDULE is a Key Vault reference that did not resolve"),
        ("JWT_ISSUER", REFERENCE, "JWT_ISSUER is a Key Vault reference that did not resolve"),
        (
            "AzureWebJobsStorage",
            REFERENCE,
            "AzureWebJobsStorage is a Key Vault reference that did not resolve",
        ),
    ],
)
def test_what_is_wrong_is_said_by_name(name: str, value: str, problem: str) -> None:
    assert problems(**{name: value}) == (problem,)


@pytest.mark.parametrize("name", ["JWT_SECRET", "TOKEN_KEYS", "JWT_ALGORITHM"])
def test_an_unresolved_reference_is_blamed_itself(name: str) -> None:
    assert f"{name} is a Key Vault reference that did not resolve" in problems(**{name: REFERENCE})


@pytest.mark.parametrize(
    "value",
    [
        "canary",
        KEY,
        f":{KEY}",
        f"k 1:{KEY}",
        f"ñ:{KEY}",
        "k1:canary",
        "k1:Y2FuYXJ5",
        f"k1:{KEY},canary",
        f"k1:{KEY};k2:{OTHER_KEY}",
    ],
)
def test_sealing_keys_have_a_form(value: str) -> None:
    assert problems(TOKEN_KEYS=value) == (
        "TOKEN_KEYS must be id:base64 pairs, each of 32 bytes, newest first",
    )


def test_a_sealing_key_has_one_name() -> None:
    assert problems(TOKEN_KEYS=f"k1:{KEY},k1:{OTHER_KEY}") == ("TOKEN_KEYS names a key twice",)


@pytest.mark.parametrize("value", [",", " , "])
def test_commas_are_no_sealing_keys(value: str) -> None:
    assert problems(TOKEN_KEYS=value) == ("TOKEN_KEYS holds no key",)


def test_the_first_sealing_key_is_the_newest() -> None:
    settings = Settings.from_env({**GOOD, "TOKEN_KEYS": f" k2:{OTHER_KEY} , k1:{KEY}, "})

    assert [key.id for key in settings.token_keys] == ["k2", "k1"]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert (
        len(problems(BACKFILL_DAYS="x", ALLOW_QUERY_TOKEN="x", PUBLIC_URL="x", JWT_SECRET="")) == 4
    )


def test_no_secret_is_ever_said() -> None:
    settings = Settings.from_env(GOOD)
    with pytest.raises(ConfigError) as caught:
        Settings.from_env(
            {
                "AzureWebJobsStorage": REFERENCE,
                "DataStorage": REFERENCE,
                "PUBLIC_URL": "canary",
                "SETTINGS_PAGE_URL": "canary",
                "BACKFILL_DAYS": "canary",
                "JWT_ALGORITHM": "canary",
                "JWT_SECRET": "canary",
                "TOKEN_KEYS": "canary:canary",
                "ALLOW_QUERY_TOKEN": "canary",
            }
        )

    for said in (repr(settings), str(settings), str(caught.value), repr(caught.value)):
        assert "canary" not in said
        assert KEY not in said


@given(st.dictionaries(st.sampled_from([*GOOD, "JWT_JWKS_URL", "BACKFILL_DAYS"]), st.text()))
def test_whatever_is_set_is_read_or_named(changes: dict[str, str]) -> None:
    with suppress(ConfigError):  # and nothing else
        Settings.from_env({**GOOD, **changes})


@pytest.mark.parametrize(
    ("text", "days"), [("0", 0), ("400", 400), (" 30 ", 30), ("", 30), ("00007", 7)]
)
def test_a_backfill_is_so_many_days(text: str, days: int) -> None:
    assert Settings.from_env({**GOOD, "BACKFILL_DAYS": text}).backfill_days == days
    assert days <= LONGEST_BACKFILL


@pytest.mark.parametrize(("text", "flag"), [("true", True), ("True", True), ("FALSE", False)])
def test_a_flag_is_a_word(text: str, flag: object) -> None:
    assert Settings.from_env({**GOOD, "ALLOW_QUERY_TOKEN": text}).allow_query_token is flag


def test_a_slash_after_the_public_address_does_not_matter() -> None:
    settings = Settings.from_env({**GOOD, "PUBLIC_URL": "https://api.gotogym.store/"})

    assert settings.public_url == "https://api.gotogym.store"


# GoToGym's tokens


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_published_keys_need_their_address(algorithm: str) -> None:
    assert problems(JWT_ALGORITHM=algorithm, JWT_SECRET="") == ("JWT_JWKS_URL is not set",)
    assert problems(JWT_ALGORITHM=algorithm, JWT_JWKS_URL="http://gotogym.store/jwks") == (
        f"JWT_JWKS_URL {ADDRESS}",
    )
    changes = {"JWT_ALGORITHM": algorithm, "JWT_JWKS_URL": "https://gotogym.store/jwks"}

    jwt = Settings.from_env({**GOOD, **changes, "JWT_SECRET": ""}).jwt

    assert (jwt.algorithm, jwt.secret, jwt.jwks_url) == (
        algorithm,
        None,
        "https://gotogym.store/jwks",
    )


# Storage with an identity

IDENTITY = {
    "DataStorage": "",
    "DataStorage__queueServiceUri": "https://x.queue.core.windows.net",
    "DataStorage__tableServiceUri": "https://x.table.core.windows.net",
    "DataStorage__credential": "managedidentity",
    "DataStorage__clientId": "c1",
    "AzureWebJobsStorage": "",
    "AzureWebJobsStorage__accountName": "x",
}


def test_in_the_cloud_storage_is_two_addresses_and_an_identity() -> None:
    assert Settings.from_env({**GOOD, **IDENTITY}).storage == Storage(
        None, "https://x.queue.core.windows.net", "https://x.table.core.windows.net", "c1"
    )


@pytest.mark.parametrize("name", ["DataStorage__queueServiceUri", "DataStorage__tableServiceUri"])
@pytest.mark.parametrize("value", ["", "http://x.queue.core.windows.net", "x"])
def test_both_addresses_are_needed(name: str, value: str) -> None:
    assert problems(**{**IDENTITY, name: value}) == (f"{name} must be an https address",)


# Sites


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://api.gotogym.store", "https://www.gotogym.store/p", True),
        ("https://gotogym.store", "https://www.gotogym.store", True),
        ("https://a.b.c.gotogym.store", "https://gotogym.store:8443", True),
        ("https://API.GoToGym.store", "https://www.gotogym.store", True),
        ("http://localhost:7071", "http://localhost:8080", True),
        ("http://127.0.0.1:1", "http://127.0.0.1:2", True),
        ("http://[::1]:1", "http://[::1]:2", True),
        ("https://api.gotogym.co.uk", "https://www.gotogym.co.uk", True),
        ("https://api.gotogym.com.mx", "https://www.gotogym.com.mx", True),
        ("https://api.gotogym.store", "https://www.gotogym.com", False),
        ("https://api.gotogym.store", "http://www.gotogym.store", False),
        ("https://gotogym.store", "https://evilgotogym.store", False),
        ("https://gotogym.store.evil.example", "https://gotogym.store", False),
        ("https://evil.co.uk", "https://gotogym.co.uk", False),
        ("https://evil.com.mx", "https://gotogym.com.mx", False),
        ("http://localhost", "http://127.0.0.1", False),
        ("http://127.0.0.1", "http://127.0.0.2", False),
        ("https://10.0.0.1", "https://20.0.0.1", False),
    ],
)
def test_sites_are_told_apart_as_browsers_do(one: str, other: str, same: object) -> None:
    assert same_site(one, other) is same
    assert same_site(other, one) is same


def test_the_page_must_be_on_the_same_site_or_the_cookie_stays_at_home() -> None:
    assert problems(PUBLIC_URL="https://gotogym-api.azurewebsites.net") == (
        "PUBLIC_URL and SETTINGS_PAGE_URL must be on the same site",
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.b/c?d#e", "https://a.b"),
        ("http://localhost:8080/x", "http://localhost:8080"),
        ("https://u@a.b/", "https://u@a.b"),
        ("https://[half", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, expected: str) -> None:
    assert origin(url) == expected


# The example


class Listening(dict[str, str]):
    """Settings that remember what was asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()


#: Read, and not in the example: what each stands for is there.
ELSEWHERE = {
    "DataStorage__queueServiceUri": "DataStorage",
    "DataStorage__tableServiceUri": "DataStorage",
    "DataStorage__clientId": "DataStorage",
}


def example() -> dict[str, Any]:
    doc: dict[str, Any] = json.loads((ROOT / "local.settings.json.example").read_text("utf-8"))
    return doc


def test_the_example_has_no_secrets() -> None:
    values = example()["Values"]

    secrets = ("WHOOP_CLIENT_ID", "WHOOP_CLIENT_SECRET", "JWT_SECRET", "TOKEN_KEYS")
    assert {values[name] for name in secrets} == {""}


def test_the_example_with_secrets_filled_in_configures_the_app() -> None:
    values = example()["Values"]
    values |= {"WHOOP_CLIENT_ID": "x", "WHOOP_CLIENT_SECRET": "y"}
    values |= {"JWT_SECRET": CANARY, "TOKEN_KEYS": f"k1:{KEY}"}

    settings = Settings.from_env(values)

    assert whoop.provider(values).problems == ()
    assert settings.public_url == "http://localhost:7071"
    assert example()["Host"]["CORS"] == origin(settings.settings_page_url)


def test_the_example_alone_says_which_secrets_are_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env(example()["Values"])

    assert caught.value.problems == (
        "JWT_SECRET must have at least 32 bytes for HS256",
        "TOKEN_KEYS is not set",
    )
    assert whoop.provider(example()["Values"]).problems == (
        "WHOOP_CLIENT_ID is not set",
        "WHOOP_CLIENT_SECRET is not set",
    )


def test_every_setting_that_is_read_is_in_the_example_or_accounted_for() -> None:
    values = example()["Values"]
    read: set[str] = set()
    published = {"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": "https://gotogym.store/jwks"}
    for changes in ({}, IDENTITY, published):
        env = Listening({**GOOD, **changes})
        Settings.from_env(env)
        whoop.provider(env)
        read |= env.asked

    assert read - set(values) <= set(ELSEWHERE)
    assert set(ELSEWHERE) <= read  # or it need not be accounted for any more
    assert set(ELSEWHERE.values()) <= set(values)


def test_every_setting_in_the_example_is_read_by_somebody() -> None:
    env = Listening(dict(GOOD))
    Settings.from_env(env)
    whoop.provider(env)
    hosts = {"FUNCTIONS_WORKER_RUNTIME", "PYTHON_THREADPOOL_THREAD_COUNT"}

    assert set(example()["Values"]) - env.asked <= hosts
