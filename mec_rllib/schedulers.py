"""Which job next: the heuristics, and the one loop that runs any scheduler on servers.

A scheduler answers, for a batch of servers, one action each: 0 = start nothing, i = start the
i-th waiting job. The learned policy has the same face (`mec_rllib.rl.policy`), so everything is
compared through `run`. Ties go to the earliest arrival.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numba import njit

from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.optimal import OptimalScheduler
from mec_rllib.sim.server import ServerBatch


class Playable(Protocol):
    """What `run` asks of servers, or of any other world."""

    mask: Bools  # (N, A) actions allowed now

    def step(self, actions: Ints) -> Floats:
        """Plays a slot."""
        ...


class Scheduler(Protocol):
    """One interface for heuristics and learned policies."""

    def select(self, batch: Any) -> Ints:
        """Actions (N,), each allowed by `batch.mask` (N, M + 1)."""
        ...


class RandomScheduler:
    """Uniform over the allowed actions, doing nothing included."""

    def __init__(self, seed: int = 0):
        self._rng = np.random.default_rng(seed)

    def select(self, batch: Playable) -> Ints:
        """Actions (N,)."""
        return random_actions(batch.mask, self._rng)


class FIFO:
    """Head of line only: if the first job does not fit, nobody starts."""

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        return batch.mask[:, 1].astype(np.int64)


class SJF:
    """Shortest execution time among the jobs that fit."""

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        return _lowest(batch.servers.execution, batch.mask[:, 1:])


class EDF:
    """Nearest deadline among the jobs that fit."""

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        s = batch.servers
        return _lowest(s.execution + s.slack - s.wait, batch.mask[:, 1:])


class Priority:
    """Highest weight, then least remaining slack, among the jobs that fit."""

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        return _by_priority(batch, batch.mask[:, 1:])


class Reservation:
    """Priority that keeps units free for the most valuable jobs (a tuned rule, reconstructed).

    Args:
        reserve: units of each kind that a job below the top weight must leave free ...
        patience: ... unless its remaining slack is at most this many slots.
    """

    def __init__(self, reserve: int = 3, patience: int = 10):
        self.reserve = reserve
        self.patience = patience

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        s = batch.servers
        free = batch.rules.capacity - batch.units_in_use  # (N, D)
        leaves_enough = np.all(free[:, None, :] - s.requirement >= self.reserve, axis=2)
        is_top = s.weight >= batch.workload.max_weight
        is_urgent = s.slack - s.wait <= self.patience
        candidates = batch.mask[:, 1:] & (is_top | is_urgent | leaves_enough)
        return _by_priority(batch, candidates)


SCHEDULERS: dict[str, Callable[..., Scheduler]] = {
    "random": RandomScheduler,
    "fifo": FIFO,
    "sjf": SJF,
    "edf": EDF,
    "priority": Priority,
    "reservation": Reservation,
    "optimal": OptimalScheduler,  # tiny instances only
}


def run(
    batch: Playable,
    scheduler: Scheduler,
    slots: int,
    on_slot: Callable[[int], None] | None = None,
) -> None:
    """Plays `slots` slots of every server; `on_slot` gets the number of slots done."""
    for done in range(1, slots + 1):
        batch.step(scheduler.select(batch))
        if on_slot is not None:
            on_slot(done)


def random_actions(mask: Bools, rng: np.random.Generator) -> Ints:
    """One action (N,) per row of the mask (N, M + 1), uniform over the allowed ones."""
    return np.where(mask, rng.random(mask.shape), -1.0).argmax(axis=1)


def _by_priority(batch: ServerBatch, candidates: Bools) -> Ints:
    """Action (N,) of the heaviest candidate; among equals the one with least remaining slack."""
    s = batch.servers
    heaviest = np.where(candidates, s.weight, -np.inf).max(axis=1, keepdims=True)
    return _lowest(s.slack - s.wait, candidates & (s.weight == heaviest))


@njit(cache=True)
def _lowest(key: Ints | Floats, candidates: Bools) -> Ints:
    """Action (N,) of the candidate with the lowest key (N, M); 0 where there is none."""
    actions = np.zeros(len(key), np.int64)
    for i in range(len(key)):
        lowest = np.inf
        for row in range(key.shape[1]):
            if candidates[i, row] and key[i, row] < lowest:
                lowest = key[i, row]
                actions[i] = row + 1
    return actions
