"""The demo shows the truth, and says so only if it is."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from rich.console import Console

from dev import demo
from dev.azurite import Azurite
from dev.bootstrap import ROOT
from dev.demo import DemoError, Journey, Line, Report, arrival, classify, compare, progress
from dev.raw import Current
from dev.stack import Ports, Secrets, environment, settings
from shared.config import Settings

AT = datetime(2026, 11, 1, 7, 30, tzinfo=UTC)
HELD = {"1": Current("1", AT, '{"a":1}')}
TRUE = {"id": 1, "updated_at": "2026-11-01T07:30:00.000Z", "hash": HELD["1"].hash}


class TestComparing:
    def test_the_same_is_the_same(self) -> None:
        assert compare([TRUE], HELD) == []
        assert compare([{**TRUE, "updated_at": None}], HELD) == []

    @pytest.mark.parametrize(
        ("truth", "said"),
        [
            ([], "1 does not exist"),
            ([TRUE, {**TRUE, "id": 2}], "2 is missing"),
            ([{**TRUE, "hash": "0"}], "1 has other content"),
            ([{**TRUE, "updated_at": "2026-11-01T07:30:00.001Z"}], "1 has another updated_at"),
        ],
    )
    def test_any_difference_is_named(self, truth: list[dict[str, Any]], said: str) -> None:
        assert compare(truth, HELD) == [said]


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/developer/v2/cycle", "cycle"),
        ("/developer/v2/cycle/93845/recovery", "recovery"),
        ("/developer/v2/recovery", "recovery"),
        ("/developer/v2/activity/sleep", "sleep"),
        ("/developer/v2/activity/workout/ecfc6a15", "workout"),
        ("/developer/v2/user/profile/basic", "profile"),
        ("/developer/v2/user/measurement/body", "body_measurement"),
        ("/developer/v3/steps", "/developer/v3/steps"),
    ],
)
def test_a_request_belongs_to_a_resource(path: str, resource: str) -> None:
    assert classify(path) == resource


def report(**changed: Any) -> Report:
    lines = (Line("cycle", 30, 30, (), 2, 2), Line("sign-in", 0, 0, (), 1, 1))
    good = Report(1, lines, 3, 0, 0.25, 1.5, 4.0)
    return replace(good, **changed)


def shown(found: Report) -> str:
    console = Console(file=io.StringIO(), width=120)
    for part in demo.show(found):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestTheReport:
    def test_it_is_equal_only_if_records_and_requests_are(self) -> None:
        wrong = (Line("cycle", 30, 30, ("1 has other content",), 2, 2),)

        assert report().is_equal
        assert not report(minimum=2).is_equal
        assert not report(lines=wrong, minimum=2).is_equal

    def test_it_can_be_read_by_a_program(self) -> None:
        assert json.loads(report().as_json()) == {
            "members": 1,
            "records": 30,
            "truth": 30,
            "requests": 3,
            "minimum_requests": 3,
            "first_record_seconds": 0.25,
            "seconds": 4.0,
        }

    def test_it_can_be_read_by_people(self) -> None:
        text = shown(report())

        assert "first record 0.25 s, to the last 1.50 s. Everything took 4.0 s." in text
        assert text.count(" equal ") == 2

    def test_what_differs_is_listed_but_not_for_ever(self) -> None:
        wrong = tuple(f"of member-1: {number} is missing" for number in range(25))

        text = shown(report(lines=(Line("cycle", 5, 30, wrong, 2, 2),)))

        assert "not the truth" in text
        assert "cycle of member-1: 9 is missing" in text
        assert "10 is missing" not in text
        assert "... and 15 more" in text

    def test_requests_beyond_the_minimum_and_refusals_show(self) -> None:
        text = shown(report(lines=(Line("cycle", 30, 30, (), 4, 2),), refused=2))

        assert "equal, at too many requests" in text
        assert "2 requests were refused with 429" in text


def status(state: str, *states: str, records: int = 7) -> dict[str, Any]:
    return {
        "run": {"state": state},
        "resources": [
            {"resource": name, "state": one, "records": records, "progress": 0.5, "reason": "why"}
            for name, one in zip(demo.RESOURCES, states, strict=False)
        ],
    }


class TestTheJourney:
    class Answering(requests.Session):
        def __init__(self, answers: Sequence[dict[str, Any]], code: int = 200) -> None:
            super().__init__()
            self.answers = list(answers)
            self.code = code

        def get(self, url: str | bytes, **options: Any) -> requests.Response:
            answer = requests.Response()
            answer.status_code = self.code
            answer._content = json.dumps(self.answers.pop(0)).encode()
            return answer

    class Stack:
        api = "http://localhost:1"

    def look(self, journey: Journey, *answers: dict[str, Any], code: int = 200) -> list[bool]:
        with self.Answering(answers, code) as session:
            return [demo._look(self.Stack(), session, journey) for _ in answers]  # type: ignore[arg-type]

    def test_the_first_record_and_the_end_are_noticed(self) -> None:
        journey = Journey("member-1", 1, "token", consented=0.0)

        changes = self.look(journey, status("running", "running", records=0))
        assert (changes, journey.first, journey.last) == ([True], None, None)

        self.look(journey, status("running", "running"))
        assert journey.first
        assert not journey.last

        assert self.look(journey, *[status("finished", "finished")] * 2) == [True, False]
        assert journey.last
        assert arrival(journey).startswith("member-1 has connected: 7 records within ")

    def test_a_resource_that_has_not_begun_is_waited_for(self) -> None:
        journey = Journey("member-1", 1, "token", consented=0.0)

        self.look(journey, status("finished", "finished", "idle"))

        assert not journey.last

    def test_a_run_that_fails_is_told_with_its_reasons(self) -> None:
        with pytest.raises(DemoError, match=r"member-1 has failed: \{'cycle': 'why'\}"):
            self.look(Journey("member-1", 1, "token"), status("failed", "failed"))

    def test_a_status_page_that_does_not_work_is_told(self) -> None:
        with pytest.raises(DemoError, match="The status page answered 503"):
            self.look(Journey("member-1", 1, "token"), {}, code=503)

    def test_progress_is_shown_for_everybody_but_not_for_ever(self) -> None:
        journeys = [Journey(f"member-{number}", number, "token") for number in range(25)]
        journeys[0].status = status("running", "finished", "running", "waiting", "idle")
        journeys[0].last = 1.0
        console = Console(file=io.StringIO(), width=120)

        console.print(progress(journeys))

        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert "7 (50%)" in text
        assert "member-19" in text
        assert "member-20" not in text
        assert "1 of 25 are done" in text


class TestTheSettings:
    def test_the_app_accepts_them(self) -> None:
        made = settings(Ports(1, 2, 3), Secrets(), "UseDevelopmentStorage=true", backfill_days=9)

        assert Settings.from_env(made).backfill_days == 9

    def test_settings_of_the_desk_do_not_reach_the_app(self) -> None:
        desk = {"PATH": "/bin", "WHOOP_CLIENT_ID": "a", "JWT_SECRET": "b", "PUBLIC_URL": "c"}

        assert environment(desk) == {"PATH": "/bin"}

    def test_secrets_are_not_shown(self) -> None:
        made = Secrets()

        assert made.jwt not in repr(made)
        assert made.client_secret not in repr(made)


@pytest.mark.parametrize("option", [["--members", "0"], ["--days", "-1"], ["--days", "x"]])
def test_what_makes_no_sense_is_refused(option: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        demo.main(option)


@pytest.mark.azurite
@pytest.mark.parametrize("hosts", ["1", "3"])
def test_the_main_job_ends_with_the_truth_at_the_fewest_requests(
    azurite: Azurite, capfd: pytest.CaptureFixture[str], hosts: str
) -> None:
    before = set((ROOT / ".dev").glob("demo-*")) if (ROOT / ".dev").exists() else set()

    assert demo.main(["--members", "2", "--days", "40", "--hosts", hosts, "--json"]) == 0

    out, err = capfd.readouterr()
    figures = json.loads(out.splitlines()[-1])
    assert figures["members"] == 2
    assert figures["records"] == figures["truth"] > 200
    assert figures["requests"] == figures["minimum_requests"]
    assert 0 < figures["first_record_seconds"] < figures["seconds"]
    assert "equal" in err
    assert set((ROOT / ".dev").glob("demo-*")) <= before
