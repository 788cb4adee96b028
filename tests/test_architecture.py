"""What must stay true of the whole: who knows whom, and that code, host and settings agree."""

from __future__ import annotations

import ast
import json
import re
import socket
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pathspec
import pytest

from dev.host.functions import Function, HttpTrigger, Level, QueueTrigger
from shared.adapters import queue
from tests.conftest import OutsideWorldError
from tests.functions.world import app, message

ROOT = Path(__file__).resolve().parents[1]
SETTINGS: dict[str, str] = json.loads((ROOT / "local.settings.json.example").read_text("utf-8"))[
    "Values"
]
HOST: dict[str, Any] = json.loads((ROOT / "host.json").read_text("utf-8"))
OURS = [ROOT / "function_app.py", *(ROOT / "shared").rglob("*.py"), *(ROOT / "whoop").rglob("*.py")]


# Who knows whom


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [("shared", "whoop"), ("whoop", "azure")],
    ids=["shared does not know WHOOP", "whoop does not know Azure"],
)
def test_strangers_stay_strangers(folder: str, forbidden: str) -> None:
    sources = sorted((ROOT / folder).rglob("*.py"))
    strangers = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if forbidden in line.lower() or forbidden in path.name.lower()
    ]

    assert sources
    assert strangers == []


def test_the_environment_is_mentioned_once() -> None:
    mentions = [
        path.relative_to(ROOT).as_posix()
        for path in OURS
        if re.search(r"\bos\.environ\b|\bgetenv\b", path.read_text("utf-8"))
    ]

    assert mentions == ["function_app.py"]


def test_everything_that_others_may_use_says_what_it_does() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in OURS
        for node in public(ast.parse(path.read_text("utf-8")))
        if ast.get_docstring(node) is None
    ]

    assert silent == []


def public(tree: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield the functions and classes of a module, and the methods of these classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


# Triggers


def triggers() -> list[Function]:
    return list(app().functions.values())


def test_every_trigger_says_what_it_does_and_has_types_that_resolve() -> None:
    for function in triggers():
        assert function.call.__doc__, function.name
        # The worker does this to decide what to hand over.
        assert set(typing.get_type_hints(function.call)) == {function.parameter, "return"}


def test_every_queue_that_we_write_to_has_a_trigger_and_the_other_way_round() -> None:
    read = [one.trigger.queue for one in triggers() if isinstance(one.trigger, QueueTrigger)]

    assert sorted(read) == sorted(
        name + end for name in (queue.NOW, queue.LATER, queue.EVENTS) for end in ("", queue.POISON)
    )


def test_a_poison_function_says_where_its_messages_came_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received: list[tuple[bytes, str]] = []
    poison = SimpleNamespace(receive=lambda body, queue: received.append((body, queue)))
    monkeypatch.setattr(app().module, "services", lambda: SimpleNamespace(poison=poison))
    ends = [
        (one.trigger.queue, one.call)
        for one in triggers()
        if isinstance(one.trigger, QueueTrigger) and one.trigger.queue.endswith(queue.POISON)
    ]

    for name, call in ends:
        call(msg=message(b"\xff"))
        assert received.pop() == (b"\xff", name.removesuffix(queue.POISON))


def test_who_may_call_is_for_our_own_code_to_say() -> None:
    # A function key would be one more secret, and the browser has none to send.
    levels = {one.trigger.level for one in triggers() if isinstance(one.trigger, HttpTrigger)}

    assert levels == {Level.ANONYMOUS}


def test_every_route_answers_one_method() -> None:
    methods = [one.trigger.methods for one in triggers() if isinstance(one.trigger, HttpTrigger)]

    assert all(len(one) == 1 for one in methods)


def test_every_setting_that_a_trigger_names_is_in_the_example() -> None:
    source = (ROOT / "function_app.py").read_text("utf-8")
    named = set(re.findall(r"%(\w+)%", source)) | set(re.findall(r'connection="(\w+)"', source))

    assert named
    assert named <= set(SETTINGS)


# host.json


def test_the_host_is_told_what_the_design_says() -> None:
    queues = HOST["extensions"]["queues"]

    assert HOST["version"] == "2.0"
    assert HOST["extensions"]["http"]["routePrefix"] == ""
    assert queues["maxPollingInterval"] == "00:00:01"
    assert queues["messageEncoding"] == "base64"  # as our adapter writes
    assert "telemetryMode" not in HOST  # until there are exporters
    assert HOST["extensionBundle"]["version"].startswith("[4.")


def test_a_function_may_run_longer_than_a_job_takes() -> None:
    from shared.slices import SLICE

    hours, minutes, seconds = (int(part) for part in HOST["functionTimeout"].split(":"))
    assert hours * 3_600 + minutes * 60 + seconds > 2 * SLICE.total_seconds()


def test_every_message_that_the_host_takes_finds_a_thread() -> None:
    queues = HOST["extensions"]["queues"]
    at_once = queues["batchSize"] + queues["newBatchThreshold"]
    functions = len([one for one in triggers() if isinstance(one.trigger, QueueTrigger)])

    # Locally all of them share one worker; in the cloud each queue scales on its own.
    assert int(SETTINGS["PYTHON_THREADPOOL_THREAD_COUNT"]) >= at_once * functions


# What is deployed, and what is committed


def ignored(file: str, path: str) -> bool:
    lines = (ROOT / file).read_text("utf-8").splitlines()
    return pathspec.GitIgnoreSpec.from_lines(lines).match_file(path)


@pytest.mark.parametrize(
    "path",
    [
        "function_app.py",
        "host.json",
        "requirements.txt",
        "shared/__init__.py",
        "shared/core/plan.py",
        "shared/adapters/tables/__init__.py",
        "whoop/api.py",
    ],
)
def test_what_the_app_needs_is_deployed(path: str) -> None:
    assert not ignored(".funcignore", path)


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_config.py",
        "tests/adapters/contracts.py",
        "dev/azurite.py",
        "dev/node_modules/azurite/package.json",
        "local.settings.json",
        "local.settings.json.example",
        ".git/config",
        ".venv/bin/python",
        ".dev/coverage.json",
        ".ci/run",
        "bench/x.py",
        "web/pages/settings/Dispositivos.html",
        "infra/main.bicep",
        "ops/__main__.py",
        "README.md",
        "pyproject.toml",
        "shared/__pycache__/sync.cpython-311.pyc",
    ],
)
def test_what_the_app_does_not_need_stays_here(path: str) -> None:
    assert ignored(".funcignore", path)


def test_everything_of_ours_is_deployed() -> None:
    assert [
        path for path in OURS if ignored(".funcignore", path.relative_to(ROOT).as_posix())
    ] == []


@pytest.mark.parametrize("path", ["local.settings.json", "dev/node_modules/x/y.js", ".venv/x"])
def test_what_is_private_or_made_is_not_committed(path: str) -> None:
    assert ignored(".gitignore", path)


# Importing

IMPORT = """
import json, sys
seen = []
def listen(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.mkdir", "os.remove", "os.putenv")):
        seen.append(event)
    elif event == "open" and isinstance(arguments[0], str):
        name, mode = arguments[0], arguments[1] or "r"
        ours = name.startswith(sys.argv[1]) and "__pycache__" not in name
        if (ours and not name.endswith(".py")) or set(mode) & set("wax+"):
            if "__pycache__" not in name:
                seen.append(f"open {name} {mode}")
sys.path.insert(0, sys.argv[1])
import azure.functions
sys.addaudithook(listen)
import function_app
json.dump({"seen": seen, "modules": sorted(sys.modules)}, sys.stdout)
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """What importing the app does in a fresh interpreter."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-I", "-B", "-W", "error", "-c", IMPORT, str(ROOT)],
        capture_output=True,
        check=True,
        text=True,
        env={},
        timeout=60,
    )
    assert done.stderr == ""
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_importing_the_app_asks_nobody_and_opens_nothing(imported: dict[str, list[str]]) -> None:
    assert imported["seen"] == []


@pytest.mark.parametrize(
    "module",
    [
        "requests",
        "urllib3",
        "azure.core",
        "azure.data.tables",
        "azure.storage.queue",
        "azure.identity",
        "cryptography",
        "jwt",
        "shared.bootstrap",
        "shared.adapters.tables",
        "whoop.client",
    ],
)
def test_importing_the_app_does_not_import_what_takes_long(
    imported: dict[str, list[str]], module: str
) -> None:
    assert module not in imported["modules"]
    assert "function_app" in imported["modules"]


# And of the tests themselves


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.com", 443), ("2001:db8::1", 80)])
def test_no_test_leaves_this_machine(address: tuple[str, int]) -> None:
    with pytest.raises(OutsideWorldError):
        socket.create_connection(address, timeout=0.1)
    with pytest.raises(OutsideWorldError), socket.socket() as one:
        one.connect_ex(address)
