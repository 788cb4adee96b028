"""Every state that the settings page can be in, as answers of the API and what a member does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, Route

#: When every scene plays, so that its picture is the same each time.
NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
TIMEZONE = "America/Mexico_City"
LOCALE = "es-419"
DESKTOP, PHONE = (720, 600), (320, 640)
MONTH = timedelta(days=30)
LIMIT = {"reason": "rate_limited", "retry_at": NOW + timedelta(minutes=7)}
RECORDS = {"cycle": 30, "recovery": 28, "sleep": 33, "workout": 12}
#: Days without data, counted back from today.
GAPS = {"cycle": (), "recovery": (4, 17), "sleep": (4, 17), "workout": tuple(range(1, 30, 2))}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scene:
    """What the API answers, and what is done on the page before it is looked at."""

    name: str
    #: By method and path; a number is an answer without a body, None no answer at all.
    answers: Mapping[str, Any]
    #: What it answers once something was asked for that is no look.
    then: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    is_signed_in: bool = True
    size: tuple[int, int] = DESKTOP
    is_dark: bool = False
    act: Callable[[Page], object] = field(default=lambda _: None)


def play(scene: Scene, page: Page, url: str, api: str) -> None:
    """Show `scene` in `page`; `url` is where the page is, `api` where it asks."""
    page.clock.set_fixed_time(NOW)
    token = "a-token" if scene.is_signed_in else ""
    page.add_init_script(f"sessionStorage.setItem('gotogym.token', '{token}')" if token else "0")
    answers = dict(scene.answers)
    asked: set[str] = set()

    def answer(route: Route) -> None:
        asked.add(_answer(route, answers))
        if route.request.method != "GET":
            answers.update(scene.then)

    page.route(f"{api}/**", answer)
    page.goto(url + scene.query)
    expected = {one for one in answers if one.startswith("GET")}
    page.locator("#device-whoop .state", has_not_text="Cargando").wait_for()
    while not expected <= asked:
        page.wait_for_timeout(10)
    page.evaluate("() => new Promise((done) => setTimeout(done, 50))")
    scene.act(page)


def _answer(route: Route, answers: Mapping[str, Any]) -> str:
    request = route.request
    name = f"{request.method} {urlsplit(request.url).path}"
    found = answers.get(name)
    if found is None:
        route.abort("connectionrefused")
        return name
    status, body = (found, {}) if isinstance(found, int) else (200, found)
    origin = request.headers.get("origin", "*")
    allowed = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
    route.fulfill(status=status, json=body, headers=allowed)
    return name


# What the API says


def listed(connection: Json | None = None, **changes: Any) -> list[Json]:
    """Answer `GET /providers/`."""
    entry: Json = {"id": "whoop", "name": "WHOOP", "enabled": True, **changes}
    return [entry if connection is None else {**entry, "connection": connection}]


def connection(status: str, **changes: Any) -> Json:
    """Describe a connection."""
    if status in {"none", "connecting", "erasing"}:
        return {"status": status}
    since = written(NOW - timedelta(days=44))
    quiet: Json = {"reason": None, "action": None, "missing_scopes": []}
    return {"status": status, "since": since, **quiet, **changes}


def resource(name: str, **changes: Any) -> Json:
    """Describe a resource of which all is here."""
    goal = {"start": written(NOW - MONTH), "end": written(NOW - timedelta(minutes=5))}
    days = stretches(31, GAPS.get(name, ()))
    records = RECORDS.get(name, 1)
    dated = name in RECORDS
    return {
        "resource": name,
        "state": "finished",
        "reason": None,
        "action": None,
        "retry_at": None,
        "progress": 1.0,
        "ends_at": None,
        "goal": goal if dated else None,
        "held": goal if dated else None,
        "last_sync_at": goal["end"],
        "records": records,
        "versions": records + 2,
        "oldest": written(NOW - MONTH) if dated else None,
        "newest": written(NOW - timedelta(hours=9)) if dated else None,
        "days": days if dated else [],
        **{name: written(value) if isinstance(value, datetime) else value
           for name, value in changes.items()},
    }  # fmt: skip


def half_read(name: str, progress: float, **changes: Any) -> Json:
    """Describe a resource that is being read for the first time."""
    read = int(30 * progress)
    return resource(
        name,
        **{
            "state": "running",
            "progress": progress,
            "ends_at": NOW + timedelta(seconds=150 * (1 - progress)) if progress else None,
            "held": None,
            "last_sync_at": None,
            "records": round(RECORDS[name] * progress),
            "oldest": NOW - timedelta(days=read) if progress else None,
            "newest": NOW - timedelta(hours=9) if progress else None,
            "days": stretches(read, GAPS[name]) if read else [],
            **changes,
        },
    )


def status(standing: Json, resources: Sequence[Json], state: str | None = "finished") -> Json:
    """Answer `GET /providers/whoop/status/`."""
    goal = {"start": written(NOW - MONTH), "end": written(NOW)}
    run = {"id": "a-run", "state": state, "goal": goal} if state else None
    return {"provider": "whoop", "connection": standing, "run": run, "resources": list(resources)}


def stretches(count: int, gaps: Sequence[int]) -> list[list[str]]:
    """List the stretches of the last `count` days that have data."""
    found: list[list[date]] = []
    for back in reversed(range(count)):
        day = NOW.date() - timedelta(days=back)
        if back in gaps:
            continue
        if found and found[-1][1] == day - timedelta(days=1):
            found[-1][1] = day
        else:
            found.append([day, day])
    return [[first.isoformat(), last.isoformat()] for first, last in found]


def written(at: datetime) -> str:
    """Write a time as the API does."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# The scenes

DOCUMENTS = [resource("profile"), resource("body_measurement")]
WHOLE = [*map(resource, RECORDS), *DOCUMENTS]
LIST, STATUS = "GET /providers/", "GET /providers/whoop/status/"
END = "DELETE /providers/whoop/connection/"
FIRST = [
    resource("cycle", last_sync_at=NOW),
    half_read("recovery", 0.63),
    half_read("sleep", 0.4),
    half_read("workout", 0.0),
    *DOCUMENTS,
]
PAUSED = [
    half_read("cycle", 0.7, state="waiting", **LIMIT),
    half_read("recovery", 0.63, state="waiting", **LIMIT),
    half_read("sleep", 0.4, state="waiting", **LIMIT),
    half_read("workout", 0.0, state="waiting", **LIMIT),
    *DOCUMENTS,
]
LONG = [
    {
        **one,
        "days": stretches(days, [*range(300, 340), *range(7, 2000, 11)]),
        "held": {"start": written(NOW - timedelta(days=days)), "end": written(NOW)},
        "records": days,
        "oldest": written(NOW - timedelta(days=days)),
    }
    for one, days in zip(map(resource, RECORDS), (365, 365, 2400, 2400), strict=True)
]


def standing(name: str, resources: Sequence[Json] = WHOLE, state: str = "finished") -> Json:
    """Answer both calls for a member whose connection stands like `name`."""
    return having(connection(name), resources, state)


def having(one: Json, resources: Sequence[Json] = WHOLE, state: str = "finished") -> Json:
    """Answer both calls for a member who has the connection `one`."""
    return {LIST: listed(one), STATUS: status(one, resources, state)}


def opened(page: Page) -> None:
    """Open what is below WHOOP's card."""
    page.locator("#more-whoop > summary").click()


def asked(page: Page) -> None:
    """Ask to disconnect."""
    opened(page)
    page.get_by_role("button", name="Desconectar").click()
    page.get_by_role("dialog").wait_for()


def asked_to_erase(page: Page) -> None:
    """Ask to disconnect and erase."""
    asked(page)
    page.get_by_label("Borrarlos").check()


def erased(page: Page) -> None:
    """Disconnect and erase."""
    asked_to_erase(page)
    page.get_by_role("button", name="Desconectar y borrar").click()
    page.get_by_text("comprobante").wait_for()


def cut_off(page: Page) -> None:
    """Lose the network."""
    page.context.set_offline(True)
    page.get_by_text("No tienes conexión").wait_for()


RECEIPT = {"id": "9f2c51d07ab84e63", "erased_at": written(NOW), "rows": 218}
CAME_BACK = "?oauth=success&provider=whoop"
SCENES = (
    Scene("signed-out", {LIST: listed()}, is_signed_in=False),
    Scene("available", {LIST: listed(connection("none"))}),
    Scene("disabled", {LIST: listed(connection("none"), enabled=False, reason="not_configured")}),
    Scene("connecting", standing("connecting", [], "running")),
    Scene("first-run", standing("connected", FIRST, "running"), query=CAME_BACK),
    Scene("waiting", standing("connected", PAUSED, "waiting"), act=opened),
    Scene("up-to-date", standing("connected")),
    Scene("details", standing("connected"), act=opened),
    Scene("long-history", standing("connected", [*LONG, *DOCUMENTS]), act=opened),
    Scene("denied", {LIST: listed(connection("none"))},
          query="?oauth=error&provider=whoop&reason=denied"),
    Scene("reauth", having(connection("parked", reason="reauth_required")), act=opened),
    Scene("missing-scope", having(
        connection("connected", reason="scope_missing", missing_scopes=["read:workout"]),
        [*WHOLE[:3], resource("workout", state="no_scope", reason="scope_missing", records=0,
                              oldest=None, newest=None, held=None, days=[]), *DOCUMENTS],
    ), act=opened),
    Scene("failed", standing("connected", [
        resource("cycle", state="failed", reason="provider_unavailable"), *WHOLE[1:]], "failed"),
        act=opened),
    Scene("membership-paused", standing("connected", [
        resource(name, state="deactivated", reason="account_deactivated") for name in RECORDS])),
    Scene("disconnect-keep", standing("connected"), act=asked),
    Scene("disconnect-erase", standing("connected"), act=asked_to_erase),
    Scene("erased", {**standing("connected"), END: {"erased": True, "receipt": RECEIPT}},
          {LIST: listed(connection("none"))}, act=erased),
    Scene("erasing", standing("erasing")),
    Scene("disconnected", standing("disconnected"), act=opened),
    Scene("session-over", {LIST: 401}),
    Scene("server-error", {LIST: 500}),
    Scene("api-down", {}),
    Scene("offline", standing("connected"), act=cut_off),
    Scene("first-run-dark", standing("connected", FIRST, "running"), query=CAME_BACK,
          is_dark=True),
    Scene("details-dark", standing("connected"), act=opened, is_dark=True),
    Scene("disconnect-dark", standing("connected"), act=asked_to_erase, is_dark=True),
    Scene("available-phone", {LIST: listed(connection("none"))}, size=PHONE),
    Scene("first-run-phone", standing("connected", FIRST, "running"), query=CAME_BACK, size=PHONE),
    Scene("details-phone", standing("connected"), act=opened, size=PHONE),
    Scene("long-history-phone", standing("connected", [*LONG, *DOCUMENTS]), act=opened,
          size=PHONE),
    Scene("disconnect-phone", standing("connected"), act=asked_to_erase, size=PHONE),
)  # fmt: skip
