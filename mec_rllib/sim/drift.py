"""Jobs whose nature changes all at once: a sequence of worlds, drawn from the experiment's seed."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from mec_rllib.sim.bursts import Bursts
from mec_rllib.sim.jobs import JobClass, Jobs
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.sim.workloads import BernoulliWorkload

DIRICHLET = 2.0  # of the mix, for every class
SLACK_FACTOR = 2.0  # slacks are scaled by this at most, up or down


class DriftWorkload:
    """Bernoulli jobs in worlds that follow one another (*reconstructed*).

    World 0 has the classes as they are given. Each later world gives the weights to the classes
    in another order than the world before. It draws the mix from Dirichlet(2, ..., 2), and scales
    the slack of each class by exp(U(-ln 2, ln 2)), rounded to slots. Requirements and execution
    times stay, and so does the load: the rate of arrivals is computed anew. The last world stays.

    All servers of a seed live in the same worlds, whatever their number.

    Args:
        classes: of world 0.
        load: offered load, in every world.
        capacity: units per resource kind.
        users: independent users that send jobs.
        worlds: how many there are.
        slots: that each lasts.
        first: the world that slot 0 is in.
        seed: of the worlds; None: that of the servers.
        bursts: as in `BernoulliWorkload`.

    Attributes:
        worlds: the workload of each world.

    Raises:
        ValueError: what `BernoulliWorkload` refuses (in any world), no slots, a first world that
            is not there, or weights that have no other order.
    """

    length: int | None = None

    def __init__(
        self,
        classes: Sequence[JobClass],
        load: float | Sequence[Sequence[float]] = 0.3,
        capacity: Sequence[int] = (10,),
        users: int = 20,
        worlds: int = 8,
        slots: int = 25_000,
        first: int = 0,
        seed: int | None = None,
        bursts: Bursts | None = None,
    ):
        reference = BernoulliWorkload(classes, load, capacity, users, bursts)
        for c in classes:  # the mix may come close to a single class
            BernoulliWorkload([replace(c, mix=1.0)], load, capacity, users, bursts)
        if slots < 1:
            raise ValueError(f"drift.slots must be at least 1, not {slots}")
        if not 0 <= first < worlds:
            raise ValueError(f"drift.first is {first}, but the worlds are 0..{worlds - 1}")
        if worlds > 1 and len({c.weight for c in classes}) == 1:
            raise ValueError("drift permutes the weights: the classes need two different ones")
        self.classes, self.slots, self.first, self.seed = tuple(classes), slots, first, seed
        self._load, self._users, self._bursts = load, users, bursts
        self.class_names, self.capacity = reference.class_names, reference.capacity
        self.max_execution, self.max_weight = reference.max_execution, reference.max_weight
        self.max_slack = _scaled(reference.max_slack, SLACK_FACTOR)  # of all seeds
        self.worlds = self._draw(worlds, 0 if seed is None else seed)

    def of_seed(self, seed: int) -> "DriftWorkload":
        """The worlds of a seed; always the same ones if they were given a seed of their own."""
        if self.seed is not None:
            return self
        drawn = copy.copy(self)
        drawn.worlds = self._draw(len(self.worlds), seed)
        return drawn

    def world_at(self, slot: int) -> int:
        """Index of the world that a slot is in."""
        return min(self.first + slot // self.slots, len(self.worlds) - 1)

    def arrivals(self, rng: np.random.Generator, start: int, stop: int) -> Jobs:
        """Jobs that arrive in slots start..stop-1 (see `Workload.arrivals`)."""
        changes = range((start // self.slots + 1) * self.slots, stop, self.slots)
        bounds = [start, *changes, stop]
        return Jobs.concatenate(
            [
                self.worlds[self.world_at(begin)].arrivals(rng, begin, end)
                for begin, end in pairwise(bounds)
            ]
        )

    def _draw(self, worlds: int, seed: int) -> tuple[BernoulliWorkload, ...]:
        rng = generator(seed, Purpose.WORLDS)
        classes = [self.classes]
        while len(classes) < worlds:
            classes.append(_next_world(rng, self.classes, classes[-1]))
        fixed = (self._load, self.capacity, self._users, self._bursts)
        return tuple(BernoulliWorkload(c, *fixed) for c in classes)


def _next_world(
    rng: np.random.Generator, reference: Sequence[JobClass], before: Sequence[JobClass]
) -> tuple[JobClass, ...]:
    weights = [c.weight for c in before]
    while weights == [c.weight for c in before]:
        weights = rng.permutation([c.weight for c in reference]).tolist()
    mix = rng.dirichlet([DIRICHLET] * len(reference)).tolist()
    factors = SLACK_FACTOR ** rng.uniform(-1.0, 1.0, len(reference))
    return tuple(
        replace(c, weight=w, mix=share, slack=(_scaled(c.slack[0], f), _scaled(c.slack[1], f)))
        for c, w, share, f in zip(reference, weights, mix, factors, strict=True)
    )


def _scaled(slack: int, factor: float) -> int:
    return round(slack * factor)
