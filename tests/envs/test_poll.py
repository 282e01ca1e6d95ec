"""The polling server: its slot by hand, what training costs it, and its rule."""

import copy

import gymnasium
import numpy as np
import pytest

from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.poll.env import PollingServer
from mec_rllib.envs.poll.rules import Exhaustive
from mec_rllib.envs.poll.slot import GO, STAY, Polling, allow, dearest, play
from mec_rllib.schedulers import run

NOBODY = np.array([1.0, 1.0, 1.0, 1.0, 0.0])  # comes; who is served leaves
UNLUCKY = np.array([1.0, 1.0, 1.0, 1.0, 0.99])


def polling(waiting, at=0, set_up=0, costs=(1.0, 2.0, 1.0, 4.0)):
    return Polling(
        np.array(waiting),
        np.array([at]),
        np.array([set_up]),
        np.array([0.26, 0.20, 0.13, 0.07]),
        np.array(costs),
        np.zeros(4),
    )


def test_it_serves_and_pays_for_who_waits_by_hand():
    world = polling([2, 1, 0, 1])
    # after service 1 1 0 1 wait: -0.1 * 0.05 * (1 + 2 + 4)
    assert play(world, STAY, False, NOBODY) == pytest.approx(-0.035)
    assert play(world, STAY, False, UNLUCKY) == pytest.approx(-0.035)
    assert world.waiting.tolist() == [1, 1, 0, 1]


def test_it_takes_two_slots_to_go():
    world = polling([1, 1, 0, 1])
    assert dearest(world) == 3  # 4 * 1 against 2 * 1
    left = []
    for action in (GO, STAY, STAY):
        play(world, action, False, NOBODY)
        left.append((world.at[0], world.waiting[3]))
    assert left == [(3, 1), (3, 1), (3, 0)]


def test_who_finds_a_full_queue_is_lost():
    world = polling([12, 0, 0, 0])
    draws = np.array([0.0, 1.0, 1.0, 1.0, 0.99])
    assert play(world, STAY, False, draws) == pytest.approx(-0.1 * (0.05 * 12 + 2.0))
    assert world.waiting[0] == 12


@pytest.mark.parametrize(
    ("waiting", "allowed"),
    [([2, 0, 0, 0], [1, 0]), ([2, 1, 0, 0], [1, 1]), ([0, 1, 0, 0], [0, 1]), ([0] * 4, [1, 0])],
)
def test_nobody_stays_at_an_empty_queue_while_others_wait(waiting, allowed):
    found = np.empty(2, bool)
    allow(polling(waiting), found)
    assert found.tolist() == [bool(a) for a in allowed]


def test_a_training_job_holds_it_where_it_is():
    """At its queue it serves on; at an empty one it stays, though others wait."""
    world = polling([1, 3, 0, 0])
    for _ in range(3):
        play(world, GO, True, NOBODY)
    assert (world.at[0], world.waiting.tolist()) == (0, [0, 3, 0, 0])
    env = PollingServer()
    env.reset(seed=0)
    env.world.waiting[:] = 0, 3, 0, 0
    env.pay_for_training()
    env.step(GO)
    assert env.world.at[0] == 0
    env.step(GO)
    assert env.world.at[0] == 1


def test_what_gates_look_at():
    env = PollingServer()
    env.reset(seed=0)
    env.world.waiting[:] = 2, 3, 0, 0
    assert (env.use, env.queue, env.is_empty, env.is_idle) == (1.0, 5, False, False)
    env.world.set_up[0] = 1
    assert (env.use, env.is_empty) == (0.0, True)


@pytest.mark.parametrize("drift", [False, True])
def test_a_stored_world_plays_on_bit_for_bit(drift):
    env = PollingServer(drift)
    env.reset(seed=1)
    for t in range(7900 if drift else 300):
        env.step(t % 2)
    again = copy.deepcopy(env)
    for t in range(400):
        mine, theirs = env.step(t % 2), again.step(t % 2)
        np.testing.assert_array_equal(mine[0], theirs[0])
        assert mine[1] == theirs[1]
    assert (sorted(env.world.rates), sorted(env.world.costs)) == (
        [0.07, 0.13, 0.20, 0.26],
        [1.0, 1.0, 2.0, 4.0],
    )


@pytest.mark.parametrize(("job", "anchor"), [(False, -0.0571), (True, -0.0609)])
def test_the_rule_is_worth_what_the_prototype_measured(job, anchor):
    """Fewer slots than there: a seed scatters by 0.003."""
    gym = {"id": "Polling-v0", "cost": "own", "steps": 8}
    batch = EnvConfig.model_validate({"gym": gym}).build_world(4, 0)

    def train(done):
        if job and done % 200 == 199:
            batch.request_training(np.ones(4, bool))

    run(batch, Exhaustive(), 8000, train)
    assert batch.totals().mean_reward == pytest.approx(anchor, abs=0.004)
    assert bool(batch.totals().training_jobs) == job


def test_it_is_a_plain_gymnasium_environment():
    env = gymnasium.make("Polling-v0", drift=True)
    gymnasium.utils.env_checker.check_env(env.unwrapped, skip_render_check=True)
