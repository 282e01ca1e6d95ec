"""Rules that look at what waits: random, by arrival, length, deadline, weight, or packing."""

from typing import Any, NamedTuple

import numpy as np

from mec_rllib.compiled import by_type, compiled
from mec_rllib.schedulers.base import Playable, random_actions
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import Now, Rules, Servers
from mec_rllib.sim.streams import Purpose, generator

NOTHING = -1  # row of no job


@by_type
def select(rule: Any, servers: Servers, now: Now, rules: Rules, actions: Ints) -> None:
    """Writes (N,) actions; `rule` says by its type how they are chosen."""


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


class Reserving(NamedTuple):
    """Rule: the heaviest job that leaves enough units free, or is of the top weight, or urgent."""

    reserve: Ints  # (2,) units that a job must leave free; second: one of low weight
    patience: Ints  # (2,) slots of remaining slack up to which it need not
    top: float  # weight


@select.of(Reserving)
def _reserving(rule: Reserving, servers: Servers, now: Now, rules: Rules, actions: Ints) -> None:
    for i in range(len(actions)):
        best = NOTHING
        for row in range(servers.waiting[i]):
            slack = servers.slack[i, row] - servers.wait[i, row]
            weight = servers.weight[i, row]
            low = 1 if 2.0 * weight < rule.top else 0
            may = weight >= rule.top or slack <= rule.patience[low]
            if now.mask[i, row + 1] and (
                may or _spare(servers, now, rules, i, row) >= rule.reserve[low]
            ):
                is_first = best == NOTHING
                if is_first or _is_above(servers, i, row, best):
                    best = row
        actions[i] = best + 1


@compiled
def _spare(servers: Servers, now: Now, rules: Rules, i: int, row: int) -> int:
    """Units that would be left free if this job started, of the scarcest kind."""
    spare: int = rules.capacity[0]
    for d in range(len(rules.capacity)):
        left = rules.capacity[d] - now.units_in_use[i, d] - servers.requirement[i, row, d]
        spare = min(spare, left)
    return spare


@compiled
def _is_above(servers: Servers, i: int, row: int, other: int) -> bool:
    """Heavier, or as heavy with less slack."""
    weight, than = servers.weight[i, row], servers.weight[i, other]
    slack = servers.slack[i, row] - servers.wait[i, row]
    less: bool = slack < servers.slack[i, other] - servers.wait[i, other]
    return bool(weight > than or (weight == than and less))


@compiled
def _ask(rule: Any, servers: Servers, now: Now, rules: Rules, actions: Ints) -> None:
    select(rule, servers, now, rules, actions)


class Priority:
    """Highest weight, then least remaining slack, among the jobs that fit."""

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        return asked(self.rule_for(batch), batch)

    def rule_for(self, batch: ServerBatch) -> Reserving:
        """The rule for compiled code."""
        nothing = np.full(2, -(10**9))
        return Reserving(nothing, nothing, float(batch.workload.max_weight))


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
        return asked(self.rule_for(batch), batch)

    def rule_for(self, batch: ServerBatch) -> Reserving:
        """The rule for compiled code."""
        return Reserving(self._reserve, self._patience, float(batch.workload.max_weight))


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


def asked(rule: Any, batch: ServerBatch) -> Ints:
    """Actions (N,) that a compiled rule chooses."""
    actions = np.empty(batch.num_servers, np.int64)
    _ask(rule, batch.servers, batch.now, batch.rules, actions)
    return actions


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
