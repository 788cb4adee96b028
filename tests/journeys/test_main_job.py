from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from dev.azurite import Azurite
from dev.simulator.faults import Fault
from tests.functions.world import message
from tests.journeys.conftest import RESOURCES, ROOT, Gym, a_gym

pytestmark = pytest.mark.azurite


def test_a_member_connects_and_all_of_their_records_stand_in_the_raw_layer(gym: Gym) -> None:
    user, member = gym.join()

    gym.connect(user, member)
    status = gym.wait(user)

    assert status["run"]["state"] == "finished"
    assert gym.differences(user, member) == []
    assert len(gym.simulator.log) == gym.minimum(user, member)
    assert {entry["resource"]: entry["progress"] for entry in status["resources"]} == dict.fromkeys(
        RESOURCES, 1.0
    )


def test_syncing_again_changes_nothing_and_reads_only_the_lookback(gym: Gym) -> None:
    user, member = gym.join()
    gym.connect(user, member)
    before = gym.wait(user)
    gym.simulator.clear_log()

    answer = gym.call("POST", "/providers/whoop/sync/", user)
    assert answer.status_code == 202
    after = gym.wait(user)

    assert after["run"]["id"] == answer.json()["run"] != before["run"]["id"]
    assert [r["versions"] for r in after["resources"]] == [
        r["versions"] for r in before["resources"]
    ]
    assert len(gym.simulator.log) == 4


def test_the_readme_reader_reads_what_is_there(gym: Gym) -> None:
    user, member = gym.join()
    gym.connect(user, member)
    gym.wait(user)
    scope = readme("def current(")
    goal = gym.simulator.truth(member.user_id, None, None)

    with TableClient.from_connection_string(gym.azurite.connection_string, "RawRecords") as table:
        for resource in RESOURCES:
            read = scope["current"](table, "whoop", user, resource)
            assert set(read) == {record["id"] for record in goal[resource]}


def test_the_readme_consumer_handles_every_version_in_order(
    gym: Gym, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, member = gym.join()
    gym.connect(user, member)
    gym.wait(user)
    monkeypatch.setenv("DataStorage", gym.azurite.connection_string)
    scope = readme("def current(", "def raw_landed(")
    handled: list[Any] = []
    left = 3

    def handle(whose: str, resource: str, version: Any) -> None:
        nonlocal left
        handled.append((whose, resource, version["seq"], scope["body"](version)))
        left -= 1
        if not left:
            raise ZeroDivisionError

    scope["handle"] = handle
    [consumer] = scope["app"].get_functions()
    assert consumer.get_trigger().queue_name == "raw-landed"
    with (
        scope["tables"],
        TableClient.from_connection_string(
            gym.azurite.connection_string, "Connections"
        ) as connections,
        scope["refs"],
        scope["records"],
        scope["seen"],
    ):
        [connection] = connections.query_entities(
            "PartitionKey eq @user", parameters={"user": user}
        )
        head = scope["records"].get_entity(f"whoop|{user}|sleep", "!")
        bell = {"form": 1, "resource": "sleep", "generation": head["generation"], "seq": 2}
        ring = consumer.get_user_function()

        ring(message(json.dumps({**bell, "ref": "gone"})))
        assert handled == []
        with pytest.raises(ZeroDivisionError):  # and the host would bring the message again
            ring(message(json.dumps({**bell, "ref": connection["ref"]})))
        for _ in range(2):
            ring(message(json.dumps({**bell, "ref": connection["ref"]})))

    last = head["seq"]
    assert last > 20
    assert [seq for _, _, seq, _ in handled] == [1, 2, 3, *range(3, last + 1)]
    assert {(whose, resource) for whose, resource, _, _ in handled} == {(user, "sleep")}
    truth = {one["id"] for one in gym.simulator.truth(member.user_id, None, None)["sleep"]}
    assert {json.loads(text)["id"] for _, _, _, text in handled} == truth


def readme(*marks: str) -> dict[str, Any]:
    """Run the README's pieces of Python that have these marks; return what they define."""
    text = Path(ROOT, "README.md").read_text("utf-8")
    pieces = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    scope: dict[str, Any] = {}
    for mark in marks:
        [piece] = [one for one in pieces if mark in one]
        exec(piece, scope)  # noqa: S102 - it is our own README's
    return scope


def test_the_api_reads_what_the_raw_layer_holds(gym: Gym) -> None:
    user, member = gym.join()
    gym.connect(user, member)
    gym.wait(user)
    truth = gym.simulator.truth(member.user_id, None, None)

    for resource in RESOURCES:
        path, found = f"/providers/whoop/records/{resource}/?limit=20", {}
        while path:
            answer = gym.call("GET", path, user)
            assert answer.status_code == 200, answer.text
            found.update({one["id"]: one["record"] for one in answer.json()["records"]})
            path = answer.links["next"]["url"] if answer.json()["more"] else ""
        assert set(found) == {one["id"] for one in truth[resource]}
        tag = {"If-None-Match": answer.headers["ETag"]}
        again = gym.call("GET", answer.request.path_url, user, tag)
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 429, "headers": {"X-RateLimit-Reset": "1"}}, id="429"),
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 401, "body": "Authorization was not valid"}, id="401"),
        pytest.param({"cut": True}, id="a cut answer"),
        pytest.param({"broken": True}, id="broken JSON"),
        pytest.param({"repeat_cursor": True}, id="a repeated cursor"),
        pytest.param({"refuse_cursor": True}, id="a refused cursor"),
    ],
)
def test_a_bad_day_at_whoop_loses_nothing(gym: Gym, fault: dict[str, Any]) -> None:
    user, member = gym.join(days=60)
    gym.simulator.add_fault(Fault(path="/v2/(cycle|activity)", times=3, **fault))

    gym.connect(user, member)
    status = gym.wait(user)

    assert status["run"]["state"] == "finished", status
    assert gym.differences(user, member) == []


def test_a_token_that_ends_before_its_time_is_renewed_once(
    gym: Gym, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.renewal.YOUNG", timedelta(0))  # the token is seconds old
    user, member = gym.join()
    gym.connect(user, member)
    gym.wait(user)
    gym.simulator.clear_log()
    gym.simulator.expire_tokens(member.user_id)

    assert gym.call("POST", "/providers/whoop/sync/", user).status_code == 202
    status = gym.wait(user)

    assert status["run"]["state"] == "finished"
    assert status["connection"]["status"] == "connected"
    assert [entry["kind"] for entry in gym.simulator.log].count("token") == 1


def test_a_member_who_takes_their_consent_back_is_asked_to_reconnect(
    gym: Gym, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.renewal.YOUNG", timedelta(0))
    user, member = gym.join()
    gym.connect(user, member)
    gym.wait(user)
    gym.simulator.revoke_tokens(member.user_id)

    gym.call("POST", "/providers/whoop/sync/", user)
    status = gym.wait(user, "failed")

    assert status["connection"]["status"] == "parked"
    assert status["connection"]["reason"] == "reauth_required"
    assert status["connection"]["action"] == "reconnect"
    assert gym.call("POST", "/providers/whoop/sync/", user).status_code == 409

    gym.connect(user, member)
    assert gym.wait(user, "finished")["connection"]["status"] == "connected"


def test_storage_stopped_and_started_in_the_middle_of_a_sync_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.slices.STORAGE_PAUSE", timedelta(seconds=1))
    with Azurite(tmp_path) as azurite, a_gym(azurite, lease_seconds=3) as gym:
        user, member = gym.join(days=300)
        gym.simulator.add_fault(Fault(path="/v2/", delay=0.05, seconds=3600))
        gym.connect(user, member)
        while len(gym.simulator.log) < 15:
            time.sleep(0.02)

        azurite.stop()
        time.sleep(1)
        azurite.start()

        status = gym.wait(user, seconds=60)
        assert status["run"]["state"] == "finished", status
        assert gym.differences(user, member) == []


def test_a_message_that_nobody_can_read_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AzureFunctionsJobHost__extensions__queues__visibilityTimeout", "00:00:00")
    text = '{"form": 99, "kind": "from the future"}'
    with Azurite(tmp_path) as azurite, a_gym(azurite, lease_seconds=3):
        sent = QueueClient.from_connection_string(
            azurite.connection_string,
            "sync-later",
            message_encode_policy=TextBase64EncodePolicy(),
        )
        poison = QueueClient.from_connection_string(azurite.connection_string, "sync-later-poison")
        table = TableClient.from_connection_string(azurite.connection_string, "Poison")
        with sent, poison, table:
            sent.send_message(text)
            deadline = time.monotonic() + 30
            found: list[dict[str, Any]] = []
            while not found or poison.get_queue_properties().approximate_message_count:
                assert time.monotonic() < deadline
                with suppress(ResourceNotFoundError):  # the table is made when it is needed
                    found = [dict(row) for row in table.list_entities()]
                time.sleep(0.1)
        [kept] = found
        assert kept["body_0"] == text.encode()
        assert (kept["queue"], kept["error"]) == ("sync-later", "UnreadableMessage")
        assert (kept["count"], kept["stuck"]) == (1, True)


def test_a_bug_ends_the_run_and_the_next_sync_makes_it_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setenv("AzureFunctionsJobHost__extensions__queues__visibilityTimeout", "00:00:00")
    with Azurite(tmp_path) as azurite, a_gym(azurite, lease_seconds=3) as gym:
        user, member = gym.join()
        with monkeypatch.context() as bug:
            bug.setattr("shared.slices.Slices.run", broken)
            gym.connect(user, member)
            failed = gym.wait(user, "failed")
        assert {one["reason"] for one in failed["resources"]} == {"poisoned", None}

        assert gym.call("POST", "/providers/whoop/sync/", user).status_code == 202
        assert gym.wait(user)["run"]["state"] == "finished"
        assert gym.differences(user, member) == []


def test_health_answers_on_a_working_app(gym: Gym) -> None:
    answer = requests.get(f"{gym.api}/health/", timeout=10)

    assert answer.status_code == 200
    assert answer.json()["checks"] == {
        "settings": "ok",
        "tables": "ok",
        "queues": "ok",
        "clock": "ok",
        "provider.whoop": "ok",
    }
