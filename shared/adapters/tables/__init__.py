"""Open tables, and say in our own errors what the SDK says in its."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.data.tables import TableClient, TableServiceClient, UpdateMode

from shared.adapters.clock import StorageClock
from shared.adapters.identity import credential
from shared.config import Storage
from shared.core.keys import instant
from shared.errors import LostRace, StorageDown
from shared.ports import Etag

#: The SDK's own defaults may keep a function waiting for minutes.
OPTIONS: Mapping[str, Any] = {
    "retry_total": 3,
    "retry_backoff_factor": 0.4,
    "retry_backoff_max": 8,
    "connection_timeout": 5,
    "read_timeout": 20,
}
#: For a question whose answer is whether there is one.
BRIEF: Mapping[str, Any] = {"retry_total": 0, "connection_timeout": 3, "read_timeout": 3}
#: Rows in a transaction.
#: https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
BATCH = 100
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
CONFLICT = frozenset({404, 409, 412})


class Tables:
    """Hands out tables; each is created when it is first used.  Tells ``clock`` every date."""

    def __init__(self, storage: Storage, clock: StorageClock | None = None) -> None:
        quiet_sdk()
        self._options = dict(OPTIONS)
        if clock is not None:
            self._options["raw_request_hook"] = clock.on_request
            self._options["raw_response_hook"] = clock.on_response
        self._storage = storage
        self._lock = threading.Lock()
        self._service: TableServiceClient | None = None
        self._tables: dict[str, TableClient] = {}

    def open(self, name: str) -> TableClient:
        """Return table ``name``."""
        with self._lock:
            table = self._tables.get(name)
            if table is None:
                with storage_errors():
                    table = self._connect().create_table_if_not_exists(name)
                self._tables[name] = table
            return table

    def knock(self, name: str) -> None:
        """Ask table ``name`` for nothing, once and briefly; ``LostRace`` if it does not exist."""
        with storage_errors():
            with self._lock:
                table = self._connect().get_table_client(name)
            rows = table.query_entities("PartitionKey eq 'none'", select=["RowKey"], **BRIEF)
            next(iter(rows), None)

    def _connect(self) -> TableServiceClient:
        if self._service is None:
            if self._storage.connection_string is not None:
                self._service = TableServiceClient.from_connection_string(
                    self._storage.connection_string.reveal(), **self._options
                )
            else:
                self._service = TableServiceClient(
                    self._storage.table_url,
                    credential=credential(self._storage.client_id),
                    **self._options,
                )
        return self._service


def quiet_sdk() -> None:
    """Let the SDKs log warnings only.

    Below that they log the address of every request, and the keys in it hold members' ids.
    """
    logging.getLogger("azure").setLevel(logging.WARNING)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise ``LostRace`` and ``StorageDown`` where the SDK says so in other words."""
    try:
        yield
    except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError) as error:
        raise LostRace(f"storage answered {error.status_code}") from error
    except (ServiceRequestError, ServiceResponseError) as error:
        raise StorageDown("storage does not answer") from error
    except ClientAuthenticationError as error:
        if error.status_code is None:  # no answer of storage's: our identity could not be had
            raise StorageDown("the app's identity is not available") from error
        raise
    except HttpResponseError as error:
        if error.status_code in CONFLICT:
            raise LostRace(f"storage answered {error.status_code}") from error
        if error.status_code in TRANSIENT:
            raise StorageDown(f"storage answered {error.status_code}") from error
        raise


def read(table: TableClient, partition: str, row: str) -> dict[str, Any] | None:
    """Return one row, its ETag under ``etag``, or None."""
    with storage_errors():
        try:
            entity = table.get_entity(partition, row)
        except ResourceNotFoundError:
            return None
    return {**entity, "etag": entity.metadata["etag"]}


def write(table: TableClient, entity: Mapping[str, Any], etag: Etag | None) -> Etag:
    """Create a row, or write over the one that was read with ``etag``; may ``LostRace``."""
    with storage_errors():
        if etag is None:
            answer = table.create_entity(entity)
        else:
            answer = table.update_entity(
                entity,
                mode=UpdateMode.REPLACE,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
            )
    return Etag(answer["etag"])


def delete(table: TableClient, keys: Iterable[tuple[str, str]]) -> int:
    """Delete rows by partition and row, as many in a request as Azure takes; return how many."""
    count = 0
    for partition, rows in groupby(keys, key=itemgetter(0)):
        while batch := list(islice(rows, BATCH)):
            operations: list[Any] = [
                ("delete", {"PartitionKey": partition, "RowKey": row}) for _, row in batch
            ]
            try:
                with storage_errors():
                    table.submit_transaction(operations)
            except LostRace:
                # One of them is gone already, and took the others' transaction along.
                for _, row in batch:
                    with storage_errors():
                        table.delete_entity(partition, row)
            count += len(batch)
    return count


def sweep(table: TableClient, condition: str, before: datetime, *, most: int) -> int:
    """Delete up to ``most`` rows that ``condition`` finds; return how many.

    ``@before`` in it stands for ``before``.  Only for rows that nobody writes any more.
    """
    with storage_errors():
        rows = table.query_entities(
            condition,
            parameters={"before": instant(before)},
            select=["PartitionKey", "RowKey"],
        )
        swept = 0
        for row in islice(rows, most):
            table.delete_entity(row["PartitionKey"], row["RowKey"])
            swept += 1
    return swept
