from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from shared.core.model import Listed, ProviderName, Ref
from shared.core.night import HEARD, SPREAD, UNREAD, delay, fresh, order, slot, turn
from tests.builders import PROVIDER

NINE = datetime(2026, 3, 31, 9, tzinfo=UTC)


def listed(ref: str, hours: float | None = None) -> Listed:
    """Return a connection that was synced ``hours`` before nine, or never."""
    return Listed(Ref(ref), PROVIDER, None if hours is None else NINE - timedelta(hours=hours))


@pytest.mark.parametrize(
    ("fired", "expected"),
    [
        pytest.param(NINE, NINE, id="on time"),
        pytest.param(NINE - timedelta(milliseconds=1), NINE, id="a little early"),
        pytest.param(NINE + timedelta(minutes=40), NINE, id="late"),
        pytest.param(NINE + timedelta(hours=1), NINE + timedelta(hours=1), id="an hour later"),
        pytest.param(NINE - timedelta(minutes=2), NINE - timedelta(hours=1), id="the hour before"),
    ],
)
def test_a_timer_finds_the_slot_that_it_was_set_for(fired: datetime, expected: datetime) -> None:
    assert slot(fired) == expected


def test_never_synced_first_then_stalest_then_by_ref() -> None:
    everyone = [
        listed("b", 24),
        listed("a", 24),
        listed("d"),
        listed("z", 900),
        listed("c"),
        listed("fresh", 0.5),
        listed("just", 1),
        listed("awake", -1),
    ]

    due = order(everyone, NINE)

    assert [one.ref for one in due] == ["c", "d", "z", "a", "b"]
    assert [turn(one) for one in due] == sorted(turn(one) for one in due)


def test_a_turn_names_nobody() -> None:
    assert turn(Listed(Ref("r"), ProviderName("canary"), None)) == " r"
    assert turn(listed("r", 0)) == "2026-03-31T09:00:00.000000Z r"


def test_everybody_waits_a_different_part_of_the_night() -> None:
    delays = [delay(place, of=500) for place in range(500)]

    assert delays[0] == timedelta(0)
    assert {later - sooner for sooner, later in pairwise(delays)} == {SPREAD / 500}
    assert delays[-1] < SPREAD


DAY, MS = timedelta(days=1), timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("synced", "heard", "expected"),
    [
        pytest.param(NINE - DAY, NINE - DAY, True, id="told of yesterday"),
        pytest.param(NINE - DAY, NINE + timedelta(hours=1), True, id="told of just now"),
        pytest.param(NINE - DAY, NINE - HEARD, True, id="told of just in time"),
        pytest.param(NINE - DAY, NINE - HEARD - MS, False, id="told of too long ago"),
        pytest.param(NINE - DAY, None, False, id="never told of"),
        pytest.param(None, NINE, False, id="never synced"),
        pytest.param(NINE - UNREAD + MS, NINE, True, id="read just in time"),
        pytest.param(NINE - UNREAD, NINE, False, id="read too long ago"),
    ],
)
def test_who_is_told_of_may_sleep_on(
    synced: datetime | None, heard: datetime | None, *, expected: bool
) -> None:
    assert fresh(Listed(Ref("r"), PROVIDER, synced, heard), NINE) is expected


def test_who_is_told_of_is_read_every_third_night() -> None:
    synced, read = NINE - DAY, []
    for night in range(12):
        at = NINE + night * DAY
        if not fresh(Listed(Ref("r"), PROVIDER, synced, at - timedelta(hours=5)), at):
            # Turns come up to two hours after the slot.
            synced = at + SPREAD * (night % 2)
            read.append(night)

    assert read == [2, 5, 8, 11]
