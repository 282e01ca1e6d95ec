"""The deployable agent's network: one value function over afterstates, for all actions."""

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.dqn.default_dqn_rl_module import QF_PREDS
from ray.rllib.algorithms.dqn.dqn_catalog import DQNCatalog
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.core.columns import Columns

from mec_rllib.compiled import is_ours
from mec_rllib.envs.observation import Observations
from mec_rllib.rl.dqn.learner import GatedDQNTorchLearner
from mec_rllib.rl.dqn.mlp import Array, Layers, fused, predict, represent
from mec_rllib.rl.dqn.mlp_update import copy, count_allowed, descend, huber, propagate
from mec_rllib.rl.dqn.q_function import QFunction, rate
from mec_rllib.rl.dqn.updates import Train
from mec_rllib.rl.replay.afterstates import AfterstateReplay
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


class AfterstateNetwork(NamedTuple):
    """A network over afterstates, with one output."""

    layers: Layers
    actions: int  # M + 1


@rate.of(AfterstateNetwork)
def _rate_afterstates(network, obs):
    return _q_of_allowed(network.layers, obs, network.actions)


class AfterstateQ(QFunction):
    """Q-values (B, M + 1) to act with; of afterstates of allowed actions only."""

    @property
    def compiled_network(self) -> AfterstateNetwork | None:
        """As for any Q-function."""
        if self._layers is None or not is_ours(self):
            return None
        return AfterstateNetwork(self._layers, self._actions)

    def evaluate(self, layers: Layers, obs: Observations) -> Observations:
        """The same, by compiled code."""
        return _q_of_allowed(layers, obs, self._actions)


@fused
def train_on_afterstates(networks, adam, uniforms, rows, priorities, afterstates):
    """As `mlp_update.train`, for values of afterstates."""
    sums = np.zeros(3)
    for k in range(len(uniforms)):
        drawn, importance = draw(priorities, uniforms[k])
        errors = differentiate_afterstates(networks, rows, afterstates, drawn, importance, sums)
        descend(adam)
        reprioritize(priorities, drawn, errors)
    return sums


@fused
def differentiate_afterstates(networks, rows, afterstates, drawn, importance, sums):
    """As `differentiate`, where Q = certain reward + V(afterstate), V the network's one output."""
    batch = len(drawn)
    shown = _shown(rows, afterstates, drawn)
    if networks.double_q:
        inputs = represent(networks.online, shown)
        v = _values(networks.online, inputs)
        judged = v[batch:]
    else:
        inputs = represent(networks.online, shown[:batch])
        v = _values(networks.online, inputs)
        judged = _values(networks.target, represent(networks.target, shown[batch:]))
    certain, best = _best_next(rows, afterstates, drawn, judged)
    v_best = _values(networks.target, represent(networks.target, best))
    q, goals = np.empty((2, batch))
    for b in range(batch):
        row = drawn[b]
        q[b] = afterstates.taken[row, 0] + v[b]
        goals[b] = rows.rewards[row] + rows.discounts[row] * (certain[b] + v_best[b])
    errors, slopes = huber(q, goals, importance, sums)
    propagate(networks, inputs, np.zeros(batch, np.int64), slopes)
    return errors


@fused
def _values(layers, inputs):
    """V (B,) of what has been represented (see `represent`)."""
    weight, bias = layers[-1]
    v = np.dot(inputs[-1], weight[0])
    for b in range(len(v)):
        v[b] += bias[0]
    return v


@fused
def _shown(rows, afterstates, drawn):
    """Afterstates taken (B, F), then those to choose from, where more than one is allowed."""
    taken, ring, first = afterstates
    batch, count = len(drawn), len(drawn)
    for row in drawn:
        allowed = count_allowed(rows.next_mask[row])
        count += allowed if allowed > 1 else 0
    shown = np.empty((count, ring.shape[1] - 1), np.float32)
    k = batch
    for b in range(batch):
        copy(taken[drawn[b], 1:], shown[b])
        allowed = count_allowed(rows.next_mask[drawn[b]])
        for j in range(allowed if allowed > 1 else 0):
            copy(ring[(first[drawn[b]] + j) % len(ring), 1:], shown[k])
            k += 1
    return shown


@fused
def _best_next(rows, afterstates, drawn, judged):
    """Certain rewards (B,) and features (B, F) of the best afterstates that are allowed next."""
    _, ring, first = afterstates
    certain = np.empty(len(drawn), np.float32)
    best = np.empty((len(drawn), ring.shape[1] - 1), np.float32)
    k = 0
    for b in range(len(drawn)):
        allowed, place = count_allowed(rows.next_mask[drawn[b]]), first[drawn[b]] % len(ring)
        if allowed > 1:
            highest = -np.inf
            for j in range(allowed):
                other = (first[drawn[b]] + j) % len(ring)
                q = ring[other, 0] + judged[k]
                if q > highest:
                    place, highest = other, q
                k += 1
        certain[b] = ring[place, 0]
        copy(ring[place, 1:], best[b])
    return certain, best


class AfterstateLearner(GatedDQNTorchLearner):
    """As for any network; its gradient is written out for values of afterstates."""

    train: Train = staticmethod(train_on_afterstates)
    trains_from: type[Any] = AfterstateReplay


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


@fused
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
    q[allowed] = blocks[allowed, 0] + predict(layers, blocks[allowed][:, 1:].copy())[:, 0]
    return q.reshape(len(obs), actions)
