"""A world for each test, which the triggers are put into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functions.world import Browser, World, a_world, app


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with a_world() as made:
        monkeypatch.setattr(app().module, "services", lambda: made.services)
        yield made


@pytest.fixture
def ana(world: World) -> Browser:
    """The browser of a member."""
    return world.browser("ana")
