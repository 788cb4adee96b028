import base64
from html.parser import HTMLParser

import pytest

from tests.simulator.visitor import (
    CALLBACK,
    CLIENT_ID,
    CLIENT_SECRET,
    SCOPES,
    STATE,
    Visitor,
    Watch,
    a_simulator,
    landed,
)

PROFILE = "/v2/user/profile/basic"


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def visitor(watch: Watch) -> Visitor:
    simulator = a_simulator(watch)
    for _ in range(3):
        simulator.world.add_member(days=2)
    return Visitor(simulator)


@pytest.fixture
def user_id(visitor: Visitor) -> int:
    return next(iter(visitor.simulator.world.members))


class _Inputs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, str | None] = {}
        self.radios: dict[str, bool] = {}
        self.decisions: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        match found.get("type"), found.get("name"):
            case "hidden", str(name):
                self.hidden[name] = found.get("value")
            case "radio", "member":
                self.radios[found.get("value") or ""] = "checked" in found
            case _, "decision":
                self.decisions.append(found.get("value"))


def inputs(html: str) -> _Inputs:
    parser = _Inputs()
    parser.feed(html)
    return parser


def test_the_page_carries_the_request_and_chooses_the_first_member(
    visitor: Visitor, user_id: int
) -> None:
    page = visitor.look()

    form = inputs(page.text)
    assert page.mimetype == "text/html"
    assert form.hidden == visitor.asked()
    assert [name for name, chosen in form.radios.items() if chosen] == [str(user_id)]
    assert len(form.radios) == 3
    assert sorted(map(str, form.decisions)) == ["approve", "deny"]


def test_a_login_hint_chooses_its_member(visitor: Visitor) -> None:
    hinted = list(visitor.simulator.world.members)[1]

    form = inputs(visitor.look(login_hint=str(hinted)).text)

    assert [name for name, chosen in form.radios.items() if chosen] == [str(hinted)]


def test_the_page_escapes_what_it_was_given(visitor: Visitor) -> None:
    hostile = '"><script>alert(1)</script>'

    page = visitor.look(state=hostile).text

    assert "<script>" not in page
    assert inputs(page).hidden["state"] == hostile


def test_approval_returns_a_code_and_the_state(visitor: Visitor, user_id: int) -> None:
    answer = landed(visitor.decide(user_id))

    assert set(answer) == {"code", "state"}
    assert answer["state"] == STATE


def test_denial_returns_access_denied_and_the_state(visitor: Visitor, user_id: int) -> None:
    answer = landed(visitor.decide(user_id, "deny"))

    assert (answer["error"], answer["state"]) == ("access_denied", STATE)
    assert "code" not in answer


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"state": "seven77"}, "invalid_state", id="a short state"),
        pytest.param({"state": None}, "invalid_state", id="no state"),
        pytest.param({"scope": "read:workouts"}, "invalid_scope", id="an unknown scope"),
        pytest.param({"scope": ""}, "invalid_scope", id="no scope"),
        pytest.param({"response_type": "token"}, "unsupported_response_type", id="not a code"),
    ],
)
def test_a_bad_request_goes_back_to_the_app(
    visitor: Visitor, user_id: int, changes: dict[str, str | None], error: str
) -> None:
    assert landed(visitor.look(**changes))["error"] == error
    assert landed(visitor.decide(user_id, **changes))["error"] == error


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"client_id": "another-app"}, id="an unknown app"),
        pytest.param({"redirect_uri": CALLBACK.rstrip("/")}, id="a missing trailing slash"),
        pytest.param({"redirect_uri": "https://evil.example/"}, id="another site"),
        pytest.param({"redirect_uri": None}, id="no way back"),
    ],
)
def test_nobody_is_sent_where_the_app_does_not_live(
    visitor: Visitor, user_id: int, changes: dict[str, str | None]
) -> None:
    for answer in (visitor.look(**changes), visitor.decide(user_id, **changes)):
        assert answer.status_code == 400
        assert "Location" not in answer.headers


def test_a_state_of_eight_characters_is_long_enough(visitor: Visitor) -> None:
    assert visitor.look(state="eight888").status_code == 200


def test_a_stranger_cannot_approve(visitor: Visitor) -> None:
    assert visitor.decide(42).status_code == 400


def test_a_code_buys_tokens_in_whoops_form(visitor: Visitor, user_id: int) -> None:
    answer = visitor.redeem(visitor.code(user_id))

    tokens = answer.get_json()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(tokens) == {"access_token", "expires_in", "refresh_token", "scope", "token_type"}
    assert (tokens["expires_in"], tokens["token_type"]) == (3600, "bearer")
    assert tokens["scope"] == SCOPES


def test_a_token_opens_its_members_profile(visitor: Visitor) -> None:
    for user_id in visitor.simulator.world.members:
        token = visitor.connect(user_id)["access_token"]
        assert visitor.get(PROFILE, token).get_json()["user_id"] == user_id


def test_a_code_works_once_and_its_reuse_ends_the_grant(visitor: Visitor, user_id: int) -> None:
    code = visitor.code(user_id)
    tokens = visitor.redeem(code).get_json()

    again = visitor.redeem(code)

    assert (again.status_code, again.get_json()["error"]) == (400, "invalid_grant")
    assert visitor.get(PROFILE, tokens["access_token"]).status_code == 401


@pytest.mark.parametrize(("age", "status"), [(599, 200), (600, 400)])
def test_a_code_lives_ten_minutes(
    visitor: Visitor, watch: Watch, user_id: int, age: int, status: int
) -> None:
    code = visitor.code(user_id)
    watch.move(age)

    assert visitor.redeem(code).status_code == status


def test_a_code_wants_the_same_way_back_and_survives_another(
    visitor: Visitor, user_id: int
) -> None:
    code = visitor.code(user_id)

    assert visitor.redeem(code, "https://evil.example/").get_json()["error"] == "invalid_grant"
    assert visitor.redeem(code).status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        pytest.param({"client_secret": "wrong"}, 401, "invalid_client", id="a wrong secret"),
        pytest.param({"client_secret": None}, 401, "invalid_client", id="no secret"),
        pytest.param({"client_id": "else"}, 401, "invalid_client", id="another app"),
        pytest.param({"grant_type": None}, 400, "invalid_request", id="no grant type"),
        pytest.param({"grant_type": "password"}, 400, "unsupported_grant_type", id="another type"),
        pytest.param({"code": None}, 400, "invalid_request", id="no code"),
        pytest.param({"redirect_uri": None}, 400, "invalid_request", id="no way back"),
        pytest.param({"code": "made-up"}, 400, "invalid_grant", id="a made-up code"),
    ],
)
def test_the_token_endpoint_says_what_is_wrong(
    visitor: Visitor, user_id: int, form: dict[str, str | None], status: int, error: str
) -> None:
    good: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "code": visitor.code(user_id),
        "redirect_uri": CALLBACK,
    }

    answer = visitor.trade(**(good | form))

    assert (answer.status_code, answer.get_json()["error"]) == (status, error)


def test_credentials_in_the_header_are_refused(visitor: Visitor, user_id: int) -> None:
    basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()

    answer = visitor.trade(
        {"Authorization": f"Basic {basic}"},
        grant_type="authorization_code",
        code=visitor.code(user_id),
        redirect_uri=CALLBACK,
    )

    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")


def test_only_a_form_is_understood(visitor: Visitor) -> None:
    answer = visitor.http.post("/oauth/oauth2/token", json={"grant_type": "refresh_token"})

    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")
    assert visitor.trade(grant_type="refresh_token").get_json()["error"] == "invalid_request"
    assert visitor.http.get("/oauth/oauth2/token").status_code == 405
    assert visitor.http.put("/oauth/oauth2/auth").status_code == 405


def test_a_renewal_rotates_both_tokens_and_ends_the_old_access_token_at_once(
    visitor: Visitor, user_id: int
) -> None:
    old = visitor.connect(user_id)

    new = visitor.renew(old["refresh_token"]).get_json()

    assert new["access_token"] != old["access_token"]
    assert new["refresh_token"] != old["refresh_token"]
    assert new["scope"] == SCOPES
    assert visitor.get(PROFILE, old["access_token"]).status_code == 401
    assert visitor.get(PROFILE, new["access_token"]).status_code == 200


def test_a_spent_refresh_token_ends_the_whole_family(visitor: Visitor, user_id: int) -> None:
    old = visitor.connect(user_id)
    new = visitor.renew(old["refresh_token"]).get_json()

    replay = visitor.renew(old["refresh_token"])

    assert (replay.status_code, replay.get_json()["error"]) == (400, "invalid_grant")
    assert visitor.get(PROFILE, new["access_token"]).status_code == 401
    assert visitor.renew(new["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_where_families_survive_reuse_only_the_spent_token_is_refused(watch: Watch) -> None:
    visitor = Visitor(a_simulator(watch, revoke_family_on_reuse=False))
    old = visitor.connect(visitor.simulator.world.add_member(days=1).user_id)
    new = visitor.renew(old["refresh_token"]).get_json()

    assert visitor.renew(old["refresh_token"]).status_code == 400
    assert visitor.get(PROFILE, new["access_token"]).status_code == 200


def test_without_offline_there_is_no_refresh_token(visitor: Visitor, user_id: int) -> None:
    tokens = visitor.connect(user_id, scope="read:profile")

    assert "refresh_token" not in tokens
    assert tokens["scope"] == "read:profile"


def test_an_access_token_lives_as_long_as_promised(
    visitor: Visitor, watch: Watch, user_id: int
) -> None:
    tokens = visitor.connect(user_id)

    watch.move(tokens["expires_in"] - 1)
    assert visitor.get(PROFILE, tokens["access_token"]).status_code == 200
    watch.move(1)
    assert visitor.get(PROFILE, tokens["access_token"]).status_code == 401
    assert visitor.renew(tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("missing", "paths"),
    [
        ("read:cycles", ["/v2/cycle", "/v2/cycle/{cycle}", "/v2/cycle/{cycle}/sleep"]),
        ("read:recovery", ["/v2/recovery", "/v2/cycle/{cycle}/recovery"]),
        (
            "read:sleep",
            ["/v2/activity/sleep", "/v2/activity/sleep/{sleep}", "/v2/cycle/{cycle}/sleep"],
        ),
        ("read:workout", ["/v2/activity/workout", "/v2/activity/workout/{sleep}"]),
        ("read:profile", [PROFILE]),
        ("read:body_measurement", ["/v2/user/measurement/body"]),
    ],
)
def test_each_path_wants_its_scope(
    visitor: Visitor, user_id: int, missing: str, paths: list[str]
) -> None:
    token = visitor.connect(user_id, scope=SCOPES.replace(missing, ""))["access_token"]
    member = visitor.simulator.world.member(user_id)
    ids = {name: member.records[name][0].id for name in ("cycle", "sleep")}

    refused = [visitor.get(path.format(**ids), token) for path in paths]

    assert [answer.status_code for answer in refused] == [401] * len(paths)
    assert {answer.text for answer in refused} == {"Authorization was not valid"}


def test_a_missing_scope_may_be_answered_with_403(watch: Watch) -> None:
    visitor = Visitor(a_simulator(watch, missing_scope_status=403))
    user_id = visitor.simulator.world.add_member(days=1).user_id
    token = visitor.connect(user_id, scope="read:profile")["access_token"]

    assert visitor.get("/v2/cycle", token).status_code == 403


@pytest.mark.parametrize("token", [None, "", "made-up"])
def test_without_a_good_token_the_answer_is_plain_text(visitor: Visitor, token: str | None) -> None:
    answer = visitor.get(PROFILE, token)

    assert (answer.status_code, answer.text) == (401, "Authorization was not valid")
    assert answer.mimetype == "text/plain"


def test_revoking_ends_every_grant_of_the_member_and_of_nobody_else(visitor: Visitor) -> None:
    mine, theirs, *_ = visitor.simulator.world.members
    phone, laptop, other = visitor.connect(mine), visitor.connect(mine), visitor.connect(theirs)

    answer = visitor.call("DELETE", "/v2/user/access", phone["access_token"])

    assert (answer.status_code, answer.data) == (204, b"")
    for tokens in (phone, laptop):
        assert visitor.get(PROFILE, tokens["access_token"]).status_code == 401
        assert visitor.renew(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert visitor.get(PROFILE, other["access_token"]).status_code == 200


def test_tokens_differ_between_simulators_of_one_seed() -> None:
    # Otherwise a token kept over a restart could open somebody else's account.
    tokens = set()
    for _ in range(2):
        visitor = Visitor(a_simulator())
        tokens.add(visitor.connect(visitor.simulator.world.add_member(1).user_id)["access_token"])

    assert len(tokens) == 2
