"""The control API: what a test or a demo may ask of the simulator over HTTP."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule

from dev.simulator import answers, moments
from dev.simulator.faults import Fault, Unusable
from dev.simulator.members import Member
from dev.simulator.world import UnknownMember

if TYPE_CHECKING:
    from dev.simulator.app import Simulator

_ROUTES = Map(
    [
        Rule("/control/health", methods=["GET"], endpoint="health"),
        Rule("/control/members", methods=["GET"], endpoint="members"),
        Rule("/control/members", methods=["POST"], endpoint="add_member"),
        Rule("/control/truth", methods=["GET"], endpoint="truth"),
        Rule("/control/minimum", methods=["GET"], endpoint="minimum"),
        Rule("/control/requests", methods=["GET"], endpoint="requests"),
        Rule("/control/requests", methods=["DELETE"], endpoint="clear_requests"),
        Rule("/control/faults", methods=["POST"], endpoint="add_fault"),
        Rule("/control/faults", methods=["DELETE"], endpoint="clear_faults"),
        Rule("/control/tokens/expire", methods=["POST"], endpoint="expire"),
        Rule("/control/tokens/revoke", methods=["POST"], endpoint="revoke"),
        Rule("/control/clock", methods=["POST"], endpoint="advance"),
    ]
)


class Control:
    """Translates between JSON and the simulator's own methods."""

    def __init__(self, simulator: "Simulator") -> None:
        """Speak for ``simulator``."""
        self._simulator = simulator
        self._answers: Mapping[str, Callable[[Request], Any]] = {
            "health": lambda _: {"ok": True},
            "members": self._members,
            "add_member": self._add_member,
            "truth": self._truth,
            "minimum": self._minimum,
            "requests": lambda _: simulator.log,
            "clear_requests": self._clear_requests,
            "add_fault": self._add_fault,
            "clear_faults": self._clear_faults,
            "expire": self._expire,
            "revoke": self._revoke,
            "advance": self._advance,
        }

    def answer(self, request: Request) -> Response:
        """Answer one request; problems come as ``{"error": what}``."""
        try:
            endpoint, _ = _ROUTES.bind_to_environ(request.environ).match()
            return answers.of_json(self._answers[endpoint](request))
        except MethodNotAllowed:
            return answers.of_json({"error": "not with this method"}, 405)
        except HTTPException:
            return answers.of_json({"error": "no such path"}, 404)
        except UnknownMember as error:
            return answers.of_json({"error": f"no member has the user id {error}"}, 404)
        except ValueError as error:
            return answers.of_json({"error": str(error)}, 400)

    def _members(self, _: Request) -> Any:
        return [_told(member) for member in self._simulator.world.members.values()]

    def _add_member(self, request: Request) -> Any:
        document = _json(request, allowed={"days", "collections"})
        counts = document.get("collections") or {}
        if not isinstance(counts, dict):
            raise Unusable("collections is an object")
        return _told(
            self._simulator.world.add_member(
                days=_whole(document.get("days", 30), "days"),
                collections={name: _whole(count, name) for name, count in counts.items()},
            )
        )

    def _truth(self, request: Request) -> Any:
        start, end = _bounds(request)
        return self._simulator.truth(_user_id(request.args.get("user_id")), start, end)

    def _minimum(self, request: Request) -> Any:
        start, end = _bounds(request)
        user_ids = [_user_id(text) for text in request.args.getlist("user_id")]
        minimum = self._simulator.minimum_requests(user_ids, start, end)
        return {"minimum_requests": minimum}

    def _clear_requests(self, _: Request) -> Any:
        self._simulator.clear_log()
        return {"ok": True}

    def _add_fault(self, request: Request) -> Any:
        return {"rules": self._simulator.add_fault(Fault.from_json(_json(request)))}

    def _clear_faults(self, _: Request) -> Any:
        self._simulator.clear_faults()
        return {"ok": True}

    def _expire(self, request: Request) -> Any:
        user_id = _whole(_json(request, allowed={"user_id"}).get("user_id"), "user_id")
        return {"grants": self._simulator.expire_tokens(user_id)}

    def _revoke(self, request: Request) -> Any:
        user_id = _whole(_json(request, allowed={"user_id"}).get("user_id"), "user_id")
        return {"grants": self._simulator.revoke_tokens(user_id)}

    def _advance(self, request: Request) -> Any:
        seconds = _json(request, allowed={"advance_seconds"}).get("advance_seconds")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise Unusable("advance_seconds is a number")
        return {"now": moments.written(self._simulator.advance(seconds))}


def _told(member: Member) -> dict[str, Any]:
    return member.profile | {"days": member.days}


def _json(request: Request, allowed: set[str] | None = None) -> dict[str, Any]:
    try:
        document = json.loads(request.get_data() or b"{}")
    except ValueError as error:
        raise Unusable("the body is not JSON") from error
    if not isinstance(document, dict):
        raise Unusable("the body is not a JSON object")
    if allowed is not None and (unknown := sorted(set(document) - allowed)):
        raise Unusable(f"there is no {', '.join(unknown)} here")
    return document


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unusable(f"{name} is a whole number")
    return value


def _user_id(text: str | None) -> int:
    if text is None or not text.isdecimal() or len(text) > 19:
        raise Unusable("user_id is a whole number")
    return int(text)


def _bounds(request: Request) -> tuple[datetime | None, datetime | None]:
    """Read start and end; left out or blank, there is no such bound."""
    start, end = (request.args.get(name) for name in ("start", "end"))
    return moments.read(start) if start else None, moments.read(end) if end else None
