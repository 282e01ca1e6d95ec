"""Replay for the deployable agent: of an observation only what an update looks at."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.sim.jobs import Ints

Blocks = NDArray[np.float32]


class Afterstates(NamedTuple):
    """Blocks (F + 1 numbers) of the transitions in a replay.

    Those of the actions allowed next lie one after the other in a ring, oldest first: those of a
    transition at first, first + 1, ... modulo the ring's size.
    """

    taken: Blocks  # (capacity, F + 1) of the actions taken
    ring: Blocks  # (size, F + 1)
    first: Ints  # (capacity,) counted from the first block ever


class AfterstateReplay(PrioritizedReplay):
    """Keeps the afterstate of the action taken, and those of the actions allowed next.

    An observation holds a block for each of the M + 1 actions, most of them zero: two in full
    take 37 KB at M = 50 and three resource kinds, what is kept of them about 4 KB. What `sample`
    draws has its full size again; blocks that no update looks at are zero.
    """

    def __init__(self, capacity: int, obs_size: int, num_actions: int, *args: Any, **kwargs: Any):
        super().__init__(capacity, 0, num_actions, *args, **kwargs)
        self._shape = (num_actions, obs_size // num_actions)
        self.afterstates = Afterstates(
            np.empty((capacity, self._shape[1]), np.float32),
            np.empty((capacity, self._shape[1]), np.float32),
            np.zeros(capacity, np.int64),
        )
        self._blocks = 0  # ever

    @property
    def parts(self) -> tuple[Any, ...]:
        """What a compiled update reads and writes."""
        return *super().parts, self.afterstates

    def add(self, new: Transitions) -> None:
        """Appends transitions, oldest first; the oldest ones kept so far make room."""
        new = Transitions._make(column[-self.capacity :] for column in new)
        rows = (self._added + np.arange(len(new.actions))) % self.capacity
        obs, next_obs = (o.reshape(-1, *self._shape) for o in (new.obs, new.next_obs))
        self.afterstates.taken[rows] = obs[np.arange(len(rows)), new.actions]
        super().add(new._replace(obs=new.obs[:, :0], next_obs=new.next_obs[:, :0]))
        self._append(rows, next_obs[new.next_mask])

    @property
    def _oldest(self) -> int:
        """Row of the oldest transition."""
        return self._added % self.capacity if self._added > self.capacity else 0

    def _append(self, rows: Ints, blocks: Blocks) -> None:
        """Puts the blocks of the newest rows into the ring, which grows where it is too small."""
        taken, ring, first = self.afterstates
        counts = self.rows.next_mask[rows].sum(axis=1)
        first[rows] = self._blocks + np.cumsum(counts) - counts
        begin, end = first[self._oldest], self._blocks + len(blocks)
        if end - begin > len(ring):
            kept = np.arange(begin, self._blocks)
            larger = np.empty((max(2 * len(ring), end - begin), ring.shape[1]), np.float32)
            larger[kept % len(larger)] = ring[kept % len(ring)]
            ring = larger
            self.afterstates = Afterstates(taken, ring, first)
        ring[np.arange(self._blocks, end) % len(ring)] = blocks
        self._blocks = end

    def sample(self, batch: int) -> tuple[Transitions, Ints, NDArray[np.float32]]:
        """Draws B transitions: (transitions, their rows (B,), importance weights (B,))."""
        drawn, rows, weights = super().sample(batch)
        obs = np.zeros((batch, *self._shape), np.float32)
        next_obs = np.zeros_like(obs)
        obs[np.arange(batch), drawn.actions] = self.afterstates.taken[rows]
        next_obs[drawn.next_mask] = self._next(rows)
        flat = drawn._replace(obs=obs.reshape(batch, -1), next_obs=next_obs.reshape(batch, -1))
        return flat, rows, weights

    def _next(self, rows: Ints) -> Blocks:
        """Blocks of the actions allowed next, row by row."""
        counts = self.rows.next_mask[rows].sum(axis=1)
        starts = self.afterstates.first[rows] - np.cumsum(counts) + counts
        places = np.repeat(starts, counts) + np.arange(counts.sum())
        return self.afterstates.ring[places % len(self.afterstates.ring)]

    def get_state(self) -> dict[str, Any]:
        """All rows, priorities and the generator."""
        n = len(self)
        kept = {"taken": self.afterstates.taken[:n].copy(), "next": self._next(np.arange(n))}
        return super().get_state() | kept

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` of a replay of the same shape returned."""
        super().set_state(state)
        n = len(self)
        self.afterstates.taken[:n] = state["taken"]
        self._blocks, oldest = 0, self._oldest
        by_age = (oldest + np.arange(n)) % self.capacity
        before = self.rows.next_mask[:oldest].sum()
        self._append(by_age, np.roll(state["next"], -before, axis=0))
