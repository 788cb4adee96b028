"""``GET /providers/whoop/records/{resource}/``: the members' own raw records."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from dev.simulator import Member
from shared.adapters.http import HEADERS
from shared.core.keys import instant
from shared.core.model import Deletion, Page, Place, ResourceName, UserId, Version
from shared.core.settle import settle
from tests.functions.world import NOW, PUBLIC_URL, RESOURCES, WHOOP, Answer, Browser, World

SLEEP = "/providers/whoop/records/sleep/"
LINES = {"Accept": "application/x-ndjson"}


@pytest.fixture
def member(world: World, ana: Browser) -> Member:
    """Ana's account at the provider; its thirty days have landed."""
    member = world.simulator.world.add_member(days=30)
    ana.connect(member)
    world.work()
    return member


def ask(browser: Browser, path: str = SLEEP, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return browser.ask("GET", path, headers=named)


def held(world: World, resource: str = "sleep", user: str = "ana") -> list[Version]:
    place = Place(WHOOP, UserId(user), ResourceName(resource))
    return sorted(world.records.current(place).values(), key=lambda version: version.seq)


def bury(world: World, version: Version) -> None:
    """Write that a record is gone."""
    place = Place(WHOOP, UserId("ana"), ResourceName("sleep"))
    name, stored = version.content.id, world.records.head(place)
    settled = settle(
        stored.value,
        stored.value,
        Page(()),
        world.records.known(place, [name]),
        account=None,
        now=NOW,
        asked=NOW,
        gone=[Deletion(name, NOW, "not_found")],
    )
    world.records.commit(place, settled.transactions[0], stored.etag)


def following(answer: Answer) -> str:
    found = re.fullmatch(r'<(/.*)>; rel="next"', answer.headers["link"])
    assert found is not None
    return found[1]


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_member_reads_their_records_to_the_letter(
    world: World, ana: Browser, member: Member, resource: str
) -> None:
    answer = ask(ana, f"/providers/whoop/records/{resource}/")

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    document = answer.json
    versions = held(world, resource)
    assert [one["id"] for one in document["records"]] == [one.content.id for one in versions]
    assert versions
    for version in versions:
        assert f',"record":{version.body}}}'.encode() in answer.body
    assert (document["resource"], document["more"]) == (resource, False)
    assert document["cursor"] == versions[-1].seq == int(answer.headers["feed-cursor"])
    assert document["generation"] == answer.headers["feed-generation"]
    assert "link" not in answer.headers


def test_page_after_page_is_everything(world: World, ana: Browser, member: Member) -> None:
    seqs, path = [], f"{SLEEP}?limit=7&history=true"
    while path:
        answer = ask(ana, path)
        seqs += [one["seq"] for one in answer.json["records"]]
        path = following(answer) if answer.json["more"] else ""
        assert ("link" in answer.headers) is answer.json["more"]

    assert seqs == list(range(1, len(held(world)) + 1))


def test_the_next_page_is_of_the_same_feed_and_kind(ana: Browser, member: Member) -> None:
    answer = ask(ana, f"{SLEEP}?since=2&limit=3&history=true", Accept=LINES["Accept"])

    page = urlsplit(following(answer))
    assert page.path == SLEEP
    assert parse_qs(page.query) == {
        "cursor": ["5"],
        "limit": ["3"],
        "generation": [answer.headers["feed-generation"]],
        "history": ["true"],
    }
    assert "history" not in following(ask(ana, f"{SLEEP}?limit=3"))


def test_records_come_line_by_line_to_who_asks_for_lines(
    world: World, ana: Browser, member: Member
) -> None:
    answer = ask(ana, f"{SLEEP}?limit=5000", Accept="application/x-ndjson, application/json;q=0.5")

    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = answer.body.decode().split("\n")
    assert lines.pop() == ""
    document = ask(ana).json
    assert [json.loads(line) for line in lines] == document["records"]
    assert int(answer.headers["feed-cursor"]) == document["cursor"]


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json", "garbage;;q=x", ""])
def test_everybody_else_gets_json(ana: Browser, accept: str) -> None:
    assert ask(ana, Accept=accept).headers["content-type"] == "application/json"


def test_a_deletion_is_told_of(world: World, ana: Browser, member: Member) -> None:
    cursor, first = ask(ana).json["cursor"], held(world)[0]
    bury(world, first)

    answer = ask(ana, f"{SLEEP}?since={cursor}")

    assert answer.json["records"] == [
        {
            "id": first.content.id,
            "seq": cursor + 1,
            "updated_at": instant(first.updated_at),
            "deleted_at": instant(NOW),
            "evidence": "not_found",
        }
    ]


# Who may read what


def test_nobody_reads_without_a_token(world: World, member: Member) -> None:
    answer = world.browser().get(SLEEP)

    assert (answer.status, answer.json["code"]) == (401, "unauthorized")


def test_nobody_reads_the_records_of_others(world: World, ana: Browser, member: Member) -> None:
    mine = ask(ana)
    eve = world.browser("eve")

    answers = [
        ask(eve),
        ask(eve, f"{SLEEP}?user=ana&user_id=ana"),
        ask(eve, If_None_Match=mine.headers["etag"]),
    ]

    for answer in answers:
        assert (answer.status, answer.json["records"], answer.json["cursor"]) == (200, [], 0)
    hers = ask(eve, f"{SLEEP}?since=3&generation={mine.json['generation']}")
    assert (hers.status, hers.json["code"]) == (410, "feed_restarted")


def test_before_anything_has_landed_there_is_an_empty_list(ana: Browser) -> None:
    answer = ask(ana)

    assert answer.json == {
        "resource": "sleep",
        "generation": None,
        "records": [],
        "cursor": 0,
        "more": False,
    }
    assert "feed-generation" not in answer.headers
    lines = ask(ana, Accept=LINES["Accept"])
    assert (lines.status, lines.body, lines.headers["feed-cursor"]) == (200, b"", "0")


def test_what_we_hold_stays_readable_while_the_provider_is_switched_off(
    world: World, ana: Browser, member: Member
) -> None:
    before = ask(ana)
    world.set_up({"WHOOP_CLIENT_ID": ""})

    assert ask(ana).json == before.json


# Whether it is the same


def test_who_has_the_newest_is_told_so_after_one_read(
    world: World, ana: Browser, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(ana)
    monkeypatch.setattr(type(world.records), "numbers", None)  # more than the head is not read

    for known in (
        first.headers["etag"],
        first.headers["etag"].removeprefix("W/"),
        f'"other", {first.headers["etag"]}',
        "*",
    ):
        answer = ask(ana, If_None_Match=known)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == first.headers["etag"]
        for header in ("cache-control", "vary"):
            assert answer.headers[header] == first.headers[header]


def test_only_ones_own_cache_may_keep_it_and_has_to_ask_each_time(
    ana: Browser, member: Member
) -> None:
    answer = ask(ana)

    assert answer.headers["cache-control"] == "private, no-cache"
    assert {name.strip() for name in answer.headers["vary"].split(",")} == {
        "Accept",
        "Authorization",
    }
    assert re.fullmatch(r'W/"[0-9a-f]{32}"', answer.headers["etag"])
    for header, value in HEADERS.items():
        assert header == "Cache-Control" or answer.headers[header.lower()] == value


@pytest.mark.parametrize("path", [SLEEP, f"{SLEEP}?limit=7", f"{SLEEP}?history=true"])
def test_another_answer_has_another_tag(
    world: World, ana: Browser, member: Member, path: str
) -> None:
    tag = ask(ana, f"{SLEEP}?limit=8").headers["etag"]

    assert ask(ana, path, If_None_Match=tag).status == 200
    assert ask(ana, path, If_None_Match="nonsense").status == 200
    assert ask(ana, f"{SLEEP}?limit=8", If_None_Match=tag).status == 304
    assert ask(ana, f"{SLEEP}?limit=8", If_None_Match=tag, **LINES).status == 200

    bury(world, held(world)[0])
    assert ask(ana, f"{SLEEP}?limit=8", If_None_Match=tag).status == 200


# What cannot be answered


STATUS = {
    "unknown_provider": 404,
    "unknown_resource": 404,
    "bad_request": 400,
    "feed_restarted": 410,
}


@pytest.mark.parametrize(
    ("path", "code", "blamed"),
    [
        ("/providers/oura/records/sleep/", "unknown_provider", "/providers/"),
        ("/providers/whoop/records/steps/", "unknown_resource", "cycle, recovery, sleep"),
        (f"{SLEEP}?limit=0", "bad_request", "limit is a whole number from 1 to 1000."),
        (f"{SLEEP}?limit=1001", "bad_request", "limit"),
        (f"{SLEEP}?since=yesterday", "bad_request", "since"),
        (f"{SLEEP}?cursor=-1", "bad_request", "cursor"),
        (f"{SLEEP}?cursor=1&cursor=2", "bad_request", "cursor"),
        (f"{SLEEP}?cursor={'1' * 5_000}", "bad_request", "cursor"),
        (f"{SLEEP}?history=1", "bad_request", "history"),
        (f"{SLEEP}?generation=another", "feed_restarted", "start from 0"),
        (f"{SLEEP}?since=999999999999", "feed_restarted", "start from 0"),
    ],
)
def test_a_refusal_names_what_is_wrong(
    ana: Browser, member: Member, path: str, code: str, blamed: str
) -> None:
    answer = ask(ana, path, If_None_Match="*")

    assert (answer.status, answer.json["code"]) == (STATUS[code], code)
    assert blamed in answer.json["detail"]
    assert answer.headers["content-type"].partition(";")[0] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"


def test_a_larger_page_is_for_lines_only(ana: Browser) -> None:
    assert ask(ana, f"{SLEEP}?limit=1001", **LINES).status == 200
    refused = ask(ana, f"{SLEEP}?limit=5001", **LINES)
    assert (refused.status, "from 1 to 5000" in refused.json["detail"]) == (400, True)


def test_a_slash_at_the_end_does_not_matter(ana: Browser, member: Member) -> None:
    assert ask(ana, SLEEP.rstrip("/")) == ask(ana)
    assert not ask(ana, f"{SLEEP}?limit=1").headers["link"].startswith(f"<{PUBLIC_URL}")
