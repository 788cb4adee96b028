"""Everybody there is in one simulator, and how their lives go on."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any

from dev.simulator import people
from dev.simulator.agenda import Agenda, Happening
from dev.simulator.members import Document, Member, Record, Resource, Revision
from dev.simulator.moments import Clock, to_millis, written
from dev.simulator.people import Life
from dev.simulator.scores import Scorer


class UnknownMember(KeyError):
    """Nobody here has this user id."""


class World:
    """Everybody there is.  The same seed and the same clock make the same world."""

    def __init__(
        self,
        *,
        seed: int,
        clock: Clock,
        lock: AbstractContextManager[Any],
        tell: Callable[[list[Happening]], None] = lambda _: None,
    ) -> None:
        """Begin with nobody; ``lock`` guards every change, and ``tell`` hears of each."""
        self._seed = seed
        self._clock = clock
        self._lock = lock
        self._tell = tell
        self._agenda = Agenda()
        self._lives: dict[int, Life] = {}
        self._scorers: dict[int, Scorer] = {}
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
            index, now = len(self.members), self.now()
            life = people.somebody(
                self.dice(f"{index}"),
                seed=self._seed,
                index=index,
                now=now,
                days=days,
                counts=collections or {},
            )
            member = life.member
            self._lives[member.user_id] = life
            # Apart from the life's own: that one goes the same way whatever changes there are.
            self._scorers[member.user_id] = Scorer(self.dice(f"{index}:again"), life.body)
            self._agenda.expect(member, now)
            self.members[member.user_id] = member
            return member

    def member(self, user_id: int) -> Member:
        """Give the member, or raise ``UnknownMember``."""
        try:
            return self.members[user_id]
        except KeyError:
            raise UnknownMember(user_id) from None

    def joined(self, user_id: int) -> datetime:
        """Say when a member was added: their days are counted from there."""
        return self._lives[user_id].since

    def scorer(self, member: Member) -> Scorer:
        """Give who scores a member's records when they change."""
        return self._scorers[member.user_id]

    def dice(self, purpose: str) -> random.Random:
        """Make dice that fall the same way in every world of this seed."""
        # Made-up people want dice that fall the same way again, not secrecy.
        return random.Random(f"{self._seed}:{purpose}")  # noqa: S311 - see the line above

    # Changes

    @contextmanager
    def changing(self) -> Iterator[datetime]:
        """Hold everything else up during a change; then tell of it.  Gives the time."""
        with self._lock:
            yield to_millis(self.now())
            self.announce()

    def keep(
        self, member: Member, resource: Resource, record: Record, *, after: datetime | None = None
    ) -> None:
        """Take in a record; WHOOP's webhooks tell only of what it is to be like ``after``."""
        self._agenda.note(member, resource, record, after=after)
        member.keep(resource, record)

    def announce(self) -> None:
        """Tell of what has happened by itself until now."""
        with self._lock:
            if happenings := self._agenda.due(self.now()):
                self._tell(happenings)

    # Life

    def go_on(self, user_id: int, *, pending: float = 0.0) -> None:
        """Let a member live until now; ``pending`` is the share of what is scored hours late."""
        with self.changing() as now:
            member = self.member(user_id)

            def keep(resource: Resource, record: Record) -> None:
                self.keep(member, resource, record)

            self._lives[user_id].go_on(now, keep, pending=pending)

    def travel(self, user_id: int, hours: float) -> None:
        """Let a member be so many hours east of Greenwich, from the next night on."""
        if not -12 <= hours <= 14 or hours * 4 % 1:
            raise ValueError("an offset is -12 to 14 hours, in quarters")
        with self._lock:
            self.member(user_id)
            self._lives[user_id].travel(timedelta(hours=hours))

    def add_workout(self, user_id: int, *, minutes: int = 30, announce: bool = True) -> Document:
        """Let a member have trained until five minutes ago, and give the scored record."""
        return self._add("workout", user_id, minutes, announce=announce)

    def add_nap(self, user_id: int, *, minutes: int = 30, announce: bool = True) -> Document:
        """Let a member have slept until five minutes ago, and give the scored record."""
        return self._add("sleep", user_id, minutes, announce=announce)

    def _add(self, resource: Resource, user_id: int, minutes: int, *, announce: bool) -> Document:
        if not 1 <= minutes <= 600:
            raise ValueError("minutes is between 1 and 600")
        with self.changing() as now:
            member, life = self.member(user_id), self._lives[user_id]
            end = now - timedelta(minutes=5)
            start = end - timedelta(minutes=minutes)
            written_down = life.nap(start, end) if resource == "sleep" else life.workout(start, end)
            document = written_down | {
                "created_at": written(now),
                "updated_at": written(now),
                "score_state": "SCORED",
                "score": written_down.get("score") or self.scorer(member).of(resource, start, end),
            }
            record = Record(document["id"], (Revision(now, start, end, document),))
            self.keep(member, resource, record, after=None if announce else now)
            return document
