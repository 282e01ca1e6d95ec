"""Experience for an on-policy learner: what was played since the last training, and no more."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mec_rllib.rl.messages import Transitions
from mec_rllib.sim.jobs import Floats, Ints
from mec_rllib.sim.streams import Purpose, generator


class Rollout:
    """Transitions of N servers in the order of their slots, until training uses them up.

    Args:
        capacity: transitions kept; the oldest ones make room.
        servers: N.
        batch: transitions needed before any training.
        seed: of the minibatches.
    """

    def __init__(self, capacity: int, servers: int, batch: int = 1, seed: int = 0):
        self._slots, self._servers, self._batch = max(capacity // servers, 1), servers, batch
        self._parts: list[Transitions] = []  # columns of shape (slots, N, ...)
        self.rng = generator(seed, Purpose.MINIBATCHES)

    def __len__(self) -> int:
        return sum(part.rewards.size for part in self._parts)

    @property
    def can_train(self) -> bool:
        """Whether a minibatch came in since the last training."""
        return len(self) >= self._batch

    def add(self, new: Transitions) -> None:
        """Appends transitions, slot by slot, all servers of a slot together."""
        shape = (-1, self._servers)
        self._parts.append(Transitions._make(c.reshape(*shape, *c.shape[1:]) for c in new))
        if len(self) > 2 * self._slots * self._servers:
            self._parts = [self._newest()]

    def take(self) -> Transitions:
        """Everything, as columns of shape (slots, N, ...); the rollout is empty afterwards.

        Raises:
            ValueError: there is nothing.
        """
        if not self._parts:
            raise ValueError("cannot train on an empty rollout")
        rows, self._parts = self._newest(), []
        return rows

    def _newest(self) -> Transitions:
        whole = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        return Transitions._make(column[-self._slots :] for column in whole)

    def get_state(self) -> dict[str, Any]:
        """The transitions and the generator."""
        return {
            "parts": [[column.copy() for column in part] for part in self._parts],
            "rng": self.rng.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` of a rollout of the same shape returned."""
        self._parts = [Transitions._make(c.copy() for c in part) for part in state["parts"]]
        self.rng.bit_generator.state = state["rng"]


def advantages(rows: Transitions, values: Floats, next_values: Floats, decay: float) -> Floats:
    """Generalized advantage estimates (Schulman et al. 2016) of a continuing task, (slots, N).

    Args:
        rows: one-slot transitions, columns of shape (slots, N, ...).
        values: (slots, N) V of the states acted on.
        next_values: (slots, N) V of the states reached.
        decay: gamma * lambda, lambda being the weight of longer estimates.
    """
    found = np.asarray(rows.rewards + rows.discounts * next_values - values, float)
    for k in range(len(found) - 2, -1, -1):
        found[k] += decay * found[k + 1]
    return found


def minibatches(rows: int, batch: int, count: int, rng: np.random.Generator) -> Iterator[Ints]:
    """`count` minibatches of at most `batch` of these rows, epoch by epoch, each in a new order."""
    order = np.empty(0, np.int64)
    for _ in range(count):
        if not len(order):
            order = rng.permutation(rows)
        yield order[:batch]
        order = order[batch:]
