"""What one sees of `python3 -m dev` before any verb runs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dev import __main__ as start
from dev import bootstrap, verbs
from dev.bootstrap import ROOT, Environment
from dev.failures import LocalError

DEV = ROOT / "dev"


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 14, 0)])
def test_a_python_that_cannot_run_it_is_told_so(
    version: tuple[int, int, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "version_info", version)

    assert start.main() == 2

    said = capsys.readouterr().err
    assert "Python 3.11, 3.12 or 3.13 is needed" in said
    assert "this is " + ".".join(map(str, version)) in said


def test_a_python_that_is_too_old_can_read_the_files_that_tell_it_so() -> None:
    for name in ("__init__.py", "__main__.py"):
        ast.parse((DEV / name).read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_whoever_asks_is_told_what_there_is(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert verbs.main(arguments) == 0

    said = capsys.readouterr().out
    assert all(
        f"  {verb}" in said
        for verb in ("demo", "test", "up", "export", "check", "lock", "screenshots")
    )


def test_a_verb_that_does_not_exist_installs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.main(["deploy"]) == 2
    assert capsys.readouterr().err.startswith("There is no verb `deploy`.\n")


def test_every_verb_has_its_code() -> None:
    for verb in verbs.VERBS.values():
        module, _, function = verb.code.partition(":")
        assert f"def {function}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()


def test_a_browser_is_there_for_those_who_look_at_the_page_and_for_nobody_else() -> None:
    assert {name for name, verb in verbs.VERBS.items() if verb.with_browser} == {
        "test",
        "screenshots",
    }


class TestRunning:
    @pytest.fixture(autouse=True)
    def inside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bootstrap, "environment", lambda _: Environment(Path(sys.prefix)))
        monkeypatch.setattr(bootstrap, "ensure", lambda *_, **__: None)

    def run(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
        def fail(arguments: Sequence[str]) -> int:
            raise error

        monkeypatch.setattr("dev.checks.check", fail)
        return verbs.main(["check"])

    def test_a_problem_on_this_machine_is_told_with_its_notes_and_no_traceback(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        error = LocalError("Port 7071 is in use.")
        error.add_note("The logs are here.")

        assert self.run(monkeypatch, error) == 1

        said = capsys.readouterr().err
        assert said == "python3 -m dev: Port 7071 is in use.\nThe logs are here.\n"

    def test_ctrl_c_is_no_failure_to_tell_of(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.run(monkeypatch, KeyboardInterrupt()) == 130

    @pytest.mark.parametrize(
        ("error", "code", "said"),
        [
            (LocalError("No network."), 1, "No network."),
            (PermissionError(13, "Permission denied", ".venv"), 1, ".venv may not be written"),
            (KeyboardInterrupt(), 130, "Interrupted; the next run mends what is half done."),
        ],
    )
    def test_a_set_up_that_breaks_off_is_told(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: BaseException,
        code: int,
        said: str,
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(bootstrap, "ensure", fail)

        assert verbs.main(["check"]) == code
        assert said in capsys.readouterr().err


def test_the_command_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dev"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "python3 -m dev VERB" in done.stdout
