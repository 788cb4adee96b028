"""Serves HTTP/1.1 with keep-alive on both loopback addresses.

Werkzeug's own server closes every connection after one answer; ours reads each request to its
end, so a connection can be used again.
"""

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from dev.host.functions import CannotStart

#: What Azure accepts as a body.
LONGEST_BODY = 210 * 1024 * 1024
#: How long an answer may take to be sent when everything else has ended.
LAST_WORD_SECONDS = 1
#: How long a browser may keep an idle connection.
IDLE_SECONDS = 75

log = logging.getLogger(__name__)

Reply = Callable[[Request], Response]


class Server:
    """Answers requests in threads from ``start`` to ``stop``."""

    def __init__(self, reply: Reply, port: int) -> None:
        first = _listen("127.0.0.1", port, reply)
        self.port = int(first.server_address[1])
        # "localhost" may mean either address; machines without IPv6 have only the first.
        self._listeners = [first]
        if _is_free("::1", self.port):
            self._listeners.append(_listen("::1", self.port, reply))

    def start(self) -> None:
        """Begin to answer."""
        for listener in self._listeners:
            threading.Thread(
                target=listener.serve_forever, args=(0.02,), name="http", daemon=True
            ).start()

    def stop(self) -> None:
        """Take no new connections."""
        for listener in self._listeners:
            listener.shutdown()

    def close(self) -> None:
        """Close every connection, also those that a client keeps open."""
        for listener in self._listeners:
            listener.server_close()
        deadline = time.monotonic() + LAST_WORD_SECONDS
        while time.monotonic() < deadline and any(one.busy for one in self._listeners):
            time.sleep(0.01)
        for listener in self._listeners:
            listener.hang_up()


class _Handler(WSGIRequestHandler):
    """Answers the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: "_Listener"

    def run_wsgi(self) -> None:
        """Answer one request; werkzeug calls this for any method."""
        self.server.busy.add(self)
        try:
            self._answer()
        finally:
            self.server.busy.discard(self)

    def _answer(self) -> None:
        request = Request(self.make_environ())
        request.max_content_length = LONGEST_BODY
        try:
            request.get_data()  # to the end, so that the next request starts where it should
        except (HTTPException, OSError) as error:
            self.close_connection = True
            response = Response(status=getattr(error, "code", None) or 400)
        else:
            response = self.server.reply(request)
        self._send(response)

    def _send(self, response: Response) -> None:
        body = response.get_data()
        self.send_response(response.status_code)
        for name, value in response.headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        bodiless = response.status_code in {204, 304} or response.status_code < 200
        if not bodiless:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if body and not bodiless and self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent: a request line holds the query, and a query may hold a secret."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Stay silent, for the same reason."""


class _Listener(ThreadedWSGIServer):
    """Accepts connections on one address, and remembers the open ones."""

    def __init__(self, host: str, port: int, reply: Reply) -> None:
        self.reply = reply
        self.busy: set[_Handler] = set()
        self._open: set[socket.socket] = set()
        super().__init__(host, port, _no_wsgi, handler=_Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service who we are, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a connection."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong; one connection must not stop the others."""
        log.error("a connection failed", exc_info=sys.exception())

    def hang_up(self) -> None:
        """End every connection."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended by itself


def _listen(host: str, port: int, reply: Reply) -> _Listener:
    try:
        return _Listener(host, port, reply)
    except SystemExit:  # werkzeug's way to say so
        raise CannotStart([f"cannot listen on {host}:{port}: is something else there?"]) from None


def _is_free(host: str, port: int) -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError:
        return False
    return True


def _no_wsgi(environ: object, start_response: object) -> list[bytes]:
    raise AssertionError("requests go to reply()")
