"""The timers, as the host sets them off."""

from __future__ import annotations

from typing import Any

import pytest

from dev.host import bindings
from dev.host.functions import TimerTrigger
from dev.simulator import Member
from shared.core.model import StartJob
from shared.core.night import SPREAD
from shared.errors import StorageDown
from tests.functions.world import RESOURCES, Browser, World, app

DAY = 86_400


@pytest.fixture
def member(world: World, ana: Browser) -> Member:
    made = world.simulator.world.add_member(days=60)
    ana.connect(made)
    world.work()
    return made


def set_off(name: str) -> None:
    timer: Any = bindings.timer_request(last=None, due=None)
    app().functions[name].call(timer=timer)


def test_a_night_brings_everybody_up_to_date(world: World, ana: Browser, member: Member) -> None:
    world.clock.move(DAY)
    world.simulator.clear_log()

    set_off("nightly")
    jobs = [job for job, _ in world.queue.deferred]
    assert [type(job) for job in jobs] == [StartJob]
    assert world.simulator.log == []
    world.work()

    asked = [one["path"] for one in world.simulator.log if one["kind"] != "token"]
    assert len(asked) == len(set(asked)) == 4
    assert set(ana.progress().values()) == {"finished"}
    assert ana.status()["resources"][0]["last_sync_at"] >= "2026-11-23T11:30"
    assert set(RESOURCES) == set(ana.progress())


def test_a_night_that_fires_twice_asks_once(world: World, member: Member) -> None:
    world.clock.move(DAY)
    set_off("nightly")
    world.work()
    world.simulator.clear_log()

    set_off("nightly")
    world.work()

    assert world.simulator.log == []


def test_a_night_that_came_to_grief_is_carried_on_by_the_clean_up(
    world: World, member: Member, ana: Browser
) -> None:
    world.clock.move(DAY)
    world.queue.down = True
    with pytest.raises(StorageDown):
        set_off("nightly")
    world.queue.down = False

    set_off("cleanup")

    assert [type(job) for job, _ in world.queue.deferred] == [StartJob]
    assert all(delay < SPREAD for _, delay in world.queue.deferred)
    world.work()
    assert ana.status()["resources"][0]["last_sync_at"] >= "2026-11-23T11:30"


def test_the_clean_up_asks_the_provider_nothing(world: World, member: Member) -> None:
    world.clock.move(DAY)
    world.simulator.clear_log()

    set_off("cleanup")
    world.work()

    assert world.simulator.log == []


def test_no_timer_is_set_off_by_a_host_that_starts() -> None:
    timers = {
        name: function.trigger
        for name, function in app().functions.items()
        if isinstance(function.trigger, TimerTrigger)
    }

    assert {name: timer.schedule.text for name, timer in timers.items()} == {
        "nightly": "0 0 9 * * *",
        "cleanup": "0 20 * * * *",
    }
    assert not any(timer.run_on_startup for timer in timers.values())
