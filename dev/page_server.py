"""Serves the settings page on this machine, with a sign-in that real life leaves to GoToGym."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from os import PathLike
from pathlib import Path
from socketserver import TCPServer

from dev.bootstrap import ROOT

WEB = ROOT / "web"
PAGE = "/pages/settings/Dispositivos.html"
#: Where a developer chooses whom to be.
SIGN_IN = "/dev/sign-in"
#: Where the page sends whoever is not signed in.
LOGIN = "/login"
#: What a site has to change to deploy the page; served here with the local API in its place.
PRODUCT_API = "https://api.gotogym.store"

_STUB = ROOT / "dev" / "sign_in"
_OURS = {
    SIGN_IN: "sign-in.html",
    "/dev/sign-in.js": "sign-in.js",
    "/dev/session.js": "session.js",
}
_SESSION = "/dev/session.json"
_FIRST_SCRIPT = b'<script type="module"'
_KINDS = {
    ".html": "text/html;charset=utf-8",
    ".js": "text/javascript;charset=utf-8",
    ".json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Site:
    """What is served: the files of `folder`, and who can sign in."""

    api: str
    tokens: Mapping[str, str]
    folder: Path = WEB
    #: Texts of the page to serve others in place of, beside the API's address.
    changes: Mapping[str, str] | None = None

    def session(self) -> bytes:
        """Say who can be signed in, with a token for each."""
        return json.dumps({"page": PAGE, "members": dict(self.tokens)}).encode()

    def adapt(self, name: str, text: bytes) -> bytes:
        """Change a file as somebody who deploys it would, and sign members in."""
        for before, after in {PRODUCT_API: self.api, **(self.changes or {})}.items():
            text = text.replace(before.encode(), after.encode())
        if name.endswith(".html"):
            stub = b'<script src="/dev/session.js"></script>\n  '
            text = text.replace(_FIRST_SCRIPT, stub + _FIRST_SCRIPT, 1)
        return text


@contextmanager
def serve(site: Site, port: int) -> Iterator[None]:
    """Serve `site` on both of localhost's addresses, for as long as the block."""
    handler = partial(_Handler, site=site, directory=str(site.folder))
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
    def __init__(self, *args: object, site: Site, directory: str) -> None:
        self._site = site
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer with the sign-in, or with a file of the site."""
        path = self.path.partition("?")[0]
        file = Path(self.translate_path(path))
        # By another name, this address would belong to a web page that pretends to be us.
        if self.headers.get("Host", "").partition(":")[0] != "localhost":
            self.send_error(421, "Use http://localhost")
        elif path == LOGIN:
            self.send_response(302)
            self.send_header("Location", SIGN_IN)
            self.end_headers()
        elif path == _SESSION:
            self._answer(".json", self._site.session())
        elif path in _OURS:
            self._answer(Path(_OURS[path]).suffix, (_STUB / _OURS[path]).read_bytes())
        elif file.suffix in _KINDS and file.is_file():
            self._answer(file.suffix, self._site.adapt(file.name, file.read_bytes()))
        else:
            super().do_GET()

    def _answer(self, suffix: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", _KINDS[suffix])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def guess_type(self, path: str | PathLike[str]) -> str:
        """Know what a picture is, whatever this machine's registry says (Windows)."""
        return "image/svg+xml" if str(path).endswith(".svg") else super().guess_type(path)

    def end_headers(self) -> None:
        """Let nothing be kept or framed: whoever edits the page wants to see it."""
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
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
