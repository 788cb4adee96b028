import copy
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dev.simulator import NO_CHANGES, Member, Rates
from dev.simulator.members import Resource
from dev.simulator.oauth import SCOPES
from tests.simulator.visitor import COLLECTIONS, Visitor, Watch, a_simulator

DOCUMENT = Path(__file__).parents[3] / "shared" / "whoop-openapi.json"

pytestmark = pytest.mark.skipif(
    not DOCUMENT.exists(), reason="WHOOP's OpenAPI document is not beside the repository"
)


def whoops_document() -> dict[str, Any]:
    """Read WHOOP's document, made strict: a field that it does not name is an error."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    for schema in document["components"]["schemas"].values():
        if schema.get("type") == "object":
            schema["additionalProperties"] = False
    # In the API since September 2026, and not yet in the document.
    document["components"]["schemas"]["Cycle"]["properties"]["step_count"] = {"type": "integer"}
    return document


class Checker:
    """Reads as a member, and holds every answer against the document."""

    def __init__(self, visitor: Visitor, member: Member) -> None:
        self.visitor = visitor
        self.document = whoops_document()
        self.token = visitor.connect(member.user_id)["access_token"]
        self.checked = 0

    def get(self, template: str, token: str | None = None, /, **query: Any) -> Any:
        path, ids = template, {name: query.pop(name) for name in list(query) if "Id" in name}
        for name, value in ids.items():
            path = path.replace(f"{{{name}}}", str(value))
        answer = self.visitor.get(path, token or self.token, **query)
        responses = self.document["paths"][template]["get"]["responses"]
        assert str(answer.status_code) in responses, f"{answer.status_code} for {path}"
        if answer.status_code != 200:
            return None
        assert answer.mimetype == "application/json"
        body = answer.get_json()
        schema = responses["200"]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator(
            schema | {"components": self.document["components"]},
            format_checker=jsonschema.FormatChecker(["date-time", "uuid"]),
        ).validate(without_nulls(body))
        self.checked += 1
        return body


def without_nulls(value: Any) -> Any:
    """Drop nulls: live, they stand where the document has a field absent."""
    match value:
        case dict():
            return {name: without_nulls(one) for name, one in value.items() if one is not None}
        case list():
            return [without_nulls(one) for one in value]
        case _:
            return copy.copy(value)


@pytest.mark.parametrize("index", range(6))
def test_every_answer_is_as_whoop_describes_it(index: int) -> None:
    visitor = Visitor(a_simulator(Watch()))
    member = [visitor.simulator.world.add_member(days=40) for _ in range(index + 1)][-1]
    checker = Checker(visitor, member)

    read_everything(checker)
    checker.get("/v2/user/profile/basic")
    checker.get("/v2/user/measurement/body")

    assert checker.checked > 150


@pytest.mark.parametrize("index", range(4))
def test_so_is_every_answer_after_a_month_of_changes(index: int) -> None:
    visitor = Visitor(a_simulator(Watch(), seed=index))
    member = [visitor.simulator.world.add_member(days=10) for _ in range(index + 1)][-1]
    kinds = {
        one["kind"]
        for _ in range(30)
        for one in visitor.simulator.live(1, rates=Rates.all(0.7, reach_days=5))
    }
    assert len(kinds) >= 6
    checker = Checker(visitor, member)

    found = read_everything(checker)

    truth = visitor.simulator.truth(member.user_id, None, None)
    for template, resource in (
        ("/v2/cycle", "cycle"),
        ("/v2/recovery", "recovery"),
        ("/v2/activity/sleep", "sleep"),
        ("/v2/activity/workout", "workout"),
    ):
        assert [str(one.get("id") or one["cycle_id"]) for one in found[template]] == [
            one["id"] for one in truth[resource]
        ]
    assert checker.checked > 100


CHANGES: dict[str, dict[str, Any]] = {
    "rescore": {},
    "alter": {},
    "edit": {"fields": {"timezone_offset": "-03:30"}},
    "reschedule": {"by": timedelta(minutes=-7)},
    "delete": {},
    "recreate": {},
}


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        (kind, resource)
        for kind in CHANGES
        for resource in COLLECTIONS
        # A recovery has neither times nor an offset of its own.
        if resource != "recovery" or kind not in {"edit", "reschedule"}
    ],
)
def test_so_is_every_answer_after_each_change(kind: str, resource: Any) -> None:
    visitor = Visitor(a_simulator(Watch()))
    member = visitor.simulator.world.add_member(days=10)
    listed = member.listing(resource, start=None, end=None, now=visitor.simulator.world.now())
    changes, user_id = visitor.simulator.changes, member.user_id
    for item in listed[2:5]:
        more = list(CHANGES[kind].values())
        if kind == "reschedule":
            more = [item.revision.start + more[0]]
        if kind == "recreate":
            changes.delete(user_id, resource, item.id)
        getattr(changes, kind)(user_id, resource, item.id, *more)

    found = read_everything(Checker(visitor, member))

    count = sum(len(records) for records in found.values())
    truth = visitor.simulator.truth(user_id, None, None)
    assert count == sum(len(truth[one]) for one in COLLECTIONS)


def test_so_is_every_answer_after_late_scores() -> None:
    visitor = Visitor(a_simulator(Watch()))
    member = visitor.simulator.world.add_member(days=10)
    visitor.simulator.live(3, rates=replace(NO_CHANGES, pending=1.0))
    resources: tuple[Resource, ...] = ("recovery", "sleep", "workout")
    scored: set[str] = set()
    for _ in range(24):
        now = visitor.simulator.advance(3600)
        for resource in resources:
            for item in member.listing(resource, start=None, end=None, now=now):
                document = member.find(resource, item.id, now=now)
                if document and document["score_state"] == "PENDING_SCORE":
                    visitor.simulator.changes.score(member.user_id, resource, item.id)
                    scored.add(resource)

    found = read_everything(Checker(visitor, member))

    assert scored == {"recovery", "sleep", "workout"}
    states = {one["score_state"] for records in found.values() for one in records}
    assert "PENDING_SCORE" not in states


def read_everything(checker: Checker) -> dict[str, list[dict[str, Any]]]:
    """Read all collections, and every record by its id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for template in ("/v2/cycle", "/v2/recovery", "/v2/activity/sleep", "/v2/activity/workout"):
        records, query = [], {"limit": 25}
        while True:
            page = checker.get(template, **query)
            records += page["records"]
            if not page.get("next_token"):
                break
            query["nextToken"] = page["next_token"]
        found[template] = records

    for cycle in found["/v2/cycle"]:
        assert checker.get("/v2/cycle/{cycleId}", cycleId=cycle["id"]) == cycle
        checker.get("/v2/cycle/{cycleId}/sleep", cycleId=cycle["id"])
        checker.get("/v2/cycle/{cycleId}/recovery", cycleId=cycle["id"])
    for sleep in found["/v2/activity/sleep"]:
        assert checker.get("/v2/activity/sleep/{sleepId}", sleepId=sleep["id"]) == sleep
        if "v1_id" in sleep:
            mapped = checker.get("/v1/activity-mapping/{activityV1Id}", activityV1Id=sleep["v1_id"])
            assert mapped["v2_activity_id"] == sleep["id"]
    for workout in found["/v2/activity/workout"]:
        checker.get("/v2/activity/workout/{workoutId}", workoutId=workout["id"])
    return found


def test_every_refusal_is_one_that_whoop_describes() -> None:
    visitor = Visitor(a_simulator(Watch(), per_minute=60))
    member = visitor.simulator.world.add_member(days=3, collections={"body_measurement": 0})
    checker = Checker(visitor, member)
    stranger = {
        "cycleId": 1,
        "sleepId": "123e4567-e89b-12d3-a456-426614174000",
        "workoutId": "123e4567-e89b-12d3-a456-426614174000",
        "activityV1Id": 1,
    }
    templates = [
        template
        for template, operations in checker.document["paths"].items()
        if "get" in operations and "/partner/" not in template
    ]
    assert len(templates) == 12

    for template in templates:
        ids = {name: value for name, value in stranger.items() if f"{{{name}}}" in template}
        checker.get(template, **ids)
        checker.get(template, "made-up", **ids)
        if not ids and "nextToken" in str(checker.document["paths"][template]):
            assert checker.get(template, limit=26) is None
            assert checker.get(template, nextToken="made-up") is None
    statuses = {one["status"] for one in visitor.simulator.log}
    assert statuses == {200, 400, 401, 404}

    for _ in range(60):
        checker.get("/v2/user/profile/basic")
    assert visitor.simulator.log[-1]["status"] == 429


def test_revoking_is_answered_as_whoop_describes_it() -> None:
    visitor = Visitor(a_simulator(Watch()))
    checker = Checker(visitor, visitor.simulator.world.add_member(days=1))
    responses = checker.document["paths"]["/v2/user/access"]["delete"]["responses"]

    statuses = [
        visitor.call("DELETE", "/v2/user/access", checker.token).status_code for _ in range(2)
    ]

    assert statuses == [204, 401]
    assert {"204", "401"} <= set(responses)


def test_every_scope_but_offline_is_in_the_document() -> None:
    document = whoops_document()
    flows = document["components"]["securitySchemes"]["OAuth"]["flows"]

    assert set(flows["authorizationCode"]["scopes"]) | {"offline"} == set(SCOPES)
