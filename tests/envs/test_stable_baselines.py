"""stable-baselines3 and sb3-contrib, where they are installed (`pip install sb3-contrib`)."""

import warnings

import gymnasium
import numpy as np
import pytest

import mec_rllib

pytest.importorskip("stable_baselines3")
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env


@pytest.mark.parametrize("mode", [None, "rgb_array"])
def test_its_checker_has_no_complaints(mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(mec_rllib.ENV_ID, render_mode=mode))


def test_its_vector_environment_shows_pictures():
    env = make_vec_env(mec_rllib.ENV_ID, n_envs=2, seed=0, env_kwargs={"load": 0.6})
    env.reset()
    assert env.render("rgb_array").dtype == np.uint8


def test_a_maskable_agent_plays_what_is_allowed():
    contrib = pytest.importorskip("sb3_contrib")
    from sb3_contrib.common.maskable.utils import get_action_masks

    env = make_vec_env(mec_rllib.ENV_ID, n_envs=2, seed=0, env_kwargs={"load": 0.9})
    agent = contrib.MaskablePPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1)
    agent.learn(64)
    observations = env.reset()
    for _ in range(50):
        masks = get_action_masks(env)
        actions, _ = agent.predict(observations, action_masks=masks)
        assert masks[np.arange(2), actions].all()
        observations, *_ = env.step(actions)
