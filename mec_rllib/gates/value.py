"""What training now would be worth, as far as the TD error tells."""

from typing import Annotated

import numpy as np
from pydantic import Field

from mec_rllib.compiled import compiled
from mec_rllib.gates.average import MovingAverage
from mec_rllib.gates.base import GateView, State
from mec_rllib.sim.jobs import Floats

# Keys of gates that hold psi against a value of training: their bounds and meaning.
Overhead = Annotated[
    float,
    Field(gt=0, le=1e9, description="worth that training must have beyond its cost to users, in Q"),
]
Worth = Annotated[
    float,
    Field(ge=0, le=1e6, description="share to train in while the TD error is twice its floor"),
]
Least = Annotated[float, Field(gt=0, le=1, description="least share of slots to train in")]
Most = Annotated[float, Field(gt=0, le=1, description="largest share of slots to train in")]
TDRate = Annotated[float, Field(gt=0, le=1, description="rate of the averages of TD errors")]
HalfLife = Annotated[
    int,
    Field(ge=1, le=10**12, description="slots per server in which half of the excess goes"),
]
DriftRate = Annotated[
    float,
    Field(gt=0, le=1, description="rate of the slow average that TD errors are compared to"),
]


class TrainingValue:
    """kappa: what a training job now may cost, in Q (ours).

    Experience that has not been trained on yet adds to it, and it starts below zero, at
    -`overhead`, after each training job, so that nothing trains twice on the same:

        kappa = overhead * (share * since_training - 1)

    Where training costs nothing, this is one training job per 1 / `share` slots. How much a slot
    of experience is worth is measured: D, the average of |TD error|, against its floor, the level
    that it has come down to. share = `worth` * (D / floor - 1), within `least` and `most`. The
    floor starts at 0 (nothing is known to be as good as it gets) and rises slowly towards D, but
    never above it: after a change of the world D rises at once, the floor follows with delay.

    Because of `least` kappa grows without bound while nothing trains: it cannot starve.

    Args:
        num_servers: N.
        overhead: what a training job must be worth beyond what users pay for it, in Q.
        worth: share of slots to train in while D is at twice its floor.
        least: share at least.
        most: share at most.
        td_rate: rate of D.
        drift_rate: rate at which the floor rises.
    """

    def __init__(
        self,
        num_servers: int,
        overhead: float,
        worth: float,
        least: float,
        most: float,
        td_rate: float,
        drift_rate: float,
    ):
        if least > most:
            raise ValueError(f"least is {least}, more than most {most}")
        self.overhead, self.worth, self.least, self.most = overhead, worth, least, most
        self.drift_rate = drift_rate
        self.share: Floats = np.full(num_servers, most)  # (N,)
        self._td_error = MovingAverage(num_servers, td_rate)
        self._floor = np.zeros(num_servers)

    def of(self, view: GateView) -> Floats:
        """(N,) kappa; to be asked once per slot."""
        self._td_error.add(np.abs(view.td_error))
        _measure(
            self.share,
            self._floor,
            self._td_error.value,
            rate=self.drift_rate,
            worth=self.worth,
            least=self.least,
            most=self.most,
        )
        return self.overhead * (self.share * view.since_training - 1.0)

    def get_state(self) -> State:
        """The average, its floor, and the share."""
        own = {"share": self.share.copy(), "floor": self._floor.copy()}
        return own | {"td_error": self._td_error.get_state()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self.share, self._floor = state["share"].copy(), state["floor"].copy()
        self._td_error.set_state(state["td_error"])


@compiled
def _measure(share, floor, td_error, rate, worth, least, most):
    """The floor follows the TD error down at once and up slowly; the share is read off."""
    for i in range(len(share)):
        floor[i] = min(floor[i] + rate * (td_error[i] - floor[i]), td_error[i])
        if floor[i] > 0:
            share[i] = min(max(worth * (td_error[i] / floor[i] - 1.0), least), most)
