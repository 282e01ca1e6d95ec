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
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.sim.workloads import BernoulliWorkload


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
        self._rng = generator(seed, Purpose.SCHEDULER)

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

    A job of the top weight starts when it fits. Jobs of low weight (below half the top one) may
    be held back more than the others.

    Args:
        reserve: units of each kind that a job below the top weight must leave free ...
        patience: ... unless its remaining slack is at most this many slots; -1: always.
        reserve_low: the same for jobs of low weight; None: no difference.
        patience_low: the same for jobs of low weight; None: no difference.
    """

    def __init__(
        self,
        reserve: int = 3,
        patience: int = 10,
        reserve_low: int | None = None,
        patience_low: int | None = None,
    ):
        self._reserve = np.array([reserve, reserve if reserve_low is None else reserve_low])
        self._patience = np.array([patience, patience if patience_low is None else patience_low])

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        s, top = batch.servers, batch.workload.max_weight
        free = batch.rules.capacity - batch.units_in_use  # (N, D)
        spare = (free[:, None, :] - s.requirement).min(axis=2)  # (N, M) units left free
        is_low = (2 * s.weight < top).astype(np.int64)
        leaves_enough = spare >= self._reserve[is_low]
        is_urgent = s.slack - s.wait <= self._patience[is_low]
        candidates = batch.mask[:, 1:] & ((s.weight >= top) | is_urgent | leaves_enough)
        return _by_priority(batch, candidates)


class Tetris:
    """Packing after Tetris (Grandl et al. 2014): what fills the free resources best, short first.

    The job with the highest a - epsilon * p among those that fit. Alignment a is the dot product
    of its requirement and the free units, both as shares of the capacity; p is its remaining work,
    the summed shares of its requirement times its execution time; epsilon = remaining_work * mean
    a / mean p, as in the source, with the means over the jobs that fit now (reconstructed: the
    source averages over what has run). It knows neither weights nor deadlines.

    Args:
        remaining_work: weight of the remaining work against the alignment; 0: packing only, 1: the
            source's, far above 1: the least work first.
    """

    def __init__(self, remaining_work: float = 1.0):
        if not 0 <= remaining_work < np.inf:
            raise ValueError(f"remaining_work must be 0 or more, not {remaining_work}")
        self._remaining_work = remaining_work

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        s, capacity, candidates = batch.servers, batch.rules.capacity, batch.mask[:, 1:]
        share = s.requirement / capacity  # (N, M, D)
        free = 1.0 - batch.units_in_use / capacity  # (N, D)
        alignment = (share * free[:, None, :]).sum(axis=2)
        work = share.sum(axis=2) * s.execution
        # The ratio of the means is that of the sums; without a candidate it does not matter.
        sums = [np.where(candidates, x, 0.0).sum(axis=1, keepdims=True) for x in (alignment, work)]
        epsilon = self._remaining_work * sums[0] / np.maximum(sums[1], 1e-12)
        return _lowest(epsilon * work - alignment, candidates)


class Rollout:
    """Looks ahead with the true simulator: the best first action if the rule then goes on.

    Every allowed action is tried in the same drawn futures, then `Reservation` plays on; the
    action with the highest mean reward is taken (one-step rollout, Bertsekas; a reference that
    knows how jobs arrive, which no agent does). About a millisecond a slot.

    Args:
        seed: of the futures.
        futures: drawn per decision.
        horizon: slots that each is played, this one included.
        gamma: discount per slot; far rewards are mostly noise.
        **rule: arguments of `Reservation`.

    Raises:
        ValueError: (when it first sees servers) a workload whose arrivals are recorded: to draw
            from it would be to look into its future.
    """

    def __init__(
        self,
        seed: int = 0,
        futures: int = 32,
        horizon: int = 30,
        gamma: float = 0.95,
        **rule: int,
    ):
        if futures < 1 or horizon < 1:
            raise ValueError("futures and horizon must be at least 1")
        self._rng = generator(seed, Purpose.FUTURES)
        self._futures, self._horizon, self._gamma = futures, horizon, gamma
        self._rule = Reservation(**rule)
        self._imagined: ServerBatch | None = None

    def prepare(self, batch: ServerBatch) -> ServerBatch:
        """Servers to try the actions on; done by itself when the first slot is played."""
        if not isinstance(batch.workload, BernoulliWorkload):
            raise ValueError("rollout draws futures: it needs the bernoulli workload")
        copies = (batch.buffer + 1) * self._futures
        self._imagined = ServerBatch(batch.workload, copies, batch.buffer)
        self._imagined.rules = batch.rules
        self._imagined.reset(seed=0)  # as many kinds of training jobs
        return self._imagined

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        imagined = self._imagined or self.prepare(batch)
        actions = np.zeros(batch.num_servers, np.int64)
        for index in np.flatnonzero(batch.mask.sum(axis=1) > 1):
            actions[index] = self._look_ahead(imagined, batch, int(index))
        return actions

    def _look_ahead(self, imagined: ServerBatch, batch: ServerBatch, index: int) -> int:
        start, stop = batch.slot + 1, batch.slot + 1 + self._horizon
        futures = [batch.workload.arrivals(self._rng, start, stop) for _ in range(self._futures)]
        imagined.imagine(batch, index, futures)
        tried = np.repeat(np.arange(batch.buffer + 1), self._futures)
        rewards = imagined.step(tried).copy()
        for ahead in range(1, self._horizon):
            rewards += self._gamma**ahead * imagined.step(self._rule.select(imagined))
        means = rewards.reshape(-1, self._futures).mean(axis=1)
        return int(np.where(batch.mask[index], means, -np.inf).argmax())


SCHEDULERS: dict[str, Callable[..., Scheduler]] = {
    "random": RandomScheduler,
    "fifo": FIFO,
    "sjf": SJF,
    "edf": EDF,
    "priority": Priority,
    "reservation": Reservation,
    "tetris": Tetris,
    "rollout": Rollout,
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
