import json
from pathlib import Path
from typing import Any

import pytest

from shared.core.model import ResourceName
from whoop.drift import FIELDS, MOST, unknown

SLEEP = ResourceName("sleep")
DOCUMENT = Path(__file__).parents[3] / "shared" / "whoop-openapi.json"
SCHEMAS = {
    "cycle": "Cycle",
    "recovery": "Recovery",
    "sleep": "Sleep",
    "workout": "WorkoutV2",
    "profile": "UserBasicProfile",
    "body_measurement": "UserBodyMeasurement",
}


def test_what_the_documents_name_is_nothing_new() -> None:
    sleep = {"id": "s", "nap": False, "score": {"stage_summary": {"disturbance_count": 3}}}

    assert unknown([sleep, {}], SLEEP) == ()


def test_new_fields_are_counted_by_record_wherever_they_are() -> None:
    sleeps = [
        {"id": "s1", "mood": "calm", "score": {"depth": 7, "stage_summary": {"naps": [1, 2]}}},
        {"id": "s2", "mood": None, "score": None},
        {"id": "s3", "score": [{"depth": 8}]},
    ]

    assert unknown(sleeps, SLEEP) == (
        ("mood", 2),
        ("score.depth", 1),
        ("score.stage_summary.naps", 1),
    )


def test_what_a_new_field_holds_is_not_told() -> None:
    sleep = {"extra": {"email": "ana@example.com"}, "score": {"ana@example.com": 1, "ñ": 2}}

    assert unknown([sleep], SLEEP) == (("extra", 1), ("score.?", 1))


@pytest.mark.parametrize("item", [None, 7, "text", [], [{"mood": 1}]])
def test_what_is_no_record_has_no_fields(item: Any) -> None:
    assert unknown([item], SLEEP) == ()


def test_one_answer_tells_of_so_many() -> None:
    assert len(unknown([{f"new_{n}": n for n in range(200)}], SLEEP)) == MOST


@pytest.mark.skipif(not DOCUMENT.exists(), reason="WHOOP's document is not beside this checkout")
@pytest.mark.parametrize("resource", SCHEMAS)
def test_the_fields_are_those_of_whoops_own_document(resource: str) -> None:
    schemas = json.loads(DOCUMENT.read_text("utf-8"))["components"]["schemas"]

    def paths(schema: str, before: str = "") -> set[str]:
        found = set()
        for name, said in schemas[schema]["properties"].items():
            found.add(before + name)
            reference = said.get("$ref") or "".join(
                one.get("$ref", "") for one in said.get("allOf", ())
            )
            if reference:
                found |= paths(reference.rpartition("/")[2], f"{before}{name}.")
        return found

    # Named in the change log of September 2026, after the document was saved.
    newer = {"step_count"} if resource == "cycle" else set()
    assert FIELDS[ResourceName(resource)] == paths(SCHEMAS[resource]) | newer
