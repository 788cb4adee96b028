"""When a schedule is due, as a table."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from dev.host import ncrontab


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "now", "due"),
    [
        pytest.param("* * * * * *", "2026-03-01 10:00:00", "2026-03-01 10:00:01", id="each second"),
        pytest.param("0 0 9 * * *", "2026-03-01 08:59:59", "2026-03-01 09:00:00", id="today"),
        pytest.param("0 0 9 * * *", "2026-03-01 09:00:00", "2026-03-02 09:00:00", id="not twice"),
        pytest.param("0 0 9 * * *", "2026-12-31 10:00:00", "2027-01-01 09:00:00", id="new year"),
        pytest.param("*/15 * * * * *", "2026-03-01 10:00:46", "2026-03-01 10:01:00", id="steps"),
        pytest.param("0 5/20 * * * *", "2026-03-01 10:25:00", "2026-03-01 10:45:00", id="from 5"),
        pytest.param("0 10-14/2 * * * *", "2026-03-01 10:12:00", "2026-03-01 10:14:00", id="both"),
        pytest.param("0 0 22-2 * * *", "2026-03-01 01:00:00", "2026-03-01 02:00:00", id="turned"),
        pytest.param("0 0,30 8,20 * * *", "2026-03-01 08:30:00", "2026-03-01 20:00:00", id="lists"),
        pytest.param("0 0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00", id="leap day"),
        pytest.param("0 0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00", id="no 2100"),
        pytest.param("0 0 0 29 2 mon", "2026-01-01 00:00:00", "2044-02-29 00:00:00", id="a monday"),
        pytest.param(
            "0 0 0 31 * *", "2026-04-01 00:00:00", "2026-05-31 00:00:00", id="skips april"
        ),
        pytest.param("0 0 9 * * 0", "2026-11-21 12:00:00", "2026-11-22 09:00:00", id="sunday is 0"),
        pytest.param("0 0 9 * * MON-FRI", "2026-11-20 12:00:00", "2026-11-23 09:00:00", id="names"),
        pytest.param(
            "0 0 9 * jan,Jul *", "2026-02-01 00:00:00", "2026-07-01 09:00:00", id="months"
        ),
        pytest.param(
            "0 0 9 13 * 5", "2026-11-14 00:00:00", "2027-08-13 09:00:00", id="day and day"
        ),
        pytest.param("30 9 * * *", "2026-03-01 08:00:00", "2026-03-01 09:30:00", id="five fields"),
    ],
)
def test_a_schedule_is_due_next(schedule: str, now: str, due: str) -> None:
    assert ncrontab.parse(schedule).next_after(at(now)) == at(due)


def test_the_next_occurrence_is_in_utc_wherever_now_is() -> None:
    madrid = timezone(timedelta(hours=2))

    due = ncrontab.parse("0 0 9 * * *").next_after(datetime(2026, 7, 1, 10, 0, tzinfo=madrid))

    assert due == at("2026-07-01 09:00:00")
    assert due.tzinfo is UTC


@pytest.mark.parametrize("text", ["*/1 * * * * *", "7 */3 2-5 * * 1-5", "0 0 0 1 1 *"])
def test_occurrences_only_go_forwards(text: str) -> None:
    schedule = ncrontab.parse(text)
    moment = at("2026-02-28 23:59:58")
    for _ in range(50):
        following = schedule.next_after(moment)
        assert following > moment
        moment = following


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("* * * *", "4 fields instead of six"),
        ("01:00:00", "1 fields instead of six"),
        ("60 * * * * *", "60 is not between 0 and 59"),
        ("0 0 9 0 * *", "0 is not between 1 and 31"),
        ("0 0 9 * * 7", "7 is not between 0 and 6"),
        ("0 0 9 * * ?", '"\\?" is not a value'),
        ("0 */0 * * * *", "steps"),
        ("0 1,,2 * * * *", '"" is not a value'),
        ("0 -1 * * * *", '"" is not a value'),
        ("0 0 0 30 2 *", "never due"),
    ],
)
def test_a_schedule_that_azure_refuses_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ncrontab.parse(text)
