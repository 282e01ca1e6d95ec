"""GatedDQN for real: paid updates, frozen weights, remote runners, a policy that outlives it."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from updates import by_autograd_and_compiled

from mec_rllib.callbacks.corrupt_q import CorruptQCallback
from mec_rllib.envs.config import EnvConfig
from mec_rllib.gates import PTS
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.dqn.bootstrapped import Bootstrapped, BootstrappedModule
from mec_rllib.rl.dqn.noisy import Noisy, NoisyModule
from mec_rllib.rl.exploration import Decay
from mec_rllib.rl.policy import GreedyPolicy, load_module
from mec_rllib.schedulers import run
from mec_rllib.sim.totals import Totals

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

TD_SLOPE = "examples.gates.td_slope:TDSlope"


class OwnPTS(PTS):
    """Asked slot by slot, for it decides itself."""

    def wants(self, view):
        return super().wants(view)


def build_algorithm(
    gate, runners=0, servers=1, updates=4, slots=500, seed=0, activation="relu", free=False
):
    return (
        GatedDQNConfig()
        .gating(gate, updates_per_job=updates, train_free=free)
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=servers)
        .acting(slots_per_iteration=slots)
        .debugging(seed=seed)
        .rl_module(model_config={"fcnet_hiddens": [64, 64], "fcnet_activation": activation})
        .build_algo()
    )


@pytest.fixture
def build():
    built = []

    def build(*arguments, **settings):
        built.append(build_algorithm(*arguments, **settings))
        return built[-1]

    yield build
    for algorithm in built:
        algorithm.stop()


@pytest.fixture(scope="module")
def remote(cluster):
    """Two remote runners (a process each) of three servers after two iterations.

    With it come the weights from before and the two results; tests only look at them.
    """
    algorithm = build_algorithm("ats", runners=2, servers=3, slots=3000)
    before = weights_of(algorithm)
    yield algorithm, before, [algorithm.train() for _ in range(2)]
    algorithm.stop()


def of_runners(algorithm, look):
    """What every remote runner answers."""
    return algorithm.env_runner_group.foreach_env_runner(look, local_env_runner=False)


def weights_of(algorithm):
    return copy.deepcopy(algorithm.get_module().state_dict())


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_never_leaves_the_weights_bit_identical(build):
    algorithm = build("never", slots=10_000)
    before = weights_of(algorithm)
    result = algorithm.train()
    assert same(before, weights_of(algorithm))
    assert result["training"] == {"jobs": 0, "updates": 0, "vetoed_updates": 10_000}


def test_ideal_trains_in_every_slot_and_occupies_none(build):
    algorithm = build("ideal", updates=1, slots=1500)
    before = weights_of(algorithm)
    result = algorithm.train()
    assert not same(before, weights_of(algorithm))
    assert algorithm.learner_updates == 1000  # from the 500th transition on
    assert algorithm.totals.training_slots == algorithm.totals.blocked_slots == 0
    assert result["server"]["share_training"] == 0


@pytest.mark.parametrize(
    ("gate", "plays"), [("pts", "compiled stretches"), (OwnPTS, "slot by slot")]
)
def test_pts_that_trains_for_free_keeps_its_clock_and_its_updates(build, gate, plays):
    """Slots 500, 600, ... 1400: ten training jobs of four updates, none of which takes a slot."""
    algorithm = build(gate, slots=1500, free=True)
    assert algorithm.plays.startswith(plays)
    algorithm.train()
    assert algorithm.learner_updates == 4 * 10
    totals = algorithm.totals
    assert totals.training_jobs == totals.training_slots == totals.blocked_slots == 0


@pytest.mark.parametrize(
    "gate",
    ["pts", "ats", "idle", "server_empty", "always", "budget", TD_SLOPE],
)
def test_every_update_is_paid_for(build, gate):
    algorithm = build(gate, slots=2000)
    algorithm.train()
    totals = algorithm.totals
    assert totals.training_jobs > 10
    assert algorithm.learner_updates == 4 * totals.training_jobs
    assert totals.training_slots >= totals.training_jobs


def test_a_bandit_uses_up_training_jobs_of_its_own(build):
    algorithm = build("examples.gates.bandit:Bandit", slots=2000)
    gate = algorithm.train()["gate"]
    jobs = algorithm.totals.training_jobs
    assert jobs >= 10
    assert gate["own_updates"] == jobs // 10
    assert algorithm.learner_updates == 4 * (jobs - jobs // 10)


def test_a_gate_sees_the_td_error_and_the_reward_of_the_last_slot(build):
    runner, seen, earned = build(TD_SLOPE).env_runner, [], []
    servers, gate = runner.env.servers, runner._gating.gate
    step, wants = servers.step, gate.wants

    def noted_step(actions):
        reward = step(actions)
        earned.append(reward[0] / servers.reward_scale)
        return reward

    servers.step = noted_step
    gate.wants = lambda view: seen.append((view.td_error[0], view.reward[0])) or wants(view)
    runner.sample(num_slots=300)
    errors, rewards = np.array(seen).T
    assert np.isnan(errors[0])
    assert np.isfinite(errors[1:]).all()
    np.testing.assert_array_equal(rewards[1:], earned[:-1])


def assert_paid_and_learned(algorithm, before, slots):
    totals = algorithm.totals
    assert totals.slots == len(algorithm.replay) == slots
    assert algorithm.learner_updates == 4 * totals.training_jobs > 0
    assert not same(before, weights_of(algorithm))
    arrived, started, expired, dropped = totals.jobs.sum(axis=0)
    assert arrived == started + expired + dropped + totals.waiting.sum()


def test_a_fleet_pays_and_learns(build):
    algorithm = build("pts", servers=8, slots=4000)
    before = weights_of(algorithm)
    algorithm.train()
    assert_paid_and_learned(algorithm, before, slots=4000)


def assert_counted_by_reason(algorithm, results):
    requests = algorithm.requests_by_reason
    assert set(requests) == {"psi", "tie", "fallback"}
    # Wishes before learning starts, or while a training job waits, insert nothing.
    assert sum(requests.values()) == algorithm.totals.requests > 0
    assert requests["fallback"] > 0
    before, gate = (result["gate"] for result in results)
    for reason, count in requests.items():
        assert gate[f"requests_by_{reason}"] == count
    first, both = (sum(g[f"requests_by_{reason}"] for reason in requests) for g in (before, gate))
    new = gate["requests_by_fallback"] - before["requests_by_fallback"]
    assert gate["share_by_fallback"] == pytest.approx(new / (both - first))


def test_requests_are_counted_by_reason_and_add_up(build, tmp_path):
    algorithm = build("ats", servers=3, slots=3000)
    assert_counted_by_reason(algorithm, [algorithm.train() for _ in range(2)])
    algorithm.save_to_path(tmp_path / "checkpoint")
    restored = build("ats", servers=3, slots=3000)
    restored.restore_from_path(tmp_path / "checkpoint")
    assert restored.requests_by_reason == algorithm.requests_by_reason
    restored.train()
    assert sum(restored.requests_by_reason.values()) == restored.totals.requests


def test_a_gate_without_reasons_has_none_to_report(build):
    algorithm = build("pts", slots=1000)
    assert not [name for name in algorithm.train()["gate"] if "_by_" in name]
    assert algorithm.requests_by_reason == {}


class TestRemoteRunners:
    def test_they_pay_and_learn(self, remote):
        assert_paid_and_learned(*remote[:2], slots=6000)

    def test_requests_are_counted_by_reason_and_add_up(self, remote):
        assert_counted_by_reason(remote[0], remote[2])

    def test_gate_figures_are_the_mean_of_all(self, remote):
        algorithm, _, (_, result) = remote
        found = of_runners(algorithm, lambda runner: runner.take_report().gate["td_statistic"])
        assert found[0] != found[1]
        assert result["gate"]["td_statistic"] == pytest.approx(np.mean(found))

    def test_they_act_with_the_learned_weights(self, remote):
        learned = weights_of(remote[0])
        states = of_runners(
            remote[0], lambda runner: {k: v.numpy() for k, v in runner.module.state_dict().items()}
        )
        assert len(states) == 2
        for state in states:
            assert all(np.array_equal(v, learned[name].numpy()) for name, v in state.items())

    def test_they_and_their_servers_have_streams_of_their_own(self, remote):
        arrivals = of_runners(remote[0], lambda runner: runner.env.servers.tally.jobs.tolist())
        assert len({str(server) for runner in arrivals for server in runner}) == 6
        streams = of_runners(
            remote[0],
            lambda runner: [
                rng.bit_generator.state["state"]["state"] for rng in runner.env.servers.rngs
            ],
        )
        assert len({state for runner in streams for state in runner}) == 6

    def test_save_load_act(self, remote, tmp_path):
        algorithm = remote[0]
        algorithm.save_to_path(tmp_path / "checkpoint")
        loaded = load_module(tmp_path / "checkpoint")
        assert same(weights_of(algorithm), loaded.state_dict())
        batches = [EnvConfig().build_servers(3, seed=9) for _ in range(2)]
        for batch, module in zip(batches, (algorithm.get_module(), loaded), strict=True):
            run(batch, GreedyPolicy(module), 300)
        before, after = (Totals.of(batch) for batch in batches)
        assert before.mean_reward == after.mean_reward
        assert after.jobs[:, 1].sum() > 0


def test_the_same_seed_learns_the_same_weights(build):
    runs = []
    for seed in (3, 3, 4):
        algorithm = build("pts", slots=1500, seed=seed)
        algorithm.train()
        runs.append((weights_of(algorithm), algorithm.totals.mean_reward))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not same(runs[0][0], runs[2][0])


def test_epsilon_falls_exponentially_to_its_floor():
    decay = Decay(start=1.0, floor=0.1, decay_slots=1000)
    assert decay.at(0) == 1.0
    assert decay.at(200) == pytest.approx(0.1 + 0.9 * np.exp(-1))
    assert decay.at(1000) == 0.1


def stock_batch(drawn, weights):
    return {
        Columns.OBS: torch.from_numpy(drawn.obs),
        Columns.NEXT_OBS: torch.from_numpy(drawn.next_obs),
        Columns.ACTIONS: torch.from_numpy(drawn.actions),
        Columns.REWARDS: torch.from_numpy(drawn.rewards),
        Columns.TERMINATEDS: torch.zeros(len(drawn.actions), dtype=torch.bool),
        "weights": torch.from_numpy(weights),
        "n_step": torch.ones(len(drawn.actions)),
    }


@pytest.fixture
def learner_and_batch(build):
    """A learner that has learned a little, and a batch from its replay."""
    algorithm = build("pts", slots=1500, updates=32)
    algorithm.train()
    drawn, _, weights = algorithm.replay.sample(32)
    return algorithm.learner_group._learner, drawn, weights


def test_the_loss_is_that_of_the_stock_learner(learner_and_batch):
    learner, drawn, weights = learner_and_batch
    drawn.next_mask[:] = True  # stock DQN knows no action mask
    module, batch = learner.module[DEFAULT_MODULE_ID].unwrapped(), stock_batch(drawn, weights)
    stock = DQNTorchLearner.compute_loss_for_module(
        learner,
        module_id=DEFAULT_MODULE_ID,
        config=learner.config,
        batch=batch,
        fwd_out=module.forward_train(batch),
    )
    loss, _, _ = learner.compute_flat_loss(module, drawn, weights)
    assert loss.item() == pytest.approx(stock.item(), rel=1e-6)
    assert loss.item() > 0


def test_the_bootstrap_looks_at_allowed_actions_only(learner_and_batch):
    learner, drawn, weights = learner_and_batch
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    drawn.next_mask[:] = False
    drawn.next_mask[:, 0] = True
    _, q_selected, td_error = learner.compute_flat_loss(module, drawn, weights)
    with torch.no_grad():
        out = module.forward_train(stock_batch(drawn, weights))
        target = torch.from_numpy(drawn.rewards) + 0.95 * out["qf_target_next_preds"][:, 0]
    np.testing.assert_allclose(td_error, (q_selected.detach() - target).abs(), rtol=1e-5)


def test_compiled_updates_are_those_of_autograd(build):
    """From the same weights and Adam state, 50 updates of either kind end in the same place."""
    algorithm = build("pts", slots=1500, updates=32)
    algorithm.train()
    learner = algorithm.learner_group._learner
    steps = adam_steps(learner)
    (metrics, autograd), (mine, compiled) = by_autograd_and_compiled(
        learner, algorithm.replay, 50, 32
    )
    assert adam_steps(learner) == steps + 50
    np.testing.assert_allclose(mine, metrics, rtol=1e-3)
    for name, value in autograd.items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def adam_steps(learner):
    (steps,) = {float(s["step"]) for s in learner.get_optimizer().state_dict()["state"].values()}
    return steps


def test_a_network_that_is_no_plain_mlp_trains_through_autograd(build):
    algorithm = build("pts", slots=1200, activation="tanh")
    assert algorithm.learner_group._learner._compiled_updates is None
    before = weights_of(algorithm)
    algorithm.train()
    assert algorithm.learner_updates > 0
    assert not same(before, weights_of(algorithm))


@pytest.mark.parametrize("setting", [{"grad_clip": 10.0}, {"num_atoms": 51}, {"noisy": True}])
def test_what_gated_dqn_does_not_do_is_refused(setting):
    with pytest.raises(ValueError, match="GatedDQN needs"):
        GatedDQNConfig().training(**setting).validate()


@pytest.mark.parametrize(
    ("exploration", "network"), [(Noisy, NoisyModule), (Bootstrapped, BootstrappedModule)]
)
def test_an_exploration_brings_its_network_and_takes_no_other(exploration, network):
    config = GatedDQNConfig().acting(exploration=exploration)
    assert config.module_class is network
    config.acting(observe={"afterstates": True})
    with pytest.raises(ValueError, match=f"needs the network {network.__name__}, not Afterstate"):
        config.validate()


def test_the_number_of_heads_is_given_once():
    config = GatedDQNConfig().acting(exploration=Bootstrapped, exploration_args={"heads": 4})
    assert config.model_config["heads"] == 4
    assert "heads" not in GatedDQNConfig().model_config


def test_resuming_is_refused_where_it_would_lose_the_replay(build, tmp_path):
    algorithm = build("never")
    policy = algorithm.get_state(not_components="play")
    algorithm.save_to_path(tmp_path / "checkpoint", state=policy)
    with pytest.raises(ValueError, match="holds a policy only"):
        algorithm.restore_from_path(tmp_path / "checkpoint")


def test_q_is_damaged_once_at_its_slot():
    config = (
        GatedDQNConfig()
        .callbacks(CorruptQCallback)
        .gating("never")
        .corrupting(slot=250, noise=1.0)
        .acting(slots_per_iteration=100)
    )
    algorithm = config.build_algo()
    weights = [weights_of(algorithm)]
    for _ in range(5):
        algorithm.train()
        weights.append(weights_of(algorithm))
    algorithm.stop()
    changed = [not same(a, b) for a, b in pairwise(weights)]
    assert changed == [False, False, True, False, False]
    # Noise of one standard deviation; the runner acts on the damaged network.
    name = "encoder.net.mlp.0.weight"
    noise = (weights[-1][name] - weights[0][name]).std() / weights[0][name].std()
    assert noise == pytest.approx(1.0, abs=0.1)
