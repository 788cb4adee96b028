"""Queue functions, fed from a real emulator."""

import base64
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from dev.azurite import Azurite
from tests.host.conftest import Queue, Run, WriteApp, eventually, seen

pytestmark = pytest.mark.azurite

JOBS = """
@app.queue_trigger(**QUEUE)
def job(msg: func.QueueMessage) -> None:
    SEEN.append((msg.get_body(), msg.dequeue_count))
    if msg.get_body().startswith(b"fail"):
        raise RuntimeError("no")
    if msg.get_body().startswith(b"slow"):
        time.sleep(2)
"""


def encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


def test_a_message_that_was_run_is_gone(run: Run, write_app: WriteApp, queue: Queue) -> None:
    run(write_app(JOBS), queue.env)

    queue.client.send_message(encoded(b"\x00\xff"))

    eventually(queue.is_empty)
    assert seen() == [(b"\x00\xff", 1)]


def test_a_message_arrives_as_the_worker_builds_it(
    run: Run, write_app: WriteApp, queue: Queue
) -> None:
    run(
        write_app("""
            @app.queue_trigger(**QUEUE)
            def job(msg: func.QueueMessage) -> None:
                SEEN.append(msg)
        """),
        queue.env,
    )

    sent = queue.client.send_message(encoded(b'{"a": 1}'))

    eventually(seen)
    message = seen()[0]
    assert message.get_json() == {"a": 1}
    assert message.id == sent.id
    assert message.pop_receipt
    assert message.insertion_time == sent.inserted_on
    assert message.expiration_time == sent.expires_on
    assert message.time_next_visible > datetime.now(UTC) + timedelta(minutes=9)


def test_the_queue_is_made_if_it_is_missing(run: Run, write_app: WriteApp, queue: Queue) -> None:
    queue.client.delete_queue()
    run(write_app(JOBS), queue.env)

    eventually(lambda: _exists(queue.client))
    queue.client.send_message(encoded(b"a"))
    eventually(seen)


def test_a_failing_message_is_retried_then_poisoned_unchanged(
    run: Run, write_app: WriteApp, queue: Queue
) -> None:
    run(write_app(JOBS, queues={"maxDequeueCount": 3}), queue.env)

    queue.client.send_message(encoded(b"fail \xc3\xb1"))

    eventually(queue.is_empty)
    assert seen() == [(b"fail \xc3\xb1", count) for count in (1, 2, 3)]
    (poisoned,) = queue.poison.receive_messages()
    assert base64.b64decode(poisoned.content) == b"fail \xc3\xb1"
    assert poisoned.dequeue_count == 1


def test_a_failed_message_waits_for_the_visibility_timeout(
    run: Run, write_app: WriteApp, queue: Queue
) -> None:
    run(write_app(JOBS, queues={"visibilityTimeout": "00:10:00"}), queue.env)

    queue.client.send_message(encoded(b"fail"))

    eventually(seen)
    time.sleep(0.5)
    assert len(seen()) == 1
    assert not queue.is_empty()


def test_a_message_that_came_too_often_is_poisoned_without_being_run(
    run: Run, write_app: WriteApp, queue: Queue
) -> None:
    queue.client.send_message(encoded(b"a"))
    for _ in range(2):
        message = queue.client.receive_message(visibility_timeout=1)
        assert message is not None
        queue.client.update_message(message, visibility_timeout=0)
    run(write_app(JOBS, queues={"maxDequeueCount": 2}), queue.env)

    eventually(queue.is_empty)

    assert seen() == []
    assert [message.content for message in queue.poison.receive_messages()] == [encoded(b"a")]


def test_what_fails_in_a_poison_queue_stays_there(
    run: Run, write_app: WriteApp, queue: Queue
) -> None:
    queue.poison.create_queue()
    queue.poison.send_message(encoded(b"fail"))
    run(
        write_app(JOBS, queues={"maxDequeueCount": 1}),
        {**queue.env, "QUEUE": f"{queue.name}-poison"},
        lease_seconds=600,
    )

    eventually(seen)
    time.sleep(0.3)
    assert queue.poison.get_queue_properties().approximate_message_count == 1
    assert len(seen()) == 1


def test_what_is_not_base64_is_poisoned_as_it_is(
    run: Run, write_app: WriteApp, queue: Queue
) -> None:
    run(write_app(JOBS), queue.env)

    queue.client.send_message("{not base64}")

    eventually(queue.is_empty)
    assert seen() == []
    assert [message.content for message in queue.poison.receive_messages()] == ["{not base64}"]


def test_without_encoding_the_text_is_the_body(run: Run, write_app: WriteApp, queue: Queue) -> None:
    run(write_app(JOBS, queues={"messageEncoding": "none"}), queue.env)

    queue.client.send_message("<año> & co")

    eventually(queue.is_empty)
    assert seen() == [("<año> & co".encode(), 1)]


def test_a_function_longer_than_its_lease_runs_once(
    run: Run, write_app: WriteApp, queue: Queue
) -> None:
    run(write_app(JOBS, queues={"newBatchThreshold": 4}), queue.env, lease_seconds=1)

    queue.client.send_message(encoded(b"slow"))

    eventually(queue.is_empty)
    assert seen() == [(b"slow", 1)]


def test_no_more_messages_run_at_once_than_there_are_threads(
    run: Run, write_app: WriteApp, queue: Queue
) -> None:
    run(
        write_app("""
            @app.queue_trigger(**QUEUE)
            def job(msg: func.QueueMessage) -> None:
                SEEN.append(threading.current_thread().name)
                time.sleep(0.1)
        """),
        {**queue.env, "PYTHON_THREADPOOL_THREAD_COUNT": "2"},
    )

    for _ in range(8):
        queue.client.send_message(encoded(b"a"))

    eventually(queue.is_empty)
    assert len(seen()) == 8
    assert len(set(seen())) <= 2


def test_a_stopping_host_gives_back_what_it_has_not_begun(
    run: Run, write_app: WriteApp, queue: Queue
) -> None:
    host = run(write_app(JOBS), {**queue.env, "PYTHON_THREADPOOL_THREAD_COUNT": "1"})
    for _ in range(3):
        queue.client.send_message(encoded(b"slow"))
    eventually(seen)
    runs = seen()

    assert host.stop()

    assert len(runs) == 1
    assert len(list(queue.client.receive_messages())) == 2


def test_a_storage_restart_is_survived_and_logged_once(
    run: Run,
    write_app: WriteApp,
    queue: Queue,
    storage: Azurite,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(write_app(JOBS), queue.env)
    queue.client.send_message(encoded(b"before"))
    eventually(seen)

    storage.stop()
    try:
        eventually(lambda: "storage is away" in caplog.text)
        time.sleep(0.5)
    finally:
        storage.start()
    queue.client.send_message(encoded(b"after"))

    eventually(lambda: len(seen()) == 2)
    assert caplog.text.count("storage is away") == 1


def test_a_message_ends_well_though_storage_was_away_when_its_function_returned(
    run: Run, write_app: WriteApp, queue: Queue, storage: Azurite
) -> None:
    run(
        write_app("""
            @app.queue_trigger(**QUEUE)
            def job(msg: func.QueueMessage) -> None:
                go = threading.Event()
                SEEN.append(go)
                go.wait(10)
        """),
        queue.env,
    )
    queue.client.send_message(encoded(b"a"))
    eventually(seen)
    go: threading.Event = seen()[0]

    storage.stop()
    try:
        go.set()
        time.sleep(0.3)
    finally:
        storage.start()

    eventually(queue.is_empty)
    assert len(seen()) == 1


def _exists(client: QueueClient) -> bool:
    try:
        client.get_queue_properties()
    except ResourceNotFoundError:
        return False
    return True
