from __future__ import annotations

import random
from collections import deque
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.budget import (
    BUCKETS,
    EPOCH,
    FLOORS,
    LONG_FLOORS,
    MARGIN,
    Budget,
    Meter,
    cap,
    close,
    fresh,
    learn,
    left,
    room_at,
    settle_limits,
    take,
)
from shared.core.model import Lane, Limit, Quota
from tests.builders import NOW

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
LIMITS = (Limit(100, MINUTE), Limit(10_000, DAY))
SECOND = timedelta(seconds=1)


def spend(budget: Budget, lane: Lane, times: int, now: datetime) -> tuple[Budget, int]:
    """Ask ``times`` times at once; return the budget and how many were reserved."""
    budget, answers = take(budget, [lane] * times, now)
    return budget, answers.count(None)


def a_quota(remaining: int, reset: float = 30, limits: tuple[Limit, ...] = LIMITS) -> Quota:
    return Quota(limits, limits[0], remaining, timedelta(seconds=reset))


def test_a_fresh_budget_has_all_that_the_limits_say() -> None:
    assert left(fresh(reversed(LIMITS)), NOW) == [100, 10_000]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lane", "granted"),
    [
        (Lane.AUTH, 100),
        (Lane.WEBHOOK, 98),
        (Lane.MANUAL, 98),
        (Lane.NIGHTLY, 92),
        (Lane.BACKFILL, 90),
    ],
)
def test_each_lane_leaves_its_floor_to_those_before_it(lane: Lane, granted: int) -> None:
    assert spend(fresh(LIMITS), lane, 150, NOW)[1] == granted


@pytest.mark.parametrize(
    ("lane", "granted"), [(Lane.AUTH, 50), (Lane.NIGHTLY, 45), (Lane.BACKFILL, 40)]
)
def test_the_day_leaves_more_to_those_who_wait(lane: Lane, granted: int) -> None:
    assert spend(fresh([Limit(50, DAY)]), lane, 60, NOW)[1] == granted


def test_the_bulk_lanes_stop_first_and_the_others_are_still_served() -> None:
    budget, _ = spend(fresh(LIMITS), Lane.BACKFILL, 200, NOW)

    assert spend(budget, Lane.BACKFILL, 1, NOW)[1] == 0
    assert spend(budget, Lane.NIGHTLY, 10, NOW)[1] == 2
    assert spend(budget, Lane.MANUAL, 20, NOW)[1] == 8
    assert spend(budget, Lane.AUTH, 20, NOW)[1] == 10


def test_of_those_who_ask_together_the_first_lanes_are_served_first() -> None:
    budget = fresh([Limit(3, MINUTE)])

    _, answers = take(budget, [Lane.BACKFILL, Lane.AUTH, Lane.NIGHTLY, Lane.AUTH], NOW)

    assert [answer is None for answer in answers] == [False, True, False, True]


def test_a_limit_of_one_still_lets_everyone_through() -> None:
    for lane in Lane:
        assert spend(fresh([Limit(1, MINUTE)]), lane, 2, NOW)[1] == 1


def test_who_is_refused_is_told_when_there_is_room() -> None:
    budget, _ = spend(fresh(LIMITS), Lane.BACKFILL, 89, NOW)
    budget, _ = spend(budget, Lane.BACKFILL, 1, NOW + 10 * SECOND)

    at = room_at(budget, Lane.BACKFILL, NOW + 20 * SECOND)

    assert NOW + MINUTE + MARGIN < at <= NOW + MINUTE + MARGIN + MINUTE / BUCKETS
    assert spend(budget, Lane.BACKFILL, 100, at - timedelta(milliseconds=1))[1] == 0
    assert spend(budget, Lane.BACKFILL, 100, at)[1] == 89


def test_a_day_that_is_spent_says_so_for_hours() -> None:
    budget, granted = spend(fresh([Limit(10_000, MINUTE), Limit(50, DAY)]), Lane.MANUAL, 80, NOW)

    assert granted == 49
    assert room_at(budget, Lane.MANUAL, NOW) > NOW + DAY


def test_a_closed_gate_is_closed_for_every_lane_until_it_opens() -> None:
    budget = close(close(fresh(LIMITS), NOW + 30 * SECOND), NOW + 10 * SECOND)

    for lane in Lane:
        assert room_at(budget, lane, NOW) == NOW + 30 * SECOND
        assert room_at(budget, lane, NOW + 30 * SECOND) <= NOW + 30 * SECOND


def test_what_is_over_is_forgotten() -> None:
    budget = fresh(LIMITS)
    for hour in range(60):
        budget, _ = spend(budget, Lane.AUTH, 50, NOW + timedelta(hours=hour))

    assert len(budget.meters[0].spent) == 1
    assert len(budget.meters[1].spent) == 25


def test_headers_lower_what_is_left_until_the_window_ends() -> None:
    budget, _ = spend(fresh(LIMITS), Lane.AUTH, 10, NOW)

    budget = learn(budget, LIMITS, a_quota(remaining=40), NOW)

    assert left(budget, NOW) == [40, 9_990]
    assert left(budget, NOW + 30 * SECOND) == [90, 9_990]


def test_headers_never_raise_what_is_left() -> None:
    budget, _ = spend(fresh(LIMITS), Lane.AUTH, 60, NOW)

    assert learn(budget, LIMITS, a_quota(remaining=99), NOW) == budget


def test_an_answer_that_is_overtaken_does_not_raise_what_another_has_lowered() -> None:
    budget = learn(fresh(LIMITS), LIMITS, a_quota(remaining=20), NOW)

    assert left(learn(budget, LIMITS, a_quota(remaining=50), NOW), NOW)[0] == 20
    assert left(learn(budget, LIMITS, a_quota(remaining=10), NOW), NOW)[0] == 10


def test_a_slow_answer_is_judged_by_when_it_was_asked_for() -> None:
    budget, _ = spend(fresh(LIMITS), Lane.AUTH, 80, NOW)
    later = NOW + MINUTE + 2 * SECOND

    budget = learn(budget, LIMITS, a_quota(remaining=20, reset=90), NOW + 59 * SECOND)

    assert left(budget, later) == [100, 9_920]


def test_the_day_window_of_an_answer_lowers_the_day() -> None:
    quota = Quota(LIMITS, LIMITS[1], 100, timedelta(hours=3))

    budget = learn(fresh(LIMITS), LIMITS, quota, NOW)

    assert left(budget, NOW) == [100, 100]
    assert room_at(budget, Lane.BACKFILL, NOW) == NOW + timedelta(hours=3)


def test_the_smaller_of_setting_and_header_holds_and_the_header_has_the_windows() -> None:
    said = (Limit(50, timedelta(seconds=12)), Limit(20_000, timedelta(hours=5)))
    quota = Quota(said, said[0], 49, SECOND)
    budget, _ = spend(fresh(LIMITS), Lane.AUTH, 30, NOW)

    budget = learn(budget, LIMITS, quota, NOW)

    assert [meter.limit for meter in budget.meters] == [
        Limit(50, timedelta(seconds=12)),
        Limit(10_000, timedelta(hours=5)),
    ]
    assert left(budget, NOW) == [20, 9_970]


def test_a_header_with_other_windows_than_ours_changes_no_limit() -> None:
    odd = (Limit(5, timedelta(seconds=7)),)

    budget = learn(fresh(LIMITS), LIMITS, Quota(odd, odd[0], 1, SECOND), NOW)

    assert budget == fresh(LIMITS)


def test_limits_that_change_keep_what_was_spent() -> None:
    budget, _ = spend(fresh(LIMITS), Lane.AUTH, 30, NOW)

    assert left(settle_limits(budget, [Limit(40, MINUTE), Limit(100, DAY)]), NOW) == [10, 70]
    assert left(settle_limits(fresh([LIMITS[0]]), LIMITS), NOW) == [100, 10_000]
    assert settle_limits(budget, LIMITS) is budget


def test_a_spent_limit_has_nothing_left() -> None:
    budget, _ = spend(fresh(LIMITS), Lane.AUTH, 100, NOW)

    assert left(budget, NOW) == [0, 9_900]


def test_limits_that_change_keep_each_windows_own_count() -> None:
    budget, _ = spend(fresh(LIMITS), Lane.AUTH, 30, NOW)
    budget, _ = spend(budget, Lane.AUTH, 4, NOW + 2 * MINUTE)
    budget, _ = spend(budget, Lane.AUTH, 6, NOW + 2 * MINUTE + SECOND)

    # Ten times the window, so that two of its buckets become one.
    wider = settle_limits(budget, [Limit(40, 10 * MINUTE), Limit(100, DAY)])

    assert left(wider, NOW + 3 * MINUTE) == [30, 60]


def test_settings_that_change_hold_for_a_stored_budget() -> None:
    budget, _ = spend(fresh(LIMITS), Lane.AUTH, 30, NOW)

    assert cap(budget, LIMITS) is budget
    assert left(cap(budget, [Limit(40, MINUTE), Limit(100, DAY)]), NOW) == [10, 70]
    assert left(cap(budget, [Limit(900, MINUTE), Limit(90_000, DAY)]), NOW) == [70, 9_970]
    assert left(cap(budget, [Limit(40, MINUTE)]), NOW) == [10]


def test_a_header_that_counts_less_than_we_do_withholds_nothing() -> None:
    meter = Meter(LIMITS[0], ((0, 5),))

    assert learn(Budget((meter,)), LIMITS[:1], a_quota(98, limits=LIMITS[:1]), EPOCH) == Budget(
        (meter,)
    )


def test_every_lane_has_a_floor() -> None:
    assert FLOORS.keys() == LONG_FLOORS.keys() == set(Lane)
    assert list(FLOORS.values()) == sorted(FLOORS.values())


class Fixed:
    """A provider that counts in fixed windows, which begin whenever they please."""

    def __init__(self, limit: Limit, phase: timedelta) -> None:
        self.limit, self.phase = limit, phase
        self.counts: dict[int, int] = {}

    def arrives(self, at: datetime) -> None:
        window = (at - EPOCH - self.phase) // self.limit.window
        self.counts[window] = self.counts.get(window, 0) + 1
        assert self.counts[window] <= self.limit.count


class Sliding:
    """A provider that counts in sliding windows."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.times: deque[datetime] = deque()

    def arrives(self, at: datetime) -> None:
        self.times.append(at)
        while self.times[0] <= at - self.limit.window:
            self.times.popleft()
        assert len(self.times) <= self.limit.count


@pytest.mark.parametrize("seed", range(30))
def test_no_window_of_any_kind_ever_sees_more_than_it_allows(seed: int) -> None:
    rng = random.Random(seed)
    limits = [Limit(rng.randrange(1, 40), MINUTE), Limit(rng.randrange(20, 200), 10 * MINUTE)]
    providers = [
        provider
        for limit in limits
        for provider in (Sliding(limit), Fixed(limit, rng.random() * limit.window))
    ]
    budget, now = fresh(limits), NOW
    arrivals = []
    for _ in range(400):
        now += timedelta(seconds=rng.choice([0, 0.01, 0.3, 2, 30]) * rng.random())
        budget, granted = spend(budget, rng.choice(list(Lane)), rng.randrange(1, 20), now)
        # On its way for as long as the margin covers.
        arrivals += [now + rng.random() * MARGIN * 0.9 for _ in range(granted)]
    for at in sorted(arrivals):
        for provider in providers:
            provider.arrives(at)


def test_all_that_is_allowed_is_spent_within_a_few_percent() -> None:
    budget, now, sent = fresh([Limit(100, MINUTE)]), NOW, 0
    while now < NOW + 100 * MINUTE:
        budget, granted = spend(budget, Lane.AUTH, 200, now)
        sent += granted
        now = room_at(budget, Lane.AUTH, now)

    assert sent >= 0.97 * 100 * 100


@given(st.lists(st.sampled_from(list(Lane)), max_size=30), st.integers(1, 20))
def test_whoever_is_told_a_time_finds_room_then_if_nobody_else_asks(
    lanes: list[Lane], count: int
) -> None:
    budget, answers = take(fresh([Limit(count, MINUTE)]), lanes, NOW)

    for lane, at in zip(lanes, answers, strict=True):
        if at is not None:
            assert at > NOW
            assert take(budget, [lane], at)[1] == [None]
