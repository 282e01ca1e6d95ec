"""The rules of the accelerator, as schedulers of `LlmServing-v0`."""

from typing import Any

import numpy as np

from mec_rllib.envs.llm.slot import (
    ADMIT_BATCH,
    ADMIT_INTERACTIVE,
    BATCH,
    INTERACTIVE,
    NOTHING,
    PREEMPT,
    free_seats,
)
from mec_rllib.sim.jobs import Ints


class InteractiveFirst:
    """Admits the interactive request in front, else the batch request.

    Args:
        reserve: seats that batch requests must leave free.
        preempt: whether a batch sequence makes way where no seat is free.
    """

    def __init__(self, reserve: int = 0, preempt: bool = False):
        self._reserve, self._preempt = reserve, preempt

    def select(self, batch: Any) -> Ints:
        """(N,) actions for a `GymBatch` of such environments, each allowed by its mask."""
        return np.array(
            [self._action(env.unwrapped, batch.mask[i]) for i, env in enumerate(batch.envs)]
        )

    def _action(self, env: Any, mask: Any) -> int:
        waiting = env.queues.waiting
        wanted = NOTHING
        if waiting[INTERACTIVE]:
            wanted = ADMIT_INTERACTIVE if mask[ADMIT_INTERACTIVE] else PREEMPT
            if wanted == PREEMPT and not self._preempt:
                wanted = NOTHING
        elif waiting[BATCH] and free_seats(env.seats) > self._reserve:
            wanted = ADMIT_BATCH
        return wanted if mask[wanted] else NOTHING
