"""What training now would be worth, as far as the TD error tells."""

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from mec_rllib.compiled import compiled
from mec_rllib.gates.average import Average, add_one, no_average
from mec_rllib.gates.base import GateView, State
from mec_rllib.gates.rule import arrays_of
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


class Value(NamedTuple):
    """What `TrainingValue` knows."""

    share: Floats  # (N,) of the slots, to train in
    floor: Floats  # (N,) that the TD error has come down to
    td_error: Average  # D
    overhead: float
    worth: float
    least: float
    most: float
    drift_rate: float


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
        overhead: float = 0.1,
        worth: float = 0.02,
        least: float = 0.002,
        most: float = 0.04,
        td_rate: float = 5e-4,
        drift_rate: float = 5e-5,
    ):
        if least > most:
            raise ValueError(f"least is {least}, more than most {most}")
        self.known = Value(
            share=np.full(num_servers, float(most)),
            floor=np.zeros(num_servers),
            td_error=no_average(num_servers, td_rate),
            overhead=float(overhead),
            worth=float(worth),
            least=float(least),
            most=float(most),
            drift_rate=float(drift_rate),
        )

    @property
    def share(self) -> Floats:
        """(N,) of the slots, to train in."""
        return self.known.share

    def of(self, view: GateView) -> Floats:
        """(N,) kappa; to be asked once per slot."""
        kappa = np.empty(len(self.share))
        worth_of_training(self.known, view.td_error, view.since_training, kappa)
        return kappa

    def get_state(self) -> State:
        """The average, its floor, and the share."""
        return {name: array.copy() for name, array in arrays_of(self.known)}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        for name, array in arrays_of(self.known):
            array[...] = state[name]


@compiled
def worth_of_training(known, td_error, since_training, kappa):
    """Follows the TD error, reads the share off, and writes (N,) `kappa`."""
    for i in range(len(kappa)):
        kappa[i] = worth_of_one(known, td_error[i], since_training[i], i)


@compiled
def worth_of_one(known, td_error, since_training, i):
    """kappa of server i."""
    add_one(known.td_error, abs(td_error), i)
    now = known.td_error.value[i]
    # The floor follows the TD error down at once and up slowly.
    floor = known.floor[i] + known.drift_rate * (now - known.floor[i])
    known.floor[i] = min(floor, now)
    if known.floor[i] > 0:
        share = known.worth * (now / known.floor[i] - 1.0)
        known.share[i] = min(max(share, known.least), known.most)
    return known.overhead * (known.share[i] * since_training - 1.0)
