"""WHOOP's answers as they come over the wire, one folder for each oddity.

``samples/<case>/<status>.json`` holds the headers and ``body`` the body, byte for byte.  They are
made of the example values in WHOOP's own documents; no member's data is among them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from shared.core.model import Cursor, Page, ResourceName, Secret
from shared.errors import (
    AccountDeactivated,
    CursorRefused,
    GrantDead,
    NotThere,
    ProviderError,
    RateLimited,
    Rejected,
    TokenRejected,
    Unavailable,
)
from shared.provider import Grant
from whoop import api, config, oauth
from whoop.resources import FACTS, SCOPES

SAMPLES = Path(__file__).parent / "samples"
NOW = datetime(2026, 11, 22, 11, 30, tzinfo=UTC)
CONFIG = config.read({})
#: The slash-less beginnings of folder names, and what is asked for.
RESOURCES = {name.replace("_", "-"): facts for name, facts in FACTS.items()}

Found: TypeAlias = tuple[str, str | None]


@dataclass(frozen=True)
class Read:
    """A page: id and day of its records, the reasons of its misfits, and where it leads."""

    found: tuple[Found, ...] = ()
    misfits: tuple[str, ...] = ()
    cursor: str | None = None


@dataclass(frozen=True)
class Granted:
    """A grant: whether it can be renewed, and its scopes."""

    renewable: bool
    scopes: frozenset[str]


UUID = "ecfc6a15-4661-442f-a9a4-f160dd7afae8"
NEXT = "MTIzOjEyMzEyMw"

EXPECTED: Mapping[str, Read | Granted | type[ProviderError] | timedelta] = {
    "body-measurement": Read((("body_measurement", None),)),
    "body-measurement-was-never-given": NotThere,
    "cycle-bare-date-is-404": NotThere,
    "cycle-closed-and-more-to-come": Read((("93845", "2022-04-24"),), cursor=NEXT),
    "cycle-current-has-end-null-and-a-score": Read(
        (("93846", "2022-04-25"), ("93845", "2022-04-24"))
    ),
    "cycle-current-has-no-end": Read((("93846", "2022-04-25"),)),
    "cycle-cut-in-the-middle": Unavailable,
    "cycle-day-is-used-up": timedelta(seconds=41_210),
    "cycle-edge-refuses-the-user-agent": Unavailable,
    "cycle-membership-is-paused": AccountDeactivated,
    "cycle-minute-is-used-up": timedelta(seconds=3),
    "cycle-one-of-three-lacks-its-start": Read(
        (("93846", "2022-04-25"), ("93845", "2022-04-24")), misfits=("unreadable:start",)
    ),
    "cycle-page-is-empty-but-leads-on": Read(cursor=NEXT),
    "cycle-page-lacks-both-members": Read(),
    "cycle-server-error-has-no-json": Unavailable,
    "cycle-two-on-one-day": Read((("93846", "2022-04-24"), ("93845", "2022-04-24"))),
    "cycle-without-score-has-null": Read((("93845", "2022-04-24"),)),
    "profile-is-html": Unavailable,
    "profile-token-expired-is-plain-text": TokenRejected,
    "profile-with-letters-beyond-ascii": Read((("profile", None),)),
    "recovery-scored-and-pending": Read((("93846", "2022-04-25"), ("93845", "2022-04-24"))),
    "recovery-without-its-sleep": Read(misfits=("unreadable:sleep_id",)),
    "sleep-in-utc-has-the-zone-z": Read(((UUID, "2022-04-24"),)),
    "sleep-nap-without-the-four-percentages": Read(((UUID, "2022-04-23"),)),
    "sleep-of-a-traveller-in-tokyo": Read(((UUID, "2022-04-25"),)),
    "sleep-scored": Read(((UUID, "2022-04-24"),)),
    "token-edge-answers-in-html": Unavailable,
    "token-endpoint-is-down": Unavailable,
    "token-form-is-malformed": Rejected,
    "token-granted": Granted(renewable=True, scopes=frozenset({*SCOPES, "offline"})),
    "token-granted-without-offline": Granted(
        renewable=False, scopes=frozenset({"read:recovery", "read:profile"})
    ),
    "token-refresh-was-replayed": GrantDead,
    "token-refresh-was-rotated": GrantDead,
    "token-secret-is-wrong": Rejected,
    "workout-spread-over-lines": Read(((UUID, "2022-04-23"),)),
    "workout-with-the-ids-of-v1": Read(((UUID, "2022-04-23"),)),
    "workout-without-a-way-has-nulls": Read(((UUID, "2022-04-23"),)),
}


@dataclass(frozen=True)
class Sample:
    """One answer, and how to read it."""

    case: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def decipher(self, cursor: Cursor | None = None) -> Page | Grant:
        if self.case.startswith("token-"):
            return oauth.decipher(self.status, self.headers, self.body, now=NOW)
        text = api.decipher(self.status, self.headers, self.body, now=NOW, cursor=cursor)
        facts = next(facts for name, facts in RESOURCES.items() if self.case.startswith(name))
        return api.page(text, facts) if facts.id_field else api.document(text, facts)


def load(case: str) -> Sample:
    folder = SAMPLES / case
    (head,) = folder.glob("*.json")
    return Sample(
        case, int(head.stem), json.loads(head.read_text()), (folder / "body").read_bytes()
    )


CASES = sorted(folder.name for folder in SAMPLES.iterdir())


def test_every_sample_is_expected_to_be_something() -> None:
    assert list(EXPECTED) == CASES


@pytest.mark.parametrize("case", CASES)
def test_a_sample_is_headers_in_lowercase_and_a_body(case: str) -> None:
    assert sorted(path.name for path in (SAMPLES / case).iterdir()) == [
        f"{load(case).status}.json",
        "body",
    ]
    assert all(name == name.lower() for name in load(case).headers)


@pytest.mark.parametrize("case", CASES)
def test_a_sample_is_understood(case: str) -> None:
    sample, expected = load(case), EXPECTED[case]
    match expected:
        case Read():
            page = sample.decipher()
            assert isinstance(page, Page)
            assert expected == Read(
                tuple((one.id, one.day.isoformat() if one.day else None) for one in page.records),
                tuple(misfit.reason for misfit in page.misfits),
                page.cursor,
            )
            bodies = [one.body for one in page.records] + [one.body for one in page.misfits]
            assert all(body.encode() in sample.body for body in bodies)
        case Granted():
            grant = sample.decipher()
            assert isinstance(grant, Grant)
            assert expected == Granted(grant.refresh is not None, grant.scopes)
            assert grant.access == Secret("made-up-access")
        case timedelta():
            with pytest.raises(RateLimited) as limited:
                sample.decipher()
            assert limited.value.retry_at == NOW + expected
        case _:
            with pytest.raises(ProviderError) as caught:
                sample.decipher()
            assert type(caught.value) is expected


@pytest.mark.parametrize(
    "case", [case for case in CASES if EXPECTED[case] is NotThere and case.startswith("cycle")]
)
def test_a_404_in_the_middle_of_a_walk_is_the_cursors(case: str) -> None:
    with pytest.raises(CursorRefused):
        load(case).decipher(Cursor(NEXT))


def test_a_second_name_is_the_sleeps() -> None:
    page = load("recovery-scored-and-pending").decipher()
    assert isinstance(page, Page)
    assert [record.alias for record in page.records] == [
        "ecfc6a15-4661-442f-a9a4-f160dd7afae8",
        "123e4567-e89b-12d3-a456-426614174000",
    ]


def test_the_same_workout_in_another_layout_has_the_same_digest() -> None:
    pages = [
        load(case).decipher()
        for case in ("workout-with-the-ids-of-v1", "workout-spread-over-lines")
    ]
    records = [page.records[0] for page in pages if isinstance(page, Page)]
    assert records[0].digest == records[1].digest
    assert records[0].body != records[1].body


def test_every_kind_of_record_has_a_sample() -> None:
    assert {name for name in RESOURCES if any(case.startswith(name) for case in CASES)} == {
        ResourceName(name.replace("_", "-")) for name in FACTS
    }
