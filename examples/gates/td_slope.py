"""The slope of the TD error says how often to train; nothing says when."""

from typing import Annotated

import numpy as np
from numba import njit
from pydantic import Field

from mec_rllib.gates.average import MovingAverage
from mec_rllib.gates.base import Gate, GateView, State
from mec_rllib.gates.value import HalfLife, Least, Most, TDRate
from mec_rllib.sim.jobs import Bools

Gain = Annotated[float, Field(ge=0, le=100, description="exponent of a change of the TD error")]


class TDSlope(Gate):
    """Trains with a probability that the slope of the smoothed TD error raises or lowers.

    After the idea of cost-aware continual learning (Lahmer, Mason, Chiariotti, Zanella); the rule
    itself is reconstructed. D is the average of |TD error|. From slot to slot the probability is
    multiplied by (D now / D before) ^ `gain`: a TD error that doubles raises it 2 ^ `gain` times,
    however long that takes. Of what it is above `least`, half goes in `half_life` slots, so a flat
    TD error ends at `least`. It stays within `least` and `most`, and at `most`
    until D is an average over 1 / `td_rate` slots.

    Args:
        num_servers: N.
        gain: exponent of the change of D.
        least: probability at least.
        most: probability at most, and at first.
        half_life: slots per server in which half of the excess over `least` goes.
        td_rate: rate of D.
    """

    needs_td = True

    def __init__(
        self,
        num_servers: int,
        gain: Gain = 4.0,
        least: Least = 0.002,
        most: Most = 0.04,
        half_life: HalfLife = 7500,
        td_rate: TDRate = 5e-4,
    ):
        super().__init__(num_servers)
        self.gain, self.least, self.most = gain, least, most
        self._kept = 0.5 ** (1.0 / half_life)  # of the excess, per slot
        self._td_error = MovingAverage(num_servers, td_rate)
        self._chance = np.full(num_servers, most)

    def wants(self, view: GateView) -> Bools:
        """(N,) drawn."""
        before = self._td_error.value.copy()
        self._td_error.add(np.abs(view.td_error))
        _follow(
            *(self._chance, before, self._td_error.value, self._td_error.is_full),
            *(self.gain, self._kept, self.least, self.most),
        )
        return view.rng.random(self.num_servers) < self._chance

    def get_state(self) -> State:
        """The average and the probability."""
        return {"chance": self._chance.copy(), "td_error": self._td_error.get_state()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self._chance = state["chance"].copy()
        self._td_error.set_state(state["td_error"])

    def metrics(self) -> dict[str, float]:
        """The probability, mean over the servers."""
        return {"chance": float(self._chance.mean())}


@njit(cache=True)
def _follow(chance, before, now, is_full, gain, kept, least, most):
    for i in range(len(chance)):
        if is_full[i] and before[i] > 0:
            chance[i] = least + (chance[i] - least) * kept
            chance[i] = min(max(chance[i] * (now[i] / before[i]) ** gain, least), most)
