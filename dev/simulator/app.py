"""The simulator as one WSGI app: who may pass, what they get, and a record of it."""

import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from dev.simulator import answers, members, signing
from dev.simulator.agenda import Happening
from dev.simulator.blast import Load, blast
from dev.simulator.changes import Changes
from dev.simulator.consent import Consent
from dev.simulator.control import Control
from dev.simulator.faults import Fault, Unusable
from dev.simulator.gate import Gate
from dev.simulator.living import Chance, Rates
from dev.simulator.members import RESOURCES, Document, Resource
from dev.simulator.moments import Clock
from dev.simulator.oauth import OAuth
from dev.simulator.options import Options
from dev.simulator.question import MAX_LIMIT
from dev.simulator.volley import Volley
from dev.simulator.webhooks import Post, Webhooks
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
        post: Post = signing.post,
    ) -> None:
        """Begin with nobody in the world; ``post`` is how webhooks leave it."""
        self.options = options
        self._lock = threading.RLock()
        self._clock = Clock(clock)
        self._sleep = sleep
        self.world = World(seed=options.seed, clock=self._clock, lock=self._lock, tell=self._tell)
        self.changes = Changes(self.world)
        self.webhooks = Webhooks(options, self.world.dice("webhooks"), self._clock.now, post)
        self._chance = Chance(self.world, self.changes)
        # Not seeded: after a restart, a token from before must not become somebody else's.
        self._oauth = OAuth(options, mint=lambda: secrets.token_urlsafe(32))
        self._consent = Consent(options, self._oauth, self.world.members)
        self._gate = Gate(options, self.world, self._oauth)
        self._control = Control(self)
        self._blasts = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = _Request(environ)
        try:
            # A slow sender must not keep the lock.
            request.get_data()
            if request.path.startswith(CONTROL_PREFIX):
                # Not under the lock: it takes it by itself, and may have to wait for others.
                answer = _Answer(self._control.answer(request))
            else:
                with self._lock:
                    self.world.announce()
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
            return [dict(entry) for entry in self._gate.log]

    def clear_log(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._gate.log.clear()

    def truth(
        self, user_id: int, start: datetime | None, end: datetime | None
    ) -> dict[str, list[Document]]:
        """Say what reading everything between ``start`` and ``end`` must bring, newest first.

        A recovery's id is its cycle's, and its start its sleep's.
        """
        with self._lock:
            member = self.world.member(user_id)
            return members.truth(member, start=start, end=end, now=self.world.now())

    def deleted(self, user_id: int) -> dict[Resource, list[str]]:
        """Give the ids of what a member had and has no more; what came back is not among them."""
        with self._lock:
            return self.world.member(user_id).deleted(self.world.now())

    def served(self, user_id: int) -> dict[str, dict[str, list[Document]]]:
        """Give every version that went out whole, by resource and id, the first served first.

        Two versions differ in their canonical JSON.  Whether the app waited for an answer that
        was late is not known here.
        """
        with self._lock:
            self.world.member(user_id)
            return self._gate.served.of(user_id)

    def live(
        self, days: int = 1, *, user_id: int | None = None, rates: Rates | None = None
    ) -> list[Document]:
        """Let days go by for everybody or for one member, and give the changes that chance had.

        The clock moves on by ``days``.  With 0 it stays, and members catch up with a clock that
        was moved elsewhere: new records come until now, and changes for each whole day.
        """
        if not 0 <= days <= 3660:
            raise Unusable("days is between 0 and 3660")
        chosen = Rates() if rates is None else rates
        happened: list[Document] = []
        with self._lock:
            living = list(self.world.members) if user_id is None else [user_id]
            for _ in range(max(1, days)):
                self._clock.advance(86_400 if days else 0)
                for one in living:
                    self.world.go_on(one, pending=chosen.pending)
                    happened += self._chance.draw(one, chosen)
        return happened

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
            self._gate.faults.add(fault, now=self.world.now())
            return len(self._gate.faults)

    def clear_faults(self) -> None:
        """Let everything go well again."""
        with self._lock:
            self._gate.faults.clear()

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
            self.world.announce()
            return self.world.now()

    def blast(self, load: Load, *, urls: Sequence[str] = (), edits: float = 0.0) -> dict[str, Any]:
        """Send webhooks of what connected members have at a steady rate, and measure the answers.

        ``edits`` is the share of events before which the record is really scored again.  They go
        to ``urls`` in turn, or the first of the webhooks' own, and not into the webhooks' log.
        """
        if not 0 <= edits <= 1:
            raise Unusable("edits is between 0 and 1")
        targets = [signing.checked_url(url) for url in urls or self.webhooks.urls[:1]]
        if not targets:
            raise Unusable("there is no URL to send to")
        with self._lock:
            self._blasts += 1
            volley = Volley(self.world, self.changes, self._oauth.granted(), self._blasts)
        secret = self.options.client_secret
        return blast(targets, secret, load, volley.event(edits), self.world.now)

    def _tell(self, happenings: list[Happening]) -> None:
        """Send webhooks about members who are connected; nobody hears of the others."""
        connected = self._oauth.granted()
        self.webhooks.tell(one for one in happenings if one.user_id in connected)

    # Requests

    def _answer(self, request: Request) -> _Answer:
        if request.path == AUTHORIZE_PATH:
            return _Answer(self._ask(request))
        if request.path == TOKEN_PATH:
            return _Answer(*self._gate.answer("token", request))
        if request.path.startswith(API_PREFIX):
            revokes = request.method == "DELETE" and request.path.endswith("/user/access")
            return _Answer(*self._gate.answer("revoke" if revokes else "data", request))
        return _Answer(answers.of_status(404))

    def _ask(self, request: Request) -> Response:
        match request.method:
            case "GET":
                return self._consent.show(request)
            case "POST":
                return self._consent.decide(request, now=self.world.now())
            case _:
                return answers.of_status(405)
