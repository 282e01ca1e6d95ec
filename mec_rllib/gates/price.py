"""A price: psi may cost as much as training is worth."""

from typing import NamedTuple

from mec_rllib.gates.base import GateView
from mec_rllib.gates.periodic import LongestWait
from mec_rllib.gates.psi_gate import TIE, Fallback, PsiGate, TDCutoff, Trust, decide, why, why_of
from mec_rllib.gates.rule import RuleGate, reason, wants
from mec_rllib.gates.value import (
    DriftRate,
    Least,
    Most,
    Overhead,
    TDRate,
    TrainingValue,
    Value,
    Worth,
    worth_of_training,
)
from mec_rllib.sim.jobs import Bools


class PriceRule(NamedTuple):
    """Rule: training costs no more than it is worth."""

    trust: Trust
    known: Value


@wants.of(PriceRule)
def _worth_it(rule: PriceRule, view: GateView, wanted: Bools) -> None:
    threshold = rule.trust.threshold
    worth_of_training(rule.known, view.td_error, view.since_training, threshold)
    for i in range(len(wanted)):
        threshold[i] = -threshold[i]
        wanted[i] = threshold[i] <= 0.0
    decide(rule.trust, view, wanted)
    for i in range(len(wanted)):
        wanted[i] |= why(rule.trust, i) == TIE


reason.of(PriceRule)(why_of)


class Price(RuleGate, PsiGate):
    """Trains where psi >= -kappa, kappa being what training is worth (ours; see `TrainingValue`).

    Right after a training job kappa is negative; it grows with the experience since then, the
    faster the further the TD error is above its floor. At first only a slot in which training
    costs nothing will do, later a dear one. While Q is unreliable psi is taken for 0, and the
    fallback says where: "pts" anywhere, the others where the server is idle or empty.

    Args:
        num_servers: N.
        overhead: what a training job must be worth beyond what users pay for it, in Q.
        worth: share of slots to train in while the TD error is at twice its floor.
        least: share at least, where training costs nothing.
        most: share at most.
        td_rate: rate of the average of |TD error|.
        drift_rate: rate at which its floor rises.
        td_cutoff: highest TD statistic at which psi is trusted.
        fallback: where it trains while Q is unreliable: "pts" (anywhere), "idle", "server_empty".
        longest_wait: the fallback trains anyway after this many slots; None: it waits for ever.
    """

    def __init__(
        self,
        num_servers: int,
        overhead: Overhead = 0.1,
        worth: Worth = 0.02,
        least: Least = 0.002,
        most: Most = 0.04,
        td_rate: TDRate = 5e-4,
        drift_rate: DriftRate = 5e-5,
        td_cutoff: TDCutoff = 0.1,
        fallback: Fallback = "pts",
        longest_wait: LongestWait = None,
    ):
        PsiGate.__init__(self, num_servers, td_cutoff, fallback, longest_wait)
        self._value = TrainingValue(
            num_servers,
            overhead=overhead,
            worth=worth,
            least=least,
            most=most,
            td_rate=td_rate,
            drift_rate=drift_rate,
        )
        self.rule = PriceRule(self.trust, self._value.known)

    def metrics(self) -> dict[str, float]:
        """As every psi gate, and the share that the TD error asks for, mean over the servers."""
        return super().metrics() | {"wanted_share": float(self._value.share.mean())}
