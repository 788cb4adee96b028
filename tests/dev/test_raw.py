"""The raw layer can be read with nothing but its contract."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from azure.data.tables import TableClient

from dev.azurite import Azurite
from dev.raw import Current, current, read_current


def row(key: str, body: str | None, **more: str) -> dict[str, str | None]:
    return {"RowKey": key, "body": body, **more}


def test_the_last_row_of_an_id_is_its_current_version() -> None:
    found = current(
        [
            row("v|1|2026-01-01T00:00:00.000000Z|0000", '{"a":1}'),
            row("v|1|2026-01-01T00:00:00.000000Z|0001", '{"a":2}'),
            row("v|10|2026-01-01T00:00:00.000000Z|0000", '{"a":3}'),
        ]
    )

    assert {name: record.body for name, record in found.items()} == {
        "1": '{"a":2}',
        "10": '{"a":3}',
    }
    assert found["1"].updated_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_record_under_a_tombstone_is_gone_until_it_is_seen_again() -> None:
    rows = [
        row("v|1|2026-01-01T00:00:00.000000Z|0000", '{"a":1}'),
        row("v|1|2026-01-01T00:00:00.000000Z|0001", None),
    ]
    again = row("v|1|2026-01-01T00:00:00.000000Z|0002", '{"a":1}')

    assert current(rows) == {}
    assert list(current([*rows, again])) == ["1"]


def test_a_long_body_is_put_together() -> None:
    found = current([row("v|1|2026-01-01T00:00:00.000000Z|0000", '["a', body_1="b", body_2='c"]')])

    assert found["1"].body == '["abc"]'


def test_an_escaped_id_is_read_back() -> None:
    found = current([row("v|a=2Fb=C3=A9|2026-01-01T00:00:00.000000Z|0000", "{}")])

    assert list(found) == ["a/bé"]


def test_the_hash_is_that_of_the_canonical_form() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)

    one, other = Current("1", at, '{"b": "é", "a": 1}'), Current("1", at, '{"a":1,"b":"\\u00e9"}')

    assert one.hash == other.hash
    assert one.hash != Current("1", at, '{"a":1.0,"b":"é"}').hash


@pytest.mark.azurite
def test_one_member_and_resource_is_read(azurite: Azurite) -> None:
    user = f"member-{uuid4().hex}"
    keys = {
        (user, "sleep"): ["!", "k|x", "s|000000000001", "v|1|2026-01-01T00:00:00.000000Z|0000"],
        (user, "cycle"): ["v|2|2026-01-01T00:00:00.000000Z|0000"],
        (f"{user}0", "sleep"): ["v|3|2026-01-01T00:00:00.000000Z|0000"],
    }
    string = azurite.connection_string
    with TableClient.from_connection_string(string, "RawRecords") as table:
        try:
            table.create_table()
        except Exception as error:  # noqa: BLE001  made by another test of this worker
            assert "TableAlreadyExists" in str(error)  # noqa: PT017
        for (owner, resource), rows in keys.items():
            for key in rows:
                partition = f"whoop|{owner}|{resource}"
                table.create_entity({"PartitionKey": partition, "RowKey": key, "body": "{}"})

    assert list(read_current(string, "whoop", user, "sleep")) == ["1"]
