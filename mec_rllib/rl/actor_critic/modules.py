"""What modules of SAC and PPO act with: the policy, and what a state is worth to it.

Ratings of B observations are (B, A + x): the policy's logits, then what the value is made of. A
state's value is psi's V: a gate that asks what training costs now compares V(s + flag) with V(s).
"""

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.columns import Columns

from mec_rllib.envs.observation import Observations
from mec_rllib.rl.masks import log_policy
from mec_rllib.sim.jobs import Bools, Floats, Ints


class ActorCritic:
    """PPO: ratings are A logits and V, the value network's answer."""

    def __init__(self, module: DefaultPPOTorchRLModule):
        self._module = module

    def __call__(self, obs: Observations) -> Observations:
        """(B, F) observations to (B, A + 1) ratings."""
        with torch.inference_mode():
            batch = {Columns.OBS: torch.from_numpy(obs)}
            out = self._module.forward_train(batch)
            value = self._module.compute_values(batch, out[Columns.EMBEDDINGS])
            return torch.cat((out[Columns.ACTION_DIST_INPUTS], value[:, None]), dim=1).numpy()

    def values(self, ratings: Observations, mask: Bools) -> Floats:
        """(B,) V."""
        return ratings[:, -1].astype(float)

    def values_taken(self, ratings: Observations, actions: Ints) -> Floats:
        """(B,) V, too: there is no value of an action."""
        return ratings[:, -1].astype(float)


class SoftActorCritic:
    """Discrete SAC: ratings are A logits, A values min Q, and the temperature.

    V = sum_a pi(a) (min Q(a) - alpha log pi(a)), over the actions allowed.
    """

    def __init__(self, module: "GatedSACModule"):
        self._module = module

    def __call__(self, obs: Observations) -> Observations:
        """(B, F) observations to (B, 2A + 1) ratings."""
        with torch.inference_mode():
            batch = {Columns.OBS: torch.from_numpy(obs)}
            logits = self._module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
            q = self._module.compute_q_values(batch, squeeze=False)
            alpha = self._module.log_alpha.exp().expand(len(obs), 1)
            return torch.cat((logits, q, alpha), dim=1).numpy()

    def values(self, ratings: Observations, mask: Bools) -> Floats:
        """(B,) V."""
        actions = mask.shape[1]
        log_pi = log_policy(ratings[:, :actions], mask)
        alpha = ratings[:, -1:]
        worth = ratings[:, actions : 2 * actions] - alpha * np.where(mask, log_pi, 0.0)
        return (np.exp(log_pi) * worth).sum(axis=1)

    def values_taken(self, ratings: Observations, actions: Ints) -> Floats:
        """(B,) min Q of the actions taken."""
        first = ratings.shape[1] // 2  # of A + A + 1 columns
        return ratings[np.arange(len(ratings)), first + actions].astype(float)


class GatedSACModule(DefaultSACTorchRLModule):
    """RLlib's SAC networks for discrete actions, and the temperature, which V is made of, too."""

    def setup(self) -> None:
        """Builds the networks."""
        super().setup()
        assert isinstance(self.action_space, gym.spaces.Discrete)
        self.register_buffer("log_alpha", torch.zeros(1))

    def acting_function(self) -> SoftActorCritic:
        """What it acts with."""
        return SoftActorCritic(self)
