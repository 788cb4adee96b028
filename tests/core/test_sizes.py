from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.sizes import (
    ENVELOPE,
    PROPERTY,
    ROW,
    columns,
    join,
    on_the_wire,
    row_fits,
    split,
)


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("", [0]),
        ("x" * (PROPERTY // 2), [PROPERTY // 2]),
        ("x" * PROPERTY, [PROPERTY]),
        ("x" * (PROPERTY + 1), [PROPERTY, 1]),
        ("x" * (2 * PROPERTY), [PROPERTY, PROPERTY]),
        ("\U0001f600" * (PROPERTY // 2), [PROPERTY]),
        ("x" + "\U0001f600" * (PROPERTY // 2), [PROPERTY - 1, 2]),
        ("\uffff" * PROPERTY, [PROPERTY]),
        ("\U00010000" * (PROPERTY // 2 + 1), [PROPERTY, 2]),
    ],
)
def test_a_text_is_cut_where_a_property_is_full(text: str, lengths: list[int]) -> None:
    assert [units(piece) for piece in split(text)] == lengths


def test_columns_are_numbered_and_joined_in_order() -> None:
    text = "a" * PROPERTY + "b" * PROPERTY + "c"

    row = columns("body", text)

    assert row == {"body": "a" * PROPERTY, "body_1": "b" * PROPERTY, "body_2": "c"}
    assert join("body", row) == text


@given(st.text(alphabet="aé\U0001f600", max_size=50), st.integers(1, 3_000))
def test_what_is_spread_over_columns_is_read_back(text: str, times: int) -> None:
    row = columns("body", text * times)

    assert join("body", row) == text * times
    assert all(units(piece) <= PROPERTY for piece in row.values())
    assert list(row)[:2] == ["body", "body_1"][: len(row)]


def test_half_a_surrogate_pair_is_one_unit() -> None:
    assert row_fits("\ud800" * (ROW // 2))


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ("x" * (ROW // 2), True),
        ("x" * (ROW // 2 + 1), False),
        ("\U0001f600" * (ROW // 4), True),
        ("\U0001f600" * (ROW // 4 + 1), False),
    ],
)
def test_a_row_takes_two_bytes_for_each_unit(body: str, *, fits: bool) -> None:
    assert row_fits(body) is fits


def test_escapes_count_on_the_wire() -> None:
    assert on_the_wire("é") == len(json.dumps("é")) + ENVELOPE == 8 + ENVELOPE
