"""The lock files are made anew together, or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dev import lock
from dev.bootstrap import LAYERS, Sources
from dev.failures import SetupError


@pytest.fixture
def compiled(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What uv would be asked; npm is left out."""
    asked: list[tuple[str, list[str]]] = []

    def compile_(layer: str, folder: Path, arguments: list[str]) -> None:
        before = (folder / f"{layer}.txt").exists()
        asked.append((layer, ["as before"] * before + [one.split("=")[0] for one in arguments]))
        (folder / f"{layer}.txt").write_text(f"{layer}==2.0\n")

    monkeypatch.setattr(lock, "SOURCES", sources)
    monkeypatch.setattr(lock, "_compile", compile_)
    monkeypatch.setattr(lock, "_lock_node", lambda _: None)
    return asked


def test_every_layer_stays_within_the_widest(
    sources: Sources, compiled: list[tuple[str, list[str]]]
) -> None:
    assert lock.main(["--upgrade"]) == 0

    assert compiled == [
        ("check", ["as before", "--upgrade"]),
        ("pip", ["as before", "--upgrade"]),
        ("run", ["--constraints"]),
        ("test", ["--constraints"]),
        ("app", ["--constraints"]),
    ]
    assert sources.deployed.read_text() == f"{lock.HEADER}app==2.0\n"
    for layer in (*LAYERS, "pip"):
        assert sources.lock(layer).read_text() == f"{layer}==2.0\n"


def test_a_failure_leaves_every_file_as_it_was(
    sources: Sources, compiled: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise SetupError("no network")

    monkeypatch.setattr(lock, "_lock_node", fail)
    before = {layer: sources.lock(layer).read_text() for layer in LAYERS}

    with pytest.raises(SetupError, match="no network"):
        lock.main([])

    assert {layer: sources.lock(layer).read_text() for layer in LAYERS} == before


def test_what_the_tool_said_is_shown(sources: Sources) -> None:
    with pytest.raises(SetupError, match=r"could not be made\.\n\nno such option"):
        lock._run("pip", [sys.executable, "-c", "raise SystemExit('no such option')"], os.environ)
