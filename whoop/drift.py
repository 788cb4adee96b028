"""Notice what WHOOP's records hold that its documents did not name when this was written.

Nothing is done about such a field, because records are kept as they come.  Counting it tells a
person that there is something new to read up on, and perhaps to rely on.
https://developer.whoop.com/api
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from shared.core.model import ResourceName

#: Names that one answer can tell of; the rest of a larger change shows when these are known.
MOST = 20
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}", re.ASCII)

_DATED = "user_id created_at updated_at score_state"
_TIMED = f"{_DATED} id start end timezone_offset"
_STRAIN = "strain kilojoule average_heart_rate max_heart_rate"


def _paths(plain: str, **nested: str) -> frozenset[str]:
    inner = (f"{name}.{field}" for name, fields in nested.items() for field in fields.split())
    return frozenset((*plain.split(), *nested, *inner))


def _deeper(paths: frozenset[str], name: str, fields: str) -> frozenset[str]:
    return paths | {f"{name}.{field}" for field in fields.split()}


FIELDS: Final[Mapping[ResourceName, frozenset[str]]] = {
    ResourceName("cycle"): _paths(f"{_TIMED} step_count", score=_STRAIN),
    ResourceName("recovery"): _paths(
        f"{_DATED} cycle_id sleep_id",
        score="user_calibrating recovery_score resting_heart_rate hrv_rmssd_milli"
        " spo2_percentage skin_temp_celsius",
    ),
    ResourceName("sleep"): _deeper(
        _deeper(
            _paths(
                f"{_TIMED} cycle_id v1_id nap",
                score="stage_summary sleep_needed respiratory_rate sleep_performance_percentage"
                " sleep_consistency_percentage sleep_efficiency_percentage",
            ),
            "score.stage_summary",
            "total_in_bed_time_milli total_awake_time_milli total_no_data_time_milli"
            " total_light_sleep_time_milli total_slow_wave_sleep_time_milli"
            " total_rem_sleep_time_milli sleep_cycle_count disturbance_count",
        ),
        "score.sleep_needed",
        "baseline_milli need_from_sleep_debt_milli need_from_recent_strain_milli"
        " need_from_recent_nap_milli",
    ),
    ResourceName("workout"): _deeper(
        _paths(
            f"{_TIMED} v1_id sport_name sport_id",
            score=f"{_STRAIN} percent_recorded distance_meter altitude_gain_meter"
            " altitude_change_meter zone_durations",
        ),
        "score.zone_durations",
        " ".join(
            f"zone_{number}_milli" for number in ("zero", "one", "two", "three", "four", "five")
        ),
    ),
    ResourceName("profile"): _paths("user_id email first_name last_name"),
    ResourceName("body_measurement"): _paths("height_meter weight_kilogram max_heart_rate"),
}


def unknown(values: Iterable[Any], resource: ResourceName) -> tuple[tuple[str, int], ...]:
    """Return the fields of ``values`` that the documents do not name, and in how many they are."""
    counted = Counter(
        path for value in values for path in set(_unknown(value, FIELDS[resource], ""))
    )
    return tuple(sorted(counted.most_common(MOST)))


def _unknown(value: Any, known: frozenset[str], before: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        path = before + name
        if path in known:
            yield from _unknown(inner, known, path + ".")
        else:
            # A name that is none may be somebody's data.
            yield path if _PLAIN.fullmatch(name) else f"{before}?"
