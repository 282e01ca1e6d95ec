"""The rule of the polling server, as a scheduler of `Polling-v0`."""

from typing import Any

import numpy as np

from mec_rllib.envs.poll.slot import GO, STAY
from mec_rllib.sim.jobs import Ints


class Exhaustive:
    """Serves a queue until it is empty, then goes where waiting costs most."""

    def select(self, batch: Any) -> Ints:
        """(N,) actions for a `GymBatch` of such environments, each allowed by its mask."""
        return np.where(batch.mask[:, STAY], STAY, GO)
