"""Who is calling: GoToGym's own tokens, and everything that is not one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.bearer import LEEWAY_SECONDS, LONGEST_TOKEN, Bearer
from shared.config import Jwt
from shared.core.model import Secret
from shared.errors import StorageDown, Unauthorized

SECRET = "a-secret-of-gotogym-that-is-long-enough-for-every-kind-of-hmac-there-is"
CONFIG = Jwt("HS256", Secret(SECRET), "", "", "", "")
BEARER = Bearer(CONFIG)
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def soon(seconds: float = 300) -> int:
    return int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp())


def a_token(claims: dict[str, Any] | None = None, key: Any = SECRET, **options: Any) -> str:
    """Return a token like GoToGym's; ``claims`` change it, and None takes a claim away."""
    whole = {"user_id": "ana", "exp": soon(), **(claims or {})}
    said = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(said, key, algorithm=options.pop("algorithm", "HS256"), **options)


def by_hand(header: dict[str, Any], claims: dict[str, Any], key: bytes | None = None) -> str:
    """Return a token that no library would make."""

    def part(doc: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(doc).encode()).rstrip(b"=")

    signed = part(header) + b"." + part(claims)
    mac = b"" if key is None else hmac.digest(key, signed, hashlib.sha256)
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def test_a_token_says_whose_it_is() -> None:
    assert BEARER.caller(f"Bearer {a_token()}") == "ana"
    assert BEARER.read(a_token()) == "ana"


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", " Bearer ", "Bearer  "])
def test_the_scheme_is_written_as_one_likes(scheme: str) -> None:
    assert BEARER.caller(f"{scheme} {a_token()} ") == "ana"


@pytest.mark.parametrize(
    "header", [None, "", " ", "Bearer", "Bearer ", "Basic YTpi", a_token(), f"Token {a_token()}"]
)
def test_without_a_bearer_token_nobody_is_calling(header: str | None) -> None:
    with pytest.raises(Unauthorized, match="Bearer"):
        BEARER.caller(header)


PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
GOOD = {"user_id": "ana", "exp": soon()}


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("x", id="no token"),
        pytest.param("a.b.c", id="no JSON"),
        pytest.param(a_token()[:-2], id="cut"),
        pytest.param(a_token() + "x", id="longer"),
        pytest.param(a_token(key=SECRET[::-1]), id="a foreign key"),
        pytest.param(by_hand({"alg": "none"}, GOOD), id="alg none"),
        pytest.param(by_hand({"alg": "None", "typ": "JWT"}, GOOD), id="alg None"),
        pytest.param(by_hand({"alg": "HS256"}, GOOD), id="no signature"),
        pytest.param(by_hand({}, GOOD, SECRET.encode()), id="no alg"),
        pytest.param(by_hand({"alg": "HS256", "crit": ["x"]}, GOOD, SECRET.encode()), id="crit"),
        pytest.param(a_token(algorithm="HS384"), id="another strength"),
        pytest.param(a_token(key=RSA_KEY, algorithm="RS256"), id="another kind of key"),
        pytest.param(a_token({"exp": soon(-LEEWAY_SECONDS - 2)}), id="expired"),
        pytest.param(a_token({"exp": None}), id="without an end"),
        pytest.param(a_token({"exp": "tomorrow"}), id="an end in words"),
        pytest.param(a_token({"nbf": soon(3_600)}), id="not yet valid"),
        pytest.param("x" * (LONGEST_TOKEN + 1), id="endless"),
        pytest.param(a_token({"x": "x" * LONGEST_TOKEN}), id="ours, but endless"),
        pytest.param("ñ.ñ.ñ", id="odd letters"),
    ],
)
def test_a_bad_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        BEARER.read(token)

    assert token not in str(caught.value) or token in {"", "x"}


@given(st.text(max_size=80) | st.from_regex(r"\A[\w-]{0,20}\.[\w-]{0,40}\.[\w-]{0,20}\Z"))
def test_whatever_anybody_sends_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        BEARER.read(token)


def test_who_was_signed_in_learns_that_the_session_is_over() -> None:
    with pytest.raises(Unauthorized, match="expired"):
        BEARER.read(a_token({"exp": soon(-3_600)}))


def test_clocks_may_differ_a_little() -> None:
    assert BEARER.read(a_token({"exp": soon(5 - LEEWAY_SECONDS)})) == "ana"
    assert BEARER.read(a_token({"iat": soon(LEEWAY_SECONDS - 5)})) == "ana"


# Audience and issuer


@pytest.mark.parametrize("audience", [None, "other", "", ["other"], "gotogym "])
def test_a_token_for_somebody_else_is_refused(audience: Any) -> None:
    bearer = Bearer(replace(CONFIG, audience="gotogym"))

    assert bearer.read(a_token({"aud": "gotogym"})) == "ana"
    assert bearer.read(a_token({"aud": ["other", "gotogym"]})) == "ana"
    with pytest.raises(Unauthorized):
        bearer.read(a_token({"aud": audience}))


@pytest.mark.parametrize("issuer", [None, "https://evil.example", "https://gotogym.store/"])
def test_a_token_by_somebody_else_is_refused(issuer: str | None) -> None:
    bearer = Bearer(replace(CONFIG, issuer="https://gotogym.store"))

    assert bearer.read(a_token({"iss": "https://gotogym.store"})) == "ana"
    with pytest.raises(Unauthorized):
        bearer.read(a_token({"iss": issuer}))


def test_where_none_is_configured_audience_and_issuer_do_not_matter() -> None:
    assert BEARER.read(a_token({"aud": "anybody", "iss": "somebody"})) == "ana"


# The user


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"user_id": "ana", "sub": "eve"}, "ana"),
        ({"user_id": None, "sub": "eve"}, "eve"),
        ({"user_id": 42}, "42"),
        ({"user_id": 0}, "0"),
        ({"user_id": "x" * 200}, "x" * 200),
        ({"user_id": "Ñandú/😀"}, "Ñandú/😀"),
    ],
)
def test_the_user_is_the_user_id_or_else_the_subject(claims: dict[str, Any], user: str) -> None:
    # Made by hand: the library refuses some of these when it makes a token, not when it reads one.
    assert BEARER.read(a_token(claims)) == user


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"user_id": None}, id="none"),
        pytest.param({"user_id": ""}, id="empty"),
        pytest.param({"user_id": "  \t"}, id="blank"),
        pytest.param({"user_id": True}, id="a yes"),
        pytest.param({"user_id": False}, id="a no"),
        pytest.param({"user_id": 1.5}, id="a fraction"),
        pytest.param({"user_id": ["ana"]}, id="a list"),
        pytest.param({"user_id": {"id": "ana"}}, id="an object"),
        pytest.param({"user_id": "x" * 201}, id="too long"),
        pytest.param({"user_id": "ñ" * 101}, id="too long in bytes"),
        pytest.param({"user_id": 10**200}, id="a huge number"),
        pytest.param({"user_id": "\ud83d"}, id="half a character"),
        pytest.param({"user_id": "", "sub": "eve"}, id="empty beside a subject"),
    ],
)
def test_a_token_that_does_not_say_whose_it_is_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized, match="whose"):
        BEARER.read(a_token(claims))


def test_a_null_user_id_is_no_user_id() -> None:
    token = by_hand({"alg": "HS256"}, {**GOOD, "user_id": None}, SECRET.encode())

    with pytest.raises(Unauthorized):
        BEARER.read(token)


def test_another_claim_may_name_the_user() -> None:
    bearer = Bearer(replace(CONFIG, user_claim="member"))

    assert bearer.read(a_token({"member": "bea"})) == "bea"
    with pytest.raises(Unauthorized):
        bearer.read(a_token({"sub": "eve"}))  # and then no other does


# Keys that GoToGym publishes


def jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    public = key.public_key()
    rsa_like = isinstance(public, rsa.RSAPublicKey)
    algorithm = jwt.algorithms.RSAAlgorithm if rsa_like else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(public, as_dict=True), "kid": kid, "use": "sig", **more}


@dataclass
class Published:
    """A JWKS server on this machine."""

    url: str = ""
    body: bytes = b""
    status: int = 200
    asked: int = 0
    keys: list[dict[str, Any]] = field(default_factory=list)

    def bearer(self, algorithm: str) -> Bearer:
        return Bearer(Jwt(algorithm, None, self.url, "", "", ""))


@contextmanager
def serve(published: Published) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.asked += 1
            body = published.body or json.dumps({"keys": published.keys}).encode()
            self.send_response(published.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        published.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def published() -> Iterator[Published]:
    made = Published(keys=[jwk(RSA_KEY, "r1"), jwk(EC_KEY, "e1")])
    with serve(made):
        yield made


@pytest.mark.parametrize(
    ("algorithm", "key", "kid"), [("RS256", RSA_KEY, "r1"), ("ES256", EC_KEY, "e1")]
)
def test_a_token_is_checked_with_the_published_key(
    published: Published, algorithm: str, key: Any, kid: str
) -> None:
    bearer = published.bearer(algorithm)

    for _ in range(3):
        token = a_token(key=key, algorithm=algorithm, headers={"kid": kid})
        assert bearer.read(token) == "ana"
    assert published.asked == 1


def hmac_with_the_public_key(kid: str) -> str:
    return by_hand({"alg": "HS256", "kid": kid}, GOOD, PUBLIC_PEM)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(hmac_with_the_public_key("r1"), id="HS256 with the public key"),
        pytest.param(by_hand({"alg": "none", "kid": "r1"}, GOOD), id="alg none"),
        pytest.param(
            a_token(key=OTHER_RSA_KEY, algorithm="RS256", headers={"kid": "r1"}),
            id="a foreign key under our name",
        ),
        pytest.param(
            a_token(key=RSA_KEY, algorithm="RS256", headers={"kid": "r2"}), id="an unknown name"
        ),
        pytest.param(a_token(key=RSA_KEY, algorithm="RS256"), id="no name"),
        pytest.param(by_hand({"alg": "RS256", "kid": 1}, GOOD), id="a number for a name"),
        pytest.param(by_hand({"alg": "RS256", "kid": ["r1"]}, GOOD), id="a list for a name"),
        pytest.param(by_hand({"alg": "RS256", "kid": None}, GOOD), id="null for a name"),
        pytest.param(
            a_token(key=RSA_KEY, algorithm="RS512", headers={"kid": "r1"}), id="another strength"
        ),
        pytest.param(
            a_token(key=EC_KEY, algorithm="ES256", headers={"kid": "e1"}), id="another kind"
        ),
        pytest.param(by_hand({"alg": "RS256", "kid": "e1"}, GOOD, b"k"), id="a key that misfits"),
        pytest.param(
            a_token(
                key=OTHER_RSA_KEY,
                algorithm="RS256",
                headers={"jwk": jwk(OTHER_RSA_KEY, "o"), "kid": "o", "jku": "http://127.0.0.1:1/"},
            ),
            id="a key that it brings along",
        ),
        pytest.param("a.b.c", id="no token"),
    ],
)
def test_a_token_must_fit_the_published_key(published: Published, token: str) -> None:
    with pytest.raises(Unauthorized):
        published.bearer("RS256").read(token)


def test_a_token_with_the_shared_secret_is_no_longer_ours(published: Published) -> None:
    for kid in ("r1", "e1"):
        with pytest.raises(Unauthorized):
            published.bearer("ES256").read(a_token(headers={"kid": kid}))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"oops"),
        (404, b"gone"),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [{"kty": "odd"}]}'),
        (200, b"\xff\xfe"),
    ],
    ids=["500", "404", "a page", "a list", "empty", "no keys", "odd keys", "bytes"],
)
def test_keys_that_cannot_be_had_are_nobodys_fault(
    published: Published, status: int, body: bytes
) -> None:
    # To the member this is "try again", not "sign in again": their token may be good.
    published.status, published.body = status, body

    with pytest.raises(StorageDown):
        published.bearer("RS256").read(
            a_token(key=RSA_KEY, algorithm="RS256", headers={"kid": "r1"})
        )


def test_a_server_that_is_away_is_nobodys_fault() -> None:
    away = Published()
    with serve(away):
        pass

    with pytest.raises(StorageDown):
        away.bearer("RS256").read(a_token(key=RSA_KEY, algorithm="RS256", headers={"kid": "r1"}))


def test_forged_names_of_keys_do_not_make_us_ask_again_and_again(published: Published) -> None:
    bearer = published.bearer("RS256")
    for number in range(20):
        with pytest.raises(Unauthorized):
            bearer.read(
                a_token(key=OTHER_RSA_KEY, algorithm="RS256", headers={"kid": f"k{number}"})
            )

    assert published.asked <= 2
