"""A desk on which nothing is installed yet, and an index on this machine to install from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.bootstrap import LAYERS, Environment, Sources
from tests.dev import registry
from tests.dev.registry import Registry

UNPACK = """
import pathlib, sys
target = pathlib.Path(sys.argv[1])
target.mkdir(parents=True)
(target / "chromium").touch()
"""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The only index that pip's settings name, and no proxy on the way to it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PIP_CERT", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with registry.serve(Registry(registry.pretended_wheel())) as served:
        monkeypatch.setenv("PIP_INDEX_URL", served.url)
        yield served


@pytest.fixture
def sources(tmp_path: Path, index: Registry) -> Sources:
    """Lock files of a small project."""
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    for layer in LAYERS:
        lock = f"{layer}==1.0 \\\n    --hash=sha256:{'0' * 64}\n"
        (requirements / f"{layer}.txt").write_text(lock, encoding="utf-8")
    pip = f"pip==99.1 \\\n    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{index.digest}\n"
    (requirements / "pip.txt").write_text(pip, encoding="utf-8")
    node = tmp_path / "node"
    node.mkdir()
    lock = '{"packages": {"": {}, "node_modules/azurite": {}}}'
    (node / "package-lock.json").write_text(lock, encoding="utf-8")
    browser = node / "browser"
    browser.mkdir()
    lock = '{"packages": {"": {}, "axe-core": {}, "chromium": {"optional": true}}}'
    (browser / "package-lock.json").write_text(lock, encoding="utf-8")
    (browser / "unpack.js").write_text(UNPACK, encoding="utf-8")  # for a Node that is a Python
    return Sources(requirements, node, tmp_path / "work")


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / ".venv")


@pytest.fixture
def no_ensurepip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian without python3-venv."""
    monkeypatch.setitem(sys.modules, "ensurepip", None)
