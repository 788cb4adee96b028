"""The real adapters keep the contracts, on the storage emulator; and what only they have to do."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unicodedata import normalize
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableServiceClient
from azure.identity import ManagedIdentityCredential
from azure.storage.queue import QueueClient, TextBase64DecodePolicy
from hypothesis import given, settings

from dev.azurite import Azurite
from shared.adapters import queue as queue_module
from shared.adapters import tables as tables_module
from shared.adapters.queue import BELLS, EVENTS, LATER, NOW, StorageQueues
from shared.adapters.tables import Tables, storage_errors
from shared.adapters.tables.budgets import TableBudgets
from shared.adapters.tables.connections import TableConnections
from shared.adapters.tables.departures import TableDepartures
from shared.adapters.tables.events import TableEvents
from shared.adapters.tables.once import TableOneTime
from shared.adapters.tables.poison import TablePoison
from shared.adapters.tables.records import QUARANTINE, RECORDS, TableRecords, _head, _head_row
from shared.adapters.tables.slots import TableSlots
from shared.config import Storage
from shared.core import keys
from shared.core.codec import decode, encode
from shared.core.model import (
    Head,
    Job,
    Lane,
    Look,
    Misfit,
    Place,
    RecordId,
    Ref,
    ResourceName,
    Secret,
    Todo,
)
from shared.core.settle import Transaction
from shared.core.sizes import join
from shared.errors import LostRace, StorageDown
from shared.ports import Etag, Receipt
from tests.adapters.contracts import (
    CHUNK,
    FINISH,
    FULL,
    LONG_AGO,
    LOOK,
    START,
    THREADS,
    BudgetContract,
    ConnectionContract,
    DepartureContract,
    EventContract,
    OneTimeContract,
    PoisonContract,
    QueueContract,
    Reader,
    RecordContract,
    Row,
    SlotContract,
    a_connection,
    a_departure,
    a_pending,
    a_place,
    a_poisoned,
    a_ticket,
    a_version,
    after,
    at_once,
    fresh,
    heads,
    known_of,
    write,
)
from tests.adapters.contracts import NOW as TODAY

#: An SDK that gives up after its first try.
IMPATIENT = {"retry_total": 0, "retry_connect": 0, "connection_timeout": 0.3, "read_timeout": 0.3}


@pytest.fixture(scope="session")
def storage(azurite: Azurite) -> Storage:
    return Storage(Secret(azurite.connection_string))


@pytest.fixture(scope="session")
def tables(storage: Storage) -> Tables:
    return Tables(storage)


@pytest.mark.azurite
class TestTableOneTime(OneTimeContract):
    @pytest.fixture
    def once(self, tables: Tables) -> TableOneTime:
        return TableOneTime(tables)

    def test_deleting_a_row_would_let_everybody_win(
        self, once: TableOneTime, tables: Tables
    ) -> None:
        # Why ``use_up`` writes: https://github.com/Azure/azure-sdk-for-python, delete_entity.
        name = fresh()
        once.keep("ticket", name, a_ticket())
        found = once.find("ticket", name)
        assert found is not None

        def delete() -> bool:
            tables.open("OneTime").delete_entity(
                "ticket", name, etag=found.etag, match_condition=MatchConditions.IfNotModified
            )
            return True

        assert at_once(delete).count(True) == THREADS

    def test_the_secret_itself_is_nowhere(self, once: TableOneTime, tables: Tables) -> None:
        secret = fresh("the-secret-itself-")
        once.keep("state", keys.fingerprint(secret), a_ticket())

        row = tables.open("OneTime").get_entity("state", keys.fingerprint(secret))

        assert secret not in str(row)


@pytest.mark.azurite
class TestTableBudgets(BudgetContract):
    @pytest.fixture
    def store(self, tables: Tables) -> TableBudgets:
        return TableBudgets(tables)


@pytest.mark.azurite
class TestTableSlots(SlotContract):
    @pytest.fixture
    def slots(self, tables: Tables) -> TableSlots:
        return TableSlots(tables)


@pytest.mark.azurite
class TestTableConnections(ConnectionContract):
    @pytest.fixture
    def connections(self, tables: Tables) -> TableConnections:
        return TableConnections(tables)

    def test_a_connection_and_its_tokens_are_one_row(
        self, connections: TableConnections, tables: Tables
    ) -> None:
        connection = a_connection()
        connections.put(connection, None)

        rows = list(tables.open("Connections").query_entities(
            "PartitionKey eq @user", parameters={"user": connection.user}
        ))  # fmt: skip

        assert [row["RowKey"] for row in rows] == ["acme"]

    def test_nothing_is_left_of_a_grant_that_was_dropped(
        self, connections: TableConnections, tables: Tables
    ) -> None:
        pending = a_pending(a_connection())
        connections.put_pending(pending)
        connections.drop_pending(pending)

        for table, partition in (("Connections", pending.user), ("Refs", pending.ref)):
            rows = tables.open(table).query_entities(
                "PartitionKey eq @key", parameters={"key": partition}
            )
            assert list(rows) == []


@pytest.mark.azurite
class TestTableDepartures(DepartureContract):
    @pytest.fixture
    def departures(self, tables: Tables) -> TableDepartures:
        return TableDepartures(tables)

    def test_what_comes_back_while_we_sweep_stays(
        self, departures: TableDepartures, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = LONG_AGO - timedelta(days=3_000)
        made = a_departure(at=before - timedelta(days=1), todo=Todo.NOTHING)
        etag = departures.save(made, None)
        drop = departures.drop

        def comes_back(ref: Ref, read: Etag) -> None:
            departures.save(replace(made, todo=Todo.ERASE), etag)
            drop(ref, read)

        monkeypatch.setattr(departures, "drop", comes_back)

        assert departures.sweep(before, most=10) == 0
        assert departures.find(made.ref) is not None

    def test_a_receipt_that_comes_and_goes_is_a_lost_race(
        self, departures: TableDepartures, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        receipt = Receipt(fresh(), TODAY, {})
        departures.keep(receipt)
        monkeypatch.setattr("shared.adapters.tables.departures.read", lambda *_: None)

        with pytest.raises(LostRace):
            departures.keep(receipt)


class TableReader:
    """Reads rows with nothing but the keys that the README promises."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def versions(self, place: Place) -> Mapping[str, Row]:
        return {
            row["RowKey"]: Row(row["id"], join("body", row) if "body" in row else "", row["seq"])
            for row in self._rows(place, "v|")
        }

    def feed(self, place: Place) -> Mapping[int, str]:
        return {int(row["RowKey"][2:]): row["version"] for row in self._rows(place, "s|")}

    def aliases(self, place: Place) -> Mapping[str, str]:
        return {row["RowKey"][2:]: row["id"] for row in self._rows(place, "k|")}

    def quarantined(self, place: Place) -> Sequence[str]:
        packed: dict[str, bytes] = {}
        rows = self.tables.open(QUARANTINE).query_entities(
            "PartitionKey eq @place", parameters={"place": keys.partition(place)}
        )
        for row in rows:
            digest = row["RowKey"].partition("|")[0]
            columns = sorted((name for name in row if name.startswith("gzip_")), key=_number)
            piece = b"".join(row[name] for name in columns)
            packed[digest] = packed.get(digest, b"") + piece
        return [gzip.decompress(one).decode("utf-8", "surrogatepass") for one in packed.values()]

    def _rows(self, place: Place, prefix: str) -> Iterator[Any]:
        return iter(
            self.tables.open(RECORDS).query_entities(
                "PartitionKey eq @place and RowKey ge @low and RowKey lt @high",
                parameters={"place": keys.partition(place), "low": prefix, "high": prefix + "~"},
            )
        )


def _number(column: str) -> int:
    return int(column.rpartition("_")[2])


@pytest.mark.azurite
class TestTableRecords(RecordContract):
    @pytest.fixture
    def records(self, tables: Tables) -> TableRecords:
        return TableRecords(tables)

    @pytest.fixture
    def reader(self, tables: Tables) -> Reader:
        return TableReader(tables)

    def test_a_version_says_what_the_readme_promises(
        self, records: TableRecords, tables: Tables
    ) -> None:
        place, version = a_place(), a_version("r1", 1)
        write(records, place, version)

        [row] = tables.open(RECORDS).query_entities(
            "PartitionKey eq @place and RowKey ge 'v|' and RowKey lt 'v~'",
            parameters={"place": keys.partition(place)},
        )

        assert dict(row) == {
            "PartitionKey": f"acme|{place.user}|sleep",
            "RowKey": "v|r1|2026-11-22T11:30:00.250001Z|0000",
            "id": "r1",
            "updated_at": "2026-11-22T11:30:00.250001Z",
            "n": 0,
            "seq": 1,
            "hash": version.known.digest,
            "start": "2026-11-22T03:30:00.250001Z",
            "first_seen": "2026-11-22T11:30:00.250001Z",
            "run": "run",
            "lane": "manual",
            "body": version.body,
        }

    def test_a_version_that_no_run_brought_says_so(
        self, records: TableRecords, tables: Tables
    ) -> None:
        place, seen_at = a_place(), TODAY + timedelta(days=1)
        transaction = Transaction(
            after(1), (a_version("r1", 1),), seen_at=seen_at, lane=Lane.WEBHOOK
        )
        records.commit(place, transaction, None)

        row = tables.open(RECORDS).get_entity(
            keys.partition(place), "v|r1|2026-11-22T11:30:00.250001Z|0000"
        )
        assert (row.get("run"), row["lane"], row["first_seen"]) == (
            None,
            "webhook",
            keys.instant(seen_at),
        )

    def test_known_reads_on_where_an_answer_page_ends(self, records: TableRecords) -> None:
        # A thousand rows is what one answer holds.
        place, etag, seq = a_place(), None, 0
        versions = [a_version(f"r{n:04}", n + 1) for n in range(1_050)]
        for start in range(0, len(versions), 49):
            group = tuple(versions[start : start + 49])
            seq += len(group)
            etag = records.commit(place, Transaction(after(seq), group), etag)

        known = records.known(place, [RecordId("r0000"), RecordId("r1049")])

        assert known == {"r0000": [known_of(versions[0])], "r1049": [known_of(versions[-1])]}

    def test_the_feed_is_read_on_where_an_answer_page_ends(self, records: TableRecords) -> None:
        place, etag = a_place(), None
        versions = [a_version(f"r{seq:04}", seq) for seq in range(1, 1_051)]
        for start in range(0, len(versions), 49):
            group = tuple(versions[start : start + 49])
            etag = records.commit(place, Transaction(after(group[-1].seq), group), etag)

        numbers = records.numbers(place, after=0, most=2_000)

        assert [number.seq for number in numbers] == list(range(1, 1_051))
        bodies = {one.number.seq: one.content for one in records.read(place, numbers)}
        assert bodies == {version.seq: version.body for version in versions}

    def test_what_is_in_quarantine_says_why_and_since_when(
        self, records: TableRecords, tables: Tables
    ) -> None:
        place = a_place()
        records.quarantine(place, [Misfit("too_large", "x" * 40)], now=TODAY)

        [row] = tables.open(QUARANTINE).query_entities(
            "PartitionKey eq @place", parameters={"place": keys.partition(place)}
        )

        assert (row["reason"], row["length"], row["seen_at"]) == (
            "too_large",
            40,
            "2026-11-22T11:30:00.250001Z",
        )


@settings(deadline=None)
@given(head=heads)
def test_any_head_survives_its_row(head: Head) -> None:
    row = {name: value for name, value in _head_row(a_place(), head).items() if value is not None}

    assert _head(row) == head


def test_a_head_uses_only_what_a_row_can_hold() -> None:
    row = _head_row(a_place(), FULL)

    assert {type(value) for value in row.values()} <= {str, int, bool, bytes}
    assert len(row) <= 255 - 1  # and the timestamp
    assert all(normalize("NFC", name) == name and name.isidentifier() for name in row)


@pytest.mark.azurite
class TestTableEvents(EventContract):
    @pytest.fixture
    def events(self, tables: Tables) -> TableEvents:
        return TableEvents(tables)

    def test_all_of_a_member_is_in_one_partition(self, events: TableEvents, tables: Tables) -> None:
        ref = Ref(fresh())
        events.note(ref, "k1", at=TODAY)
        events.save(ref, ResourceName("sleep"), RecordId("s1"), Look(TODAY, "k1"), None)

        rows = tables.open("Events").query_entities("PartitionKey eq @ref", parameters={"ref": ref})
        assert [row["RowKey"] for row in rows] == ["look|sleep|s1", "seen|k1"]


@pytest.mark.azurite
class TestTablePoison(PoisonContract):
    @pytest.fixture
    def poison(self, tables: Tables) -> TablePoison:
        return TablePoison(tables)

    def test_what_comes_back_while_we_sweep_stays(
        self, poison: TablePoison, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = a_poisoned(at=LONG_AGO - timedelta(days=900), stuck=False)
        read_etag = poison.save(made, None)
        drop = poison.drop

        def comes_back(key: str, etag: Etag) -> None:
            poison.save(replace(made, stuck=True), read_etag)
            drop(key, etag)

        monkeypatch.setattr(poison, "drop", comes_back)

        assert poison.sweep(LONG_AGO - timedelta(days=800), most=10) == 0
        found = poison.find(made.key)
        assert found is not None
        assert found.value.stuck


@pytest.mark.azurite
class TestStorageQueues(QueueContract):
    @pytest.fixture
    def plain(self, azurite: Azurite) -> Iterator[dict[str, QueueClient]]:
        """The queues as somebody sees them who knows nothing of base64."""
        queues = {
            name: QueueClient.from_connection_string(azurite.connection_string, name)
            for name in (NOW, LATER, EVENTS)
        }
        yield queues
        for queue in queues.values():
            queue.close()

    @pytest.fixture
    def queue(self, storage: Storage, plain: dict[str, QueueClient]) -> StorageQueues:
        made = StorageQueues(storage)
        for name in (NOW, LATER, EVENTS):
            made._open(name)
            plain[name].clear_messages()
        return made

    @pytest.fixture
    def received(self, plain: dict[str, QueueClient]) -> Callable[[], list[Job]]:
        def take() -> list[Job]:
            jobs = []
            for queue in plain.values():
                for message in queue.receive_messages():
                    jobs.append(decode(base64.b64decode(message.content, validate=True)))
                    queue.delete_message(message)
            return jobs

        return take

    @pytest.fixture
    def heard(self, azurite: Azurite) -> Callable[[], list[dict[str, object]]]:
        def take() -> list[dict[str, object]]:
            with QueueClient.from_connection_string(azurite.connection_string, BELLS) as queue:
                texts = [message.content for message in queue.receive_messages()]
            return [json.loads(base64.b64decode(text, validate=True)) for text in texts]

        return take

    @pytest.fixture
    def returned(self, azurite: Azurite) -> Callable[[str], list[bytes]]:
        def take(origin: str) -> list[bytes]:
            with QueueClient.from_connection_string(
                azurite.connection_string, f"{origin}-poison"
            ) as poison:
                found = list(poison.receive_messages())
                for message in found:
                    poison.delete_message(message)
            return [base64.b64decode(message.content, validate=True) for message in found]

        return take

    def test_what_is_put_back_stays_away_for_as_long_and_never_gets_lost(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch, returned: Callable[[str], object]
    ) -> None:
        answers: list[Any] = []
        monkeypatch.setattr(
            queue_module, "OPTIONS", {**queue_module.OPTIONS, "raw_response_hook": answers.append}
        )
        StorageQueues(storage).put_back(b"\xff", NOW, timedelta(minutes=10))

        asked = parse_qs(urlsplit(answers[-1].http_request.url).query)
        assert asked["visibilitytimeout"] == ["600"]
        assert asked["messagettl"] == ["-1"]
        assert returned(NOW) == []

    def test_the_host_can_read_a_message(
        self, queue: StorageQueues, plain: dict[str, QueueClient]
    ) -> None:
        queue.defer(CHUNK, timedelta(0))

        [message] = plain[NOW].peek_messages()

        assert message.content == base64.b64encode(encode(CHUNK).encode()).decode()

    @pytest.mark.parametrize(
        ("job", "name"),
        [
            *((replace(CHUNK, lane=lane), NOW) for lane in (Lane.AUTH, Lane.WEBHOOK, Lane.MANUAL)),
            *((replace(CHUNK, lane=lane), LATER) for lane in (Lane.NIGHTLY, Lane.BACKFILL)),
            (FINISH, NOW),
            (START, LATER),
            (LOOK, EVENTS),
        ],
        ids=lambda given: str(getattr(given, "lane", type(given).__name__)),
    )
    def test_who_waits_decides_the_queue(
        self, queue: StorageQueues, plain: dict[str, QueueClient], job: Job, name: str
    ) -> None:
        queue.defer(job, timedelta(0))

        filled = [one for one, client in plain.items() if client.peek_messages()]
        assert filled == [name]

    def test_a_deferred_job_stays_away_for_as_long(
        self, queue: StorageQueues, received: Callable[[], list[Job]]
    ) -> None:
        began = time.monotonic()
        queue.defer(CHUNK, timedelta(seconds=0.4))  # a second is the least there is

        assert received() == []
        while not (jobs := received()):
            assert time.monotonic() < began + 5
            time.sleep(0.05)
        assert jobs == [CHUNK]
        assert time.monotonic() >= began + 0.9

    def test_a_job_never_gets_lost_with_time(
        self, queue: StorageQueues, plain: dict[str, QueueClient]
    ) -> None:
        queue.defer(CHUNK, timedelta(0))

        [message] = plain[NOW].peek_messages()

        assert message.expires_on is not None
        assert message.expires_on.year == 9999

    @pytest.mark.parametrize(
        ("delay", "seconds"),
        [
            (timedelta(0), 0),
            (timedelta(milliseconds=1), 1),
            (timedelta(seconds=41.5), 42),
            (timedelta(hours=24), 86_400),
            (timedelta(hours=24, seconds=1), 86_400),
            (timedelta(days=400), 86_400),
        ],
    )
    def test_a_delay_is_whole_seconds_and_a_day_at_most(
        self,
        storage: Storage,
        monkeypatch: pytest.MonkeyPatch,
        delay: timedelta,
        seconds: int,
    ) -> None:
        answers: list[Any] = []
        monkeypatch.setattr(
            queue_module, "OPTIONS", {**queue_module.OPTIONS, "raw_response_hook": answers.append}
        )
        StorageQueues(storage).defer(CHUNK, delay)

        asked = parse_qs(urlsplit(answers[-1].http_request.url).query)
        assert asked["visibilitytimeout"] == [str(seconds)]
        assert asked["messagettl"] == ["-1"]

    def test_our_own_sdk_reads_it_as_well(self, azurite: Azurite, queue: StorageQueues) -> None:
        queue.defer(FINISH, timedelta(0))

        with QueueClient.from_connection_string(
            azurite.connection_string, NOW, message_decode_policy=TextBase64DecodePolicy()
        ) as client:
            [message] = client.peek_messages()
        assert json.loads(message.content)["kind"] == "finish"


# Storage that does not answer


@pytest.fixture
def nowhere() -> Storage:
    """Storage at a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return Storage(Secret(_at(port)))


@pytest.fixture
def silent() -> Iterator[Storage]:
    """Storage that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Storage(Secret(_at(listener.getsockname()[1])))


def _at(port: int) -> str:
    key = base64.b64encode(b"no key at all").decode()
    address = f"http://127.0.0.1:{port}/devstoreaccount1"
    return (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
        f"QueueEndpoint={address};TableEndpoint={address};"
    )


@pytest.mark.parametrize("kind", ["nowhere", "silent"])
def test_storage_that_does_not_answer_is_down(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    storage: Storage = request.getfixturevalue(kind)
    for module in (queue_module, tables_module):
        monkeypatch.setattr(module, "OPTIONS", IMPATIENT)
    connections, records = TableConnections(Tables(storage)), TableRecords(Tables(storage))
    calls: list[Callable[[], Any]] = [
        lambda: TableOneTime(Tables(storage)).find("ticket", "x"),
        lambda: connections.put(a_connection(), None),
        lambda: records.commit(a_place(), Transaction(after(1), (a_version("r", 1),)), None),
        lambda: StorageQueues(storage).defer(CHUNK, timedelta(0)),
    ]

    for call in calls:
        began = time.monotonic()
        with pytest.raises(StorageDown):
            call()
        assert time.monotonic() < began + 3


@pytest.mark.parametrize("kind", ["nowhere", "silent"])
def test_health_is_known_after_one_try(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    assert tables_module.BRIEF["connection_timeout"] + tables_module.BRIEF["read_timeout"] <= 6
    for module in (queue_module, tables_module):
        monkeypatch.setattr(module, "BRIEF", {**tables_module.BRIEF, "read_timeout": 0.3})
    storage: Storage = request.getfixturevalue(kind)

    for port in (TableConnections(Tables(storage)), StorageQueues(storage)):
        began = time.monotonic()
        assert not port.reachable()
        assert time.monotonic() < began + 2


@pytest.mark.azurite
def test_an_account_in_which_nothing_was_stored_is_reachable(
    tmp_path_factory: pytest.TempPathFactory, azurite: Azurite
) -> None:
    with Azurite(tmp_path_factory.mktemp("empty")) as empty:
        storage = Storage(Secret(empty.connection_string))

        assert TableConnections(Tables(storage)).reachable()
        assert StorageQueues(storage).reachable()


@pytest.mark.azurite
def test_storage_that_was_away_for_a_moment_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (queue_module, tables_module):
        monkeypatch.setattr(module, "OPTIONS", IMPATIENT)
    own = Azurite(tmp_path_factory.mktemp("own"))
    with own:
        storage = Storage(Secret(own.connection_string))
        connections, queues = TableConnections(Tables(storage)), StorageQueues(storage)
        connection = a_connection()
        connections.put(connection, None)
        queues.defer(CHUNK, timedelta(0))
    assert not connections.reachable()
    assert not queues.reachable()
    with pytest.raises(StorageDown):
        connections.find(connection.user, connection.provider)

    with own:
        assert connections.reachable()
        assert queues.reachable()
        found = connections.find(connection.user, connection.provider)
    assert found is not None
    assert found.value == connection


@pytest.mark.azurite
# The SDK's own, where an error is no JSON: it asks an XML element whether it is true.
@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")
def test_storage_that_refuses_our_key_is_neither_down_nor_lost(azurite: Azurite) -> None:
    # Trying again would not help, and somebody has to look.
    storage = Storage(Secret(azurite.connection_string.replace("AccountKey=", "AccountKey=AAAA")))

    with pytest.raises(HttpResponseError, match=r"403|(?i:auth)"):
        TableOneTime(Tables(storage)).find("ticket", "x")
    assert not TableConnections(Tables(storage)).reachable()
    assert not StorageQueues(storage).reachable()


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        *((status, StorageDown) for status in (408, 429, 500, 502, 503, 504)),
        *((status, LostRace) for status in (404, 409, 412)),
        *((status, HttpResponseError) for status in (400, 403, 413, 501)),
    ],
)
def test_a_status_says_what_to_do(status: int, meant: type[Exception]) -> None:
    error = HttpResponseError("canary")
    error.status_code = status

    with pytest.raises(meant) as caught, storage_errors():
        raise error

    assert caught.value is error or "canary" not in str(caught.value)


# What the SDKs may say


@pytest.mark.azurite
def test_the_sdks_log_names_nobody(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tables = Tables(storage)
    connection = a_connection(user=fresh("canary-"))
    TableConnections(tables).put(connection, None)
    TableConnections(tables).find(connection.user, connection.provider)
    write(TableRecords(tables), a_place(connection.user), a_version("r1", 1))
    with pytest.raises(LostRace):
        TableConnections(tables).put(connection, None)
    StorageQueues(storage).defer(CHUNK, timedelta(0))

    assert "canary-" not in caplog.text


# In the cloud


def test_in_the_cloud_both_sdks_get_the_apps_own_identity() -> None:
    storage = Storage(
        None,
        "https://x.queue.core.windows.net",
        "https://x.table.core.windows.net",
        "client-id-of-the-identity",
    )

    with StorageQueues(storage)._connect(NOW) as queue, Tables(storage)._connect() as tables:
        assert queue.url == "https://x.queue.core.windows.net/sync-now"
        assert tables.url == "https://x.table.core.windows.net"
        for client in (queue, tables):
            assert isinstance(client.credential, ManagedIdentityCredential)


# The emulator's short name


def test_both_sdks_know_the_emulators_short_name() -> None:
    short = "UseDevelopmentStorage=true"

    with (
        TableServiceClient.from_connection_string(short) as tables,
        QueueClient.from_connection_string(short, NOW) as queue,
    ):
        assert tables.url == "http://127.0.0.1:10002/devstoreaccount1"
        assert queue.url == "http://127.0.0.1:10001/devstoreaccount1/sync-now"
