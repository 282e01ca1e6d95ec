"""Replay for the deployable agent: of an observation only what an update looks at."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.sim.jobs import Ints

Blocks = NDArray[np.float32]


class AfterstateReplay(PrioritizedReplay):
    """Keeps the afterstate of the action taken, and those of the actions allowed next.

    An observation holds a block for each of the M + 1 actions, most of them zero: two in full
    take 37 KB at M = 50 and three resource kinds, what is kept of them about 4 KB. What is drawn
    has its full size again; blocks that no update looks at are zero.
    """

    def __init__(self, capacity: int, obs_size: int, num_actions: int, *args: Any, **kwargs: Any):
        super().__init__(capacity, 0, num_actions, *args, **kwargs)
        self._shape = (num_actions, obs_size // num_actions)
        self._taken = np.empty((capacity, self._shape[1]), np.float32)
        self._next: list[Blocks] = [self._taken[:0]] * capacity  # allowed actions only

    def add(self, new: Transitions) -> None:
        """Appends transitions, oldest first; the oldest ones kept so far make room."""
        new = Transitions._make(column[-self.capacity :] for column in new)
        rows = (self._added + np.arange(len(new.actions))) % self.capacity
        obs, next_obs = (o.reshape(-1, *self._shape) for o in (new.obs, new.next_obs))
        self._taken[rows] = obs[np.arange(len(rows)), new.actions]
        for row, blocks, allowed in zip(rows, next_obs, new.next_mask, strict=True):
            self._next[row] = blocks[allowed]
        super().add(new._replace(obs=new.obs[:, :0], next_obs=new.next_obs[:, :0]))

    def sample(self, batch: int) -> tuple[Transitions, Ints, NDArray[np.float32]]:
        """Draws B transitions: (transitions, their rows (B,), importance weights (B,))."""
        drawn, rows, weights = super().sample(batch)
        obs = np.zeros((batch, *self._shape), np.float32)
        next_obs = np.zeros_like(obs)
        obs[np.arange(batch), drawn.actions] = self._taken[rows]
        next_obs[drawn.next_mask] = np.concatenate([self._next[row] for row in rows])
        flat = drawn._replace(obs=obs.reshape(batch, -1), next_obs=next_obs.reshape(batch, -1))
        return flat, rows, weights

    def get_state(self) -> dict[str, Any]:
        """All rows, priorities and the generator."""
        n = len(self)
        kept = {"taken": self._taken[:n].copy(), "next": np.concatenate([*self._next[: max(n, 1)]])}
        return super().get_state() | kept

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` of a replay of the same shape returned."""
        super().set_state(state)
        n = len(self)
        self._taken[:n] = state["taken"]
        ends = np.cumsum(self._rows.next_mask[:n].sum(axis=1))
        self._next[:n] = np.split(state["next"].copy(), ends)[:n]  # what follows the last is empty
