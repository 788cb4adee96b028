"""Runs the tests and the static checks, the same on every desk and in CI."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dev.bootstrap import ROOT

#: What must be covered branch by branch, for nothing else would notice a wrong decision there.
COVERED = (
    "shared/core/",
    "whoop/api.py",
    "whoop/drift.py",
    "whoop/oauth.py",
    "whoop/webhooks.py",
)

GATE = "--gate"

_CONTRACTS = "from importlinter.cli import lint_imports_command as lint; lint(['--no-logo'])"
CHECKS = {
    "ruff check": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "import contracts": ["-c", _CONTRACTS],
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check said and how long it took."""

    name: str
    code: int
    output: str
    seconds: float


def check(arguments: Sequence[str]) -> int:
    """Run every check, also when one has failed: all that is wrong is seen at once."""
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        outcomes = list(pool.map(_run_check, CHECKS))
    for outcome in outcomes:
        if outcome.code:
            print(f"--- {outcome.name}\n{outcome.output.strip()}\n")
    for outcome in outcomes:
        verdict = "failed" if outcome.code else "passed"
        print(f"{outcome.name:<17} {verdict} ({outcome.seconds:.1f} s)")
    return 1 if any(outcome.code for outcome in outcomes) else 0


def test(arguments: Sequence[str]) -> int:
    """Run pytest with `arguments`; with --gate, require that all of COVERED is covered."""
    chosen = pytest_arguments([one for one in arguments if one != GATE], _processors())
    if GATE not in arguments:
        return _call(["-m", "pytest", *chosen])
    _call(["-m", "coverage", "erase"])
    return _call(["-m", "coverage", "run", "-m", "pytest", *chosen]) or _gate()


def pytest_arguments(arguments: Sequence[str], processors: int) -> list[str]:
    """Add what is sensible when nothing else is asked for: the short tests, on all processors."""
    chosen = list(arguments)
    if not any(one.startswith("-m") or "::" in one for one in arguments):
        chosen += ["-m", "not long"]
    if processors > 1 and not any(_wants_one_process(one) for one in arguments):
        chosen += ["-n", str(processors), "--dist", "worksteal"]
    return chosen


def _gate() -> int:
    report = ROOT / ".dev" / "coverage.json"
    # Errors ignored: the host's tests run apps of their own, which are gone by now.
    for command in (["combine"], ["json", "-i", "-o", str(report)]):
        if _call(["-m", "coverage", *command, "--quiet"]):
            return 1
    _call(["-m", "coverage", "report", "-i"])
    folders = {ROOT / name.partition("/")[0] for name in COVERED}
    sources = [f.relative_to(ROOT).as_posix() for folder in folders for f in folder.rglob("*.py")]
    gaps = uncovered(json.loads(report.read_bytes()), sources)
    for gap in gaps:
        print(gap)
    print(f"Coverage of {', '.join(COVERED)}: {'not complete' if gaps else 'every branch'}")
    return 1 if gaps else 0


def uncovered(report: Mapping[str, Any], sources: Iterable[str]) -> list[str]:
    """List what COVERED names and coverage's JSON report does not show as run in full."""
    files: Mapping[str, Any] = {
        name.replace("\\", "/"): found for name, found in report["files"].items()
    }
    gaps = []
    for name in sorted(source for source in sources if source.startswith(COVERED)):
        found = files.get(name)
        if found is None:
            gaps.append(f"{name}: never imported by a test")
            continue
        gaps += [f"{name}:{line}: never run" for line in found["missing_lines"]]
        gaps += [
            f"{name}:{start}: never continued {f'at line {end}' if end > 0 else 'to the end'}"
            for start, end in found["missing_branches"]
        ]
        gaps += [f"{name}:{line}: excluded from coverage" for line in found["excluded_lines"]]
    return gaps


def _processors() -> int:
    """Count those that are ours to use; more than a few would only start more storage."""
    ours = getattr(os, "sched_getaffinity", None)  # only some systems have it
    return min(8, len(ours(0)) if ours else os.cpu_count() or 1)


def _wants_one_process(argument: str) -> bool:
    """Tell whether an argument makes several processes impossible, or not worth their start."""
    narrow = ("-n", "--numprocesses", "--dist", "-s", "--capture=no", "--pdb", "--trace", "--co")
    return argument.startswith((*narrow, "-k", "--lf", "--last-failed")) or (
        not argument.startswith("-") and (ROOT / argument.partition("::")[0]).exists()
    )


def _run_check(name: str) -> Outcome:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *CHECKS[name]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return Outcome(name, done.returncode, done.stdout, time.monotonic() - began)


def _call(arguments: Sequence[str]) -> int:
    """Run a Python program to its end: at Ctrl-C it is told too, and needs time to clean up."""
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
