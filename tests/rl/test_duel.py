"""The duel: both play beside the real servers; who clearly earns more drives; searches are paid."""

import copy

import numpy as np
import pytest

from mec_rllib.callbacks.training_gate import TrainingGateCallback
from mec_rllib.gates import PTS, Never
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.duel import AGENT, RULE, Duel, DuelTerms, Score, _close_bin, lead_of
from mec_rllib.rl.env_runner import MecEnvRunner
from mec_rllib.rl.policy import GreedyPolicy
from mec_rllib.schedulers import SCHEDULERS
from mec_rllib.schedulers.base import run

QUICK = {
    "opens": 20,
    "drives_from": 60,
    "bin_slots": 20,
    "bins": 4,
    "period": 150,
    "window": 200,
    "candidates": 8,
}


def runner_of(gate=Never, gate_args=None, servers=1, **exploration_args):
    config = (
        GatedDQNConfig()
        .environment(env_config={"load": 0.9, "buffer": 6})
        .gating(gate=gate, gate_args=gate_args or {})
        .env_runners(num_envs_per_env_runner=servers)
        .replay(learning_starts=10)
        .acting(
            observe={"afterstates": True},
            exploration=Duel,
            exploration_args=QUICK | exploration_args,
        )
        .callbacks(TrainingGateCallback)
        .debugging(seed=4)
    )
    return MecEnvRunner(config=config)


def sums(batch):
    return [column.tolist() for column in batch.tally]


@pytest.mark.parametrize("driver", [RULE, AGENT])
def test_a_shadow_is_the_real_server_while_its_driver_drives(driver):
    """Nobody trains; so what the driver's shadow does is what happens."""
    runner = runner_of(drives_from=10**6, period=10**6, servers=2)
    runner._exploration._score.driver[0] = driver
    for slots in (1, 700, 900):  # beyond a chunk of arrivals
        runner.sample(num_slots=slots)
    assert runner.plays == "compiled stretches"
    agents, rules = runner._exploration._apart
    real = sums(runner.env.servers)
    # Slot 0 has arrivals before anybody plays: shadows begin empty, a slot later.
    for mine, theirs in zip(sums((agents, rules)[driver == RULE]), real, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=12)
    other = sums((rules, agents)[driver == RULE])
    assert np.abs(np.array(other[1]) - np.array(real[1])).max() > 20


def test_the_rule_that_drives_is_the_rule():
    runner = runner_of(drives_from=10**6, period=10**6)
    runner.sample(num_slots=500)
    alone = runner_of().env.servers
    run(alone, SCHEDULERS["reservation"](), 500)
    assert sums(alone) == sums(runner.env.servers)


def test_the_agent_that_drives_is_the_greedy_policy():
    runner = runner_of(drives_from=10**6, period=10**6)
    runner._exploration._score.driver[0] = AGENT
    runner.sample(num_slots=500)
    alone = runner_of().env.servers
    run(alone, GreedyPolicy(runner.module, {"afterstates": True}), 500)
    assert sums(alone) == sums(runner.env.servers)


TERMS = DuelTerms(opens=0, drives_from=40, bin_slots=10, clearly=1.0)


def played(bins, size=4):
    """Who drives after each bin."""
    score = Score(np.array([RULE]), np.zeros(size), np.array([0]), np.zeros(1))
    drivers = []
    for k, value in enumerate(bins, start=1):
        score.open[0] = value
        _close_bin(score, TERMS, k * 10)
        drivers.append(int(score.driver[0]))
    return drivers, score


def test_the_wheel_by_hand():
    # From slot 40 on the agent may drive; the one who has earned more begins.
    drivers, _ = played([1.0, -0.5, 0.1, 0.2])
    assert drivers == [RULE, RULE, RULE, AGENT]
    # Mean -0.175, its standard error 0.19: not clear. Then mean -0.55, 0.51: clear.
    drivers, score = played([1.0, -0.5, 0.1, 0.2, -0.5, -2.0])
    assert drivers[3:] == [AGENT, AGENT, RULE]
    bins = np.array([-0.5, -2.0, 0.1, 0.2])
    assert lead_of(score) == pytest.approx(bins.mean() / (bins.std(ddof=1) / 2))


def test_a_world_that_turns_over_turns_the_wheel():
    rng = np.random.default_rng(0)
    drivers, _ = played(np.r_[rng.normal(1, 1, 60), rng.normal(-1, 1, 60)], size=10)
    assert np.mean(drivers[10:60]) > 0.95
    assert np.mean(drivers[70:]) < 0.05
    noise, _ = played(rng.normal(0, 1, 2000), size=10)
    assert 0.2 < np.mean(noise) < 0.8  # no side is preferred


def test_a_search_is_paid_with_the_next_training_jobs():
    runner = runner_of(PTS, {"period": 15}, slots_per_job=300, price=2.0)
    paid = runner.sample(num_slots=140).credits.sum()
    assert paid == runner.env.servers.tally.training_jobs.sum() > 3
    later = runner.sample(num_slots=300)
    # 8 rules have played 151 slots, then 200: 2 * 1208 / 300 and 2 * 1600 / 300 jobs, rounded up.
    searches = int(runner._exploration.metrics(0)["searches"])
    owed = {1: 9, 2: 9 + 11}[searches]
    paid = len(later.training_slots) - later.credits.sum()
    assert paid == owed - runner._exploration._debt > 3


def test_a_rule_acts_when_its_search_is_paid():
    runner = runner_of(Never, drives_from=10**6, price=0.0, candidates=40)
    before = runner.sample(num_slots=140) and runner._exploration._vector.copy()
    runner.sample(num_slots=400)
    assert (runner._exploration._vector != before).any()
    runner = runner_of(Never, drives_from=10**6, candidates=40)  # nothing is ever paid
    runner.sample(num_slots=540)
    np.testing.assert_array_equal(runner._exploration._vector, before)


def test_a_copy_of_it_goes_on_alike_and_by_itself():
    first, second = (runner_of(PTS, {"period": 15}) for _ in range(2))
    first.sample(num_slots=333)
    state = first.get_play_state()
    kept = copy.deepcopy(state["exploration"]._apart[0].tally.reward)
    second.module.set_state(first.module.get_state())
    second.set_play_state(state)
    ours, theirs = (runner.sample(num_slots=700) for runner in (first, second))
    np.testing.assert_array_equal(ours.transitions.actions, theirs.transitions.actions)
    np.testing.assert_array_equal(state["exploration"]._apart[0].tally.reward, kept)
    assert first._exploration.metrics(0) == second._exploration.metrics(0)
