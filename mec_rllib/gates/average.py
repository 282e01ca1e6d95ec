"""An average that moves on: of what a gate follows over time."""

from typing import NamedTuple

import numpy as np

from mec_rllib.compiled import compiled
from mec_rllib.gates.base import State
from mec_rllib.sim.jobs import Bools, Floats, Ints


class Average(NamedTuple):
    """An exponential average per server that starts as the plain mean of what it has seen."""

    value: Floats  # (N,) 0 before there is any
    averaged: Ints  # (N,) values so far
    rate: float  # weight of the newest value, once 1 / rate values are seen


def no_average(num_servers: int, rate: float) -> Average:
    """Nothing seen yet."""
    return Average(np.zeros(num_servers), np.zeros(num_servers, np.int64), rate)


@compiled
def add(average, values):
    """Adds one value per server (N,); what is not finite is left out."""
    for i in range(len(values)):
        if np.isfinite(values[i]):
            average.averaged[i] += 1
            newest = max(average.rate, 1.0 / average.averaged[i])
            average.value[i] += newest * (values[i] - average.value[i])


class MovingAverage:
    """An `Average` for gates that are Python.

    Args:
        num_servers: N.
        rate: weight of the newest value, once 1 / rate values are seen.
    """

    def __init__(self, num_servers: int, rate: float):
        self._average = no_average(num_servers, rate)

    @property
    def value(self) -> Floats:
        """(N,) 0 before there is any."""
        return self._average.value

    @property
    def is_full(self) -> Bools:
        """(N,) whether the newest value counts for `rate`, and no longer for more."""
        return self._average.averaged * self._average.rate >= 1.0

    def add(self, values: Floats) -> None:
        """Adds one value per server (N,); what is not finite is left out."""
        add(self._average, values)

    def get_state(self) -> State:
        """The average and how many values it is made of."""
        return {"value": self.value.copy(), "averaged": self._average.averaged.copy()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self._average.value[:] = state["value"]
        self._average.averaged[:] = state["averaged"]
