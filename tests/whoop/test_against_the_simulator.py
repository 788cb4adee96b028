import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import requests

import whoop
from dev.simulator import Fault, Member, Options, Simulator, serve
from dev.simulator.members import Resource
from shared.core.model import (
    HISTORY_START,
    Cursor,
    Page,
    Question,
    Record,
    ResourceName,
    Secret,
    Span,
)
from shared.errors import (
    AccountDeactivated,
    CursorRefused,
    GrantDead,
    NotThere,
    ProviderError,
    RateLimited,
    Rejected,
    ScopeMissing,
    TokenRejected,
    Unavailable,
)
from shared.provider import Grant, Provider, Shape

CLIENT_SECRET = "its-secret"
CALLBACK = "http://localhost:7071/oauth/whoop/callback/"
CYCLE, RECOVERY, SLEEP, WORKOUT, PROFILE, BODY = (
    ResourceName(name)
    for name in ("cycle", "recovery", "sleep", "workout", "profile", "body_measurement")
)


@dataclass
class Scene:
    """A simulator that is being served, and WHOOP as a provider that reaches it."""

    simulator: Simulator
    url: str
    provider: Provider

    def code(self, member: Member, **changes: str) -> Secret:
        """What a member's browser brings back from the consent page."""
        page = urlsplit(self.provider.authorize_url("sixteen-characters"))
        form = dict(parse_qsl(page.query)) | changes
        form |= {"member": str(member.user_id), "decision": "approve"}
        answer = requests.post(
            page._replace(query="").geturl(), data=form, allow_redirects=False, timeout=10
        )
        back = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert back["state"] == ["sixteen-characters"]
        return Secret(back["code"][0])

    def connect(self, member: Member, **changes: str) -> Grant:
        return self.provider.redeem(self.code(member, **changes))

    def everything(self, end: datetime) -> Question:
        return Question(Span(HISTORY_START, end), None)

    def walk(self, access: Secret, resource: ResourceName, span: Span) -> Iterator[Page]:
        cursor: Cursor | None = None
        while True:
            page = self.provider.fetch(access, resource, Question(span, cursor))
            yield page
            cursor = page.cursor
            if cursor is None:
                return

    def read(self, access: Secret, span: Span) -> dict[str, list[Record]]:
        """Everything of a member, as a perfect client reads it."""
        found: dict[str, list[Record]] = {}
        for resource in self.provider.resources:
            if resource.shape is Shape.COLLECTION:
                pages = list(self.walk(access, resource.name, span))
            else:
                try:
                    pages = [self.provider.fetch(access, resource.name, None)]
                except NotThere:
                    pages = []
            assert [page.misfits for page in pages] == [()] * len(pages)
            found[resource.name] = [record for page in pages for record in page.records]
        return found


@contextmanager
def a_scene(env: dict[str, str] | None = None, **settings: Any) -> Iterator[Scene]:
    wide: dict[str, Any] = {"per_minute": 100_000, "per_day": 1_000_000}
    options = Options("an-app", CLIENT_SECRET, redirect_uris=(CALLBACK,), **(wide | settings))
    simulator = Simulator(options)
    with serve(simulator) as url:
        provider = whoop.provider(
            {
                "WHOOP_CLIENT_ID": "an-app",
                "WHOOP_CLIENT_SECRET": CLIENT_SECRET,
                "WHOOP_REDIRECT_URI": CALLBACK,
                "WHOOP_API_URL": f"{url}/developer",
                "WHOOP_OAUTH_URL": f"{url}/oauth/oauth2",
            }
            | (env or {})
        )
        assert provider.problems == ()
        yield Scene(simulator, url, provider)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with a_scene() as scene:
        yield scene


@pytest.fixture
def member(scene: Scene) -> Member:
    return scene.simulator.world.add_member(days=60)


def stamp(at: datetime | None) -> str | None:
    if at is None:
        return None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    "about",
    [
        pytest.param({"days": 60}, id="two months"),
        pytest.param({"days": 0}, id="a new member"),
        pytest.param(
            {
                "days": 40,
                "collections": {"workout": 75, "sleep": 0, "cycle": 25, "body_measurement": 0},
            },
            id="full pages, an empty one, no measurements",
        ),
        pytest.param({"days": 90, "collections": {"workout": 26}}, id="one more than a page"),
    ],
)
@pytest.mark.parametrize("days_back", [None, 10], ids=["everything", "ten days"])
def test_what_is_read_is_the_truth_in_as_few_requests_as_can_be(
    scene: Scene, about: dict[str, Any], days_back: int | None
) -> None:
    # Somebody else's records must not turn up; an odd and an even id end their walks differently.
    people = [scene.simulator.world.add_member(**about) for _ in range(2)]
    end = scene.simulator.world.now().replace(microsecond=0)
    start = None if days_back is None else end - timedelta(days=days_back)
    scene.simulator.clear_log()

    for member in people:
        grant = scene.connect(member)
        found = scene.read(grant.access, Span(start or HISTORY_START, end))
        truth = scene.simulator.truth(member.user_id, start, end)

        assert list(found) == list(truth)
        for resource, records in found.items():
            assert [(record.id, stamp(record.updated_at), record.digest) for record in records] == [
                (one["id"], one["updated_at"], one["hash"]) for one in truth[resource]
            ]
            owners = {record.account for record in records} - {None}
            assert owners <= {str(member.user_id)}
            if resource not in {"recovery", "profile", "body_measurement"}:
                assert [stamp(record.start) for record in records] == [
                    one["start"] for one in truth[resource]
                ]
            for record in records:
                assert (record.day is None) == (resource in {"profile", "body_measurement"})
                assert (record.alias is not None) == (resource == "recovery")

    log = scene.simulator.log
    minimum = scene.simulator.minimum_requests([one.user_id for one in people], start, end)
    assert len(log) == minimum
    assert {entry["status"] for entry in log} <= {200, 404}
    assert all("…" not in entry["query"].values() for entry in log)


def test_bodies_are_what_whoop_sent(scene: Scene, member: Member) -> None:
    grant = scene.connect(member)
    page = scene.provider.fetch(grant.access, CYCLE, scene.everything(datetime.now(UTC)))
    for record in page.records:
        assert json.loads(record.body)["user_id"] == member.user_id
        assert record.body == json.dumps(
            json.loads(record.body), ensure_ascii=False, separators=(",", ":")
        )


def test_asking_by_id_brings_what_the_list_has(scene: Scene, member: Member) -> None:
    access = scene.connect(member).access
    found = scene.read(access, Span(HISTORY_START, datetime.now(UTC)))

    for resource in (CYCLE, RECOVERY, SLEEP, WORKOUT):
        for record in found[resource][:30]:
            assert scene.provider.fetch_one(access, resource, record.id).records == (record,)


def test_a_night_leads_to_its_cycle_and_its_recovery(scene: Scene, member: Member) -> None:
    access = scene.connect(member).access
    found = scene.read(access, Span(HISTORY_START, datetime.now(UTC)))
    nights = [record for record in found[SLEEP] if record.kin]
    assert len(nights) >= 50
    recoveries = {record.id: record for record in found[RECOVERY]}

    assert {kin for night in nights for kin in night.kin if kin[0] == RECOVERY} >= {
        (RECOVERY, name) for name in recoveries
    }
    assert all(
        recoveries[name].alias == night.id
        for night in nights
        for resource, name in night.kin
        if resource == RECOVERY and name in recoveries
    )


@pytest.mark.parametrize("kind", get_args(Resource))
def test_what_was_deleted_is_not_there(scene: Scene, member: Member, kind: Resource) -> None:
    access = scene.connect(member).access
    resource = ResourceName(kind)
    gone = scene.read(access, Span(HISTORY_START, datetime.now(UTC)))[resource][3]

    scene.simulator.changes.delete(member.user_id, kind, gone.id)

    with pytest.raises(NotThere):
        scene.provider.fetch_one(access, resource, gone.id)


class TestGrants:
    def test_a_code_is_worth_a_grant_with_all_that_was_asked_for(
        self, scene: Scene, member: Member
    ) -> None:
        grant = scene.connect(member)
        assert grant.refresh is not None
        assert grant.lifetime == timedelta(hours=1)
        assert scene.provider.missing_scopes(grant.scopes) == []

    def test_a_code_is_good_once(self, scene: Scene, member: Member) -> None:
        code = scene.code(member)
        scene.provider.redeem(code)
        with pytest.raises(GrantDead):
            scene.provider.redeem(code)

    def test_what_was_not_granted_is_missing(self, scene: Scene, member: Member) -> None:
        grant = scene.connect(member, scope="offline read:sleep")
        assert "read:cycles" in scene.provider.missing_scopes(grant.scopes)
        assert "read:sleep" not in scene.provider.missing_scopes(grant.scopes)

    def test_without_offline_there_is_no_refresh_token(self, scene: Scene, member: Member) -> None:
        assert scene.connect(member, scope="read:sleep").refresh is None

    def test_renewing_ends_both_old_tokens(self, scene: Scene, member: Member) -> None:
        old = scene.connect(member)
        assert old.refresh is not None
        new = scene.provider.renew(old.refresh)

        assert scene.provider.fetch(new.access, PROFILE, None).records
        assert new.scopes == old.scopes
        with pytest.raises(TokenRejected):
            scene.provider.fetch(old.access, PROFILE, None)
        with pytest.raises(GrantDead):
            scene.provider.renew(old.refresh)

    def test_an_expired_token_is_refused_and_can_be_renewed(
        self, scene: Scene, member: Member
    ) -> None:
        grant = scene.connect(member)
        assert grant.refresh is not None
        scene.simulator.expire_tokens(member.user_id)
        for resource in scene.provider.resources:
            question = None
            if resource.shape is Shape.COLLECTION:
                question = scene.everything(datetime.now(UTC))
            with pytest.raises(TokenRejected):
                scene.provider.fetch(grant.access, resource.name, question)

        renewed = scene.provider.renew(grant.refresh)
        assert scene.provider.fetch(renewed.access, PROFILE, None).records

    def test_a_revoked_grant_is_dead(self, scene: Scene, member: Member) -> None:
        grant = scene.connect(member)
        assert grant.refresh is not None
        scene.simulator.revoke_tokens(member.user_id)
        with pytest.raises(TokenRejected):
            scene.provider.fetch(grant.access, PROFILE, None)
        with pytest.raises(GrantDead):
            scene.provider.renew(grant.refresh)

    def test_what_was_given_back_is_gone(self, scene: Scene, member: Member) -> None:
        grant = scene.connect(member)
        assert grant.refresh is not None

        scene.provider.revoke(grant.access)

        with pytest.raises(TokenRejected):
            scene.provider.revoke(grant.access)
        with pytest.raises(GrantDead):
            scene.provider.renew(grant.refresh)

    def test_a_wrong_secret_says_nothing_about_the_grant(self) -> None:
        with a_scene({"WHOOP_CLIENT_SECRET": "another"}) as scene:
            member = scene.simulator.world.add_member(days=1)
            with pytest.raises(Rejected):
                scene.connect(member)
            with pytest.raises(Rejected):
                scene.provider.renew(Secret("whatever"))

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            pytest.param({"status": 500}, Unavailable, id="500"),
            pytest.param({"status": 503, "body": "<html>"}, Unavailable, id="503"),
            pytest.param({"status": 429}, RateLimited, id="429"),
            pytest.param({"status": 400}, Unavailable, id="400 without a word"),
            pytest.param({"status": 403, "body": "error code: 1010"}, Unavailable, id="edge"),
            pytest.param({"status": 400, "body": '{"error":["x"]}'}, Unavailable, id="odd error"),
            pytest.param({"status": 400, "body": '{"error":"x"}'}, Rejected, id="another word"),
            pytest.param({"broken": True}, Unavailable, id="broken"),
            pytest.param({"cut": True}, Unavailable, id="cut"),
        ],
    )
    def test_an_outage_of_the_token_endpoint_ends_no_grant(
        self, scene: Scene, member: Member, fault: dict[str, Any], error: type[ProviderError]
    ) -> None:
        grant = scene.connect(member)
        assert grant.refresh is not None
        scene.simulator.add_fault(Fault("/token$", times=1, **fault))
        with pytest.raises(ProviderError) as caught:
            scene.provider.renew(grant.refresh)
        assert type(caught.value) is error


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            pytest.param({"status": 400}, Rejected, id="400"),
            pytest.param({"status": 401}, TokenRejected, id="401"),
            pytest.param({"status": 404}, NotThere, id="404"),
            pytest.param({"status": 408}, Unavailable, id="408"),
            pytest.param({"status": 429}, RateLimited, id="429"),
            pytest.param({"status": 500}, Unavailable, id="500"),
            pytest.param({"status": 502}, Unavailable, id="502"),
            pytest.param({"status": 200, "body": "<html>"}, Unavailable, id="200 in HTML"),
            pytest.param({"status": 200, "body": ""}, Unavailable, id="200 with nothing"),
            pytest.param({"status": 204}, Unavailable, id="204"),
            pytest.param(
                {"status": 302, "headers": {"Location": "/control/health"}},
                Unavailable,
                id="redirect",
            ),
            pytest.param(
                {"status": 403, "body": '{"error":"deactivated_user"}'},
                AccountDeactivated,
                id="deactivated",
            ),
            pytest.param({"status": 403, "body": '{"error":"x"}'}, ScopeMissing, id="scope"),
            pytest.param({"status": 403, "body": "error code: 1010"}, Unavailable, id="edge"),
            pytest.param({"broken": True}, Unavailable, id="broken"),
            pytest.param({"cut": True}, Unavailable, id="cut"),
        ],
    )
    def test_a_fault_is_the_error_that_says_what_to_do(
        self, scene: Scene, member: Member, fault: dict[str, Any], error: type[ProviderError]
    ) -> None:
        grant = scene.connect(member)
        question = scene.everything(datetime.now(UTC))
        scene.simulator.add_fault(Fault("/v2/", times=2, **fault))

        for resource, asked in ((CYCLE, question), (PROFILE, None)):
            with pytest.raises(ProviderError) as caught:
                scene.provider.fetch(grant.access, resource, asked)
            assert type(caught.value) is error
        assert scene.provider.fetch(grant.access, CYCLE, question).records

    def test_a_rate_limit_says_until_when(self) -> None:
        with a_scene(per_minute=2, windows="sliding") as scene:
            grant = scene.connect(scene.simulator.world.add_member(days=1))
            for _ in range(2):
                scene.provider.fetch(grant.access, PROFILE, None)
            asked_at = datetime.now(UTC)
            with pytest.raises(RateLimited) as caught:
                scene.provider.fetch(grant.access, PROFILE, None)

            assert timedelta() < caught.value.retry_at - asked_at <= timedelta(seconds=65)
            scene.simulator.advance(61)
            assert scene.provider.fetch(grant.access, PROFILE, None).records

    def test_a_day_that_is_used_up_is_waited_for(self) -> None:
        with a_scene(per_day=1, windows="sliding") as scene:
            grant = scene.connect(scene.simulator.world.add_member(days=1))
            scene.provider.fetch(grant.access, PROFILE, None)
            with pytest.raises(RateLimited) as caught:
                scene.provider.fetch(grant.access, PROFILE, None)

            wait = caught.value.retry_at - datetime.now(UTC)
            assert timedelta(hours=23) < wait <= timedelta(hours=24)

    @pytest.mark.parametrize("stale", [Cursor("made-up"), Cursor("ñ&limit=10"), Cursor("")])
    def test_a_cursor_of_nobodys_is_refused(
        self, scene: Scene, member: Member, stale: Cursor
    ) -> None:
        grant = scene.connect(member)
        span = Span(HISTORY_START, datetime.now(UTC))
        with pytest.raises(CursorRefused):
            scene.provider.fetch(grant.access, CYCLE, Question(span, stale))

    def test_a_cursor_belongs_to_its_question(self, scene: Scene, member: Member) -> None:
        grant = scene.connect(member)
        question = scene.everything(datetime.now(UTC))
        cursor = scene.provider.fetch(grant.access, CYCLE, question).cursor
        assert cursor is not None
        other = Question(Span(question.span.start, question.span.end - timedelta(days=1)), cursor)
        with pytest.raises(CursorRefused):
            scene.provider.fetch(grant.access, CYCLE, other)

    def test_only_the_question_with_the_cursor_is_refused(
        self, scene: Scene, member: Member
    ) -> None:
        grant = scene.connect(member)
        scene.simulator.add_fault(Fault("/v2/", refuse_cursor=True))
        pages = scene.walk(grant.access, CYCLE, Span(HISTORY_START, datetime.now(UTC)))
        assert len(next(pages).records) == 25
        with pytest.raises(CursorRefused):
            next(pages)

    def test_a_cursor_that_is_repeated_is_handed_on_as_it_is(
        self, scene: Scene, member: Member
    ) -> None:
        # Going round in circles is the walk's to notice.
        grant = scene.connect(member)
        scene.simulator.add_fault(Fault("/v2/", repeat_cursor=True))
        pages = scene.walk(grant.access, CYCLE, Span(HISTORY_START, datetime.now(UTC)))
        first, second = next(pages), next(pages)
        assert first.cursor is not None
        assert second.cursor == first.cursor

    def test_a_measurement_that_nobody_gave_is_not_there(self, scene: Scene) -> None:
        member = scene.simulator.world.add_member(days=1, collections={"body_measurement": 0})
        grant = scene.connect(member)
        with pytest.raises(NotThere):
            scene.provider.fetch(grant.access, BODY, None)

    @pytest.mark.parametrize(("status", "error"), [(401, TokenRejected), (403, Unavailable)])
    def test_an_answer_without_a_word_about_scopes_ends_nothing(
        self, status: int, error: type[ProviderError]
    ) -> None:
        # WHOOP does not say how it answers; who asks looks at the granted scopes first.
        with a_scene(missing_scope_status=status) as scene:
            member = scene.simulator.world.add_member(days=1)
            grant = scene.connect(member, scope="offline read:profile")
            with pytest.raises(Unavailable) as caught:
                scene.provider.fetch(grant.access, WORKOUT, scene.everything(datetime.now(UTC)))
            assert type(caught.value) is error
            assert scene.provider.fetch(grant.access, PROFILE, None).records
