"""Serves the settings page on this machine, with a sign-in that real life leaves to GoToGym."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from os import PathLike
from pathlib import Path
from socketserver import TCPServer

#: Where the page asks who can sign in: the API's address, and a token for each user.
SESSION = "/dev/session.json"


@contextmanager
def serve(folder: Path, port: int, api: str, tokens: Mapping[str, str]) -> Iterator[None]:
    """Serve the files in `folder` on both of localhost's addresses, for as long as the block."""
    session = json.dumps({"api": api, "members": dict(tokens)}).encode()
    handler = partial(_Handler, session=session, directory=str(folder))
    with ExitStack() as undo:
        servers: list[_Server] = [_Server(("127.0.0.1", port), handler)]
        with suppress(OSError):  # a machine without IPv6 means the first by localhost
            servers.append(_ServerIPv6(("::1", port), handler))
        for server in servers:
            undo.callback(server.server_close)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            undo.callback(server.shutdown)
        yield


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: object, session: bytes, directory: str) -> None:
        self._session = session
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer with the session or with a file."""
        # By another name, this address would belong to a web page that pretends to be us.
        if self.headers.get("Host", "").partition(":")[0] != "localhost":
            self.send_error(421, "Use http://localhost")
        elif self.path.partition("?")[0] == SESSION:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(self._session)))
            self.end_headers()
            self.wfile.write(self._session)
        else:
            super().do_GET()

    def guess_type(self, path: str | PathLike[str]) -> str:
        """Know what a script is, whatever this machine's registry says (Windows)."""
        return "text/javascript" if str(path).endswith(".js") else super().guess_type(path)

    def end_headers(self) -> None:
        """Let nothing be kept: whoever edits the page wants to see it."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        """Say nothing: a query may hold what belongs into no log."""


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Bind without asking the name service who we are, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]


class _ServerIPv6(_Server):
    address_family = socket.AF_INET6
