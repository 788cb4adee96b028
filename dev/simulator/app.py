"""The simulator as one WSGI app: who may pass, what they get, and a record of it."""

import hashlib
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from dev.simulator import answers, api, members
from dev.simulator.consent import Consent
from dev.simulator.control import Control
from dev.simulator.faults import Fault, Faults
from dev.simulator.limits import Limits, Verdict
from dev.simulator.members import RESOURCES, Document
from dev.simulator.moments import Clock, written
from dev.simulator.oauth import Grant, OAuth
from dev.simulator.options import Options
from dev.simulator.question import MAX_LIMIT
from dev.simulator.world import World

AUTHORIZE_PATH = "/oauth/oauth2/auth"
TOKEN_PATH = "/oauth/oauth2/token"  # noqa: S105 - a path, not a token
API_PREFIX = "/developer/"
CONTROL_PREFIX = "/control/"


def _now() -> datetime:
    return datetime.now(UTC)


class _Request(Request):
    """Refuses bodies that nobody in this world sends."""

    max_content_length = 1_048_576


@dataclass(frozen=True, slots=True)
class _Answer:
    response: Response
    pause: float = 0.0


class Simulator:
    """A WHOOP to test against.

    Call it as a WSGI app.  Everything it knows changes under one lock, so that requests may
    come from many threads; only waiting happens outside it.
    """

    def __init__(
        self,
        options: Options,
        clock: Callable[[], datetime] = _now,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin with nobody in the world."""
        self.options = options
        self._lock = threading.RLock()
        self._clock = Clock(clock)
        self._sleep = sleep
        self._log: list[Document] = []
        self._limits = Limits(options)
        self._faults = Faults()
        self.world = World(seed=options.seed, clock=self._clock, lock=self._lock)
        # Not seeded: after a restart, a token from before must not become somebody else's.
        self._oauth = OAuth(options, mint=lambda: secrets.token_urlsafe(32))
        self._consent = Consent(options, self._oauth, self.world.members)
        self._control = Control(self)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = _Request(environ)
        try:
            # A slow sender must not keep the lock.
            request.get_data()
            with self._lock:
                answer = self._answer(request)
        except HTTPException as error:
            answer = _Answer(answers.of_status(error.code or 500))
        if answer.pause > 0:
            self._sleep(answer.pause)
        return answer.response(environ, start_response)

    # What tests and the control API may see and do

    @property
    def log(self) -> list[Document]:
        """The data and token requests so far, oldest first."""
        with self._lock:
            return [dict(entry) for entry in self._log]

    def clear_log(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._log.clear()

    def truth(
        self, user_id: int, start: datetime | None, end: datetime | None
    ) -> dict[str, list[Document]]:
        """Say what reading everything between ``start`` and ``end`` must bring, newest first.

        A recovery's id is its cycle's, and its start its sleep's.
        """
        with self._lock:
            member = self.world.member(user_id)
            return members.truth(member, start=start, end=end, now=self.world.now())

    def minimum_requests(
        self, user_ids: Iterable[int], start: datetime | None, end: datetime | None
    ) -> int:
        """Say with how many requests these members can be connected and read, at best."""
        total = 0
        with self._lock:
            for user_id in user_ids:
                listed = self.truth(user_id, start, end)
                pages = (math.ceil(len(listed[resource]) / MAX_LIMIT) for resource in RESOURCES)
                # Beside the pages: profile, body measurement and the code exchange.
                total += sum(max(1, count) for count in pages) + 3
        return total

    def add_fault(self, fault: Fault) -> int:
        """Put a rule into force; say how many there are."""
        with self._lock:
            self._faults.add(fault, now=self.world.now())
            return len(self._faults)

    def clear_faults(self) -> None:
        """Let everything go well again."""
        with self._lock:
            self._faults.clear()

    def expire_tokens(self, user_id: int) -> int:
        """End a member's access tokens, not their refresh tokens; say how many grants."""
        with self._lock:
            self.world.member(user_id)
            return self._oauth.expire(user_id, now=self.world.now())

    def revoke_tokens(self, user_id: int) -> int:
        """End a member's grants, as they can do themselves in the WHOOP app; say how many."""
        with self._lock:
            self.world.member(user_id)
            return self._oauth.revoke(user_id)

    def advance(self, seconds: float) -> datetime:
        """Move the simulator's clock on, for the world, tokens and quotas alike."""
        with self._lock:
            self._clock.advance(seconds)
            return self.world.now()

    # Requests

    def _answer(self, request: Request) -> _Answer:
        if request.path.startswith(CONTROL_PREFIX):
            return _Answer(self._control.answer(request))
        if request.path == AUTHORIZE_PATH:
            return _Answer(self._ask(request))
        if request.path == TOKEN_PATH:
            return self._pass("token", request)
        if request.path.startswith(API_PREFIX):
            revokes = request.method == "DELETE" and request.path.endswith("/user/access")
            return self._pass("revoke" if revokes else "data", request)
        return _Answer(answers.of_status(404))

    def _ask(self, request: Request) -> Response:
        match request.method:
            case "GET":
                return self._consent.show(request)
            case "POST":
                return self._consent.decide(request, now=self.world.now())
            case _:
                return answers.of_status(405)

    def _pass(self, kind: str, request: Request) -> _Answer:
        """Let a request through the quota and the faults to its answer, and record it."""
        now = self.world.now()
        user_id = self._whose(kind, request)
        counts = kind != "token" or self.options.count_token_calls
        # WHOOP does not say whether it counts before it looks at the token; a gateway does.
        verdict = self._limits.admit(now) if counts else Verdict(admitted=True, headers={})
        response, pause = answers.of_status(429), 0.0
        if verdict.admitted:
            response, pause = self._admitted(kind, request, now)
        for name, value in verdict.headers.items():
            # A fault may have brought headers of its own.
            response.headers.setdefault(name, value)
        self._log.append(_entry(kind, request, response, user_id=user_id, now=now))
        return _Answer(response, pause + self.options.latency)

    def _admitted(self, kind: str, request: Request, now: datetime) -> tuple[Response, float]:
        """Give the answer, gone wrong if there is a rule, and how long it hangs."""

        def genuine() -> Response:
            if kind == "token":
                return self._trade(request, now)
            return self._operate(request, now)

        cursor = request.args.get("nextToken")
        fault = self._faults.take(request.path, cursor, now=now)
        if fault is None:
            return genuine(), 0.0
        response = fault.spoil(genuine, cursor)
        if response.status_code == 429:
            response.headers.setdefault("X-RateLimit-Remaining", "0")
        return response, fault.delay

    def _trade(self, request: Request, now: datetime) -> Response:
        if request.method != "POST":
            return answers.of_status(405)
        return self._oauth.token(request, now=now)

    def _operate(self, request: Request, now: datetime) -> Response:
        """Answer a data request, or say why not."""
        router = api.ROUTES.bind_to_environ(request.environ)
        try:
            endpoint, found = router.match()
        except MethodNotAllowed:
            return answers.of_status(405)
        except HTTPException:
            return answers.of_status(404)
        if isinstance(endpoint, api.MapActivity):
            return api.mapped(self.world.members, found["identity"], now)

        grant = self._oauth.authenticate(_bearer(request), now=now)
        if grant is None:
            return answers.of_status(401)
        if isinstance(endpoint, api.RevokeAccess):
            self._oauth.revoke(grant.user_id)
            return answers.of_status(204)
        return self._read(endpoint, grant, str(found.get("identity", "")), request, now)

    def _read(
        self, operation: api.Operation, grant: Grant, identity: str, request: Request, now: datetime
    ) -> Response:
        if not operation.scopes <= set(grant.scopes):
            return answers.of_status(self.options.missing_scope_status)
        member = self.world.member(grant.user_id)
        return operation.answer(api.Call(member, identity, request.args, now))

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
    }


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
