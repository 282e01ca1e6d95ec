"""The deployable agent's network: one value function over afterstates, for all actions."""

from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.dqn.default_dqn_rl_module import QF_PREDS
from ray.rllib.algorithms.dqn.dqn_catalog import DQNCatalog
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.core.columns import Columns

from mec_rllib.envs.observation import Observations
from mec_rllib.rl.dqn.learner import GatedDQNTorchLearner
from mec_rllib.rl.dqn.mlp import Array, Layers, compiled, forward
from mec_rllib.rl.dqn.mlp_update import descend, propagate
from mec_rllib.rl.dqn.q_function import QFunction
from mec_rllib.rl.dqn.updates import Train
from mec_rllib.rl.replay.afterstates import AfterstateReplay, blocks_reached
from mec_rllib.rl.replay.priorities import draw, reprioritize


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


class AfterstateQ(QFunction):
    """Q-values (B, M + 1) to act with; of afterstates of allowed actions only."""

    def evaluate(self, layers: Layers, obs: Observations) -> Observations:
        """The same, by compiled code."""
        return _q_of_allowed(layers, obs, self._actions)


@compiled
def train_on_afterstates(networks, adam, uniforms, rows, priorities, afterstates):
    """As `mlp_update.train`, for values of afterstates."""
    losses, q_values, errors = (
        np.empty(len(uniforms)),
        np.empty(len(uniforms)),
        np.empty_like(uniforms),
    )
    for k in range(len(uniforms)):
        drawn, importance = draw(priorities, uniforms[k])
        losses[k], q_values[k], errors[k] = differentiate_afterstates(
            networks, rows, afterstates, drawn, importance
        )
        descend(adam)
        reprioritize(priorities, drawn, errors[k])
    return losses, q_values, errors


@compiled
def differentiate_afterstates(networks, rows, afterstates, drawn, importance):
    """As `differentiate`, where Q = certain reward + V(afterstate), V the network's one output.

    Only afterstates of allowed actions are valued: mostly two or three of M + 1.
    """
    batch, features = len(drawn), afterstates.ring.shape[1] - 1
    taken = np.empty((batch, features), np.float32)
    certain, reached = blocks_reached(afterstates, rows.next_mask, drawn)
    for b in range(batch):
        taken[b] = afterstates.taken[drawn[b], 1:]
    _, v_next = forward(networks.online, reached)
    _, v_target = forward(networks.target, reached)
    inputs, v = forward(networks.online, taken)
    judge = v_next if networks.double_q else v_target
    delta = np.empty_like(v)  # dLoss/dV
    errors = np.empty(batch)
    loss = q_sum = 0.0
    k = 0
    for b in range(batch):
        highest = -np.inf
        bootstrap = 0.0
        for a in range(rows.next_mask.shape[1]):
            if rows.next_mask[drawn[b], a]:
                if certain[k] + judge[k, 0] > highest:
                    highest, bootstrap = certain[k] + judge[k, 0], certain[k] + v_target[k, 0]
                k += 1
        q = afterstates.taken[drawn[b], 0] + v[b, 0]
        error = q - (rows.rewards[drawn[b]] + rows.discounts[drawn[b]] * bootstrap)
        slope = min(max(error, -1.0), 1.0)  # of the Huber loss
        loss += importance[b] * slope * (error - 0.5 * slope)
        delta[b, 0] = importance[b] * slope / batch
        errors[b] = abs(error)
        q_sum += q
    propagate(networks.online, inputs, delta, networks.gradient)
    return loss / batch, q_sum / batch, errors


class AfterstateLearner(GatedDQNTorchLearner):
    """As for any network; its gradient is written out for values of afterstates."""

    train: Train = staticmethod(train_on_afterstates)
    trains_from = AfterstateReplay


class AfterstateModule(DefaultDQNTorchRLModule):
    """Q(s, a) = certain reward + V(afterstate), on observations of `AfterstateEncoder`.

    Needs dueling=False and num_atoms=1.
    """

    learner_class = AfterstateLearner
    replay_class = AfterstateReplay

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs["catalog_class"] = AfterstateCatalog
        super().__init__(*args, **kwargs)

    def _qf_forward_helper(self, batch: dict[str, Any], encoder: Any, head: Any) -> dict[str, Any]:
        """Q-values (B, M + 1) of observations (B, (M + 1) * (F + 1))."""
        blocks = batch[Columns.OBS].unflatten(1, (int(self.action_space.n), -1))
        features = {Columns.OBS: blocks[..., 1:].flatten(0, 1)}
        values = super()._qf_forward_helper(features, encoder, head)[QF_PREDS]
        return {QF_PREDS: blocks[..., 0] + values.view(blocks.shape[:2])}

    def acting_function(self) -> AfterstateQ:
        """What it acts with."""
        return AfterstateQ(self)


@compiled
def _q_of_allowed(layers: Layers, obs: Array, actions: int) -> Array:
    """Q (B, M + 1) for observations (B, (M + 1) * (F + 1)) of afterstates and their rewards.

    Only afterstates of allowed actions are valued, mostly a few of M + 1; the Q of others is 0.
    """
    blocks = obs.reshape(len(obs) * actions, -1)
    allowed = np.empty(len(blocks), np.int64)
    count = 0
    for k in range(len(blocks)):
        # Some unit is free, or the time until one is free is above 0: other blocks are all zero.
        for j in range(1, blocks.shape[1]):
            if blocks[k, j] != 0.0:
                allowed[count] = k
                count += 1
                break
    allowed = allowed[:count]
    q = np.zeros(len(blocks), np.float32)
    q[allowed] = blocks[allowed, 0] + forward(layers, blocks[allowed][:, 1:].copy())[1][:, 0]
    return q.reshape(len(obs), actions)
