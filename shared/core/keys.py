r"""The keys of the raw layer and of everything else that is stored by name.

Azure forbids ``/ \ # ?`` and control characters in keys and advises against ``%`` and ``+``:
https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
"""

from __future__ import annotations

import hashlib
import re
import string
from datetime import UTC, datetime

from shared.core.model import Place, ProviderName, RecordId, UserId

#: The row that holds a partition's head.  It sorts before everything else.
HEAD = "!"
VERSIONS = "v|"
FEED = "s|"
ALIASES = "k|"
#: Azure takes 1,024 characters; what we put around an escaped name needs less than 64.
LONGEST = 960

_PLAIN = frozenset(string.ascii_letters + string.digits + "-._@")


def escape(name: str) -> str:
    """Write ``name`` so that it may stand in any key, and no two names look the same.

    Everything but letters, digits and ``- . _ @`` becomes ``=XX``, one per UTF-8 byte.
    """
    escaped = "".join(
        char if char in _PLAIN else "".join(f"={byte:02X}" for byte in char.encode())
        for char in name
    )
    if not escaped or len(escaped) > LONGEST:
        raise ValueError(f"a name of {len(escaped)} characters cannot be a key")
    return escaped


def unescape(escaped: str) -> str:
    """Read back what ``escape`` wrote."""
    return re.sub("(?:=[0-9A-F]{2})+", _letters, escaped)


def partition(place: Place) -> str:
    """Return the partition of one resource of one member in the raw layer."""
    return "|".join(escape(part) for part in (place.provider, place.user, place.resource))


def partitions(user: UserId, provider: ProviderName) -> tuple[str, str]:
    """Return between what the keys of a member's partitions are, whatever the resources.

    The second one comes right after the last of them.
    """
    both = f"{escape(provider)}|{escape(user)}"
    return f"{both}|", f"{both}}}"


def version_row(record: RecordId, updated_at: datetime, n: int) -> str:
    """Return the row key of a version; a record's rows sort from its oldest to its current."""
    return f"{versions_of(record)}{instant(updated_at)}|{n:04}"


def versions_of(record: RecordId) -> str:
    """Return what the row keys of all versions of ``record`` start with."""
    return f"{VERSIONS}{escape(record)}|"


def parse_version_row(row: str) -> tuple[RecordId, datetime, int]:
    """Return which state of which record a version is: read back what ``version_row`` wrote."""
    _, record, updated_at, n = row.split("|")
    return RecordId(unescape(record)), datetime.fromisoformat(updated_at), int(n)


def feed_row(seq: int) -> str:
    """Return the row key of number ``seq`` of the feed."""
    return f"{FEED}{seq:012}"


def parse_feed_row(row: str) -> int:
    """Return the number: read back what ``feed_row`` wrote."""
    return int(row.removeprefix(FEED))


def alias_row(alias: RecordId) -> str:
    """Return the row key that leads from a second name to the record's id."""
    return f"{ALIASES}{escape(alias)}"


def instant(at: datetime) -> str:
    """Write ``at`` in UTC with a fixed width, so that text sorts as time does."""
    # Not strftime: on some systems it writes the year 987 with three digits.
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def fingerprint(secret: str) -> str:
    """Return the form in which one-time secrets and cursors are kept: their sha256, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _letters(escaped: re.Match[str]) -> str:
    return bytes.fromhex(escaped[0].replace("=", "")).decode()
