"""What a person sees of a server: the line, the picture, and the units that it draws."""

import gymnasium
import numpy as np
import pytest

import mec_rllib
from mec_rllib.envs.mec_env import MecEnv
from mec_rllib.envs.vector import MecVectorEnv
from mec_rllib.envs.viewer import units_ahead

SLOW = {"name": "slow", "mix": 1, "resources": [2, 5], "execution": [3, 9], "slack": [9, 30]}
CROWDED = {"load": 1.5, "classes": [SLOW | {"weight": 1}]}


@pytest.mark.parametrize("mode", ["drain", "backfill", "pause"])
@pytest.mark.parametrize("runs_before", [0, 1])  # the training job waits, or runs already
def test_the_units_drawn_are_those_that_are_held(mode, runs_before):
    job = {"slots": 4, "share": 0.6, "mode": mode}
    env = MecEnv(training_job=job, **CROWDED)
    _, info = env.reset(seed=1)
    env.action_space.seed(0)
    for _ in range(8):
        for _ in range(25):
            *_, info = env.step(env.action_space.sample(mask=info["action_mask"]))
        env.request_training()
        while runs_before and env.servers.servers.training[0] < 1:
            env.step(0)
        users, training = units_ahead(env.servers, 0, slots=20)
        tally = env.servers.tally
        for k in range(20):
            used, trained = tally.used[0].copy(), tally.training_slots[0]
            *_, info = env.step(0)
            np.testing.assert_array_equal(tally.used[0] - used, users[k])
            assert (tally.training_slots[0] - trained) * 6 == training[k]
        assert training.any()


def test_units_ahead_by_hand():
    """10 units; a job of 4 units for 3 slots has just started, a training job of 2 waits for it."""
    one = {"name": "one", "mix": 1, "resources": [4, 4], "execution": [3, 3], "slack": [9, 9]}
    env = MecEnv(classes=[one | {"weight": 1}], load=0.1, training_job={"slots": 2})
    _, info = env.reset(seed=0)
    while not info["action_mask"][1]:
        *_, info = env.step(0)
    env.step(1)
    env.request_training()
    users, training = units_ahead(env.servers, 0, slots=6)
    np.testing.assert_array_equal(users[:, 0], [4, 4, 0, 0, 0, 0])
    np.testing.assert_array_equal(training[:, 0], [0, 0, 10, 10, 0, 0])


def picture_after(steps, requests=False, **settings):
    env = gymnasium.make(mec_rllib.ENV_ID, render_mode="rgb_array", **settings)
    env.reset(seed=1)
    for _ in range(steps):
        env.step(0)
    if requests:
        env.unwrapped.request_training()
    return env.render()


def test_a_picture_shows_the_buffer_and_the_training_job():
    empty = picture_after(0, load=0.01)
    assert empty.dtype == np.uint8
    assert empty.shape[2] == 3
    assert (empty.shape[0] % 2, empty.shape[1] % 2) == (0, 0)  # what makes films wants it
    crowded = picture_after(30, load=1.5)
    training = picture_after(30, requests=True, load=1.5)
    assert empty.shape == crowded.shape == training.shape
    half = empty.shape[1] // 2
    coloured = lambda picture: (np.ptp(picture.astype(int), axis=2) > 30).sum()  # noqa: E731
    assert coloured(empty) == 0
    assert coloured(crowded[:, half:]) > 1000  # the buffer is on the right
    dark = lambda picture: (picture[60:-60, :half].max(axis=2) < 60).sum()  # noqa: E731
    assert dark(training) > dark(crowded) + 100  # its units are on the left
    np.testing.assert_array_equal(crowded, picture_after(30, load=1.5))


def test_units_in_use_are_blue():
    env = MecEnv(render_mode="rgb_array", **CROWDED)
    _, info = env.reset(seed=1)
    blue = lambda p: ((p[..., 2] > 150) & (p[..., 0] < 60))[:, :400].sum()  # noqa: E731
    assert blue(env.render()) == 0
    while not info["action_mask"][1:].any():
        *_, info = env.step(0)
    env.step(int(info["action_mask"][1:].argmax()) + 1)
    assert blue(env.render()) > 1000


def test_large_servers_are_drawn_too():
    kinds = [[1, 2]] * 3
    job = {"name": "a $name$ of many letters", "mix": 1, "resources": kinds, "weight": 1}
    times = {"execution": [1, 50], "slack": [0, 90]}
    picture = picture_after(60, buffer=50, capacity=[9, 8, 7], load=3.0, classes=[job | times])
    assert picture.shape[0] > picture_after(0).shape[0]  # a panel for each kind


def test_a_fleet_shows_every_server():
    fleet = gymnasium.make_vec(mec_rllib.ENV_ID, num_envs=3, render_mode="ansi", load=0.9)
    fleet.reset(seed=4)
    alone = MecEnv(server_index=2, render_mode="ansi", load=0.9)
    alone.reset(seed=4)
    for _ in range(5):
        fleet.step(np.zeros(3, int))
        alone.step(0)
    lines = fleet.unwrapped.render()
    assert len(lines) == 3
    assert lines[2] == alone.render()
    assert lines[2].startswith("slot 5: 0 in use, [")
    assert MecVectorEnv(2).render() is MecEnv().render() is None
    pictures = MecVectorEnv(2, render_mode="rgb_array").render()
    assert pictures[0].shape == pictures[1].shape


@pytest.mark.parametrize("build", [MecEnv, MecVectorEnv])
def test_another_render_mode_is_refused(build):
    with pytest.raises(ValueError, match="must be ansi, rgb_array or None, not 'movie'"):
        build(render_mode="movie")


@pytest.mark.parametrize("mode", ["rgb_array_list", "ansi_list"])
def test_gymnasium_collects_what_is_shown(mode):
    env = gymnasium.make(mec_rllib.ENV_ID, render_mode=mode)
    env.reset(seed=0)
    env.step(0)
    assert len(env.render()) == 2
