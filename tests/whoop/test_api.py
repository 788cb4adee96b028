import hashlib
import json
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.model import (
    HISTORY_START,
    Cursor,
    Limit,
    Misfit,
    Page,
    Question,
    Quota,
    Record,
    RecordId,
    ResourceName,
    Span,
)
from shared.errors import (
    AccountDeactivated,
    CursorRefused,
    NotThere,
    ProviderError,
    RateLimited,
    Rejected,
    ScopeMissing,
    TokenRejected,
    Unavailable,
)
from whoop import api
from whoop.resources import FACTS, PROFILE, Facts

NOW = datetime(2026, 11, 22, 11, 30, tzinfo=UTC)
CURSOR = Cursor("MTIzOjEyMzEyMw")
CANARY = "canary-7f3a"

CYCLE, RECOVERY, SLEEP, WORKOUT, BODY = (
    FACTS[ResourceName(name)]
    for name in ("cycle", "recovery", "sleep", "workout", "body_measurement")
)
COLLECTIONS = (CYCLE, RECOVERY, SLEEP, WORKOUT)


def an_item(facts: Facts = CYCLE, **changes: Any) -> dict[str, Any]:
    """A record with all that we rely on; a change to ``...`` leaves a field out."""
    item = {
        "id": 93845 if facts is CYCLE else "ecfc6a15-4661-442f-a9a4-f160dd7afae8",
        "user_id": 10129,
        "created_at": "2022-04-24T11:25:44.774Z",
        "updated_at": "2022-04-24T14:25:44.774Z",
        "start": "2022-04-24T02:25:44.774Z",
        "end": "2022-04-24T10:25:44.774Z",
        "timezone_offset": "-05:00",
        "score_state": "SCORED",
    }
    if facts is RECOVERY:
        item = {
            "cycle_id": 93845,
            "sleep_id": "123e4567-e89b-12d3-a456-426614174000",
            "user_id": 10129,
            "created_at": "2022-04-24T11:25:44.774Z",
            "updated_at": "2022-04-24T14:25:44.774Z",
            "score_state": "SCORED",
        }
    return {name: value for name, value in (item | changes).items() if value is not ...}


def a_page(*items: Any, **members: Any) -> str:
    return json.dumps({"records": list(items), **members})


def read(text: str, facts: Facts = CYCLE) -> Page:
    return api.page(text, facts)


def one(text: str, facts: Facts = CYCLE) -> Record:
    page = read(text, facts)
    assert not page.misfits
    (record,) = page.records
    return record


def one_of(facts: Facts, **changes: Any) -> Record:
    return one(a_page(an_item(facts, **changes)), facts)


def caught(call: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call()
    return caught.value


class TestParameters:
    def question(
        self, start: datetime = HISTORY_START, end: datetime = NOW, cursor: Cursor | None = None
    ) -> dict[str, str]:
        return api.parameters(Question(Span(start, end), cursor))

    def test_every_question_asks_for_as_much_as_whoop_gives(self) -> None:
        assert self.question()["limit"] == "25"
        assert self.question(cursor=CURSOR)["limit"] == "25"

    def test_all_of_history_is_asked_for_by_naming_no_start(self) -> None:
        assert self.question() == {"limit": "25", "end": "2026-11-22T11:30:00.000Z"}
        assert "start" not in self.question(start=HISTORY_START - timedelta(days=1))

    def test_a_start_within_history_is_named(self) -> None:
        start = HISTORY_START + timedelta(milliseconds=1)
        assert self.question(start=start)["start"] == "2012-01-01T00:00:00.001Z"

    @pytest.mark.parametrize(
        ("at", "written"),
        [
            pytest.param(datetime(2026, 7, 5, tzinfo=UTC), "2026-07-05T00:00:00.000Z", id="UTC"),
            pytest.param(
                datetime(2026, 7, 5, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
                "2026-07-04T20:00:00.000Z",
                id="India",
            ),
            pytest.param(
                datetime(2026, 7, 4, 20, tzinfo=timezone(timedelta(hours=-5))),
                "2026-07-05T01:00:00.000Z",
                id="Lima",
            ),
            pytest.param(
                datetime(2026, 7, 5, 1, 2, 3, 456_789, tzinfo=UTC),
                "2026-07-05T01:02:03.456Z",
                id="microseconds",
            ),
        ],
    )
    def test_times_are_whole_and_in_utc(self, at: datetime, written: str) -> None:
        assert self.question(start=at)["start"] == written
        assert self.question(end=at)["end"] == written

    def test_a_cursor_goes_by_the_name_that_whoop_reads(self) -> None:
        asked = self.question(start=NOW - timedelta(days=1), cursor=CURSOR)
        assert asked == {
            "limit": "25",
            "start": "2026-11-21T11:30:00.000Z",
            "end": "2026-11-22T11:30:00.000Z",
            "nextToken": CURSOR,
        }


class TestDecipher:
    def refuse(
        self,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        cursor: Cursor | None = None,
    ) -> ProviderError:
        return caught(lambda: api.decipher(status, headers or {}, body, now=NOW, cursor=cursor))

    def test_a_good_answer_is_its_text(self) -> None:
        assert api.decipher(200, {}, '{"ñ": "☃"}'.encode(), now=NOW) == '{"ñ": "☃"}'

    @pytest.mark.parametrize(
        "body", [b"\xff\xfe", b'{"a": "\xe9"}', b"\xed\xa0\x80"], ids=["BOM", "latin", "surrogate"]
    )
    def test_an_answer_that_is_not_utf_8_makes_no_sense(self, body: bytes) -> None:
        assert type(caught(lambda: api.decipher(200, {}, body, now=NOW))) is Unavailable

    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            pytest.param(100, b"", Unavailable, id="continue"),
            pytest.param(201, b"{}", Unavailable, id="created"),
            pytest.param(204, b"", Unavailable, id="no content"),
            pytest.param(206, b'{"records":[', Unavailable, id="partial"),
            pytest.param(301, b"", Unavailable, id="moved"),
            pytest.param(302, b"", Unavailable, id="found"),
            pytest.param(304, b"", Unavailable, id="not modified"),
            pytest.param(400, b"", Rejected, id="bad request"),
            pytest.param(401, b"Authorization was not valid", TokenRejected, id="plain text 401"),
            pytest.param(401, b'{"error":"x"}', TokenRejected, id="JSON 401"),
            pytest.param(402, b"", Rejected, id="payment required"),
            pytest.param(
                403, b'{"error":"deactivated_user"}', AccountDeactivated, id="deactivated"
            ),
            pytest.param(403, b'{"error":"insufficient_scope"}', ScopeMissing, id="scope"),
            pytest.param(403, b' \r\n\t{"message":"Forbidden"}', ScopeMissing, id="spaced JSON"),
            pytest.param(403, b"error code: 1010", Unavailable, id="Cloudflare text"),
            pytest.param(403, b"<!DOCTYPE html><html>", Unavailable, id="Cloudflare page"),
            pytest.param(403, b"", Unavailable, id="empty 403"),
            pytest.param(404, b"HTTP 404 Not Found", NotThere, id="not found"),
            pytest.param(405, b"", Rejected, id="method"),
            pytest.param(408, b"", Unavailable, id="request timeout"),
            pytest.param(410, b"", Rejected, id="gone"),
            pytest.param(414, b"", Rejected, id="too long"),
            pytest.param(422, b"{}", Rejected, id="unprocessable"),
            pytest.param(429, b"", RateLimited, id="rate limit"),
            pytest.param(429, b'{"message":"Too Many Requests"}', RateLimited, id="JSON 429"),
            pytest.param(499, b"", Rejected, id="client closed"),
            pytest.param(500, b"", Unavailable, id="internal error"),
            pytest.param(502, b"<html>", Unavailable, id="bad gateway"),
            pytest.param(503, b"", Unavailable, id="unavailable"),
            pytest.param(504, b"", Unavailable, id="gateway timeout"),
            pytest.param(520, b"", Unavailable, id="Cloudflare 520"),
            pytest.param(599, b"", Unavailable, id="599"),
        ],
    )
    def test_a_bad_answer_is_the_error_that_says_what_to_do(
        self, status: int, body: bytes, error: type[ProviderError]
    ) -> None:
        assert type(self.refuse(status, body)) is error

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, CursorRefused),
            (404, CursorRefused),
            (401, TokenRejected),
            (403, Unavailable),
            (408, Unavailable),
            (422, Rejected),
            (429, RateLimited),
            (500, Unavailable),
        ],
    )
    def test_with_a_cursor_a_refusal_is_likeliest_the_cursors(
        self, status: int, error: type[ProviderError]
    ) -> None:
        assert type(self.refuse(status, cursor=CURSOR)) is error

    def test_a_rate_limit_says_until_when(self) -> None:
        error = self.refuse(429, headers={"x-ratelimit-reset": "3"})
        assert isinstance(error, RateLimited)
        assert error.retry_at == NOW + timedelta(seconds=3)

    @pytest.mark.parametrize("status", [201, 302, 400, 401, 403, 404, 408, 422, 429, 500])
    @pytest.mark.parametrize("brace", [b"", b"{"])
    @pytest.mark.parametrize("cursor", [None, Cursor(CANARY)])
    def test_no_error_quotes_what_was_sent_or_said(
        self, status: int, brace: bytes, cursor: Cursor | None
    ) -> None:
        headers = {"x-ratelimit-reset": CANARY, "location": CANARY}
        error = self.refuse(status, brace + CANARY.encode(), headers, cursor)
        assert CANARY not in told(error)


class TestRevoked:
    @pytest.mark.parametrize("status", [204, 404])
    def test_what_is_given_back_or_gone_already_is_fine(self, status: int) -> None:
        api.revoked(status, {}, b"\xff", now=NOW)

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (200, Unavailable),
            (302, Unavailable),
            (400, Rejected),
            (401, TokenRejected),
            (403, Unavailable),
            (429, RateLimited),
            (500, Unavailable),
        ],
    )
    def test_anything_else_is_an_error_like_any(
        self, status: int, error: type[ProviderError]
    ) -> None:
        refused = caught(lambda: api.revoked(status, {}, CANARY.encode(), now=NOW))

        assert type(refused) is error
        assert CANARY not in told(refused)


class TestPause:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            pytest.param({}, 60, id="none"),
            pytest.param({"x-ratelimit-reset": "3"}, 3, id="reset"),
            pytest.param({"x-ratelimit-reset": " 3 "}, 3, id="spaces"),
            pytest.param({"x-ratelimit-reset": "007"}, 7, id="leading zeros"),
            pytest.param({"retry-after": "17"}, 17, id="retry-after"),
            pytest.param({"x-ratelimit-reset": "3", "retry-after": "17"}, 3, id="reset first"),
            pytest.param({"x-ratelimit-reset": "soon", "retry-after": "17"}, 17, id="second best"),
            pytest.param({"x-ratelimit-reset": "0"}, 1, id="zero is not now"),
            pytest.param({"x-ratelimit-reset": "-3"}, 60, id="negative"),
            pytest.param({"x-ratelimit-reset": "+3"}, 60, id="signed"),
            pytest.param({"x-ratelimit-reset": "3.5"}, 60, id="fraction"),
            pytest.param({"x-ratelimit-reset": "1e3"}, 60, id="exponent"),
            pytest.param({"x-ratelimit-reset": "1_000"}, 60, id="underscore"),
            pytest.param({"x-ratelimit-reset": ""}, 60, id="empty"),
            pytest.param({"x-ratelimit-reset": "nonsense"}, 60, id="nonsense"),
            pytest.param({"x-ratelimit-reset": "NaN"}, 60, id="NaN"),
            pytest.param({"x-ratelimit-reset": "3, 3"}, 60, id="sent twice"),
            pytest.param({"x-ratelimit-reset": "٣"}, 60, id="Arabic digit"),
            pytest.param({"x-ratelimit-reset": "３"}, 60, id="wide digit"),  # noqa: RUF001
            pytest.param({"x-ratelimit-reset": "²"}, 60, id="superscript"),
            pytest.param({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60, id="a date"),
            pytest.param({"x-ratelimit-reset": "86399"}, 86_399, id="a day"),
            pytest.param({"x-ratelimit-reset": "90000"}, 90_000, id="the longest"),
            pytest.param({"x-ratelimit-reset": "90001"}, 90_000, id="beyond the longest"),
            pytest.param({"x-ratelimit-reset": "999999999"}, 90_000, id="huge"),
            pytest.param({"x-ratelimit-reset": "1795347000"}, 60, id="an epoch"),
            pytest.param({"x-ratelimit-reset": "9" * 5000}, 60, id="more than Python reads"),
        ],
    )
    def test_it_is_what_whoop_asks_for_within_reason(
        self, headers: dict[str, str], seconds: int
    ) -> None:
        assert api.pause(headers) == timedelta(seconds=seconds)

    @given(st.text(), st.text())
    @settings(database=None, deadline=None)
    def test_no_header_makes_it_endless_or_nothing(self, reset: str, after: str) -> None:
        pause = api.pause({"x-ratelimit-reset": reset, "retry-after": after})
        assert timedelta(seconds=1) <= pause <= api.LONGEST_PAUSE


MINUTE, DAY = Limit(100, timedelta(seconds=60)), Limit(10_000, timedelta(days=1))
DOCUMENTED = {
    "x-ratelimit-limit": "100, 100;window=60, 10000;window=86400",
    "x-ratelimit-remaining": "98",
    "x-ratelimit-reset": "3",
}


class TestQuota:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            pytest.param(
                {}, Quota((MINUTE, DAY), MINUTE, 98, timedelta(seconds=3)), id="as documented"
            ),
            pytest.param(
                {
                    "x-ratelimit-limit": "10000, 100;window=60, 10000;window=86400",
                    "x-ratelimit-remaining": "0",
                    "x-ratelimit-reset": "86399",
                },
                Quota((MINUTE, DAY), DAY, 0, timedelta(seconds=86_399)),
                id="the day is nearest its end",
            ),
            pytest.param(
                {
                    "x-ratelimit-limit": "\t100 ,100; window=60,10000;  window=86400 ",
                    "x-ratelimit-remaining": " 98 ",
                    "x-ratelimit-reset": "3\t",
                },
                Quota((MINUTE, DAY), MINUTE, 98, timedelta(seconds=3)),
                id="with other spaces",
            ),
            pytest.param(
                {"x-ratelimit-limit": "100, 100;window=60"},
                Quota((MINUTE,), MINUTE, 98, timedelta(seconds=3)),
                id="one limit",
            ),
            pytest.param(
                {"x-ratelimit-limit": "100, nonsense, 100;window=60, 10000;window=day"},
                Quota((MINUTE,), MINUTE, 98, timedelta(seconds=3)),
                id="some of it makes sense",
            ),
            pytest.param(
                {"x-ratelimit-limit": "7, 7;window=60, 7;window=86400"},
                Quota(
                    (Limit(7, timedelta(seconds=60)), Limit(7, timedelta(days=1))),
                    Limit(7, timedelta(seconds=60)),
                    98,
                    timedelta(seconds=3),
                ),
                id="the same count twice",
            ),
        ],
    )
    def test_it_is_what_whoop_says(self, changes: dict[str, str], expected: Quota) -> None:
        assert api.quota(DOCUMENTED | changes) == expected

    @pytest.mark.parametrize("name", DOCUMENTED)
    @pytest.mark.parametrize("value", [None, "", " ", "nonsense", "-1", "1.5", "٣", "9" * 5_000])
    def test_without_one_of_the_three_it_says_nothing(self, name: str, value: str | None) -> None:
        headers = {**DOCUMENTED, name: value}
        assert api.quota({key: one for key, one in headers.items() if one is not None}) is None

    @pytest.mark.parametrize(
        "limit",
        [
            pytest.param("100", id="no windows"),
            pytest.param("100, 200;window=60", id="the nearest has no window"),
            pytest.param("100;window=60, 10000;window=86400", id="no nearest"),
            pytest.param("0, 0;window=60", id="nothing at all"),
            pytest.param("100, 100;window=0", id="a window of nothing"),
            pytest.param("100, 100;window=", id="no length"),
            pytest.param("100, 100;w=60", id="another name"),
            pytest.param("100, 100;window=٦٠", id="Arabic digits"),
            pytest.param("１００, １００;window=60", id="wide digits"),  # noqa: RUF001
            pytest.param(f"100, 100;window={'9' * 5_000}", id="more than Python reads"),
            pytest.param("100 100;window=60", id="without commas"),
        ],
    )
    def test_limits_that_make_no_sense_are_none(self, limit: str) -> None:
        assert api.quota({**DOCUMENTED, "x-ratelimit-limit": limit}) is None

    def test_no_header_says_nothing(self) -> None:
        assert api.quota({}) is None

    @given(
        st.text() | st.from_regex(r"\d{1,12}(, \d{1,12};window=\d{1,12}){0,3}", fullmatch=True),
        st.text() | st.from_regex(r"\d{1,12}", fullmatch=True),
        st.text() | st.from_regex(r"\d{1,12}", fullmatch=True),
    )
    @settings(database=None, deadline=None)
    def test_whatever_is_sent_is_a_quota_or_none(
        self, limit: str, remaining: str, reset: str
    ) -> None:
        quota = api.quota(
            {
                "x-ratelimit-limit": limit,
                "x-ratelimit-remaining": remaining,
                "x-ratelimit-reset": reset,
            }
        )
        assert quota is None or (
            quota.nearest in quota.limits
            and all(one.count > 0 and one.window > timedelta(0) for one in quota.limits)
            and quota.remaining >= 0
            and quota.reset >= timedelta(0)
        )


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SPACE = st.text(" \t\r\n", max_size=3)


class TestVerbatim:
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param('{ "updated_at" :"x"\t,\r\n"id":  1 }', id="white space"),
            pytest.param('{"z":1,"a":2,"id":3}', id="key order"),
            pytest.param('{"name":"Zoë ☃ 𝄞","id":1}', id="unicode"),
            pytest.param('{"name":"Zo\\u00eb \\/ \\ud834\\udd1e","id":1}', id="escapes"),
            pytest.param('{"id":1,"strain":1.0e3,"k":1.50,"n":-0.0,"e":1E+2}', id="floats"),
            pytest.param(
                '{"id":1,"n":123456789012345678901234567890,"f":0.1234567890123456789012345}',
                id="long numbers",
            ),
            pytest.param('{"id":1,"id":2,"id":3}', id="duplicate members"),
            pytest.param('{"id":1,"s":"]},{[\\"\\\\"}', id="brackets in text"),
            pytest.param('{"id":1,"s":"\\ud800"}', id="lone surrogate"),
            pytest.param("{}", id="empty object"),
            pytest.param("null", id="null"),
            pytest.param("1e400", id="a number beyond all others"),
        ],
    )
    def test_a_body_is_kept_byte_for_byte(self, body: str) -> None:
        page = read(f'{{"records": [{body} , \n {body}],"next_token":null}}')
        # None of these has a time, so all of them are misfits.
        assert [misfit.body for misfit in page.misfits] == [body, body]

    @given(
        st.lists(st.tuples(ODD, SPACE, SPACE), max_size=5),
        SPACE,
        st.booleans(),
        st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")]),
        st.sampled_from([None, "", "abc"]),
    )
    @settings(database=None, deadline=None)
    def test_the_bodies_are_the_slices_of_the_answer(
        self,
        items: list[tuple[Any, str, str]],
        around: str,
        records_first: bool,  # noqa: FBT001 - hypothesis hands it over by place
        separators: tuple[str, str],
        token: str | None,
    ) -> None:
        slices = [json.dumps(item, separators=separators) for item, _, _ in items]
        listed = ",".join(
            f"{before}{body}{after}" for body, (_, before, after) in zip(slices, items, strict=True)
        )
        members = [
            f'{around}"records"{around}:{around}[{around}{listed}{around}]{around}',
            f'{around}"next_token"{around}:{around}{json.dumps(token)}{around}',
        ]
        text = ",".join(members if records_first else reversed(members))

        page = read(f"{around}{{{text}}}{around}")

        # None of these has a time, so all of them are misfits, in the order of the answer.
        assert [misfit.body for misfit in page.misfits] == slices
        assert page.cursor == (token or None)

    @given(st.text())
    @settings(database=None, deadline=None, max_examples=300)
    def test_any_text_is_a_page_or_makes_no_sense(self, text: str) -> None:
        for read_as in (api.page, api.document):
            with suppress(Unavailable):
                read_as(text, CYCLE)

    @given(ODD)
    @settings(database=None, deadline=None)
    def test_any_json_is_a_page_or_makes_no_sense(self, value: Any) -> None:
        for text in (json.dumps(value), json.dumps({"records": value, "next_token": value})):
            with suppress(Unavailable):
                read(text)

    def test_a_digest_is_the_same_for_the_same_content(self) -> None:
        one_way = one(a_page(an_item()))
        other_way = one(json.dumps({"records": [dict(reversed(an_item().items()))]}, indent=3))
        assert one_way.body != other_way.body
        assert one_way.digest == other_way.digest

    def test_a_digest_is_the_sha256_of_the_canonical_form(self) -> None:
        canonical = '{"a":"ñ","b":[1,2.5,null]}'
        expected = hashlib.sha256(canonical.encode()).hexdigest()
        assert api.digest({"b": [1, 2.5, None], "a": "ñ"}) == expected

    def test_a_digest_tells_different_content_apart(self) -> None:
        values: list[Any] = [
            1,
            1.0,
            "1",
            True,
            None,
            [1],
            {"1": 1},
            "\ud800",
            "\udfff",
            float("inf"),
        ]
        assert len({api.digest(value) for value in values}) == len(values)


class TestEnvelope:
    @pytest.mark.parametrize(
        "text",
        [
            '{"records":[],"next_token":null}',
            '{"records":[]}',
            '{"records":null}',
            '{"records":null,"next_token":null}',
            '{"next_token":null}',
            '{"next_token":""}',
            "{}",
            " \r\n{ }\t",
            '{"records": [ \n ] , "next_token" : "" }',
            '{"records":[],"total":0}',
        ],
    )
    def test_an_empty_page_has_nothing_and_leads_nowhere(self, text: str) -> None:
        assert read(text) == Page(())

    @pytest.mark.parametrize(
        ("members", "cursor"),
        [
            pytest.param({}, None, id="missing"),
            pytest.param({"next_token": None}, None, id="null"),
            pytest.param({"next_token": ""}, None, id="empty"),
            pytest.param({"next_token": "MTIz"}, "MTIz", id="given"),
            pytest.param({"next_token": " "}, " ", id="a space is a token"),
            pytest.param({"next_token": "ñ☃"}, "ñ☃", id="beyond ASCII"),
            pytest.param({"nextToken": "MTIz"}, None, id="the name of the question"),
        ],
    )
    def test_only_a_token_leads_on(self, members: dict[str, Any], cursor: str | None) -> None:
        page = read(a_page(an_item(), **members))
        assert page.cursor == cursor
        assert len(page.records) == 1

    def test_an_empty_page_may_lead_on(self) -> None:
        assert read('{"records":[],"next_token":"MTIzOjEyMzEyMw"}') == Page((), cursor=CURSOR)

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param('{"records":{}}', id="empty object"),
            pytest.param('{"records":{"a":1}}', id="object"),
            pytest.param('{"records":""}', id="empty text"),
            pytest.param('{"records":"1]"}', id="text that looks like items"),
            pytest.param('{"records":0}', id="zero"),
            pytest.param('{"records":12}', id="number"),
            pytest.param('{"records":false}', id="false"),
            pytest.param('{"records":[],"next_token":0}', id="token 0"),
            pytest.param('{"records":[],"next_token":7}', id="token 7"),
            pytest.param('{"records":[],"next_token":false}', id="token false"),
            pytest.param('{"records":[],"next_token":["a"]}', id="token list"),
            pytest.param('{"records":[],"next_token":{}}', id="token object"),
            pytest.param(
                f'{{"records":[],"next_token":"{"x" * 4_097}"}}', id="token as long as a book"
            ),
            pytest.param('{"records":[],"next_token":"\\ud800"}', id="token nobody can send"),
            pytest.param('{"error":"server_error"}', id="an error"),
            pytest.param('{"user_id":10129,"email":"jsmith123@whoop.com"}', id="a document"),
        ],
    )
    def test_json_that_is_no_page_is_told_from_an_empty_one(self, text: str) -> None:
        error = caught(lambda: read(text))
        assert type(error) is Unavailable
        assert str(error) == "WHOOP's answer is not a page"

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("", id="nothing"),
            pytest.param(" ", id="blank"),
            pytest.param("null", id="null"),
            pytest.param("[]", id="list"),
            pytest.param('"records"', id="text"),
            pytest.param("<html></html>", id="HTML"),
            pytest.param("Authorization was not valid", id="plain text"),
            pytest.param("\ufeff{}", id="byte order mark"),
            pytest.param("\xa0{}", id="no-break space"),
            pytest.param('{"records":[]', id="cut after the list"),
            pytest.param('{"records":[{"id":1}', id="cut in the list"),
            pytest.param('{"records":[{"id":1', id="cut in an item"),
            pytest.param('{"records":[{"id":1},', id="cut between items"),
            pytest.param('{"records":', id="cut after a name"),
            pytest.param('{"records"', id="cut at a name"),
            pytest.param('{"reco', id="cut in a name"),
            pytest.param("{", id="cut at once"),
            pytest.param('{"records":[]} {}', id="another document"),
            pytest.param('{"records":[]}x', id="text after the end"),
            pytest.param('{"records":[]}\x00', id="a NUL after the end"),
            pytest.param('{"records":[],}', id="comma at the end"),
            pytest.param('{"records":[{"id":1},]}', id="comma at the end of the list"),
            pytest.param('{,"records":[]}', id="comma at the beginning"),
            pytest.param('{"records":[] "next_token":null}', id="no comma"),
            pytest.param('{"records" []}', id="no colon"),
            pytest.param('{"records":}', id="no value"),
            pytest.param("{records:[]}", id="no quotes"),
            pytest.param("{'records':[]}", id="single quotes"),
            pytest.param("{1:[]}", id="a number for a name"),
            pytest.param("{[]:[]}", id="a list for a name"),
            pytest.param('{"records":[NaN]}', id="NaN"),
            pytest.param('{"records":[{"id":1,"strain":NaN}]}', id="NaN in an item"),
            pytest.param('{"records":[],"x":Infinity}', id="Infinity"),
            pytest.param('{"records":[],"x":-Infinity}', id="-Infinity"),
            pytest.param('{"records":[{"id":"a\nb"}]}', id="line break in a text"),
            pytest.param('{"records":[{"id":%s}]}' % ("9" * 5000), id="more digits than we read"),
            pytest.param('{"records":' + "[" * 99_999 + "]" * 99_999 + "}", id="very deep"),
            pytest.param('{"records":[%s' % ('{"a":' * 99_999), id="very deep and cut"),
            pytest.param('{"x":%s}' % ("[" * 99_999), id="deep elsewhere"),
        ],
    )
    def test_what_is_not_json_makes_no_sense(self, text: str) -> None:
        error = caught(lambda: read(text))
        assert type(error) is Unavailable
        assert str(error) == "WHOOP's answer is not JSON"

    def test_every_beginning_of_a_page_is_refused(self) -> None:
        whole = a_page(an_item(), an_item(), next_token="MTIz")
        for length in range(len(whole)):
            assert type(caught(lambda cut=whole[:length]: read(cut))) is Unavailable  # type: ignore[misc]

    def test_of_duplicate_members_the_last_one_counts(self) -> None:
        first, last = json.dumps(an_item(id=1)), json.dumps(an_item(id=2))
        text = (
            f'{{"records":[{first},{first}],"next_token":"a","records":[{last}],"next_token":"b"}}'
        )
        assert one(text).id == "2"
        assert one(text).body == last
        assert read(text).cursor == "b"
        twice = last.replace('"id": 2', '"id": 1, "id": 2')
        assert one(f'{{"records":[{twice}]}}').id == "2"

    def test_members_that_are_new_to_us_change_nothing(self) -> None:
        item = json.dumps(an_item())
        text = f'{{"total":1,"records":[{item}],"meta":{{"records":[1,2]}},"links":[]}}'
        assert one(text) == one(a_page(an_item()))

    def test_no_depth_of_nesting_breaks_more_than_its_answer(self) -> None:
        # Reading and hashing give up at different depths: wherever that is, nothing else escapes.
        limit = sys.getrecursionlimit()
        for depth in range(limit - 200, limit + 20):
            item = json.dumps(an_item())[:-1] + f',"x":{"[" * depth}{"]" * depth}}}'
            for read_as, text in ((api.page, f'{{"records":[{item}]}}'), (api.document, item)):
                with suppress(Unavailable):
                    assert len(read_as(text, CYCLE).records) == 1


class TestFacts:
    @pytest.mark.parametrize(
        ("facts", "start"),
        [
            (CYCLE, "2022-04-24T02:25:44.774+00:00"),
            (RECOVERY, "2022-04-24T11:25:44.774+00:00"),
            (SLEEP, "2022-04-24T02:25:44.774+00:00"),
            (WORKOUT, "2022-04-24T02:25:44.774+00:00"),
        ],
        ids=lambda value: value.name if isinstance(value, Facts) else "",
    )
    def test_a_record_has_what_we_rely_on(self, facts: Facts, start: str) -> None:
        item = an_item(facts)
        record = one(a_page(item), facts)
        assert record == Record(
            id=str(item["cycle_id" if facts is RECOVERY else "id"]),  # type: ignore[arg-type]
            updated_at=datetime(2022, 4, 24, 14, 25, 44, 774_000, tzinfo=UTC),
            start=datetime.fromisoformat(start),
            day=record.day,
            account="10129",  # type: ignore[arg-type]
            alias=item["sleep_id"] if facts is RECOVERY else None,
            body=json.dumps(item),
            digest=api.digest(item),
        )
        assert type(record.id) is str
        assert record.start is not None
        assert record.start.tzinfo is UTC

    @pytest.mark.parametrize(
        ("facts", "changes", "day"),
        [
            # A cycle belongs to the day on which the member wakes up.
            pytest.param(
                CYCLE, {"start": "2022-04-24T02:25:44Z"}, "2022-04-24", id="cycle: to bed at 21:25"
            ),
            pytest.param(
                CYCLE, {"start": "2022-04-24T06:10:00Z"}, "2022-04-24", id="cycle: to bed at 01:10"
            ),
            pytest.param(
                CYCLE,
                {"start": "2022-04-23T14:30:00Z", "timezone_offset": "+09:00"},
                "2022-04-24",
                id="cycle: in Tokyo",
            ),
            pytest.param(
                CYCLE,
                {"start": "2022-04-24T03:00:00Z", "end": None},
                "2022-04-24",
                id="cycle: still open",
            ),
            # A sleep belongs to the local day of its end.
            pytest.param(SLEEP, {}, "2022-04-24", id="sleep: a night in Lima"),
            pytest.param(
                SLEEP,
                {"end": "2022-04-24T04:59:59.999Z"},
                "2022-04-23",
                id="sleep: a nap until just before midnight",
            ),
            pytest.param(
                SLEEP, {"end": "2022-04-24T05:00:00.000Z"}, "2022-04-24", id="sleep: until midnight"
            ),
            pytest.param(
                SLEEP,
                {"end": "2022-04-23T22:00:00.000Z", "timezone_offset": "+05:30"},
                "2022-04-24",
                id="sleep: half an hour beside the hour",
            ),
            pytest.param(
                SLEEP,
                {"end": "2022-04-24T10:30:00.000Z", "timezone_offset": "+14:00"},
                "2022-04-25",
                id="sleep: Kiritimati",
            ),
            pytest.param(
                SLEEP,
                {"end": "2022-04-24T10:30:00.000Z", "timezone_offset": "-11:00"},
                "2022-04-23",
                id="sleep: Samoa",
            ),
            pytest.param(
                SLEEP, {"end": "2022-04-24T03:00:00+02:00"}, "2022-04-23", id="sleep: end offset"
            ),
            # A workout belongs to the local day of its start.
            pytest.param(WORKOUT, {}, "2022-04-23", id="workout: in the evening"),
            pytest.param(WORKOUT, {"timezone_offset": "Z"}, "2022-04-24", id="workout: in UTC"),
            # A recovery has no zone of its own.
            pytest.param(RECOVERY, {}, "2022-04-24", id="recovery"),
        ],
    )
    def test_the_day_is_the_members_own(
        self, facts: Facts, changes: dict[str, Any], day: str
    ) -> None:
        assert one_of(facts, **changes).day == date.fromisoformat(day)

    def test_a_traveller_has_the_days_of_each_place(self) -> None:
        night = {"start": "2026-03-01T20:00:00.000Z", "end": "2026-03-02T04:00:00.000Z"}
        zones = ("+09:00", "Z", "-08:00")
        days = [one_of(SLEEP, **night, timezone_offset=zone).day for zone in zones]
        assert days == [date(2026, 3, 2), date(2026, 3, 2), date(2026, 3, 1)]

    @pytest.mark.parametrize(
        "offset",
        [..., None, "", "Z", "UTC", "+5:00", "+0500", "05:00", 5, "+٠5:00", "Europe/Madrid"],  # noqa: RUF001
    )
    def test_without_a_zone_that_we_can_read_it_is_utc(self, offset: Any) -> None:
        assert one_of(WORKOUT, timezone_offset=offset).day == date(2022, 4, 24)

    @pytest.mark.parametrize("offset", ["+99:99", "-99:99", "+24:00", "-24:00"])
    def test_a_zone_that_cannot_be_costs_no_record(self, offset: str) -> None:
        assert one_of(WORKOUT, timezone_offset=offset).day is not None

    @pytest.mark.parametrize("end", [..., None, 7, "", "soon", "2022-04-24", "2022-04-24T10:25:44"])
    def test_a_record_can_do_without_a_day(self, end: Any) -> None:
        assert one_of(SLEEP, end=end).day is None

    @pytest.mark.parametrize(
        ("facts", "changes"),
        [
            (CYCLE, {"start": "9999-12-31T23:00:00.000Z"}),
            (SLEEP, {"end": "9999-12-31T23:00:00.000Z", "timezone_offset": "+05:00"}),
            (WORKOUT, {"start": "0001-01-01T00:00:00.000Z"}),
        ],
        ids=["half a day later", "east of the end", "west of the beginning"],
    )
    def test_a_day_beyond_the_calendar_costs_no_record(
        self, facts: Facts, changes: dict[str, str]
    ) -> None:
        assert one_of(facts, **changes).day is None

    @pytest.mark.parametrize(
        ("text", "at"),
        [
            ("2022-04-24T14:25:44.774Z", datetime(2022, 4, 24, 14, 25, 44, 774_000, tzinfo=UTC)),
            ("2022-04-24T14:25:44Z", datetime(2022, 4, 24, 14, 25, 44, tzinfo=UTC)),
            ("2022-04-24T14:25:44.123456Z", datetime(2022, 4, 24, 14, 25, 44, 123_456, tzinfo=UTC)),
            ("2022-04-24T14:25:44+00:00", datetime(2022, 4, 24, 14, 25, 44, tzinfo=UTC)),
            ("2022-04-24T14:25:44-05:00", datetime(2022, 4, 24, 19, 25, 44, tzinfo=UTC)),
        ],
    )
    def test_times_are_read_in_every_form_of_rfc_3339(self, text: str, at: datetime) -> None:
        assert one_of(CYCLE, updated_at=text).updated_at == at

    @pytest.mark.parametrize("user_id", [10129, 0, 2**63 - 1])
    def test_a_record_says_whose_it_is(self, user_id: int) -> None:
        assert one_of(CYCLE, user_id=user_id).account == str(user_id)
        (document,) = api.document(json.dumps(an_item(user_id=user_id)), BODY).records
        assert document.account == str(user_id)

    @pytest.mark.parametrize("user_id", [..., None, True, "10129", 10129.0])
    def test_one_that_does_not_is_a_misfit_and_a_document_is_nobodys(self, user_id: Any) -> None:
        (misfit,) = read(a_page(an_item(user_id=user_id))).misfits
        assert misfit.reason == "unreadable:user_id"
        (document,) = api.document(json.dumps(an_item(user_id=user_id)), BODY).records
        assert document.account is None

    @pytest.mark.parametrize(
        ("given_id", "name"),
        [
            (93845, "93845"),
            (0, "0"),
            (2**63 - 1, "9223372036854775807"),
            (10**249, "1" + "0" * 249),
            ("ecfc6a15", "ecfc6a15"),
            ("x" * 250, "x" * 250),
            ("é" * 125, "é" * 125),
            ("a|b/c", "a|b/c"),
        ],
        ids=lambda value: f"{str(value)[:12]}",
    )
    def test_an_id_is_a_text_or_a_whole_number(self, given_id: Any, name: str) -> None:
        assert one_of(CYCLE, id=given_id).id == name

    def test_only_a_recovery_has_a_second_name(self) -> None:
        aliases = {facts.name: one_of(facts, sleep_id="s").alias for facts in COLLECTIONS}
        assert aliases == {"cycle": None, "recovery": "s", "sleep": None, "workout": None}


NO_NAMES: list[Any] = [
    ...,
    None,
    True,
    False,
    1.0,
    "",
    [],
    {},
    "x" * 251,
    "é" * 126,
    10**250,
    "\ud800",
]
NO_TIMES: list[Any] = [
    ...,
    None,
    True,
    1650810344774,
    "",
    "soon",
    "2022-04-24",
    "2022-04-24T14:25:44",
    "2022-13-45T14:25:44Z",
    "0001-01-01T00:00:00+05:00",
    "9999-12-31T23:59:59-05:00",
    "2022-04-24T14:25:44\ud800",
    ["2022-04-24T14:25:44Z"],
]


def called(value: Any) -> str:
    return "missing" if value is ... else ascii(value)[:28]


class TestMisfits:
    @pytest.mark.parametrize("value", NO_NAMES, ids=called)
    @pytest.mark.parametrize(
        ("facts", "field"),
        [
            (CYCLE, "id"),
            (RECOVERY, "cycle_id"),
            (RECOVERY, "sleep_id"),
            (SLEEP, "id"),
            (WORKOUT, "id"),
        ],
        ids=lambda value: value.name if isinstance(value, Facts) else value,
    )
    def test_an_item_without_a_name_is_one(self, facts: Facts, field: str, value: Any) -> None:
        self.check(facts, field, value)

    @pytest.mark.parametrize("value", NO_TIMES, ids=called)
    @pytest.mark.parametrize(
        ("facts", "field"),
        [
            (CYCLE, "updated_at"),
            (CYCLE, "start"),
            (RECOVERY, "updated_at"),
            (RECOVERY, "created_at"),
            (SLEEP, "start"),
            (WORKOUT, "start"),
        ],
        ids=lambda value: value.name if isinstance(value, Facts) else value,
    )
    def test_an_item_without_its_times_is_one(self, facts: Facts, field: str, value: Any) -> None:
        self.check(facts, field, value)

    def check(self, facts: Facts, field: str, value: Any) -> None:
        items = [an_item(facts), an_item(facts, **{field: value}), an_item(facts)]

        page = read(a_page(*items, next_token="MTIz"), facts)

        (misfit,) = page.misfits
        assert misfit.reason == f"unreadable:{field}"
        assert misfit.body == json.dumps(items[1])
        assert [record.body for record in page.records] == [json.dumps(items[0])] * 2
        assert page.cursor == "MTIz"

    @pytest.mark.parametrize("item", [None, True, 7, 1.5, "text", [], [1], [{"id": 1}]], ids=ascii)
    def test_an_item_that_is_no_object_is_one(self, item: Any) -> None:
        page = read(a_page(an_item(), item, an_item()))
        assert [(misfit.reason, misfit.body) for misfit in page.misfits] == [
            ("unreadable:item", json.dumps(item))
        ]
        assert len(page.records) == 2

    def test_an_item_of_a_kind_that_has_no_items_is_one(self) -> None:
        page = read(a_page(an_item()), FACTS[PROFILE])
        assert [misfit.reason for misfit in page.misfits] == ["unreadable:item"]

    def test_everything_else_may_be_missing_or_odd(self) -> None:
        relied_on = {"id", "updated_at", "start", "end", "user_id", "score_state"}
        values: list[Any] = [..., None, [], "\ud800"]
        for field in set(an_item()) - relied_on:
            for value in values:
                assert one_of(CYCLE, **{field: value}).id == "93845"

    def test_only_the_first_thing_amiss_is_named(self) -> None:
        page = read(a_page({}))
        assert [misfit.reason for misfit in page.misfits] == ["unreadable:id"]


class TestDocument:
    PROFILE_TEXT = ' {"user_id": 10129, "email":"jsmith123@whoop.com",\n"first_name":"Jöhn"}\r\n'

    def test_it_is_a_page_of_one_record_without_a_date(self) -> None:
        body = self.PROFILE_TEXT.strip()
        assert api.document(self.PROFILE_TEXT, FACTS[PROFILE]) == Page(
            (
                Record(
                    id="profile",  # type: ignore[arg-type]
                    updated_at=None,
                    start=None,
                    day=None,
                    account="10129",  # type: ignore[arg-type]
                    alias=None,
                    body=body,
                    digest=api.digest(json.loads(body)),
                ),
            )
        )

    def test_one_that_says_nothing_of_its_owner_is_nobodys(self) -> None:
        (record,) = api.document('{"height_meter":1.8288}', BODY).records
        assert (record.id, record.account) == ("body_measurement", None)

    @pytest.mark.parametrize("text", ["null", "[]", "[{}]", "7", '"text"', "true"])
    def test_json_that_is_no_object_is_no_document(self, text: str) -> None:
        error = caught(lambda: api.document(text, BODY))
        assert type(error) is Unavailable
        assert str(error) == "WHOOP's answer is not a document"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "<html>",
            "{",
            '{"a":1',
            '{"a":1}x',
            '{"a":NaN}',
            "\ufeff{}",
            '{"a":' * 99_999,
            '{"a":%s}' % ("9" * 5000),
        ],
        ids=lambda text: ascii(text)[:10],
    )
    def test_what_is_not_json_makes_no_sense(self, text: str) -> None:
        error = caught(lambda: api.document(text, BODY))
        assert type(error) is Unavailable
        assert str(error) == "WHOOP's answer is not JSON"


class TestOne:
    @pytest.mark.parametrize("facts", COLLECTIONS, ids=lambda facts: facts.name)
    def test_it_is_the_record_that_its_list_would_have(self, facts: Facts) -> None:
        text = json.dumps(an_item(facts))
        listed = one(f'{{"records":[{text}]}}', facts)

        assert api.one(f" {text}\r\n", facts, listed.id) == Page((listed,))

    def test_another_record_than_the_one_asked_for_is_no_answer(self) -> None:
        error = caught(lambda: api.one(json.dumps(an_item()), CYCLE, RecordId("7")))
        assert type(error) is Unavailable
        assert str(error) == "WHOOP's answer is another record"

    def test_one_that_lacks_what_we_rely_on_is_a_misfit(self) -> None:
        text = json.dumps(an_item(start=...))
        page = api.one(text + "\n", CYCLE, RecordId("93845"))
        assert (page.records, page.misfits) == ((), (Misfit("unreadable:start", text),))

    @pytest.mark.parametrize("text", ["null", "[]", "[{}]", "7", '"text"', "true"])
    def test_json_that_is_no_object_is_no_record(self, text: str) -> None:
        error = caught(lambda: api.one(text, CYCLE, RecordId("93845")))
        assert type(error) is Unavailable
        assert str(error) == "WHOOP's answer is not a record"

    @pytest.mark.parametrize("text", ["", "<html>", "{", '{"a":NaN}', '{"a":' * 99_999])
    def test_what_is_not_json_makes_no_sense(self, text: str) -> None:
        error = caught(lambda: api.one(text, CYCLE, RecordId("93845")))
        assert type(error) is Unavailable
        assert str(error) == "WHOOP's answer is not JSON"


class TestSettled:
    @pytest.mark.parametrize("state", ["SCORED", "UNSCORABLE", "NEW_ONE"])
    @pytest.mark.parametrize("facts", COLLECTIONS, ids=lambda facts: facts.name)
    def test_a_record_that_waits_for_no_score_is_settled(self, facts: Facts, state: Any) -> None:
        assert one_of(facts, score_state=state).settled

    @pytest.mark.parametrize("facts", COLLECTIONS, ids=lambda facts: facts.name)
    def test_one_that_waits_for_its_score_is_not(self, facts: Facts) -> None:
        assert not one_of(facts, score_state="PENDING_SCORE").settled

    @pytest.mark.parametrize("end", [None, ...])
    def test_a_cycle_that_goes_on_is_not_settled_even_when_it_is_scored(self, end: Any) -> None:
        assert not one_of(CYCLE, end=end, score_state="SCORED").settled

    @pytest.mark.parametrize("state", [None, ..., 7, ["SCORED"]])
    @pytest.mark.parametrize("facts", COLLECTIONS, ids=lambda facts: facts.name)
    def test_one_that_does_not_say_is_a_misfit(self, facts: Facts, state: Any) -> None:
        (misfit,) = read(a_page(an_item(facts, score_state=state)), facts).misfits
        assert misfit.reason == "unreadable:score_state"

    @pytest.mark.parametrize("end", ["", "soon", 7, True, "2022-04-24T10:25:44"])
    def test_nor_does_one_count_that_ends_at_no_time(self, end: Any) -> None:
        (misfit,) = read(a_page(an_item(CYCLE, end=end))).misfits
        assert misfit.reason == "unreadable:end"

    def test_a_recovery_has_no_end(self) -> None:
        assert one_of(RECOVERY, score_state="SCORED").settled


class TestKin:
    def test_a_night_changes_its_cycle_and_its_recovery(self) -> None:
        expected = ((CYCLE.name, "93846"), (RECOVERY.name, "93846"))
        assert one_of(SLEEP, cycle_id=93846).kin == expected
        assert one_of(SLEEP, cycle_id=93846, nap=False).kin == expected

    def test_a_nap_changes_neither(self) -> None:
        assert one_of(SLEEP, cycle_id=93846, nap=True).kin == ()

    @pytest.mark.parametrize("cycle", [..., None, True, "", 1.5])
    def test_a_sleep_that_names_no_cycle_has_none(self, cycle: Any) -> None:
        assert one_of(SLEEP, cycle_id=cycle).kin == ()

    @pytest.mark.parametrize("facts", [CYCLE, RECOVERY, WORKOUT], ids=lambda facts: facts.name)
    def test_nothing_else_has_any(self, facts: Facts) -> None:
        assert one_of(facts, cycle_id=93846).kin == ()


def told(error: BaseException) -> str:
    """Everything that a log could come to say about an error."""
    said = ["".join(traceback.format_exception(error)), repr(error)]
    link: BaseException | None = error
    while link is not None:
        said.append(str(link))
        link = link.__cause__ or link.__context__
    return "\n".join(said)


POISON: list[Any] = [
    CANARY,
    f"\ud800{CANARY}",
    f"2022-04-24T{CANARY}",
    CANARY * 50,
    [CANARY],
    {CANARY: CANARY},
]


class TestDiscretion:
    """What is in an answer stays out of errors and reasons: it is about somebody's health."""

    FIELDS = (
        "id",
        "cycle_id",
        "sleep_id",
        "created_at",
        "updated_at",
        "start",
        "end",
        "user_id",
        "score_state",
    )
    REASONS = frozenset(f"unreadable:{name}" for name in ("item", *FIELDS))

    @pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS.keys())
    @pytest.mark.parametrize("value", POISON, ids=called)
    def test_no_reason_quotes_an_item(self, facts: Facts, value: Any) -> None:
        items = [value, dict.fromkeys(self.FIELDS, value)]
        items += [an_item(facts, **{field: value}) for field in self.FIELDS]

        page = read(a_page(*items), facts)

        assert page.misfits
        assert {misfit.reason for misfit in page.misfits} <= self.REASONS

    @given(st.lists(ODD | st.dictionaries(st.sampled_from(FIELDS), ODD), min_size=1))
    @settings(database=None, deadline=None)
    def test_a_reason_is_one_of_a_few(self, items: list[Any]) -> None:
        for facts in FACTS.values():
            page = read(a_page(*items), facts)
            assert {misfit.reason for misfit in page.misfits} <= self.REASONS

    @pytest.mark.parametrize(
        "text",
        [
            CANARY,
            f'"{CANARY}"',
            f'["{CANARY}"]',
            f'{{"{CANARY}',
            f'{{"{CANARY}":1}}',
            f'{{"records":"{CANARY}"}}',
            f'{{"records":{{"{CANARY}":1}}}}',
            f'{{"records":[{{"{CANARY}":"{CANARY}"}}',
            f'{{"records":[{{"id":"{CANARY}\n"}}]}}',
            f'{{"records":[{{"id":"\\{CANARY}"}}]}}',
            f'{{"records":[{CANARY}]}}',
            f'{{"records":[],"next_token":["{CANARY}"]}}',
            f'{{"records":[],"next_token":"\\ud800{CANARY}"}}',
            f'{{"records":[]}}{CANARY}',
            f'{{"records":[{{"a":NaN,"b":"{CANARY}"}}]}}',
        ],
    )
    def test_no_error_quotes_an_answer(self, text: str) -> None:
        for read_as in (api.page, api.document):
            try:
                page = read_as(text, FACTS[PROFILE])
            except Unavailable as error:
                said = told(error)
            else:
                said = repr(page.misfits)
            assert CANARY not in said

    def test_an_answer_in_another_encoding_is_not_quoted_either(self) -> None:
        body = CANARY.encode() + b"\xff"
        assert CANARY not in told(caught(lambda: api.decipher(200, {}, body, now=NOW)))
