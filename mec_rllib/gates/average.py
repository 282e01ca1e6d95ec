"""An average that moves on: of what a gate follows over time."""

import numpy as np
from numba import njit

from mec_rllib.gates.base import State
from mec_rllib.sim.jobs import Bools, Floats, Ints


class MovingAverage:
    """An exponential average per server that starts as the plain mean of what it has seen.

    Args:
        num_servers: N.
        rate: weight of the newest value, once 1 / rate values are seen.
    """

    def __init__(self, num_servers: int, rate: float):
        self.rate = rate
        self.value: Floats = np.zeros(num_servers)  # (N,) 0 before there is any
        self._seen: Ints = np.zeros(num_servers, np.int64)

    @property
    def is_full(self) -> Bools:
        """(N,) whether the newest value counts for `rate`, and no longer for more."""
        return self._seen * self.rate >= 1.0

    def add(self, values: Floats) -> None:
        """Adds one value per server (N,); what is not finite is left out."""
        _add(self.value, self._seen, self.rate, values)

    def get_state(self) -> State:
        """The average and how many values it is made of."""
        return {"value": self.value.copy(), "seen": self._seen.copy()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self.value, self._seen = state["value"].copy(), state["seen"].copy()


@njit(cache=True)
def _add(average, seen, rate, values):
    for i in range(len(values)):
        if np.isfinite(values[i]):
            seen[i] += 1
            average[i] += max(rate, 1.0 / seen[i]) * (values[i] - average[i])
