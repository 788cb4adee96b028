"""Every version of every record that ever went out whole in an answer."""

from collections.abc import Iterable
from dataclasses import dataclass

from dev.simulator.members import RESOURCES, Document, digest

#: A record as it went out: its resource, its id (a recovery's is its cycle's), and itself.
Version = tuple[str, str, Document]


@dataclass(frozen=True, slots=True)
class _Known:
    by_digest: dict[str, Document]
    #: Documents do not change, so one that was seen need not be hashed again.
    by_identity: set[int]


class Served:
    """What was served, by member, resource and id, in the order of first being served."""

    def __init__(self) -> None:
        """Begin with nothing served."""
        self._known: dict[tuple[int, str, str], _Known] = {}

    def add(self, user_id: int, versions: Iterable[Version]) -> None:
        """Take in what an answer had in it."""
        for resource, identity, document in versions:
            known = self._known.setdefault((user_id, resource, identity), _Known({}, set()))
            if id(document) in known.by_identity:
                continue
            if known.by_digest.setdefault(digest(document), document) is document:
                # It is kept alive here, so that its identity stays its own.
                known.by_identity.add(id(document))

    def of(self, user_id: int) -> dict[str, dict[str, list[Document]]]:
        """Give every version that a member's app was ever given, by resource and id."""
        told: dict[str, dict[str, list[Document]]] = {
            resource: {} for resource in (*RESOURCES, "profile", "body_measurement")
        }
        for (owner, resource, identity), known in self._known.items():
            if owner == user_id:
                told[resource][identity] = list(known.by_digest.values())
        return told
