"""Flat prioritized replay: transitions in arrays, priorities in a sum tree.

Proportional prioritization after Schaul et al. 2016 (PER): a transition is drawn with probability
p^alpha / sum p^alpha, its weight is (n * probability)^-beta over the largest weight of the batch.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mec_rllib.rl.messages import Transitions
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
        self.capacity, self.alpha, self.beta = capacity, alpha, beta
        self._rng = generator(seed, Purpose.REPLAY)
        self._rows = Transitions(
            np.empty((capacity, obs_size), np.float32),
            np.empty(capacity, np.int64),
            np.empty(capacity, np.float32),
            np.empty((capacity, obs_size), np.float32),
            np.empty((capacity, num_actions), bool),
            np.empty(capacity),
            np.empty((capacity, 0), bool),
        )
        # A complete binary tree: node k has children 2k and 2k + 1, leaves start at _leaves.
        self._leaves = 1 << (capacity - 1).bit_length()
        self._tree = np.zeros(2 * self._leaves)
        self._largest = 1.0  # priority (to the power alpha) of a new transition
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    @property
    def can_train(self) -> bool:
        """Whether there is anything to draw from."""
        return len(self) > 0

    def add(self, new: Transitions) -> None:
        """Appends transitions, oldest first; the oldest ones kept so far make room."""
        new = Transitions._make(column[-self.capacity :] for column in new)
        rows = (self._added + np.arange(len(new.actions))) % self.capacity
        column: Any  # the columns differ in type
        for column, values in zip(self._rows, new, strict=True):
            column[rows] = values
        self._added += len(rows)
        _set_priorities(self._tree, self._leaves, rows, np.full(len(rows), self._largest))

    def sample(self, batch: int) -> tuple[Transitions, Ints, NDArray[np.float32]]:
        """Draws B transitions: (transitions, their rows (B,), importance weights (B,)).

        Raises:
            ValueError: the replay is empty.
        """
        if not len(self):
            raise ValueError("cannot sample from an empty replay")
        # One draw per B-th of the total (stratified), as in the PER paper.
        points = (np.arange(batch) + self._rng.random(batch)) / batch * self._tree[1]
        rows = _find(self._tree, self._leaves, points)
        weights = _importance(self._tree, self._leaves, rows, self.beta)
        return Transitions(*_take(self._rows, rows)), rows, weights

    def update_priorities(self, rows: Ints, td_errors: Floats) -> None:
        """Sets the priorities of these rows to |TD error|."""
        priorities = (np.abs(td_errors) + 1e-6) ** self.alpha
        self._largest = max(self._largest, float(priorities.max()))
        _set_priorities(self._tree, self._leaves, rows, priorities)

    def get_state(self) -> dict[str, Any]:
        """All rows, priorities and the generator."""
        n = len(self)
        return {
            "rows": [column[:n].copy() for column in self._rows],
            "priorities": self._tree[self._leaves : self._leaves + n].copy(),
            "largest": self._largest,
            "added": self._added,
            "rng": self._rng.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` of a replay of the same shape returned."""
        n = len(state["priorities"])
        column: Any  # the columns differ in type
        for column, values in zip(self._rows, state["rows"], strict=True):
            column[:n] = values
        self._tree[:] = 0.0
        _set_priorities(self._tree, self._leaves, np.arange(n), state["priorities"])
        self._largest, self._added = state["largest"], state["added"]
        self._rng.bit_generator.state = state["rng"]


@njit(cache=True)
def _set_priorities(tree, leaves, rows, priorities):
    for j in range(len(rows)):
        node = leaves + rows[j]
        tree[node] = priorities[j]
        node //= 2
        while node >= 1:
            # Sums are taken anew, never adjusted: rounding errors cannot pile up.
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            node //= 2


@njit(cache=True)
def _find(tree, leaves, points):
    rows = np.empty(len(points), np.int64)
    for j in range(len(points)):
        point, node = points[j], 1
        while node < leaves:
            node *= 2
            if point >= tree[node] and tree[node + 1] > 0.0:  # a last point may be rounded up
                point -= tree[node]
                node += 1
        rows[j] = node - leaves
    return rows


@njit(cache=True)
def _importance(tree, leaves, rows, beta):
    weights = np.empty(len(rows))
    for j in range(len(rows)):
        # n and the sum of all priorities cancel against the largest weight.
        weights[j] = tree[leaves + rows[j]] ** -beta
    return (weights / weights.max()).astype(np.float32)


@njit(cache=True)
def _take(columns, rows):
    """The rows of every column; numpy's indexing costs more than the copy."""
    obs, actions, rewards, next_obs, next_mask, discounts, mask = columns
    return (
        obs[rows],
        actions[rows],
        rewards[rows],
        next_obs[rows],
        next_mask[rows],
        discounts[rows],
        mask[rows],
    )
