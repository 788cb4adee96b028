"""Settings and providers in, services out.  The only importer of adapters."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.adapters.bearer import Bearer
from shared.adapters.cipher import AesGcmCipher, FixedKeys
from shared.adapters.queue import StorageQueues
from shared.adapters.tables import Tables
from shared.adapters.tables.connections import TableConnections
from shared.adapters.tables.once import TableOneTime
from shared.adapters.tables.records import TableRecords
from shared.config import Settings
from shared.connections import Connections
from shared.core.model import FinishJob, Job, ProviderName
from shared.errors import NotConfigured, UnknownProvider
from shared.log import alarm
from shared.overview import Overview
from shared.ports import (
    Cipher,
    Clock,
    ConnectionStore,
    Dice,
    JobQueue,
    Mint,
    OneTimeStore,
    RecordStore,
)
from shared.provider import Provider
from shared.renewal import Tokens
from shared.sync import Sync


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that reaches outside."""

    once: OneTimeStore
    connections: ConnectionStore
    records: RecordStore
    queue: JobQueue
    cipher: Cipher
    clock: Clock
    dice: Dice
    mint: Mint


@dataclass(frozen=True, slots=True)
class Services:
    """What the triggers call."""

    settings: Settings
    providers: dict[ProviderName, Provider]
    ports: Ports
    bearer: Bearer
    connections: Connections
    sync: Sync
    overview: Overview

    def provider(self, name: str | None) -> Provider:
        """Return a provider that members can use.

        Raises ``UnknownProvider``, or ``NotConfigured`` after logging which settings are wrong.
        """
        provider = self.providers.get(ProviderName(name or ""))
        if provider is None:
            raise UnknownProvider("Ask for one of the names that /providers/ lists.")
        if provider.trouble is not None:
            alarm(
                "provider.disabled",
                provider=provider.name,
                reason=provider.trouble.value,
                problems=list(provider.problems),
            )
            raise NotConfigured("It cannot be connected at the moment. Try again later.")
        return provider

    def run(self, job: Job) -> None:
        """Run one queue message."""
        if isinstance(job, FinishJob):
            self.connections.finish(job)
        else:
            self.sync.run(job)

    def health(self) -> dict[str, str]:
        """Return every check by name; ``ok``, or what is wrong in one word."""
        checks = {
            "tables": "ok" if self.ports.connections.reachable() else "unreachable",
            "queues": "ok" if self.ports.queue.reachable() else "unreachable",
        }
        for provider in self.providers.values():
            trouble = provider.trouble
            checks[f"provider.{provider.name}"] = "ok" if trouble is None else trouble.value
        return checks


def build(settings: Settings, providers: Iterable[Provider]) -> Services:
    """Wire the app to Azure.  Opens no connection: each adapter does when it is first used."""
    tables = Tables(settings.storage)
    return wire(
        settings,
        providers,
        Ports(
            once=TableOneTime(tables),
            connections=TableConnections(tables),
            records=TableRecords(tables),
            queue=StorageQueues(settings.storage),
            cipher=AesGcmCipher(FixedKeys(settings.token_keys)),
            clock=now,
            dice=random.SystemRandom().random,
            mint=mint,
        ),
    )


def wire(settings: Settings, providers: Iterable[Provider], ports: Ports) -> Services:
    """Join services and ports; tests bring their own."""
    known = {provider.name: provider for provider in providers}
    tokens = Tokens(known, ports.connections, ports.cipher, ports.clock, ports.dice, ports.mint)
    sync = Sync(
        known,
        ports.connections,
        ports.records,
        ports.queue,
        tokens,
        ports.clock,
        ports.dice,
        ports.mint,
        settings.backfill_days,
    )
    connections = Connections(
        known,
        ports.once,
        ports.connections,
        ports.cipher,
        ports.queue,
        ports.clock,
        ports.dice,
        ports.mint,
        on_connected=sync.start,
        on_document=sync.adopt,
    )
    overview = Overview(known, ports.connections, ports.records)
    return Services(settings, known, ports, Bearer(settings.jwt), connections, sync, overview)


def now() -> datetime:
    """Return the time in UTC, in the milliseconds that providers count in."""
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def mint() -> str:
    """Return 256 random bits as url-safe text."""
    return secrets.token_urlsafe(32)
