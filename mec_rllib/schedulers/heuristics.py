"""Rules that look at what waits: random, by arrival, length, deadline, weight, or packing."""

from typing import Annotated

import numpy as np
from pydantic import Field

from mec_rllib.compiled import compiled
from mec_rllib.schedulers.base import Playable, random_actions
from mec_rllib.schedulers.index import Index
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.streams import Purpose, generator


class RandomScheduler:
    """Uniform over the allowed actions, doing nothing included."""

    def __init__(self, seed: int = 0):
        self._rng = generator(seed, Purpose.SCHEDULER)

    def select(self, batch: Playable) -> Ints:
        """Actions (N,)."""
        return random_actions(batch.mask, self._rng)


class FIFO(Index):
    """Head of line only: if the first job does not fit, nobody starts."""

    keys = Index(head=True).keys

    def __init__(self) -> None:
        """Takes no arguments."""


class SJF(Index):
    """Shortest execution time among the jobs that fit."""

    keys = Index(execution=-1.0).keys

    def __init__(self) -> None:
        """Takes no arguments."""


class EDF(Index):
    """Nearest deadline among the jobs that fit."""

    keys = Index(deadline=-1.0).keys

    def __init__(self) -> None:
        """Takes no arguments."""


class Priority(Index):
    """Highest weight, then least remaining slack, among the jobs that fit."""

    keys = Index(weight=1.0, by_slack=True).keys

    def __init__(self) -> None:
        """Takes no arguments."""


class Reservation(Index):
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
        reserve: Annotated[
            int, Field(ge=0, le=100_000, description="units that a job below the top leaves free")
        ] = 3,
        patience: Annotated[
            int,
            Field(ge=-1, le=100_000, description="slots of slack left up to which it need not"),
        ] = 10,
        reserve_low: Annotated[
            int | None,
            Field(ge=0, le=100_000, description="reserve of jobs of low weight; null: the same"),
        ] = None,
        patience_low: Annotated[
            int | None,
            Field(ge=-1, le=100_000, description="patience of jobs of low weight; null: the same"),
        ] = None,
    ):
        super().__init__(
            weight=1.0,
            by_slack=True,
            reserve=reserve,
            patience=patience,
            reserve_low=reserve_low,
            patience_low=patience_low,
        )


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

    def __init__(
        self,
        remaining_work: Annotated[
            float, Field(description="weight of the remaining work against the alignment")
        ] = 1.0,
    ):
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


@compiled
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
