"""What a strap makes of a night, a day or a workout."""

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from dev.simulator.members import Document, Resource

#: What can be scored again a little differently, by how much, and between which bounds.
_MOVED: dict[Resource, tuple[tuple[str, float, float], ...]] = {
    "cycle": (("strain", 0.0, 21.0), ("kilojoule", 0.0, 50_000.0)),
    "recovery": (("recovery_score", 0.0, 100.0), ("hrv_rmssd_milli", 5.0, 250.0)),
    "sleep": (
        ("sleep_performance_percentage", 0.0, 100.0),
        ("sleep_consistency_percentage", 0.0, 100.0),
    ),
    "workout": (("strain", 0.0, 21.0), ("kilojoule", 0.0, 50_000.0)),
}


@dataclass(frozen=True, slots=True)
class Body:
    """What differs between people for good."""

    resting_heart_rate: float
    max_heart_rate: int
    hrv: float
    #: Only straps from 4.0 on measure oxygen and skin temperature.
    has_new_strap: bool
    #: Accounts from the time of v1 keep showing its numbers.
    keeps_v1_ids: bool


class Scorer:
    """Scores one body."""

    def __init__(self, rng: Random, body: Body) -> None:
        """Throw the dice of ``rng`` for ``body``."""
        self._rng = rng
        self._body = body

    def cycle(self, strain: float) -> Document:
        """Score a day."""
        rng = self._rng
        return {
            "strain": float32(strain),
            "kilojoule": float32(6_000 + strain * rng.uniform(250, 420)),
            "average_heart_rate": round(self._body.resting_heart_rate + rng.uniform(8, 24)),
            "max_heart_rate": min(self._body.max_heart_rate, round(118 + strain * 4)),
        }

    def sleep(self, start: datetime, end: datetime, *, is_new: bool) -> Document:
        """Score a night or a nap."""
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
            ("respiratory_rate", float32(rng.uniform(12.5, 18.5))),
            ("sleep_performance_percentage", performance),
            ("sleep_consistency_percentage", float(rng.randint(45, 98))),
            ("sleep_efficiency_percentage", round(asleep / in_bed * 100, 8)),
        ):
            self.optional(score, name, value, odds=odds)
        return score

    def recovery(self, *, is_new: bool) -> Document:
        """Score what a night has made good."""
        rng = self._rng
        form = rng.uniform(-1, 1)
        score: Document = {
            "user_calibrating": is_new,
            "recovery_score": float(round(58 + form * 38)),
            "resting_heart_rate": float(round(self._body.resting_heart_rate - form * 5)),
            "hrv_rmssd_milli": float32(self._body.hrv * (1 + form * 0.35)),
        }
        odds = 0.06 if self._body.has_new_strap else 1.0
        self.optional(score, "spo2_percentage", float32(rng.uniform(93, 99.5)), odds=odds)
        self.optional(score, "skin_temp_celsius", round(rng.uniform(32.4, 35.2), 1), odds=odds)
        return score

    def workout(self, start: datetime, end: datetime, *, has_way: bool) -> Document:
        """Score an effort; one with a way may have its length and height as well."""
        rng = self._rng
        length = _millis(end - start)
        strain = rng.uniform(3, 17)
        average = round(98 + strain * 3.2)
        percent = 100.0 if rng.random() < 0.8 else round(rng.uniform(60, 99.9), 2)
        weights = [rng.random() + 0.05 for _ in range(6)]
        zones = [int(length * percent / 100 * weight / sum(weights)) for weight in weights]
        score: Document = {
            "strain": round(strain, 4),
            "average_heart_rate": average,
            "max_heart_rate": min(self._body.max_heart_rate, average + rng.randint(10, 35)),
            "kilojoule": float32(length / 60_000 * rng.uniform(20, 50)),
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
                self.optional(score, name, value, odds=0.1)
        elif rng.random() < 0.2:
            score["distance_meter"] = None
        return score

    def of(self, resource: Resource, start: datetime, end: datetime) -> Document:
        """Score whatever it is, for somebody who is known by now."""
        match resource:
            case "cycle":
                return self.cycle(self._rng.uniform(4, 19))
            case "recovery":
                return self.recovery(is_new=False)
            case "sleep":
                return self.sleep(start, end, is_new=False)
            case "workout":
                return self.workout(start, end, has_way=False)

    def again(self, resource: Resource, score: Document) -> Document:
        """Score again: never quite the same."""
        moved = dict(score)
        for name, lowest, highest in _MOVED[resource]:
            value = score.get(name)
            if value is not None:
                step = self._rng.uniform(0.02, 0.08) * (highest if highest <= 100 else value)
                up = value + step <= highest and (value - step < lowest or self._rng.random() < 0.5)
                moved[name] = round(value + step if up else max(lowest, value - step), 2)
        if resource == "sleep":
            # Always there, so that even a score without any percentage changes.
            stages = score["stage_summary"]
            moved["stage_summary"] = stages | {"disturbance_count": stages["disturbance_count"] + 1}
        return moved

    def optional(self, document: Document, name: str, value: float, *, odds: float) -> None:
        """Set a field, or at ``odds`` leave it out or null: both occur, and mean the same."""
        roll = self._rng.random()
        if roll >= odds:
            document[name] = value
        elif roll < odds / 2:
            document[name] = None


def unscored(document: Document, roll: float) -> None:
    """Leave a document without a score: absent, or null."""
    if roll < 0.3:
        document["score"] = None


def corrected(score: Document, name: str, points: float) -> Document:
    """Move a percentage by ``points``, where the score has it."""
    value = score.get(name)
    if value is None or points == 0:
        return score
    return score | {name: float(round(min(100.0, max(0.0, value + points)), 1))}


def float32(value: float) -> float:
    """Give what is left of ``value`` in the 32 bits that WHOOP says it has."""
    narrow: float = struct.unpack("f", struct.pack("f", value))[0]
    return narrow


def _millis(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)
