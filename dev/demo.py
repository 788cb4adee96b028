"""The main job end to end: members connect, their data lands, and it is compared with the truth."""

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dev.children import ending_on_signals, free_ports
from dev.connecting import connect
from dev.failures import LocalError
from dev.raw import Current, read_current
from dev.stack import USER, Ports, Stack, World, scratch_folder, world_options

#: What WHOOP gives at most in one answer.
PAGE_RECORDS = 25
COLLECTIONS = ("cycle", "recovery", "sleep", "workout")
DOCUMENTS = ("profile", "body_measurement")
RESOURCES = COLLECTIONS + DOCUMENTS
SIGN_IN = "sign-in"
#: Longer than any wait that a quota per minute can impose.
STALLED_SECONDS = 180.0
SHOWN = 10
TOO_MANY = 429

#: A resource is known by what its address ends with, before any id; the first that fits counts.
_PATHS = (
    ("recovery", "/recovery"),
    ("sleep", "/activity/sleep"),
    ("workout", "/activity/workout"),
    ("cycle", "/cycle"),
    ("profile", "/user/profile"),
    ("body_measurement", "/user/measurement"),
)


class DemoError(LocalError):
    """The job did not end as it should."""


@dataclass(slots=True)
class Journey:
    """What happens to one member; times are those of `time.monotonic`."""

    user: str
    member: int
    token: str = field(repr=False)
    consented: float | None = None
    first: float | None = None
    last: float | None = None
    status: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """What is to be compared of one resource, over all members."""

    resource: str
    records: int
    truth: int
    wrong: tuple[str, ...]
    requests: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Report:
    """What the demo has found."""

    members: int
    lines: tuple[Line, ...]
    minimum: int
    #: Requests that WHOOP answered with 429.
    refused: int
    first_seconds: float
    last_seconds: float
    seconds: float

    @property
    def requests(self) -> int:
        """How many requests WHOOP was sent."""
        return sum(line.requests for line in self.lines)

    @property
    def is_equal(self) -> bool:
        """Whether the raw layer is the truth, at no more requests than needed."""
        return self.requests == self.minimum and not any(line.wrong for line in self.lines)

    def as_json(self) -> str:
        """Write it down for another program."""
        return json.dumps(
            {
                "members": self.members,
                "records": sum(line.records for line in self.lines),
                "truth": sum(line.truth for line in self.lines),
                "requests": self.requests,
                "minimum_requests": self.minimum,
                "first_record_seconds": round(self.first_seconds, 3),
                "seconds": round(self.seconds, 3),
            }
        )


def main(arguments: Sequence[str]) -> int:
    """Run the demo; 0 only if all is equal."""
    began = time.monotonic()
    options = _parser().parse_args(arguments)
    console = Console(stderr=options.json)  # standard output is then for the other program
    world = World(options.members, options.days, hosts=options.hosts)
    with (
        scratch_folder("demo") as folder,
        ending_on_signals(),
        Stack(folder, Ports(*free_ports(3)), world) as stack,
    ):
        console.print(f"Storage, simulator and host answer ({time.monotonic() - began:.1f} s).")
        try:
            journeys = _travel(stack, console)
            report = _compare(stack, journeys, began)
        except requests.RequestException as error:
            stack.check()  # a dead program tells more than the request that found it dead
            raise DemoError(f"A request on this machine failed: {error}.") from error
        for part in show(report):
            console.print(part, soft_wrap=True)
        if options.json:
            print(report.as_json(), flush=True)
        if not report.is_equal:
            raise DemoError("The raw layer is not the truth, or cost more than it had to.")
    return 0


def classify(path: str) -> str:
    """Say which resource a request was for."""
    return next((resource for resource, part in _PATHS if part in path), path)


def compare(truth: Iterable[Mapping[str, Any]], held: Mapping[str, Current]) -> list[str]:
    """List the records that differ, and how; both sides are of one resource of one member."""
    expected = {str(record["id"]): record for record in truth}
    differences = [f"{record} is missing" for record in expected.keys() - held.keys()]
    differences += [f"{record} does not exist" for record in held.keys() - expected.keys()]
    for record in expected.keys() & held.keys():
        updated_at = expected[record]["updated_at"]
        if held[record].hash != expected[record]["hash"]:
            differences.append(f"{record} has other content")
        elif updated_at and datetime.fromisoformat(updated_at) != held[record].updated_at:
            differences.append(f"{record} has another updated_at")
    return differences


def show(report: Report) -> list[Table | Text]:
    """Lay out what was found."""
    grid = Table()
    grid.add_column("resource")
    for heading in ("records", "truth", "requests", "minimum"):
        grid.add_column(heading, justify="right")
    grid.add_column("")
    for line in report.lines:
        grid.add_row(
            line.resource,
            *(str(count) if count else "" for count in (line.records, line.truth)),
            str(line.requests),
            str(line.minimum),
            _verdict(line),
            end_section=line is report.lines[-1],
        )
    total = sum(line.records for line in report.lines), sum(line.truth for line in report.lines)
    grid.add_row("all", *map(str, (*total, report.requests, report.minimum)), style="bold")
    wrong = [f"{line.resource} {one}" for line in report.lines for one in line.wrong]
    shown = wrong[:SHOWN] + ([f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else [])
    if report.refused:
        shown.append(f"{report.refused} requests were refused with 429: the quota was used up.")
    times = (
        f"{report.members} members. From consent to the first record {report.first_seconds:.2f} s, "
        f"to the last {report.last_seconds:.2f} s. Everything took {report.seconds:.1f} s."
    )
    return [grid, *(Text(one, "red") for one in shown), Text(times)]


def _verdict(line: Line) -> Text:
    if line.wrong:
        return Text("not the truth", "bold red")
    if line.requests != line.minimum:
        return Text("equal, at too many requests", "yellow")
    return Text("equal", "green")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m dev demo", description=__doc__, parents=[world_options()]
    )
    parser.add_argument("--json", action="store_true", help="end with the figures as JSON")
    return parser


def _travel(stack: Stack, console: Console) -> list[Journey]:
    """Connect everybody, and wait until all their data has landed."""
    with requests.Session() as session, ThreadPoolExecutor(4) as pool:
        session.trust_env = False
        members = session.get(f"{stack.simulator}/control/members", timeout=10).json()
        journeys = [
            Journey(USER.format(number), member["user_id"], stack.token(USER.format(number)))
            for number, member in enumerate(members, 1)
        ]
        consents = [pool.submit(_connect, stack, journey) for journey in journeys]
        try:
            _watch(stack, session, journeys, consents, console)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return journeys


def _connect(stack: Stack, journey: Journey) -> None:
    journey.consented = connect(stack.api, stack.page, journey.token, journey.member).at


def _watch(
    stack: Stack,
    session: requests.Session,
    journeys: Sequence[Journey],
    consents: Sequence["Future[None]"],
    console: Console,
) -> None:
    changed = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not all(journey.last for journey in journeys):
            stack.check()
            for consent in consents:
                if consent.done():
                    consent.result()
            for journey in journeys:
                if journey.consented and not journey.last and _look(stack, session, journey):
                    changed = time.monotonic()
                    if journey.last:
                        console.print(arrival(journey), soft_wrap=True)
            live.update(progress(journeys), refresh=True)
            if time.monotonic() - changed > STALLED_SECONDS:
                raise DemoError(f"Nothing has happened for {STALLED_SECONDS:.0f} s.")
            time.sleep(0.05 if not all(journey.first for journey in journeys) else 0.25)


def _look(stack: Stack, session: requests.Session, journey: Journey) -> bool:
    """Ask for a member's status; tell whether it has changed."""
    answer = session.get(
        f"{stack.api}/providers/whoop/status/",
        headers={"Authorization": f"Bearer {journey.token}"},
        timeout=30,
    )
    if answer.status_code != requests.codes.ok:
        raise DemoError(f"The status page answered {answer.status_code}: {answer.text[:200]}")
    before, journey.status = journey.status, answer.json()
    now = time.monotonic()
    resources = journey.status["resources"]
    if journey.first is None and any(resource["records"] for resource in resources):
        journey.first = now
    run = journey.status["run"]
    if run and run["state"] == "failed":
        reasons = {one["resource"]: one.get("reason") for one in resources if one.get("reason")}
        raise DemoError(f"The run of {journey.user} has failed: {reasons}")
    if run and run["state"] == "finished" and not any(one["state"] == "idle" for one in resources):
        journey.last = now
    return before != journey.status


def progress(journeys: Sequence[Journey]) -> Table:
    """Show how far everybody is."""
    grid = Table(box=None, padding=(0, 2, 0, 0))
    grid.add_column("member")
    for resource in RESOURCES:
        grid.add_column(resource, justify="right")
    for journey in journeys[:20]:
        found = {one["resource"]: one for one in journey.status.get("resources", ())}
        grid.add_row(journey.user, *(_cell(found.get(resource)) for resource in RESOURCES))
    if len(journeys) > 20:
        done = sum(1 for journey in journeys if journey.last)
        grid.add_row(f"{done} of {len(journeys)} are done")
    return grid


def arrival(journey: Journey) -> str:
    """Say that all the data of a member have landed."""
    records = sum(resource["records"] for resource in journey.status["resources"])
    seconds = (journey.last or 0) - (journey.consented or 0)
    return f"{journey.user} has connected: {records} records within {seconds:.1f} s."


def _cell(resource: Mapping[str, Any] | None) -> Text:
    if resource is None or resource["state"] == "idle":
        return Text("-", "dim")
    if resource["state"] == "finished":
        return Text(f"{resource['records']}", "green")
    style = "yellow" if resource["state"] == "waiting" else "cyan"
    return Text(f"{resource['records']} ({resource['progress']:.0%})", style)


def _compare(stack: Stack, journeys: Sequence[Journey], began: float) -> Report:
    """Hold the raw layer against what the simulator knows, record by record."""
    held: Counter[str] = Counter()
    true: Counter[str] = Counter()
    least: Counter[str] = Counter({SIGN_IN: len(journeys)})
    wrong: dict[str, list[str]] = {resource: [] for resource in RESOURCES}
    minimum = 0
    with requests.Session() as session:
        session.trust_env = False
        for journey in journeys:
            goal = journey.status["run"]["goal"]
            asked = {"user_id": journey.member, "start": goal["start"], "end": goal["end"]}
            truth = session.get(f"{stack.simulator}/control/truth", params=asked, timeout=60).json()
            least_answer = session.get(
                f"{stack.simulator}/control/minimum", params=asked, timeout=60
            )
            minimum += least_answer.json()["minimum_requests"]
            for resource in RESOURCES:
                current = read_current(stack.storage, "whoop", journey.user, resource)
                held[resource] += len(current)
                true[resource] += len(truth[resource])
                least[resource] += max(1, math.ceil(len(truth[resource]) / PAGE_RECORDS))
                wrong[resource] += [
                    f"of {journey.user}: {one}" for one in compare(truth[resource], current)
                ]
        log = session.get(f"{stack.simulator}/control/requests", timeout=60).json()
    spent = Counter(
        SIGN_IN if entry["kind"] == "token" else classify(entry["path"]) for entry in log
    )
    lines = tuple(
        Line(name, held[name], true[name], tuple(wrong.get(name, ())), spent[name], least[name])
        for name in dict.fromkeys((*RESOURCES, SIGN_IN, *spent))
    )
    return Report(
        members=len(journeys),
        lines=lines,
        minimum=minimum,
        refused=sum(1 for entry in log if entry["status"] == TOO_MANY),
        first_seconds=min((j.first or 0) - (j.consented or 0) for j in journeys),
        last_seconds=max((j.last or 0) - (j.consented or 0) for j in journeys),
        seconds=time.monotonic() - began,
    )
