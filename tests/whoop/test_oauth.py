import json
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.model import Secret
from shared.errors import GrantDead, ProviderError, RateLimited, Rejected, Unavailable
from shared.provider import Grant
from whoop import config, oauth
from whoop.resources import SCOPES

NOW = datetime(2026, 11, 22, 11, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
CANARY = "canary-7f3a"
ENV = {
    "WHOOP_CLIENT_ID": "an-app",
    "WHOOP_CLIENT_SECRET": "its-secret",
    "WHOOP_REDIRECT_URI": "https://api.gotogym.store/oauth/whoop/callback/",
}
CONFIG = config.read(ENV)
#: https://developer.whoop.com/docs/developing/oauth
GRANT = {
    "access_token": "an-access-token",
    "expires_in": 3600,
    "refresh_token": "a-refresh-token",
    "scope": "offline read:recovery read:cycles",
    "token_type": "bearer",
}


def a_grant(**changes: Any) -> bytes:
    """A token response; a change to ``...`` leaves a member out."""
    members = (GRANT | changes).items()
    return json.dumps({name: value for name, value in members if value is not ...}).encode()


def redeem(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Grant:
    return oauth.decipher(status, headers or {}, body, now=NOW)


def refuse(status: int, body: bytes, headers: dict[str, str] | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        redeem(body, status, headers)
    return caught.value


class TestAuthorizeUrl:
    STATE = "sixteen-characters"

    def test_it_asks_for_a_code_in_our_name(self) -> None:
        url = urlsplit(oauth.authorize_url(CONFIG, self.STATE))
        assert f"{url.scheme}://{url.netloc}{url.path}" == (
            "https://api.prod.whoop.com/oauth/oauth2/auth"
        )
        assert dict(parse_qsl(url.query, strict_parsing=True)) == {
            "response_type": "code",
            "client_id": "an-app",
            "redirect_uri": "https://api.gotogym.store/oauth/whoop/callback/",
            "scope": " ".join([*SCOPES, "offline"]),
            "state": self.STATE,
        }

    @pytest.mark.parametrize(
        "scope", ["", "read:sleep", "offline", "read:sleep offline", "offline offline"]
    )
    def test_it_always_asks_for_a_refresh_token(self, scope: str) -> None:
        narrow = config.read(ENV | {"WHOOP_SCOPE": scope})
        query = parse_qs(urlsplit(oauth.authorize_url(narrow, self.STATE)).query)
        assert query["scope"][0].split().count("offline") == 1

    def test_it_never_shows_the_secret(self) -> None:
        assert "its-secret" not in oauth.authorize_url(CONFIG, self.STATE)

    def test_it_leads_where_the_settings_say(self) -> None:
        local = config.read(ENV | {"WHOOP_OAUTH_URL": "http://127.0.0.1:9999/oauth/oauth2/"})
        url = oauth.authorize_url(local, self.STATE)
        assert url.startswith("http://127.0.0.1:9999/oauth/oauth2/auth?")

    def test_what_is_special_in_addresses_survives(self) -> None:
        state = "a+b/c=&d?é#%20 x"
        query = parse_qs(urlsplit(oauth.authorize_url(CONFIG, state)).query)
        assert query["state"] == [state]

    @pytest.mark.parametrize("state", ["", "1234567"])
    def test_a_state_that_whoop_would_refuse_is_a_bug(self, state: str) -> None:
        with pytest.raises(ValueError, match="less than 8"):
            oauth.authorize_url(CONFIG, state)

    def test_eight_characters_are_enough(self) -> None:
        assert "state=12345678" in oauth.authorize_url(CONFIG, "12345678")


class TestForms:
    def test_a_code_is_traded_with_the_credentials_in_the_body(self) -> None:
        assert oauth.code_form(CONFIG, Secret("a-code")) == {
            "grant_type": "authorization_code",
            "code": "a-code",
            "redirect_uri": "https://api.gotogym.store/oauth/whoop/callback/",
            "client_id": "an-app",
            "client_secret": "its-secret",
        }

    def test_a_refresh_token_is_traded_for_another_one(self) -> None:
        assert oauth.refresh_form(CONFIG, Secret("a-refresh-token")) == {
            "grant_type": "refresh_token",
            "refresh_token": "a-refresh-token",
            "scope": "offline",
            "client_id": "an-app",
            "client_secret": "its-secret",
        }


class TestGrant:
    def test_it_is_what_whoop_gave(self) -> None:
        assert redeem(a_grant()) == Grant(
            access=Secret("an-access-token"),
            refresh=Secret("a-refresh-token"),
            lifetime=HOUR,
            scopes=frozenset({"offline", "read:recovery", "read:cycles"}),
        )

    def test_it_never_shows_its_tokens(self) -> None:
        shown = repr(redeem(a_grant(access_token=CANARY, refresh_token=CANARY)))
        assert CANARY not in shown

    def test_members_that_are_new_to_us_change_nothing(self) -> None:
        assert redeem(a_grant(id_token="x", token_type=..., user_id=7)) == redeem(a_grant())

    @pytest.mark.parametrize(
        "token", [..., None, "", 7, True, ["a"], {"a": "b"}, "a\r\nb", "é", "\ud800"]
    )
    def test_without_a_refresh_token_there_is_none(self, token: Any) -> None:
        grant = redeem(a_grant(refresh_token=token))
        assert grant.refresh is None
        assert grant.access == Secret("an-access-token")

    @pytest.mark.parametrize(
        "token", [..., None, "", 7, True, ["a"], {"a": "b"}, "a\r\nb", "é", "\ud800"]
    )
    def test_without_an_access_token_there_is_no_grant(self, token: Any) -> None:
        with pytest.raises(Unavailable, match="no access token"):
            redeem(a_grant(access_token=token))

    @given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
    @settings(database=None, deadline=None)
    def test_every_token_that_the_standard_allows_is_one(self, token: str) -> None:
        grant = redeem(a_grant(access_token=token, refresh_token=token))
        assert grant.access == grant.refresh == Secret(token)

    @pytest.mark.parametrize("scope", [..., None, "", " ", 7, ["read:sleep"]])
    def test_a_scope_that_a_code_s_answer_omits_is_the_one_that_was_asked_for(
        self, scope: Any
    ) -> None:
        grant = redeem(a_grant(scope=scope))

        assert grant.scopes == frozenset()
        assert oauth.first(grant, CONFIG).scopes == {*SCOPES, "offline"}

    def test_a_scope_that_was_granted_is_not_made_larger(self) -> None:
        grant = redeem(a_grant(scope="read:sleep offline"))

        assert oauth.first(grant, CONFIG) == grant

    @pytest.mark.parametrize(
        ("scope", "scopes"),
        [
            ("offline", {"offline"}),
            ("read:sleep", {"read:sleep"}),
            ("  read:sleep   offline ", {"read:sleep", "offline"}),
            ("read:sleep read:sleep", {"read:sleep"}),
            ("read:something_new", {"read:something_new"}),
        ],
    )
    def test_a_scope_is_what_was_granted(self, scope: str, scopes: set[str]) -> None:
        assert redeem(a_grant(scope=scope)).scopes == scopes

    @pytest.mark.parametrize(
        ("seconds", "lifetime"),
        [
            (1, timedelta(seconds=1)),
            (3600, HOUR),
            (86_400, timedelta(days=1)),
            (31_536_000, timedelta(days=365)),
            (31_536_001, timedelta(days=365)),
            (10**300, timedelta(days=365)),
            (10**4000, timedelta(days=365)),
            (0, HOUR),
            (-1, HOUR),
            (-(10**300), HOUR),
            (True, HOUR),
            (False, HOUR),
            ("3600", HOUR),
            (3600.0, HOUR),
            (float("nan"), HOUR),
            (float("inf"), HOUR),
            (None, HOUR),
            (..., HOUR),
            ([3600], HOUR),
        ],
        ids=lambda value: ascii(value)[:20],
    )
    def test_its_lifetime_is_within_reason(self, seconds: Any, lifetime: timedelta) -> None:
        assert redeem(a_grant(expires_in=seconds)).lifetime == lifetime

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b'"token"',
            b"{}",
            b"<html>200 OK</html>",
            b'{"access_token":"a',
            b'{"error":"invalid_grant"}',
            b"\xff\xfe\x00",
            b"[" * 99_999,
            b'{"access_token":"a","expires_in":%s}' % (b"9" * 5000),
        ],
        ids=lambda body: ascii(body)[:24],
    )
    def test_a_good_status_alone_is_no_grant(self, body: bytes) -> None:
        assert type(refuse(200, body)) is Unavailable


#: fosite's words, which WHOOP's token endpoint is seen to use.
DEAD = (
    "The provided authorization grant (e.g., authorization code, resource owner credentials) or "
    "refresh token is invalid, expired, revoked, does not match the redirection URI used in the "
    "authorization request, or was issued to another client."
)
CLIENT = "Client authentication failed (e.g., unknown client, no client authentication included)."


def an_error(error: Any, description: str = CANARY, **more: Any) -> bytes:
    return json.dumps({"error": error, "error_description": description, **more}).encode()


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            pytest.param(400, an_error("invalid_grant", DEAD), GrantDead, id="dead grant"),
            pytest.param(
                400,
                an_error("invalid_grant", DEAD, error_hint="x", status_code=400),
                GrantDead,
                id="dead grant, older server",
            ),
            pytest.param(400, b'{"error":"invalid_grant"}', GrantDead, id="without description"),
            pytest.param(401, an_error("invalid_grant", DEAD), GrantDead, id="dead grant by 401"),
            pytest.param(403, an_error("invalid_grant", DEAD), GrantDead, id="dead grant by 403"),
            pytest.param(400, an_error("token_inactive"), GrantDead, id="replayed by 400"),
            pytest.param(401, an_error("token_inactive"), GrantDead, id="replayed by 401"),
            pytest.param(401, an_error("invalid_client", CLIENT), Rejected, id="wrong secret"),
            pytest.param(400, an_error("invalid_client", CLIENT), Rejected, id="wrong secret, 400"),
            pytest.param(400, an_error("invalid_request"), Rejected, id="malformed form"),
            pytest.param(400, an_error("invalid_scope"), Rejected, id="scope"),
            pytest.param(400, an_error("unsupported_grant_type"), Rejected, id="grant type"),
            pytest.param(400, an_error("unauthorized_client"), Rejected, id="not for this app"),
            pytest.param(400, an_error("INVALID_GRANT"), Rejected, id="not quite its word"),
            pytest.param(400, an_error("invalid_grant "), Rejected, id="nearly its word"),
            pytest.param(429, b"", RateLimited, id="rate limit"),
            pytest.param(429, an_error("invalid_grant"), RateLimited, id="rate limit goes first"),
            pytest.param(500, an_error("invalid_grant"), Unavailable, id="broken server"),
            pytest.param(500, an_error("server_error"), Unavailable, id="500"),
            pytest.param(502, b"<html>Bad Gateway</html>", Unavailable, id="502"),
            pytest.param(503, an_error("temporarily_unavailable"), Unavailable, id="503"),
            pytest.param(504, b"", Unavailable, id="504"),
            pytest.param(100, b"", Unavailable, id="100"),
            pytest.param(204, b"", Unavailable, id="no content"),
            pytest.param(201, a_grant(), Unavailable, id="created"),
            pytest.param(302, b"<a href='/'>Found</a>", Unavailable, id="redirect"),
            pytest.param(400, b"", Unavailable, id="400 without a word"),
            pytest.param(400, b"{}", Unavailable, id="400 without error"),
            pytest.param(400, b"<html>invalid_grant</html>", Unavailable, id="400 in HTML"),
            pytest.param(400, b"invalid_grant", Unavailable, id="400 in plain text"),
            pytest.param(400, b'"invalid_grant"', Unavailable, id="400, a bare text"),
            pytest.param(400, b'["invalid_grant"]', Unavailable, id="400, a list"),
            pytest.param(400, b'{"error":"invalid_grant"', Unavailable, id="400, cut"),
            pytest.param(400, b"[" * 99_999, Unavailable, id="400, deep"),
            pytest.param(400, an_error(["invalid_grant"]), Unavailable, id="400, error a list"),
            pytest.param(400, an_error({"code": "x"}), Unavailable, id="400, error an object"),
            pytest.param(400, an_error(None), Unavailable, id="400, error null"),
            pytest.param(400, an_error(17), Unavailable, id="400, error a number"),
            pytest.param(400, an_error(True), Unavailable, id="400, error true"),
            pytest.param(401, b"Authorization was not valid", Unavailable, id="401 plain text"),
            pytest.param(403, b"error code: 1010", Unavailable, id="Cloudflare"),
            pytest.param(403, b"<!DOCTYPE html>", Unavailable, id="Cloudflare page"),
            pytest.param(404, b"HTTP 404 Not Found", Unavailable, id="404"),
            pytest.param(408, b"", Unavailable, id="408"),
        ],
    )
    def test_only_whoops_own_word_ends_a_grant(
        self, status: int, body: bytes, error: type[ProviderError]
    ) -> None:
        refusal = refuse(status, body)
        assert type(refusal) is error
        assert CANARY not in "".join(traceback.format_exception(refusal))

    @given(
        st.integers(100, 599),
        st.binary()
        | st.recursive(
            st.none() | st.text() | st.integers(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["error", "access_token", "scope", "x"]), inner)
            ),
            max_leaves=5,
        ).map(lambda value: json.dumps(value).encode()),
    )
    @settings(database=None, deadline=None)
    def test_no_answer_ends_in_anything_but_a_grant_or_an_error_of_ours(
        self, status: int, body: bytes
    ) -> None:
        try:
            redeem(body, status)
        except GrantDead:
            assert b"invalid_grant" in body or b"token_inactive" in body
        except ProviderError:
            pass

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [({"x-ratelimit-reset": "3"}, 3), ({"retry-after": "7"}, 7), ({}, 60)],
        ids=["reset", "retry-after", "neither"],
    )
    def test_a_rate_limit_says_until_when(self, headers: dict[str, str], seconds: int) -> None:
        error = refuse(429, b"", headers)
        assert isinstance(error, RateLimited)
        assert error.retry_at == NOW + timedelta(seconds=seconds)
