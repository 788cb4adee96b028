"""Decides the CORS headers that the platform adds before or after a function runs."""

from dataclasses import dataclass

from werkzeug.datastructures import Headers


@dataclass(frozen=True, slots=True)
class Cors:
    """Which origins may read our answers, as local.settings.json says; none: CORS is off."""

    origins: frozenset[str]
    credentials: bool

    def __post_init__(self) -> None:
        if "*" in self.origins and self.credentials:
            raise ValueError('Host.CORS "*" cannot go together with Host.CORSCredentials')


def is_preflight(cors: Cors, method: str, headers: Headers) -> bool:
    """Say whether the platform answers this request itself."""
    asked = "Origin" in headers and "Access-Control-Request-Method" in headers
    return bool(cors.origins) and method == "OPTIONS" and asked


def preflight_headers(cors: Cors, headers: Headers) -> dict[str, str]:
    """Answer a preflight; an origin we do not know gets nothing."""
    added = answer_headers(cors, headers)
    if "Access-Control-Allow-Origin" in added:
        added["Access-Control-Allow-Methods"] = headers["Access-Control-Request-Method"]
        if wanted := headers.get("Access-Control-Request-Headers"):
            added["Access-Control-Allow-Headers"] = wanted
    return added


def answer_headers(cors: Cors, headers: Headers) -> dict[str, str]:
    """Return the headers that let the asking origin read the answer."""
    if not cors.origins:
        return {}
    if "*" in cors.origins:
        return {"Access-Control-Allow-Origin": "*"}
    origin = headers.get("Origin")
    if origin not in cors.origins:
        return {"Vary": "Origin"}
    added = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    if cors.credentials:
        added["Access-Control-Allow-Credentials"] = "true"
    return added
