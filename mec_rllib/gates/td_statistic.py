"""How unreliable the agent's Q-values are, measured on the stream that it experiences."""

from typing import NamedTuple

import numpy as np

from mec_rllib.compiled import compiled
from mec_rllib.gates.base import State
from mec_rllib.sim.jobs import Floats


class TDAverages(NamedTuple):
    """EMA(|TD error|) and EMA(|V|) of each server, and their ratio."""

    td_error: Floats  # (N,)
    value: Floats  # (N,)
    ratio: Floats  # (N,) infinite without data
    rate: float


class TDStatistic:
    """EMA(|TD error|) / EMA(|V|) per server, on the stream the agent experiences (reconstructed).

    Both averages start at 0; their common bias cancels in the ratio. Without data it is infinite:
    an agent that has seen nothing is not to be trusted.
    """

    def __init__(self, num_servers: int, rate: float = 5e-4):
        nothing = np.zeros(num_servers)
        self.averages = TDAverages(nothing, nothing.copy(), np.full(num_servers, np.inf), rate)

    @property
    def ratio(self) -> Floats:
        """(N,) the statistic."""
        return self.averages.ratio

    def update(self, td_error: Floats, value: Floats) -> None:
        """Adds one TD error (NaN: there is none yet) and one value V = max_a Q, (N,) each."""
        average(self.averages, td_error, value)

    def get_state(self) -> State:
        """Both averages and their ratio."""
        return {
            name: getattr(self.averages, name).copy() for name in ("td_error", "value", "ratio")
        }

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        for name, values in state.items():
            getattr(self.averages, name)[:] = values


@compiled
def average(averages, td_error, value):
    """Adds one TD error (NaN: there is none yet) and one value per server, (N,) each."""
    for i in range(len(value)):
        if not np.isnan(td_error[i]):
            rate = averages.rate
            averages.td_error[i] += rate * (abs(td_error[i]) - averages.td_error[i])
            averages.value[i] += rate * (abs(value[i]) - averages.value[i])
            if averages.value[i] > 0:
                averages.ratio[i] = averages.td_error[i] / averages.value[i]
