"""What holds for the page as a whole: its policy, its weight, its words, and how fast it is."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from dev import stack as stacks
from dev.azurite import Azurite
from dev.bootstrap import ROOT
from dev.children import free_ports
from dev.host import Host
from dev.page_server import PAGE, PRODUCT_API, SIGN_IN, WEB
from dev.stack import Ports, Secrets, Stack
from shared import errors, provider
from tests.browser.conftest import Arrive, Shown

MODULES = f"{PAGE.rpartition('/')[0]}/dispositivos"


# The canary: a browser that lets through what it must block proves nothing


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server that gives nobody permission, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"secret")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


READ = "url => fetch(url).then((answer) => answer.text()).catch((error) => error.name)"


def test_this_browser_keeps_a_page_from_reading_what_it_has_no_permission_for(
    chrome: Browser, stack: Stack, elsewhere: tuple[str, list[str]]
) -> None:
    url, asked = elsewhere
    page = chrome.new_page()
    page.goto(f"http://localhost:{stack.ports.page}{SIGN_IN}")  # it has no policy of its own

    assert page.evaluate(READ, f"{url}/cors") == "TypeError"
    assert asked == ["/cors"]  # asked, and not told
    page.close()


def test_our_policy_keeps_the_page_from_asking_anybody_else(
    chrome: Browser, stack: Stack, elsewhere: tuple[str, list[str]]
) -> None:
    url, asked = elsewhere
    page = chrome.new_page()
    page.goto(stack.page)

    assert page.evaluate(READ, f"{url}/policy") == "TypeError"
    assert asked == []
    page.close()


@pytest.mark.parametrize(
    ("html", "broken"),
    [
        ("<script>window.ran = true</script>", "script-src-elem"),
        ("<button onclick='window.ran = true'></button>", "script-src-attr"),
    ],
)
def test_our_policy_lets_no_inline_script_run(
    chrome: Browser, stack: Stack, html: str, broken: str
) -> None:
    page = chrome.new_page()
    page.goto(stack.page)
    add = """(html) => new Promise((done) => {
      document.addEventListener("securitypolicyviolation", (one) => done(one.effectiveDirective));
      const fragment = document.createRange().createContextualFragment(html);
      document.body.append(fragment);
      document.body.lastElementChild.click();
      setTimeout(() => done("nothing"), 2000);
    })"""

    assert page.evaluate(add, html) == broken
    assert page.evaluate("window.ran") is None
    page.close()


# What the front-end team copies


def test_nothing_of_ours_for_development_is_in_what_is_deployed() -> None:
    for path in files():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"localhost|127\.0\.0\.1|/dev/|simulat", text), path


def test_the_api_is_named_in_the_configuration_and_in_the_policy_only() -> None:
    named = [path.name for path in files() if PRODUCT_API in path.read_text(encoding="utf-8")]

    assert sorted(named) == ["Dispositivos.html", "config.js"]


def test_the_page_has_a_strict_policy() -> None:
    html = (WEB / PAGE.lstrip("/")).read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', html)

    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", html)


def test_the_page_weighs_less_than_40_kb() -> None:
    assert sum(path.stat().st_size for path in files()) < 40_000


def files() -> list[Path]:
    return [path for path in WEB.rglob("*") if path.is_file()]


def test_the_first_card_is_there_soon_after_the_answer(chrome: Browser, arrive: Arrive) -> None:
    ana = arrive()
    ana.page.add_init_script(
        """
        new MutationObserver((_, watcher) => {
          const state = document.querySelector("#device-whoop .state")?.textContent ?? "Cargando";
          if (state.startsWith("Cargando")) return;
          watcher.disconnect();
          requestAnimationFrame(() => setTimeout(() => (window.painted = performance.now())));
        }).observe(document, { subtree: true, childList: true, characterData: true });
        """
    )
    ana.open()
    ana.page.wait_for_function("window.painted")

    took = ana.page.evaluate(
        """() => {
          const entries = performance.getEntriesByType("resource");
          const answer = entries.find((one) => one.name.endsWith("/providers/"));
          return window.painted - answer.responseEnd;
        }"""
    )
    assert 0 < took < 200


# Words


@pytest.fixture
def texts(chrome: Browser, stack: Stack) -> Iterator[Callable[[str], dict[str, str]]]:
    page = chrome.new_page()
    page.goto(stack.page)

    def read(name: str) -> dict[str, str]:
        script = f"async () => (await import('{MODULES}/texts.js')).{name}"
        found: dict[str, str] = page.evaluate(script)
        return found

    yield read
    page.close()


Texts = Callable[[str], dict[str, str]]


def source(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_reason_on_the_way_back_has_its_words(texts: Texts) -> None:
    refused = re.findall(r'ConnectRefused\((?:[^"()]*)"(\w+)"', source("shared/connections.py"))
    refused += re.findall(r'"denied" if denied else "(\w+)"', source("shared/connections.py"))
    told = re.findall(r'back_to_page\(settings, name, "(\w+)"', source("function_app.py"))
    listed = re.findall(
        r"^\| `(\w+)` \| .* \| .* \|$", source("README.md").partition("`reason` |")[2], re.MULTILINE
    )[:11]

    assert {*refused, *told} == set(listed)
    assert {*listed} == {*texts("OUTCOMES")} - {"success"}


def test_every_code_of_a_problem_has_its_words(texts: Texts) -> None:
    codes = {one.code for one in subclasses(errors.Problem)}
    codes |= set(re.findall(r'"(\w+)", (?:\{\}|retry),\n', source("shared/adapters/http.py")))
    # Neither an operator's words nor what no call of the page can bring about.
    codes -= {"unknown_message", "forbidden", "bad_request", "too_large", "unsigned"}
    codes -= {"unknown_resource", "feed_restarted"}

    assert codes <= {*texts("TROUBLES")}
    assert {"unavailable", "misconfigured", "unauthorized"} <= codes


def test_every_reason_in_the_status_has_its_words(texts: Texts) -> None:
    codes = {one.code for one in subclasses(errors.ProviderError)}
    codes |= set(re.findall(r'Retry\(.*"(\w+)"\)', source("shared/core/recover.py")))
    for module in ("shared/poison.py", "shared/departures.py"):
        codes |= set(re.findall(r'^REASON = "(\w+)"', source(module), re.MULTILINE))
    codes |= set(re.findall(r'parked="(\w+)"', source("shared/ownership.py")))
    assert {"renewing", "key_missing", "poisoned", "account_in_use"} <= codes

    assert codes <= {*texts("RESOURCE")}
    for one in ("reauth_required", "scope_missing", "account_in_use", "different_account"):
        assert one in texts("CONNECTION")
    assert {one.value for one in provider.Trouble} <= {*texts("DISABLED")}


def test_a_reason_that_nobody_knows_is_told_as_an_error(arrive: Arrive) -> None:
    ana = arrive()

    ana.page.goto(f"{ana.stack.page}?oauth=error&provider=whoop&reason=<script>&tab=2#here")

    expect(ana.notice).to_contain_text("WHOOP rechazó la conexión")
    assert ana.page.url == f"{ana.stack.page}?tab=2#here"


def subclasses(kind: Any) -> list[Any]:
    found = [kind] if hasattr(kind, "code") else []
    return found + [one for child in kind.__subclasses__() for one in subclasses(child)]


# Where the API is not as it should be


def test_an_api_that_is_down_leaves_a_page_that_says_so(
    chrome: Browser, shown: Shown, stack: Stack
) -> None:
    (nobody,) = free_ports(1)
    page = chrome.new_page()
    with shown(f"http://localhost:{nobody}") as url:
        page.goto(url)

        expect(page.get_by_role("status").first).to_contain_text("No pudimos comunicarnos")
        expect(page.get_by_role("button", name="Reintentar")).to_be_visible()
        expect(page.locator("#device-garmin .state")).to_have_text("Próximamente")
        page.close()


@pytest.mark.azurite
def test_a_provider_without_settings_cannot_be_connected(
    chrome: Browser, shown: Shown, azurite: Azurite
) -> None:
    port, page_port = free_ports(2)
    made = stacks.settings(
        Ports(port, page_port, 1), Secrets(), azurite.connection_string, backfill_days=1
    )
    env = {name: value for name, value in made.items() if not name.startswith("WHOOP_")}
    page = chrome.new_page()
    sys.modules.pop("function_app", None)  # another test's app, with its settings
    with Host(ROOT, port, env=env) as host, shown(host.url) as url:
        # Without CORS in this host: the page asks as if it were of the API's own origin.
        page.route(
            f"{host.url}/**",
            lambda route: route.fulfill(
                response=route.fetch(), headers={"Access-Control-Allow-Origin": "*"}
            ),
        )
        page.goto(url)
        page.evaluate("sessionStorage.setItem('gotogym.token', '')")

        expect(page.locator("#device-whoop .state")).to_have_text("No disponible por ahora")
        button = page.get_by_role("button", name="Conectar WHOOP")
        expect(button).to_have_accessible_description("Todavía no ofrecemos WHOOP. Vuelve pronto.")
        page.close()
    sys.modules.pop("function_app", None)
