"""A second network: it starts by itself, takes as many batches, and leaves the agent alone."""

import copy

import numpy as np
import pytest
import scipy.stats
import torch

from mec_rllib.config.load import build as build_experiment
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.dqn.second_opinion import WINDOW, SecondOpinion, spearman
from mec_rllib.trials.check import check_study

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def algorithm_of(reliability="agreement", slots=300, servers=2, seed=0, gating=(), **options):
    config = (
        GatedDQNConfig()
        .environment(env_config={"load": 0.5, "buffer": 4})
        .gating("budget", rate=0.1, reliability=reliability, updates_per_job=20, **dict(gating))
        .env_runners(num_envs_per_env_runner=servers)
        .replay(learning_starts=100)
        .acting(slots_per_iteration=slots, **options)
        .debugging(seed=seed)
    )
    return config.build_algo()


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("observe", [{}, {"afterstates": True}])
def test_it_takes_as_many_updates_and_changes_nothing_of_the_agent(observe):
    """While nobody trusts psi the gates are the same, whether a second network learns or not."""
    gating = {"td_cutoff": 0.0}
    alone, two = (algorithm_of(r, gating=gating, observe=observe) for r in ("td", "agreement"))
    for algorithm in (alone, two):
        algorithm.train()
    assert two._advisers["second"].updates == two.learner_updates == alone.learner_updates > 100
    assert same(weights(alone.get_module()), weights(two.get_module()))
    np.testing.assert_equal(alone.replay.get_state(), two.replay.get_state())
    assert not same(weights(two.get_module()), weights(two._advisers["second"].module))
    assert alone.env_runner.plays == "compiled stretches"
    assert two.env_runner.plays == "slot by slot: a second network is asked"
    for algorithm in (alone, two):
        algorithm.stop()


def test_agreement_is_the_rank_correlation_of_the_last_slots_without_a_job():
    algorithm = algorithm_of(servers=2, slots=900)
    second, seen = algorithm._advisers["second"], []
    note = SecondOpinion.note

    def noting(psi, other, can_ask):
        seen.append((psi.copy(), other.copy(), can_ask.copy()))
        note(second, psi, other, can_ask)

    second.note = noting
    algorithm.train()
    assert second.updates > 1000
    last = (len(seen) - 1) // 10 * 10 + 1  # looked at in every tenth slot
    for server in range(2):
        pairs = [(p[server], q[server]) for p, q, can in seen[:last] if can[server]][-WINDOW:]
        expected = scipy.stats.spearmanr(pairs).statistic
        assert second.agreement[server] == pytest.approx(expected)
    gate = algorithm.train()["gate"]
    assert gate["second_updates"] == second.updates
    assert -1 <= gate["agreement"] <= 1
    algorithm.stop()


def test_before_enough_updates_there_is_no_agreement():
    algorithm = algorithm_of(slots=200)
    algorithm.train()
    assert 0 < algorithm._advisers["second"].updates < 1000
    assert np.isnan(algorithm._advisers["second"].agreement).all()
    algorithm.stop()


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    whole, first, second = (algorithm_of() for _ in range(3))
    for algorithm in (whole, whole, whole, whole, first, first):
        algorithm.train()
    first.save_to_path(tmp_path / "checkpoint")
    second.restore_from_path(tmp_path / "checkpoint")
    second.train()
    second.train()
    for module in (lambda a: a.get_module(), lambda a: a._advisers["second"].module):
        assert same(weights(module(whole)), weights(module(second)))
    np.testing.assert_array_equal(
        whole._advisers["second"].agreement, second._advisers["second"].agreement
    )
    assert whole.totals.to_json() == second.totals.to_json()
    for algorithm in (whole, first, second):
        algorithm.stop()


def test_its_state_is_a_copy():
    algorithm = algorithm_of()
    algorithm.train()
    state = algorithm._advisers["second"].get_state()
    kept = copy.deepcopy(state["compared"])
    algorithm.train()
    np.testing.assert_equal(state["compared"], kept)
    algorithm.stop()


def test_rank_correlations_by_hand():
    one = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 2.0, 4.0]])
    other = np.array([[10.0, 20.0, 30.0, 1e9], [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]])
    # without ties 1; constant 0; ranks 1 2.5 2.5 4 against 4 3 2 1: -4.5 / sqrt(4.5 * 5)
    np.testing.assert_allclose(spearman(one, other), [1.0, 0.0, -4.5 / np.sqrt(22.5)])


@pytest.mark.parametrize(
    "values",
    [
        {"agent": "sac"},
        {"runners": {"num": 1}},
        {"exploration": "noisy"},
        {"agent": "deployable"},
        {"env": {"training_job": [{"name": "a"}, {"name": "b", "slots": 2}]}},
    ],
)
def test_where_there_is_no_second_network_that_is_said_before_anything_starts(values):
    strategies = [{"gate": "ats", "reliability": "agreement"}]
    study = resolve(build_experiment(values | {"strategies": strategies}, "test"))
    with pytest.raises(ConfigError, match="reliability agreement needs"):
        check_study(study)
