"""Everybody there is in one simulator."""

import random
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from dev.simulator import people
from dev.simulator.members import Member
from dev.simulator.moments import Clock


class UnknownMember(KeyError):
    """Nobody here has this user id."""


class World:
    """Everybody there is.  The same seed and the same clock make the same world."""

    def __init__(self, *, seed: int, clock: Clock, lock: AbstractContextManager[Any]) -> None:
        """Begin with nobody; ``lock`` guards whoever is added later."""
        self._seed = seed
        self._clock = clock
        self._lock = lock
        self.members: dict[int, Member] = {}

    def now(self) -> datetime:
        """Tell the world's time."""
        return self._clock.now()

    def add_member(self, days: int = 30, collections: Mapping[str, int] | None = None) -> Member:
        """Add somebody with ``days`` days behind them, the newest of them still running.

        ``collections`` forces the exact number of records of a resource, reaching further
        back or crowding the days as it must; ``{"body_measurement": 0}`` leaves that
        measurement out.  A record may then name a sleep or cycle that is not there.
        """
        with self._lock:
            index = len(self.members)
            # Made-up people want dice that fall the same way again, not secrecy.
            rng = random.Random(f"{self._seed}:{index}")  # noqa: S311 - see the line above
            member = people.somebody(
                rng,
                seed=self._seed,
                index=index,
                now=self.now(),
                days=days,
                counts=collections or {},
            )
            self.members[member.user_id] = member
            return member

    def member(self, user_id: int) -> Member:
        """Give the member, or raise ``UnknownMember``."""
        try:
            return self.members[user_id]
        except KeyError:
            raise UnknownMember(user_id) from None
