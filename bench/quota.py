"""Measure how exactly the quota is spent: several hosts, one limit, and not one request too many.

    .venv/bin/python bench/quota.py [--members 4] [--days 365] [--hosts 4] [--windows fixed sliding]

Members connect at once under WHOOP's default limit of 100 requests a minute, in real time.  The
ideal is the earliest moment at which the last request could have been sent: the limit's windows,
filled to the brim, with requests that take no time.  The look-alike counts 429s; the raw layer is
compared with the truth as `python3 -m dev demo` does.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402 - only now dev can be found
from rich.console import Console  # noqa: E402

from dev import demo  # noqa: E402
from dev.children import ending_on_signals, free_ports  # noqa: E402
from dev.stack import Ports, Stack, World, scratch_folder  # noqa: E402

PER_MINUTE = 100
MINUTE = 60.0


def main() -> int:
    """Run each kind of window and print a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--windows", nargs="+", default=["fixed", "sliding"])
    options = parser.parse_args()
    print("windows   hosts  requests  minimum  429s  makespan  ideal     over  equal")
    bad = False
    for windows in options.windows:
        world = World(
            options.members, options.days, hosts=options.hosts, simulator=("--windows", windows)
        )
        bad |= not _run(world, windows)
    return int(bad)


def _run(world: World, windows: str) -> bool:
    with (
        scratch_folder("bench") as folder,
        ending_on_signals(),
        Stack(folder, Ports(*free_ports(3)), world) as stack,
    ):
        began = time.monotonic()
        journeys = demo._travel(stack, Console(stderr=True))  # noqa: SLF001 - the demo's own walk
        report = demo._compare(stack, journeys, began)  # noqa: SLF001 - and its own comparison
        log = requests.get(f"{stack.simulator}/control/requests", timeout=60).json()
    refused = sum(entry["status"] == 429 for entry in log)
    makespan = report.last_seconds
    ideal = (len(log) - 1) // PER_MINUTE * MINUTE
    over = f"{makespan / ideal - 1:6.1%}" if ideal else "     -"
    print(
        f"{windows:<9} {world.hosts:5}  {report.requests:8}  {report.minimum:7}  {refused:4}"
        f"  {makespan:6.1f} s  {ideal:5.1f} s  {over}  {report.is_equal}",
        flush=True,
    )
    return report.is_equal and not refused


if __name__ == "__main__":
    raise SystemExit(main())
