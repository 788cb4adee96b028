"""Jobs on Azure Storage queues."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.queue import BinaryBase64EncodePolicy, QueueClient

from shared.adapters.identity import credential
from shared.adapters.tables import BRIEF, quiet_sdk, storage_errors
from shared.config import Storage
from shared.core.codec import encode, encode_bell
from shared.core.model import Bell, ChunkJob, Job, LookJob, StartJob
from shared.errors import LostRace, StorageDown

#: Work that somebody waits for, work that nobody does, and what providers tell us: each scales on
#: its own, and a flood of one does not keep the others waiting.
NOW, LATER, EVENTS = "sync-now", "sync-later", "sync-events"
#: What the host appends to name the queue of the messages that it has given up.
POISON = "-poison"
#: Azure hides a message for up to 7 days; whoever waits longer than one asks again then.
LONGEST = timedelta(hours=24)
#: A message waits for as long as it takes; the default would drop it after 7 days.
FOREVER = -1
#: Where readers are told that something has landed, and for how many seconds.
BELLS, BELL_LIFE = "raw-landed", 7 * 24 * 3600
OPTIONS: Mapping[str, Any] = {
    "retry_total": 3,
    "retry_connect": 3,
    "initial_backoff": 1,
    "increment_base": 2,
    "connection_timeout": 5,
    "read_timeout": 20,
}


class StorageQueues:
    """Implements ``JobQueue``."""

    def __init__(self, storage: Storage) -> None:
        quiet_sdk()
        self._storage = storage
        self._lock = threading.Lock()
        self._queues: dict[str, QueueClient] = {}

    def defer(self, job: Job, delay: timedelta) -> None:
        """Send ``job`` so that it becomes visible after ``delay``, rounded up to a second."""
        self._send(_queue(job), encode(job).encode(), delay)

    def ring(self, bell: Bell) -> None:
        """Send ``bell``, which nobody misses after a week: readers go by their own numbers."""
        self._send(BELLS, encode_bell(bell).encode(), timedelta(0), life=BELL_LIFE)

    def put_back(self, body: bytes, queue: str, delay: timedelta) -> None:
        """Send ``body`` as it is."""
        self._send(queue + POISON, body, delay)

    def reachable(self) -> bool:
        """Ask for the properties of a queue, without making it first."""
        queue = self._queues.get(NOW) or self._connect(NOW)
        try:
            with storage_errors():
                queue.get_queue_properties(**BRIEF)
        except LostRace:
            return True  # an answer, if from an account that has no queues yet
        except (AzureError, StorageDown):
            return False
        return True

    def _send(self, name: str, body: bytes, delay: timedelta, *, life: int = FOREVER) -> None:
        seconds = math.ceil(min(max(delay, timedelta(0)), LONGEST).total_seconds())
        try:
            with storage_errors():
                queue = self._open(name)
                queue.send_message(body, visibility_timeout=seconds, time_to_live=life)
        except LostRace as error:
            # The queue was removed, or is just being made: nobody's race, and not for a caller
            # to take for one.  The next try makes it anew.
            with self._lock:
                self._queues.pop(name, None)
            raise StorageDown("the queue is not there") from error

    def _open(self, name: str) -> QueueClient:
        with self._lock:
            queue = self._queues.get(name)
            if queue is None:
                queue = self._connect(name)
                with suppress(ResourceExistsError):  # the usual case
                    queue.create_queue()
                self._queues[name] = queue
            return queue

    def _connect(self, name: str) -> QueueClient:
        # The host reads and writes base64 unless told otherwise, and so must we.
        options = {**OPTIONS, "message_encode_policy": BinaryBase64EncodePolicy()}
        if self._storage.connection_string is not None:
            return QueueClient.from_connection_string(
                self._storage.connection_string.reveal(), name, **options
            )
        return QueueClient(
            self._storage.queue_url, name, credential=credential(self._storage.client_id), **options
        )


def _queue(job: Job) -> str:
    if isinstance(job, LookJob):
        return EVENTS
    later = isinstance(job, StartJob) or (isinstance(job, ChunkJob) and job.lane.bulk)
    return LATER if later else NOW
