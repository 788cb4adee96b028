"""Decide whether a request may be sent: sliding windows, lanes with floors, and a gate.

Every request is counted before it is sent, for a little longer than the provider's window.  In
any stretch as long as that window there are then at most as many as the provider allows, whether
it counts in fixed windows or in sliding ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from operator import sub

from shared.core.model import Lane, Limit, Quota

#: Buckets in a window: a quarter of a second of a minute, six minutes of a day.
BUCKETS = 240
#: How much longer than the provider we count.  It covers the way from the reservation to the
#: provider, and what is left of the difference between our hosts' clocks.
MARGIN = timedelta(seconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: The share of a window that a lane leaves free for the lanes before it.
FLOORS = {
    Lane.AUTH: 0.0,
    Lane.WEBHOOK: 0.02,
    Lane.MANUAL: 0.02,
    Lane.NIGHTLY: 0.08,
    Lane.BACKFILL: 0.1,
}
#: Windows as long as this are days: there, the bulk lanes leave more to those who wait.
LONG = timedelta(hours=1)
LONG_FLOORS = {**FLOORS, Lane.NIGHTLY: 0.1, Lane.BACKFILL: 0.2}


@dataclass(frozen=True, slots=True)
class Meter:
    """What was spent under one limit, in buckets that are numbered from the epoch."""

    limit: Limit
    spent: tuple[tuple[int, int], ...] = ()
    #: What the provider counts and we do not: somebody else uses the same quota.
    withheld: int = 0
    withheld_until: datetime = EPOCH


@dataclass(frozen=True, slots=True)
class Budget:
    """Everything spent at one provider, and until when nothing may be spent at all."""

    meters: tuple[Meter, ...]
    closed_until: datetime = EPOCH


def fresh(limits: Sequence[Limit]) -> Budget:
    """Return a budget of which nothing is spent; shorter windows first."""
    return Budget(tuple(Meter(limit) for limit in sorted(limits, key=_window)))


def take(
    budget: Budget, lanes: Sequence[Lane], now: datetime
) -> tuple[Budget, list[datetime | None]]:
    """Reserve a request for each of ``lanes``, those who wait first.

    Returns the budget as it then is, and for each lane None where a request was reserved, or
    when there will be room for one.
    """
    answers: list[datetime | None] = [None] * len(lanes)
    for index in sorted(range(len(lanes)), key=lambda index: list(Lane).index(lanes[index])):
        at = room_at(budget, lanes[index], now)
        if at > now:
            answers[index] = at
        else:
            meters = tuple(_spend(meter, now) for meter in budget.meters)
            budget = replace(budget, meters=meters)
    return budget, answers


def room_at(budget: Budget, lane: Lane, now: datetime) -> datetime:
    """Say when ``lane`` may send a request; not after ``now`` means at once."""
    return max(
        [budget.closed_until, *(_free_at(meter, lane, now) for meter in budget.meters)],
        default=now,
    )


def left(budget: Budget, now: datetime) -> list[int]:
    """Return how many requests each limit still has, shorter windows first."""
    return [max(0, meter.limit.count - _used(meter, now)) for meter in budget.meters]


def close(budget: Budget, until: datetime) -> Budget:
    """Close the gate for everyone: the provider has said that it is enough."""
    return replace(budget, closed_until=max(budget.closed_until, until))


def settle_limits(budget: Budget, limits: Sequence[Limit]) -> Budget:
    """Take ``limits`` for the ones that hold, and keep what was spent."""
    ordered = sorted(limits, key=_window)
    if [meter.limit for meter in budget.meters] == ordered:
        return budget
    spent = [
        (meter.limit, _start(meter, bucket), count)
        for meter in budget.meters
        for bucket, count in meter.spent
    ]
    meters = []
    for place, limit in enumerate(ordered):
        former = budget.meters[place].limit if place < len(budget.meters) else None
        counts: Counter[int] = Counter()
        for source, at, count in spent:
            if source == former:
                counts[(at - EPOCH) // (limit.window / BUCKETS)] += count
        meters.append(Meter(limit, tuple(sorted(counts.items()))))
    return replace(budget, meters=tuple(meters))


def cap(budget: Budget, granted: Sequence[Limit]) -> Budget:
    """Hold a stored budget against the settings, which may have changed since.

    How long a window is, the provider knows better; a larger count holds once it has said so.
    """
    ours = sorted(granted, key=_window)
    if len(ours) != len(budget.meters):
        return settle_limits(budget, ours)
    return settle_limits(
        budget,
        [
            replace(meter.limit, count=min(meter.limit.count, limit.count))
            for meter, limit in zip(budget.meters, ours, strict=True)
        ],
    )


def learn(budget: Budget, granted: Sequence[Limit], quota: Quota, sent_at: datetime) -> Budget:
    """Correct the budget by what an answer says, which may only lower what is left.

    ``granted`` are the limits of the settings: the smaller of both holds, and the provider says
    how long its windows are.  ``sent_at`` is when the request was sent: what we had spent by
    then is more than the provider had counted, so that a difference is somebody else's doing.
    """
    said = sorted(quota.limits, key=_window)
    ours = sorted(granted, key=_window)
    if len(said) == len(ours):
        held = [
            Limit(min(one.count, other.count), other.window)
            for one, other in zip(ours, said, strict=True)
        ]
        budget = settle_limits(budget, held)
    return replace(budget, meters=tuple(_lower(meter, quota, sent_at) for meter in budget.meters))


def _lower(meter: Meter, quota: Quota, sent_at: datetime) -> Meter:
    if meter.limit.window != quota.nearest.window:
        return meter
    counted = quota.nearest.count - quota.remaining
    unknown = counted - _spent(meter, sent_at)
    until = sent_at + quota.reset
    if unknown <= (meter.withheld if sent_at < meter.withheld_until else 0):
        return meter
    return replace(meter, withheld=unknown, withheld_until=until)


def _free_at(meter: Meter, lane: Lane, now: datetime) -> datetime:
    allowed = meter.limit.count - _floor(meter, lane)
    used = _used(meter, now)
    if used < allowed:
        return now
    releases = [(_end(meter, bucket), count) for bucket, count in _counting(meter, now)]
    if now < meter.withheld_until:
        releases = sorted([*releases, (meter.withheld_until, meter.withheld)])
    left = accumulate((count for _, count in releases), sub, initial=used)
    times = [now, *(at for at, _ in releases)]
    return next(at for at, still in zip(times, left, strict=True) if still < allowed)


def _floor(meter: Meter, lane: Lane) -> int:
    floors = LONG_FLOORS if meter.limit.window >= LONG else FLOORS
    return min(meter.limit.count - 1, math.ceil(meter.limit.count * floors[lane]))


def _used(meter: Meter, at: datetime) -> int:
    return _spent(meter, at) + (meter.withheld if at < meter.withheld_until else 0)


def _spent(meter: Meter, at: datetime) -> int:
    return sum(count for _, count in _counting(meter, at))


def _counting(meter: Meter, at: datetime) -> list[tuple[int, int]]:
    """Return the buckets that still count, oldest first."""
    oldest = (at - EPOCH - meter.limit.window - MARGIN) // _width(meter)
    return [(bucket, count) for bucket, count in meter.spent if bucket >= oldest]


def _spend(meter: Meter, now: datetime, count: int = 1) -> Meter:
    bucket = (now - EPOCH) // _width(meter)
    spent = dict(_counting(meter, now))
    spent[bucket] = spent.get(bucket, 0) + count
    return replace(meter, spent=tuple(sorted(spent.items())))


def _width(meter: Meter) -> timedelta:
    return meter.limit.window / BUCKETS


def _start(meter: Meter, bucket: int) -> datetime:
    return EPOCH + bucket * _width(meter)


def _end(meter: Meter, bucket: int) -> datetime:
    """Return when what was spent in ``bucket`` no longer counts."""
    # From the bucket's end, because it may have been spent in its last moment.
    return _start(meter, bucket + 1) + meter.limit.window + MARGIN


def _window(limit: Limit) -> timedelta:
    return limit.window
