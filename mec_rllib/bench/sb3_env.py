"""The fleet behind stable-baselines3's native vector interface: one kernel call per slot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from mec_rllib.envs.vector import MecVectorEnv


class FleetVecEnv(VecEnv):
    """`MecVectorEnv` as a `VecEnv`; an endless task, so nothing is ever done."""

    def __init__(self, fleet: MecVectorEnv):
        super().__init__(fleet.num_envs, fleet.single_observation_space, fleet.single_action_space)
        self._fleet = fleet
        self._infos: list[dict] = [{} for _ in range(fleet.num_envs)]

    def reset(self) -> np.ndarray:
        """Observations (N, F)."""
        return self._fleet.reset(seed=0)[0]

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions (N,)."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        """Plays one slot of every server."""
        observations, rewards, done, _, _ = self._fleet.step(self._actions)
        return observations, rewards, done, self._infos

    def close(self) -> None:
        """Holds nothing."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of the fleet, once per server."""
        return [getattr(self._fleet, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the fleet."""
        setattr(self._fleet, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list:
        """Calls a method of the fleet."""
        return [getattr(self._fleet, method_name)(*args, **kwargs)] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Sequence[int] | None = None) -> list:
        """Nothing is wrapped."""
        return [False] * self.num_envs
