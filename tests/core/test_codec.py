from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.codec import decode, encode, encode_bell
from shared.core.model import (
    Bell,
    ChunkJob,
    FinishJob,
    GrantId,
    Job,
    Lane,
    LeaveJob,
    LookJob,
    RecordId,
    Ref,
    ResourceName,
    RunId,
    StartJob,
)
from shared.errors import UnreadableMessage

NAMES = st.text(min_size=1, max_size=20)
COUNTS = st.integers(0, 10**9)
JOBS: st.SearchStrategy[Job] = st.one_of(
    st.builds(
        ChunkJob,
        ref=NAMES.map(Ref),
        resource=NAMES.map(ResourceName),
        run=NAMES.map(RunId),
        lane=st.sampled_from(Lane),
        attempt=COUNTS,
        waits=COUNTS,
    ),
    st.builds(
        FinishJob, ref=NAMES.map(Ref), grant=NAMES.map(GrantId), attempt=COUNTS, waits=COUNTS
    ),
    st.builds(
        StartJob,
        ref=NAMES.map(Ref),
        slot=st.datetimes(timezones=st.just(UTC)),
        attempt=COUNTS,
        waits=COUNTS,
    ),
    st.builds(
        LookJob,
        ref=NAMES.map(Ref),
        resource=NAMES.map(ResourceName),
        record=NAMES.map(RecordId),
        alias=st.booleans(),
        gone=st.booleans(),
        at=st.datetimes(timezones=st.just(UTC)),
        key=NAMES,
        looks=COUNTS,
        attempt=COUNTS,
        waits=COUNTS,
    ),
    st.builds(LeaveJob, ref=NAMES.map(Ref), attempt=COUNTS, waits=COUNTS),
)

#: As release 1 writes them.  A later form must still read these.
CHUNK = {
    "form": 1,
    "kind": "chunk",
    "ref": "r",
    "resource": "sleep",
    "run": "x",
    "lane": "manual",
    "attempt": 0,
    "waits": 2,
}
FINISH = {"form": 1, "kind": "finish", "ref": "r", "grant": "g", "attempt": 1, "waits": 0}
START = {
    "form": 1,
    "kind": "start",
    "ref": "r",
    "slot": "2026-11-22T09:00:00.000000Z",
    "attempt": 0,
    "waits": 0,
}
LOOK = {
    "form": 1,
    "kind": "look",
    "ref": "r",
    "resource": "recovery",
    "record": "s1",
    "alias": True,
    "gone": False,
    "at": "2026-11-22T11:30:00.250000Z",
    "key": "k",
    "looks": 1,
    "attempt": 0,
    "waits": 0,
}
LEAVE = {"form": 1, "kind": "leave", "ref": "r", "attempt": 3, "waits": 1}


@given(JOBS)
def test_a_job_reads_back_as_it_was(job: Job) -> None:
    assert decode(encode(job).encode()) == job


@pytest.mark.parametrize(
    ("doc", "job"),
    [
        (CHUNK, ChunkJob(Ref("r"), ResourceName("sleep"), RunId("x"), Lane.MANUAL, 0, 2)),
        (FINISH, FinishJob(Ref("r"), GrantId("g"), 1, 0)),
        (START, StartJob(Ref("r"), datetime(2026, 11, 22, 9, tzinfo=UTC))),
        (LEAVE, LeaveJob(Ref("r"), 3, 1)),
        (
            LOOK,
            LookJob(
                Ref("r"),
                ResourceName("recovery"),
                RecordId("s1"),
                alias=True,
                gone=False,
                at=datetime(2026, 11, 22, 11, 30, 0, 250_000, tzinfo=UTC),
                key="k",
                looks=1,
            ),
        ),
    ],
)
def test_the_first_form_stays_readable(doc: dict[str, Any], job: Job) -> None:
    assert decode(json.dumps(doc).encode()) == job
    assert json.loads(encode(job)) == doc


def test_a_bell_says_how_far_which_feed_has_got() -> None:
    bell = Bell(Ref("r"), ResourceName("sleep"), "0a1b2c3d", 42)

    assert json.loads(encode_bell(bell)) == {
        "form": 1,
        "ref": "r",
        "resource": "sleep",
        "generation": "0a1b2c3d",
        "seq": 42,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        json.dumps({**CHUNK, "form": 2}).encode(),
        json.dumps({**CHUNK, "kind": "else"}).encode(),
        json.dumps({**CHUNK, "kind": []}).encode(),
        json.dumps({**CHUNK, "lane": "fast"}).encode(),
        json.dumps({**CHUNK, "ref": ""}).encode(),
        json.dumps({**CHUNK, "run": 7}).encode(),
        json.dumps({**CHUNK, "attempt": -1}).encode(),
        json.dumps({**CHUNK, "attempt": True}).encode(),
        json.dumps({**CHUNK, "waits": "2"}).encode(),
        json.dumps({**CHUNK, "waits": 1.5}).encode(),
        json.dumps({**START, "slot": "tonight"}).encode(),
        json.dumps({**START, "slot": "2026-11-22T09:00:00"}).encode(),
        json.dumps({**START, "slot": 9}).encode(),
        json.dumps({**LOOK, "gone": 0}).encode(),
        json.dumps({**LOOK, "alias": "no"}).encode(),
        json.dumps({**LOOK, "at": "2026-11-22T11:30:00"}).encode(),
        json.dumps({**LOOK, "looks": -1}).encode(),
        *(
            json.dumps({k: v for k, v in doc.items() if k != name}).encode()
            for doc in (CHUNK, FINISH, START, LOOK, LEAVE)
            for name in doc
        ),
    ],
)
def test_what_is_not_a_job_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        decode(body)


def test_the_refusal_does_not_quote_the_message() -> None:
    with pytest.raises(UnreadableMessage) as caught:
        decode(b'{"form": 1, "kind": "canary"}')

    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nor_does_what_led_to_it() -> None:
    body = json.dumps({**CHUNK, "lane": "canary"}).encode()

    with pytest.raises(UnreadableMessage) as caught:
        decode(body)

    assert "canary" not in "".join(traceback.format_exception(caught.value))
