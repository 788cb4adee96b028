"""Answers ``/admin/...``: what runs here, and how to set a function off by hand."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from dev.host.functions import Function, HttpTrigger, QueueTrigger, TimerTrigger

LOCAL = {"localhost", "127.0.0.1", "[::1]"}


@dataclass(frozen=True, slots=True)
class Admin:
    """The routes that Azure protects with the master key, and ``func start`` does not."""

    functions: Mapping[str, Function]
    set_off: Callable[[Function, bytes], object]

    def reply(self, request: Request, path: Sequence[str]) -> Response:
        """Answer a request for ``path`` below /admin."""
        if not _is_a_tool_on_this_machine(request):
            return _problem(403, "admin routes are for tools on this machine, not for web pages")
        match request.method, [part.lower() for part in path]:
            case "GET", ["host", "status"]:
                return _json({"state": "Running", "functions": sorted(self.functions)})
            case "GET", ["functions"]:
                return _json([_described(function) for function in self.functions.values()])
            case "POST", ["functions", name]:
                return self._run(name, request.get_data())
            case _:
                return _problem(404, "the host knows no such admin route")

    def _run(self, name: str, body: bytes) -> Response:
        function = next((one for key, one in self.functions.items() if key.lower() == name), None)
        if function is None:
            return _problem(404, f'there is no function "{name}"')
        if isinstance(function.trigger, HttpTrigger):
            return _problem(400, f"{function.name} answers HTTP: call its route")
        try:
            asked = json.loads(body or b"{}")
            given = asked.get("input", "") if isinstance(asked, dict) else None
        except ValueError:
            given = None
        if given is None:
            return _problem(400, 'the body must be JSON: {"input": "..."}')
        message = given if isinstance(given, str) else json.dumps(given)
        self.set_off(function, message.encode())
        return Response(status=202)


def _is_a_tool_on_this_machine(request: Request) -> bool:
    # A web page could send us requests, or give its own name our address; both show here.
    host = re.sub(r":\d+$", "", request.host)
    return host in LOCAL and "Origin" not in request.headers


def _described(function: Function) -> dict[str, Any]:
    match function.trigger:
        case HttpTrigger(route, methods):
            what = {"route": f"/{route.template.strip('/')}", "methods": sorted(methods)}
            return {"name": function.name, "trigger": "http", **what}
        case QueueTrigger(queue):
            return {"name": function.name, "trigger": "queue", "queue": queue}
        case TimerTrigger(schedule):
            return {"name": function.name, "trigger": "timer", "schedule": schedule.text}


def _json(value: object) -> Response:
    return Response(json.dumps(value), mimetype="application/json")


def _problem(status: int, detail: str) -> Response:
    return Response(json.dumps({"detail": detail}), status=status, mimetype="application/json")
