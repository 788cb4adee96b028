"""Grants and their tokens: what WHOOP's authorization server keeps and answers."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from werkzeug import Request, Response

from dev.simulator import answers
from dev.simulator.options import Options

SCOPES = (
    "read:recovery",
    "read:cycles",
    "read:sleep",
    "read:workout",
    "read:profile",
    "read:body_measurement",
    "offline",
)

#: WHOOP does not tell how long a code lives; this is the longest that OAuth recommends.
CODE_LIFE = timedelta(minutes=10)

_DESCRIPTIONS = {
    "invalid_request": "The request is missing a required parameter or is otherwise malformed.",
    "invalid_client": "Client authentication failed.",
    "invalid_grant": (
        "The provided authorization grant or refresh token is invalid, expired, revoked, or "
        "does not match this request."
    ),
    "unsupported_grant_type": "The grant type is not supported by the authorization server.",
}


@dataclass(frozen=True, slots=True)
class _Code:
    user_id: int
    scopes: tuple[str, ...]
    redirect_uri: str
    expires_at: datetime
    #: The grant that was made of it, once it is spent.
    grant: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """One consent of one member, and the only tokens of it that are good."""

    user_id: int
    scopes: tuple[str, ...]
    access_token: str
    access_expires_at: datetime
    refresh_token: str | None
    alive: bool = True


class OAuth:
    """The grants of one app."""

    def __init__(self, options: Options, mint: Callable[[], str]) -> None:
        """Begin without any grant; ``mint`` makes codes and tokens that nobody can guess."""
        self._options = options
        self._mint = mint
        self._codes: dict[str, _Code] = {}
        self._grants: list[Grant] = []
        # Spent and rotated tokens stay here: it takes them to recognise reuse.
        self._by_access: dict[str, int] = {}
        self._by_refresh: dict[str, int] = {}

    # Consent

    def approve(
        self, user_id: int, scopes: tuple[str, ...], *, redirect_uri: str, now: datetime
    ) -> str:
        """Record a member's consent and give the code for it."""
        code = self._mint()
        self._codes[code] = _Code(user_id, scopes, redirect_uri, now + CODE_LIFE)
        return code

    # Access tokens

    def owner(self, access_token: str) -> Grant | None:
        """Give the grant that a token belongs to, good or not."""
        number = self._by_access.get(access_token)
        return None if number is None else self._grants[number]

    def subject(self, form: Mapping[str, str]) -> int | None:
        """Give the user id that a token request is about, whatever will become of it."""
        if code := self._codes.get(form.get("code", "")):
            return code.user_id
        number = self._by_refresh.get(form.get("refresh_token", ""))
        return None if number is None else self._grants[number].user_id

    def authenticate(self, access_token: str, *, now: datetime) -> Grant | None:
        """Give the grant if its token is good now."""
        grant = self.owner(access_token)
        if grant is None or not grant.alive or grant.access_token != access_token:
            return None
        return grant if now < grant.access_expires_at else None

    def granted(self) -> set[int]:
        """Give the user ids of all whose grant was not revoked, however old its tokens are."""
        return {grant.user_id for grant in self._grants if grant.alive}

    def expire(self, user_id: int, *, now: datetime) -> int:
        """End a member's access tokens and leave the refresh tokens good; say how many."""
        return self._change(user_id, lambda grant: replace(grant, access_expires_at=now))

    def revoke(self, user_id: int) -> int:
        """End all of a member's grants; say how many."""
        return self._change(user_id, lambda grant: replace(grant, alive=False))

    def _change(self, user_id: int, change: Callable[[Grant], Grant]) -> int:
        chosen = [
            number
            for number, grant in enumerate(self._grants)
            if grant.user_id == user_id and grant.alive
        ]
        for number in chosen:
            self._grants[number] = change(self._grants[number])
        return len(chosen)

    # The token endpoint

    def token(self, request: Request, *, now: datetime) -> Response:
        """Answer ``POST /oauth/oauth2/token``."""
        if request.mimetype != "application/x-www-form-urlencoded":
            return _refusal("invalid_request")
        form = request.form
        if not self._is_the_client(request, form):
            return _refusal("invalid_client")
        match form.get("grant_type"):
            case "authorization_code":
                return self._redeem(form, now)
            case "refresh_token":
                return self._renew(form, now)
            case None:
                return _refusal("invalid_request")
            case _:
                return _refusal("unsupported_grant_type")

    def _is_the_client(self, request: Request, form: Mapping[str, str]) -> bool:
        # WHOOP takes the credentials in the body and, seen live, refuses HTTP Basic.
        if "Authorization" in request.headers:
            return False
        return _same(form.get("client_id", ""), self._options.client_id) and _same(
            form.get("client_secret", ""), self._options.client_secret
        )

    def _redeem(self, form: Mapping[str, str], now: datetime) -> Response:
        if "code" not in form or "redirect_uri" not in form:
            return _refusal("invalid_request")
        code = self._codes.get(form["code"])
        if code is None:
            return _refusal("invalid_grant")
        if code.grant is not None:
            self._punish(code.grant)
            return _refusal("invalid_grant")
        if now >= code.expires_at or form["redirect_uri"] != code.redirect_uri:
            return _refusal("invalid_grant")

        number = len(self._grants)
        self._codes[form["code"]] = replace(code, grant=number)
        self._grants.append(Grant(code.user_id, code.scopes, "", now, None))
        return self._issue(number, now)

    def _renew(self, form: Mapping[str, str], now: datetime) -> Response:
        if "refresh_token" not in form:
            return _refusal("invalid_request")
        number = self._by_refresh.get(form["refresh_token"])
        if number is None:
            return _refusal("invalid_grant")
        grant = self._grants[number]
        if grant.refresh_token != form["refresh_token"]:
            self._punish(number)
            return _refusal("invalid_grant")
        if not grant.alive:
            return _refusal("invalid_grant")
        return self._issue(number, now)

    def _punish(self, number: int) -> None:
        """Take it that whoever comes with a spent token has stolen it."""
        if self._options.revoke_family_on_reuse:
            self._grants[number] = replace(self._grants[number], alive=False)

    def _issue(self, number: int, now: datetime) -> Response:
        """Give a grant new tokens, which ends the ones it had at once."""
        grant = self._grants[number]
        offline = "offline" in grant.scopes
        grant = replace(
            grant,
            access_token=self._mint(),
            access_expires_at=now + timedelta(seconds=self._options.token_seconds),
            refresh_token=self._mint() if offline else None,
        )
        self._grants[number] = grant
        self._by_access[grant.access_token] = number
        document: dict[str, str | int] = {
            "access_token": grant.access_token,
            "expires_in": self._options.token_seconds,
            "scope": " ".join(grant.scopes),
            "token_type": "bearer",
        }
        if grant.refresh_token is not None:
            self._by_refresh[grant.refresh_token] = number
            document["refresh_token"] = grant.refresh_token
        return _uncached(answers.of_json(document))


def _refusal(error: str) -> Response:
    """Refuse in the form of RFC 6749, section 5.2."""
    document = {"error": error, "error_description": _DESCRIPTIONS[error]}
    status = 401 if error == "invalid_client" else 400
    return _uncached(answers.of_json(document, status))


def _uncached(response: Response) -> Response:
    response.content_type = "application/json;charset=UTF-8"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
