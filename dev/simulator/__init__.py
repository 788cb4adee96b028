"""A stateful look-alike of WHOOP's API, to develop and test against.

WHOOP has no sandbox.  This one is built from WHOOP's published documents alone and imports
nothing of ours, so that it is an independent witness: consent page, rotating tokens, every data
endpoint, both rate limits, a world of made-up members, and a control API to break things and to
read the truth.  ``python -m dev.simulator`` runs it by itself.
"""

from dev.simulator.app import Simulator
from dev.simulator.faults import Fault
from dev.simulator.members import Member
from dev.simulator.options import Options
from dev.simulator.server import serve
from dev.simulator.world import UnknownMember

__all__ = ["Fault", "Member", "Options", "Simulator", "UnknownMember", "serve"]
