from __future__ import annotations

import pytest

from shared.core.model import Lane, Secret


@pytest.mark.parametrize("lane", list(Lane))
def test_nobody_waits_for_the_bulk_lanes(lane: Lane) -> None:
    assert lane.bulk is (lane in {Lane.NIGHTLY, Lane.BACKFILL})


def test_a_secret_shows_itself_only_on_request() -> None:
    secret = Secret("s3cret")

    assert "s3cret" not in f"{secret} {secret!r} {[secret]} {vars(type(secret))}"
    assert secret.reveal() == "s3cret"


def test_secrets_are_equal_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
