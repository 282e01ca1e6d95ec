"""`costless`: within a budget, it trains where psi says that training costs nothing at all."""

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from mec_rllib.gates.base import GateView
from mec_rllib.gates.periodic import slots_of
from mec_rllib.gates.rule import NO_REASON, RuleGate, reason, wants
from mec_rllib.sim.jobs import Bools, Floats, Ints

TOLERANCE = 1e-5  # of psi: two rows of one matrix product may differ in their last bits

PerSlot = Annotated[
    float, Field(gt=0, le=1, description="training jobs per slot that it may have had, on average")
]
Ahead = Annotated[
    int, Field(ge=0, le=10**9, description="training jobs that it may be ahead of its rate")
]
Apart = Annotated[int, Field(ge=1, le=10**9, description="slots between two training jobs")]
Patience = Annotated[
    Annotated[int, Field(ge=1, le=10**12)] | None,
    Field(description="after this many slots the best psi since then will do; null = never"),
]
Forced = Annotated[
    Annotated[int, Field(ge=1, le=10**12)] | None,
    Field(description="trains anyway after this many slots; null = never"),
]


class CostlessRule(NamedTuple):
    """Rule: training costs nothing now, and its jobs are within the budget."""

    per_slot: float
    ahead: int
    apart: int  # slots
    longest_wait: int  # slots
    forced_after: int  # slots
    jobs: Ints  # (N,) completed so far
    since: Ints  # (N,) slots since the last one, when it was asked last
    best: Floats  # (N,) highest psi since then


@wants.of(CostlessRule)
def _costs_nothing(rule: CostlessRule, view: GateView, wanted: Bools) -> None:
    for i in range(len(wanted)):
        since = view.since_training[i]
        if since <= rule.since[i]:
            rule.jobs[i] += 1
            rule.best[i] = -np.inf
        rule.since[i] = since
        is_due = since >= rule.apart and rule.jobs[i] < rule.ahead + rule.per_slot * view.slot
        costs_nothing = abs(view.psi[i]) <= TOLERANCE
        will_do = since >= rule.longest_wait and view.psi[i] >= rule.best[i]
        rule.best[i] = max(rule.best[i], view.psi[i])
        wanted[i] = is_due and (costs_nothing or will_do or since >= rule.forced_after)


@reason.of(CostlessRule)
def _no_reason(rule: CostlessRule, i: int) -> int:
    return NO_REASON


class Costless(RuleGate):
    """Trains where psi is 0: the units are free, and the agent would start nothing in this slot.

    A training job of one slot takes then what nobody wants. (On afterstates that is exact; a
    network over rows hardly ever says 0.) Within that it spends a budget: `ahead` jobs at once,
    for early learning pays most, then `per_slot` (reconstructed, after an independent
    prototype of this project).

    Args:
        num_servers: N.
        per_slot: training jobs per slot.
        ahead: training jobs that may be ahead of it.
        apart: slots between two training jobs, at least.
        longest_wait: slots of looking on, after which the first psi that is at least the best one
            since the last job will do (as in the secretary problem); None: never.
        forced_after: trains anyway after this many slots; None: never forced.
    """

    needs_psi = True

    def __init__(
        self,
        num_servers: int,
        per_slot: PerSlot = 0.014,
        ahead: Ahead = 60,
        apart: Apart = 10,
        longest_wait: Patience = 200,
        forced_after: Forced = 2000,
    ):
        super().__init__(num_servers)
        nothing = np.zeros(num_servers, np.int64)
        unseen = np.full(num_servers, -np.inf)
        waits = slots_of(longest_wait), slots_of(forced_after)
        self.rule = CostlessRule(per_slot, ahead, apart, *waits, nothing, nothing - 1, unseen)
