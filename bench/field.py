"""What the benchmarks share: a place to run in, waiting without getting in the way, and figures."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

import requests
from rich.console import Console

from dev.children import ending_on_signals
from dev.stack import scratch_folder
from tests.faults.plant import Person, Plant, a_plant

Value: TypeAlias = int | float | str
#: The functions host's own lease on a message.
LEASE_SECONDS = 600.0
TOO_MANY = 429

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured; with a ``claim``, something that must hold as well."""

    name: str
    value: Value
    claim: str = ""
    holds: bool = True


@dataclass(slots=True)
class Figures:
    """What a benchmark has found."""

    title: str
    rows: list[Figure] = field(default_factory=list)

    def note(self, name: str, value: Value) -> None:
        """Write a figure down."""
        self.rows.append(Figure(name, value))

    def claim(self, name: str, value: Value, claim: str, *, holds: bool) -> None:
        """Write a figure down that must be as ``claim`` says."""
        self.rows.append(Figure(name, value, claim, holds))

    def add(self, other: Figures) -> None:
        """Take in what ``other`` has found, under its title."""
        self.rows += [replace(row, name=f"{other.title}: {row.name}") for row in other.rows]

    def show(self, *, as_json: bool) -> int:
        """Print everything; return the exit code, which is 0 only if every claim holds."""
        if as_json:
            print(json.dumps(self._document()), flush=True)
        else:
            print(f"{self.title}\n" + "\n".join(map(_line, self.rows)), flush=True)
        return 0 if all(row.holds for row in self.rows) else 1

    def _document(self) -> Mapping[str, Any]:
        return {
            "bench": self.title,
            "figures": {row.name: row.value for row in self.rows},
            "broken": [f"{row.name}: {row.claim}" for row in self.rows if not row.holds],
        }


def _line(row: Figure) -> str:
    value = f"{row.value:,.2f}" if isinstance(row.value, float) else str(row.value)
    claim = f"   must be {row.claim}: {'holds' if row.holds else 'BROKEN'}" if row.claim else ""
    return f"  {row.name:<44} {value:>10}{claim}"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with what every benchmark can be told."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", action="store_true", help="print the figures as JSON")
    return made


@contextmanager
def a_field(
    *,
    hosts: int,
    settings: Mapping[str, str],
    haste: Mapping[str, str] | None = None,
    lease: float = LEASE_SECONDS,
    clock: Callable[[], datetime] | None = None,
    variables: Sequence[Mapping[str, str]] | None = None,
    **options: Any,
) -> Iterator[Plant]:
    """Start storage, a WHOOP with ``options``, and hosts that are warm.

    Storage is in memory: to write all of it to disk takes the emulator some 50 ms every five
    seconds, in which it answers nobody, and the service that it stands for knows no such pause.
    Without ``haste`` the app waits as long as it does in earnest.  ``variables`` are what each
    host finds in its environment besides.
    """
    more: dict[str, Any] = {"in_memory": True, **options}
    if clock is not None:
        more["clock"] = clock
    with (
        scratch_folder("bench") as folder,
        ending_on_signals(),
        a_plant(folder, settings=settings, haste=haste or {}, lease=lease, **more) as plant,
    ):
        plant.start(*(variables or [{}] * hosts))
        warm(plant)
        yield plant


def warm(plant: Plant) -> None:
    """Let every host import what it needs: what that costs, ``cold_start.py`` measures."""
    for port in plant.ports:
        answer = requests.get(f"http://127.0.0.1:{port}/health/", timeout=60)
        assert answer.ok, answer.text


def until_finished(
    plant: Plant,
    people: Sequence[Person],
    *,
    pause: float = 1.0,
    limit: float = 600.0,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Return when everybody's run has ended; asks one member at a time, and seldom.

    A status costs the storage emulator more than a page does, and the hosts need it.
    """
    left = list(people)
    deadline = time.monotonic() + limit
    while left:
        meanwhile()
        if plant.finished(left[-1]):
            left.pop()
            console.print(f"{len(people) - len(left)} of {len(people)} are done", style="dim")
            continue
        assert time.monotonic() < deadline, f"{len(left)} are not done: {plant.status(left[-1])}"
        time.sleep(pause)


def last_write(plant: Plant) -> float:
    """Return when storage wrote the last row of the raw layer, in seconds since 1970."""
    with plant.table("RawRecords") as table:
        rows = table.list_entities(select=["PartitionKey", "Timestamp"])
        return max(at.timestamp() for row in rows if (at := row.metadata["timestamp"]))


def records_are_true(
    plant: Plant,
    people: Sequence[Person],
    figures: Figures,
    *,
    beyond: Callable[[Person], AbstractSet[str]] = lambda _: frozenset(),
) -> int:
    """Claim that the raw layer is what the look-alike knows, each version there once.

    Returns how many records differ and were ``beyond`` what was to be read.
    """
    wrong = doubled = records = excused = 0
    for person in people:
        status = plant.status(person)
        differing = plant.differences(person, status["run"]["goal"])
        found = [one for one in differing if " ".join(one.split()[:2]) not in beyond(person)]
        excused += len(differing) - len(found)
        for one in found:
            console.print(f"{person.user}: {one}", style="red")
        wrong += len(found)
        records += sum(one["records"] for one in status["resources"])
        doubled += sum(one["versions"] - one["records"] for one in status["resources"])
    figures.claim("records", records, "those of the truth", holds=not wrong)
    figures.claim("versions twice", doubled, "0", holds=not doubled)
    return excused


def nobody_is_parked(plant: Plant, people: Sequence[Person], figures: Figures) -> None:
    """Claim that every connection stands, and that no message was given up."""
    parked = sum(plant.status(one)["connection"]["status"] != "connected" for one in people)
    figures.claim("connections parked", parked, "0", holds=not parked)
    poisoned = len(plant.poisoned())
    figures.claim("messages poisoned", poisoned, "0", holds=not poisoned)


def minimum(plant: Plant, people: Sequence[Person]) -> int:
    """Say how many requests these members' first runs need at best, sign-in included."""
    total = 0
    for person in people:
        goal = plant.status(person)["run"]["goal"]
        start, end = (datetime.fromisoformat(goal[side]) for side in ("start", "end"))
        total += plant.simulator.minimum_requests([person.member.user_id], start, end)
    return total


def refused(log: Sequence[Mapping[str, Any]]) -> int:
    """Count the requests that came too many."""
    return sum(entry["status"] == TOO_MANY for entry in log)


def at(entry: Mapping[str, Any]) -> float:
    """Return when a request of the look-alike's log arrived, in seconds since 1970."""
    return datetime.fromisoformat(entry["at"]).timestamp()


def share(values: Sequence[float], part: float) -> float:
    """Return the value that ``part`` of all ``values`` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def load() -> str:
    """Say how busy this machine was lately, where it can tell."""
    try:
        return f"{os.getloadavg()[0]:.2f} on {os.cpu_count()} processors, Python {sys.version[:4]}"
    except (AttributeError, OSError):  # Windows keeps no such figure
        return f"unknown on {os.cpu_count()} processors"
