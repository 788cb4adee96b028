"""`export` writes what storage holds, and a file is complete or is not there."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dev import export as module
from dev.azurite import Azurite
from dev.export import ExportError, export, main, storage
from function_app import wearables
from shared.adapters import tables as tables_module
from shared.adapters.memory import MemoryRecords
from shared.adapters.tables import Tables
from shared.adapters.tables.records import TableRecords
from shared.config import Storage
from shared.core.model import Head, Place, ProviderName, ResourceName, Secret, UserId
from shared.core.settle import Transaction
from shared.errors import StorageDown
from shared.ports import RecordStore
from shared.reading import LINES, Reading
from tests.adapters.contracts import a_tombstone, a_version

[WHOOP] = wearables({}, lambda: datetime.now(UTC))
NAMES = [resource.name for resource in WHOOP.resources]
BODY = '{"id": 1, "kilojoule": 31.813562,\n "score": 1.0}'


def fill(records: RecordStore, user: str, resource: str = "sleep") -> None:
    """Let three records land, one of them edited and one deleted."""
    versions = (
        a_version("a", 1),
        a_version("b", 2),
        a_version("c", 3),
        a_version("a", 4, n=1, body=BODY),
        a_tombstone("b", 5, n=1),
    )
    place = Place(ProviderName("whoop"), UserId(user), ResourceName(resource))
    head = Head(generation="g1", seq=5, versions=5)
    records.commit(place, Transaction(head, versions), None)


def table_records(azurite: Azurite) -> TableRecords:
    return TableRecords(Tables(Storage(Secret(azurite.connection_string))))


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.azurite
def test_it_writes_a_file_for_each_resource(
    azurite: Azurite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user, to = f"member-{uuid4().hex}", tmp_path / "new" / "folder"
    fill(table_records(azurite), user)
    given = ["--user", user, "--to", str(to), "--connection-string", azurite.connection_string]

    assert main(given) == 0

    assert sorted(path.name for path in to.iterdir()) == sorted(f"{name}.ndjson" for name in NAMES)
    found = lines(to / "sleep.ndjson")
    assert [(one["id"], one["seq"]) for one in found] == [("c", 3), ("a", 4), ("b", 5)]
    assert (found[1]["record"], "deleted_at" in found[2]) == (json.loads(BODY), True)
    assert '"kilojoule": 31.813562,  "score": 1.0}' in (to / "sleep.ndjson").read_text("utf-8")
    assert (to / "cycle.ndjson").read_text() == ""
    said = capsys.readouterr().out
    assert re.search(r"^ +3  .*sleep\.ndjson$", said, re.MULTILINE)
    assert re.search(r"^ +0  .*cycle\.ndjson$", said, re.MULTILINE)
    assert "AccountKey" not in said

    assert main([*given, "--history", "--provider", "whoop"]) == 0
    assert [one["seq"] for one in lines(to / "sleep.ndjson")] == [1, 2, 3, 4, 5]


def test_it_pages_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = MemoryRecords()
    fill(records, "ana")
    monkeypatch.setattr(module, "MOST", {LINES: 2})

    written = export(reader(records), WHOOP, "ana", tmp_path, history=True)

    assert [one["seq"] for one in lines(tmp_path / "sleep.ndjson")] == [1, 2, 3, 4, 5]
    assert written[tmp_path / "sleep.ndjson"] == 5


def reader(records: RecordStore) -> Reading:
    return Reading({WHOOP.name: WHOOP}, records)


def test_a_member_of_whom_nothing_is_held_gets_no_files(tmp_path: Path) -> None:
    records = MemoryRecords()
    fill(records, "ana")

    with pytest.raises(ExportError, match="holds nothing of 'eve' from WHOOP"):
        export(reader(records), WHOOP, "eve", tmp_path / "to", history=False)

    assert not (tmp_path / "to").exists()


def test_a_file_that_cannot_be_finished_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = MemoryRecords()
    fill(records, "ana")
    old = tmp_path / "sleep.ndjson"
    old.write_text("old")
    monkeypatch.setattr(module, "MOST", {LINES: 2})
    read = records.read

    def fails(place: Place, numbers: Any) -> Any:
        if any(number.seq > 2 for number in numbers):
            raise StorageDown("switched off")
        return read(place, numbers)

    monkeypatch.setattr(records, "read", fails)

    with pytest.raises(ExportError, match="Storage does not answer"):
        export(reader(records), WHOOP, "ana", tmp_path, history=True)

    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_feed_that_is_erased_meanwhile_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = MemoryRecords()
    fill(records, "ana")
    monkeypatch.setattr(module, "MOST", {LINES: 2})
    read, head = records.read, records.head

    def erases(place: Place, numbers: Any) -> Any:
        stored = head(place)
        anew = replace(stored, value=replace(stored.value, generation="g2"))
        monkeypatch.setattr(records, "head", lambda _: anew)
        return read(place, numbers)

    monkeypatch.setattr(records, "read", erases)

    with pytest.raises(ExportError, match=r"begun anew.*Run it again"):
        export(reader(records), WHOOP, "ana", tmp_path, history=True)


@pytest.mark.parametrize("user", ["", "x" * 1_000])
def test_a_name_that_nobody_can_have_is_refused(tmp_path: Path, user: str) -> None:
    with pytest.raises(ExportError, match="the user, cannot be one"):
        export(reader(Escaping()), WHOOP, user, tmp_path, history=False)


class Escaping(MemoryRecords):
    """Makes keys, as tables do."""

    def head(self, place: Place) -> Any:
        from shared.core.keys import partition

        partition(place)
        return super().head(place)


# azure-data-tables reads errors in XML in a way that Python 3.12 warns of.
@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")
@pytest.mark.azurite
def test_an_account_that_cannot_be_read_is_told_of(
    azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = {"retry_total": 0, "retry_connect": 0, "connection_timeout": 0.5}
    monkeypatch.setattr(tables_module, "OPTIONS", impatient)
    string = azurite.connection_string
    wrong_key = re.sub("AccountKey=[^;]+", "AccountKey=c2VjcmV0", string)
    nobody = re.sub(r":\d+/", ":9/", string)
    for given, said in (
        ("nonsense", "The connection string, or the user, cannot be one"),
        (wrong_key, "Storage refuses to be read"),
        (nobody, "Storage does not answer"),
    ):
        with pytest.raises(ExportError, match=said) as caught:
            main(["--user", "ana", "--to", str(tmp_path), "--connection-string", given])
        assert "c2VjcmV0" not in str(caught.value)


# Which storage


def stack(folder: Path, string: str) -> Path:
    """Write what a stack's app is told of its storage."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"IsEncrypted": False, "Values": {"DataStorage": string}}
    (folder / "local.settings.json").write_text(json.dumps(settings))
    return folder


def test_what_is_given_is_taken(tmp_path: Path) -> None:
    with storage("given", tmp_path) as (string, whose):
        assert (string, whose) == ("given", "the account that was named")


def test_without_any_storage_one_is_told_what_to_do(tmp_path: Path) -> None:
    work = tmp_path / ".dev"
    stack(work / "up-1", "TableEndpoint=http://127.0.0.1:9/devstoreaccount1;")
    stack(work / "up-2", "no address")
    (stack(work / "up-3", "") / "local.settings.json").write_text("[]")

    for folder in (work, tmp_path / "missing"):
        with (
            pytest.raises(ExportError, match=r"No local stack is running.*dev up"),
            storage(None, folder),
        ):
            pass


@pytest.mark.azurite
def test_a_stack_that_runs_is_read(azurite: Azurite, tmp_path: Path) -> None:
    running = stack(tmp_path / "up-1", azurite.connection_string)
    newer = stack(tmp_path / "up-2", "TableEndpoint=http://127.0.0.1:9/devstoreaccount1;")
    (newer / "storage").mkdir()
    (newer / "storage" / "table.json").write_text("{}")

    with storage(None, tmp_path) as (string, whose):
        assert string == azurite.connection_string
        assert whose == f"the stack that is running in {running}"


@pytest.mark.azurite
def test_what_a_stack_has_left_is_read_and_not_touched(azurite: Azurite, tmp_path: Path) -> None:
    with Azurite(tmp_path / "up-1" / "storage") as own:
        fill(table_records(own), "ana")
        string = own.connection_string
    folder = stack(tmp_path / "up-1", string)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    with storage(None, tmp_path) as (copy, whose):
        assert copy != string
        assert whose == f"what a stack has left in {folder / 'storage'}"
        records = TableRecords(Tables(Storage(Secret(copy))))
        written = export(reader(records), WHOOP, "ana", tmp_path / "to", history=False)

    assert written[tmp_path / "to" / "sleep.ndjson"] == 3
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
