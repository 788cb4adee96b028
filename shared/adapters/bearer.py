"""Who is calling: GoToGym's own tokens, checked with PyJWT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jwt

from shared.config import Jwt
from shared.core.model import UserId
from shared.errors import StorageDown, Unauthorized

#: Clocks differ; RFC 7519, section 4.1.4, allows "some small leeway".
LEEWAY_SECONDS = 30
#: So that a user id fits into every key that is made of it.
LONGEST_USER_ID = 200
LONGEST_TOKEN = 8_192
CLAIMS = ("user_id", "sub")


@dataclass(slots=True)
class Bearer:
    """Reads bearer tokens."""

    config: Jwt
    _keys: jwt.PyJWKClient | None = field(default=None, repr=False)

    def caller(self, authorization: str | None) -> UserId:
        """Return the user id in an ``Authorization`` header; raise ``Unauthorized``."""
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("Send your GoToGym token as 'Authorization: Bearer …'.")
        return self.read(token.strip())

    def read(self, token: str) -> UserId:
        """Return the user id in ``token``; raise ``Unauthorized``."""
        if len(token) > LONGEST_TOKEN:
            raise Unauthorized("This token is too long to be one of GoToGym's.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(token),
                # From our configuration: a token must not choose how it is checked.
                algorithms=[self.config.algorithm],
                audience=self.config.audience or None,
                issuer=self.config.issuer or None,
                leeway=LEEWAY_SECONDS,
                options={
                    "require": ["exp"],
                    "verify_aud": bool(self.config.audience),
                    "verify_iss": bool(self.config.issuer),
                },
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthorized("Your session has expired. Sign in to GoToGym again.") from error
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthorized("This token is not valid here. Sign in to GoToGym again.") from error
        return self._user(claims)

    def _user(self, claims: dict[str, Any]) -> UserId:
        names = (self.config.user_claim,) if self.config.user_claim else CLAIMS
        found = next((claims[name] for name in names if name in claims), None)
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise Unauthorized("This token does not say whose it is.")
        user = str(found)
        if not user.strip() or not 0 < _bytes(user) <= LONGEST_USER_ID:
            raise Unauthorized("This token does not say whose it is.")
        return UserId(user)

    def _key(self, token: str) -> Any:
        if self.config.secret is not None and not self.config.jwks_url:
            return self.config.secret.reveal()
        if self._keys is None:
            self._keys = jwt.PyJWKClient(self.config.jwks_url, timeout=5)
        try:
            self._keys.get_signing_keys()  # asked for once in five minutes
        except (jwt.PyJWKClientError, jwt.PyJWKSetError, ValueError) as error:
            # Whatever is wrong there, the member's token may be good.
            raise StorageDown("the keys of GoToGym's tokens cannot be had") from error
        # Not the key alone: with its algorithm, so that a token cannot name one of another kind.
        return self._keys.get_signing_key_from_jwt(token)


def _bytes(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold and keys cannot
        return 0
