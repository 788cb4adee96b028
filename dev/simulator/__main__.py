"""Run a simulator from the command line, until Ctrl-C or SIGTERM."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence

from dev.simulator import Options, Simulator, serve


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Serve until told to stop; give the exit code."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    secret = chosen.client_secret or environment.get("SIMULATOR_CLIENT_SECRET")
    if not secret:
        parser.error("give --client-secret, or set SIMULATOR_CLIENT_SECRET")
    try:
        simulator = _simulator(chosen, secret)
    except ValueError as error:
        parser.error(str(error))

    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    try:
        with serve(simulator, chosen.port) as url:
            print(f"Simulator ready at {url}", flush=True)
            # In steps, because Windows delivers no Ctrl-C to an endless wait.
            while not stop.wait(0.2):
                pass
    except OSError as error:
        parser.error(f"port {chosen.port} cannot be had: {error.strerror}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 is any free one")
    parser.add_argument("--client-id", required=True)
    parser.add_argument("--client-secret", help="else from SIMULATOR_CLIENT_SECRET")
    parser.add_argument("--redirect-uri", action="append", help="may be given several times")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-minute", type=int, default=100)
    parser.add_argument("--per-day", type=int, default=10_000)
    parser.add_argument("--minute-seconds", type=int, default=60, help="how long a minute lasts")
    parser.add_argument("--day-seconds", type=int, default=86_400, help="how long a day lasts")
    parser.add_argument("--windows", choices=("fixed", "sliding"), default="fixed")
    parser.add_argument("--token-seconds", type=int, default=3600)
    parser.add_argument("--webhook-url", action="append", help="may be given several times")
    parser.add_argument("--webhook-timeout", type=float, default=1.0, help="seconds per answer")
    parser.add_argument("--hour-seconds", type=float, default=3600.0, help="retries last so long")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per answer")
    return parser


def _simulator(chosen: argparse.Namespace, secret: str) -> Simulator:
    settings = {
        name: getattr(chosen, name)
        for name in (
            "client_id",
            "seed",
            "per_minute",
            "per_day",
            "minute_seconds",
            "day_seconds",
            "windows",
            "token_seconds",
            "latency",
            "webhook_timeout",
            "hour_seconds",
        )
    }
    if chosen.redirect_uri:
        settings["redirect_uris"] = tuple(chosen.redirect_uri)
    settings["webhook_urls"] = tuple(chosen.webhook_url or ())
    simulator = Simulator(Options(client_secret=secret, **settings))
    for _ in range(chosen.members):
        simulator.world.add_member(days=chosen.days)
    return simulator


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
