"""Finds a browser to test in: an installed one, else on Linux x64 the one that npm brings."""

import os
import platform
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Names a browser's program, or says `npm` to use npm's although another one is installed.
CHOICE = "DEV_BROWSER"
FOLDER = Path(__file__).resolve().parent

_NAMES = ("google-chrome-stable", "google-chrome", "chromium", "microsoft-edge-stable")
_MAC = ("Google Chrome", "Chromium", "Microsoft Edge")
_WINDOWS = ("Google/Chrome/Application/chrome.exe", "Microsoft/Edge/Application/msedge.exe")
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><cachedir>{fonts}</cachedir></fontconfig>
"""


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser, and what to start it with."""

    program: Path
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def find(variables: Mapping[str, str], folder: Path = FOLDER) -> Browser | None:
    """Return the browser to use, or None where there is none."""
    installed = _installed(variables)
    if installed is not None:
        return Browser(installed)
    unpacked = _unpacked(folder)
    if not (_npm_has_one() and (unpacked / "chromium").exists()):
        return None
    return Browser(
        unpacked / "chromium",
        # Never the package's own list of arguments: it switches web security off.
        ("--no-zygote",),
        # Its libraries and fonts, for a machine that was never meant to show anything has none.
        {
            "LD_LIBRARY_PATH": str(unpacked / "lib"),
            "FONTCONFIG_FILE": str(unpacked / "fonts.conf"),
        },
    )


def is_wanted_from_npm(variables: Mapping[str, str]) -> bool:
    """Tell whether npm has to bring a browser, and has one for this machine."""
    return _npm_has_one() and _installed(variables) is None


def lay_out(folder: Path = FOLDER) -> None:
    """Put what `unpack.js` has left into its places."""
    unpacked = _unpacked(folder)
    for path in unpacked.glob("*.tar"):
        with tarfile.open(path) as archive:
            # Python 3.11.3 and older know no filter; npm has checked the hash in any case.
            trusted = getattr(tarfile, "data_filter", None)
            archive.extraction_filter = trusted or (lambda member, _: member)
            archive.extractall(unpacked)  # noqa: S202  see above
        path.unlink()
    # The one in the archive names places that only AWS Lambda has.
    fonts = _FONTS.format(fonts=unpacked / "fonts")
    (unpacked / "fonts.conf").write_text(fonts, encoding="utf-8")


def _installed(variables: Mapping[str, str]) -> Path | None:
    choice = variables.get(CHOICE)
    if choice:
        return None if choice == "npm" else Path(choice)
    return next((path for path in _places(variables) if path.is_file()), None)


def _places(variables: Mapping[str, str]) -> Iterator[Path]:
    if sys.platform == "darwin":
        for name in _MAC:
            yield Path("/Applications", f"{name}.app", "Contents", "MacOS", name)
    elif sys.platform == "win32":
        for root in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"):
            for name in _WINDOWS:
                yield Path(variables.get(root, ""), name)
    else:
        for name in _NAMES:
            found = shutil.which(name, path=variables.get("PATH"))
            # One from a snap sees neither our folders nor the pipe that it is driven through.
            if found and "snap" not in Path(os.path.realpath(found)).parts:
                yield Path(found)


def _npm_has_one() -> bool:
    return sys.platform == "linux" and platform.machine() in {"x86_64", "AMD64"}


def _unpacked(folder: Path) -> Path:
    return folder / "node_modules" / ".chromium"
