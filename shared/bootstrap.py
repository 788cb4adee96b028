"""Settings and providers in, services out.  The only importer of adapters."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from shared.adapters.bearer import Bearer
from shared.adapters.cipher import AesGcmCipher, FixedKeys
from shared.adapters.clock import StorageClock
from shared.adapters.queue import StorageQueues
from shared.adapters.tables import Tables
from shared.adapters.tables.budgets import TableBudgets
from shared.adapters.tables.connections import TableConnections
from shared.adapters.tables.departures import TableDepartures
from shared.adapters.tables.events import TableEvents
from shared.adapters.tables.once import TableOneTime
from shared.adapters.tables.poison import TablePoison
from shared.adapters.tables.records import TableRecords
from shared.adapters.tables.slots import TableSlots
from shared.bells import Bells
from shared.cleanup import Cleanup
from shared.config import Settings, Storage
from shared.connections import Connections
from shared.core.model import (
    ChunkJob,
    FinishJob,
    Job,
    LeaveJob,
    LookJob,
    ProviderName,
    StartJob,
)
from shared.departures import Departures
from shared.erasure import Erasure
from shared.errors import NotConfigured, UnknownProvider
from shared.log import alarm
from shared.looking import Looking
from shared.nightly import Nightly
from shared.overview import Overview
from shared.poison import Poison
from shared.ports import (
    BudgetStore,
    Cipher,
    Clock,
    ConnectionStore,
    DepartureStore,
    Dice,
    EventStore,
    JobQueue,
    Mint,
    OneTimeStore,
    PoisonStore,
    RecordStore,
    SlotStore,
)
from shared.provider import Provider
from shared.reading import Reading
from shared.renewal import Tokens
from shared.revocation import Revocation
from shared.slices import Slices
from shared.spending import Spending
from shared.sync import Sync
from shared.webhooks import Webhooks

#: A host's clock that is further off than this is worth a look.
SKEW = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that reaches outside."""

    once: OneTimeStore
    slots: SlotStore
    budgets: BudgetStore
    connections: ConnectionStore
    departures: DepartureStore
    records: RecordStore
    queue: JobQueue
    poison: PoisonStore
    events: EventStore
    cipher: Cipher
    clock: Clock
    #: How far this host's own clock is off.
    skew: Callable[[], timedelta]
    dice: Dice
    mint: Mint
    #: Seconds that pass on ``clock``; only waits that are nearly over are waited for in place.
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Services:
    """What the triggers call."""

    settings: Settings
    providers: dict[ProviderName, Provider]
    ports: Ports
    bearer: Bearer
    connections: Connections
    departures: Departures
    sync: Sync
    slices: Slices
    overview: Overview
    reading: Reading
    nightly: Nightly
    cleanup: Cleanup
    poison: Poison
    webhooks: Webhooks
    looking: Looking

    def known(self, name: str | None) -> Provider:
        """Return a provider, whether or not it can be used; raise ``UnknownProvider``."""
        provider = self.providers.get(ProviderName(name or ""))
        if provider is None:
            raise UnknownProvider("Ask for one of the names that /providers/ lists.")
        return provider

    def provider(self, name: str | None) -> Provider:
        """Return a provider that members can use.

        Raises ``UnknownProvider``, or ``NotConfigured`` after logging which settings are wrong.
        """
        provider = self.known(name)
        if provider.trouble is not None:
            alarm(
                "provider.disabled",
                provider=provider.name,
                reason=provider.trouble.value,
                problems=list(provider.problems),
            )
            raise NotConfigured("It cannot be connected at the moment. Try again later.")
        return provider

    def attempt(self, body: bytes, tries: int) -> None:
        """Run a queue message for the ``tries``-th time; what it raises is for the host."""
        self.poison.attempt(body, tries, self.run)

    def run(self, job: Job) -> None:
        """Run one job."""
        match job:
            case FinishJob():
                self.connections.finish(job)
            case StartJob():
                self.sync.begin(job)
            case ChunkJob():
                self.slices.run(job)
            case LeaveJob():
                self.departures.resume(job)
            case LookJob():
                self.looking.look(job)

    def health(self) -> dict[str, str]:
        """Return every check by name; ``ok``, or what is wrong in one word."""
        checks = {
            "tables": "ok" if self.ports.connections.reachable() else "unreachable",
            "queues": "ok" if self.ports.queue.reachable() else "unreachable",
        }
        # Nothing goes wrong for it, because storage's time is used; but its logs are.
        checks["clock"] = "ok" if abs(self.ports.skew()) <= SKEW else "off"
        for provider in self.providers.values():
            trouble = provider.trouble
            checks[f"provider.{provider.name}"] = "ok" if trouble is None else trouble.value
        return checks


def build(settings: Settings, providers: Callable[[Clock], Iterable[Provider]]) -> Services:
    """Wire the app to Azure.  Opens no connection: each adapter does when it is first used.

    ``providers`` are given the clock that all hosts agree on.
    """
    clock = StorageClock()
    tables = Tables(settings.storage, clock)
    return wire(
        settings,
        providers(clock),
        Ports(
            once=TableOneTime(tables),
            slots=TableSlots(tables),
            budgets=TableBudgets(tables),
            connections=TableConnections(tables),
            departures=TableDepartures(tables),
            records=TableRecords(tables),
            queue=StorageQueues(settings.storage),
            poison=TablePoison(tables),
            events=TableEvents(tables),
            cipher=AesGcmCipher(FixedKeys(settings.token_keys)),
            clock=clock,
            skew=lambda: clock.offset,
            dice=random.SystemRandom().random,
            mint=mint,
            sleep=time.sleep,
        ),
    )


def reading(storage: Storage, providers: Iterable[Provider]) -> Reading:
    """Wire nothing but what reads the raw layer."""
    known = {provider.name: provider for provider in providers}
    return Reading(known, TableRecords(Tables(storage)))


def wire(settings: Settings, providers: Iterable[Provider], ports: Ports) -> Services:
    """Join services and ports; tests bring their own."""
    known = {provider.name: provider for provider in providers}
    spending = Spending(ports.budgets, ports.clock, ports.sleep)
    bells = Bells(ports.records, ports.queue)
    tokens = Tokens(
        known,
        ports.connections,
        ports.departures,
        ports.cipher,
        spending,
        ports.clock,
        ports.mint,
    )
    sync = Sync(
        known,
        ports.connections,
        ports.records,
        ports.queue,
        bells,
        ports.clock,
        ports.mint,
        settings.backfill_days,
    )
    slices = Slices(
        known,
        ports.connections,
        ports.records,
        ports.queue,
        bells,
        tokens,
        spending,
        ports.clock,
        ports.dice,
        ports.mint,
    )
    connections = Connections(
        known,
        ports.once,
        ports.connections,
        ports.cipher,
        spending,
        ports.queue,
        ports.clock,
        ports.dice,
        ports.mint,
        on_connected=sync.start,
        on_document=sync.adopt,
    )
    poison = Poison(
        ports.poison,
        ports.connections,
        ports.departures,
        ports.records,
        ports.queue,
        ports.clock,
    )
    departures = Departures(
        known,
        ports.connections,
        ports.departures,
        ports.records,
        Erasure(
            ports.connections,
            ports.records,
            ports.once,
            {"messages": poison.erase, "events": ports.events.drop},
            ports.clock,
            ports.mint,
        ),
        Revocation(known, ports.connections, ports.departures, ports.cipher, spending, ports.clock),
        ports.cipher,
        ports.queue,
        ports.clock,
        ports.dice,
        ports.mint,
    )
    overview = Overview(known, ports.connections, ports.records, ports.clock)
    nightly = Nightly(known, ports.slots, ports.connections, ports.queue)
    cleanup = Cleanup(
        known,
        ports.once,
        ports.slots,
        ports.poison,
        ports.events,
        ports.departures,
        ports.connections,
        ports.records,
        bells,
        ports.cipher,
        ports.mint,
    )
    looking = Looking(
        known,
        ports.connections,
        ports.records,
        ports.events,
        ports.queue,
        bells,
        tokens,
        spending,
        ports.clock,
        ports.dice,
    )
    return Services(
        settings,
        known,
        ports,
        Bearer(settings.jwt),
        connections,
        departures,
        sync,
        slices,
        overview,
        Reading(known, ports.records),
        nightly,
        cleanup,
        poison,
        Webhooks(ports.connections, ports.queue, ports.clock),
        looking,
    )


def mint() -> str:
    """Return 256 random bits as url-safe text."""
    return secrets.token_urlsafe(32)
