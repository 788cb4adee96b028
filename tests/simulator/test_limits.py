from typing import Any

import pytest

from tests.simulator.visitor import Visitor, Watch, a_simulator

PROFILE = "/v2/user/profile/basic"


def quota(answer: Any) -> tuple[str, str, str]:
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    limit, remaining, reset = (answer.headers[name] for name in names)
    return limit, remaining, reset


class Reader:
    """A member who reads the profile again and again."""

    def __init__(self, watch: Watch, **settings: Any) -> None:
        self.visitor = Visitor(a_simulator(watch, **settings))
        self.user_id = self.visitor.simulator.world.add_member(days=1).user_id
        self.token = self.visitor.connect(self.user_id)["access_token"]

    def read(self) -> Any:
        return self.visitor.get(PROFILE, self.token)


def on_the_minute() -> Watch:
    watch = Watch()
    watch.now = watch.now.replace(second=0, microsecond=0)
    return watch


def test_the_headers_tell_of_both_windows_and_of_the_nearest() -> None:
    watch = on_the_minute()
    reader = Reader(watch, per_minute=100, per_day=10_000)
    reader.read()
    watch.move(57)

    assert quota(reader.read()) == ("100, 100;window=60, 10000;window=86400", "98", "3")


def test_the_day_is_told_of_once_it_is_nearer() -> None:
    watch = on_the_minute()
    reader = Reader(watch, per_minute=100, per_day=50)

    limit, remaining, reset = quota(reader.read())

    assert limit == "50, 100;window=60, 50;window=86400"
    assert remaining == "49"
    assert int(reset) == 12.5 * 3600


def test_over_the_limit_is_429_and_costs_nothing() -> None:
    watch = on_the_minute()
    reader = Reader(watch, per_minute=2, per_day=3)

    assert [reader.read().status_code for _ in range(4)] == [200, 200, 429, 429]
    refused = reader.read()
    assert refused.get_json() == {"message": "Too Many Requests"}
    assert quota(refused) == ("2, 2;window=60, 3;window=86400", "0", "60")

    watch.move(60)
    assert [reader.read().status_code for _ in range(2)] == [200, 429]


def test_where_both_windows_are_full_the_reset_is_the_later_one() -> None:
    watch = on_the_minute()
    reader = Reader(watch, per_minute=1, per_day=1)
    reader.read()

    assert quota(reader.read())[2] == str(int(12.5 * 3600))


def test_a_fixed_window_starts_over_on_the_minute() -> None:
    watch = on_the_minute()
    watch.move(59.5)
    reader = Reader(watch, per_minute=1)

    assert quota(reader.read())[1:] == ("0", "1")
    assert reader.read().status_code == 429
    watch.move(0.5)
    assert reader.read().status_code == 200


def test_a_sliding_window_remembers_each_request_for_its_whole_length() -> None:
    watch = on_the_minute()
    watch.move(59.5)
    reader = Reader(watch, per_minute=2, windows="sliding")

    assert quota(reader.read())[1:] == ("1", "60")
    watch.move(20)
    assert quota(reader.read())[1:] == ("0", "40")
    watch.move(39.999)
    refused = reader.read()
    assert (refused.status_code, quota(refused)[2]) == (429, "1")
    watch.move(0.001)
    assert [reader.read().status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("windows", ["fixed", "sliding"])
def test_whoever_waits_for_the_reset_gets_through(windows: str) -> None:
    watch = Watch()
    reader = Reader(
        watch, per_minute=3, per_day=7, day_seconds=600, windows=windows, token_seconds=10**6
    )

    served = 0
    for _ in range(60):
        answer = reader.read()
        if answer.status_code == 200:
            served += 1
            watch.move(0.37)
        else:
            watch.move(int(quota(answer)[2]))
            assert reader.read().status_code == 200
            served += 1

    assert served == 60


def test_a_window_can_be_short() -> None:
    watch = on_the_minute()
    reader = Reader(watch, per_minute=1, minute_seconds=2, day_seconds=10)

    assert quota(reader.read())[0] == "1, 1;window=2, 1000000;window=10"
    watch.move(2)
    assert reader.read().status_code == 200


def test_every_api_answer_carries_the_headers_and_counts() -> None:
    watch = on_the_minute()
    reader = Reader(watch, per_minute=100)
    visitor = reader.visitor

    answers = [
        visitor.get(PROFILE, "made-up"),
        visitor.get("/v2/recovery/1", reader.token),
        visitor.get("/v2/cycle", reader.token, limit=26),
        visitor.get("/v1/activity-mapping/1", None),
        visitor.call("DELETE", "/v2/user/access", reader.token),
    ]

    assert [answer.status_code for answer in answers] == [401, 404, 400, 404, 204]
    assert [quota(answer)[1] for answer in answers] == ["99", "98", "97", "96", "95"]


def test_token_calls_count_only_where_told() -> None:
    free = Reader(on_the_minute(), per_minute=5)
    counted = Reader(on_the_minute(), per_minute=5, count_token_calls=True)

    assert quota(free.read())[1] == "4"
    assert quota(counted.read())[1] == "3"
    assert quota(counted.visitor.renew("made-up"))[1] == "2"


def test_the_limit_is_the_apps_and_not_the_members() -> None:
    reader = Reader(on_the_minute(), per_minute=2)
    other = reader.visitor.simulator.world.add_member(days=1)
    token = reader.visitor.connect(other.user_id)["access_token"]

    reader.read()
    reader.visitor.get(PROFILE, token)

    assert reader.read().status_code == 429
    assert reader.visitor.simulator.log[-1]["user_id"] == reader.user_id
