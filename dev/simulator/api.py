"""WHOOP's data endpoints: which paths there are, what they need and what they answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from werkzeug import Response
from werkzeug.routing import Map, Rule

from dev.simulator import answers, question
from dev.simulator.members import Document, Member, Resource


@dataclass(frozen=True, slots=True)
class Call:
    """One request about one member, as far as the answer depends on it."""

    member: Member
    identity: str
    parameters: Mapping[str, str]
    now: datetime


@dataclass(frozen=True, slots=True)
class Operation:
    """What an endpoint answers, and the scopes without which it does not."""

    answer: Callable[[Call], Response]
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class RevokeAccess:
    """``DELETE /v2/user/access``: the only call that changes anything."""


@dataclass(frozen=True, slots=True)
class MapActivity:
    """``GET /v1/activity-mapping/{id}``: the only call that is about nobody in particular."""


def collection(resource: Resource) -> Callable[[Call], Response]:
    """Answer with one page of a collection."""

    def answer(call: Call) -> Response:
        try:
            asked = question.read(call.parameters, subject=f"{call.member.user_id}/{resource}")
        except question.Unparsable:
            return answers.of_status(404)
        except question.Refused:
            return answers.of_status(400)
        listed = call.member.listing(resource, start=asked.start, end=asked.end, now=call.now)
        following = asked.offset + asked.limit
        page = listed[asked.offset : following]
        document: dict[str, Any] = {"records": [item.revision.document for item in page]}
        if following < len(listed):
            document["next_token"] = asked.token_for(following)
        elif call.member.user_id % 2:
            # Absent on paper, null in many an API: a reader has to stop at either.
            document["next_token"] = None
        return answers.of_json(document)

    return answer


def single(resource: Resource) -> Callable[[Call], Response]:
    """Answer with one record by its id."""

    def answer(call: Call) -> Response:
        return _found(call.member.find(resource, call.identity, now=call.now))

    return answer


def sleep_of_cycle(call: Call) -> Response:
    """Answer with the night that opened a cycle; a cycle with naps only has none."""
    for item in call.member.listing("sleep", start=None, end=None, now=call.now):
        document = item.revision.document
        if str(document["cycle_id"]) == call.identity and not document["nap"]:
            return _found(document if _has_cycle(call) else None)
    return _found(None)


def recovery_of_cycle(call: Call) -> Response:
    """Answer with the recovery of a cycle."""
    recovery = call.member.find("recovery", call.identity, now=call.now)
    return _found(recovery if _has_cycle(call) else None)


def profile(call: Call) -> Response:
    """Answer with the member's name and address."""
    return answers.of_json(call.member.profile)


def body_measurement(call: Call) -> Response:
    """Answer with the member's measurements, if any were ever given."""
    return _found(call.member.body)


def mapped(members: Mapping[int, Member], v1_id: int, now: datetime) -> Response:
    """Answer with the v2 id of an activity of v1."""
    for member in members.values():
        for resource in ("sleep", "workout"):
            for record in member.records[resource]:
                revision = record.shown(now)
                if revision and revision.document.get("v1_id") == v1_id:
                    return answers.of_json({"v2_activity_id": record.id})
    return answers.of_status(404)


def _has_cycle(call: Call) -> bool:
    return call.member.find("cycle", call.identity, now=call.now) is not None


def _found(document: Document | None) -> Response:
    return answers.of_status(404) if document is None else answers.of_json(document)


def _get(path: str, answer: Callable[[Call], Response], *scopes: str) -> Rule:
    # Ids that cannot be ids are unknown paths to the router, and so 404 before any sign-in.
    return Rule(
        f"/developer/v2/{path}", methods=["GET"], endpoint=Operation(answer, frozenset(scopes))
    )


#: Beside WHOOP's published document: there is no ``/v2/recovery/{id}``.
ROUTES = Map(
    [
        _get("cycle", collection("cycle"), "read:cycles"),
        _get("cycle/<int:identity>", single("cycle"), "read:cycles"),
        # The document names no scope here; it shows a sleep by way of a cycle.
        _get("cycle/<int:identity>/sleep", sleep_of_cycle, "read:cycles", "read:sleep"),
        _get("cycle/<int:identity>/recovery", recovery_of_cycle, "read:recovery"),
        _get("recovery", collection("recovery"), "read:recovery"),
        _get("activity/sleep", collection("sleep"), "read:sleep"),
        _get("activity/sleep/<uuid:identity>", single("sleep"), "read:sleep"),
        _get("activity/workout", collection("workout"), "read:workout"),
        _get("activity/workout/<uuid:identity>", single("workout"), "read:workout"),
        _get("user/profile/basic", profile, "read:profile"),
        _get("user/measurement/body", body_measurement, "read:body_measurement"),
        Rule("/developer/v2/user/access", methods=["DELETE"], endpoint=RevokeAccess()),
        Rule(
            "/developer/v1/activity-mapping/<int:identity>",
            methods=["GET"],
            endpoint=MapActivity(),
        ),
    ],
    strict_slashes=True,
    redirect_defaults=False,
    merge_slashes=False,
)
