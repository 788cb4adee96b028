"""Which browser is used, and what it is started with."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from dev import browser, screenshots
from dev.browser import Browser, find, is_wanted_from_npm, lay_out

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for programs as Linux has them")


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where npm's browser is."""
    monkeypatch.setattr(browser, "_npm_has_one", lambda: True)
    folder = tmp_path / "npm" / "node_modules" / ".chromium"
    folder.mkdir(parents=True)
    (folder / "chromium").touch()
    return folder


def program(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@linux
def test_an_installed_one_comes_first(tmp_path: Path, unpacked: Path) -> None:
    chrome = program(tmp_path / "bin", "google-chrome")
    variables = {"PATH": str(tmp_path / "bin")}

    assert find(variables, unpacked.parents[1]) == Browser(chrome)
    assert not is_wanted_from_npm(variables)


@linux
def test_one_from_a_snap_is_passed_over(tmp_path: Path, unpacked: Path) -> None:
    real = program(tmp_path / "snap" / "bin", "chromium")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "chromium").symlink_to(real)

    assert is_wanted_from_npm({"PATH": str(tmp_path / "bin")})


def test_the_choice_is_the_developers(tmp_path: Path, unpacked: Path) -> None:
    chosen = find({"DEV_BROWSER": "/opt/browser"}, unpacked.parents[1])

    assert chosen == Browser(Path("/opt/browser"))


def test_npms_is_started_with_web_security_on(unpacked: Path) -> None:
    chosen = find({"DEV_BROWSER": "npm"}, unpacked.parents[1])

    assert chosen is not None
    assert chosen.program == unpacked / "chromium"
    assert chosen.arguments == ("--no-zygote",)
    assert set(chosen.variables) == {"LD_LIBRARY_PATH", "FONTCONFIG_FILE"}


def test_where_there_is_none_nothing_is_found(
    tmp_path: Path, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find({"DEV_BROWSER": "npm"}, tmp_path) is None  # not installed yet

    monkeypatch.setattr(browser, "_npm_has_one", lambda: False)
    assert find({"DEV_BROWSER": "npm"}, unpacked.parents[1]) is None
    assert not is_wanted_from_npm({"DEV_BROWSER": "npm"})


def test_what_was_unpacked_is_laid_out(unpacked: Path) -> None:
    with tarfile.open(unpacked / "lib.tar", "w") as archive:
        member = tarfile.TarInfo("lib/libnss3.so")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"elf"))

    lay_out(unpacked.parents[1])

    assert (unpacked / "lib" / "libnss3.so").read_bytes() == b"elf"
    assert not (unpacked / "lib.tar").exists()
    assert f"<dir>{unpacked / 'fonts'}</dir>" in (unpacked / "fonts.conf").read_text()


def test_the_machine_decides_whether_npm_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert is_wanted_from_npm({"DEV_BROWSER": "npm"})

    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not is_wanted_from_npm({"DEV_BROWSER": "npm"})


@pytest.mark.parametrize(("platform", "names"), [("darwin", "Google Chrome"), ("win32", "chrome")])
def test_other_systems_keep_theirs_in_known_places(
    platform: str, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)

    places = [str(path) for path in browser._places({**os.environ, "PROGRAMFILES": "C:/Programs"})]

    assert any(names in place for place in places)


def test_without_any_the_verb_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "find", lambda _: None)

    with pytest.raises(screenshots.NoBrowserError, match="install Chrome, Chromium or Edge"):
        screenshots.main([])
