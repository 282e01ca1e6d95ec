"""Which index rules a search tries: known ones, random ones, and variations of the best."""

import numpy as np

from mec_rllib.schedulers.heuristics import EDF, FIFO, SJF, Priority, Reservation
from mec_rllib.schedulers.index import Index
from mec_rllib.schedulers.index_rule import (
    AHEAD,
    BY_SLACK,
    COLUMNS,
    CROWD,
    HEAD,
    LONG,
    LOW,
    PATIENCE,
    RESERVE,
    TOP,
    WEIGHT,
)
from mec_rllib.sim.jobs import Floats
from mec_rllib.sim.workloads import Workload

EXPONENTS = slice(0, 6)
TIERS = 3
CHANGED = 0.25  # share of the numbers that a variation changes
MIXED = 0.3  # share of the variations that have two parents
NEVER = -1.0  # patience

BUILT_IN: tuple[Index, ...] = (Reservation(), Priority(), SJF(), EDF(), FIFO())


def held_back(units: float) -> tuple[Index, ...]:
    """Rules that hold light and long jobs back, for a server of so many units.

    Found at load 0.6 on jobs of seed 5000, which is not reported (*reconstructed*).
    """
    share = 0.1 * units
    return (
        Index(
            weight=1.0,
            by_slack=True,
            reserve=3 * share,
            patience=2,
            reserve_low=6 * share,
            patience_low=NEVER,
        ),
        Index(
            weight=3.0,
            slack=-0.7,
            reserve=-4.7 * share,
            patience=2,
            reserve_low=-9.5 * share,
            patience_low=NEVER,
            long=5 * share,
            ahead=0.2,
        ),
    )


class Candidates:
    """Draws vectors of index rules that suit a workload (reconstructed).

    Args:
        workload: what its weights, slacks and units are.
        rng: what is drawn from.
    """

    def __init__(self, workload: Workload, rng: np.random.Generator):
        self._rng = rng
        self._units = float(min(workload.capacity))
        self._slack = float(workload.max_slack)
        self._logarithm = float(np.log(workload.max_execution))
        known = [*BUILT_IN, *held_back(self._units)]
        self._known = np.array([rule.vector(float(workload.max_weight)) for rule in known])

    def known(self) -> Floats:
        """(K, columns): the built-in rules of the family, and those that hold more back."""
        return self._known.copy()

    def drawn(self, count: int) -> Floats:
        """(count, columns): anything that makes sense."""
        rng, size = self._rng, (count, TIERS)
        vectors = np.zeros((count, len(COLUMNS)))
        vectors[:, [TOP, LOW]] = self._known[0, [TOP, LOW]]
        vectors[:, EXPONENTS] = rng.normal([1.5, -0.5, 0.0, -0.5, 0.0, -0.5], 0.7, (count, 6))
        vectors[:, WEIGHT] = np.maximum(vectors[:, WEIGHT], 0.0)
        tier = np.array([0.0, 1.0, 1.0])  # most often the top tier is not held back
        vectors[:, RESERVE : RESERVE + TIERS] = rng.uniform(0.0, 0.7, size) * self._units * tier
        is_patient = rng.random(size) < 0.5
        patience = np.expm1(rng.uniform(0.0, np.log1p(self._slack), size)).round()
        vectors[:, PATIENCE : PATIENCE + TIERS] = np.where(is_patient, patience, NEVER)
        is_used = rng.random((count, 2)) < 0.5
        vectors[:, CROWD] = is_used[:, 0] * rng.normal(0.0, 0.2, count) * self._units
        vectors[:, LONG] = is_used[:, 1] * rng.uniform(0.0, 0.5, count) * self._units
        self._keep_reserves(vectors, vectors[:, LONG])
        vectors[:, AHEAD] = (rng.random(count) < 0.5) * rng.uniform(0.0, 1.0, count)
        return vectors

    def varied(self, parents: Floats, count: int) -> Floats:
        """(count, columns): variations of the parents, of the first ones most."""
        chosen = np.minimum(self._rng.geometric(0.3, (count, 2)) - 1, len(parents) - 1)
        return np.array([self._varied(parents[a], parents[b]) for a, b in chosen])

    def _varied(self, parent: Floats, other: Floats) -> Floats:
        """Another rule near the parent; some have numbers of a second one, too."""
        rng, vector = self._rng, parent.copy()
        if rng.random() < MIXED:
            vector = np.where(rng.random(len(vector)) < 0.5, vector, other)
        changes = rng.random(len(vector)) < CHANGED
        changes[rng.integers(len(vector))] = True
        changes[[TOP, LOW, BY_SLACK, HEAD]] = False
        tenth, slack = 0.1 * self._units, 0.1 * self._slack
        steps = np.zeros(len(vector))
        steps[EXPONENTS] = 0.3
        steps[RESERVE : RESERVE + TIERS] = tenth
        steps[PATIENCE : PATIENCE + TIERS] = np.minimum(
            1.0 + 0.3 * np.abs(parent[PATIENCE : PATIENCE + TIERS]), 1.0 + slack
        )
        steps[[LONG, CROWD]] = 0.5 * tenth, tenth
        steps[AHEAD] = 0.2
        step = changes * steps * rng.normal(size=len(vector))
        vector += step
        self._keep_reserves(vector[None], step[LONG : LONG + 1])
        return _in_bounds(vector)

    def _keep_reserves(self, vectors: Floats, more: Floats) -> None:
        """What `long` holds back is more (count,); jobs of some length are held back as before."""
        size = (len(vectors), TIERS)
        logarithms = self._rng.uniform(0.0, self._logarithm, size)  # of execution times
        vectors[:, RESERVE : RESERVE + TIERS] -= more[:, None] * logarithms


def _in_bounds(vector: Floats) -> Floats:
    vector[AHEAD] = np.clip(vector[AHEAD], 0.0, 1.0)
    patience = vector[PATIENCE : PATIENCE + TIERS]
    patience[:] = np.maximum(patience.round(), NEVER)
    return vector
