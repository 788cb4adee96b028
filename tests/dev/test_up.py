"""`up` shows where everything is, and leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dev import page_server, up
from dev.azurite import Azurite
from dev.bootstrap import ROOT
from dev.children import PortInUse, answers, free_ports
from dev.page_server import Site

ANY = {f"{name}_port": 0 for name in up.DEFAULTS}


def test_0_becomes_a_free_port_and_others_are_kept() -> None:
    (chosen,) = free_ports(1)

    ports = up.choose({**ANY, "api_port": chosen})

    assert ports.api == chosen
    assert 0 not in {ports.page, ports.simulator, ports.queue, ports.table}


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"Port {port}, meant for the page.*--page-port"):
            up.choose({**ANY, "page_port": port})


@contextmanager
def running() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    command = [sys.executable, "-c", "import sys; from dev import up; up.main(sys.argv[1:])"]
    ports = [f"--{name}-port=0" for name in up.DEFAULTS]
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [*command, *ports, "--days=3"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            addresses: dict[str, str] = {}
            for line in process.stdout or ():
                if line.startswith("Ctrl-C"):
                    break
                name, address = line.split(maxsplit=1)
                addresses[name] = address.strip()
            yield process, addresses
        finally:
            process.terminate()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def get(url: str, host: str | None = None) -> Any:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.azurite
@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_everything_runs_until_it_is_told_to_end(azurite: Azurite, number: int) -> None:
    with running() as (process, addresses):
        page, api = addresses["page"], addresses["API"]
        session = json.loads(
            get(page.replace("pages/settings/Dispositivos.html", "dev/session.json"))
        )
        assert session["page"] == "/pages/settings/Dispositivos.html"
        assert list(session["members"]) == ["member-1", "member-2", "member-3"]
        assert f"connect-src {api};" in get(page)
        assert "¿Quién eres?" in get(addresses["sign-in"])
        assert '"enabled": true' in get(f"{api}/providers/").replace('":true', '": true')
        assert len(json.loads(get(f"{addresses['simulator']}/control/members"))) == 3

        os.kill(process.pid, number)
        process.wait(20)

    for address in (api, addresses["simulator"]):
        assert not answers(f"{address}/")
    assert "TableEndpoint=http://127.0.0.1:" in addresses["storage"]


@pytest.mark.azurite
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the child in /proc")
def test_a_part_that_dies_ends_the_rest_and_is_named(azurite: Azurite) -> None:
    code = (
        "import sys; from dev import verbs, up; from dev.failures import LocalError\n"
        "try: up.main(sys.argv[1:])\n"
        "except LocalError as error: sys.exit('\\n'.join([str(error), *error.__notes__]))"
    )
    ports = [f"--{name}-port=0" for name in up.DEFAULTS]
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code, *ports, "--days=3"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout or ():
            if line.startswith("Ctrl-C"):
                break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        host = next(pid for pid, command in commands.items() if "dev.host" in command)
        os.kill(int(host), signal.SIGKILL)
        process.wait(20)
        said = process.stderr.read() if process.stderr else ""

    assert "The host has ended (exit code -9)" in said
    folder = Path(said.rsplit("The logs are in ", 1)[1].strip().rstrip("."))
    assert {path.name for path in folder.iterdir()} >= {"host.log", "simulator.log", "storage"}
    for pid in children:
        assert not Path(f"/proc/{pid}").exists()


class TestThePage:
    @pytest.fixture
    def url(self, tmp_path: Path) -> Iterator[str]:
        (tmp_path / "page.html").write_text('<p>Hola<script type="module" src="script.js">')
        (tmp_path / "script.js").write_text('"https://api.gotogym.store"; const slow = 1;')
        (tmp_path / "icon.svg").write_text("<svg/>")
        (port,) = free_ports(1)
        site = Site("http://localhost:1", {"member-1": "token"}, tmp_path, {"slow = 1": "slow = 0"})
        with page_server.serve(site, port):
            yield f"http://localhost:{port}"

    def test_it_is_served_as_it_would_be_deployed_for_this_api(self, url: str) -> None:
        assert get(f"{url}/script.js") == '"http://localhost:1"; const slow = 0;'
        assert get(f"{url}/icon.svg") == "<svg/>"

    def test_the_page_gets_the_script_that_knows_who_is_signed_in(self, url: str) -> None:
        html = get(f"{url}/page.html")

        assert html.index("/dev/session.js") < html.index("script.js")
        assert "window.gotogym" in get(f"{url}/dev/session.js")

    def test_whoever_is_not_signed_in_is_sent_to_the_stub(self, url: str) -> None:
        assert "/dev/sign-in.js" in get(f"{url}/login")
        assert json.loads(get(f"{url}/dev/session.json")) == {
            "page": "/pages/settings/Dispositivos.html",
            "members": {"member-1": "token"},
        }

    def test_localhost_is_both_of_its_addresses(self, url: str) -> None:
        for address in ("127.0.0.1", "[::1]") if has_ipv6() else ("127.0.0.1",):
            other = url.replace("localhost", address)
            assert "Hola" in get(f"{other}/page.html", host="localhost")

    def test_a_script_is_one_on_every_platform(self, url: str) -> None:
        with urllib.request.urlopen(f"{url}/script.js", timeout=5) as answer:
            assert answer.headers["Content-Type"] == "text/javascript;charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"

    def test_a_file_that_is_not_there_is_not_found(self, url: str) -> None:
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            get(f"{url}/other.js")
        refused.value.close()

    def test_a_web_page_that_gives_our_address_its_own_name_gets_no_token(self, url: str) -> None:
        with pytest.raises(urllib.error.HTTPError, match="421") as refused:
            get(f"{url}/dev/session.json", host="evil.example")
        refused.value.close()

    def test_a_port_that_is_taken_is_no_page(self, url: str) -> None:
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"), page_server.serve(Site("", {}), port):
            time.sleep(0)
