"""The verbs `test` and `check` do what is sensible when nothing else is asked for."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from dev import checks
from dev.checks import pytest_arguments, uncovered

PARALLEL = ["-n", "2", "--dist", "worksteal"]
SHORT = ["-m", "not long"]


@pytest.mark.parametrize(
    ("asked", "added"),
    [
        ([], [*SHORT, *PARALLEL]),
        (["-q"], [*SHORT, *PARALLEL]),
        (["-k", "budget"], SHORT),
        (["-kbudget"], SHORT),
        (["tests/dev"], SHORT),
        (["tests/dev/test_checks.py::test_a"], []),
        (["-m", "long"], PARALLEL),
        (["-mlong"], PARALLEL),
        (["--pdb"], SHORT),
        (["-s"], SHORT),
        (["-n", "4"], SHORT),
        (["-n4", "-m", "azurite"], []),
        (["--maxfail=1"], [*SHORT, *PARALLEL]),
    ],
)
def test_pytest_gets_what_was_asked_for_and_what_is_sensible(
    asked: list[str], added: list[str]
) -> None:
    assert pytest_arguments(asked, 2) == asked + added


def test_one_processor_needs_no_second_process() -> None:
    assert pytest_arguments([], 1) == SHORT


def covered(**changed: Any) -> dict[str, Any]:
    return {"missing_lines": [], "missing_branches": [], "excluded_lines": [], **changed}


class TestTheGate:
    def gaps(self, files: dict[str, Any]) -> list[str]:
        sources = ["shared/core/plan.py", "whoop/api.py", "shared/sync.py"]
        return uncovered({"files": files}, sources)

    def test_what_is_covered_passes(self) -> None:
        files = {"shared/core/plan.py": covered(), "whoop\\api.py": covered()}

        assert self.gaps(files) == []

    def test_every_gap_is_named(self) -> None:
        files = {
            "shared/core/plan.py": covered(
                missing_lines=[7], missing_branches=[[3, 5], [9, -1]], excluded_lines=[11]
            ),
            "whoop/api.py": covered(),
            "shared/sync.py": covered(missing_lines=[1]),
        }

        assert self.gaps(files) == [
            "shared/core/plan.py:7: never run",
            "shared/core/plan.py:3: never continued at line 5",
            "shared/core/plan.py:9: never continued to the end",
            "shared/core/plan.py:11: excluded from coverage",
        ]

    def test_what_no_test_has_imported_is_a_gap(self) -> None:
        assert self.gaps({"whoop/api.py": covered()}) == [
            "shared/core/plan.py: never imported by a test"
        ]


class TestCheck:
    def test_all_checks_run_and_one_failure_fails(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        programs = {
            "first": ["-c", "raise SystemExit('first is wrong')"],
            "second": ["-c", "print('fine')"],
            "third": ["-c", "raise SystemExit('third is wrong')"],
        }
        monkeypatch.setattr(checks, "CHECKS", programs)

        assert checks.check([]) == 1

        said = capsys.readouterr().out
        assert "--- first\nfirst is wrong\n" in said
        assert "--- third\nthird is wrong\n" in said
        assert "fine" not in said
        assert [line.split()[:2] for line in said.splitlines()[-3:]] == [
            ["first", "failed"],
            ["second", "passed"],
            ["third", "failed"],
        ]

    def test_nothing_wrong_is_zero(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checks, "CHECKS", {"first": ["-c", "pass"]})

        assert checks.check([]) == 0


def test_at_ctrl_c_the_tests_are_given_time_to_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter((KeyboardInterrupt(), 2))

    class Interrupted:
        def __init__(self, command: list[str], **_: Any) -> None:
            assert command == [sys.executable, "-m", "pytest", "-k", "x", *SHORT]

        def wait(self) -> int:
            answer = next(waits)
            if isinstance(answer, int):
                return answer
            raise answer

    monkeypatch.setattr(subprocess, "Popen", Interrupted)

    assert checks.test(["-k", "x"]) == 2
