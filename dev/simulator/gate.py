"""Let requests through the quota and the faults to their answers, and keep a record of them."""

import hashlib
from collections.abc import Iterator
from datetime import datetime

from werkzeug import Request, Response

from dev.simulator import answers, api
from dev.simulator.faults import Faults
from dev.simulator.limits import Limits, Verdict
from dev.simulator.members import Document
from dev.simulator.moments import written
from dev.simulator.oauth import OAuth
from dev.simulator.options import Options
from dev.simulator.served import Served, Version
from dev.simulator.world import World


class Gate:
    """Stands before the token endpoint and the data.  Whoever calls it holds the lock."""

    def __init__(self, options: Options, world: World, oauth: OAuth) -> None:
        """Begin with nothing asked."""
        self._options = options
        self._world = world
        self._oauth = oauth
        self._limits = Limits(options)
        self.faults = Faults()
        self.served = Served()
        self.log: list[Document] = []

    def answer(self, kind: str, request: Request) -> tuple[Response, float]:
        """Answer a ``token``, ``revoke`` or ``data`` request; say how many seconds it hangs."""
        now = self._world.now()
        user_id = self._whose(kind, request)
        counts = kind != "token" or self._options.count_token_calls
        # WHOOP does not say whether it counts before it looks at the token; a gateway does.
        verdict = self._limits.admit(now) if counts else Verdict(admitted=True, headers={})
        response, pause = answers.of_status(429), 0.0
        shown: list[Version] = []
        if verdict.admitted:
            response, pause, shown = self._admitted(kind, request, now)
        for name, value in verdict.headers.items():
            # A fault may have brought headers of its own.
            response.headers.setdefault(name, value)
        if user_id is not None:
            self.served.add(user_id, shown)
        self.log.append(_entry(kind, request, response, user_id=user_id, now=now))
        return response, pause + self._options.latency

    def _admitted(
        self, kind: str, request: Request, now: datetime
    ) -> tuple[Response, float, list[Version]]:
        """Give the answer, gone wrong if there is a rule, how long it hangs, and what it shows."""
        shown: list[Version] = []

        def genuine() -> Response:
            if kind == "token":
                return self._trade(request, now)
            return self._operate(request, shown, now)

        cursor = request.args.get("nextToken")
        fault = self.faults.take(request.path, cursor, now=now)
        if fault is None:
            return genuine(), 0.0, shown
        response = fault.spoil(genuine, cursor)
        if response.status_code == 429:
            response.headers.setdefault("X-RateLimit-Remaining", "0")
        return response, fault.delay, [] if fault.mangles else shown

    def _trade(self, request: Request, now: datetime) -> Response:
        if request.method != "POST":
            return answers.of_status(405)
        return self._oauth.token(request, now=now)

    def _operate(self, request: Request, shown: list[Version], now: datetime) -> Response:
        """Answer a data request, or say why not."""
        found = api.match(request.environ)
        if isinstance(found, int):
            return answers.of_status(found)
        endpoint, identity = found
        if isinstance(endpoint, api.MapActivity):
            return api.mapped(self._world.members, int(identity), now)

        grant = self._oauth.authenticate(_bearer(request), now=now)
        if grant is None:
            return answers.of_status(401)
        if isinstance(endpoint, api.RevokeAccess):
            self._oauth.revoke(grant.user_id)
            return answers.of_status(204)
        if not endpoint.scopes <= set(grant.scopes):
            return answers.of_status(self._options.missing_scope_status)
        member = self._world.member(grant.user_id)
        return endpoint.answer(api.Call(member, identity, request.args, now, shown))

    def _whose(self, kind: str, request: Request) -> int | None:
        if kind == "token":
            return self._oauth.subject(request.form)
        grant = self._oauth.owner(_bearer(request))
        return None if grant is None else grant.user_id


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _entry(
    kind: str, request: Request, response: Response, *, user_id: int | None, now: datetime
) -> Document:
    return {
        "at": written(now),
        "method": request.method,
        "path": request.path,
        "query": dict(_shown(request)),
        "status": response.status_code,
        "user_id": user_id,
        "kind": kind,
        "operation": "token" if kind == "token" else _operation(request),
    }


def _operation(request: Request) -> str | None:
    """Give the name of what was asked for, whatever the answer; None for what there is not."""
    found = api.match(request.environ)
    return None if isinstance(found, int) else found[0].name


def _shown(request: Request) -> Iterator[tuple[str, str]]:
    """Give the query as far as it may be written down."""
    for name, value in request.args.items():
        if name in {"limit", "start", "end"}:
            yield name, value
        elif name == "nextToken":
            # Enough to see that one was asked for twice.
            yield name, f"#{hashlib.sha256(value.encode()).hexdigest()[:8]}"
        else:
            yield name, "…"
