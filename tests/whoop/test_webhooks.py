from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whoop
from shared.core.model import Ignored, Notice, Secret
from shared.errors import Forged
from whoop.webhooks import LARGEST_ID, TOLERANCE, Signed, read, verify

SECRET = Secret("its-secret")
NOW = datetime(2026, 11, 22, 11, 30, 0, 250_000, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SLEEP_ID = "550e8400-e29b-41d4-a716-446655440000"
EVENT = {
    "user_id": 10129,
    "id": SLEEP_ID,
    "type": "sleep.updated",
    "trace_id": "e369c784-5100-49e8-8098-75d35c47b31b",
}
BODY = json.dumps(EVENT).encode()


def millis(at: datetime) -> str:
    return str((at - datetime(1970, 1, 1, tzinfo=UTC)) // MS)


def signature(body: bytes, stamp: str, secret: str = "its-secret") -> str:
    """Sign as WHOOP documents it, by other means than the code under test."""
    made = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    made.update(stamp.encode())
    made.update(body)
    return base64.b64encode(made.digest()).decode()


def headers(body: bytes = BODY, at: datetime = NOW, **changes: str) -> dict[str, str]:
    stamp = millis(at)
    signed = {
        "x-whoop-signature": signature(body, stamp),
        "x-whoop-signature-timestamp": stamp,
        "content-type": "application/json",
    }
    return {**signed, **{f"x-whoop-{name.replace('_', '-')}": to for name, to in changes.items()}}


def said(**changes: Any) -> Notice | Ignored:
    """Read an event with other fields; a field that is None is left out."""
    event = {name: value for name, value in {**EVENT, **changes}.items() if value is not None}
    return read(Signed(json.dumps(event).encode(), NOW))


class TestVerify:
    def test_what_whoop_has_signed_is_believed(self) -> None:
        assert verify(headers(), BODY, SECRET, now=NOW) == Signed(BODY, NOW)

    def test_a_signature_that_was_made_elsewhere(self) -> None:
        # printf '1795347000250{"a":1}' | openssl dgst -sha256 -hmac its-secret -binary | base64
        given = headers(signature="MC7V2hWVFkXWWGf5gwShZHP5dGCYustD/IfTsOajqvU=")
        assert given["x-whoop-signature-timestamp"] == "1795347000250"

        assert verify(given, b'{"a":1}', SECRET, now=NOW).at == NOW

    @pytest.mark.parametrize("missing", ["x-whoop-signature", "x-whoop-signature-timestamp"])
    def test_without_its_headers_it_is_anybodys(self, missing: str) -> None:
        given = headers()
        del given[missing]

        with pytest.raises(Forged, match="unsigned"):
            verify(given, BODY, SECRET, now=NOW)

    @pytest.mark.parametrize(
        "stamp",
        ["", "now", "-1", "+1", "1.5", " 1", "1_000", "٣", "9" * 15, millis(NOW) + "\n"],
    )
    def test_a_time_that_is_none_is_refused_although_it_is_signed(self, stamp: str) -> None:
        given = headers(signature=signature(BODY, stamp), signature_timestamp=stamp)

        with pytest.raises(Forged, match="unsigned"):
            verify(given, BODY, SECRET, now=NOW)

    @pytest.mark.parametrize(
        "given",
        [
            pytest.param(signature(BODY, millis(NOW), "another"), id="another secret"),
            pytest.param(signature(BODY, millis(NOW + MS)), id="another time"),
            pytest.param(signature(BODY + b" ", millis(NOW)), id="another body"),
            pytest.param(signature(b"", millis(NOW)), id="no body"),
            pytest.param(signature(BODY, millis(NOW)).rstrip("="), id="without padding"),
            pytest.param(signature(BODY, millis(NOW)) + "=", id="with more padding"),
            pytest.param(signature(BODY, millis(NOW)).lower(), id="in lower case"),
            pytest.param(
                hmac.digest(b"its-secret", millis(NOW).encode() + BODY, "sha256").hex(), id="in hex"
            ),
            pytest.param("é\udc80", id="no text that can be sent"),
            pytest.param("x" * 100_000, id="long"),
        ],
    )
    def test_another_signature_is_refused(self, given: str) -> None:
        with pytest.raises(Forged, match="wrong_signature"):
            verify(headers(signature=given), BODY, SECRET, now=NOW)

    def test_a_body_that_means_the_same_is_another_one(self) -> None:
        with pytest.raises(Forged, match="wrong_signature"):
            verify(headers(), json.dumps(EVENT, indent=1).encode(), SECRET, now=NOW)

    @pytest.mark.parametrize("age", [TOLERANCE, -TOLERANCE, timedelta(0), timedelta(hours=1)])
    def test_a_retry_may_be_old_and_clocks_may_differ(self, age: timedelta) -> None:
        assert verify(headers(at=NOW - age), BODY, SECRET, now=NOW).at == NOW - age

    @pytest.mark.parametrize("age", [TOLERANCE + MS, -TOLERANCE - MS, timedelta(days=20_000)])
    def test_what_is_out_of_date_is_refused(self, age: timedelta) -> None:
        with pytest.raises(Forged, match="out_of_date"):
            verify(headers(at=NOW - age), BODY, SECRET, now=NOW)

    def test_any_bytes_can_be_signed(self) -> None:
        body = bytes(range(256))

        assert verify(headers(body), body, SECRET, now=NOW).body == body

    @given(
        body=st.binary(max_size=200),
        given_headers=st.dictionaries(
            st.sampled_from(["x-whoop-signature", "x-whoop-signature-timestamp"]),
            st.text(max_size=50) | st.just(millis(NOW)),
        ),
    )
    def test_whatever_is_sent_is_forged(self, body: bytes, given_headers: dict[str, str]) -> None:
        with pytest.raises(Forged) as caught:
            verify(given_headers, body, SECRET, now=NOW)
        assert str(caught.value) in {"unsigned", "wrong_signature"}


class TestRead:
    @pytest.mark.parametrize(
        ("kind", "resource", "alias", "gone", "wait"),
        [
            ("sleep.updated", "sleep", False, False, 1),
            ("sleep.deleted", "sleep", False, True, 0),
            ("recovery.updated", "recovery", True, False, 2),
            ("recovery.deleted", "recovery", True, True, 0),
            ("workout.updated", "workout", False, False, 0),
            ("workout.deleted", "workout", False, True, 0),
        ],
    )
    def test_every_type_says_what_happened_to_what(
        self, kind: str, resource: str, *, alias: bool, gone: bool, wait: int
    ) -> None:
        notice = said(type=kind)

        assert isinstance(notice, Notice)
        assert (notice.account, notice.resource, notice.record) == ("10129", resource, SLEEP_ID)
        assert (notice.alias, notice.gone) == (alias, gone)
        assert notice.wait == timedelta(seconds=wait)
        assert notice.at == NOW

    @pytest.mark.parametrize("kind", ["cycle.updated", "Sleep.updated", "", 7, None, ["x"], {}])
    def test_other_types_are_not_for_us(self, kind: Any) -> None:
        assert said(type=kind) == Ignored("unknown_type")

    @pytest.mark.parametrize("body", [b"", b"x", b"[]", b"1", b"\xff\xfe", b"[" * 100_000, b"null"])
    def test_what_is_no_event_makes_no_sense(self, body: bytes) -> None:
        assert read(Signed(body, NOW)) == Ignored("unreadable")

    @pytest.mark.parametrize(
        "changes",
        [
            *({"user_id": wrong} for wrong in (None, "10129", 0, -1, 1.5, True, LARGEST_ID + 1)),
            *({"id": wrong} for wrong in (None, 7, "", "x" * 65, "../profile", "a b", "é", ["x"])),
        ],
        ids=repr,
    )
    def test_an_event_of_nobody_or_nothing_makes_no_sense(self, changes: dict[str, Any]) -> None:
        assert said(**changes) == Ignored("unreadable")

    def test_the_same_event_has_the_same_key_whenever_it_is_sent(self) -> None:
        again = read(Signed(json.dumps(EVENT, indent=1).encode(), NOW + timedelta(minutes=5)))

        assert isinstance(again, Notice)
        assert again.key == key()

    @pytest.mark.parametrize(
        "changes", [{"type": "sleep.deleted"}, {"id": SLEEP_ID[::-1]}, {"trace_id": "another"}]
    )
    def test_another_event_has_another_key(self, changes: dict[str, Any]) -> None:
        assert key(**changes) != key()

    @pytest.mark.parametrize("trace", [None, "", 0, {}])
    def test_without_a_trace_two_events_are_two(self, trace: Any) -> None:
        event = {**EVENT, "trace_id": trace}
        later = read(Signed(json.dumps(event).encode(), NOW + MS))

        assert isinstance(later, Notice)
        assert later.key != key(trace_id=trace)

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
    def test_a_trace_may_be_anything(self, trace: Any) -> None:
        assert isinstance(said(trace_id=trace), Notice)

    def test_a_key_tells_nothing(self) -> None:
        assert key().isalnum()
        assert len(key()) == 64


def key(**changes: Any) -> str:
    notice = said(**changes)
    assert isinstance(notice, Notice)
    return notice.key


def test_the_provider_hears() -> None:
    env = {
        "WHOOP_CLIENT_ID": "an-app",
        "WHOOP_CLIENT_SECRET": "its-secret",
        "WHOOP_REDIRECT_URI": "https://api.gotogym.store/oauth/whoop/callback/",
    }
    provider = whoop.provider(env)

    assert provider.hear(headers(), BODY, NOW) == said()
    with pytest.raises(Forged):
        provider.hear({}, BODY, NOW)
