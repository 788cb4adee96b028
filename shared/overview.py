"""What a member may know: which providers there are, and how their connection stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.core.days import stretches
from shared.core.model import (
    ACTIVE,
    Connection,
    Head,
    Place,
    Progress,
    ProviderName,
    Span,
    Status,
    UserId,
)
from shared.core.plan import ends_at, fraction
from shared.core.times import iso
from shared.ports import Clock, ConnectionStore, RecordStore
from shared.provider import Provider, Resource

#: What the member can do about a state that does not mend itself.
ACTIONS = {
    "reauth_required": "reconnect",
    "account_in_use": "reconnect",
    "different_account": "reconnect",
    "scope_missing": "reconnect",
    "account_deactivated": "check_membership",
    "disconnected": "reconnect",
}


@dataclass(frozen=True, slots=True)
class Overview:
    """Answers what the page asks.  Times are ISO 8601 in UTC."""

    providers: Mapping[ProviderName, Provider]
    connections: ConnectionStore
    records: RecordStore
    clock: Clock

    def list(self, user: UserId | None) -> list[dict[str, Any]]:
        """Return every provider, with ``user``'s connection to it where a user asks."""
        return [self._entry(provider, user) for provider in self.providers.values()]

    def status(self, user: UserId, name: ProviderName) -> dict[str, Any]:
        """Return the connection, the newest run, and each resource's state.

        It costs one read for the connection and one for each resource.
        """
        provider = self.providers[name]
        connection = self._connection(user, name)
        now = self.clock()
        heads = [
            (resource, self.records.head(Place(name, user, resource.name)).value)
            for resource in provider.resources
        ]
        return {
            "provider": name,
            "connection": self._describe(provider, user, connection),
            "run": _run([head for _, head in heads]),
            "resources": [_resource(resource, head, now) for resource, head in heads],
        }

    def _entry(self, provider: Provider, user: UserId | None) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "id": provider.name,
            "name": provider.title,
            "enabled": provider.trouble is None,
        }
        if provider.trouble is not None:
            entry["reason"] = provider.trouble.value
        if user is not None:
            connection = self._connection(user, provider.name)
            entry["connection"] = self._describe(provider, user, connection)
        return entry

    def _connection(self, user: UserId, name: ProviderName) -> Connection | None:
        stored = self.connections.find(user, name)
        return stored.value if stored else None

    def _describe(
        self, provider: Provider, user: UserId, connection: Connection | None
    ) -> dict[str, Any]:
        if connection is None or connection.status in {Status.PARKED, Status.DISCONNECTED}:
            waiting = self.connections.any_pending(user, provider.name)
            status = Status.CONNECTING.value if waiting else None
        else:
            status = connection.status.value
        if connection is None:
            return {"status": status or "none"}
        if connection.departed:
            left = status or connection.status.value
            return {
                "status": left,
                "since": _iso(connection.grant.issued_at),
                "reason": None,
                "action": ACTIONS.get(left),
                "missing_scopes": [],
            }
        missing = list(provider.missing_scopes(connection.grant.scopes))
        reason = connection.reason or ("scope_missing" if missing else None)
        return {
            "status": status or connection.status.value,
            "since": _iso(connection.connected_at),
            "reason": reason,
            "action": ACTIONS.get(reason or ""),
            "missing_scopes": missing,
        }


def _run(heads: Sequence[Head]) -> dict[str, Any] | None:
    """Sum up the newest run: it goes on while any resource does."""
    started = [head for head in heads if head.run is not None]
    if not started:
        return None
    active = [head for head in started if head.progress in ACTIVE]
    newest = active or started
    head = max(newest, key=lambda head: head.touched_at or datetime.min.replace(tzinfo=UTC))
    same = [other for other in started if other.run == head.run]
    # One that goes on with the history of the run before reaches further back than the others.
    goals = [other.goal for other in same if other.goal is not None]
    goal = min(goals, key=lambda goal: goal.start, default=None)
    return {"id": head.run, "state": _state(same), "goal": _span(goal)}


def _state(heads: Sequence[Head]) -> str:
    states = {head.progress for head in heads}
    for state in (Progress.RUNNING, Progress.WAITING, Progress.FAILED):
        if state in states:
            return state.value
    return Progress.FINISHED.value


def _resource(resource: Resource, head: Head, now: datetime) -> dict[str, Any]:
    synced = head.held.end if head.held else head.checked_at
    return {
        "resource": resource.name,
        "state": head.progress.value,
        "reason": head.reason,
        "action": ACTIONS.get(head.reason or ""),
        "retry_at": _iso(head.retry_at),
        "progress": round(fraction(head), 4),
        "ends_at": _iso(ends_at(head, now)),
        "goal": _span(head.goal),
        "held": _span(head.held),
        "last_sync_at": _iso(synced),
        "records": head.records,
        "versions": head.versions,
        "oldest": _iso(head.oldest),
        "newest": _iso(head.newest),
        "days": [[first.isoformat(), last.isoformat()] for first, last in stretches(head.days)],
    }


def _span(span: Span | None) -> dict[str, str | None] | None:
    return None if span is None else {"start": _iso(span.start), "end": _iso(span.end)}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else iso(at)
