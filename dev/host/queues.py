"""Feeds the messages of one Storage queue to one function, with Azure's delivery semantics."""

import base64
import binascii
import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.queue import QueueClient, QueueMessage

from dev.host import bindings, queue_rules, storage
from dev.host.bindings import Message
from dev.host.functions import Function, QueueTrigger
from dev.host.invoking import Invoker
from dev.host.queue_rules import (
    POISON_SUFFIX,
    SHORTEST_PAUSE,
    Delete,
    Ending,
    Leave,
    MoveToPoison,
    QueueOptions,
    Release,
    Run,
)

#: While storage is away we ask this often, so that work resumes soon after it is back.
LONGEST_OUTAGE_PAUSE = timedelta(seconds=1)
#: How often the end of a message is tried while storage is away; then the lease decides.
ENDING_TRIES = 8

log = logging.getLogger(__name__)


class Listener:
    """Polls one queue and runs one function."""

    def __init__(
        self,
        function: Function,
        trigger: QueueTrigger,
        invoker: Invoker,
        options: QueueOptions,
        lease: timedelta,
    ) -> None:
        self._function = function
        self._invoker = invoker
        self._options = options
        self._lease_seconds = max(1, math.ceil(lease.total_seconds()))
        self._name = trigger.queue
        self._queue = storage.queue_client(trigger.connection_string, trigger.queue)
        self._poison = storage.queue_client(
            trigger.connection_string, trigger.queue + POISON_SUFFIX
        )
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._room = threading.Condition()
        self._in_flight: set[threading.Thread] = set()
        self._poller = threading.Thread(target=self._poll, name=function.name, daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._poller.start()

    def stop(self) -> None:
        """Fetch no more messages."""
        self._stopping.set()
        with self._room:
            self._room.notify_all()

    def close(self, grace_seconds: float) -> None:
        """Let the messages in flight end; then leave the others to their leases."""
        self._poller.join(grace_seconds)
        for thread in list(self._in_flight):
            thread.join(grace_seconds)
        self._abandoned.set()
        self._queue.close()
        self._poison.close()

    def _poll(self) -> None:
        pause = SHORTEST_PAUSE
        away = False
        ready = False
        while self._wait_for_room():
            try:
                ready = ready or _create(self._queue)
                found = self._fetch()
            except ResourceNotFoundError:
                ready = False  # somebody deleted the queue; make it again
                self._stopping.wait(SHORTEST_PAUSE.total_seconds())
                continue
            except Exception as error:  # whatever storage does, this loop must outlive it
                if not away:
                    log.warning("%s: storage is away (%s)", self._name, type(error).__name__)
                    log.debug("the reason", exc_info=True)
                away = True
                pause = queue_rules.longer_pause(pause, LONGEST_OUTAGE_PAUSE)
                self._stopping.wait(pause.total_seconds())
                continue
            if away:
                log.info("%s: storage is back", self._name)
                away, pause = False, SHORTEST_PAUSE
            if found:
                pause = SHORTEST_PAUSE
                continue
            self._stopping.wait(pause.total_seconds())
            pause = queue_rules.longer_pause(pause, self._options.max_polling_interval)

    def _wait_for_room(self) -> bool:
        with self._room:
            self._room.wait_for(
                lambda: (
                    self._stopping.is_set()
                    or len(self._in_flight) <= self._options.new_batch_threshold
                )
            )
        return not self._stopping.is_set()

    def _fetch(self) -> bool:
        size = self._options.batch_size
        batch = list(
            self._queue.receive_messages(
                messages_per_page=size, max_messages=size, visibility_timeout=self._lease_seconds
            )
        )
        for message in batch:
            thread = threading.Thread(
                target=self._attend, args=(message,), name=f"{self._name} message", daemon=True
            )
            with self._room:
                self._in_flight.add(thread)
            thread.start()
        return bool(batch)

    def _attend(self, raw: QueueMessage) -> None:
        try:
            self._finish(raw, *self._run(raw))
        except Exception:  # one message must not stop the others
            log.exception("%s: message %s could not be finished", self._name, raw.id)
        finally:
            with self._room:
                self._in_flight.discard(threading.current_thread())
                self._room.notify_all()

    def _run(self, raw: QueueMessage) -> tuple[str, Ending]:
        """Run the function, and return the newest pop receipt and what is to become of it."""
        receipt, dequeue_count = str(raw.pop_receipt), int(raw.dequeue_count or 0)
        message = _decoded(raw, base64_encoded=self._options.base64)
        if message is None:
            log.warning("%s: message %s is not base64", self._name, raw.id)
            return receipt, MoveToPoison()
        if dequeue_count > 1:
            log.info("%s: message %s comes again (%d)", self._name, raw.id, dequeue_count)
        entry = queue_rules.before(self._name, dequeue_count, self._options)
        if not isinstance(entry, Run):
            return receipt, entry
        try:
            future = self._invoker.submit(self._function, bindings.queue_message(message))
        except RuntimeError:  # we are stopping
            return receipt, Release(timedelta(0))
        receipt = self._keep_leased(str(raw.id), receipt, future)
        if self._abandoned.is_set():
            return receipt, Leave()
        if future.cancelled():
            return receipt, Release(timedelta(0))
        if future.exception() is None:
            return receipt, queue_rules.after_success()
        return receipt, queue_rules.after_failure(self._name, dequeue_count, self._options)

    def _keep_leased(self, message_id: str, receipt: str, future: "Future[Any]") -> str:
        """Renew the lease at half-life until ``future`` is done."""
        renewing = True
        while not wait([future], timeout=self._lease_seconds / 2).done:
            if self._abandoned.is_set():
                break
            if not renewing:
                continue
            try:
                renewed = self._queue.update_message(
                    message_id, receipt, visibility_timeout=self._lease_seconds
                )
                receipt = str(renewed.pop_receipt)
            except HttpResponseError as error:
                log.warning("%s: the lease of %s is lost (%s)", self._name, message_id, _why(error))
                renewing = False
            except AzureError as error:
                log.warning("%s: the lease of %s waits (%s)", self._name, message_id, _why(error))
        return receipt

    def _finish(self, raw: QueueMessage, receipt: str, ending: Ending) -> None:
        message_id = str(raw.id)
        match ending:
            case Delete():
                self._insist(lambda: self._queue.delete_message(message_id, receipt))
            case Release(after):
                seconds = math.ceil(after.total_seconds())
                self._insist(
                    lambda: self._queue.update_message(
                        message_id, receipt, visibility_timeout=seconds
                    )
                )
            case MoveToPoison():
                # Copy, then delete: a crash in between makes two of it rather than none.
                if queue_rules.has_poison_queue(self._name) and self._insist(
                    lambda: _send(self._poison, str(raw.content))
                ):
                    log.warning("%s: message %s moved to poison", self._name, message_id)
                    self._insist(lambda: self._queue.delete_message(message_id, receipt))
            case Leave():
                pass

    def _insist(self, effect: Callable[[], object]) -> bool:
        """Try for a while; if storage stays away, the message comes back after its lease."""
        pause = SHORTEST_PAUSE
        for _ in range(ENDING_TRIES):
            try:
                effect()
            except HttpResponseError as error:
                log.warning("%s: storage refused to end a message (%s)", self._name, _why(error))
                return False
            except AzureError:
                if self._abandoned.wait(pause.total_seconds()):
                    return False
                pause = queue_rules.longer_pause(pause, LONGEST_OUTAGE_PAUSE)
            else:
                return True
        log.warning("%s: storage stayed away, so a message will be run again", self._name)
        return False


def message_from_hand(body: bytes) -> Message:
    """Make the message that a function gets when a person sets it off."""
    now = datetime.now(UTC)
    return Message(
        id="by-hand",
        body=body,
        dequeue_count=1,
        pop_receipt="by-hand",
        inserted_at=now,
        expires_at=now + timedelta(days=7),
        visible_at=now + timedelta(minutes=10),
    )


def _decoded(raw: QueueMessage, *, base64_encoded: bool) -> Message | None:
    text = str(raw.content or "")
    try:
        body = base64.b64decode(text, validate=True) if base64_encoded else text.encode()
    except binascii.Error:
        return None
    now = datetime.now(UTC)
    return Message(
        id=str(raw.id),
        body=body,
        dequeue_count=int(raw.dequeue_count or 0),
        pop_receipt=str(raw.pop_receipt),
        inserted_at=raw.inserted_on or now,
        expires_at=raw.expires_on or now,
        visible_at=raw.next_visible_on or now,
    )


def _create(queue: QueueClient) -> bool:
    try:
        queue.create_queue()
    except ResourceExistsError:
        log.debug("%s is there already", queue.queue_name)
    return True


def _send(queue: QueueClient, text: str) -> None:
    try:
        queue.send_message(text)
    except ResourceNotFoundError:
        _create(queue)
        queue.send_message(text)


def _why(error: AzureError) -> str:
    return str(getattr(error, "error_code", None) or type(error).__name__)
