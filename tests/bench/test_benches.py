from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.azurite, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
SMALL = "--members 1 --days 60 --hosts 2 --windows sliding"


@pytest.mark.parametrize(
    ("bench", "arguments"),
    [
        # A margin of a second is much of so short a minute.
        ("quota", f"{SMALL} --per-minute 10 --scale 5 --most-over 40"),
        ("nightly", "--members 7 --newcomers 2 --spread 20"),
        ("kills", "--kills 2 --members 2 --days 90 --hosts 2"),
        ("webhooks", "--rate 20 --seconds 2 --members 1 --deletions 1 --slowest 1000"),
        ("webhooks", "--rate 20 --seconds 4 --members 1 --deletions 1 --kill"),
        ("storm", "--members 2 --days 90 --seconds 1"),
    ],
)
def test_a_small_one_keeps_all_that_it_claims(bench: str, arguments: str) -> None:
    done = run(bench, *arguments.split(), "--json")

    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["broken"] == []
    assert found["figures"]


def test_a_claim_that_does_not_hold_fails_the_bench() -> None:
    arguments = f"{SMALL} --per-minute 10 --scale 5 --most-over 0"

    done = run("quota", *arguments.split())

    assert done.returncode == 1, done.stderr + done.stdout
    assert "BROKEN" in done.stdout


def test_a_cold_start_is_measured() -> None:
    done = run("cold_start", "1")

    assert done.returncode == 0, done.stderr
    assert "first sync message" in done.stdout


def run(bench: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own
        [sys.executable, str(ROOT / "bench" / f"{bench}.py"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
