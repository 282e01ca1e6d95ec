"""A rule that looks ahead: it tries every action in futures that it draws."""

from typing import Annotated

import numpy as np
from pydantic import Field

from mec_rllib.schedulers.heuristics import Reservation
from mec_rllib.sim.jobs import Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.sim.workloads import BernoulliWorkload


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
        futures: Annotated[int, Field(description="drawn per decision")] = 32,
        horizon: Annotated[int, Field(description="slots that each is played")] = 30,
        gamma: Annotated[float, Field(description="discount per slot")] = 0.95,
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
