"""A member who leaves for good, and everything in which they could have left a trace."""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.data.tables import TableClient, TableServiceClient
from azure.storage.queue import QueueClient

from dev.azurite import Azurite
from dev.raw import read_current
from dev.simulator.faults import Fault
from dev.simulator.members import Member
from shared.adapters.tables.rules import RULES, Rule
from shared.core.keys import escape
from shared.core.model import UserId
from tests.journeys.conftest import RESOURCES, Gym, a_gym

pytestmark = pytest.mark.azurite

CONNECTION = "/providers/whoop/connection/"
USER = "canary|ñandú@example.com"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every message that anybody sends from now on."""
    messages: list[str] = []
    send = QueueClient.send_message

    def record(self: QueueClient, content: Any, **options: Any) -> Any:
        messages.append(content.decode() if isinstance(content, bytes) else str(content))
        return send(self, content, **options)

    monkeypatch.setattr(QueueClient, "send_message", record)
    return messages


@pytest.fixture
def gym(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gym]:
    """An app on a storage that nobody else writes to, where departures are over soon."""
    monkeypatch.setattr("shared.departures.RESUME_AFTER", timedelta(seconds=6))
    monkeypatch.setattr("shared.departures.LATE", timedelta(seconds=6))
    with Azurite(tmp_path) as azurite, a_gym(azurite) as running:
        yield running


def rows(azurite: Azurite) -> dict[str, list[str]]:
    """Return everything that is in any table, each row as text, its bytes unpacked."""
    found: dict[str, list[str]] = {}
    with TableServiceClient.from_connection_string(azurite.connection_string) as service:
        for table in list(service.list_tables()):
            with service.get_table_client(table.name) as client:
                found[table.name] = [_text(dict(row)) for row in client.list_entities()]
    return found


def _text(row: dict[str, Any]) -> str:
    return " ".join(f"{name}={_readable(value)}" for name, value in row.items())


def _readable(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    plain = gzip.decompress(value) if value.startswith(b"\x1f\x8b") else value
    return plain.decode("utf-8", "replace")


def canaries(gym: Gym, member: Member, tokens: set[str]) -> set[str]:
    """Return what must not be found anywhere."""
    names = {USER, escape(USER), "canary", str(member.user_id), member.email}
    return names | {member.first_name, member.last_name} | tokens


def tokens(gym: Gym) -> set[str]:
    oauth = gym.simulator._oauth
    return {*oauth._by_access, *oauth._by_refresh, *oauth._codes}


def until(done: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_of_an_erased_member_nothing_is_found_anywhere(
    gym: Gym, sent: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="wearables")
    member = gym.simulator.world.add_member(days=60)
    gym.connect(USER, member)
    gym.wait(USER)
    full = rows(gym.azurite)
    # The search can find what is there.
    known = canaries(gym, member, set())
    assert all(any(one in row for table in full.values() for row in table) for one in known)
    gym.simulator.add_fault(Fault(path="/v2/(cycle|recovery|activity)", delay=0.3, seconds=3600))
    assert gym.call("POST", "/providers/whoop/sync/", USER).status_code == 202
    gym.wait(USER, "running")
    known |= tokens(gym)

    answer = gym.call("DELETE", f"{CONNECTION}?erase=true", USER)

    assert answer.status_code == 200, answer.text
    assert answer.json()["receipt"]["rows"] > 500
    known |= tokens(gym)
    until(lambda: rows(gym.azurite)["Departures"] == [])
    left = rows(gym.azurite)
    places = {
        **{f"table {name}": table for name, table in left.items()},
        "messages": sent,
        "logs": [f"{one.getMessage()} {one.__dict__}" for one in caplog.records],
        "answers": [answer.text],
    }
    found = [
        (place, one) for place, texts in places.items() for text in texts for one in known
        if one in text
    ]  # fmt: skip
    assert found == []
    assert len(known) > 8
    assert any('"kind": "leave"' in message for message in sent)
    assert len(sent) > 8
    assert {name for name, table in left.items() if table} <= {
        name for name, rule in RULES.items() if rule is Rule.NOBODY
    }
    assert gym.status(USER)["connection"] == {"status": "none"}
    assert [one["status"] for one in gym.simulator.log if one["kind"] == "revoke"] == [204]


def test_every_table_has_a_rule(gym: Gym) -> None:
    user, member = gym.join(days=3)
    gym.connect(user, member)
    gym.wait(user)
    gym.call("DELETE", f"{CONNECTION}?erase=true", user)
    for timer in ("nightly", "cleanup"):
        answer = requests.post(f"{gym.api}/admin/functions/{timer}", json={}, timeout=10)
        assert answer.status_code == 202

    until(lambda: rows(gym.azurite).keys() >= {"Slots", "Poison", "Failures"})

    assert rows(gym.azurite).keys() - RULES.keys() == set()
    assert len(rows(gym.azurite)) >= 12


def test_who_comes_back_starts_clean(gym: Gym) -> None:
    user, member = gym.join()
    gym.connect(user, member)
    gym.wait(user)
    before = heads(gym, user)
    assert gym.call("DELETE", f"{CONNECTION}?erase=true", user).status_code == 200
    assert heads(gym, user) == {}

    gym.connect(user, member)
    status = gym.wait(user)

    assert status["run"]["state"] == "finished"
    assert gym.differences(user, member) == []
    after = heads(gym, user)
    assert after.keys() == before.keys()
    for resource, head in after.items():
        assert head["generation"] != before[resource]["generation"]
        assert head["seq"] == before[resource]["seq"]


def heads(gym: Gym, user: str) -> dict[str, dict[str, Any]]:
    with TableClient.from_connection_string(gym.azurite.connection_string, "RawRecords") as table:
        found = table.query_entities("RowKey eq '!'")
        return {
            row["PartitionKey"].rpartition("|")[2]: dict(row)
            for row in found
            if row["PartitionKey"].startswith(f"whoop|{escape(UserId(user))}|")
        }


def test_who_disconnects_keeps_the_records_and_carries_on_later(gym: Gym) -> None:
    user, member = gym.join()
    gym.connect(user, member)
    gym.wait(user)
    before = heads(gym, user)

    assert gym.call("DELETE", CONNECTION, user).json() == {"erased": False}
    assert gym.status(user)["connection"]["status"] == "disconnected"
    for resource in RESOURCES:
        assert read_current(gym.azurite.connection_string, "whoop", user, resource)

    gym.connect(user, member)
    gym.wait(user)
    assert gym.differences(user, member) == []
    after = heads(gym, user)
    assert {name: head["generation"] for name, head in after.items()} == {
        name: head["generation"] for name, head in before.items()
    }
