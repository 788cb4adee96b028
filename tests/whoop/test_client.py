import gzip
import io
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import TypeAlias
from urllib.parse import parse_qsl, quote

import pytest

from shared.core.model import (
    HISTORY_START,
    Cursor,
    Limit,
    Page,
    Question,
    Quota,
    RecordId,
    ResourceName,
    Secret,
    Span,
)
from shared.errors import ProviderError, RateLimited, TokenRejected, Unavailable
from shared.provider import Grant
from whoop import client, config
from whoop.client import Client
from whoop.resources import FACTS

NOW = datetime(2026, 11, 22, 11, 30, tzinfo=UTC)
CYCLE, PROFILE = FACTS[ResourceName("cycle")], FACTS[ResourceName("profile")]
TOKEN, CODE, REFRESH, CLIENT_SECRET, CURSOR = (
    f"canary-{name}" for name in ("access", "code", "refresh", "client-secret", "cursor")
)
QUESTION = Question(Span(HISTORY_START, NOW), Cursor(CURSOR))
TOKENS = b'{"access_token":"new","refresh_token":"newer","expires_in":3600,"scope":"offline"}'


@dataclass
class Seen:
    """A request as it reached the server."""

    method: str
    path: str
    headers: Message
    body: bytes
    port: int


class Handler(BaseHTTPRequestHandler):
    """Reads a request and lets the server's behaviour answer it, byte by byte if it likes."""

    protocol_version = "HTTP/1.1"
    # Small pieces go out at once: there is no waiting for more in a test about dripping.
    disable_nagle_algorithm = True

    def __init__(self, server: "Server", *given: object) -> None:
        self.owner = server
        super().__init__(*given)  # type: ignore[arg-type]

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        port = self.client_address[1]
        self.owner.seen.append(Seen(self.command, self.path, self.headers, body, port))
        try:
            self.owner.behaviour(self)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server calls them so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def say(self, text: str, *more: bytes) -> None:
        self.wfile.write(text.replace("\n", "\r\n").encode("latin-1") + b"".join(more))

    def hang_up(self) -> None:
        self.close_connection = True


Behaviour: TypeAlias = Callable[[Handler], None]


@dataclass
class Server:
    """A server on this machine that misbehaves as it is told."""

    behaviour: Behaviour
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    closing: Event = field(default_factory=Event)


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever hangs up on us is what the test is about."""


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[Server]:
    server = Server(behaviour)
    with Listener(("127.0.0.1", 0), partial(Handler, server)) as listener:
        server.url = f"http://127.0.0.1:{listener.server_port}"
        thread = Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            listener.shutdown()
            thread.join()


def a_client(url: str) -> Client:
    env = {
        "WHOOP_CLIENT_ID": "an-app",
        "WHOOP_CLIENT_SECRET": CLIENT_SECRET,
        "WHOOP_REDIRECT_URI": "https://api.gotogym.store/oauth/whoop/callback/",
        "WHOOP_API_URL": f"{url}/developer",
        "WHOOP_OAUTH_URL": f"{url}/oauth/oauth2",
    }
    read = config.read(env)
    assert read.problems == ()
    return Client(read, lambda: NOW)


CALLS: dict[str, Callable[[Client], object]] = {
    "page": lambda client: client.fetch(Secret(TOKEN), CYCLE, QUESTION),
    "document": lambda client: client.fetch(Secret(TOKEN), PROFILE, None),
    "redeem": lambda client: client.redeem(Secret(CODE)),
    "renew": lambda client: client.renew(Secret(REFRESH)),
    "revoke": lambda client: client.revoke(Secret(TOKEN)),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
#: Those whose answer has a body.
TOLD = [name for name in CALLS if name != "revoke"]
every_question = pytest.mark.parametrize("call", [CALLS[name] for name in TOLD], ids=TOLD)


def refused(call: Callable[[], object]) -> ProviderError:
    """The error of a call, which must lead to nothing that was sent."""
    with pytest.raises(ProviderError) as caught:
        call()
    told = ["".join(traceback.format_exception(caught.value))]
    link: BaseException | None = caught.value
    links = []
    while link is not None:
        links.append(link)
        told += [str(link), repr(link), repr(link.args)]
        link = link.__cause__ or link.__context__
    for secret in (TOKEN, CODE, REFRESH, CLIENT_SECRET, CURSOR):
        # The traceback quotes our lines, and none of them has a secret in it.
        assert secret not in "\n".join(told), [type(one) for one in links]
    return caught.value


# Behaviours


def answer(body: bytes, status: str = "200 OK", *headers: str) -> Behaviour:
    def behave(http: Handler) -> None:
        lines = "".join(f"{line}\n" for line in headers)
        http.say(f"HTTP/1.1 {status}\nContent-Length: {len(body)}\n{lines}\n", body)

    return behave


def chunked(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n")
    for piece in (b'{"user_id"', b":", b"10129}"):
        http.say(f"{len(piece):x}\n", piece, b"\r\n")
    http.say("0\n\n")


def until_closed(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\n\n", b'{"user_id":10129}')
    http.hang_up()


def hangs_up(http: Handler) -> None:
    http.hang_up()


def hangs_up_in_the_headers(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nContent-Le")
    http.hang_up()


def cuts(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nContent-Length: 100\n\n", b'{"user_id":10129}')
    http.hang_up()


def cuts_before_the_body(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nContent-Length: 100\n\n")
    http.hang_up()


def cuts_a_chunk(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n64\n", b'{"user_id":10129}')
    http.hang_up()


def cuts_between_chunks(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\n", b"{}", b"\r\n")
    http.hang_up()


def nonsense_chunks(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nmany\n{}\n")
    http.hang_up()


def not_http(http: Handler) -> None:
    http.say("SSH-2.0-OpenSSH_9.6\n")
    http.hang_up()


def two_lengths(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 3\n\n{}")
    http.hang_up()


def too_many_headers(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\n" + "X: y\n" * 200 + "Content-Length: 2\n\n{}")
    http.hang_up()


def an_endless_header(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nX: " + "y" * 100_000 + "\nContent-Length: 2\n\n{}")
    http.hang_up()


def not_gzip(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 2\n\n{}")


def cut_gzip(http: Handler) -> None:
    half = gzip.compress(b'{"user_id":10129}')[:15]
    answer(half, "200 OK", "Content-Encoding: gzip")(http)


BROKEN: dict[str, Behaviour] = {
    behaviour.__name__.replace("_", " "): behaviour
    for behaviour in (
        hangs_up,
        hangs_up_in_the_headers,
        cuts,
        cuts_before_the_body,
        cuts_a_chunk,
        cuts_between_chunks,
        nonsense_chunks,
        not_http,
        two_lengths,
        too_many_headers,
        an_endless_header,
        not_gzip,
        cut_gzip,
    )
}


def silent(http: Handler) -> None:
    http.owner.closing.wait(5)
    http.hang_up()


def silent_after_the_headers(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nContent-Length: 100\n\n{")
    silent(http)


def _drip(http: Handler, piece: bytes) -> None:
    while not http.owner.closing.wait(0.01):
        http.say("", piece)


def drips(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nContent-Length: 100000\n\n")
    _drip(http, b" ")


def drips_until_closed(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\n\n")
    _drip(http, b" ")


def drips_chunks(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n")
    _drip(http, b"1\r\n \r\n")


def drips_an_error(http: Handler) -> None:
    http.say("HTTP/1.1 500 Internal Server Error\nContent-Length: 100000\n\n")
    _drip(http, b" ")


def drips_a_redirect(http: Handler) -> None:
    http.say("HTTP/1.1 302 Found\nLocation: /elsewhere\nContent-Length: 100000\n\n")
    _drip(http, b" ")


DRIPPING: dict[str, Behaviour] = {
    behaviour.__name__.replace("_", " "): behaviour
    for behaviour in (drips, drips_until_closed, drips_chunks, drips_an_error, drips_a_redirect)
}


def _flood(http: Handler, piece: bytes) -> None:
    while not http.owner.closing.is_set():
        http.say("", piece)


def floods(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\n\n")
    _flood(http, b" " * 65_536)


def floods_with_chunks(http: Handler) -> None:
    http.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n")
    _flood(http, b"1000\r\n" + b" " * 4096 + b"\r\n")


def floods_as_announced(http: Handler) -> None:
    http.say(f"HTTP/1.1 200 OK\nContent-Length: {10**15}\n\n")
    _flood(http, b" " * 65_536)


def floods_when_unpacked(http: Handler) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as bomb:
        bomb.write(b" " * 20_000_000)
    answer(packed.getvalue(), "200 OK", "Content-Encoding: gzip")(http)


def floods_with_a_redirect(http: Handler) -> None:
    http.say("HTTP/1.1 307 Temporary Redirect\nLocation: /elsewhere\n\n")
    _flood(http, b" " * 65_536)


FLOODING: dict[str, Behaviour] = {
    behaviour.__name__.replace("_", " "): behaviour
    for behaviour in (
        floods,
        floods_with_chunks,
        floods_as_announced,
        floods_when_unpacked,
        floods_with_a_redirect,
    )
}


class TestWhatIsSent:
    def test_a_grant_is_given_back_with_its_token(self) -> None:
        with serving(answer(b"", "204 No Content")) as server:
            a_client(server.url).revoke(Secret(TOKEN))

        (seen,) = server.seen
        assert (seen.method, seen.path, seen.body) == ("DELETE", "/developer/v2/user/access", b"")
        assert seen.headers["Authorization"] == f"Bearer {TOKEN}"

    def test_a_page_is_asked_for_with_token_and_query(self) -> None:
        with serving(answer(b'{"records":[]}')) as server:
            page = a_client(server.url).fetch(Secret(TOKEN), CYCLE, QUESTION)

        assert page.records == ()
        (seen,) = server.seen
        path, _, query = seen.path.partition("?")
        assert (seen.method, path, seen.body) == ("GET", "/developer/v2/cycle", b"")
        assert dict(parse_qsl(query, strict_parsing=True)) == {
            "limit": "25",
            "end": "2026-11-22T11:30:00.000Z",
            "nextToken": CURSOR,
        }
        assert seen.headers["Authorization"] == f"Bearer {TOKEN}"

    @pytest.mark.parametrize("cursor", ["a+b/c==", "a&end=x#y", "ñ☃", " ", "%2B"])
    def test_a_cursor_comes_back_as_it_was_given(self, cursor: str) -> None:
        with serving(answer(b'{"records":[]}')) as server:
            question = Question(QUESTION.span, Cursor(cursor))
            a_client(server.url).fetch(Secret(TOKEN), CYCLE, question)

        query = parse_qsl(server.seen[0].path.partition("?")[2], keep_blank_values=True)
        assert dict(query)["nextToken"] == cursor

    @pytest.mark.parametrize(
        ("resource", "path"),
        [
            ("cycle", "/v2/cycle/"),
            ("recovery", "/v2/cycle/{}/recovery"),
            ("sleep", "/v2/activity/sleep/"),
            ("workout", "/v2/activity/workout/"),
        ],
    )
    @pytest.mark.parametrize("record", ["93845", "ecfc6a15-4661", "../user/profile/basic?x=ñ"])
    def test_one_record_is_asked_for_by_its_id(self, resource: str, path: str, record: str) -> None:
        with serving(answer(b"{}")) as server:
            facts = FACTS[ResourceName(resource)]
            page = a_client(server.url).fetch_one(Secret(TOKEN), facts, RecordId(record))

        assert len(page.misfits) == 1
        (seen,) = server.seen
        whole = path if "{}" in path else path + "{}"
        assert seen.path == "/developer" + whole.format(quote(record, safe=""))
        assert seen.headers["Authorization"] == f"Bearer {TOKEN}"

    def test_a_document_is_asked_for_without_a_query(self) -> None:
        with serving(answer(b'{"user_id":10129}')) as server:
            page = a_client(server.url).fetch(Secret(TOKEN), PROFILE, None)

        assert page.records[0].account == "10129"
        assert server.seen[0].path == "/developer/v2/user/profile/basic"

    @pytest.mark.parametrize(
        ("call", "form"),
        [
            (
                "redeem",
                {
                    "grant_type": "authorization_code",
                    "code": CODE,
                    "redirect_uri": "https://api.gotogym.store/oauth/whoop/callback/",
                },
            ),
            (
                "renew",
                {"grant_type": "refresh_token", "refresh_token": REFRESH, "scope": "offline"},
            ),
        ],
    )
    def test_a_grant_is_asked_for_with_a_form(self, call: str, form: dict[str, str]) -> None:
        with serving(answer(TOKENS)) as server:
            CALLS[call](a_client(server.url))

        (seen,) = server.seen
        assert (seen.method, seen.path) == ("POST", "/oauth/oauth2/token")
        assert seen.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert "Authorization" not in seen.headers
        assert dict(parse_qsl(seen.body.decode(), strict_parsing=True)) == form | {
            "client_id": "an-app",
            "client_secret": CLIENT_SECRET,
        }

    @every_call
    def test_every_request_says_who_we_are(self, call: Callable[[Client], object]) -> None:
        # A grant is no page.
        with serving(answer(TOKENS)) as server, suppress(Unavailable):
            call(a_client(server.url))

        assert server.seen[0].headers["User-Agent"] == client.USER_AGENT
        assert "python" not in client.USER_AGENT.lower()
        assert server.seen[0].headers["Accept"] == "application/json"

    @every_call
    def test_what_the_machine_is_set_to_changes_nothing(
        self, call: Callable[[Client], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password else\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with serving(answer(TOKENS)) as server, suppress(Unavailable):
            call(a_client(server.url))

        assert server.seen[0].headers.get("Authorization") in {None, f"Bearer {TOKEN}"}

    def test_one_members_cookies_are_not_sent_for_the_next_one(self) -> None:
        cookies = ("Set-Cookie: member=1; Path=/", "Set-Cookie: __cf_bm=2; Path=/; HttpOnly")
        with serving(answer(b"{}", "200 OK", *cookies)) as server:
            one = a_client(server.url)
            for token in ("a", "b"):
                one.fetch(Secret(token), PROFILE, None)

        assert [seen.headers["Authorization"] for seen in server.seen] == ["Bearer a", "Bearer b"]
        assert [seen.headers.get("Cookie") for seen in server.seen] == [None, None]

    @pytest.mark.parametrize("token", [f"{TOKEN}\r\nX: y", f"{TOKEN}☃", f"{TOKEN}\ud800"])
    def test_a_token_that_fits_in_no_header_is_not_shown_either(self, token: str) -> None:
        with serving(answer(b"{}")) as server:
            error = refused(lambda: a_client(server.url).fetch(Secret(token), PROFILE, None))

        assert type(error) is Unavailable

    def test_its_repr_shows_no_secret(self) -> None:
        assert CLIENT_SECRET not in repr(a_client("http://localhost:1"))


class TestSessions:
    def test_one_thread_talks_over_one_connection(self) -> None:
        for behaviour in (
            answer(b"{}"),
            chunked,
            answer(gzip.compress(b"{}"), "200 OK", "Content-Encoding: gzip"),
        ):
            with serving(behaviour) as server:
                one = a_client(server.url)
                for _ in range(3):
                    one.fetch(Secret(TOKEN), PROFILE, None)

            assert len({seen.port for seen in server.seen}) == 1

    def test_refusals_do_not_cost_the_connection(self) -> None:
        with serving(answer(b"Authorization was not valid", "401 Unauthorized")) as server:
            one = a_client(server.url)
            for _ in range(3):
                assert type(refused(lambda: CALLS["page"](one))) is TokenRejected

        assert len({seen.port for seen in server.seen}) == 1

    def test_every_thread_has_a_session_of_its_own(self) -> None:
        barrier = Barrier(4)
        with serving(answer(b"{}")) as server, ThreadPoolExecutor(4) as pool:
            one = a_client(server.url)

            def work() -> int:
                barrier.wait(5)
                session = one._session()
                one.fetch(Secret(TOKEN), PROFILE, None)
                assert one._session() is session
                barrier.wait(5)
                return id(session)

            sessions = {job.result() for job in [pool.submit(work) for _ in range(4)]}

        assert len(sessions) == 4
        assert len({seen.port for seen in server.seen}) == 4

    def test_clients_share_no_session(self) -> None:
        assert a_client("http://localhost:1")._session() is not (
            a_client("http://localhost:1")._session()
        )


class TestAnswers:
    @pytest.mark.parametrize(
        "behaviour",
        [
            answer(b'{"user_id":10129}'),
            answer(b'{"user_id":10129}', "200 OK", "Content-Type: text/html; charset=utf-16"),
            answer(gzip.compress(b'{"user_id":10129}'), "200 OK", "Content-Encoding: gzip"),
            chunked,
            until_closed,
        ],
        ids=["plain", "whatever its type", "gzip", "chunked", "until closed"],
    )
    def test_an_answer_is_read_however_it_is_sent(self, behaviour: Behaviour) -> None:
        with serving(behaviour) as server:
            page = a_client(server.url).fetch(Secret(TOKEN), PROFILE, None)

        assert page.records[0].body == '{"user_id":10129}'

    def test_a_large_answer_is_read_whole(self) -> None:
        text = "x" * 3_000_000
        with serving(answer(b'{"text":"%s"}' % text.encode())) as server:
            page = a_client(server.url).fetch(Secret(TOKEN), PROFILE, None)

        assert len(page.records[0].body) == len(text) + 11

    def test_headers_count_in_any_case(self) -> None:
        behaviour = answer(b"", "429 Too Many Requests", "X-rAtElImIt-ReSeT: 3")
        with serving(behaviour) as server:
            for call in CALLS.values():
                error = refused(lambda call=call: call(a_client(server.url)))  # type: ignore[misc]
                assert isinstance(error, RateLimited)
                assert error.retry_at == NOW + timedelta(seconds=3)

    @every_question
    def test_what_whoop_says_of_the_limits_comes_along(
        self, call: Callable[[Client], Page | Grant]
    ) -> None:
        body = TOKENS[:-1] + b',"records":[]}'
        limits = "X-RateLimit-Limit: 100, 100;window=60, 10000;window=86400"
        left = "x-ratelimit-remaining: 98"
        with serving(answer(body, "200 OK", limits, left, "X-RATELIMIT-RESET: 3")) as server:
            told = call(a_client(server.url))
        with serving(answer(body)) as server:
            untold = call(a_client(server.url))

        minute, day = Limit(100, timedelta(minutes=1)), Limit(10_000, timedelta(days=1))
        assert told.quota == Quota((minute, day), minute, 98, timedelta(seconds=3))
        assert untold.quota is None

    @every_call
    @pytest.mark.parametrize("behaviour", BROKEN.values(), ids=BROKEN.keys())
    def test_a_broken_answer_is_none(
        self, call: Callable[[Client], object], behaviour: Behaviour
    ) -> None:
        with serving(behaviour) as server:
            error = refused(lambda: call(a_client(server.url)))

        assert type(error) is Unavailable
        # Trying again is not this module's business.
        assert len(server.seen) == 1

    @every_call
    def test_a_connection_that_is_refused_is_an_outage(
        self, call: Callable[[Client], object]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        error = refused(lambda: call(a_client(f"http://127.0.0.1:{port}")))
        assert type(error) is Unavailable
        assert str(error) == "no answer from WHOOP: ConnectionError"

    def test_a_server_without_tls_is_an_outage(self) -> None:
        with serving(not_http) as server:
            secure = server.url.replace("http:", "https:")
            error = refused(lambda: CALLS["page"](a_client(secure)))
        assert type(error) is Unavailable
        assert server.seen == []

    @every_question
    def test_an_outage_does_not_last_beyond_itself(self, call: Callable[[Client], object]) -> None:
        with serving(hangs_up) as server:
            one = a_client(server.url)
            refused(lambda: call(one))
            server.behaviour = answer(TOKENS[:-1] + b',"records":[]}')
            call(one)


class TestPatience:
    @every_call
    @pytest.mark.parametrize("behaviour", [silent, silent_after_the_headers])
    def test_silence_is_not_waited_out(
        self,
        call: Callable[[Client], object],
        behaviour: Behaviour,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(client, "READ", 0.05)
        with serving(behaviour) as server:
            began = time.monotonic()
            error = refused(lambda: call(a_client(server.url)))
            assert time.monotonic() - began < 2

        assert type(error) is Unavailable

    @pytest.mark.parametrize("behaviour", DRIPPING.values(), ids=DRIPPING.keys())
    def test_an_answer_that_drips_is_given_up(
        self, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "WHOLE", 0.1)
        with serving(behaviour) as server:
            began = time.monotonic()
            error = refused(lambda: CALLS["page"](a_client(server.url)))
            assert time.monotonic() - began < 2

        assert type(error) is Unavailable
        assert str(error) == "WHOOP's answer is too long or too slow"

    @pytest.mark.parametrize("behaviour", FLOODING.values(), ids=FLOODING.keys())
    def test_an_answer_that_never_ends_is_given_up(
        self, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "LARGEST", 1_000_000)
        with serving(behaviour) as server:
            error = refused(lambda: CALLS["page"](a_client(server.url)))

        assert type(error) is Unavailable
        assert str(error) == "WHOOP's answer is too long or too slow"

    def test_all_waiting_together_is_shorter_than_a_renewers_claim(self) -> None:
        assert client.CONNECT + client.READ + client.WHOLE + client.READ < 60


class TestRedirects:
    @every_call
    @pytest.mark.parametrize(
        "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
    )
    def test_no_redirect_is_followed(self, call: Callable[[Client], object], status: str) -> None:
        with ExitStack() as stack:
            trap = stack.enter_context(serving(answer(TOKENS)))
            server = stack.enter_context(
                serving(answer(b"", status, f"Location: {trap.url}/{status[:3]}"))
            )
            error = refused(lambda: call(a_client(server.url)))

        assert type(error) is Unavailable
        assert trap.seen == []
        assert len(server.seen) == 1

    @pytest.mark.parametrize(
        "location",
        [
            "/elsewhere",
            "",
            "http://[::1",
            "http://",
            "//",
            "file:///etc/passwd",
            "ñ",
            "http://a:b/",
        ],
    )
    def test_a_redirect_to_nowhere_is_no_different(self, location: str) -> None:
        with serving(answer(b"", "302 Found", f"Location: {location}")) as server:
            error = refused(lambda: CALLS["page"](a_client(server.url)))

        assert type(error) is Unavailable
        assert str(error) == "WHOOP answered 302"
        assert len(server.seen) == 1
