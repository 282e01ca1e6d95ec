"""The deployable agent's network: one value function over afterstates, for all actions."""

from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.dqn.default_dqn_rl_module import QF_PREDS
from ray.rllib.algorithms.dqn.dqn_catalog import DQNCatalog
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.core.columns import Columns


class AfterstateCatalog(DQNCatalog):
    """RLlib's DQN networks, with the F features of an afterstate as input and one output."""

    def __init__(
        self,
        observation_space: gym.spaces.Box,
        action_space: gym.spaces.Discrete,
        model_config_dict: dict,
        view_requirements: dict | None = None,
    ):
        features = observation_space.shape[0] // int(action_space.n) - 1
        super().__init__(
            gym.spaces.Box(-np.inf, np.inf, (features,), np.float32),
            gym.spaces.Discrete(1),
            model_config_dict,
            view_requirements,
        )


class AfterstateModule(DefaultDQNTorchRLModule):
    """Q(s, a) = certain reward + V(afterstate), on observations of `AfterstateEncoder`.

    Needs dueling=False, num_atoms=1 and noisy=False.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs["catalog_class"] = AfterstateCatalog
        super().__init__(*args, **kwargs)

    def _qf_forward_helper(self, batch: dict[str, Any], encoder: Any, head: Any) -> dict[str, Any]:
        """Q-values (B, M + 1) of observations (B, (M + 1) * (F + 1))."""
        blocks = batch[Columns.OBS].unflatten(1, (int(self.action_space.n), -1))
        features = {Columns.OBS: blocks[..., 1:].flatten(0, 1)}
        values = super()._qf_forward_helper(features, encoder, head)[QF_PREDS]
        return {QF_PREDS: blocks[..., 0] + values.view(blocks.shape[:2])}
