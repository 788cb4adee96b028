"""Every error this app raises, grouped by what the caller should do about it.

AppError
├── ProviderError              a provider's answer that was not the one we hoped for
│   ├── RateLimited            wait until ``retry_at``; it costs no attempt
│   │   └── OutOfBudget        the same, before the provider had to say it
│   ├── Unavailable            try again later: outages, time-outs, answers that make no sense
│   │   └── TokenRejected      try again with a renewed token, then treat it as an outage
│   ├── GrantDead              only the member can mend it, by signing in again
│   ├── ScopeMissing           this resource was not granted; the others carry on
│   ├── AccountDeactivated     the membership is paused; the resource waits
│   ├── CursorRefused          start the walk again above what was reached
│   ├── NotThere               what was asked for by name does not exist
│   └── Rejected               our request was wrong: a person has to look
├── Forged                     a message that claims to be a provider's and is not
├── Busy                       somebody else is at it: come back at ``retry_at``
├── LostRace                   somebody else changed it first: read again, or stop
├── StorageDown                our own storage does not answer
├── Unsealable                 a sealed value does not open: a key is missing
├── UnreadableMessage          a queue message that no version of this app wrote
├── ConfigError                settings that nothing can run with
├── Problem                    a refusal in the words of the person who asked over HTTP
└── ConnectRefused             a connection attempt that ends on the settings page
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar


class AppError(Exception):
    """The root, so that an edge can tell our errors from bugs."""


class ProviderError(AppError):
    """A provider's answer that was not the one we hoped for."""

    #: What the status reports.  Never the provider's own words: they may quote a record.
    code: ClassVar[str] = "provider_error"


class RateLimited(ProviderError):
    """The provider wants no more requests before ``retry_at``."""

    code = "rate_limited"

    def __init__(self, retry_at: datetime) -> None:
        super().__init__(f"no requests before {retry_at.isoformat()}")
        self.retry_at = retry_at


class OutOfBudget(RateLimited):
    """We have spent what the provider allows; nothing was asked."""

    code = "out_of_budget"


class Unavailable(ProviderError):
    """The provider could not answer; the same request may work later."""

    code = "provider_unavailable"


class TokenRejected(Unavailable):
    """The provider did not accept this access token."""

    code = "token_rejected"


class GrantDead(ProviderError):
    """The provider says that the member's grant is over."""

    code = "reauth_required"


class ScopeMissing(ProviderError):
    """The member did not grant the scope that this resource needs."""

    code = "scope_missing"


class AccountDeactivated(ProviderError):
    """The member's account at the provider is paused."""

    code = "account_deactivated"


class CursorRefused(ProviderError):
    """The provider no longer knows this page token, or handed the same one out twice."""

    code = "cursor_refused"


class NotThere(ProviderError):
    """The provider has nothing under this name."""

    code = "not_there"


class Rejected(ProviderError):
    """The provider found our request wrong; sending it again will not help."""

    code = "request_rejected"


class Forged(AppError):
    """Nothing proves that this message is the provider's; its text says what is missing."""


class Busy(AppError):
    """Somebody else is renewing this token right now."""

    def __init__(self, retry_at: datetime) -> None:
        super().__init__(f"busy until about {retry_at.isoformat()}")
        self.retry_at = retry_at


class LostRace(AppError):
    """The row was changed, made or removed by somebody else since it was read."""


class StorageDown(AppError):
    """Our own storage does not answer."""


class Unsealable(AppError):
    """A sealed value does not open here: its key is missing, or it was moved."""


class UnreadableMessage(AppError):
    """A queue message in a form that no version of this app writes."""


class ConfigError(AppError):
    """Settings that the app cannot run with; lists every one of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class Problem(AppError):
    """A refusal in the words of a person who can act on it (RFC 9457).

    ``detail`` is shown to the caller: it names what to do, and never a secret or a setting.
    """

    status: ClassVar[int]
    title: ClassVar[str]
    code: ClassVar[str]
    #: What a 401 asks for.
    challenge: ClassVar[str] = "Bearer"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Unauthorized(Problem):
    """The bearer token is missing, expired, or not one of ours."""

    status = 401
    title = "Sign in first"
    code = "unauthorized"


class BadRequest(Problem):
    """A request that says something else than it may."""

    status = 400
    title = "This request cannot be understood"
    code = "bad_request"


class Unsigned(Problem):
    """Whoever sent this is not the provider."""

    status = 401
    title = "This is not signed as it should be"
    code = "unsigned"
    challenge = "Signature"


class TooLarge(Problem):
    """More than anybody has to say."""

    status = 413
    title = "This is too long"
    code = "too_large"


class Forbidden(Problem):
    """The caller is known, or does not matter: this way is closed."""

    status = 403
    title = "This is not allowed"
    code = "forbidden"


class UnknownProvider(Problem):
    """No provider of this name is part of the app."""

    status = 404
    title = "There is no such provider"
    code = "unknown_provider"


class UnknownResource(Problem):
    """The provider has no resource of this name."""

    status = 404
    title = "There are no such records"
    code = "unknown_resource"


class FeedRestarted(Problem):
    """The feed that the caller has read from is gone; there may be a new one."""

    status = 410
    title = "The feed was begun anew"
    code = "feed_restarted"


class UnknownMessage(Problem):
    """No message of this name is kept."""

    status = 404
    title = "There is no such message"
    code = "unknown_message"


class NeverConnected(Problem):
    """The member has neither a connection nor records that could be given up."""

    status = 404
    title = "There is nothing to disconnect"
    code = "not_connected"


class NotConnected(Problem):
    """The member has no working connection to sync."""

    status = 409
    title = "There is no connection to use"
    code = "not_connected"


class NotConfigured(Problem):
    """The provider, or the app, lacks settings; which ones is for the log only."""

    status = 503
    title = "This is not set up yet"
    code = "not_configured"


class ConnectRefused(AppError):
    """A connection attempt that ends on the settings page with ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
