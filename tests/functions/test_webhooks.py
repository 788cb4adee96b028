"""Webhooks as they come over HTTP: signed by whoever has the secret, and by others."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.simulator import Member
from shared.core.model import LookJob, Place, ResourceName, UserId
from shared.errors import StorageDown
from shared.webhooks import LARGEST
from tests.functions.world import ENV, NOW, WHOOP, Answer, Browser, World

PATH = "/webhooks/whoop/"
SLEEP_ID = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture
def member(world: World, ana: Browser) -> Member:
    """Ana's account, connected and brought up to date."""
    made = world.simulator.world.add_member(days=3)
    ana.connect(made)
    world.work()
    return made


def event(member: Member | None = None, **changes: Any) -> bytes:
    user_id = 10129 if member is None else member.user_id
    said = {"user_id": user_id, "id": SLEEP_ID, "type": "sleep.updated", "trace_id": "t"}
    return json.dumps({**said, **changes}).encode()


def signed(body: bytes, at: datetime = NOW, secret: str = ENV["WHOOP_CLIENT_SECRET"]) -> Any:
    stamp = str(int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000))
    digest = hmac.new(secret.encode(), stamp.encode() + body, hashlib.sha256).digest()
    return {
        "X-WHOOP-Signature": base64.b64encode(digest).decode(),
        "X-WHOOP-Signature-Timestamp": stamp,
        "Content-Type": "application/json",
    }


def post(world: World, body: bytes, headers: Any = None, path: str = PATH) -> Answer:
    given = signed(body, world.clock.now) if headers is None else headers
    return world.browser().call("POST", path, headers=given, body=body)


def looks(world: World) -> list[LookJob]:
    return [job for job, _ in world.queue.deferred if isinstance(job, LookJob)]


def held(world: World, resource: str) -> list[Any]:
    """Return Ana's records."""
    place = Place(WHOOP, UserId("ana"), ResourceName(resource))
    return [json.loads(version.body) for version in world.records.current(place).values()]


def test_what_whoop_says_is_on_the_queue_before_it_is_thanked(world: World, member: Member) -> None:
    answer = post(world, event(member))

    assert (answer.status, answer.body) == (204, b"")
    [job] = looks(world)
    assert (job.resource, job.record, job.at) == ("sleep", SLEEP_ID, world.clock.now)


def test_what_it_was_about_is_asked_for_and_nothing_else(world: World, member: Member) -> None:
    sleep = next(one for one in held(world, "sleep") if not one["nap"])
    workout = held(world, "workout")[0]
    world.simulator.clear_log()
    post(world, event(member, id=sleep["id"]))
    post(world, event(member, id=sleep["id"], type="recovery.updated"))
    post(world, event(member, id=workout["id"], type="workout.updated"))
    post(world, event(member, id=workout["id"], type="workout.updated"))
    world.work()

    cycle = sleep["cycle_id"]
    paths = [entry["path"] for entry in world.simulator.log if entry["kind"] == "data"]
    assert sorted(path.rpartition("/v2/")[2] for path in paths) == sorted(
        [
            f"activity/sleep/{sleep['id']}",
            f"activity/workout/{workout['id']}",
            f"cycle/{cycle}",
            f"cycle/{cycle}/recovery",
        ]
    )
    assert {entry["status"] for entry in world.simulator.log} == {200}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"X-WHOOP-Signature": None}, id="without a signature"),
        pytest.param({"X-WHOOP-Signature": "x"}, id="with another one"),
        pytest.param({"X-WHOOP-Signature-Timestamp": None}, id="without a time"),
        pytest.param({"X-WHOOP-Signature-Timestamp": "1"}, id="with another time"),
        pytest.param({"X-WHOOP-Signature-Timestamp": "x"}, id="with no time"),
    ],
)
def test_what_whoop_has_not_signed_is_refused(
    world: World, member: Member, changes: dict[str, str | None]
) -> None:
    headers = {**signed(event(member)), **changes}
    given = {name: value for name, value in headers.items() if value is not None}

    answer = post(world, event(member), given)

    assert (answer.status, answer.json["code"]) == (401, "unsigned")
    assert answer.headers["www-authenticate"] == "Signature"
    assert looks(world) == []


def test_the_members_token_signs_nothing(world: World, ana: Browser, member: Member) -> None:
    answer = ana.ask("POST", PATH, body=event(member))

    assert answer.status == 401
    assert looks(world) == []


def test_what_is_out_of_date_is_refused(world: World, member: Member) -> None:
    body = event(member)
    headers = signed(body, world.clock.now)
    world.clock.move(7_201)

    assert post(world, body, headers).status == 401


def test_the_bytes_count_and_not_what_they_mean(world: World, member: Member) -> None:
    body = b" " + event(member).replace(b", ", b",\n") + b"\n"

    assert post(world, body).status == 204
    assert post(world, body, signed(event(member), world.clock.now)).status == 401
    assert len(looks(world)) == 1


@pytest.mark.parametrize(
    "changes",
    [{"user_id": 1}, {"type": "cycle.updated"}, {"type": None}, {"id": 7}, {"user_id": "1"}],
    ids=repr,
)
def test_what_is_not_for_us_is_thanked_for(
    world: World, member: Member, changes: dict[str, Any]
) -> None:
    assert post(world, event(member, **changes)).status == 204
    assert looks(world) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{"])
def test_what_makes_no_sense_is_thanked_for_if_it_is_signed(world: World, body: bytes) -> None:
    assert post(world, body).status == 204


def test_what_is_too_long_is_refused(world: World, member: Member) -> None:
    body = event(member, more="x" * LARGEST)

    answer = post(world, body)

    assert (answer.status, answer.json["code"]) == (413, "too_large")
    assert looks(world) == []


def test_without_storage_it_is_told_to_come_again(
    world: World, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageDown("switched off")

    body = event(member)
    with monkeypatch.context() as patch:
        patch.setattr(world.connections, "by_account", fail)
        assert post(world, body).status == 503
    world.queue.down = True
    assert post(world, body).status == 503
    world.queue.down = False
    assert post(world, body).status == 204
    assert len(looks(world)) == 1


@pytest.mark.parametrize("name", ["oura", "WHOOP", "x" * 5_000])
def test_nobody_else_is_known_here(world: World, name: str) -> None:
    answer = post(world, event(), path=f"/webhooks/{name}/")

    assert (answer.status, answer.json["code"]) == (404, "unknown_provider")


def test_without_its_settings_nothing_can_be_believed(world: World) -> None:
    world.set_up({"WHOOP_CLIENT_SECRET": ""})

    assert post(world, event(), signed(event(), secret="")).status == 503


def test_nothing_that_is_sent_breaks_anything(world: World, member: Member) -> None:
    latin = st.text(st.characters(max_codepoint=255), max_size=60)
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )
    kinds = st.sampled_from(["sleep.updated", "recovery.deleted", "workout.updated", "x"])
    events = st.fixed_dictionaries(
        {},
        optional={
            "user_id": st.just(member.user_id) | values,
            "id": st.just(SLEEP_ID) | values,
            "type": kinds | values,
            "trace_id": values,
        },
    ).map(lambda said: json.dumps(said).encode())

    @settings(max_examples=300, deadline=None)
    @given(
        body=st.binary(max_size=200) | events,
        headers=st.none()
        | st.dictionaries(
            st.sampled_from(["X-WHOOP-Signature", "x-whoop-signature-timestamp", "Content-Length"]),
            latin | st.just(str(int(NOW.timestamp() * 1000))),
            max_size=3,
        ),
    )
    def check(body: bytes, headers: dict[str, str] | None) -> None:
        answer = post(world, body, headers)
        assert answer.status == (204 if headers is None else 401)

    check()
    world.work()
