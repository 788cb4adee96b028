"""Make up a member: who they are, how they sleep and train, and what their strap made of it."""

import struct
import unicodedata
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from dev.simulator.members import Document, Member, Record, Resource, Revision
from dev.simulator.moments import to_millis, written

#: Nothing changes for somebody who starts to read a new world and is done within this time.
QUIET = timedelta(hours=1)
#: Far more than anyone has worn a strap, and dates still fit the calendar.
MAX_DAYS = 20_000

_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)

#: The first nights with a new strap.
_CALIBRATION_NIGHTS = 4
#: WHOOP promised v1 ids and sport ids until here only.
_V1_ENDS = datetime(2025, 9, 1, tzinfo=UTC)

_HOMES = (1, 1, 0, -5, -6, -3, 5.5)  # hours east of Greenwich
_TRIPS = (-6, -3, 3, 5.5)
_FIRST_NAMES = ("Lucía", "Martín", "Begoña", "Íker", "Sofía", "Hugo", "Zoë", "Andrés", "Noa")
_LAST_NAMES = ("Núñez", "García", "Muñoz", "Peña", "Ortega", "Sáenz", "Ibáñez", "Vidal")

#: What WHOOP calls them, with its v1 number and whether the way there is measured.
_SPORTS = (
    ("running", 0, True),
    ("cycling", 1, True),
    ("weightlifting", 45, False),
    ("functional-fitness", 48, False),
    ("mountain-biking", 57, True),
    ("weightlifting_msk", 123, False),
    ("hot_tub", 0, False),
    ("activity", -1, False),
)


@dataclass(frozen=True, slots=True)
class _Body:
    """What differs between people for good."""

    resting_heart_rate: float
    max_heart_rate: int
    hrv: float
    #: Only straps from 4.0 on measure oxygen and skin temperature.
    has_new_strap: bool
    #: Accounts from the time of v1 keep showing its numbers.
    keeps_v1_ids: bool


@dataclass(frozen=True, slots=True)
class _Day:
    """From one bedtime to the next; the newest one has no ``until`` yet."""

    bed: datetime
    wake: datetime
    until: datetime | None
    offset: timedelta
    cycle_id: int
    #: How many days lie between this one and the newest.
    back: int
    #: How many came before.
    nth: int


@dataclass(frozen=True, slots=True)
class _Nap:
    day: _Day
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class _Effort:
    day: _Day
    start: datetime
    end: datetime


def somebody(
    rng: Random, *, seed: int, index: int, now: datetime, days: int, counts: Mapping[str, int]
) -> Member:
    """Make up the ``index``-th member, with ``days`` days up to ``now``.

    ``counts`` forces the number of records of a resource.
    """
    _check(days, counts)
    return _Author(rng, seed=seed, index=index, now=now).write(days, counts)


def _check(days: int, counts: Mapping[str, int]) -> None:
    if not 0 <= days <= MAX_DAYS:
        raise ValueError(f"days must be between 0 and {MAX_DAYS}")
    allowed = {"cycle", "recovery", "sleep", "workout", "body_measurement"}
    if unknown := sorted(set(counts) - allowed):
        raise ValueError(f"no such collection: {', '.join(unknown)}")
    for name, count in counts.items():
        if not 0 <= count <= (1 if name == "body_measurement" else MAX_DAYS):
            raise ValueError(f"{name} cannot have {count} records")


class _Author:
    """Writes one member's life.  Every throw of the dice happens in a fixed order."""

    def __init__(self, rng: Random, *, seed: int, index: int, now: datetime) -> None:
        self._rng = rng
        self._seed = seed
        self._index = index
        self._now = to_millis(now)
        self._user_id = 10_000_000 + seed % 1000 * 100_000 + index
        self._v1_id = 1_000_000_000 + index * 100_000
        self._body = _Body(
            resting_heart_rate=rng.uniform(44, 66),
            max_heart_rate=rng.randint(176, 202),
            hrv=rng.uniform(35, 120),
            has_new_strap=index % 5 != 4,
            keeps_v1_ids=index % 4 == 3,
        )

    def write(self, days: int, counts: Mapping[str, int]) -> Member:
        first, last = self._rng.choice(_FIRST_NAMES), self._rng.choice(_LAST_NAMES)
        body = {
            "height_meter": round(self._rng.uniform(1.55, 1.98), 4),
            "weight_kilogram": _float32(self._rng.uniform(50, 105)),
            "max_heart_rate": self._body.max_heart_rate,
        }
        return Member(
            user_id=self._user_id,
            email=f"{_ascii(first)}.{_ascii(last)}.{self._index}@example.com",
            first_name=first,
            last_name=last,
            days=days,
            body=body if counts.get("body_measurement", 1) else None,
            records=self._records(days, counts),
        )

    def _records(self, days: int, counts: Mapping[str, int]) -> dict[Resource, tuple[Record, ...]]:
        # Efforts and naps need a day that is over to be fitted into.
        crowded = 2 if counts.get("workout") or counts.get("sleep") else 0
        lived = self._days(max(days, counts.get("cycle", 0), counts.get("recovery", 0), crowded))

        cycles: list[Record] = []
        sleeps: list[Record] = []
        recoveries: list[Record] = []
        slept = _newest(lived, min(counts.get("sleep", days), len(lived)))
        recovered = _newest(lived, counts.get("recovery", days))
        cycled = _newest(lived, counts.get("cycle", days))
        forced = "sleep" in counts or "recovery" in counts
        for day in lived:
            strap_off = self._rng.random() < 0.03 and not forced and self._may_be_odd(day)
            cycle = self._cycle(day, strap_off=strap_off)
            sleep, recovery = self._night(day)
            cycles += [cycle] if day in cycled else []
            sleeps += [sleep] if day in slept and not strap_off else []
            recoveries += [recovery] if day in recovered and not strap_off else []

        within = _newest(lived, days)
        naps, efforts = self._activities(lived, within, counts)
        sleeps += [self._nap(nap) for nap in naps]
        workouts = [self._workout(effort) for effort in efforts]
        return {
            "cycle": tuple(cycles),
            "recovery": tuple(recoveries),
            "sleep": tuple(sleeps),
            "workout": tuple(workouts),
        }

    # Time

    def _days(self, count: int) -> list[_Day]:
        """Lay out ``count`` days, oldest first."""
        rng = self._rng
        home = timedelta(hours=_HOMES[self._index % len(_HOMES)])
        away = timedelta(hours=rng.choice(_TRIPS))
        first_away, nights_away = rng.randint(3, 6), rng.randint(3, 7)

        # Up by 9:42 at the latest and scored a quarter of an hour later: from 10:00 on, the
        # newest night is today's.
        local = self._now + home
        newest = local.date() - (timedelta() if local.hour >= 10 else _DAY)

        nights: list[tuple[datetime, datetime, timedelta]] = []
        for back in reversed(range(count)):
            travels = count >= 14 and first_away <= back < first_away + nights_away
            offset = home + (away if travels else timedelta())
            midnight = datetime.combine(newest, datetime.min.time(), UTC) - back * _DAY - offset
            bed = to_millis(midnight + rng.uniform(-2, 0.7) * _HOUR)
            nights.append((bed, to_millis(bed + rng.uniform(6.2, 9) * _HOUR), offset))

        # Beyond int32 on purpose: ids are int64, and live ones are half-way there.
        cycle_id = 2_147_400_000 + self._seed % 1000 * 1_000_000_000 + self._index * 1_000_000
        lived: list[_Day] = []
        for nth, (bed, wake, offset) in enumerate(nights):
            cycle_id += rng.randint(1, 9)
            until = nights[nth + 1][0] if nth + 1 < count else None
            lived.append(_Day(bed, wake, until, offset, cycle_id, count - 1 - nth, nth))
        return lived

    def _activities(
        self, lived: Sequence[_Day], within: set[_Day], counts: Mapping[str, int]
    ) -> tuple[list[_Nap], list[_Effort]]:
        rng = self._rng
        over = [day for day in lived if day.until]
        extra_naps = counts.get("sleep", 0) - len(lived)
        nap_shares = _shares(max(0, extra_naps), over)
        effort_shares = _shares(counts.get("workout", 0), over)

        naps: list[_Nap] = []
        efforts: list[_Effort] = []
        for day in lived:
            begin, end = day.wake + _HOUR, (day.until or self._now) - _HOUR
            natural_nap = int(rng.random() < 0.12)
            natural_efforts = rng.choices((0, 1, 2), (35, 50, 15))[0]
            if end - begin < 2 * _HOUR or day not in within:
                natural_nap, natural_efforts = 0, 0
            nap_count = nap_shares.get(day, 0) if "sleep" in counts else natural_nap
            effort_count = effort_shares.get(day, 0) if "workout" in counts else natural_efforts

            order = [True] * nap_count + [False] * effort_count
            rng.shuffle(order)
            for slot, is_nap in enumerate(order):
                room = (end - begin) / len(order)
                natural = rng.uniform(20, 95) * _MINUTE
                length = min(natural, 0.8 * room)
                start = to_millis(begin + slot * room + rng.random() * (room - length) * 0.9)
                stop = to_millis(start + length)
                if is_nap:
                    naps.append(_Nap(day, start, stop))
                else:
                    efforts.append(_Effort(day, start, stop))
        return naps, efforts

    def _later(self, moment: datetime) -> datetime:
        """Keep the first hour still: what would happen in it happens an hour later."""
        moment = to_millis(moment)
        return moment + QUIET if self._now < moment <= self._now + QUIET else moment

    def _may_be_odd(self, day: _Day) -> bool:
        return day.back > 0 and day.nth >= _CALIBRATION_NIGHTS and not self._is_pending(day)

    # Cycles

    def _cycle(self, day: _Day, *, strap_off: bool) -> Record:
        rng = self._rng
        created = to_millis(day.wake + rng.uniform(2, 12) * _MINUTE)
        unscorable = strap_off or (rng.random() < 0.02 and self._may_be_odd(day))
        document: Document = {
            "id": day.cycle_id,
            "user_id": self._user_id,
            "created_at": written(created),
            "updated_at": "",
            "start": written(day.bed),
            "end": written(day.until) if day.until else None,
            "timezone_offset": _offset(day.offset),
            "score_state": "UNSCORABLE" if unscorable else "SCORED",
        }
        if day.until is None and self._index % 2:
            del document["end"]
        strain = rng.uniform(4, 19)
        steps = rng.randint(1_500, 19_000)
        score = self._cycle_score(strain)
        self._optional(document, "step_count", steps, odds=0.3 if day.until else 0.8)

        if day.until:
            # Closed once the next night is over and understood.
            updated = to_millis(day.until + rng.uniform(9.0, 9.15) * _HOUR)
            updated = min(updated, self._now)
            changes = [(updated, strain)]
        else:
            # The day goes on: strain only ever rises until the next bedtime.
            updated = to_millis(created + (self._now - created) * rng.uniform(0.5, 0.95))
            rises = [self._now + hours * _HOUR for hours in (2, 4, 6)]
            changes = [
                (updated, strain),
                *((at, strain + 0.5 * n) for n, at in enumerate(rises, 1)),
            ]

        revisions: list[Revision] = []
        for at, risen in changes:
            shown = document | {"updated_at": written(at)}
            if unscorable:
                self._unscored(shown, rng.random())
            else:
                shown["score"] = score | {"strain": _float32(risen)}
            revisions.append(Revision(at, day.bed, day.until, shown))
        return Record(str(day.cycle_id), tuple(revisions))

    def _cycle_score(self, strain: float) -> Document:
        rng = self._rng
        return {
            "strain": _float32(strain),
            "kilojoule": _float32(6_000 + strain * rng.uniform(250, 420)),
            "average_heart_rate": round(self._body.resting_heart_rate + rng.uniform(8, 24)),
            "max_heart_rate": min(self._body.max_heart_rate, round(118 + strain * 4)),
        }

    # Nights

    def _night(self, day: _Day) -> tuple[Record, Record]:
        """Write a night's sleep, and the recovery that it makes."""
        rng = self._rng
        created = to_millis(day.wake + rng.uniform(2, 12) * _MINUTE)
        scored = to_millis(created + rng.uniform(5, 240) * _SECOND)
        roll = rng.random()
        waits = rng.uniform(2, 5) * _HOUR
        revised = self._later(scored + rng.uniform(1, 4) * _DAY)

        sleep = self._sleep(day.bed, day.wake, day, created)
        sleep_id = sleep["id"]
        recovery: Document = {
            "cycle_id": day.cycle_id,
            "sleep_id": sleep_id,
            "user_id": self._user_id,
            "created_at": written(created + _SECOND),
            "updated_at": "",
            "score_state": "SCORED",
        }
        slept = self._sleep_score(day.bed, day.wake, is_new=day.nth < _CALIBRATION_NIGHTS)
        rested = self._recovery_score(day)
        unscored_form = rng.random()

        # What becomes of it: (from when, state, how many points the score was corrected by)
        if self._is_pending(day):
            story = [(scored, "PENDING_SCORE", 0.0), (self._now + waits, "SCORED", 0.0)]
        elif self._may_be_odd(day) and roll < 0.04:
            story = [(scored, "UNSCORABLE", 0.0)]
        elif roll > 0.92:
            story = [(scored, "SCORED", 0.0), (revised, "SCORED", rng.uniform(-4, 4))]
        else:
            story = [(scored, "SCORED", 0.0)]

        sleeps: list[Revision] = []
        recoveries: list[Revision] = []
        for moment, state, points in story:
            at = to_millis(moment)
            for document, score, corrected, revisions in (
                (sleep, slept, "sleep_performance_percentage", sleeps),
                (recovery, rested, "recovery_score", recoveries),
            ):
                shown = document | {"updated_at": written(at), "score_state": state}
                if state == "SCORED":
                    shown["score"] = _corrected(score, corrected, points)
                else:
                    self._unscored(shown, unscored_form)
                revisions.append(Revision(at, day.bed, day.wake, shown))
        return Record(sleep_id, tuple(sleeps)), Record(str(day.cycle_id), tuple(recoveries))

    def _is_pending(self, day: _Day) -> bool:
        """Leave every third member's newest night unscored, and another third's of days ago."""
        return (self._index % 3 == 1 and day.back == 0) or (self._index % 3 == 2 and day.back == 5)

    def _nap(self, nap: _Nap) -> Record:
        rng = self._rng
        created = to_millis(nap.end + rng.uniform(2, 12) * _MINUTE)
        at = to_millis(created + rng.uniform(5, 240) * _SECOND)
        document = self._sleep(nap.start, nap.end, nap.day, created) | {
            "nap": True,
            "updated_at": written(at),
        }
        document["score"] = self._sleep_score(nap.start, nap.end, is_new=rng.random() < 0.5)
        return Record(document["id"], (Revision(at, nap.start, nap.end, document),))

    def _sleep(self, start: datetime, end: datetime, day: _Day, created: datetime) -> Document:
        document: Document = {
            "id": self._uuid(),
            "cycle_id": day.cycle_id,
            "user_id": self._user_id,
            "created_at": written(created),
            "updated_at": "",
            "start": written(start),
            "end": written(end),
            "timezone_offset": _offset(day.offset),
            "nap": False,
            "score_state": "SCORED",
        }
        self._v1(document, start)
        return document

    def _sleep_score(self, start: datetime, end: datetime, *, is_new: bool) -> Document:
        rng = self._rng
        in_bed = _millis(end - start)
        awake = round(in_bed * rng.uniform(0.03, 0.12))
        unknown = round(in_bed * 0.01) if rng.random() < 0.1 else 0
        asleep = in_bed - awake - unknown
        deep, rem = round(asleep * rng.uniform(0.14, 0.28)), round(asleep * rng.uniform(0.15, 0.3))
        need = {
            "baseline_milli": rng.randint(26_000_000, 29_500_000),
            "need_from_sleep_debt_milli": rng.randint(0, 4_000_000),
            "need_from_recent_strain_milli": rng.randint(0, 1_500_000),
            "need_from_recent_nap_milli": -rng.randint(0, 2_400_000) if rng.random() < 0.1 else 0,
        }
        score: Document = {
            "stage_summary": {
                "total_in_bed_time_milli": in_bed,
                "total_awake_time_milli": awake,
                "total_no_data_time_milli": unknown,
                "total_light_sleep_time_milli": asleep - deep - rem,
                "total_slow_wave_sleep_time_milli": deep,
                "total_rem_sleep_time_milli": rem,
                "sleep_cycle_count": asleep // 5_400_000,
                "disturbance_count": rng.randint(0, 18),
            },
            "sleep_needed": need,
        }
        # WHOOP may leave these four out although the night is scored, for new members above all.
        odds = 0.9 if is_new else 0.05
        performance = float(min(100, round(asleep / sum(need.values()) * 100)))
        for name, value in (
            ("respiratory_rate", _float32(rng.uniform(12.5, 18.5))),
            ("sleep_performance_percentage", performance),
            ("sleep_consistency_percentage", float(rng.randint(45, 98))),
            ("sleep_efficiency_percentage", round(asleep / in_bed * 100, 8)),
        ):
            self._optional(score, name, value, odds=odds)
        return score

    def _recovery_score(self, day: _Day) -> Document:
        rng = self._rng
        form = rng.uniform(-1, 1)
        score: Document = {
            "user_calibrating": day.nth < _CALIBRATION_NIGHTS,
            "recovery_score": float(round(58 + form * 38)),
            "resting_heart_rate": float(round(self._body.resting_heart_rate - form * 5)),
            "hrv_rmssd_milli": _float32(self._body.hrv * (1 + form * 0.35)),
        }
        odds = 0.06 if self._body.has_new_strap else 1.0
        self._optional(score, "spo2_percentage", _float32(rng.uniform(93, 99.5)), odds=odds)
        self._optional(score, "skin_temp_celsius", round(rng.uniform(32.4, 35.2), 1), odds=odds)
        return score

    # Workouts

    def _workout(self, effort: _Effort) -> Record:
        rng = self._rng
        sport, sport_id, has_way = rng.choice(_SPORTS)
        synced = rng.uniform(4, 20) * _HOUR if rng.random() < 0.08 else timedelta()
        created = effort.end + rng.uniform(1, 15) * _MINUTE + synced
        # Everything that happened has been told by now.
        created = to_millis(min(created, self._now - 10 * _MINUTE))
        at = to_millis(created + rng.uniform(2, 300) * _SECOND)
        document: Document = {
            "id": self._uuid(),
            "user_id": self._user_id,
            "created_at": written(created),
            "updated_at": written(at),
            "start": written(effort.start),
            "end": written(effort.end),
            "timezone_offset": _offset(effort.day.offset),
            "sport_name": sport,
            "score_state": "SCORED",
        }
        if self._v1(document, effort.start):
            document["sport_id"] = sport_id
        score = self._workout_score(effort, has_way=has_way)
        if rng.random() < 0.03:
            document["score_state"] = "UNSCORABLE"
            self._unscored(document, rng.random())
        else:
            document["score"] = score
        return Record(document["id"], (Revision(at, effort.start, effort.end, document),))

    def _workout_score(self, effort: _Effort, *, has_way: bool) -> Document:
        rng = self._rng
        length = _millis(effort.end - effort.start)
        strain = rng.uniform(3, 17)
        average = round(98 + strain * 3.2)
        percent = 100.0 if rng.random() < 0.8 else round(rng.uniform(60, 99.9), 2)
        weights = [rng.random() + 0.05 for _ in range(6)]
        zones = [int(length * percent / 100 * weight / sum(weights)) for weight in weights]
        score: Document = {
            "strain": round(strain, 4),
            "average_heart_rate": average,
            "max_heart_rate": min(self._body.max_heart_rate, average + rng.randint(10, 35)),
            "kilojoule": _float32(length / 60_000 * rng.uniform(20, 50)),
            "percent_recorded": percent,
            "zone_durations": {
                f"zone_{name}_milli": zone
                for name, zone in zip(
                    ("zero", "one", "two", "three", "four", "five"), zones, strict=True
                )
            },
        }
        if has_way:
            metres = length / 1000 * rng.uniform(2, 7)
            for name, value in (
                ("distance_meter", round(metres, 8)),
                ("altitude_gain_meter", round(rng.uniform(0, 400), 14)),
                ("altitude_change_meter", round(rng.uniform(-60, 60), 15)),
            ):
                self._optional(score, name, value, odds=0.1)
        elif rng.random() < 0.2:
            score["distance_meter"] = None
        return score

    # What documents have in common

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def _v1(self, document: Document, start: datetime) -> bool:
        """Give a record its number from v1, if it is of that time."""
        if start >= _V1_ENDS and not self._body.keeps_v1_ids:
            return False
        self._v1_id += 1
        document["v1_id"] = self._v1_id
        return True

    def _optional(self, document: Document, name: str, value: float, *, odds: float) -> None:
        """Set a field, or at ``odds`` leave it out or null: both occur, and mean the same."""
        roll = self._rng.random()
        if roll >= odds:
            document[name] = value
        elif roll < odds / 2:
            document[name] = None

    def _unscored(self, document: Document, roll: float) -> None:
        if roll < 0.3:
            document["score"] = None


def _newest(lived: Sequence[_Day], count: int) -> set[_Day]:
    return set(lived[max(0, len(lived) - count) :])


def _shares(total: int, days: Iterable[_Day]) -> dict[_Day, int]:
    """Deal ``total`` out to ``days`` as evenly as whole numbers go."""
    names = list(days)
    each, left = divmod(total, len(names) or 1)
    return {day: each + (nth < left) for nth, day in enumerate(names)}


def _corrected(score: Document, name: str, points: float) -> Document:
    """Move a percentage by ``points``, where the score has it."""
    value = score.get(name)
    if value is None or points == 0:
        return score
    return score | {name: float(round(min(100.0, max(0.0, value + points)), 1))}


def _float32(value: float) -> float:
    """Give what is left of ``value`` in the 32 bits that WHOOP says it has."""
    narrow: float = struct.unpack("f", struct.pack("f", value))[0]
    return narrow


def _millis(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)


def _offset(offset: timedelta) -> str:
    """Write an offset as ``+hh:mm`` or ``-hh:mm``, and none at all as Z."""
    minutes = offset // _MINUTE
    if minutes == 0:
        return "Z"
    return f"{'+' if minutes > 0 else '-'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore")
    return plain.decode().lower()
