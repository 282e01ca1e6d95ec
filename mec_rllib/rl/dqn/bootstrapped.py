"""Bootstrapped DQN (Osband et al. 2016): K heads on one network disagree where little is known."""

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from ray.rllib.algorithms.dqn.default_dqn_rl_module import QF_PREDS
from ray.rllib.algorithms.dqn.dqn_catalog import DQNCatalog
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from torch import Tensor

from mec_rllib.envs.observation import Observations
from mec_rllib.envs.world import World
from mec_rllib.rl.dqn.learner import GatedDQNTorchLearner, td_loss
from mec_rllib.rl.dqn.q_function import QFunction
from mec_rllib.rl.exploration import Greedy
from mec_rllib.rl.masks import best_allowed
from mec_rllib.rl.messages import Transitions
from mec_rllib.sim.jobs import Ints

QF_HEADS = "qf_heads"  # (B, K * A), head by head
HEADS = 10


class HeadsCatalog(DQNCatalog):
    """RLlib's DQN networks with K * A outputs; K is `heads` in the module's config."""

    def __init__(
        self,
        observation_space: gym.spaces.Box,
        action_space: gym.spaces.Discrete,
        model_config_dict: dict,
        view_requirements: dict | None = None,
    ):
        outputs = gym.spaces.Discrete(model_config_dict["heads"] * int(action_space.n))
        super().__init__(observation_space, outputs, model_config_dict, view_requirements)


class BootstrappedQ(QFunction):
    """Q-values (B, A + K * A) to act with: the mean, then those of each head."""

    output = QF_HEADS

    def __call__(self, obs: Observations) -> Observations:
        """(B, F) observations to (B, A + K * A) Q-values, float32."""
        heads = super().__call__(obs)
        mean = heads.reshape(len(obs), -1, self._actions).mean(axis=1)
        return np.concatenate((mean, heads), axis=1)


class BootstrappedLearner(GatedDQNTorchLearner):
    """Every head learns from its own target; the loss is their sum."""

    def compute_flat_loss(
        self, module: "BootstrappedModule", drawn: Transitions, weights: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (scalar), Q of the actions taken (B,) and |TD error| (B,), means over the heads."""
        shape = (module.model_config["heads"], -1)
        obs, next_obs = torch.from_numpy(drawn.obs), torch.from_numpy(drawn.next_obs)
        q = module.compute_q_values({Columns.OBS: obs})[QF_HEADS].unflatten(1, shape)
        with torch.no_grad():
            judge, target = (
                network({Columns.OBS: next_obs})[QF_HEADS].unflatten(1, shape)
                for network in (module.compute_q_values, module.forward_target)
            )
        return td_loss(q, judge if self.config.double_q else target, target, drawn, weights)


class BootstrappedModule(DefaultDQNTorchRLModule):
    """K Q-functions that share all but the last layer; each has a target of its own.

    Q is the mean over the heads: with it the gate asks what training costs, and the trained policy
    acts. The heads differ by where they start from; all learn from all transitions (p = 1, as in
    the source's Atari experiments).
    """

    learner_class = BootstrappedLearner

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs["catalog_class"] = HeadsCatalog
        super().__init__(*args, **kwargs)

    def _qf_forward_helper(self, batch: dict[str, Any], encoder: Any, head: Any) -> dict[str, Any]:
        """Mean Q (B, A) and the heads' (B, K * A) of observations (B, F)."""
        heads, shared = self.model_config["heads"], encoder(batch)[ENCODER_OUT]
        # K heads send gradients back: what they share gets the mean, as in the source.
        shared = shared / heads + (shared - shared / heads).detach()
        q = head(shared)
        return {QF_PREDS: q.unflatten(1, (heads, -1)).mean(dim=1), QF_HEADS: q}

    def acting_function(self) -> BootstrappedQ:
        """What it acts with."""
        return BootstrappedQ(self)


FollowedSlots = Annotated[
    int,
    Field(
        ge=1,
        le=10**12,
        description="slots that a server follows a head; as long as the source's episodes",
    ),
]
Heads = Annotated[int, Field(ge=2, le=1000, description="K, heads of the network")]


class Bootstrapped(Greedy):
    """Follows one head of a bootstrapped DQN for a while, then another, drawn at random.

    Thompson sampling, and so deep exploration: a head is a Q-function that may be right, and it
    is followed for long. The source draws one per episode; here every `slots` slots
    (*reconstructed*: the task has no episodes), for each server by itself.

    Args:
        slots: that a head is followed.
        heads: K, of the network.
    """

    network = BootstrappedModule

    def __init__(self, slots: FollowedSlots = 250, heads: Heads = HEADS):
        self._slots, self._played = slots, 0
        self._head: Ints = np.zeros(0, np.int64)  # (N,)
        self._q_of_heads = np.zeros((0, 0, 0), np.float32)  # (N, K, A) of the last slot

    @classmethod
    def network_config(cls, heads: int = HEADS, **arguments: Any) -> dict[str, Any]:
        """The number of heads."""
        return {"heads": heads}

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed."""
        n, actions = servers.mask.shape
        heads = self._q_of_heads = q[:, actions:].reshape(n, -1, actions)
        if self._played % self._slots == 0:
            self._head = rng.integers(heads.shape[1], size=(n,))
        self._played += 1
        return best_allowed(heads[np.arange(n), self._head], servers.mask)[0]

    def metrics(self, slot: int) -> dict[str, float]:
        """How far the heads are apart: their standard deviation, mean over servers and actions."""
        return {"disagreement": float(self._q_of_heads.std(axis=1).mean())}
