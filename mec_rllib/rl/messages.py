"""What the parts of the loop hand to one another: experience, figures, results of updates."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mec_rllib.sim.arrivals import Arrivals
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.totals import Sums


class Transitions(NamedTuple):
    """B transitions; where an episode ended for good, nothing is bootstrapped (discount 0)."""

    obs: NDArray[np.float32]  # (B, F) as the agent acted on it, training flag included
    actions: Ints  # (B,)
    rewards: NDArray[np.float32]  # (B,)
    next_obs: NDArray[np.float32]  # (B, F) before the gate's next decision
    next_mask: Bools  # (B, M + 1) actions allowed in it
    discounts: Floats  # (B,) of the value of next_obs
    mask: Bools  # (B, M + 1) actions allowed in obs; (B, 0) unless training is on-policy

    def flat(self) -> "Transitions":
        """Columns of shape (slots, N, ...) as (slots * N, ...)."""
        # Spelled out: -1 has no meaning for a column without content.
        return Transitions._make(
            column.reshape(column.shape[0] * column.shape[1], *column.shape[2:]) for column in self
        )


class Fragment(NamedTuple):
    """What one `sample` call brings back: B transitions, slot by slot."""

    transitions: Transitions
    slots: int  # played, all servers together; the last n - 1 of n steps are not complete yet
    credits: Ints  # (J,) training jobs of each kind completed in it, or granted for free
    arrivals: Arrivals | None  # in it, where the learner imagines
    training_slots: list[int]  # slots (per-server clock) in which those training jobs completed


class Report(NamedTuple):
    """Figures of a runner since its last report."""

    totals: Sums
    gate: dict[str, float]
    exploration: dict[str, float]


class UpdateMetrics(NamedTuple):
    """Means over the updates of one call."""

    updates: int
    loss: float
    td_error: float
    q_value: float
