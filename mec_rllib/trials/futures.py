"""What a training job really costs now: the world is stored, and played on with and without one."""

from typing import Any

import numpy as np

from mec_rllib.config.study import Strategy
from mec_rllib.envs.gym_world import GymBatch
from mec_rllib.errors import ConfigError
from mec_rllib.schedulers import Scheduler
from mec_rllib.sim.jobs import Floats
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.training_jobs import NO_KIND
from mec_rllib.sim.workloads import BernoulliWorkload


class Futures:
    """Copies of a world in which the same futures are played with a training job and without.

    Args:
        strategy: whose world it is, and whose kind of training job.
        count: F, futures.
        ahead: slots that each is played.

    Raises:
        ConfigError: a workload whose arrivals are recorded: nothing can be drawn from it.
    """

    def __init__(self, strategy: Strategy, count: int, ahead: int):
        self._count, self._ahead = count, ahead
        self._world: Any = strategy.experiment.env.build_world(2 * count, 0)
        if isinstance(self._world, ServerBatch):
            workload = self._world.workload
            if not isinstance(workload, BernoulliWorkload):
                raise ConfigError(
                    "probe: futures are drawn, which env.workload bernoulli and drift can, and "
                    f"environments of env.gym; {type(workload).__name__} cannot"
                )
        kind = strategy.training_kind or 0
        self._kinds = np.repeat([kind, NO_KIND], count)

    def prices(
        self, world: ServerBatch | GymBatch, index: int, policy: Scheduler, rng: np.random.Generator
    ) -> Floats:
        """(F,) reward that a training job now takes away in each future.

        Args:
            world: as it is now; it stays so.
            index: of its server.
            policy: plays on, greedily.
            rng: the futures are drawn from it.
        """
        self._imagine(world, index, rng)
        self._world.request_training(self._kinds)
        total = np.zeros(2 * self._count)
        for _ in range(self._ahead):
            total += self._world.step(policy.select(self._world))
        with_job, without = total.reshape(2, self._count)
        return without - with_job

    def _imagine(self, world: Any, index: int, rng: np.random.Generator) -> None:
        if isinstance(world, GymBatch):
            seeds = rng.integers(2**31, size=self._count).tolist()
            self._world.imagine(world, index, seeds)
            return
        start, stop = world.slot + 1, world.slot + 1 + self._ahead
        tables = [world.workload.arrivals(rng, start, stop) for _ in range(self._count)]
        self._world.imagine(world, index, tables)
