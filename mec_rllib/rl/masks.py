"""Ratings of actions under a mask: the best one allowed, and chances over those allowed."""

import numpy as np
from numpy.typing import NDArray

from mec_rllib.compiled import compiled
from mec_rllib.envs.observation import Observations
from mec_rllib.sim.jobs import Bools, Floats, Ints


@compiled
def best_allowed(q: Observations, mask: Bools) -> tuple[Ints, Floats]:
    """(B,) the allowed action with the highest Q, the first among equals, and (B,) that Q.

    What follows the Q-values of the actions, in columns beyond those of the mask, does not count.
    """
    actions = np.zeros(len(q), np.int64)
    values = np.full(len(q), -np.inf)
    for b in range(len(q)):
        for a in range(mask.shape[1]):
            if mask[b, a] and q[b, a] > values[b]:
                actions[b], values[b] = a, q[b, a]
    return actions, values


@compiled
def take_best(q: Observations, mask: Bools, actions: Ints) -> None:
    """Writes `best_allowed` actions (B,) into `actions`."""
    for b in range(len(q)):
        highest = -np.inf
        actions[b] = 0
        for a in range(mask.shape[1]):
            if mask[b, a] and q[b, a] > highest:
                actions[b], highest = a, q[b, a]


@compiled
def highest_allowed(q: Observations, mask: Bools, values: Floats) -> None:
    """Writes the highest Q of the actions allowed (B,) into `values`."""
    for b in range(len(q)):
        values[b] = -np.inf
        for a in range(mask.shape[1]):
            if mask[b, a] and q[b, a] > values[b]:
                values[b] = q[b, a]


def log_policy(logits: Observations, mask: Bools) -> NDArray[np.float64]:
    """(B, A) log probabilities over the actions allowed; -inf for the others."""
    shown = np.where(mask, logits.astype(float), -np.inf)
    shown -= shown.max(axis=1, keepdims=True)
    return shown - np.log(np.exp(shown).sum(axis=1, keepdims=True))
