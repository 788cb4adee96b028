import base64
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.simulator.visitor import COLLECTIONS, NOW, Visitor, Watch, a_simulator


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Account:
    def __init__(self, **about: Any) -> None:
        self.visitor = Visitor(a_simulator(Watch()))
        self.member = self.visitor.simulator.world.add_member(**about)
        self.token = self.visitor.connect(self.member.user_id)["access_token"]

    def ask(self, resource: str, **query: Any) -> Any:
        return self.visitor.get(COLLECTIONS[resource], self.token, **query)

    def ids(self, resource: str, **query: Any) -> list[str]:
        records = self.visitor.records(COLLECTIONS[resource], self.token, limit=25, **query)
        return [str(record.get("id") or record["cycle_id"]) for record in records]


@pytest.fixture(scope="module")
def account() -> Account:
    return Account(days=70)


def test_ten_records_unless_asked_for_more(account: Account) -> None:
    assert len(account.ask("cycle").get_json()["records"]) == 10
    assert len(account.ask("cycle", limit=25).get_json()["records"]) == 25
    assert len(account.ask("cycle", limit=1).get_json()["records"]) == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"limit": 26}, 400),
        ({"limit": 0}, 400),
        ({"limit": -1}, 400),
        ({"limit": "many"}, 404),
        ({"start": "2026-07-05"}, 404),
        ({"end": "2026-07-05"}, 404),
        ({"start": "2026-07-05T00:00:00"}, 404),
        ({"start": "2026-07-05T00:00:00 00:00"}, 404),
        ({"start": "2026-13-05T00:00:00Z"}, 404),
        ({"start": ""}, 404),
        ({"start": "0001-01-01T00:00:00+05:00"}, 404),
        ({"nextToken": "made-up"}, 400),
        ({"nextToken": ""}, 400),
        ({"nextToken": "ñ"}, 400),
        ({"start": "2026-07-05T00:00:00Z"}, 200),
        ({"start": "2026-07-05T00:00:00.123+02:00"}, 200),
        ({"next_token": "the wrong name", "sort": "asc"}, 200),
    ],
)
def test_parameters_are_taken_at_their_word(
    account: Account, query: dict[str, Any], status: int
) -> None:
    for resource in COLLECTIONS:
        answer = account.ask(resource, **query)
        assert answer.status_code == status
        if status != 200:
            assert answer.mimetype == "text/plain"


@pytest.mark.parametrize("resource", COLLECTIONS)
@pytest.mark.parametrize("limit", [1, 7, 25])
def test_paging_to_the_end_gives_every_record_once_newest_first(
    account: Account, resource: str, limit: int
) -> None:
    listed = account.visitor.simulator.truth(account.member.user_id, None, None)[resource]

    records = account.visitor.records(COLLECTIONS[resource], account.token, limit=limit)

    assert [str(one.get("id") or one["cycle_id"]) for one in records] == [
        one["id"] for one in listed
    ]
    starts = [one["start"] for one in listed]
    assert starts == sorted(starts, reverse=True)
    assert len({one["id"] for one in listed}) == len(listed) > 25


@pytest.mark.parametrize("count", [25, 50, 100])
@pytest.mark.parametrize("resource", COLLECTIONS)
def test_a_collection_of_whole_pages_has_no_empty_one_at_the_end(resource: str, count: int) -> None:
    account = Account(days=10, collections={resource: count})

    pages = list(account.visitor.pages(COLLECTIONS[resource], account.token, limit=25))

    assert [len(page["records"]) for page in pages] == [25] * (count // 25)


@pytest.mark.parametrize("resource", COLLECTIONS)
def test_a_collection_may_be_empty(resource: str) -> None:
    account = Account(days=10, collections={resource: 0})

    page = account.ask(resource).get_json()

    assert page["records"] == []
    assert not page.get("next_token")


def test_the_last_page_says_so_by_silence_or_by_null() -> None:
    visitor = Visitor(a_simulator())
    forms = []
    for _ in range(2):
        user_id = visitor.simulator.world.add_member(days=1).user_id
        page = visitor.get("/v2/cycle", visitor.connect(user_id)["access_token"]).get_json()
        forms.append(page.get("next_token", "absent"))

    assert sorted(forms, key=str) == [None, "absent"]


@pytest.mark.parametrize("resource", COLLECTIONS)
def test_the_start_takes_in_what_straddles_it(account: Account, resource: str) -> None:
    truth = account.visitor.simulator.truth(account.member.user_id, None, None)[resource]
    chosen = truth[20]
    during = moment(chosen["start"]) + timedelta(seconds=1)

    # A cycle that ends where the next one starts is there as well: the bound is inclusive.
    assert chosen["id"] in account.ids(resource, start=chosen["start"])[-2:]
    assert account.ids(resource, start=text(during))[-1] == chosen["id"]


def test_a_sleep_that_ended_before_the_start_is_left_out(account: Account) -> None:
    sleep = account.ask("sleep", limit=25).get_json()["records"][20]
    after = moment(sleep["end"]) + timedelta(milliseconds=1)

    assert account.ids("sleep", start=sleep["end"])[-1] == sleep["id"]
    assert sleep["id"] not in account.ids("sleep", start=text(after))


@pytest.mark.parametrize("resource", COLLECTIONS)
def test_the_end_is_exclusive_and_takes_in_what_intersects(account: Account, resource: str) -> None:
    chosen = account.visitor.simulator.truth(account.member.user_id, None, None)[resource][20]
    during = moment(chosen["start"]) + timedelta(milliseconds=1)

    assert chosen["id"] not in account.ids(resource, end=chosen["start"])
    assert account.ids(resource, end=text(during))[0] == chosen["id"]


def test_a_recovery_is_where_its_sleep_is(account: Account) -> None:
    sleep = next(
        one for one in account.ask("sleep", limit=25).get_json()["records"] if not one["nap"]
    )
    window = {"start": sleep["start"], "end": sleep["end"]}

    assert account.ids("recovery", **window) == [str(sleep["cycle_id"])]


def test_the_open_cycle_lies_in_every_window_that_it_reaches(account: Account) -> None:
    newest = account.ask("cycle", limit=1).get_json()["records"][0]

    listed = account.ids("cycle", start=text(NOW - timedelta(seconds=1)), end=text(NOW))

    assert newest.get("end") is None
    assert listed == [str(newest["id"])]


def test_without_a_start_the_whole_history_comes(account: Account) -> None:
    assert len(account.ids("cycle")) == 70


def test_the_same_instant_counts_however_it_is_written(account: Account) -> None:
    utc = account.ids("sleep", start="2026-11-01T00:00:00Z")

    assert account.ids("sleep", start="2026-11-01T02:00:00.000+02:00") == utc


def test_a_page_token_belongs_to_its_question(account: Account) -> None:
    query = {"limit": 5, "start": "2026-10-01T00:00:00Z"}
    token = account.ask("cycle", **query).get_json()["next_token"]

    assert account.ask("cycle", **query, nextToken=token).status_code == 200
    for other in (
        query | {"limit": 6},
        query | {"start": "2026-10-02T00:00:00Z"},
        query | {"end": "2026-11-22T00:00:00Z"},
        {"limit": 5},
    ):
        assert account.ask("cycle", **other, nextToken=token).status_code == 400
    assert account.ask("sleep", **query, nextToken=token).status_code == 400


def test_a_page_token_belongs_to_its_member(account: Account) -> None:
    visitor = account.visitor
    other = visitor.connect(visitor.simulator.world.add_member(days=30).user_id)
    token = account.ask("cycle").get_json()["next_token"]

    answer = visitor.get("/v2/cycle", other["access_token"], nextToken=token)

    assert answer.status_code == 400


def test_a_page_token_that_was_tampered_with_is_refused(account: Account) -> None:
    token = account.ask("cycle").get_json()["next_token"]
    plain = base64.urlsafe_b64decode(token + "==")
    assert plain.startswith(b"o:10:")
    cut = base64.urlsafe_b64encode(plain[:-1]).decode().rstrip("=")

    assert account.ask("cycle", nextToken=cut).status_code == 400


def test_the_wrong_name_for_the_page_token_gives_the_first_page_again(account: Account) -> None:
    first = account.ask("cycle").get_json()

    assert account.ask("cycle", next_token=first["next_token"]).get_json() == first
