"""How unreliable the agent's Q-values are, measured on the stream that it experiences."""

import numpy as np
from numba import njit

from mec_rllib.gates.base import State
from mec_rllib.sim.jobs import Floats


class TDStatistic:
    """EMA(|TD error|) / EMA(|V|) per server, on the stream the agent experiences (reconstructed).

    Both averages start at 0; their common bias cancels in the ratio. Without data it is infinite:
    an agent that has seen nothing is not to be trusted.
    """

    def __init__(self, num_servers: int, rate: float = 5e-4):
        self.rate = rate
        self._td_error = np.zeros(num_servers)
        self._value = np.zeros(num_servers)
        self.ratio: Floats = np.full(num_servers, np.inf)  # (N,) the statistic

    def update(self, td_error: Floats, value: Floats) -> None:
        """Adds one TD error (NaN: there is none yet) and one value V = max_a Q, (N,) each."""
        _average(self._td_error, self._value, self.ratio, self.rate, td_error, value)

    def get_state(self) -> State:
        """Both averages and their ratio."""
        averages = {"td_error": self._td_error, "value": self._value, "ratio": self.ratio}
        return {name: values.copy() for name, values in averages.items()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self._td_error, self._value = state["td_error"].copy(), state["value"].copy()
        self.ratio = state["ratio"].copy()


@njit(cache=True)
def _average(td_error_average, value_average, ratio, rate, td_error, value):
    for i in range(len(value)):
        if not np.isnan(td_error[i]):
            td_error_average[i] += rate * (abs(td_error[i]) - td_error_average[i])
            value_average[i] += rate * (abs(value[i]) - value_average[i])
            if value_average[i] > 0:
                ratio[i] = td_error_average[i] / value_average[i]
