"""Azurite is storage that outlives its process, and a process that outlives nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient
from azure.storage.queue import QueueClient

from dev import azurite as module
from dev.azurite import Azurite, AzuriteError
from dev.bootstrap import ROOT
from dev.children import answers

pytestmark = pytest.mark.azurite


@pytest.fixture
def own(azurite: Azurite, tmp_path: Path) -> Azurite:
    """Return one that is not running yet; the session's shows that it can."""
    return Azurite(tmp_path / "storage")


def rows(storage: Azurite) -> list[str]:
    with TableClient.from_connection_string(storage.connection_string, "Rows") as table:
        return sorted(row["RowKey"] for row in table.list_entities())


def write(storage: Azurite, *names: str) -> None:
    with TableClient.from_connection_string(storage.connection_string, "Rows") as table:
        for name in names:
            table.create_entity({"PartitionKey": "p", "RowKey": name})


def make(storage: Azurite) -> None:
    with TableClient.from_connection_string(storage.connection_string, "Rows") as table:
        table.create_table()
    with QueueClient.from_connection_string(storage.connection_string, "messages") as queue:
        queue.create_queue()
        queue.send_message("hello")


def test_stopped_and_started_again_it_is_the_same_storage(own: Azurite) -> None:
    with own:
        make(own)
        write(own, "a", "b")
        before = own.connection_string
    assert not own.running

    with own:
        assert own.connection_string == before
        assert rows(own) == ["a", "b"]
        with QueueClient.from_connection_string(own.connection_string, "messages") as queue:
            assert [message.content for message in queue.receive_messages()] == ["hello"]


def test_what_was_acknowledged_just_before_the_stop_is_kept(own: Azurite) -> None:
    with own:
        make(own)
    for number in range(5):
        with own:
            write(own, f"{number}")
    with own:
        assert rows(own) == ["0", "1", "2", "3", "4"]


def test_in_memory_nothing_is_kept_and_nothing_touches_the_disk(
    azurite: Azurite, tmp_path: Path
) -> None:
    storage = Azurite(tmp_path / "storage", in_memory=True)
    with storage:
        make(storage)
        write(storage, "a")
        assert rows(storage) == ["a"]
    assert [file.name for file in storage.folder.iterdir()] == ["azurite.log"]
    with storage, pytest.raises(ResourceNotFoundError):
        rows(storage)


def test_messages_taken_and_deleted_in_batches_leave_the_others_in_order(own: Azurite) -> None:
    with own:
        make(own)
        with QueueClient.from_connection_string(own.connection_string, "messages") as queue:
            for number in range(40):
                queue.send_message(str(number))
            taken = list(queue.receive_messages(max_messages=20))
            for message in taken[1::2]:
                queue.delete_message(message)
            later = [message.content for message in queue.receive_messages(max_messages=32)]

            assert [message.content for message in taken] == ["hello", *map(str, range(19))]
            assert later == [str(number) for number in range(19, 40)]
            assert queue.get_queue_properties().approximate_message_count == 31


def test_starting_or_stopping_twice_changes_nothing(own: Azurite) -> None:
    own.stop()
    own.start()
    before = own.connection_string
    own.start()
    assert own.connection_string == before
    own.stop()
    own.stop()


def test_a_port_that_is_in_use_is_named(own: Azurite, tmp_path: Path) -> None:
    with own:
        for queue, table in ((own.queue_port, 0), (0, own.table_port)):
            taken = Azurite(tmp_path / "other", queue_port=queue, table_port=table)
            with pytest.raises(AzuriteError, match=f"Port {queue or table} is already"):
                taken.start()
            assert not taken.running


def test_ports_can_be_chosen(own: Azurite, tmp_path: Path) -> None:
    with own:
        ports = own.queue_port, own.table_port

    with Azurite(tmp_path / "other", queue_port=ports[0], table_port=ports[1]) as chosen:
        assert f":{ports[0]}/devstoreaccount1" in chosen.connection_string
        assert (chosen.queue_port, chosen.table_port) == ports


def test_before_the_first_start_there_is_no_address(own: Azurite) -> None:
    with pytest.raises(AzuriteError, match=r"call start\(\)"):
        _ = own.connection_string


def test_a_crash_at_the_start_shows_the_log(
    own: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "azurite.js").write_text("throw new Error('no such luck')")
    (tmp_path / "node_modules" / "azurite").mkdir(parents=True)
    monkeypatch.setattr(module, "_HERE", tmp_path)

    with pytest.raises(AzuriteError, match=r"(?s)ended while starting.*no such luck"):
        own.start()


def test_silence_at_the_start_is_not_waited_out(
    own: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "azurite.js").write_text("process.stdin.resume()")
    (tmp_path / "node_modules" / "azurite").mkdir(parents=True)
    monkeypatch.setattr(module, "_HERE", tmp_path)
    monkeypatch.setattr(module, "_START_SECONDS", 0.3)

    with pytest.raises(AzuriteError, match="has not answered"):
        own.start()


def test_without_its_packages_it_says_how_to_get_them(
    own: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "azurite.js").write_text((ROOT / "dev" / "azurite.js").read_text())
    monkeypatch.setattr(module, "_HERE", tmp_path)
    with pytest.raises(AzuriteError, match=r"not installed: `python3 -m dev test`"):
        own.start()

    monkeypatch.setattr("dev.node.package", lambda: None)
    with pytest.raises(AzuriteError, match=r"Node\.js is missing"):
        own.start()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_when_its_starter_is_killed_it_ends_with_its_data_on_disk(own: Azurite) -> None:
    with own:
        make(own)
    code = (
        "import sys, time; from pathlib import Path; from dev.azurite import Azurite\n"
        "own = Azurite(Path(sys.argv[1])); own.start()\n"
        "print(own.connection_string, own.table_port, own.queue_port, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code, str(own.folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        line = starter.stdout.readline() if starter.stdout else ""
        connection_string, table_port, _ = line.rsplit(maxsplit=2)
        with TableClient.from_connection_string(connection_string, "Rows") as table:
            table.create_entity({"PartitionKey": "p", "RowKey": "last words"})
        os.kill(starter.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while answers(f"http://127.0.0.1:{table_port}/") and time.monotonic() < deadline:
        time.sleep(0.02)

    time.sleep(0.5)
    with own:
        assert rows(own) == ["last words"]
