"""The control API: what a test or a demo may ask of the simulator over HTTP."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule

from dev.simulator import answers, control_changes, moments
from dev.simulator.asked import body, bounds, number, text, user_id, whole
from dev.simulator.blast import Load
from dev.simulator.changes import UnknownRecord
from dev.simulator.faults import Fault, Unusable
from dev.simulator.living import Rates
from dev.simulator.members import Member
from dev.simulator.mishaps import Mishaps
from dev.simulator.world import UnknownMember

if TYPE_CHECKING:
    from dev.simulator.app import Simulator

_ROUTES = Map(
    [
        Rule(f"/control/{path}", methods=[method], endpoint=f"{method} {path}")
        for method, path in (
            ("GET", "health"),
            ("GET", "members"),
            ("POST", "members"),
            ("GET", "truth"),
            ("GET", "deleted"),
            ("GET", "served"),
            ("GET", "minimum"),
            ("GET", "requests"),
            ("DELETE", "requests"),
            ("POST", "faults"),
            ("DELETE", "faults"),
            ("POST", "tokens/expire"),
            ("POST", "tokens/revoke"),
            ("POST", "clock"),
            ("POST", "days"),
            ("POST", "changes"),
            ("GET", "webhooks"),
            ("POST", "webhooks"),
            ("DELETE", "webhooks"),
            ("POST", "webhooks/urls"),
            ("POST", "webhooks/mishaps"),
            ("DELETE", "webhooks/mishaps"),
            ("POST", "webhooks/drain"),
            ("POST", "webhooks/blast"),
        )
    ]
)


class Control:
    """Translates between JSON and the simulator's own methods."""

    def __init__(self, simulator: "Simulator") -> None:
        """Speak for ``simulator``."""
        self._simulator = simulator
        self._answers: Mapping[str, Callable[[Request], Any]] = {
            "GET health": lambda _: {"ok": True},
            "GET members": self._members,
            "POST members": self._add_member,
            "GET truth": self._truth,
            "GET deleted": lambda request: simulator.deleted(_whose(request)),
            "GET served": lambda request: simulator.served(_whose(request)),
            "GET minimum": self._minimum,
            "GET requests": lambda _: simulator.log,
            "DELETE requests": _doing(simulator.clear_log),
            "POST faults": lambda request: {
                "rules": simulator.add_fault(Fault.from_json(body(request)))
            },
            "DELETE faults": _doing(simulator.clear_faults),
            "POST tokens/expire": lambda request: {
                "grants": simulator.expire_tokens(_about(request))
            },
            "POST tokens/revoke": lambda request: {
                "grants": simulator.revoke_tokens(_about(request))
            },
            "POST clock": self._advance,
            "POST days": self._days,
            "POST changes": lambda request: control_changes.carry_out(simulator, body(request)),
            "GET webhooks": lambda _: simulator.webhooks.log,
            "POST webhooks": self._send,
            "DELETE webhooks": _doing(simulator.webhooks.clear_log),
            "POST webhooks/urls": self._set_urls,
            "POST webhooks/mishaps": self._set_mishaps,
            "DELETE webhooks/mishaps": _doing(simulator.webhooks.clear_mishaps),
            "POST webhooks/drain": self._drain,
            "POST webhooks/blast": self._blast,
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
        except UnknownRecord as error:
            return answers.of_json({"error": f"this member has no {error}"}, 404)
        except ValueError as error:
            return answers.of_json({"error": str(error)}, 400)

    def _members(self, _: Request) -> Any:
        return [_told(member) for member in list(self._simulator.world.members.values())]

    def _add_member(self, request: Request) -> Any:
        document = body(request, allowed={"days", "collections"})
        counts = document.get("collections") or {}
        if not isinstance(counts, dict):
            raise Unusable("collections is an object")
        return _told(
            self._simulator.world.add_member(
                days=whole(document.get("days", 30), "days"),
                collections={name: whole(count, name) for name, count in counts.items()},
            )
        )

    def _truth(self, request: Request) -> Any:
        start, end = bounds(request)
        return self._simulator.truth(_whose(request), start, end)

    def _minimum(self, request: Request) -> Any:
        start, end = bounds(request)
        user_ids = [user_id(given) for given in request.args.getlist("user_id")]
        minimum = self._simulator.minimum_requests(user_ids, start, end)
        return {"minimum_requests": minimum}

    def _advance(self, request: Request) -> Any:
        given = body(request, allowed={"advance_seconds"}).get("advance_seconds")
        seconds = number(given, "advance_seconds")
        return {"now": moments.written(self._simulator.advance(seconds))}

    def _days(self, request: Request) -> Any:
        document = body(request, allowed={"days", "user_id", "rates"})
        about = document.get("user_id")
        happened = self._simulator.live(
            whole(document.get("days", 1), "days"),
            user_id=None if about is None else whole(about, "user_id"),
            rates=Rates.from_json(document.get("rates") or {}),
        )
        return {"now": moments.written(self._simulator.world.now()), "changes": happened}

    def _send(self, request: Request) -> Any:
        names = {"user_id", "type", "id", "trace_id"}
        document = body(request, allowed=names)
        self._simulator.webhooks.send(
            whole(document.get("user_id"), "user_id"),
            text(document.get("type"), "type"),
            text(document.get("id"), "id"),
            text(document["trace_id"], "trace_id") if "trace_id" in document else None,
        )
        return {"ok": True}

    def _set_urls(self, request: Request) -> Any:
        urls = body(request, allowed={"urls"}).get("urls")
        if not isinstance(urls, list):
            raise Unusable("urls is a list")
        self._simulator.webhooks.set_urls([text(url, "a URL") for url in urls])
        return {"urls": self._simulator.webhooks.urls}

    def _set_mishaps(self, request: Request) -> Any:
        self._simulator.webhooks.set_mishaps(Mishaps.from_json(body(request)))
        return {"ok": True}

    def _drain(self, request: Request) -> Any:
        timeout = number(body(request, allowed={"timeout"}).get("timeout", 10), "timeout")
        if not 0 <= timeout <= 3600:
            raise Unusable("timeout is between 0 and 3600 seconds")
        return {"drained": self._simulator.webhooks.drain(timeout)}

    def _blast(self, request: Request) -> Any:
        names = {"rate", "seconds", "connections", "timeout", "url", "edits"}
        document = body(request, allowed=names)
        load = Load(
            number(document.get("rate", 200), "rate"),
            number(document.get("seconds", 10), "seconds"),
            whole(document.get("connections", 16), "connections"),
            number(document.get("timeout", 1), "timeout"),
        )
        urls = [text(document["url"], "url")] if "url" in document else []
        edits = number(document.get("edits", 0), "edits")
        return self._simulator.blast(load, urls=urls, edits=edits)


def _told(member: Member) -> dict[str, Any]:
    return member.profile | {"days": member.days}


def _whose(request: Request) -> int:
    return user_id(request.args.get("user_id"))


def _about(request: Request) -> int:
    return whole(body(request, allowed={"user_id"}).get("user_id"), "user_id")


def _doing(action: Callable[[], None]) -> Callable[[Request], Any]:
    def done(_: Request) -> Any:
        action()
        return {"ok": True}

    return done
