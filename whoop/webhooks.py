"""WHOOP's webhooks, with no HTTP in them: is it WHOOP's, and what does it say.

https://developer.whoop.com/docs/developing/webhooks
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.core.keys import fingerprint
from shared.core.model import AccountId, Ignored, Notice, RecordId, ResourceName, Secret
from shared.errors import Forged
from whoop.resources import RECOVERY, SLEEP, WORKOUT

#: WHOOP tries five times over an hour, and does not say whether it dates each try anew.
TOLERANCE = timedelta(hours=2)
#: What belongs to one night is said within this.
SIBLING = timedelta(seconds=1)
#: The largest number that WHOOP's own type for a member's id can hold.
LARGEST_ID = 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLIS = re.compile(r"\d{1,14}", re.ASCII)
#: A UUID, and room for whatever WHOOP may make of it that can stand in an address.
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a type of event is about."""

    resource: ResourceName
    alias: bool = False
    gone: bool = False
    wait: timedelta = timedelta(0)


#: There is none for cycles, and all that has to do with a recovery is named after its sleep.
#: What was created is said to be updated.
_KINDS: Final = {
    "sleep.updated": _Kind(SLEEP, wait=SIBLING),
    "sleep.deleted": _Kind(SLEEP, gone=True),
    # Said along with its sleep's, whose look brings the recovery as well, if it comes first.
    "recovery.updated": _Kind(RECOVERY, alias=True, wait=2 * SIBLING),
    "recovery.deleted": _Kind(RECOVERY, alias=True, gone=True),
    "workout.updated": _Kind(WORKOUT),
    "workout.deleted": _Kind(WORKOUT, gone=True),
}


@dataclass(frozen=True, slots=True)
class Signed:
    """A body that is WHOOP's.  Only ``verify`` may make one."""

    body: bytes
    at: datetime


def verify(headers: Mapping[str, str], body: bytes, secret: Secret, *, now: datetime) -> Signed:
    """Return ``body`` once its signature and its age check out; raise ``Forged``.

    ``headers`` must have lowercase keys, and ``body`` must be the bytes as they came: reading and
    writing JSON again changes what was signed.
    """
    stamp = headers.get("x-whoop-signature-timestamp", "")
    given = headers.get("x-whoop-signature", "")
    if not given or not _MILLIS.fullmatch(stamp):
        raise Forged("unsigned")
    digest = hmac.digest(secret.reveal().encode(), stamp.encode() + body, "sha256")
    # As texts: of the many that base64 reads as one value, WHOOP writes one.
    if not hmac.compare_digest(base64.b64encode(digest), given.encode("utf-8", "surrogatepass")):
        raise Forged("wrong_signature")
    at = _EPOCH + timedelta(milliseconds=int(stamp))
    if abs(now - at) > TOLERANCE:
        raise Forged("out_of_date")
    return Signed(body, at)


def read(signed: Signed) -> Notice | Ignored:
    """Return what WHOOP says; ``Ignored`` where it makes no sense to us."""
    try:
        event = json.loads(signed.body)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        return Ignored("unreadable")
    kind = _KINDS.get(event["type"]) if isinstance(event.get("type"), str) else None
    if kind is None:
        return Ignored("unknown_type")
    account, record = event.get("user_id"), event.get("id")
    if not _is_account(account) or not isinstance(record, str) or not _ID.fullmatch(record):
        return Ignored("unreadable")
    # Without a trace, two changes of one record must still be two.
    trace = event.get("trace_id") or signed.at.isoformat()
    return Notice(
        account=AccountId(str(account)),
        resource=kind.resource,
        record=RecordId(record),
        alias=kind.alias,
        gone=kind.gone,
        at=signed.at,
        key=fingerprint(json.dumps([event["type"], record, trace], sort_keys=True)),
        wait=kind.wait,
    )


def _is_account(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_ID
