"""Somebody who receives webhooks in a test, over real HTTP."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def timestamp(self) -> str:
        return self.headers["x-whoop-signature-timestamp"]

    def is_signed(self, secret: str) -> bool:
        """Check as WHOOP's documentation says: timestamp header and raw body, SHA-256, base64."""
        message = self.timestamp.encode("utf-8") + self.body
        expected = hmac.new(secret.encode("utf-8"), message, hashlib.sha256).digest()
        return self.headers["x-whoop-signature"] == base64.b64encode(expected).decode()


class Receiver:
    """Keeps what came; answers what ``answer`` says, 204 unless told otherwise."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answer: Callable[[Received], int] = lambda _: 204
        #: How many seconds every answer takes.
        self.pause = 0.0
        #: Whether each connection ends after one answer, without a word.
        self.hangs_up = False
        self.url = ""
        self._lock = threading.Lock()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [one.event for one in self.received]

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(one["type"], one["id"]) for one in self.events]

    def take(self, one: Received) -> int:
        with self._lock:
            self.received.append(one)
        time.sleep(self.pause)
        return self.answer(one)


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            port = self.client_address[1]
            status = receiver.take(Received(self.path, headers, body, port))
            try:
                self.send_response_only(status)
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()
                self.close_connection = receiver.hangs_up
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # else many connections at once are dropped

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/webhooks/whoop/"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
