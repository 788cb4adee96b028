"""Runs a function app from the command line: ``python -m dev.host --app DIR``."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from dev.host.functions import CannotStart
from dev.host.host import LEASE_SECONDS, Host

#: What ``func start`` uses.
PORT = 7071

log = logging.getLogger("dev.host")


def main(arguments: Sequence[str]) -> int:
    """Run until a signal comes; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dev.host", description=__doc__)
    parser.add_argument("--app", type=Path, default=Path(), help="folder of function_app.py")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--settings", type=Path, help="default: the app's local.settings.json")
    parser.add_argument("--lease", type=float, default=LEASE_SECONDS, help="seconds, for tests")
    given = parser.parse_args(arguments)

    _log_to_stderr()
    app_dir = given.app.resolve()
    settings = given.settings.resolve() if given.settings else app_dir / "local.settings.json"
    if given.settings is None and not settings.exists():
        settings = None
    # Azure starts the worker there.
    if app_dir.is_dir():
        os.chdir(app_dir)

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    host = Host(app_dir, given.port, given.lease, settings=settings)
    try:
        host.start()
    except CannotStart as error:
        for problem in error.problems:
            log.error("%s", problem)  # noqa: TRY400 - a problem of the app, not of the host
        return 1
    log.info("%d functions at %s", len(host.functions), host.url)
    while not stopping.wait(0.5):  # a wait without end would not hear Ctrl-C on Windows
        pass
    if not host.stop():
        log.warning("stopped while functions were running; their messages come back")
        logging.shutdown()
        # Python would wait for their threads.
        os._exit(0)
    return 0


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for chatty in ("azure.core.pipeline.policies.http_logging_policy", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
