"""No program that we start outlives us, and none dies unnoticed."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from dev import children as module
from dev.bootstrap import ROOT
from dev.children import (
    ChildError,
    Children,
    PortInUse,
    answers,
    ending_on_signals,
    free_ports,
    require_free,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Where the programs of these tests are found."""
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    def write(source: str) -> str:
        (tmp_path / "some_program.py").write_text(source, encoding="utf-8")
        return "some_program"

    return write


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


SLEEP = "import time\nprint('asleep', flush=True)\ntime.sleep(60)\n"


def test_they_end_with_the_block_and_their_words_are_kept(
    tmp_path: Path, program: Callable[[str], str], variables: dict[str, str]
) -> None:
    with Children(tmp_path / "logs") as children:
        child = children.start("sleeper", program(SLEEP), [], variables=variables)
        eventually(lambda: child.log.read_text() == "asleep\n")
        children.check()

    assert child.process.poll() is not None


def test_arguments_and_variables_arrive(
    tmp_path: Path, program: Callable[[str], str], variables: dict[str, str]
) -> None:
    source = "import os, sys\nprint(sys.argv[1:], os.environ['COLOUR'], __name__)\n"
    with Children(tmp_path) as children:
        child = children.start(
            "one", program(source), ["--a", "b"], variables={**variables, "COLOUR": "blue"}
        )
        child.process.wait()

    assert child.log.read_text() == "['--a', 'b'] blue __main__\n"


def test_one_that_ends_by_itself_is_noticed_with_its_last_words(
    tmp_path: Path, program: Callable[[str], str], variables: dict[str, str]
) -> None:
    source = "import sys\nprint('\\n'.join(map(str, range(99))))\nsys.exit('no storage')\n"
    with Children(tmp_path) as children:
        child = children.start("host", program(source), [], variables=variables)
        child.process.wait()

        with pytest.raises(
            ChildError, match=r"(?s)The host has ended \(exit code 1\).*98\nno stor"
        ):
            children.check()
        with pytest.raises(ChildError, match="The host has ended"):
            children.wait_ready(child, "http://127.0.0.1:9/")
        assert "\n12\n" not in str(child.died())


def test_one_is_ready_when_it_answers(
    tmp_path: Path, program: Callable[[str], str], variables: dict[str, str]
) -> None:
    source = (
        "import http.server, sys\n"
        "class Hello(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Hello).serve_forever()\n"
    )
    (port,) = free_ports(1)
    with Children(tmp_path) as children:
        child = children.start("web", program(source), [str(port)], variables=variables)
        children.wait_ready(child, f"http://127.0.0.1:{port}/health")
        assert answers(f"http://127.0.0.1:{port}/")

    assert not answers(f"http://127.0.0.1:{port}/")


def test_one_that_never_answers_is_given_up(
    tmp_path: Path,
    program: Callable[[str], str],
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_READY_SECONDS", 0.1)
    with Children(tmp_path) as children:
        child = children.start("web", program(SLEEP), [], variables=variables)
        with pytest.raises(ChildError, match="The web has not answered within"):
            children.wait_ready(child, "http://127.0.0.1:9/")


@posix
def test_their_own_children_end_with_them(
    tmp_path: Path, program: Callable[[str], str], variables: dict[str, str]
) -> None:
    source = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)\n"
        "sys.stdout.flush()\ntime.sleep(60)\n"
    )
    with Children(tmp_path) as children:
        child = children.start("parent", program(source), [], variables=variables)
        eventually(lambda: child.log.read_text().endswith("\n"))
        grandchild = int(child.log.read_text())
        assert alive(grandchild)

    eventually(lambda: not alive(grandchild))


@posix
def test_one_that_will_not_end_is_killed(
    tmp_path: Path,
    program: Callable[[str], str],
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.2)
    source = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SLEEP}"
    with Children(tmp_path) as children:
        child = children.start("stubborn", program(source), [], variables=variables)
        eventually(lambda: child.log.read_text() == "asleep\n")

    assert child.process.returncode == -signal.SIGKILL


@posix
def test_when_we_are_killed_they_end(
    tmp_path: Path, program: Callable[[str], str], variables: dict[str, str]
) -> None:
    source = SLEEP.replace("'asleep'", "__import__('os').getpid()")
    code = (
        "import os, sys, time; from pathlib import Path; from dev.children import Children\n"
        "Children(Path(sys.argv[1])).start('one', sys.argv[2], [], variables=os.environ)\n"
        "time.sleep(60)\n"
    )
    log = tmp_path / "one.log"
    command = [sys.executable, "-c", code, str(tmp_path), program(source)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        command, cwd=ROOT, env={**variables, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    ) as starter:
        eventually(lambda: log.exists() and log.read_text().endswith("\n"))
        starter.kill()
    child = int(log.read_text())

    eventually(lambda: not alive(child))


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_block_as_ctrl_c_does(number: int) -> None:
    before = signal.getsignal(number)
    closed = threading.Event()

    def be_told() -> None:
        with ending_on_signals(), ExitStack() as undo:
            undo.callback(closed.set)
            os.kill(os.getpid(), number)

    with pytest.raises(SystemExit) as ended:
        be_told()

    assert closed.is_set()
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    entered = []

    def enter() -> None:
        with ending_on_signals():
            entered.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(20)

    assert len(set(ports)) == 20
    for port in ports:
        require_free(port, "a test", "--port")


def test_a_port_in_use_is_named_with_its_purpose_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"Port {port}, meant for the page, is in use.*--page"):
            require_free(port, "the page", "--page-port")


def test_only_200_is_an_answer() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert not answers(f"http://127.0.0.1:{server.server_address[1]}/")
        thread.join()
