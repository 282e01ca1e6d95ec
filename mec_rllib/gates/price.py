"""A price: psi may cost as much as training is worth."""

from mec_rllib.gates.base import GateView, State
from mec_rllib.gates.periodic import LongestWait
from mec_rllib.gates.psi_gate import Fallback, PsiGate, TDCutoff
from mec_rllib.gates.value import (
    DriftRate,
    Least,
    Most,
    Overhead,
    TDRate,
    TrainingValue,
    Worth,
)
from mec_rllib.sim.jobs import Bools


class Price(PsiGate):
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
        super().__init__(num_servers, td_cutoff, fallback, longest_wait)
        self._value = TrainingValue(
            num_servers,
            overhead=overhead,
            worth=worth,
            least=least,
            most=most,
            td_rate=td_rate,
            drift_rate=drift_rate,
        )

    def get_state(self) -> State:
        """The threshold and what it is made of."""
        return super().get_state() | {"value": self._value.get_state()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        super().set_state(state)
        self._value.set_state(state["value"])

    def metrics(self) -> dict[str, float]:
        """As every psi gate, and the share that the TD error asks for, mean over the servers."""
        return super().metrics() | {"wanted_share": float(self._value.share.mean())}

    def _renew_threshold(self, view: GateView) -> None:
        self.trust.threshold[:] = -self._value.of(view)

    def _is_time(self, view: GateView) -> Bools:
        return self.trust.threshold <= 0.0
