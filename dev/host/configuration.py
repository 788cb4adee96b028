"""Reads host.json and local.settings.json."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from dev.host.cors import Cors
from dev.host.functions import CannotStart
from dev.host.queue_rules import SHORTEST_PAUSE, QueueOptions

#: Azure lets an app setting of this form replace any value of host.json.
OVERRIDE = "AzureFunctionsJobHost__"


@dataclass(frozen=True, slots=True)
class HostJson:
    """The parts of host.json that this host acts on."""

    route_prefix: str
    queues: QueueOptions


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """The parts of local.settings.json that ``func start`` acts on."""

    values: Mapping[str, str]
    cors: Cors


NO_SETTINGS = LocalSettings({}, Cors(frozenset(), credentials=False))


def read_host_json(path: Path, env: Mapping[str, str]) -> HostJson:
    """Read ``path``, with what ``env`` overrides."""
    document = _read(path)
    for name, value in env.items():
        if name.startswith(OVERRIDE):
            _replace(document, name.removeprefix(OVERRIDE).split("__"), value)
    extensions = document.get("extensions", {})
    try:
        return HostJson(
            route_prefix=extensions.get("http", {}).get("routePrefix", "api").strip("/"),
            queues=_queues(extensions.get("queues", {})),
        )
    except (ValueError, AttributeError) as error:
        raise CannotStart([f"{path.name}: {error}"]) from None


def read_local_settings(path: Path) -> LocalSettings:
    """Read ``path``, which must exist."""
    document = _read(path)
    if document.get("IsEncrypted"):
        raise CannotStart([f"{path.name} is encrypted; run: func settings decrypt"])
    values = document.get("Values", {})
    wrong = [name for name, value in values.items() if not isinstance(value, str)]
    if wrong:
        raise CannotStart([f'{path.name}: the value of {name} needs "quotes"' for name in wrong])
    host = document.get("Host", {})
    origins = (origin.strip().rstrip("/") for origin in host.get("CORS", "").split(","))
    try:
        cors = Cors(
            frozenset(origin for origin in origins if origin),
            credentials=host.get("CORSCredentials") is True,
        )
    except ValueError as error:
        raise CannotStart([f"{path.name}: {error}"]) from None
    return LocalSettings(values, cors)


def is_disabled(function: str, env: Mapping[str, str]) -> bool:
    """Say whether a setting keeps ``function`` from being set off."""
    # https://learn.microsoft.com/azure/azure-functions/disable-function
    names = (f"AzureWebJobs.{function}.Disabled", f"AzureWebJobs__{function}__Disabled")
    return any(env.get(name, "").lower() in {"true", "1"} for name in names)


def parse_span(text: str) -> timedelta:
    """Read a .NET time span: ``[days.]hours:minutes:seconds``."""
    found = re.fullmatch(r"(?:(\d+)\.)?(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d{1,7})?)", text)
    if found is None:
        raise ValueError(f'"{text}" is not a time span like 00:00:30')
    days, hours, minutes, seconds = found.groups()
    return timedelta(
        days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=float(seconds)
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise CannotStart([f"{path} does not exist"]) from None
    except ValueError as error:
        raise CannotStart([f"{path} is not JSON: {error}"]) from None
    if not isinstance(document, dict):
        raise CannotStart([f"{path} must hold a JSON object"])
    return document


def _replace(document: dict[str, Any], names: list[str], value: str) -> None:
    *parents, last = names
    for name in parents:
        document = document.setdefault(name, {})
    document[last] = value


def _queues(block: Mapping[str, Any]) -> QueueOptions:
    batch_size = _whole(block, "batchSize", default=16, low=1, high=32)
    threshold = batch_size // 2 * (os.cpu_count() or 1)
    encoding = block.get("messageEncoding", "base64").lower()
    if encoding not in {"base64", "none"}:
        raise ValueError('messageEncoding is neither "base64" nor "none"')
    longest_pause = parse_span(block.get("maxPollingInterval", "00:01:00"))
    if longest_pause < SHORTEST_PAUSE:
        raise ValueError("maxPollingInterval must not be below 100 ms")
    return QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=_whole(block, "newBatchThreshold", default=threshold, low=0),
        max_dequeue_count=_whole(block, "maxDequeueCount", default=5, low=1),
        visibility_timeout=parse_span(block.get("visibilityTimeout", "00:00:00")),
        max_polling_interval=longest_pause,
        base64=encoding == "base64",
    )


def _whole(
    block: Mapping[str, Any], name: str, *, default: int, low: int, high: int = 10**6
) -> int:
    value = int(block.get(name, default))
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {value}")
    return value
