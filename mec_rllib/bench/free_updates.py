"""Updates on a schedule, unpaid: what other libraries do, as a gate; its rule numba compiles."""

from typing import NamedTuple

from mec_rllib.gates.base import GateView
from mec_rllib.gates.rule import NO_REASON, RuleGate, reason, wants
from mec_rllib.sim.jobs import Bools


class Due(NamedTuple):
    """Rule: so many slots of all servers together are over once more."""

    slots: int


@wants.of(Due)
def _due(rule: Due, view: GateView, wanted: Bools) -> None:
    n = len(wanted)
    due = (view.slot + 1) * n // rule.slots - view.slot * n // rule.slots
    for i in range(n):
        wanted[i] = i < due


@reason.of(Due)
def _no_reason(rule: Due, i: int) -> int:
    return NO_REASON


class EverySlots(RuleGate):
    """Grants an update for free after every `slots` slots of all servers together."""

    occupies = False

    def __init__(self, num_servers: int, slots: int):
        super().__init__(num_servers)
        self.rule = Due(slots)
