"""What a training job costs, by playing on: in hindsight, and learned from what has been."""

import copy

import numpy as np
import pytest
from gym_worlds import Toll

import mec_rllib.rl.pricing
from mec_rllib.config.load import build as build_experiment
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.masks import best_allowed
from mec_rllib.trials.check import check_study

assert Toll is not None  # registers Toll-v0
pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
TOLL = {"gym": {"id": "Toll-v0", "cost": "own"}}
LLM = {"gym": {"id": "LlmServing-v0", "cost": "own", "steps": 8, "reward": "weight"}}
AHEAD = 20  # slots: enough here, and less to play than the usual 120


@pytest.fixture(autouse=True)
def not_so_far(monkeypatch):
    monkeypatch.setattr(mec_rllib.rl.pricing, "AHEAD", AHEAD)


def algorithm_of(score, env=TOLL, slots=300, servers=1, **keys):
    config = (
        GatedDQNConfig()
        .environment(env_config=env)
        .gating("budget", score=score, updates_per_job=20, **({"rate": 0.1} | keys))
        .env_runners(num_envs_per_env_runner=servers)
        .replay(learning_starts=50)
        .acting(slots_per_iteration=slots, exploration_args={"decay_slots": 300})
        .debugging(seed=0)
    )
    return config.build_algo()


def test_hindsight_is_the_difference_between_two_ways_to_go_on():
    """Played in the test once more, environment by environment."""
    algorithm = algorithm_of("hindsight", LLM, slots=40, servers=2)
    algorithm.train()
    runner = algorithm.env_runner
    world, pricer = runner.env.servers, algorithm._advisers["price"]
    before = copy.deepcopy(world.get_state())
    pricer.look(runner._memory.obs, world.can_ask)
    for env, kept in zip(world.envs, before["envs"], strict=True):
        expected = []
        for trains in (False, True):
            mine = copy.deepcopy(env)
            if trains:
                mine.request_training()
            total = 0.0
            for _ in range(AHEAD):
                q = runner._q(mine.observation()[None])
                action = best_allowed(q, mine.action_masks()[None])[0][0]
                total += mine.step(action)[1]
            expected.append(total)
        price = pricer.price[world.envs.index(env)]
        assert price == pytest.approx(expected[0] - expected[1], abs=1e-6)
        np.testing.assert_array_equal(env.observation(), kept.observation())  # nothing was played
    algorithm.stop()


@pytest.mark.parametrize("score", ["hindsight", "counterfactual"])
def test_it_trains_where_it_costs_nothing(score):
    """The coin is seen; a fair one is 1 in half of the slots."""
    algorithm = algorithm_of(score, slots=1200, min_history=100, window=200)
    gate = algorithm.train()["gate"]
    coins = algorithm.env_runner.env.servers.envs[0].unwrapped.paid
    late = coins[-30:]
    assert sum(late) <= 1
    assert len(coins) == pytest.approx(119, abs=2)  # 0.1 a slot, whatever it costs
    assert gate["price_updates"] == (0 if score == "hindsight" else gate["price_updates"])
    algorithm.stop()


def test_what_jobs_would_have_cost_is_learned_with_updates_that_are_paid_for():
    algorithm = algorithm_of("counterfactual", slots=1500)
    algorithm.train()
    pricer = algorithm._advisers["price"]
    assert 0 < pricer.updates <= algorithm.learner_updates
    assert pricer.updates % 20 == 0
    assert algorithm.learner_updates == 20 * algorithm.totals.training_jobs
    # Every fifth slot without a job, as far as 120 slots lie behind it.
    assert 250 < pricer._pairs <= (1500 - AHEAD) // 5 + 1
    for coin in (0.0, 1.0):
        pricer.look(np.array([[coin, 0.0]], np.float32), np.array([True]))
        assert pricer.price[0] == pytest.approx(coin, abs=0.15)
    algorithm.stop()


@pytest.mark.parametrize("env", [TOLL, {"load": 0.5, "buffer": 3}])
@pytest.mark.parametrize("score", ["hindsight", "counterfactual"])
def test_a_resumed_run_goes_on_bit_for_bit(score, env, tmp_path):
    make = lambda: algorithm_of(score, env, slots=250, min_history=50)  # noqa: E731
    whole, first, second = make(), make(), make()
    for algorithm in (whole, whole, whole, first, first):
        algorithm.train()
    first.save_to_path(tmp_path / "checkpoint")
    second.restore_from_path(tmp_path / "checkpoint")
    second.train()
    assert whole.totals.to_json() == second.totals.to_json()
    prices = [a._advisers["price"].price for a in (whole, second)]
    np.testing.assert_array_equal(*prices)
    gates = [a.env_runner._gating.get_state() for a in (whole, second)]
    np.testing.assert_equal(*gates)
    for algorithm in (whole, first, second):
        algorithm.stop()


def test_a_world_that_cannot_be_known_is_refused():
    env = {"gym": {"id": "Elsewhere-v0", "cost": "own"}}
    for score in ("hindsight", "counterfactual"):
        with pytest.raises(ValueError, match="two copies of this world do not play alike"):
            algorithm_of(score, env)


def test_prices_need_a_world_of_this_process():
    values = {"runners": {"num": 1}, "strategies": [{"gate": "budget", "score": "hindsight"}]}
    with pytest.raises(ConfigError, match=r"gate.score hindsight needs runners.num 0"):
        check_study(resolve(build_experiment(values, "test")))
