"""Finds a way to run pip in an environment, also where Python comes without ensurepip."""

import base64
import configparser
import html
import json
import os
import re
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path

from dev.failures import SetupError, explain
from dev.progress import step

#: Where pip itself looks when no setting tells it otherwise.
DEFAULT_INDEX = "https://pypi.org/simple"

_TIMEOUT_SECONDS = 15.0
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5, */*;q=0.1"


@dataclass(frozen=True, slots=True)
class PipSettings:
    """The part of pip's settings that decides where a file comes from and whom to trust."""

    indexes: tuple[str, ...] = (DEFAULT_INDEX,)
    cert: str | None = None
    proxy: str | None = None


def pip(python: Path, packages: Path, lock: Path) -> list[str]:
    """Return the command that runs pip for the interpreter `python`, which has `packages`.

    First choice is the pip that is pinned, run from its wheel: the same for everyone, there also
    on a Debian without python3-venv, and in half the time that ensurepip needs to install its own.
    """
    if (packages / "pip").is_dir():
        return [str(python), "-m", "pip"]
    name, hashes = pinned(lock.read_text(encoding="utf-8"))
    wheel = python.parent.parent / name
    try:
        if not wheel.exists():
            settings = read_settings(os.environ, config_files(os.environ, Path.home()))
            with step("Downloading pip"):
                draft = wheel.with_suffix(".draft")
                draft.write_bytes(download(name, hashes, settings))
                draft.replace(wheel)
    except SetupError:
        # A real pip knows more ways through a company's network than we do.
        if not _add_pip(python):
            raise
        return [str(python), "-m", "pip"]
    # A wheel is a zip file, and Python runs a package inside one.
    return [str(python), str(wheel / "pip")]


def pinned(lock: str) -> tuple[str, frozenset[str]]:
    """Read from the lock file's text what pip's wheel is called and which hashes it may have."""
    version = re.search(r"^pip==([^\s\\]+)", lock, re.MULTILINE)
    if version is None:
        raise SetupError("dev/requirements/pip.txt names no pip: `python3 -m dev lock` mends it.")
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", lock)
    return f"pip-{version[1]}-py3-none-any.whl", frozenset(hashes)


def download(name: str, hashes: frozenset[str], settings: PipSettings) -> bytes:
    """Return the wheel `name` from where pip would get it, if it is the one that was locked."""
    fetch = _Fetch(settings)
    log = ["No matching distribution found"]
    for index in settings.indexes:
        try:
            wheel = fetch.wheel(index, name)
        except (OSError, HTTPException, ValueError) as error:
            log.append(f"{error}")
            continue
        if sha256(wheel).hexdigest() in hashes:
            return wheel
        log.append("THESE PACKAGES DO NOT MATCH THE HASHES")
    raise SetupError(explain("pip", "\n".join(log)))


def config_files(variables: Mapping[str, str], home: Path) -> list[str]:
    """Return the contents of pip's configuration files, the one that counts most last."""
    # https://pip.pypa.io/en/stable/topics/configuration/#location
    chosen = variables.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    if sys.platform == "win32":
        paths = [
            Path(variables.get("PROGRAMDATA", "C:/ProgramData"), "pip", "pip.ini"),
            home / "pip" / "pip.ini",
            Path(variables.get("APPDATA", home), "pip", "pip.ini"),
        ]
    else:
        library = "Library/Application Support/pip/pip.conf"  # macOS
        shared = variables.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        own = Path(variables.get("XDG_CONFIG_HOME") or home / ".config")
        paths = [
            *(Path(folder, "pip", "pip.conf") for folder in shared.split(":")),
            Path("/etc/pip.conf"),
            Path("/", library),
            home / ".pip" / "pip.conf",
            own / "pip" / "pip.conf",
            home / library,
        ]
    contents = []
    for path in [*paths, *([Path(chosen)] if chosen else [])]:
        with suppress(OSError, UnicodeDecodeError):
            contents.append(path.read_text(encoding="utf-8"))
    return contents


def read_settings(variables: Mapping[str, str], files: Iterable[str]) -> PipSettings:
    """Understand them as pip does: the environment before files, [install] before [global]."""
    parsed = [_parse(text) for text in files]
    found: dict[str, str] = {}
    for section in ("global", "install"):
        for config in parsed:
            found |= {k.replace("_", "-"): v for k, v in config.get(section, {}).items()}
    for key, value in variables.items():
        if key.startswith("PIP_") and value:
            found[key.removeprefix("PIP_").lower().replace("_", "-")] = value
    bundle = variables.get("REQUESTS_CA_BUNDLE") or variables.get("CURL_CA_BUNDLE")
    indexes = (found.get("index-url") or DEFAULT_INDEX, *found.get("extra-index-url", "").split())
    return PipSettings(
        indexes=indexes,
        cert=found.get("cert") or bundle or None,
        proxy=found.get("proxy"),
    )


def link(page: str, kind: str, name: str) -> str | None:
    """Find where an index page (of content type `kind`) says the file `name` is."""
    # https://packaging.python.org/specifications/simple-repository-api/
    if "json" in kind:
        files = json.loads(page)["files"]
        return next((file["url"] for file in files if file["filename"] == name), None)
    targets = (html.unescape(target) for target in re.findall(r"""href=["']([^"']+)""", page))
    return next((t for t in targets if t.partition("#")[0].rpartition("/")[2] == name), None)


class _Fetch:
    """Gets files with Python's own means, which know the proxies of the environment."""

    def __init__(self, settings: PipSettings) -> None:
        proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else None
        try:
            trust = ssl.create_default_context(cafile=settings.cert)
        except OSError as error:
            raise SetupError(
                f"The certificates in {settings.cert}, that pip is told of (PIP_CERT), cannot "
                f"be used: {error}. Name another file and run the same command again."
            ) from None
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=trust)
        )

    def wheel(self, index: str, name: str) -> bytes:
        """Return the file `name` of the project pip."""
        url, login = _split_login(index.rstrip("/") + "/pip/")
        if url.startswith("file:"):
            url += "index.html"
        page, kind = self._get(url, login)
        target = link(page.decode(), kind, name)
        if target is None:
            raise ValueError("No matching distribution found")
        return self._get(urllib.parse.urljoin(url, target), login)[0]

    def _get(self, url: str, login: str | None) -> tuple[bytes, str]:
        request = urllib.request.Request(
            url,
            headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.5, */*;q=0.1"},
        )
        if login:
            # Like a browser: not passed on when the answer is a redirect.
            request.add_unredirected_header("Authorization", f"Basic {login}")
        with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            return answer.read(), answer.headers.get("Content-Type", "")


def _split_login(url: str) -> tuple[str, str | None]:
    """Take the user and password out of an address, as a header wants them."""
    parts = urllib.parse.urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    bare = urllib.parse.urlunsplit(parts._replace(netloc=host))
    return bare, base64.b64encode(urllib.parse.unquote(login).encode()).decode()


def _parse(text: str) -> dict[str, dict[str, str]]:
    config = configparser.RawConfigParser()
    with suppress(configparser.Error):
        config.read_string(text)
    return {name: dict(config[name]) for name in config.sections()}


def _add_pip(python: Path) -> bool:
    """Let Python install the pip that it may have brought; Debian's needs python3-venv for that."""
    try:
        import ensurepip  # noqa: F401, PLC0415  asked here, as a test can make it fail here
    except ImportError:
        return False
    with step("Installing the pip that came with Python"):
        command = [str(python), "-m", "ensurepip"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
