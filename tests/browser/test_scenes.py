"""Every state of the page: nobody is kept out, nothing runs over, and it says what it has to."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from dev import page_server, scenes
from dev.bootstrap import ROOT
from dev.children import free_ports
from dev.page_server import PAGE, Site
from dev.scenes import (
    END,
    FIRST,
    LIST,
    LOCALE,
    NOW,
    PHONE,
    SCENES,
    STATUS,
    TIMEZONE,
    WHOLE,
    Scene,
    connection,
    having,
    listed,
    resource,
    standing,
)
from tests.browser.conftest import Arrive

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="session")
def site() -> Iterator[tuple[str, str]]:
    """Serve the page for an API that only the scenes answer for; give both addresses."""
    port, nobody = free_ports(2)
    api = f"http://localhost:{nobody}"
    with page_server.serve(Site(api, {}), port):
        yield f"http://localhost:{port}{PAGE}", api


@pytest.fixture(scope="session")
def window(chrome: Browser) -> Iterator[BrowserContext]:
    """One for all scenes, for opening one takes longer than playing in it."""
    with chrome.new_context(locale=LOCALE, timezone_id=TIMEZONE, reduced_motion="reduce") as opened:
        opened.set_default_timeout(10_000)
        yield opened


@pytest.fixture
def page(window: BrowserContext) -> Iterator[Page]:
    with window.new_page() as opened:
        yield opened
    window.set_offline(False)


def set_stage(page: Page, site: tuple[str, str], scene: Scene) -> None:
    width, height = scene.size
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if scene.is_dark else "light")
    scenes.play(scene, page, *site)


#: Without those that only differ in how they look, for each is looked at in every way.
STATES = [one for one in SCENES if not one.name.endswith(("-dark", "-phone"))]


@pytest.mark.parametrize("scene", STATES, ids=lambda scene: scene.name)
def test_axe_finds_nothing_in_any_state(
    page: Page, site: tuple[str, str], axe: str, scene: Scene
) -> None:
    set_stage(page, site, scene)
    page.evaluate(axe)

    assert violations(page, TAGS) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, ["color-contrast"]) == []

    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def violations(page: Page, asked: list[str]) -> list[tuple[str, ...]]:
    """Return what axe-core holds against the page; ``asked`` are tags or rules."""
    found = page.evaluate("asked => axe.run({ runOnly: asked })", asked)
    assert found["passes"]
    return [
        (one["id"], node["html"], node["failureSummary"])
        for one in found["violations"]
        for node in one["nodes"]
    ]


def test_axe_would_find_something(page: Page, site: tuple[str, str], axe: str) -> None:
    scenes.play(Scene("any", standing("connected")), page, *site)
    page.evaluate(axe)

    page.evaluate("document.querySelector('.state').style.color = '#ccc'")

    assert [one[0] for one in violations(page, TAGS)] == ["color-contrast"]


def test_dark_mode_is_dark(page: Page, site: tuple[str, str]) -> None:
    scenes.play(Scene("any", standing("connected")), page, *site)
    background = "getComputedStyle(document.body).backgroundColor"

    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")

    assert light == "rgb(245, 246, 248)"
    assert page.evaluate(background) == "rgb(15, 18, 22)"


def test_a_provider_that_is_switched_off_says_why(page: Page, site: tuple[str, str]) -> None:
    off = Scene("off", {LIST: listed(connection("none"), enabled=False, reason="misconfigured")})
    scenes.play(off, page, *site)

    button = page.get_by_role("button", name="Conectar WHOOP")

    reason = "Estamos arreglando la conexión con WHOOP. Inténtalo más tarde."
    expect(button).to_have_accessible_description(reason)
    expect(button).to_have_attribute("title", reason)
    button.click(force=True)  # Playwright would wait until it is enabled
    expect(page).to_have_url(site[0])


def test_cards_of_others_come_from_the_configuration(page: Page, site: tuple[str, str]) -> None:
    scenes.play(Scene("any", {LIST: listed(connection("none"))}), page, *site)

    expect(page.get_by_role("heading", level=2)).to_have_text(["WHOOP", "Garmin", "Oura"])
    expect(page.locator(".card")).to_have_count(3)
    for card in page.locator(".card").all():
        expect(card.get_by_role("button")).to_have_count(1)


def test_everything_can_be_done_with_the_keyboard(page: Page, site: tuple[str, str]) -> None:
    erased = {"erased": True, "receipt": scenes.RECEIPT}
    scene = Scene("any", {**standing("connected"), END: erased}, {LIST: listed(connection("none"))})
    scenes.play(scene, page, *site)
    focused = page.locator(":focus")

    page.keyboard.press("Tab")
    expect(focused).to_have_accessible_name("Sincronizar WHOOP")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    expect(focused).to_have_text("Tus datos de WHOOP")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(focused).to_have_text("Desconectar")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(focused).to_have_text("Desconectar")  # where the member was

    page.keyboard.press("Space")
    expect(page.get_by_label("Conservarlos")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Borrarlos")).to_be_checked()
    expect(page.get_by_role("dialog")).to_have_accessible_description(
        re.compile("No se puede deshacer")
    )
    page.keyboard.press("Tab")
    expect(focused).to_have_text("Cancelar")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text(
        "este es tu comprobante: 9f2c51d07ab84e63"
    )


def test_news_do_not_take_the_focus_away(page: Page, site: tuple[str, str]) -> None:
    scenes.play(
        Scene("any", standing("connected", FIRST, "running"), act=scenes.opened), page, *site
    )
    disconnect = page.get_by_role("button", name="Desconectar")
    disconnect.focus()

    page.route(f"{site[1]}{STATUS[4:]}", lambda route: answer(route, WHOLE, "finished"))

    expect(page.get_by_role("status").first).to_contain_text("WHOOP está al día")
    expect(disconnect).to_be_focused()
    expect(page.get_by_role("progressbar")).to_have_count(0)


def test_a_second_sync_shows_the_newest_days_again(page: Page, site: tuple[str, str]) -> None:
    again = [resource("sleep", state="running", progress=0.97, ends_at=NOW + timedelta(minutes=3))]
    scenes.play(
        Scene("any", standing("connected", again, "running"), act=scenes.opened), page, *site
    )

    sleep = page.locator("#resource-sleep")
    expect(sleep).to_contain_text("97 %")
    expect(sleep).to_contain_text("Termina en unos 3 minutos")
    expect(sleep.get_by_role("img")).to_have_accessible_name(
        "Sueño: 29 de 31 días con datos, del 23 oct al 22 nov"
    )
    expect(sleep).to_contain_text("33 registros, del 23 oct al 22 nov")


COUNT = """
  window.looks = [];
  window.flying = 0;
  const ask = window.fetch;
  window.fetch = async (...asked) => {
    if (asked[0].includes("/status/")) looks.push(Date.now());
    flying += 1;
    const answer = await ask(...asked);
    const read = answer.json.bind(answer);
    answer.json = () => read().finally(() => (flying -= 1));
    return answer;
  };
"""


def test_looks_become_rarer_and_stop_while_nobody_sees_the_page(
    chrome: Browser, site: tuple[str, str]
) -> None:
    page = chrome.new_page()  # in a window of its own, where time is ours
    page.clock.install(time=NOW)
    page.add_init_script(f"sessionStorage.setItem('gotogym.token', 'a-token'); {COUNT}")
    page.route(f"{site[1]}/**", lambda route: answer(route, FIRST, "running"))
    page.goto(site[0])
    expect(page.locator("#device-whoop .state")).to_contain_text("Trayendo tus datos")

    def pass_time(seconds: int) -> None:
        for _ in range(seconds):
            page.clock.run_for(1000)
            while page.evaluate("flying"):
                page.wait_for_timeout(1)

    pass_time(120)

    looks = page.evaluate("looks")
    pauses = [round((later - look) / 1000) for look, later in itertools.pairwise(looks)]
    assert pauses[0] <= 2
    assert pauses == sorted(pauses)
    assert pauses[-1] == 15

    hide = "Object.defineProperty(document, 'hidden', { value: %s, configurable: true });"
    changed = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hide % "true" + changed)
    pass_time(60)
    assert page.evaluate("looks") == looks
    page.evaluate(hide % "false" + changed)
    pass_time(1)
    assert len(page.evaluate("looks")) - len(looks) in {1, 2}  # at once, and then as at first
    page.close()


def test_the_network_may_come_back(page: Page, site: tuple[str, str]) -> None:
    scenes.play(Scene("any", standing("connected"), act=scenes.cut_off), page, *site)
    expect(page.get_by_role("status").first).to_contain_text("No tienes conexión")

    page.context.set_offline(False)

    expect(page.get_by_role("status").first).to_be_empty()
    expect(page.locator("#device-whoop .state")).to_contain_text("Conectado")


def test_an_error_of_ours_can_be_tried_again(page: Page, site: tuple[str, str]) -> None:
    scenes.play(Scene("any", {LIST: 503}), page, *site)
    expect(page.get_by_role("button", name="Conectar WHOOP")).to_have_accessible_description(
        "No pudimos preguntar si WHOOP está disponible."
    )
    page.route(f"{site[1]}/**", lambda route: answer(route, WHOLE, "finished"))

    page.get_by_role("button", name="Reintentar").click()

    expect(page.locator("#device-whoop .state")).to_contain_text("Conectado · al día")


def test_the_pictures_are_taken(chrome: Browser, tmp_path: Path) -> None:
    # In a process of its own: Playwright drives one browser at a time from a thread.
    code = "import sys; from dev import screenshots; screenshots.main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "--to", str(tmp_path), "available", "disconnect-phone"]

    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603

    assert {path.name for path in tmp_path.iterdir()} == {"available.png", "disconnect-phone.png"}
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_scenes_have_the_form_of_real_answers(arrive: Arrive) -> None:
    ana = arrive()
    ana.connected()
    told = standing("connected")[STATUS]

    real = ana.status()

    assert shape(told) == shape(real)
    assert {one["resource"] for one in told["resources"]} == {
        one["resource"] for one in real["resources"]
    }
    headers = {"Authorization": f"Bearer {ana.stack.token(ana.user)}"}
    listing = ana.context.request.get(f"{ana.stack.api}/providers/", headers=headers).json()
    assert shape(listing[0]) == shape(listed(connection("connected"))[0])


def shape(answer: Any) -> Any:
    """Return the names in a JSON document, in place of what they hold."""
    if isinstance(answer, dict):
        inner = {"connection", "run", "resources"}
        return {name: shape(value) if name in inner else None for name, value in answer.items()}
    if isinstance(answer, list):
        return [shape(one) for one in answer]
    return None


def answer(route: Route, resources: list[Any], state: str) -> None:
    name = LIST if route.request.url.endswith("/providers/") else STATUS
    body = having(connection("connected"), resources, state)[name]
    allowed = {"Access-Control-Allow-Origin": "*"}
    route.fulfill(status=200, body=json.dumps(body), headers=allowed)
