"""What one simulator is told when it is made."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Options:
    """The app as registered with WHOOP, its quota, and a choice wherever WHOOP is silent."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ("http://localhost:7071/oauth/whoop/callback/",)
    seed: int = 1
    per_minute: int = 100
    per_day: int = 10_000
    #: How long a "minute" and a "day" last, so that a day's quota can be lived through.
    minute_seconds: int = 60
    day_seconds: int = 86_400
    windows: Literal["fixed", "sliding"] = "fixed"
    token_seconds: int = 3600
    #: Seconds that every data and token answer takes.
    latency: float = 0.0
    #: A spent code or refresh token kills the grant it came from, as stock Hydra does.
    revoke_family_on_reuse: bool = True
    count_token_calls: bool = False
    missing_scope_status: Literal[401, 403] = 401
    #: Where webhooks are sent to; all of them to each.
    webhook_urls: tuple[str, ...] = ()
    #: How many seconds an answer may take.
    webhook_timeout: float = 1.0
    #: How long the "hour" lasts over which webhooks are retried.
    hour_seconds: float = 3600.0
    #: Sign every retry anew, instead of repeating the first timestamp.
    webhook_resign: bool = False
    #: Give events of one member and moment the same trace id.
    webhook_share_traces: bool = False
    webhook_threads: int = 8

    def __post_init__(self) -> None:
        """Refuse what could only end in a puzzling simulator."""
        if self.windows not in {"fixed", "sliding"}:
            raise ValueError(f"windows are fixed or sliding, not {self.windows!r}")
        if self.missing_scope_status not in {401, 403}:
            raise ValueError("missing_scope_status is 401 or 403")
        for name in (
            "per_minute",
            "per_day",
            "minute_seconds",
            "day_seconds",
            "token_seconds",
            "webhook_threads",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("webhook_timeout", "hour_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")
        if self.latency < 0:
            raise ValueError("latency cannot be negative")
        if not self.redirect_uris:
            raise ValueError("WHOOP registers at least one redirect URI per app")
