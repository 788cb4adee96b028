"""A stateful look-alike of WHOOP's API, to develop and test against.

WHOOP has no sandbox.  This one is built from WHOOP's published documents alone and imports
nothing of ours, so that it is an independent witness: consent page, rotating tokens, every data
endpoint, both rate limits, signed webhooks, a world of made-up members whose records change as
they live on, and a control API to break things and to read the truth.
``python -m dev.simulator`` runs it by itself.
"""

from dev.simulator.app import Simulator
from dev.simulator.blast import Load
from dev.simulator.changes import UnknownRecord
from dev.simulator.faults import Fault
from dev.simulator.living import NO_CHANGES, Rates
from dev.simulator.members import Member
from dev.simulator.mishaps import Mishaps
from dev.simulator.options import Options
from dev.simulator.server import serve
from dev.simulator.world import UnknownMember

__all__ = [
    "NO_CHANGES",
    "Fault",
    "Load",
    "Member",
    "Mishaps",
    "Options",
    "Rates",
    "Simulator",
    "UnknownMember",
    "UnknownRecord",
    "serve",
]
