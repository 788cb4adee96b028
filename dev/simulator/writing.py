"""Write WHOOP's records of what a member has lived: every look that each will ever have."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from dev.simulator.days import DAY, HOUR, MINUTE, Day, Effort, Nap
from dev.simulator.members import Document, Gone, Record, Revision
from dev.simulator.moments import to_millis, written
from dev.simulator.scores import Body, Scorer, corrected, float32, unscored

#: Nothing changes for somebody who starts to read a new world and is done within this time.
QUIET = timedelta(hours=1)

_SECOND = timedelta(seconds=1)
#: WHOOP promised v1 ids and sport ids until here only.
_V1_ENDS = datetime(2025, 9, 1, tzinfo=UTC)

#: What WHOOP calls them, with its v1 number and whether the way there is measured.
_SPORTS = (
    ("running", 0, True),
    ("cycling", 1, True),
    ("weightlifting", 45, False),
    ("functional-fitness", 48, False),
    ("mountain-biking", 57, True),
    ("weightlifting_msk", 123, False),
    ("hot_tub", 0, False),
    ("activity", -1, False),
)


@dataclass(frozen=True, slots=True)
class Author:
    """Whose records these are, and when their past ended."""

    user_id: int
    index: int
    body: Body
    now: datetime


class Writer:
    """Writes one member's records.  Every throw of the dice happens in a fixed order."""

    def __init__(self, rng: Random, author: Author) -> None:
        """Write as ``author``."""
        self._rng = rng
        self._user_id = author.user_id
        self._index = author.index
        self._now = author.now
        self._body = author.body
        self._score = Scorer(rng, author.body)
        self._v1_id = 1_000_000_000 + author.index * 100_000

    # Cycles

    def cycle(self, day: Day, *, strap_off: bool) -> Record:
        """Write the cycle of a day that was over, or under way, before ``now``."""
        rng = self._rng
        created = to_millis(day.wake + rng.uniform(2, 12) * MINUTE)
        unscorable = strap_off or (rng.random() < 0.02 and day.may_be_odd)
        document = self._new_cycle(day, created, is_open=day.until is None)
        strain = rng.uniform(4, 19)
        steps = rng.randint(1_500, 19_000)
        score = self._score.cycle(strain)
        self._score.optional(document, "step_count", steps, odds=0.3 if day.until else 0.8)

        if day.until:
            # Closed once the next night is over and understood.
            updated = to_millis(day.until + rng.uniform(9.0, 9.15) * HOUR)
            updated = min(updated, self._now)
            changes = [(updated, strain)]
        else:
            # The day goes on: strain only ever rises until the next bedtime.
            updated = to_millis(created + (self._now - created) * rng.uniform(0.5, 0.95))
            rises = [self._now + hours * HOUR for hours in (2, 4, 6)]
            changes = [
                (updated, strain),
                *((at, strain + 0.5 * n) for n, at in enumerate(rises, 1)),
            ]
        return self._risen(day, document, score, changes, unscorable=unscorable)

    def opening(self, day: Day, *, strap_off: bool) -> Record:
        """Write the cycle of a day to come, as far as its own bedtime."""
        rng = self._rng
        created = to_millis(day.wake + rng.uniform(2, 12) * MINUTE)
        unscorable = strap_off or (rng.random() < 0.02 and day.may_be_odd)
        document = self._new_cycle(day, created, is_open=True)
        strain = rng.uniform(4, 18)
        score = self._score.cycle(strain)
        self._score.optional(document, "step_count", rng.randint(1_500, 19_000), odds=0.8)
        changes = [
            (created + hours * HOUR, strain * share)
            for hours, share in ((0, 0.2), (4, 0.5), (8, 0.8), (12, 1.0))
        ]
        return self._risen(day, document, score, changes, unscorable=unscorable)

    def closing(self, record: Record, *, end: datetime, at: datetime) -> Record:
        """Give a cycle its end and its final score; what was still to rise no longer does."""
        share = self._rng.random()
        so_far = tuple(revision for revision in record.revisions if revision.at < at)
        last = so_far[-1] if so_far else None
        if last is None or isinstance(last, Gone):
            return record
        document = last.document | {"end": written(end), "updated_at": written(at)}
        if score := document.get("score"):
            final = float32(min(21.0, score["strain"] + share))
            document["score"] = score | {"strain": final}
        return Record(record.id, (*so_far, Revision(at, last.start, end, document)))

    def _new_cycle(self, day: Day, created: datetime, *, is_open: bool) -> Document:
        document: Document = {
            "id": day.cycle_id,
            "user_id": self._user_id,
            "created_at": written(created),
            "updated_at": "",
            "start": written(day.bed),
            "end": written(day.until) if day.until else None,
            "timezone_offset": _offset(day.offset),
            "score_state": "SCORED",
        }
        if is_open and self._index % 2:
            del document["end"]
        return document

    def _risen(
        self,
        day: Day,
        document: Document,
        score: Document,
        changes: list[tuple[datetime, float]],
        *,
        unscorable: bool,
    ) -> Record:
        revisions: list[Revision] = []
        for at, risen in changes:
            shown = document | {"updated_at": written(at)}
            if unscorable:
                shown["score_state"] = "UNSCORABLE"
                unscored(shown, self._rng.random())
            else:
                shown["score"] = score | {"strain": float32(risen)}
            revisions.append(Revision(at, day.bed, day.until, shown))
        return Record(str(day.cycle_id), tuple(revisions))

    # Nights

    def night(self, day: Day) -> tuple[Record, Record]:
        """Write a night's sleep, and the recovery that it makes."""
        rng = self._rng
        created = to_millis(day.wake + rng.uniform(2, 12) * MINUTE)
        scored = to_millis(created + rng.uniform(5, 240) * _SECOND)
        roll = rng.random()
        waits = rng.uniform(2, 5) * HOUR
        revised = self._later(scored + rng.uniform(1, 4) * DAY)

        sleep = self._sleep(day.bed, day.wake, day, created)
        sleep_id = sleep["id"]
        recovery: Document = {
            "cycle_id": day.cycle_id,
            "sleep_id": sleep_id,
            "user_id": self._user_id,
            "created_at": written(created + _SECOND),
            "updated_at": "",
            "score_state": "SCORED",
        }
        slept = self._score.sleep(day.bed, day.wake, is_new=day.is_new)
        rested = self._score.recovery(is_new=day.is_new)
        unscored_form = rng.random()

        # What becomes of it: (from when, state, how many points the score was corrected by)
        if day.scored_late:
            story = [
                (scored, "PENDING_SCORE", 0.0),
                (max(self._now, scored) + waits, "SCORED", 0.0),
            ]
        elif day.may_be_odd and roll < 0.04:
            story = [(scored, "UNSCORABLE", 0.0)]
        elif roll > 0.92:
            story = [(scored, "SCORED", 0.0), (revised, "SCORED", rng.uniform(-4, 4))]
        else:
            story = [(scored, "SCORED", 0.0)]

        sleeps: list[Revision] = []
        recoveries: list[Revision] = []
        for moment, state, points in story:
            at = to_millis(moment)
            for document, score, moved, revisions in (
                (sleep, slept, "sleep_performance_percentage", sleeps),
                (recovery, rested, "recovery_score", recoveries),
            ):
                shown = document | {"updated_at": written(at), "score_state": state}
                if state == "SCORED":
                    shown["score"] = corrected(score, moved, points)
                else:
                    unscored(shown, unscored_form)
                revisions.append(Revision(at, day.bed, day.wake, shown))
        return Record(sleep_id, tuple(sleeps)), Record(str(day.cycle_id), tuple(recoveries))

    def nap(self, nap: Nap) -> Record:
        """Write a nap, which makes no recovery."""
        rng = self._rng
        created = to_millis(nap.end + rng.uniform(2, 12) * MINUTE)
        at = to_millis(created + rng.uniform(5, 240) * _SECOND)
        document = self._sleep(nap.start, nap.end, nap.day, created) | {
            "nap": True,
            "updated_at": written(at),
        }
        document["score"] = self._score.sleep(nap.start, nap.end, is_new=rng.random() < 0.5)
        return Record(document["id"], (Revision(at, nap.start, nap.end, document),))

    def _sleep(self, start: datetime, end: datetime, day: Day, created: datetime) -> Document:
        document: Document = {
            "id": self._uuid(),
            "cycle_id": day.cycle_id,
            "user_id": self._user_id,
            "created_at": written(created),
            "updated_at": "",
            "start": written(start),
            "end": written(end),
            "timezone_offset": _offset(day.offset),
            "nap": False,
            "score_state": "SCORED",
        }
        self._v1(document, start)
        return document

    def _later(self, moment: datetime) -> datetime:
        """Keep the first hour still: what would happen in it happens an hour later."""
        moment = to_millis(moment)
        return moment + QUIET if self._now < moment <= self._now + QUIET else moment

    # Workouts

    def workout(self, effort: Effort) -> Record:
        """Write a workout, told of at once or, now and then, many hours late."""
        rng = self._rng
        sport, sport_id, has_way = rng.choice(_SPORTS)
        synced = rng.uniform(4, 20) * HOUR if rng.random() < 0.08 else timedelta()
        created = effort.end + rng.uniform(1, 15) * MINUTE + synced
        if effort.end <= self._now:
            # Everything that happened has been told by now.
            created = min(created, self._now - 10 * MINUTE)
        created = to_millis(created)
        at = to_millis(created + rng.uniform(2, 300) * _SECOND)
        document: Document = {
            "id": self._uuid(),
            "user_id": self._user_id,
            "created_at": written(created),
            "updated_at": written(at),
            "start": written(effort.start),
            "end": written(effort.end),
            "timezone_offset": _offset(effort.day.offset),
            "sport_name": sport,
            "score_state": "SCORED",
        }
        if self._v1(document, effort.start):
            document["sport_id"] = sport_id
        score = self._score.workout(effort.start, effort.end, has_way=has_way)
        looks = [(at, document)]
        if rng.random() < 0.03:
            document["score_state"] = "UNSCORABLE"
            unscored(document, rng.random())
        elif effort.scored_late:
            later = to_millis(at + rng.uniform(2, 5) * HOUR)
            looks.append((later, document | {"updated_at": written(later), "score": score}))
            document["score_state"] = "PENDING_SCORE"
        else:
            document["score"] = score
        return Record(
            document["id"],
            tuple(Revision(moment, effort.start, effort.end, look) for moment, look in looks),
        )

    # What documents have in common

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def _v1(self, document: Document, start: datetime) -> bool:
        """Give a record its number from v1, if it is of that time."""
        if start >= _V1_ENDS and not self._body.keeps_v1_ids:
            return False
        self._v1_id += 1
        document["v1_id"] = self._v1_id
        return True


def _offset(offset: timedelta) -> str:
    """Write an offset as ``+hh:mm`` or ``-hh:mm``, and none at all as Z."""
    minutes = offset // MINUTE
    if minutes == 0:
        return "Z"
    return f"{'+' if minutes > 0 else '-'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
