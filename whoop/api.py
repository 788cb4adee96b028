"""WHOOP's HTTP dialect, with no HTTP in it.

These functions turn our words into requests and WHOOP's responses into our words.  They send
nothing, so every odd answer that WHOOP can give is one line in a test.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from shared.core.model import (
    HISTORY_START,
    AccountId,
    Cursor,
    Limit,
    Misfit,
    Page,
    Question,
    Quota,
    Record,
    RecordId,
    ResourceName,
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
from whoop.drift import unknown
from whoop.resources import CYCLE, RECOVERY, SLEEP, Facts

#: The most that WHOOP gives: every request counts, so every request asks for it.
#: https://developer.whoop.com/docs/developing/pagination
LIMIT = 25
#: Bytes in a record's id, so that it fits into a key even when each has to be escaped.
LONGEST_ID = 250
#: Characters in a cursor; the examples have 20, and an address takes a few thousand.
LONGEST_CURSOR = 4_096
#: Where WHOOP does not say how long to wait, its shorter window has passed by then.
DEFAULT_PAUSE = timedelta(seconds=60)
#: The longest window that WHOOP counts in, and a little more.
LONGEST_PAUSE = timedelta(hours=25)

_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})", re.ASCII)
_LIMIT = re.compile(r"([1-9]\d{0,8});\s*window=([1-9]\d{0,8})", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_SPACE = re.compile(r"[ \t\n\r]*")
#: Halves of characters, which JSON can spell and nothing can send or store.
_HALF = re.compile(r"[\ud800-\udfff]")


class _Unreadable(Exception):
    """An item lacks what we rely on.  Carries the field's name, and never what stands in it."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


#: Refuses NaN and Infinity, which Python would take and nobody else could read back.
_DECODER = json.JSONDecoder(parse_constant=_refuse)


def parameters(question: Question) -> dict[str, str]:
    """Return the query for a page; the same but for the cursor on every page of a walk."""
    # A bare date is answered with 404, so times are always whole.
    query = {"limit": str(LIMIT), "end": _timestamp(question.span.end)}
    if question.span.start > HISTORY_START:
        query["start"] = _timestamp(question.span.start)
    if question.cursor is not None:
        # WHOOP says next_token in answers and wants nextToken in questions.
        query["nextToken"] = question.cursor
    return query


def decipher(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    cursor: Cursor | None = None,
) -> str:
    """Return the text of a good response; raise what a bad one calls for.

    ``headers`` must have lowercase keys.  ``cursor`` is the one that was asked with: WHOOP does
    not say why it refuses a page, and a stale cursor is the likeliest reason.  Error texts never
    quote ``body``, because it may hold a record.
    """
    if status == 200:
        return _text(body)
    raise _error(status, headers, body, now=now, cursor=cursor)


def revoked(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
    """Read the answer to giving a grant back; raise what a bad one calls for.

    ``headers`` must have lowercase keys.
    """
    # Where there is nothing to give back, it is as good as given.
    if status in {204, 404}:
        return
    raise _error(status, headers, body, now=now, cursor=None)


def page(text: str, facts: Facts) -> Page:
    """Read a collection response; an item that lacks what we rely on becomes a misfit.

    Raises ``Unavailable`` when the whole is not what WHOOP documents.
    """
    try:
        doc = {name: (value, at) for name, value, at in _members(text)}
        items, at = doc.get("records", (None, 0))
        token, _ = doc.get("next_token", (None, 0))
        found = list(_items(text, at)) if isinstance(items, list) and items else []
        digests = [digest(value) for value, _ in found]
    except (ValueError, RecursionError) as error:
        raise Unavailable("WHOOP's answer is not JSON") from error
    if not isinstance(items, list | None) or not isinstance(token, str | None):
        raise Unavailable("WHOOP's answer is not a page")
    # An empty page may lack both; but what has other things instead is no page, and to take it
    # for an empty one would be to believe that there is nothing to read.
    if doc and not doc.keys() & {"records", "next_token"}:
        raise Unavailable("WHOOP's answer is not a page")
    records: list[Record] = []
    misfits: list[Misfit] = []
    for (value, body), hashed in zip(found, digests, strict=True):
        try:
            records.append(_record(value, body, hashed, facts))
        except _Unreadable as error:
            misfits.append(Misfit(f"unreadable:{error.field}", body))
    strange = unknown((value for value, _ in found), facts.name)
    return Page(tuple(records), tuple(misfits), _cursor(token), unknown=strange)


def document(text: str, facts: Facts) -> Page:
    """Read a single document as a page of one record."""
    try:
        value = _DECODER.decode(text)
        hashed = digest(value)
    except (ValueError, RecursionError) as error:
        raise Unavailable("WHOOP's answer is not JSON") from error
    if not isinstance(value, dict):
        raise Unavailable("WHOOP's answer is not a document")
    record = Record(
        id=RecordId(facts.name),
        updated_at=None,
        start=None,
        day=None,
        account=_account(value),
        alias=None,
        body=text.strip(),
        digest=hashed,
    )
    return Page((record,), unknown=unknown([value], facts.name))


def one(text: str, facts: Facts, asked: RecordId) -> Page:
    """Read a single record of a collection as a page of one, or of one misfit.

    Raises ``Unavailable`` when it is not a record, or not the one that was ``asked`` for.
    """
    try:
        value = _DECODER.decode(text)
        hashed = digest(value)
    except (ValueError, RecursionError) as error:
        raise Unavailable("WHOOP's answer is not JSON") from error
    if not isinstance(value, dict):
        raise Unavailable("WHOOP's answer is not a record")
    try:
        record = _record(value, text.strip(), hashed, facts)
    except _Unreadable as error:
        return Page((), (Misfit(f"unreadable:{error.field}", text.strip()),))
    if record.id != asked:
        raise Unavailable("WHOOP's answer is another record")
    return Page((record,), unknown=unknown([value], facts.name))


def pause(headers: Mapping[str, str]) -> timedelta:
    """Return how long WHOOP asks us to wait; ``headers`` must have lowercase keys."""
    # https://developer.whoop.com/docs/developing/rate-limiting  (seconds, not a date).
    # Retry-After is not documented, and some integrators have seen it.
    for name in ("x-ratelimit-reset", "retry-after"):
        seconds = headers.get(name, "").strip()
        if _SECONDS.fullmatch(seconds):
            return min(LONGEST_PAUSE, timedelta(seconds=max(1, int(seconds))))
    return DEFAULT_PAUSE


def quota(headers: Mapping[str, str]) -> Quota | None:
    """Read what an answer says of the limits; None where it says nothing that makes sense.

    ``headers`` must have lowercase keys.  ``100, 100;window=60, 10000;window=86400`` is the limit
    that is nearest its end, then all of them; remaining and reset are the nearest one's.
    https://developer.whoop.com/docs/developing/rate-limiting
    """
    first, *rest = (part.strip() for part in headers.get("x-ratelimit-limit", "").split(","))
    limits = tuple(
        Limit(int(match[1]), timedelta(seconds=int(match[2])))
        for match in map(_LIMIT.fullmatch, rest)
        if match
    )
    nearest = next((limit for limit in limits if str(limit.count) == first), None)
    remaining = headers.get("x-ratelimit-remaining", "").strip()
    reset = headers.get("x-ratelimit-reset", "").strip()
    if nearest is None or not _SECONDS.fullmatch(remaining) or not _SECONDS.fullmatch(reset):
        return None
    return Quota(limits, nearest, int(remaining), timedelta(seconds=int(reset)))


def digest(value: Any) -> str:
    """Return the sha256 of the canonical form: sorted keys, no white space, in UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    cursor: Cursor | None,
) -> ProviderError:
    said = f"WHOOP answered {status}"
    if status == 429:
        return RateLimited(now + pause(headers))
    if status == 401:
        return TokenRejected(said)
    if status == 403 and b"deactivated_user" in body:
        return AccountDeactivated(said)
    if status == 403 and not body.lstrip().startswith(b"{"):
        # The edge in front of WHOOP blocks clients with a text or a page of its own.
        return Unavailable(said)
    if status == 403:
        return ScopeMissing(said)
    if status in {400, 404} and cursor is not None:
        return CursorRefused(said)
    if status == 404:
        return NotThere(said)
    if 400 <= status < 500 and status != 408:
        return Rejected(said)
    return Unavailable(said)


def _record(value: Any, body: str, hashed: str, facts: Facts) -> Record:
    if not isinstance(value, dict) or facts.id_field is None or facts.start_field is None:
        raise _Unreadable("item")
    return Record(
        id=_name(value, facts.id_field),
        updated_at=_time(value, "updated_at"),
        start=_time(value, facts.start_field),
        day=_day(value, facts),
        account=_owner(value),
        alias=_name(value, facts.alias_field) if facts.alias_field else None,
        body=body,
        digest=hashed,
        settled=_settled(value, facts),
        kin=_kin(value, facts),
    )


def _settled(value: Mapping[str, Any], facts: Facts) -> bool:
    """Say whether a record is over and scored, or never will be scored."""
    state = value.get("score_state")
    if not isinstance(state, str):
        raise _Unreadable("score_state")
    if state == "PENDING_SCORE":
        return False
    end = facts.end_field
    if end is None:
        return True
    if value.get(end) is None:
        return False
    _time(value, end)
    return True


def _kin(value: Mapping[str, Any], facts: Facts) -> tuple[tuple[ResourceName, RecordId], ...]:
    """Return the cycle and the recovery that a night belongs to; a nap changes neither."""
    if facts.name != SLEEP or value.get("nap") is True:
        return ()
    try:
        cycle = _name(value, "cycle_id")
    except _Unreadable:
        return ()
    return (CYCLE, cycle), (RECOVERY, cycle)


def _name(value: Mapping[str, Any], field: str) -> RecordId:
    given = value.get(field)
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise _Unreadable(field)
    name = str(given)
    if _HALF.search(name) or not 0 < len(name.encode()) <= LONGEST_ID:
        raise _Unreadable(field)
    return RecordId(name)


def _account(value: Mapping[str, Any]) -> AccountId | None:
    account = value.get("user_id")
    if isinstance(account, bool) or not isinstance(account, int):
        return None
    return AccountId(str(account))


def _owner(value: Mapping[str, Any]) -> AccountId:
    """Return whose a record is: without it, anybody's could be kept for anybody."""
    account = _account(value)
    if account is None:
        raise _Unreadable("user_id")
    return account


def _time(value: Mapping[str, Any], field: str) -> datetime:
    text = value.get(field)
    if not isinstance(text, str):
        raise _Unreadable(field)
    try:
        at = datetime.fromisoformat(text)
        utc = at.astimezone(UTC)
    except (ValueError, OverflowError):
        # Not from it: its text holds what stands in the field.
        raise _Unreadable(field) from None
    if at.tzinfo is None:
        raise _Unreadable(field)
    return utc


def _day(value: Mapping[str, Any], facts: Facts) -> date | None:
    """Return the local day, or None: the calendar can do without, the record cannot."""
    zone = UTC
    offset = value.get("timezone_offset")
    if isinstance(offset, str) and (match := _OFFSET.fullmatch(offset)):
        sign = -1 if match[1] == "-" else 1
        minutes = int(match[2]) % 24 * 60 + int(match[3]) % 60
        zone = timezone(timedelta(minutes=sign * minutes))
    try:
        at = _time(value, facts.day_field or "").astimezone(zone)
        return (at + timedelta(hours=facts.day_shift_hours)).date()
    except (_Unreadable, OverflowError):
        return None


def _cursor(token: str | None) -> Cursor | None:
    if not token:
        return None
    if len(token) > LONGEST_CURSOR or _HALF.search(token):
        raise Unavailable("WHOOP's answer is not a page")
    return Cursor(token)


def _members(text: str) -> Iterator[tuple[str, Any, int]]:
    """Yield the members of a JSON object: name, value, and where the value begins."""
    at = _expect(text, 0, "{")
    closed = text[at : at + 1] == "}"
    while not closed:
        if text[at : at + 1] != '"':
            raise ValueError("no name")
        name, at = _DECODER.raw_decode(text, at)
        at = _expect(text, at, ":")
        value, end = _DECODER.raw_decode(text, at)
        yield name, value, at
        at = _skip(text, end)
        closed = text[at : at + 1] == "}"
        if not closed:
            at = _expect(text, at, ",")
    if _skip(text, at + 1) != len(text):
        raise ValueError("text after the end")


def _items(text: str, at: int) -> Iterator[tuple[Any, str]]:
    """Yield the items of the JSON array at ``at``, each with its own text as it stands there.

    The array must have been read before: this does not look for mistakes in it.
    """
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        value, end = _DECODER.raw_decode(text, at)
        yield value, text[at:end]
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)


def _expect(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        raise ValueError(f"no {sign}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        # Not from it: its repr holds the whole body.
        raise Unavailable("WHOOP's answer is not UTF-8") from None


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
