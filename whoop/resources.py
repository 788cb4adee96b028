"""What WHOOP has, as one table of facts.

https://developer.whoop.com/api : paths, scopes and fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.core.model import ResourceName
from shared.provider import Resource, Shape

CYCLE: Final = ResourceName("cycle")
RECOVERY: Final = ResourceName("recovery")
SLEEP: Final = ResourceName("sleep")
WORKOUT: Final = ResourceName("workout")
PROFILE: Final = ResourceName("profile")


@dataclass(frozen=True, slots=True)
class Facts:
    """One kind of record: where it is, and which of its fields we rely on."""

    name: ResourceName
    path: str
    scope: str
    #: The field that names a record; None for a document, of which there is one.
    id_field: str | None = None
    #: The field that says when it happened.
    start_field: str | None = None
    #: The field whose local date is the record's day, and by how many hours it is off.
    day_field: str | None = None
    day_shift_hours: int = 0
    #: A second name, unique among the records of this kind, and what it is the id of.
    alias_field: str | None = None
    alias_of: ResourceName | None = None
    #: Where one record is asked for; ``{}`` stands for its id.
    one_path: str | None = None
    #: The field that is missing or null as long as the record goes on.
    end_field: str | None = None


FACTS: Final = {
    facts.name: facts
    for facts in (
        # A cycle begins when the member falls asleep and belongs to the day of waking up.
        Facts(
            CYCLE,
            "/v2/cycle",
            "read:cycles",
            "id",
            "start",
            "start",
            12,
            one_path="/v2/cycle/{}",
            end_field="end",
        ),
        # A recovery has no id, no start and no time zone of its own.  It is made when its sleep
        # has ended, so everything that a walk has yet to list began before this one was made.
        Facts(
            RECOVERY,
            "/v2/recovery",
            "read:recovery",
            "cycle_id",
            "created_at",
            "created_at",
            alias_field="sleep_id",
            alias_of=SLEEP,
            one_path="/v2/cycle/{}/recovery",
        ),
        Facts(
            SLEEP,
            "/v2/activity/sleep",
            "read:sleep",
            "id",
            "start",
            "end",
            one_path="/v2/activity/sleep/{}",
        ),
        Facts(
            WORKOUT,
            "/v2/activity/workout",
            "read:workout",
            "id",
            "start",
            "start",
            one_path="/v2/activity/workout/{}",
        ),
        Facts(PROFILE, "/v2/user/profile/basic", "read:profile"),
        Facts(
            ResourceName("body_measurement"),
            "/v2/user/measurement/body",
            "read:body_measurement",
        ),
    )
}

SCOPES: Final = tuple(facts.scope for facts in FACTS.values())
RESOURCES: Final = tuple(
    Resource(
        facts.name,
        Shape.COLLECTION if facts.id_field else Shape.DOCUMENT,
        facts.scope,
        facts.alias_of,
    )
    for facts in FACTS.values()
)
