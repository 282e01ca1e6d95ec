"""Flat prioritized replay: a ring of transitions in arrays, drawn by their priorities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mec_rllib.compiled import compiled
from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.replay.priorities import Priorities, draw, reprioritize, set_leaves
from mec_rllib.sim.jobs import Floats, Ints
from mec_rllib.sim.streams import Purpose, generator


class PrioritizedReplay:
    """Ring of transitions with prioritized sampling.

    Args:
        capacity: transitions kept.
        obs_size: F.
        num_actions: M + 1.
        alpha: 0 draws uniformly, 1 proportionally to the priority.
        beta: correction of the bias by importance weights, 1 = full.
        seed: of the sampling.
    """

    def __init__(
        self,
        capacity: int,
        obs_size: int,
        num_actions: int,
        alpha: float = 0.6,
        beta: float = 0.5,
        seed: int = 0,
    ):
        self.capacity = capacity
        self._rng = generator(seed, Purpose.REPLAY)
        self.rows = Transitions(
            np.empty((capacity, obs_size), np.float32),
            np.empty(capacity, np.int64),
            np.empty(capacity, np.float32),
            np.empty((capacity, obs_size), np.float32),
            np.empty((capacity, num_actions), bool),
            np.empty(capacity),
            np.empty((capacity, 0), bool),
        )
        leaves = 1 << (capacity - 1).bit_length()
        self.priorities = Priorities(np.zeros(2 * leaves), np.ones(1), float(alpha), float(beta))
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    @property
    def can_train(self) -> bool:
        """Whether there is anything to draw from."""
        return len(self) > 0

    @property
    def parts(self) -> tuple[Any, ...]:
        """What a compiled update reads and writes."""
        return self.rows, self.priorities

    def add(self, new: Transitions) -> None:
        """Appends transitions, oldest first; the oldest ones kept so far make room."""
        new = Transitions._make(column[-self.capacity :] for column in new)
        rows = (self._added + np.arange(len(new.actions))) % self.capacity
        column: Any  # the columns differ in type
        for column, values in zip(self.rows, new, strict=True):
            column[rows] = values
        self._added += len(rows)
        set_leaves(self.priorities.tree, rows, np.repeat(self.priorities.largest, len(rows)))

    def uniforms(self, *shape: int) -> Floats:
        """Numbers in [0, 1) of this shape: what a batch is drawn with (`priorities.draw`).

        Raises:
            ValueError: the replay is empty.
        """
        if not len(self):
            raise ValueError("cannot sample from an empty replay")
        return self._rng.random(shape)

    def sample(self, batch: int) -> tuple[Transitions, Ints, NDArray[np.float32]]:
        """Draws B transitions: (transitions, their rows (B,), importance weights (B,)).

        Raises:
            ValueError: the replay is empty.
        """
        rows, weights = draw(self.priorities, self.uniforms(batch))
        return take(self.rows, rows), rows, weights

    def update_priorities(self, rows: Ints, td_errors: Floats) -> None:
        """Sets the priorities of these rows to |TD error|."""
        reprioritize(self.priorities, rows, td_errors.astype(float))

    def get_state(self) -> dict[str, Any]:
        """All rows, priorities and the generator."""
        n = len(self)
        return {
            "rows": [column[:n].copy() for column in self.rows],
            "priorities": self._leaves[:n].copy(),
            "largest": float(self.priorities.largest[0]),
            "added": self._added,
            "rng": self._rng.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` of a replay of the same shape returned."""
        n = len(state["priorities"])
        column: Any  # the columns differ in type
        for column, values in zip(self.rows, state["rows"], strict=True):
            column[:n] = values
        self.priorities.tree[:] = 0.0
        set_leaves(self.priorities.tree, np.arange(n), state["priorities"])
        self.priorities.largest[0], self._added = state["largest"], state["added"]
        self._rng.bit_generator.state = state["rng"]

    @property
    def _leaves(self) -> Floats:
        return self.priorities.tree[len(self.priorities.tree) // 2 :]


@compiled
def take(columns, rows):
    """The rows of every column; numpy's indexing costs more than the copy."""
    return Transitions(
        columns.obs[rows],
        columns.actions[rows],
        columns.rewards[rows],
        columns.next_obs[rows],
        columns.next_mask[rows],
        columns.discounts[rows],
        columns.mask[rows],
    )
