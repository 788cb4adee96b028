"""Serve a simulator on this machine, for as long as a ``with`` block lasts."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.serving import WSGIRequestHandler, make_server

from dev.simulator.app import Simulator


class _Silent(WSGIRequestHandler):
    """Writes no request log: paths there come with their query, and so with codes."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing; ``Simulator.log`` knows what was asked."""


@contextmanager
def serve(simulator: Simulator, port: int = 0) -> Iterator[str]:
    """Serve ``simulator`` to this machine only; give its URL.

    Port 0 is any free one; one that is taken is an ``OSError``.
    """
    # Listening here, because Werkzeug ends the whole process when the port is taken.
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        server = make_server(
            "127.0.0.1",
            port,
            simulator,
            threaded=True,
            request_handler=_Silent,
            fd=listener.fileno(),
        )
    thread = threading.Thread(
        target=server.serve_forever, args=(0.02,), name="simulator", daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
