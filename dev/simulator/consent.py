"""The page on which a member says yes or no, and the way back from it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

from werkzeug import Request, Response

from dev.simulator.members import Member
from dev.simulator.oauth import SCOPES, OAuth
from dev.simulator.options import Options

#: WHOOP's minimum; a shorter one comes back as ``invalid_state`` before anyone is asked.
MIN_STATE = 8

_CARRIED = ("response_type", "client_id", "redirect_uri", "scope", "state")

_EXPLAINED = {
    "read:recovery": "Recovery: heart rate variability, resting heart rate, oxygen, temperature",
    "read:cycles": "Cycles: strain and energy, day by day",
    "read:sleep": "Sleep: stages, need and quality",
    "read:workout": "Workouts: sport, strain, zones, distance",
    "read:profile": "Your name and e-mail address",
    "read:body_measurement": "Height, weight and maximum heart rate",
    "offline": "All of this while you are away, until you take it back",
}

_STYLE = """
:root{color-scheme:dark}*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:2rem 1rem;
background:#0b0f14;color:#e8edf2;font:16px/1.5 system-ui,sans-serif}
main{width:100%;max-width:28rem;background:#141b23;border:1px solid #243140;border-radius:16px;
padding:2rem}
h1{margin:.2rem 0 1rem;font-size:1.35rem}h2{margin:1.5rem 0 .5rem;font-size:.9rem;color:#9fb0c0}
small{color:#00f19f;letter-spacing:.12em;text-transform:uppercase}
ul{margin:0;padding-left:1.2rem;color:#c6d2dd}
fieldset{border:0;margin:0;padding:0;max-height:18rem;overflow-y:auto}
label{display:flex;gap:.75rem;align-items:center;padding:.6rem .75rem;margin-bottom:.4rem;
border:1px solid #243140;border-radius:10px;cursor:pointer}
label:has(:checked){border-color:#00f19f;background:#10231f}
label span{display:block}label i{font-style:normal;font-size:.85rem;color:#9fb0c0}
div{display:flex;gap:.75rem;margin-top:1.5rem}
button{flex:1;padding:.8rem;border-radius:10px;border:1px solid #33465a;background:none;
color:inherit;font:inherit;font-weight:600;cursor:pointer}
button[value=approve]{background:#00f19f;border-color:#00f19f;color:#06231a}
button:focus-visible,label:focus-within{outline:2px solid #6cf;outline-offset:2px}
button:disabled{opacity:.4;cursor:default}
"""


@dataclass(frozen=True, slots=True)
class _Asked:
    """An authorize request that may be shown to a member."""

    redirect_uri: str
    scopes: tuple[str, ...]
    state: str


class Consent:
    """``/oauth/oauth2/auth``: asks a member, and sends the browser back with the answer."""

    def __init__(self, options: Options, oauth: OAuth, members: Mapping[int, Member]) -> None:
        """Ask on behalf of the one app that ``options`` describes."""
        self._options = options
        self._oauth = oauth
        self._members = members

    def show(self, request: Request) -> Response:
        """Answer GET with the page, or with a way back or a refusal."""
        asked = self._read(request.args)
        if isinstance(asked, Response):
            return asked
        hint = request.args.get("login_hint", "")
        return _page(_form(request.args, asked, self._members.values(), hint))

    def decide(self, request: Request, *, now: datetime) -> Response:
        """Answer the form of the page.

        Its fields: those of the query, ``member`` (a user id) and ``decision``.
        """
        form = request.form
        asked = self._read(form)
        if isinstance(asked, Response):
            return asked
        if form.get("decision") == "deny":
            return _back(asked.redirect_uri, asked.state, "access_denied")
        member = self._chosen(form.get("member", ""))
        if form.get("decision") != "approve" or member is None:
            return _refusal("Choose a member, then approve or deny.")
        code = self._oauth.approve(
            member.user_id, asked.scopes, redirect_uri=asked.redirect_uri, now=now
        )
        return _redirect(asked.redirect_uri, {"code": code, "state": asked.state})

    def _chosen(self, text: str) -> Member | None:
        return self._members.get(int(text)) if text.isdecimal() and len(text) < 20 else None

    def _read(self, asked: Mapping[str, str]) -> _Asked | Response:
        """Read an authorize request, or give the answer that it deserves."""
        uri, state = asked.get("redirect_uri", ""), asked.get("state", "")
        # Until both are known to be the app's own, there is nowhere safe to send anyone.
        if asked.get("client_id") != self._options.client_id:
            return _refusal("No app is registered under this client_id.")
        if uri not in self._options.redirect_uris:
            return _refusal("This redirect_uri is not registered for the app.")
        if asked.get("response_type") != "code":
            return _back(uri, state, "unsupported_response_type")
        if len(state) < MIN_STATE:
            return _back(uri, state, "invalid_state")
        scopes = tuple(dict.fromkeys(asked.get("scope", "").split()))
        if not scopes or not set(scopes) <= set(SCOPES):
            return _back(uri, state, "invalid_scope")
        return _Asked(uri, scopes, state)


def _back(uri: str, state: str, error: str) -> Response:
    return _redirect(uri, {"error": error, "error_description": _REASONS[error], "state": state})


_REASONS = {
    "access_denied": "The resource owner denied the request.",
    "invalid_scope": "The requested scope is invalid, unknown, or malformed.",
    "invalid_state": f"The state must be at least {MIN_STATE} characters long.",
    "unsupported_response_type": "The authorization server only gives codes.",
}


def _redirect(uri: str, answer: Mapping[str, str]) -> Response:
    parts = urlsplit(uri)
    added = urlencode({name: value for name, value in answer.items() if value})
    query = f"{parts.query}&{added}" if parts.query else added
    location = urlunsplit(parts._replace(query=query))
    return Response(status=302, headers={"Location": location, "Cache-Control": "no-store"})


def _refusal(reason: str) -> Response:
    return _page(f"<h1>This does not work</h1><p>{escape(reason)}</p>", 400)


def _form(carried: Mapping[str, str], asked: _Asked, members: Collection[Member], hint: str) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(carried[name])}">' for name in _CARRIED
    )
    known = any(str(member.user_id) == hint for member in members)
    chosen = hint if known else str(next(iter(members)).user_id) if members else ""
    people = "".join(
        f'<label><input type="radio" name="member" value="{member.user_id}"'
        f"{' checked' if str(member.user_id) == chosen else ''}>"
        f"<span>{escape(member.first_name)} {escape(member.last_name)}"
        f"<i> · {escape(member.email)} · {member.days} days</i></span></label>"
        for member in members
    )
    wishes = "".join(f"<li>{escape(_EXPLAINED[scope])}</li>" for scope in asked.scopes)
    approve = "" if members else " disabled"
    return (
        f"<h1>GoToGym would like to see your data</h1><h2>It asks for</h2><ul>{wishes}</ul>"
        f'<form method="post" action="?">{hidden}<h2>Sign in as</h2>'
        f"<fieldset>{people or 'There are no members in this world.'}</fieldset>"
        f'<div><button name="decision" value="deny">Deny</button>'
        f'<button name="decision" value="approve"{approve}>Approve</button></div></form>'
    )


def _page(body: str, status: int = 200) -> Response:
    html = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>WHOOP simulator</title><style>{_STYLE}</style>"
        f"<main><small>WHOOP simulator</small>{body}</main></html>"
    )
    return Response(
        html, status, content_type="text/html;charset=utf-8", headers={"Cache-Control": "no-store"}
    )
