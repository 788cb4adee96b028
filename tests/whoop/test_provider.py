import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import whoop
from shared.core.model import ProviderName, ResourceName
from shared.provider import Provider, Shape, Trouble
from whoop.provider import Whoop
from whoop.resources import FACTS, SCOPES

ROOT = Path(__file__).parents[2]
ENV = {
    "WHOOP_CLIENT_ID": "an-app",
    "WHOOP_CLIENT_SECRET": "its-secret",
    "WHOOP_REDIRECT_URI": "https://api.gotogym.store/oauth/whoop/callback/",
}
ALL = frozenset({*SCOPES, "offline"})


def a_provider(**changes: str) -> Provider:
    # That this is accepted is what mypy has to say about the protocol.
    return whoop.provider(ENV | changes)


def test_it_offers_whatever_a_provider_must() -> None:
    provider = a_provider()
    offered = [name for name in vars(Provider) if not name.startswith("_")]
    assert offered
    for name in offered:
        assert hasattr(provider, name), name
        promised, kept = getattr(Provider, name), getattr(Whoop, name, None)
        if inspect.isfunction(promised):
            assert inspect.isfunction(kept)
            assert inspect.signature(promised) == inspect.signature(kept), name
            assert get_type_hints(promised) == get_type_hints(kept), name


def test_it_is_whoop() -> None:
    provider = a_provider()
    assert (provider.name, provider.title, provider.identity) == ("whoop", "WHOOP", "profile")
    assert ProviderName("whoop") == provider.name


def test_the_resources_are_in_the_order_in_which_members_want_to_see_them() -> None:
    assert [(one.name, one.shape, one.scope) for one in a_provider().resources] == [
        ("cycle", Shape.COLLECTION, "read:cycles"),
        ("recovery", Shape.COLLECTION, "read:recovery"),
        ("sleep", Shape.COLLECTION, "read:sleep"),
        ("workout", Shape.COLLECTION, "read:workout"),
        ("profile", Shape.DOCUMENT, "read:profile"),
        ("body_measurement", Shape.DOCUMENT, "read:body_measurement"),
    ]


def test_every_resource_has_its_facts_and_the_identity_is_a_document() -> None:
    provider = a_provider()
    assert [one.name for one in provider.resources] == list(FACTS)
    shapes = {one.name: one.shape for one in provider.resources}
    assert shapes[provider.identity] is Shape.DOCUMENT


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        (ALL, []),
        (ALL | {"read:more"}, []),
        (ALL - {"read:sleep"}, ["read:sleep"]),
        (ALL - {"offline"}, ["offline"]),
        (frozenset({"offline"}), sorted(SCOPES)),
        (frozenset(), sorted(ALL)),
    ],
    ids=["all", "more", "all but one", "no refresh token", "nothing to read", "nothing"],
)
def test_missing_is_what_was_asked_for_and_not_granted(
    granted: frozenset[str], missing: list[str]
) -> None:
    assert a_provider().missing_scopes(granted) == missing


def test_what_was_not_asked_for_is_not_missing() -> None:
    narrow = a_provider(WHOOP_SCOPE="read:sleep")
    assert narrow.missing_scopes(frozenset()) == ["offline", "read:sleep"]


def test_consent_is_given_at_whoop() -> None:
    url = a_provider().authorize_url("sixteen-characters")
    assert url.startswith("https://api.prod.whoop.com/oauth/oauth2/auth?")
    assert "state=sixteen-characters" in url


def test_troubles_and_problems_are_those_of_the_settings() -> None:
    assert (a_provider().trouble, a_provider().problems) == (None, ())
    nothing = whoop.provider({})
    assert nothing.trouble is Trouble.NOT_CONFIGURED
    assert len(nothing.problems) == 3
    assert a_provider(WHOOP_SCOPE="x").trouble is Trouble.MISCONFIGURED


def test_a_resource_that_whoop_does_not_have_is_a_bug() -> None:
    with pytest.raises(KeyError, match="steps"):
        a_provider().fetch(whoop.provider(ENV).config.client_secret, ResourceName("steps"), None)


def test_its_repr_shows_no_secret() -> None:
    assert "its-secret" not in repr(a_provider())


def test_nothing_is_imported_for_requests_before_there_is_one() -> None:
    code = (
        "import sys, whoop\n"
        "provider = whoop.provider({})\n"
        "provider.authorize_url('sixteen-characters')\n"
        "assert 'requests' not in sys.modules and 'whoop.client' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)  # noqa: S603
