"""What a member does on the page, against everything real but WHOOP."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from dev.scenes import RECORDS
from dev.stack import USER, Stack
from tests.browser.conftest import ACCESS_SECONDS, DAYS, Arrive, Visitor, control

pytestmark = pytest.mark.azurite


def test_a_member_connects_and_sees_all_that_there_is(arrive: Arrive, stack: Stack) -> None:
    ana = arrive()
    ana.open()
    expect(ana.state).to_have_text("Sin conectar")

    ana.connected()

    assert ana.page.url == stack.page  # the outcome was told, and is gone from the address
    start = datetime.now(UTC) - timedelta(days=DAYS)
    query = f"truth?user_id={ana.whoop}&start={start.isoformat().replace('+00:00', 'Z')}"
    truth = control(stack, "GET", query)
    for resource in RECORDS:
        count = len(truth[resource])
        said = f"{count} registros" if count != 1 else "1 registro"
        expect(ana.page.locator(f"#resource-{resource}")).to_contain_text(said if count else "Sin")


def test_the_token_is_in_no_address_and_in_no_storage_that_stays(arrive: Arrive) -> None:
    ana = arrive()

    ana.connected()

    token = ana.page.evaluate("sessionStorage.getItem('gotogym.token')")
    assert token
    assert not [url for url in ana.asked if token in url]
    assert ana.page.evaluate("Object.keys(localStorage)") == []
    assert ana.page.evaluate("document.cookie") == ""
    assert ana.page.evaluate("indexedDB.databases()") == []
    assert token not in ana.page.content()


def test_a_member_who_says_no_is_told_so(arrive: Arrive) -> None:
    ana = arrive()
    ana.open()
    ana.leave()

    ana.page.get_by_role("button", name="Deny").click()

    expect(ana.notice).to_contain_text("No diste permiso en WHOOP")
    expect(ana.state).to_have_text("Sin conectar")
    assert "?" not in ana.page.url


def test_a_link_that_was_used_is_told_so(arrive: Arrive) -> None:
    ana = arrive()
    ana.connected()
    (used,) = [url for url in ana.asked if "/callback/" in url]

    ana.page.goto(used)

    expect(ana.notice).to_contain_text("Ese enlace ya se usó o venció")
    expect(ana.state).to_contain_text("Conectado")


def test_a_lost_cookie_is_told_so(arrive: Arrive) -> None:
    ana = arrive()
    ana.open()
    ana.leave()
    ana.context.clear_cookies()

    ana.approve()

    expect(ana.notice).to_contain_text("No reconocimos este navegador")
    expect(ana.state).to_have_text("Sin conectar")


def test_two_tabs_do_not_break_each_other(arrive: Arrive) -> None:
    ana = arrive()
    ana.open()
    ana.leave()
    other = Visitor(ana.stack, ana.context, ana.user, ana.whoop, ana.context.new_page())
    other.open()
    other.leave()

    ana.approve()
    expect(ana.notice).to_contain_text("conectaste WHOOP")
    other.approve()
    expect(other.notice).to_contain_text("conectaste WHOOP")


def test_whoever_comes_back_without_an_answer_can_try_again(arrive: Arrive) -> None:
    ana = arrive()
    ana.open()
    ana.leave()

    ana.page.go_back()

    expect(ana.card.locator(".card .button")).not_to_have_attribute("aria-disabled", "true")
    ana.leave()


def test_progress_is_shown_to_the_end_also_after_a_reload(arrive: Arrive, stack: Stack) -> None:
    control(stack, "POST", "faults", path="/developer/v2/activity/sleep", delay=0.4)
    ana = arrive(days=200)
    ana.connect()
    bar = ana.page.get_by_role("progressbar", name="Avance de Sueño")
    expect(bar).to_be_visible()
    expect(ana.page.locator("#resource-sleep")).to_contain_text(
        re.compile(r"Termina en|registros,")
    )
    before = float(bar.get_attribute("value") or 0)

    ana.page.reload()

    ana.unfold()
    expect(bar).to_be_visible()
    assert before <= float(bar.get_attribute("value") or 0) < 1
    expect(ana.page.locator("#resource-sleep")).to_contain_text("Termina en")
    control(stack, "DELETE", "faults")
    expect(ana.state).to_contain_text("Conectado · al día", timeout=20_000)
    expect(ana.page.get_by_role("progressbar")).to_have_count(0)
    looks = len(ana.asked)
    time.sleep(0.5)
    assert len(ana.asked) == looks  # nothing is going on, so nobody asks


def test_sync_now_brings_the_newest(arrive: Arrive, stack: Stack) -> None:
    ana = arrive()
    ana.connected()
    run = ana.status()["run"]["id"]
    control(stack, "POST", "faults", path="/developer/v2/cycle", delay=0.5)

    ana.button("Sincronizar WHOOP").click()

    expect(ana.button("Sincronizar WHOOP")).to_have_attribute("aria-disabled", "true")
    expect(ana.button("Sincronizar WHOOP")).to_have_attribute(
        "title", re.compile("Ya estamos|Un momento")
    )
    expect(ana.state).to_contain_text("Trayendo tus datos")
    expect(ana.state).to_have_text("Conectado · al día hace un momento")
    assert ana.status()["run"]["id"] != run


def test_a_wait_for_whoops_limit_says_until_when_and_ends(arrive: Arrive, stack: Stack) -> None:
    ana = arrive()
    limit = {"X-RateLimit-Reset": "2", "X-RateLimit-Remaining": "0"}
    control(stack, "POST", "faults", path="/developer/v2/cycle", status=429, headers=limit, times=1)

    ana.connect()

    expect(ana.state).to_contain_text(re.compile(r"En pausa · seguimos a las? \d+:\d\d"))
    expect(ana.page.locator("#more-whoop")).to_contain_text(re.compile("Seguimos a las? "))
    expect(ana.state).to_contain_text("Conectado · al día", timeout=20_000)


def test_access_that_was_revoked_can_be_given_again(arrive: Arrive, stack: Stack) -> None:
    ana = arrive()
    ana.connect()
    time.sleep(ACCESS_SECONDS)  # until then, the access that we hold is as good as any
    control(stack, "POST", "tokens/revoke", user_id=ana.whoop)

    ana.button("Sincronizar WHOOP").click()

    expect(ana.state).to_contain_text("WHOOP ya no nos da acceso")
    ana.leave()
    ana.approve()
    expect(ana.state).to_contain_text("Conectado · al día", timeout=20_000)


def test_a_member_disconnects_and_keeps_the_records(arrive: Arrive) -> None:
    ana = arrive()
    ana.connected()
    ana.button("Desconectar").click()
    dialog = ana.page.get_by_role("dialog")
    expect(dialog).to_contain_text("se queda en GoToGym")

    dialog.get_by_role("button", name="Desconectar").click()

    expect(ana.notice).to_contain_text("Desconectaste WHOOP; tus datos siguen guardados")
    expect(ana.state).to_contain_text("Desconectado")
    ana.leave()
    ana.approve()
    expect(ana.state).to_contain_text("Conectado · al día", timeout=20_000)


def test_a_member_disconnects_and_erases_everything(arrive: Arrive) -> None:
    ana = arrive()
    ana.connected()
    ana.button("Desconectar").click()
    dialog = ana.page.get_by_role("dialog")
    dialog.get_by_label("Borrarlos").check()
    expect(dialog).to_contain_text("No se puede deshacer")

    dialog.get_by_role("button", name="Desconectar y borrar").click()

    expect(ana.notice).to_contain_text(re.compile(r"este es tu comprobante: \S+"))
    expect(ana.state).to_have_text("Sin conectar", timeout=20_000)
    expect(ana.page.locator("#more-whoop")).to_have_count(0)
    assert [one["records"] for one in ana.status()["resources"]] == [0] * 6
    ana.page.reload()
    expect(ana.notice).to_be_empty()  # the receipt is shown once


def test_a_developer_signs_in_as_any_made_up_member(arrive: Arrive, stack: Stack) -> None:
    nobody = arrive()
    page = nobody.context.browser.new_context().new_page()  # type: ignore[union-attr]
    page.goto(stack.page)
    page.get_by_role("link", name="Iniciar sesión").click()

    page.get_by_role("button", name=USER.format(1)).click()

    expect(page.locator("#device-whoop .state")).to_have_text("Sin conectar")
    page.context.close()
