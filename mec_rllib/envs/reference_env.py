"""`MecEnv` in plain Python, for one server: an oracle, and what the kernel is measured against."""

from math import log1p
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from mec_rllib.envs.config import EnvConfig
from mec_rllib.sim.reference import WAITS, ReferenceServer


class MecReferenceEnv(gymnasium.Env):
    """The observations, rewards and infos of `MecEnv`, bit for bit; nothing is compiled.

    Args:
        server_index: which server of the seed this is.
        **env: the keys of the config's `env` section (`mec_rllib.envs.config.EnvConfig`).
    """

    def __init__(self, server_index: int = 0, **env: Any):
        self._batch = EnvConfig(**env).build_servers(1, 0, server_index)  # sizes and rules only
        self._index = server_index
        size = (3 + len(self._batch.rules.capacity)) * self._batch.buffer
        size += len(self._batch.rules.capacity) + self._batch.kinds
        self.observation_space = spaces.Box(0.0, 1.0, (size,), np.float32)
        self.action_space = spaces.Discrete(self._batch.buffer + 1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Empties the server and starts the jobs of the seed."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self.server = ReferenceServer.like(self._batch, self._index, seed)
        return self._observe(), {"action_mask": np.array(self.server.mask(), np.int8)}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays one slot; never ends, unless the workload does."""
        terms, _ = self.server.step(int(action))
        infos = {
            "action_mask": np.array(self.server.mask(), np.int8),
            "reward_terms": np.array(terms),
        }
        length = self._batch.workload.length
        ended = length is not None and self.server.slot >= length
        reward = sum(terms) / self._batch.workload.max_weight
        return self._observe(), reward, False, ended, infos

    def _observe(self) -> np.ndarray:
        server, workload = self.server, self._batch.workload
        seen: list[float] = []
        for job in server.waiting:
            seen.append(_share_of_log(job.execution, workload.max_execution))
            seen += [r / c for r, c in zip(job.requirement, server.capacity, strict=True)]
            seen.append(_share_of_log(job.wait, workload.max_slack))
            longest = workload.max_execution + workload.max_slack
            seen.append(_share_of_log(job.execution + job.slack, longest))
        observation = np.zeros(self.observation_space.shape or (), np.float32)
        observation[: len(seen)] = seen
        flags = [server.training == WAITS and server.kind == k for k in range(self._batch.kinds)]
        in_use = zip(server.units_in_use, server.capacity, strict=True)
        last = [units / capacity for units, capacity in in_use] + flags
        observation[-len(last) :] = last
        return observation


def _share_of_log(value: int, largest: int) -> float:
    return log1p(value) / log1p(max(largest, 1))
