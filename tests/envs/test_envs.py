"""The Gymnasium face: the checkers' view, registration, and N = 1 against N = 64."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import mec_rllib
from mec_rllib.envs.mec_env import MecEnv
from mec_rllib.envs.reference_env import MecReferenceEnv
from mec_rllib.envs.vector import MecVectorEnv


def test_env_checker_has_no_complaints():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(mec_rllib.ENV_ID, max_episode_steps=-1, disable_env_checker=True)
        check_env(env.unwrapped)


def test_importing_the_package_registers_the_environment():
    env = gymnasium.make(mec_rllib.ENV_ID, load=0.5, buffer=4)
    observation, info = env.reset(seed=1)
    assert observation.shape == (4 * 4 + 2,)
    assert info["action_mask"].shape == (5,)


@pytest.mark.parametrize("index", [0, 7, 63])
def test_a_server_of_64_is_the_server_alone(index):
    fleet, alone = MecVectorEnv(64, load=0.6), MecEnv(server_index=index, load=0.6)
    fleet.reset(seed=5)
    alone.reset(seed=5)
    for slot in range(1500):  # longer than a chunk of drawn jobs
        mask = fleet.servers.mask
        actions = mask.argmax(axis=1) + (mask.sum(axis=1) > 1)  # first job that fits, or nothing
        if slot % 40 == 0:
            fleet.request_training(np.ones(64, bool))
            alone.request_training()
            mask = fleet.servers.mask
            actions = np.zeros(64, int)
        observations, rewards, *_ = fleet.step(actions)
        observation, reward, *_ = alone.step(actions[index])
        assert reward == rewards[index]
        np.testing.assert_array_equal(observation, observations[index])
    assert alone.servers.tally.training_jobs[0] > 10


KINDS = [{"name": "small", "share": 0.5}, {"name": "large", "slots": 4}]


@pytest.mark.parametrize(
    "settings",
    [{}, {"load": 0.9, "buffer": 5, "capacity": 12}, {"load": 0.6, "training_job": KINDS}],
)
def test_the_environment_is_the_plain_python_one_bit_for_bit(settings):
    fast, plain = MecEnv(server_index=3, **settings), MecReferenceEnv(server_index=3, **settings)
    pairs = [(fast.reset(seed=9)[0], plain.reset(seed=9)[0])]
    np.testing.assert_array_equal(*pairs[0])
    rng = np.random.default_rng(0)
    for slot in range(3000):  # longer than two chunks of drawn jobs
        if slot % 50 == 0:
            kind = slot // 50 % fast.servers.kinds
            fast.request_training(kind)
            plain.server.request_training(kind)
        action = int(rng.integers(fast.action_space.n))
        observation, reward, _, _, info = fast.step(action)
        expected, expected_reward, _, _, expected_info = plain.step(action)
        assert reward == expected_reward
        np.testing.assert_array_equal(observation, expected)
        for name, value in expected_info.items():
            np.testing.assert_array_equal(info[name], value)


def test_an_episode_is_bookkeeping_and_empties_nothing():
    env = gymnasium.make(mec_rllib.ENV_ID)
    env.reset(seed=3)
    for _ in range(250):
        *_, truncated, _ = env.step(0)
    assert truncated
    before = env.unwrapped.servers.servers.waiting.copy()
    env.reset()
    assert env.unwrapped.servers.slot == 250
    assert env.unwrapped.servers.servers.waiting == before


def test_a_mask_is_what_gymnasium_samples_with():
    env = gymnasium.make(mec_rllib.ENV_ID, load=0.9)
    plain = MecReferenceEnv(load=0.9)
    for world in (env, plain):
        _, info = world.reset(seed=2)
        for _ in range(60):
            action = world.action_space.sample(mask=info["action_mask"])
            assert info["action_mask"][action]
            *_, info = world.step(action)
    assert env.unwrapped.servers.mask.dtype == bool  # inside


def test_the_masks_of_a_fleet_are_what_gymnasium_samples_with():
    fleet = gymnasium.make_vec(mec_rllib.ENV_ID, num_envs=4, load=0.9)
    _, infos = fleet.reset(seed=2)
    for _ in range(60):
        actions = fleet.action_space.sample(mask=tuple(infos["action_mask"]))
        assert infos["action_mask"][np.arange(4), actions].all()
        *_, infos = fleet.step(actions)


def test_action_masks_are_for_sb3_contrib():
    env = gymnasium.make(mec_rllib.ENV_ID, load=0.9)
    fleet = gymnasium.make_vec(mec_rllib.ENV_ID, num_envs=2, load=0.9)
    env.reset(seed=1)
    fleet.reset(seed=1)
    for _ in range(20):
        *_, info = env.step(0)
        *_, infos = fleet.step(np.zeros(2, int))
    masks = env.get_wrapper_attr("action_masks")()
    assert (masks.dtype, masks.shape) == (bool, (11,))
    assert 1 < masks.sum() < 11
    np.testing.assert_array_equal(masks, info["action_mask"])
    np.testing.assert_array_equal(fleet.unwrapped.action_masks(), infos["action_mask"])
    masks[:] = False  # a copy
    assert env.unwrapped.servers.mask.any()
