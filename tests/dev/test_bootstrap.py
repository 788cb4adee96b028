"""The environment is made once, mended when broken, and never by two at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dev import bootstrap, browser, progress
from dev.bootstrap import Environment, Sources, ensure, holds, holds_node_modules
from dev.failures import SetupError
from tests.dev.registry import Registry

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the pretended Node is a symlink")


def installations(env: Environment) -> list[str]:
    log = env.packages / "installed.log"
    return [Path(line).stem for line in log.read_text().split()] if log.exists() else []


def npm_runs(sources: Sources) -> int:
    log = sources.node / "node_modules" / "installed.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


class TestTheFirstRun:
    def test_it_installs_what_a_verb_needs_and_no_more(
        self, env: Environment, sources: Sources, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ensure(env, "run", with_node=False, sources=sources)

        assert installations(env) == ["run"]
        assert npm_runs(sources) == 0
        assert "Installing 1 Python packages into .venv: done" in capsys.readouterr().err

    def test_it_installs_what_npm_locks_with_the_node_that_pip_brought(
        self, env: Environment, sources: Sources
    ) -> None:
        ensure(env, "run", with_node=True, sources=sources)

        log = (sources.node / "node_modules" / "installed.log").read_text()
        assert log == "ci --loglevel=http\n"

    def test_it_needs_no_ensurepip(
        self, env: Environment, sources: Sources, no_ensurepip: None
    ) -> None:
        ensure(env, "test", with_node=False, sources=sources)

        assert installations(env) == ["test"]

    def test_git_does_not_see_the_environment(self, env: Environment, sources: Sources) -> None:
        ensure(env, "run", with_node=False, sources=sources)

        assert (env.folder / ".gitignore").read_text() == "*\n"

    def test_a_folder_that_is_no_environment_is_left_alone(
        self, env: Environment, sources: Sources
    ) -> None:
        env.folder.mkdir()
        (env.folder / "thesis.txt").write_text("years of work")

        with pytest.raises(SetupError, match=r"is not a virtual environment"):
            ensure(env, "run", with_node=False, sources=sources)

        assert (env.folder / "thesis.txt").exists()


class TestTheNextRun:
    @pytest.fixture(autouse=True)
    def first(self, env: Environment, sources: Sources, index: Registry) -> None:
        ensure(env, "test", with_node=True, sources=sources)
        index.asked.clear()

    def test_it_installs_nothing(
        self,
        env: Environment,
        sources: Sources,
        index: Registry,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        capsys.readouterr()

        ensure(env, "test", with_node=True, sources=sources)

        assert installations(env) == ["test"]
        assert npm_runs(sources) == 1
        assert index.asked == []
        assert capsys.readouterr().err == ""

    def test_an_earlier_layer_is_there_already(self, env: Environment, sources: Sources) -> None:
        ensure(env, "run", with_node=True, sources=sources)

        assert installations(env) == ["test"]

    def test_a_later_layer_is_added(
        self, env: Environment, sources: Sources, index: Registry
    ) -> None:
        ensure(env, "check", with_node=False, sources=sources)

        assert installations(env) == ["test", "check"]
        assert index.asked == []  # the pip of the first time does

    def test_a_lock_file_that_has_changed_is_installed(
        self, env: Environment, sources: Sources
    ) -> None:
        sources.lock("test").write_text("test==2.0 --hash=sha256:0\n")

        ensure(env, "test", with_node=True, sources=sources)

        assert installations(env) == ["test", "test"]

    def test_a_lock_file_with_other_line_ends_is_the_same(
        self, env: Environment, sources: Sources
    ) -> None:
        lock = sources.lock("test")
        lock.write_bytes(lock.read_bytes().replace(b"\n", b"\r\n"))

        assert holds(env, "test", sources)

    def test_what_npm_locks_is_installed_again_when_it_has_changed(
        self, env: Environment, sources: Sources
    ) -> None:
        (sources.node / "package-lock.json").write_text('{"packages": {"": {}}}')
        assert not holds_node_modules(sources.node)

        ensure(env, "test", with_node=True, sources=sources)

        assert npm_runs(sources) == 2

    def test_an_installation_that_was_killed_starts_from_nothing(
        self, env: Environment, sources: Sources
    ) -> None:
        stamp = json.loads(env.stamp.read_text())
        env.stamp.write_text(json.dumps({**stamp, "installing": "check"}))

        ensure(env, "run", with_node=False, sources=sources)

        assert installations(env) == ["run"]

    @pytest.mark.parametrize("stamp", ['{"python": "3.1"}', "[]", "{", ""])
    def test_an_environment_of_another_python_or_of_nobody_is_made_anew(
        self, env: Environment, sources: Sources, stamp: str
    ) -> None:
        env.stamp.write_text(stamp)

        ensure(env, "run", with_node=False, sources=sources)

        assert installations(env) == ["run"]
        assert json.loads(env.stamp.read_text())["python"] == VERSION

    def test_an_environment_whose_python_is_gone_is_made_anew(
        self, env: Environment, sources: Sources
    ) -> None:
        env.python.unlink()

        ensure(env, "run", with_node=False, sources=sources)

        assert installations(env) == ["run"]


class TestTheBrowser:
    @pytest.fixture(autouse=True)
    def fitting_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(browser, "_npm_has_one", lambda: True)

    @staticmethod
    def asked(sources: Sources) -> list[str]:
        log = sources.browser / "node_modules" / "installed.log"
        return log.read_text().splitlines() if log.exists() else []

    def test_it_comes_from_npm_where_none_is_installed(
        self, env: Environment, sources: Sources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEV_BROWSER", "npm")

        for _ in range(2):
            ensure(env, "test", with_node=False, with_browser=True, sources=sources)

        assert self.asked(sources) == ["ci --loglevel=http"]
        found = browser.find(os.environ, sources.browser)
        assert found is not None
        assert found.program == sources.browser / "node_modules" / ".chromium" / "chromium"
        assert npm_runs(sources) == 0

    def test_one_that_is_installed_is_not_downloaded(
        self, env: Environment, sources: Sources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEV_BROWSER", "/opt/browser")

        for _ in range(2):
            ensure(env, "test", with_node=False, with_browser=True, sources=sources)

        assert self.asked(sources) == ["ci --loglevel=http --omit=optional"]
        assert not (sources.browser / "node_modules" / ".chromium").exists()

    def test_it_is_added_when_the_installed_one_is_gone(
        self, env: Environment, sources: Sources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEV_BROWSER", "/opt/browser")
        ensure(env, "test", with_node=False, with_browser=True, sources=sources)
        monkeypatch.setenv("DEV_BROWSER", "npm")

        ensure(env, "test", with_node=False, with_browser=True, sources=sources)

        assert self.asked(sources)[1:] == ["ci --loglevel=http"]

    def test_who_only_runs_the_app_gets_none(self, env: Environment, sources: Sources) -> None:
        ensure(env, "run", with_node=True, sources=sources)

        assert self.asked(sources) == []


class TestFailures:
    def test_a_failed_installation_is_explained_and_repeated_from_nothing(
        self, env: Environment, sources: Sources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PRETEND_TO_FAIL", "OSError: [Errno 28] No space left on device")
        with pytest.raises(SetupError, match="The disk is full"):
            ensure(env, "run", with_node=False, sources=sources)
        assert not holds(env, "run", sources)

        monkeypatch.delenv("PRETEND_TO_FAIL")
        ensure(env, "run", with_node=False, sources=sources)

        assert installations(env) == ["run"]

    def test_a_failure_that_nobody_knows_shows_the_end_of_the_log(
        self, env: Environment, sources: Sources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PRETEND_TO_FAIL", "something quite new")

        with pytest.raises(SetupError, match=r"(?s)pip failed.*pip\.log.*something quite new"):
            ensure(env, "run", with_node=False, sources=sources)

    def test_npm_failing_is_explained_and_only_npm_is_repeated(
        self, env: Environment, sources: Sources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PRETEND_THAT_NPM_FAILS", "npm error code EINTEGRITY")
        with pytest.raises(SetupError, match="is not the one that the lock file names"):
            ensure(env, "run", with_node=True, sources=sources)

        monkeypatch.delenv("PRETEND_THAT_NPM_FAILS")
        ensure(env, "run", with_node=True, sources=sources)

        assert installations(env) == ["run"]
        assert npm_runs(sources) == 1

    def test_pips_settings_are_kept_save_where_they_would_install_elsewhere(
        self, env: Environment, sources: Sources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PIP_TARGET", "/somewhere/else")

        ensure(env, "run", with_node=False, sources=sources)

        assert "TARGET is None" in (sources.work / "pip.log").read_text()
        assert bootstrap.for_pip({"PIP_PROXY": "a", "PIP_USER": "1"}) == {
            "PIP_PROXY": "a",
            "PIP_USER": "0",
        }

    def test_an_environment_that_does_not_find_itself_is_not_entered_for_ever(
        self, env: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEV_ENTERED", str(env.folder))

        with pytest.raises(SetupError, match="delete that folder"):
            bootstrap.enter(env, ["demo"])


class TestTwoAtOnce:
    def test_the_second_waits_and_finds_everything_done(
        self, env: Environment, sources: Sources, capsys: pytest.CaptureFixture[str]
    ) -> None:
        threads = [
            threading.Thread(
                target=ensure, args=(env, "run"), kwargs={"with_node": True, "sources": sources}
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert installations(env) == ["run"]
        assert npm_runs(sources) == 1
        assert "Waiting for another `python3 -m dev`" in capsys.readouterr().err

    def test_an_installer_keeps_the_lock_when_its_starter_is_killed(self, tmp_path: Path) -> None:
        lock = tmp_path / "setup.lock"
        with bootstrap._alone(lock) as number:
            installer = subprocess.Popen(
                [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[number]
            )
        with lock.open("ab") as again:
            assert not bootstrap._try_lock(again.fileno())
            installer.communicate(b"\n")
            assert bootstrap._try_lock(again.fileno())


def test_the_environment_can_be_chosen() -> None:
    assert bootstrap.environment({}).folder == bootstrap.ROOT / ".venv"
    assert bootstrap.environment({"DEV_VENV": ".venv313"}).folder == bootstrap.ROOT / ".venv313"


class Terminal:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


class TestProgress:
    def test_a_terminal_sees_how_long_a_step_takes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress, "_REDRAW_SECONDS", 0.01)
        shown = Terminal()
        with progress.step("Thinking", shown) as step:  # type: ignore[arg-type]
            step.detail = "[3 of 4]"
            while "[3 of 4]" not in shown.text:
                pass

        assert "Thinking ... 0 s [3 of 4]" in shown.text
        assert shown.text.endswith("Thinking: done (0.0 s)\n")

    def test_a_log_hears_from_a_long_step_now_and_then(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.01)
        with progress.step("Thinking"):
            threading.Event().wait(0.1)

        assert "Thinking ... 0 s \n" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("error", "outcome"), [(KeyboardInterrupt(), "interrupted"), (OSError(), "failed")]
    )
    def test_a_step_that_breaks_off_says_so(
        self, error: BaseException, outcome: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(type(error)), progress.step("Thinking"):
            raise error

        assert f"Thinking: {outcome}" in capsys.readouterr().err


def test_the_bootstrap_needs_the_standard_library_only() -> None:
    """Nothing is installed when it runs; `-S` hides what is."""
    code = (
        "import dev.verbs, dev.installer, dev.checks, dev.lock, sys; print('rich' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        cwd=bootstrap.ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
