"""Networks and explorations of a user's own: what acts, what learns, and what is refused."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.dqn.dqn_learner import QF_NEXT_PREDS, QF_PREDS, QF_TARGET_NEXT_PREDS
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, QNetAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule

from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.dqn.learner import GatedDQNTorchLearner
from mec_rllib.rl.dqn.q_function import QFunction
from mec_rllib.rl.exploration import Greedy
from mec_rllib.rl.modules import acting_function
from mec_rllib.rl.policy_file import save_policy

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def weights_of(algorithm):
    return copy.deepcopy(algorithm.get_module().state_dict())


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def learner_of(algorithm):
    return algorithm.learner_group._learner


class Shortest(TorchRLModule, QNetAPI, TargetNetworkAPI, InferenceOnlyAPI):
    """A user's Q-network, written from scratch: one layer."""

    def setup(self):
        sizes = self.observation_space.shape[0], int(self.action_space.n)
        self.layer = torch.nn.Linear(*sizes)

    def make_target_networks(self):
        self._target = copy.deepcopy(self.layer)

    def get_target_network_pairs(self):
        return [(self.layer, self._target)]

    def forward_target(self, batch, **kwargs):
        return self._target(batch[Columns.OBS])

    def compute_q_values(self, batch, **kwargs):
        return {QF_PREDS: self.layer(batch[Columns.OBS])}

    def get_non_inference_attributes(self):
        return ["_target"]

    def _forward_train(self, batch, **kwargs):
        q_next = self.layer(batch[Columns.NEXT_OBS])
        targets = {
            QF_TARGET_NEXT_PREDS: self.forward_target({Columns.OBS: batch[Columns.NEXT_OBS]})
        }
        return self.compute_q_values(batch) | targets | {QF_NEXT_PREDS: q_next}


class Stubborn(Shortest):
    """It says itself what it acts with: always the last action, if it is allowed."""

    def acting_function(self):
        return LastAction(self)


class LastAction(QFunction):
    def __call__(self, obs):
        return np.tile(np.arange(self._actions, dtype=np.float32), (len(obs), 1))


@pytest.mark.parametrize("network", [Shortest, Stubborn])
def test_a_users_own_network_acts_and_learns(network):
    algorithm = (
        GatedDQNConfig()
        .gating("ats", updates_per_job=4)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=network))
        .acting(slots_per_iteration=1500, exploration=Greedy)
        .build_algo()
    )
    before = weights_of(algorithm)
    algorithm.train()
    assert algorithm.learner_updates == 4 * algorithm.totals.training_jobs > 0
    assert not same(before, weights_of(algorithm))
    algorithm.stop()


def test_a_module_that_does_not_say_what_it_acts_with_is_refused():
    with pytest.raises(ValueError, match="TorchRLModule does not say what it acts with: it needs"):
        acting_function(TorchRLModule.__new__(TorchRLModule))


def test_a_module_says_what_it_acts_with():
    module = Stubborn(
        observation_space=gym.spaces.Box(0.0, 1.0, (2,), np.float32),
        action_space=gym.spaces.Discrete(3),
        model_config={},
    )
    assert acting_function(module)(np.zeros((2, 2), np.float32)).argmax(axis=1).tolist() == [2, 2]


class Doubled(DefaultDQNTorchRLModule):
    """RLlib's layers, and a forward pass of its own."""

    def _qf_forward_helper(self, batch, encoder, head):
        out = super()._qf_forward_helper(batch, encoder, head)
        return out | {QF_PREDS: 2.0 * out[QF_PREDS]}


def test_a_forward_pass_of_ones_own_is_not_passed_over():
    """Its layers are those of a plain ReLU network, which compiled code knows."""
    algorithm = (
        GatedDQNConfig()
        .gating("ats", updates_per_job=4)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=Doubled))
        .acting(slots_per_iteration=20)
        .build_algo()
    )
    algorithm.train()
    assert algorithm.plays.startswith("slot by slot: network")
    assert learner_of(algorithm)._compiled_updates is None
    module = algorithm.get_module()
    obs = np.ones((3, algorithm.env_runner.env.encoder.size), np.float32)
    with torch.no_grad():
        q = module.compute_q_values({Columns.OBS: torch.from_numpy(obs)})[QF_PREDS]
    np.testing.assert_allclose(acting_function(module)(obs), q.numpy(), rtol=1e-5)
    algorithm.stop()


class CountingLearner(GatedDQNTorchLearner):
    """A user's learner: it notes how often it was asked."""

    asked = 0

    def learn(self, *args):
        self.asked += 1
        return super().learn(*args)


class Scaled(QFunction):
    """Q-values, then a multiple of them: what the exploration below acts on."""

    def __init__(self, module):
        super().__init__(module)
        self._scale = module.model_config["scale"]

    def __call__(self, obs):
        q = super().__call__(obs)
        return np.concatenate((q, self._scale * q), axis=1)


class ScaledModule(DefaultDQNTorchRLModule):
    """A user's network: all that belongs to it is said here."""

    learner_class = CountingLearner

    def acting_function(self):
        return Scaled(self)


class Worst(Greedy):
    """A user's exploration with a network of its own: takes the worst allowed action."""

    network = ScaledModule

    def __init__(self, scale):
        self.seen = []

    @classmethod
    def network_config(cls, scale):
        return {"scale": scale}

    def choose(self, q, servers, slot, rng):
        own = q[:, servers.mask.shape[1] :]
        self.seen.append((own / q[:, : own.shape[1]]).max())
        return np.where(servers.mask, -own, -np.inf).argmax(axis=1)


def test_an_exploration_of_ones_own_brings_its_network_learner_and_arguments(tmp_path):
    config = GatedDQNConfig().gating("pts", period=50, updates_per_job=1)
    config.acting(exploration=Worst, exploration_args={"scale": -2.0}, slots_per_iteration=1000)
    algorithm = config.build_algo()
    algorithm.train()
    assert learner_of(algorithm).asked == algorithm.totals.training_jobs > 0
    np.testing.assert_allclose(algorithm.env_runner._exploration.seen, -2.0, rtol=1e-5)
    with pytest.raises(ValueError, match="ScaledModule has no name in mec_rllib"):
        save_policy(algorithm.get_module(), tmp_path, {})
    algorithm.stop()
