"""WHOOP's data endpoints: which paths there are, what they need and what they answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from wsgiref.types import WSGIEnvironment

from werkzeug import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule

from dev.simulator import answers, question
from dev.simulator.members import Document, Member, Resource
from dev.simulator.served import Version


@dataclass(frozen=True, slots=True)
class Call:
    """One request about one member, as far as the answer depends on it."""

    member: Member
    identity: str
    parameters: Mapping[str, str]
    now: datetime
    #: Takes in which records the answer shows.
    shown: list[Version]


@dataclass(frozen=True, slots=True)
class Operation:
    """What an endpoint answers, and the scopes without which it does not."""

    name: str
    answer: Callable[[Call], Response]
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class RevokeAccess:
    """``DELETE /v2/user/access``: the only call that changes anything."""

    name: str = "revoke"


@dataclass(frozen=True, slots=True)
class MapActivity:
    """``GET /v1/activity-mapping/{id}``: the only call that is about nobody in particular."""

    name: str = "activity_mapping"


Endpoint: TypeAlias = Operation | RevokeAccess | MapActivity


def match(environ: WSGIEnvironment) -> tuple[Endpoint, str] | int:
    """Find the endpoint for a request and the id in its path, or the status that refuses it."""
    try:
        endpoint, found = ROUTES.bind_to_environ(environ).match()
    except MethodNotAllowed:
        return 405
    except HTTPException:
        return 404
    return endpoint, str(found.get("identity", ""))


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
        call.shown.extend((resource, item.id, item.revision.document) for item in page)
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
        return _found(call, resource, call.member.find(resource, call.identity, now=call.now))

    return answer


def sleep_of_cycle(call: Call) -> Response:
    """Answer with the night that opened a cycle; a cycle with naps only has none."""
    for item in call.member.listing("sleep", start=None, end=None, now=call.now):
        document = item.revision.document
        if str(document["cycle_id"]) == call.identity and not document["nap"]:
            return _found(call, "sleep", document if _has_cycle(call) else None)
    return answers.of_status(404)


def recovery_of_cycle(call: Call) -> Response:
    """Answer with the recovery of a cycle."""
    recovery = call.member.find("recovery", call.identity, now=call.now)
    return _found(call, "recovery", recovery if _has_cycle(call) else None)


def profile(call: Call) -> Response:
    """Answer with the member's name and address."""
    return _found(call, "profile", call.member.profile)


def body_measurement(call: Call) -> Response:
    """Answer with the member's measurements, if any were ever given."""
    return _found(call, "body_measurement", call.member.body)


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


def _found(call: Call, resource: str, document: Document | None) -> Response:
    if document is None:
        return answers.of_status(404)
    identity = document.get("id", document.get("cycle_id", resource))
    call.shown.append((resource, str(identity), document))
    return answers.of_json(document)


def _get(path: str, operation: Operation) -> Rule:
    # Ids that cannot be ids are unknown paths to the router, and so 404 before any sign-in.
    return Rule(f"/developer/v2/{path}", methods=["GET"], endpoint=operation)


def _operation(name: str, answer: Callable[[Call], Response], *scopes: str) -> Operation:
    return Operation(name, answer, frozenset(scopes))


#: Beside WHOOP's published document: there is no ``/v2/recovery/{id}``.
ROUTES = Map(
    [
        _get("cycle", _operation("cycles", collection("cycle"), "read:cycles")),
        _get("cycle/<int:identity>", _operation("cycle", single("cycle"), "read:cycles")),
        # The document names no scope here; it shows a sleep by way of a cycle.
        _get(
            "cycle/<int:identity>/sleep",
            _operation("cycle_sleep", sleep_of_cycle, "read:cycles", "read:sleep"),
        ),
        _get(
            "cycle/<int:identity>/recovery",
            _operation("cycle_recovery", recovery_of_cycle, "read:recovery"),
        ),
        _get("recovery", _operation("recoveries", collection("recovery"), "read:recovery")),
        _get("activity/sleep", _operation("sleeps", collection("sleep"), "read:sleep")),
        _get("activity/sleep/<uuid:identity>", _operation("sleep", single("sleep"), "read:sleep")),
        _get("activity/workout", _operation("workouts", collection("workout"), "read:workout")),
        _get(
            "activity/workout/<uuid:identity>",
            _operation("workout", single("workout"), "read:workout"),
        ),
        _get("user/profile/basic", _operation("profile", profile, "read:profile")),
        _get(
            "user/measurement/body",
            _operation("body_measurement", body_measurement, "read:body_measurement"),
        ),
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
