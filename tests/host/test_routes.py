"""Which template a path fits, as a table."""

import pytest

from dev.host import routes
from dev.host.routes import Entry, Found, Unknown, WrongMethod

GET, POST = frozenset({"GET"}), frozenset({"POST"})


@pytest.mark.parametrize(
    ("template", "path", "params"),
    [
        ("health", "/health", {}),
        ("health", "/health/", {}),
        ("health", "/HEALTH", {}),
        ("health", "/health//", None),
        ("health", "/", None),
        ("", "/", {}),
        ("oauth/{provider}/callback", "/oauth/Whoop/callback/", {"provider": "Whoop"}),
        ("oauth/{provider}/callback", "/oauth//callback", None),
        ("oauth/{provider}/callback", "/oauth/whoop/callback/more", None),
        ("a/{x}", "/a/caf%C3%A9%20x", {"x": "café x"}),
        ("a/{x}", "/a/b%2Fc", {"x": "b%2Fc"}),
        ("a/{id:int}", "/a/-12", {"id": "-12"}),
        ("a/{id:int}", "/a/12x", None),
        ("a/{id:int}", "/a/2147483648", None),
        ("a/{id:long}", "/a/2147483648", {"id": "2147483648"}),
        ("a/{id:guid}", "/a/0f8fad5b-d9cb-469f-a165-70867728950e", ...),
        ("a/{id:guid}", "/a/nope", None),
        ("a/{on:bool}", "/a/True", {"on": "True"}),
        ("a/{w:alpha}", "/a/a1", None),
        ("a/{id?}", "/a", {}),
        ("a/{id?}", "/a/1", {"id": "1"}),
        ("a/{id:int?}", "/a/x", None),
        ("a/{*rest}", "/a/b/c/", {"rest": "b/c"}),
        ("a/{*rest}", "/a", {}),
    ],
)
def test_a_path_fits_a_template(template: str, path: str, params: object) -> None:
    found = routes.match(routes.parse(template), routes.split(path))

    assert found is not None if params is ... else found == params


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{a}.{b}", "does not understand"),
        ("{a=1}", "does not understand"),
        ("{a:regex(x)}", "does not know the constraint"),
        ("{a?}/b", "only the last segment"),
        ("{*a}/b", "only the last segment"),
    ],
)
def test_a_template_we_cannot_honour_is_refused(template: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        routes.parse(template)


def entry(template: str, methods: frozenset[str]) -> Entry[str]:
    return Entry(routes.parse(template), methods, f"{template} {sorted(methods)}")


def test_literals_come_before_parameters_and_parameters_before_the_rest() -> None:
    entries = [entry(text, GET) for text in ("{*all}", "a/{x}", "a/{x:int}", "a/b")]

    def owner(path: str) -> object:
        return routes.choose(entries, "GET", routes.split(path))

    assert owner("/a/b") == Found("a/b ['GET']", {})
    assert owner("/a/1") == Found("a/{x:int} ['GET']", {"x": "1"})
    assert owner("/a/c") == Found("a/{x} ['GET']", {"x": "c"})
    assert owner("/c") == Found("{*all} ['GET']", {"all": "c"})


def test_two_functions_share_a_route_by_method() -> None:
    entries = [entry("a", GET), entry("a", POST)]

    assert routes.choose(entries, "POST", ["a"]) == Found("a ['POST']", {})
    assert routes.choose(entries, "PUT", ["a"]) == WrongMethod(GET | POST)
    assert routes.choose(entries, "GET", ["b"]) == Unknown()


def test_no_methods_means_any_method() -> None:
    assert isinstance(routes.choose([entry("a", frozenset())], "PATCH", ["a"]), Found)
