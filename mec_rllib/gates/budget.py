"""psi under a budget: how often to train is given, when is where it costs least."""

from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from mec_rllib.compiled import compiled
from mec_rllib.gates.average import Average, add, no_average
from mec_rllib.gates.base import State
from mec_rllib.gates.periodic import LongestWait
from mec_rllib.gates.psi_gate import (
    TIE,
    Fallback,
    MinHistory,
    PsiGate,
    Recent,
    Refresh,
    TDCutoff,
    Trust,
    Window,
    decide,
    no_psi,
    quantile,
    remember,
    why,
    why_of,
)
from mec_rllib.gates.rule import RuleGate, reason, wants
from mec_rllib.gates.value import DriftRate, HalfLife
from mec_rllib.sim.jobs import Floats, Ints

FirstShare = Annotated[float, Field(gt=0, le=1, description="tokens per slot at slot 0")]
LastShare = Annotated[
    float,
    Field(gt=0, le=1, description="tokens per slot in the end; equal to first_share: a fixed rate"),
]
Burst = Annotated[int, Field(ge=1, le=10**9, description="tokens that can be saved")]
DriftBoost = Annotated[
    float,
    Field(
        ge=0,
        le=1e6,
        description="added, in units of last_share, at twice the usual TD statistic",
    ),
]


class BudgetRule(NamedTuple):
    """Rule: there is a token, and psi is high enough to spend it."""

    trust: Trust
    known: Recent
    usual_td: Average  # slow, of the TD statistic
    slots: Ints  # (1,) played so far
    share: Floats  # (N,) tokens that a slot brings
    tokens: Floats  # (N,)
    last_since: Ints  # (N,) slots since training, a slot ago
    refresh: int  # slots between two looks at the quantile
    first_share: float
    last_share: float
    half_life: float
    burst: float
    drift_boost: float


@wants.of(BudgetRule)
def _worth_a_token(rule, view, wanted):
    if rule.drift_boost > 0.0:
        add(rule.usual_td, view.td_statistic)
    remember(rule.known, view.psi, view.can_ask)
    if rule.slots[0] % rule.refresh == 0:
        _look(rule, view)
    rule.slots[0] += 1
    for i in range(len(wanted)):
        _settle(rule, view.since_training[i], i)
        wanted[i] = rule.tokens[i] >= 1.0
    decide(rule.trust, view, wanted)
    for i in range(len(wanted)):
        wanted[i] = (wanted[i] or why(rule.trust, i) == TIE) and rule.tokens[i] >= 1.0


reason.of(BudgetRule)(why_of)


@compiled
def _look(rule, view):
    """The share of now; where there is enough history, the threshold that spends it."""
    left = 0.5 ** (view.slot / rule.half_life)
    for i in range(len(rule.share)):
        share = rule.last_share + (rule.first_share - rule.last_share) * left
        if rule.drift_boost > 0.0:
            usual = rule.usual_td.value[i]
            above = view.td_statistic[i] / usual - 1.0 if usual > 0.0 else 0.0
            share += rule.drift_boost * rule.last_share * min(max(above, 0.0), 1.0)
        rule.share[i] = min(share, 1.0)
        known = min(rule.known.seen[i], rule.known.recent.shape[1])
        if known >= rule.known.min_history:
            ordered = rule.known.ordered[i, :known]
            rule.trust.threshold[i] = quantile(ordered, known, 1.0 - rule.share[i])


@compiled
def _settle(rule, since_training, i):
    """A training job that has completed takes its token; the slot brings its share."""
    if since_training <= rule.last_since[i]:
        rule.tokens[i] -= 1.0
    rule.last_since[i] = since_training
    rule.tokens[i] = min(rule.tokens[i] + rule.share[i], rule.burst)


class Budget(RuleGate, PsiGate):
    """Trains where psi is high for what it may spend: tokens, one per training job (ours).

    Every slot brings `share` tokens: `first_share` at first, `last_share` in the end, half of the
    way every `half_life` slots. At most `burst` are saved. A training job takes one when it
    completes; without one there is no training. A psi fires at or above the 1 - share quantile of
    the last `window` values: the less there is to spend, the choosier it gets. Ties fire as long
    as there are tokens, so a constant psi spends exactly what comes in. While Q is unreliable, or
    there is no threshold yet, the fallback spends: "pts" each token at once, the others where the
    server is idle or empty.

    With `drift_boost` the share rises with the TD statistic: where it is above its own slow
    average by a part x (at most 1, its double), `drift_boost` * x times `last_share` is added. A
    change of the world is not detected, its effect on the agent is followed.

    Args:
        num_servers: N.
        first_share: tokens per slot at slot 0.
        last_share: tokens per slot in the end; equal to `first_share`: a fixed rate.
        half_life: slots per server in which half of the difference goes.
        burst: tokens that can be saved.
        drift_boost: how much a rising TD statistic adds; 0: nothing.
        drift_rate: rate of the slow average that the TD statistic is compared to.
        window: recent values of psi kept, per server.
        min_history: values needed before there is a threshold.
        refresh: slots between two looks at the quantile.
        td_cutoff: highest TD statistic at which psi is trusted.
        fallback: where it trains while Q is unreliable: "pts" (anywhere), "idle", "server_empty".
        longest_wait: the fallback trains anyway after this many slots; None: it waits for ever.
    """

    derived: ClassVar[tuple[str, ...]] = ("ordered",)

    def __init__(
        self,
        num_servers: int,
        first_share: FirstShare = 0.04,
        last_share: LastShare = 0.002,
        half_life: HalfLife = 7500,
        burst: Burst = 10,
        drift_boost: DriftBoost = 0.0,
        drift_rate: DriftRate = 5e-5,
        window: Window = 1000,
        min_history: MinHistory = 500,
        refresh: Refresh = 10,
        td_cutoff: TDCutoff = 0.1,
        fallback: Fallback = "pts",
        longest_wait: LongestWait = None,
    ):
        PsiGate.__init__(self, num_servers, td_cutoff, fallback, longest_wait)
        if last_share > first_share:
            raise ValueError(f"last_share is {last_share}, more than first_share {first_share}")
        self.rule = BudgetRule(
            trust=self.trust,
            known=no_psi(num_servers, window, min_history),
            usual_td=no_average(num_servers, drift_rate),
            slots=np.zeros(1, np.int64),
            share=np.full(num_servers, first_share),
            tokens=np.zeros(num_servers),
            last_since=np.full(num_servers, -1),
            refresh=refresh,
            first_share=float(first_share),
            last_share=float(last_share),
            half_life=float(half_life),
            burst=float(burst),
            drift_boost=float(drift_boost),
        )

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        super().set_state(state)
        self.rule.known.ordered[:] = np.sort(self.rule.known.recent, axis=1)

    def metrics(self) -> dict[str, float]:
        """As every psi gate, and means over the servers: tokens, and what a slot brings."""
        own = {"tokens": self.rule.tokens, "token_rate": self.rule.share}
        return super().metrics() | {name: float(values.mean()) for name, values in own.items()}
