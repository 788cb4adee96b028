"""Every trigger, a few lines each, and the list of providers; nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import azure.functions as func

import whoop
from shared.adapters.http import (
    DEPRECATION,
    answers_errors,
    back_to_page,
    browser_of,
    flag,
    form_of,
    has_newest,
    json_answer,
    new_browser,
    no_content,
    not_modified,
    query,
    records_answer,
    redirect,
    require_own_page,
    since_of,
    with_browser,
)
from shared.config import Settings
from shared.core.model import Lane, UserId
from shared.core.times import iso
from shared.errors import (
    ConfigError,
    ConnectRefused,
    LostRace,
    NotConfigured,
    NotConnected,
    StorageDown,
)
from shared.log import alarm
from shared.reading import MOST, Wish

if TYPE_CHECKING:
    from shared.bootstrap import Services
    from shared.ports import Clock
    from shared.provider import Provider

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def wearables(env: Mapping[str, str], clock: Clock) -> list[Provider]:
    """Return the providers, as ``env`` configures them."""
    return [whoop.provider(env, clock)]


@cache
def services() -> Services:
    """Wire the app on first use, so that importing it does nothing."""
    # Here, because the SDKs behind it take longer to import than everything else together.
    from shared.bootstrap import build  # noqa: PLC0415

    env = os.environ
    return build(Settings.from_env(env), lambda clock: wearables(env, clock))


@app.route("providers", methods=["GET"])
@answers_errors
def providers(req: func.HttpRequest) -> func.HttpResponse:
    """List the providers, and the caller's connections where a token says who is calling."""
    authorization = req.headers.get("Authorization")
    user = services().bearer.caller(authorization) if authorization else None
    return json_answer(services().overview.list(user))


@app.route("providers/{provider}/status", methods=["GET"])
@answers_errors
def status(req: func.HttpRequest) -> func.HttpResponse:
    """Say how the caller's connection stands, and how much we hold."""
    user = _caller(req)
    provider = services().provider(req.route_params.get("provider"))
    return json_answer(services().overview.status(user, provider.name))


@app.route("providers/{provider}/sync", methods=["POST"])
@answers_errors
def sync(req: func.HttpRequest) -> func.HttpResponse:
    """Bring the caller's records up to date, or join the run that is doing so.

    With ``{"since": "2024-01-31"}`` the run reaches back to that day, behind everybody else's.
    """
    user = _caller(req)
    provider = services().provider(req.route_params.get("provider"))
    stored = services().ports.connections.find(user, provider.name)
    if stored is None:
        raise NotConnected(f"Connect {provider.title} first.")
    since = since_of(req)
    lane = Lane.MANUAL if since is None else Lane.BACKFILL
    run = services().sync.start(stored.value, lane, since=since)
    return json_answer({"run": run, "status": f"/providers/{provider.name}/status/"}, 202)


@app.route("providers/{provider}/records/{resource}", methods=["GET"])
@answers_errors
def records(req: func.HttpRequest) -> func.HttpResponse:
    """Give the caller their own raw records, from a number of the feed on."""
    user, form, reading = _caller(req), form_of(req), services().reading
    provider, resource = req.route_params.get("provider"), req.route_params.get("resource")
    feed = reading.open(user, provider, resource, Wish.of(req.params, most=MOST[form]))
    if has_newest(req, feed, form):
        return not_modified(feed, form)
    return records_answer(reading.read(feed), form)


@app.route("providers/{provider}/connection", methods=["DELETE"])
@answers_errors
def disconnect(req: func.HttpRequest) -> func.HttpResponse:
    """End the caller's connection; delete everything that it has brought if they ask for it."""
    user, erase = _caller(req), flag(req, "erase")
    # Also where the provider is switched off: whoever wants to go must not be kept.
    provider = services().known(req.route_params.get("provider"))
    if not erase:
        services().departures.disconnect(user, provider.name)
        return json_answer({"erased": False})
    receipt = services().departures.erase(user, provider.name)
    if receipt is None:
        return json_answer({"erased": False, "erasing": True}, 202)
    return json_answer(
        {
            "erased": True,
            "receipt": {
                "id": receipt.id,
                "erased_at": iso(receipt.at),
                "rows": sum(receipt.rows.values()),
            },
        }
    )


@app.route("oauth/{provider}/ticket", methods=["POST"])
@answers_errors
def oauth_ticket(req: func.HttpRequest) -> func.HttpResponse:
    """Give the page a link that takes the caller, in this browser, to the consent page."""
    user = _caller(req)
    provider = services().provider(req.route_params.get("provider"))
    settings = services().settings
    # A cookie that is there already is kept, so that two tabs do not break each other.
    browser = browser_of(req, settings) or new_browser()
    ticket = services().connections.ticket(user, provider.name, browser)
    link = f"{settings.public_url}/oauth/{provider.name}/authorize/?ticket={ticket.secret}"
    answer = json_answer(
        {"authorize_url": link, "expires_in": int(ticket.lifetime.total_seconds())}
    )
    return with_browser(answer, settings, browser)


@app.route("oauth/{provider}/authorize", methods=["GET"])
@answers_errors
def oauth_authorize(req: func.HttpRequest) -> func.HttpResponse:
    """Send the member on to the provider's consent page."""
    if "token" in req.params:
        return _authorize_by_token(req)
    settings, name = services().settings, req.route_params.get("provider", "")
    try:
        provider = services().provider(name)
        ticket, browser = query(req, "ticket"), browser_of(req, settings)
        return redirect(services().connections.begin(ticket, provider.name, browser))
    except ConnectRefused as refusal:
        return back_to_page(settings, name, refusal.reason)
    except NotConfigured:
        return back_to_page(settings, name, "not_configured")
    except (StorageDown, LostRace):
        return back_to_page(settings, name, "unavailable")


@app.route("oauth/{provider}/callback", methods=["GET"])
@answers_errors
def oauth_callback(req: func.HttpRequest) -> func.HttpResponse:
    """Take the answer from the consent page, and the member back to the settings page."""
    settings, name = services().settings, req.route_params.get("provider", "")
    try:
        provider = services().provider(name)
        services().connections.complete(
            provider.name,
            state=query(req, "state"),
            code=query(req, "code"),
            said=query(req, "error"),
            browser=browser_of(req, settings),
        )
    except ConnectRefused as refusal:
        return back_to_page(settings, name, refusal.reason)
    except NotConfigured:
        return back_to_page(settings, name, "not_configured")
    except (StorageDown, LostRace):
        return back_to_page(settings, name, "unavailable")
    return back_to_page(settings, name, None)


@app.route("webhooks/{provider}", methods=["POST"])
@answers_errors
def webhooks(req: func.HttpRequest) -> func.HttpResponse:
    """Take in what a provider has to tell; the work it makes goes through a queue."""
    provider = services().provider(req.route_params.get("provider"))
    services().webhooks.receive(provider, req.headers, req.get_body())
    return no_content()


@app.route("health", methods=["GET"])
@answers_errors
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Say whether the app can do its work, check by check."""
    try:
        checks = {"settings": "ok", **services().health()}
    except ConfigError as error:
        alarm("settings.wrong", problems=list(error.problems))
        checks = {"settings": "misconfigured"}
    well = all(outcome == "ok" for outcome in checks.values())
    return json_answer({"healthy": well, "checks": checks}, 200 if well else 503)


@app.queue_trigger(arg_name="msg", queue_name="sync-now", connection="DataStorage")
def sync_now(msg: func.QueueMessage) -> None:
    """Run a job that somebody waits for.  What it leaves undone, it defers itself."""
    services().attempt(msg.get_body(), msg.dequeue_count or 1)


@app.queue_trigger(arg_name="msg", queue_name="sync-later", connection="DataStorage")
def sync_later(msg: func.QueueMessage) -> None:
    """Run a job that nobody waits for.  What it leaves undone, it defers itself."""
    services().attempt(msg.get_body(), msg.dequeue_count or 1)


@app.queue_trigger(arg_name="msg", queue_name="sync-events", connection="DataStorage")
def sync_events(msg: func.QueueMessage) -> None:
    """Look at a record that a provider has told us of."""
    services().attempt(msg.get_body(), msg.dequeue_count or 1)


@app.queue_trigger(arg_name="msg", queue_name="sync-now-poison", connection="DataStorage")
def sync_now_poison(msg: func.QueueMessage) -> None:
    """Keep a message that the host has taken out of ``sync-now``, after five tries."""
    services().poison.receive(msg.get_body(), "sync-now")


@app.queue_trigger(arg_name="msg", queue_name="sync-later-poison", connection="DataStorage")
def sync_later_poison(msg: func.QueueMessage) -> None:
    """Keep a message that the host has taken out of ``sync-later``, after five tries."""
    services().poison.receive(msg.get_body(), "sync-later")


@app.queue_trigger(arg_name="msg", queue_name="sync-events-poison", connection="DataStorage")
def sync_events_poison(msg: func.QueueMessage) -> None:
    """Keep a message that the host has taken out of ``sync-events``, after five tries."""
    services().poison.receive(msg.get_body(), "sync-events")


@app.timer_trigger(
    arg_name="timer", schedule="%SYNC_SCHEDULE%", run_on_startup=False, use_monitor=True
)
def nightly(timer: func.TimerRequest) -> None:
    """Give every connection its turn in the night."""
    services().nightly.run(services().ports.clock())


@app.timer_trigger(
    arg_name="timer", schedule="0 20 * * * *", run_on_startup=False, use_monitor=True
)
def cleanup(timer: func.TimerRequest) -> None:
    """Put away what nobody needs, and carry on with a night that came to grief."""
    services().cleanup.run(services().ports.clock())
    services().nightly.resume()


def _caller(req: func.HttpRequest) -> UserId:
    return services().bearer.caller(req.headers.get("Authorization"))


def _authorize_by_token(req: func.HttpRequest) -> func.HttpResponse:
    """Serve the link that today's page makes, until it asks for tickets."""
    settings = services().settings
    require_own_page(req, settings)
    user = services().bearer.read(query(req, "token"))
    provider = services().provider(req.route_params.get("provider"))
    alarm("authorize.query_token", provider=provider.name)
    browser = browser_of(req, settings) or new_browser()
    answer = redirect(services().connections.consent_url(user, provider.name, browser))
    answer.headers["Deprecation"] = DEPRECATION
    return with_browser(answer, settings, browser)
