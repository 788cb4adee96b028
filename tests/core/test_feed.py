from __future__ import annotations

import json
import random
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.feed import Landed, Number, current, document, entry, fit, one_line
from shared.core.model import Deletion, Known, RecordId
from tests.builders import day

A, B = RecordId("a"), RecordId("b")
FIRST, SECOND = day("03-01"), day("03-02")


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        pytest.param([(FIRST, 0)], [1], id="the only one"),
        pytest.param([(FIRST, 0), (FIRST, 1)], [2], id="another content under the same date"),
        pytest.param([(FIRST, 0), (SECOND, 0)], [2], id="a newer date"),
        pytest.param([(SECOND, 0), (FIRST, 0)], [1], id="a late arrival"),
        pytest.param([(SECOND, 0), (FIRST, 9), (SECOND, 1)], [3], id="all of it"),
    ],
)
def test_only_the_last_state_of_a_record_is_current(
    states: list[tuple[datetime, int]], kept: list[int]
) -> None:
    numbers = [Number(seq, A, at, n) for seq, (at, n) in enumerate(states, 1)]
    known = [Known(at, n, "") for at, n in sorted(states)]

    assert [one.seq for one in current(numbers, {A: known})] == kept


def test_what_comes_later_in_the_feed_makes_it_stale() -> None:
    numbers = [Number(1, A, FIRST, 0), Number(2, B, FIRST, 0)]
    known = {A: [Known(FIRST, 0, "x"), Known(FIRST, 1, "", SECOND)], B: [Known(FIRST, 0, "y")]}

    assert [one.record for one in current(numbers, known)] == [B]


def test_what_was_erased_meanwhile_is_not_current() -> None:
    assert current([Number(1, A, FIRST, 0)], {}) == ()


@pytest.mark.parametrize(
    "body",
    ['{"a": 1.0, "b":1e3 ,"c" : "\\u00e9"}', '{"h":31.813562}', "[]", '  {"ñ": "😀"}  '],
)
def test_a_record_goes_in_as_it_is(body: str) -> None:
    text = entry(Landed(Number(7, RecordId('a"b'), FIRST, 0), SECOND, body))

    assert text.endswith(f',"record":{body}}}')
    assert json.loads(text) == {
        "id": 'a"b',
        "seq": 7,
        "updated_at": "2026-03-01T00:00:00.000000Z",
        "first_seen": "2026-03-02T00:00:00.000000Z",
        "record": json.loads(body),
    }


def test_a_deletion_says_since_when_and_how_we_know() -> None:
    assert json.loads(entry(Landed(Number(8, A, FIRST, 1), SECOND, Deletion(A, SECOND, "x")))) == {
        "id": "a",
        "seq": 8,
        "updated_at": "2026-03-01T00:00:00.000000Z",
        "deleted_at": "2026-03-02T00:00:00.000000Z",
        "evidence": "x",
    }


def test_a_line_is_one_line_and_says_the_same() -> None:
    text = '{\r\n  "a": "\\n",\n  "b": 1.0\n}'

    assert one_line(text) == '{    "a": "\\n",   "b": 1.0 }'
    assert json.loads(one_line(text)) == json.loads(text)


@pytest.mark.parametrize("entries", [[], ['{"a":1.0}'], ['{"a":1.0}', '{"b":"é"}']])
def test_a_document_says_where_to_go_on(entries: list[str]) -> None:
    text = document(entries, resource="sleep", generation="g", cursor=9, more=True)

    assert f'"records":[{",".join(entries)}]' in text
    assert json.loads(text) == {
        "resource": "sleep",
        "generation": "g",
        "records": [json.loads(one) for one in entries],
        "cursor": 9,
        "more": True,
    }


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(0, 100), st.randoms())
def test_the_first_that_fit_are_kept_however_they_come(
    sizes: list[int], most: int, dice: random.Random
) -> None:
    entries = [(seq, "ñ" * size) for seq, size in enumerate(sizes, 1)]
    total = 0
    expected: list[tuple[int, str]] = []
    for seq, text in entries:
        total += len(text.encode())
        if expected and total > most:
            break
        expected.append((seq, text))
    shuffled = dice.sample(entries, len(entries))

    kept, left_out = fit(shuffled, most)

    assert list(kept) == expected
    assert left_out == (len(expected) + 1 if len(expected) < len(entries) else None)
