"""SAC and PPO under the gates: paid updates, psi from V, the losses over the actions allowed."""

import numpy as np
import pytest
import torch

from mec_rllib.config.load import build
from mec_rllib.errors import ConfigError
from mec_rllib.rl.actor_critic.algorithms import GatedPPOConfig, GatedSACConfig
from mec_rllib.rl.actor_critic.modules import SoftActorCritic
from mec_rllib.rl.masks import log_policy
from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.modules import acting_function
from mec_rllib.rl.policy_file import load_policy, save_policy
from mec_rllib.rl.replay.rollout import Rollout, advantages, minibatches

CONFIGS = {"sac": GatedSACConfig, "ppo": GatedPPOConfig}


def build_algorithm(name, gate="pts", servers=1, slots=1500):
    return (
        CONFIGS[name]()
        .gating(gate, updates_per_job=4)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=servers)
        .acting(slots_per_iteration=slots)
        .debugging(seed=0)
        .build_algo()
    )


def weights_of(algorithm):
    return {k: v.clone() for k, v in algorithm.get_module().state_dict().items()}


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("gate", "servers"), [("ats", 1), ("pts", 4), ("never", 1)])
def test_every_update_is_paid_for(name, gate, servers):
    algorithm = build_algorithm(name, gate, servers, slots=2000)
    before = weights_of(algorithm)
    algorithm.train()
    jobs = int(algorithm.totals.training_jobs)
    assert algorithm.learner_updates == 4 * jobs
    assert (jobs > 0) == (gate != "never")
    after = weights_of(algorithm)
    assert all(torch.equal(before[k], after[k]) for k in before) == (gate == "never")
    algorithm.stop()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", CONFIGS)
def test_a_resumed_run_goes_on_bit_for_bit(name, tmp_path):
    whole, first, second = (build_algorithm(name) for _ in range(3))
    for algorithm in (whole, whole, first):
        algorithm.train()
    first.save_to_path(tmp_path / "checkpoint")
    second.restore_from_path(tmp_path / "checkpoint")
    second.train()
    a, b = weights_of(whole), weights_of(second)
    assert all(torch.equal(a[k], b[k]) for k in a)
    for algorithm in (whole, first, second):
        algorithm.stop()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", CONFIGS)
def test_a_policy_file_holds_the_policy_without_pickle(name, tmp_path):
    algorithm = build_algorithm(name, slots=300)
    algorithm.train()
    module = algorithm.get_module()
    save_policy(module, tmp_path, {})
    loaded, observe = load_policy(tmp_path)
    assert type(loaded) is type(module)
    assert observe == {}
    obs = np.random.default_rng(0).random((9, *module.observation_space.shape), np.float32)
    ratings = acting_function(module)(obs)
    np.testing.assert_array_equal(acting_function(loaded)(obs), ratings)
    algorithm.stop()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_pretrained_sac_goes_on_with_its_temperature():
    pretrained, algorithm = build_algorithm("sac"), build_algorithm("sac")
    pretrained.train()
    learned = pretrained.get_module().log_alpha.clone()
    assert learned != algorithm.get_module().log_alpha
    algorithm.start_from(pretrained.get_module())
    learner = algorithm.learner_group._learner
    assert learner.curr_log_alpha["default_policy"].detach() == learned
    before = algorithm.learner_updates
    algorithm.train()
    assert algorithm.learner_updates > before
    assert abs(algorithm.get_module().log_alpha - learned) < 0.1  # a few small steps from there
    for built in (pretrained, algorithm):
        built.stop()


def test_v_of_sac_by_hand():
    """Two allowed actions with chances 1/2: V = 0.5 * (1 + 3) + alpha * log 2."""
    ratings = np.array([[0.0, 0.0, 9.0, 1.0, 3.0, 100.0, 0.1]], np.float32)
    mask = np.array([[True, True, False]])
    values = SoftActorCritic.values(None, ratings, mask)
    np.testing.assert_allclose(values, 2.0 + 0.1 * np.log(2), rtol=1e-5)
    taken = SoftActorCritic.values_taken(None, ratings, np.array([1]))
    np.testing.assert_allclose(taken, 3.0)
    np.testing.assert_allclose(np.exp(log_policy(ratings[:, :3], mask)), [[0.5, 0.5, 0.0]])


def rollout_of(slots, rewards=1.0):
    shape = (slots, 1)
    return Transitions(
        obs=np.zeros((*shape, 2), np.float32),
        actions=np.zeros(shape, np.int64),
        rewards=np.full(shape, rewards, np.float32),
        next_obs=np.zeros((*shape, 2), np.float32),
        next_mask=np.ones((*shape, 3), bool),
        discounts=np.full(shape, 0.5),
        mask=np.ones((*shape, 3), bool),
    )


def test_advantages_by_hand():
    """Reward 1, V = 1, gamma 0.5: each slot surprises by 0.5; decay 0.5 adds half of the next."""
    ones = np.ones((3, 1))
    found = advantages(rollout_of(3), ones, ones, decay=0.5)
    np.testing.assert_allclose(found.ravel(), [0.875, 0.75, 0.5])


def test_a_rollout_is_used_up_and_keeps_the_newest():
    rollout = Rollout(capacity=4, servers=1, batch=2)
    for k in range(20):
        rollout.add(rollout_of(1, rewards=k).flat())
    assert rollout.can_train
    np.testing.assert_array_equal(rollout.take().rewards.ravel(), [16, 17, 18, 19])
    assert len(rollout) == 0
    assert not rollout.can_train  # no minibatch since the last training
    with pytest.raises(ValueError, match="empty rollout"):
        rollout.take()
    rollout.add(rollout_of(1).flat())
    assert not rollout.can_train
    rollout.add(rollout_of(1).flat())
    assert rollout.can_train


def test_minibatches_show_every_row_once_per_epoch():
    parts = list(minibatches(10, 4, 6, np.random.default_rng(0)))
    assert [len(part) for part in parts] == [4, 4, 2, 4, 4, 2]
    for epoch in (parts[:3], parts[3:]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(10))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"agent": "sac", "exploration": "guided"}, "exploration is guided"),
        ({"exploration": "sampled"}, "does not go with learner.algorithm dqn"),
        ({"agent": "ppo", "runners": {"num": 1}}, "needs runners.num 0"),
        ({"agent": "ppo", "env": {"gym": {"id": "CartPole-v1"}}}, "continuing tasks only"),
    ],
)
def test_what_does_not_go_together_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        build(values, "test")
