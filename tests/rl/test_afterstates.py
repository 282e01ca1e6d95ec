"""Afterstates learned from a replay, n-step returns, the guide, acting with the target network."""

import numpy as np
import pytest
import torch
import yaml
from updates import by_autograd_and_compiled

from mec_rllib.config.load import build, load
from mec_rllib.config.strategies import resolve
from mec_rllib.envs.afterstates import AfterstateEncoder
from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.observation import Encoder
from mec_rllib.errors import ConfigError
from mec_rllib.launch.stages import stages
from mec_rllib.results.folder import Folder
from mec_rllib.rl.exploration import Boltzmann
from mec_rllib.rl.policy import GreedyPolicy
from mec_rllib.rl.policy_file import load_policy, save_policy
from mec_rllib.schedulers import SCHEDULERS, random_actions
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import DROP
from mec_rllib.sim.training_jobs import NO_KIND
from mec_rllib.sim.workloads import ScriptedWorkload

C, M = 10, 10


def blocks_of(batch):
    encoder = AfterstateEncoder(batch)
    return encoder.encode().reshape(batch.num_servers, batch.buffer + 1, encoder.features + 1)


def test_an_afterstate_by_hand():
    """A job of 6 units for 3 slots and one of 4 units for 9; C = 10, the longest e is 9.

    Starting the first leaves 4 units at once, 10 when two more slots are over. The second has
    waited 1 of 4 slots then.
    """
    jobs = [(0, 6, 3, 0, 2.0), (0, 4, 9, 4, 1.0)]  # slot, units, execution, slack, weight
    batch = ServerBatch(ScriptedWorkload(jobs, (C,)), buffer=M)
    nothing, first, second = blocks_of(batch)[0, :3]
    assert nothing[0] == -1.0  # the first job cannot wait: its weight is lost
    assert first[0] == 1.0  # started at once
    assert second[0] == 0.5 - 1.0
    horizon = 10
    later = np.log(3) / np.log(1 + horizon)  # in two slots
    np.testing.assert_allclose(first[1:11], [0] * 4 + [later] * 6, rtol=1e-6)
    np.testing.assert_allclose(first[11:16], [0.4, 0.4, 1.0, 1.0, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(first[16:28], [0, 0, 0, 0, 1, 0] * 2)  # short, middle
    work = np.log(1 + 0.4 * 9) / np.log(1 + horizon)
    least = np.log(4) / np.log(5)
    np.testing.assert_allclose(first[28:34], [0.25, work, 0.5 / 4, 0.5, least, 0.4], rtol=1e-6)
    np.testing.assert_allclose(first[34:], [0.1, 0.0])


def test_an_afterstate_of_three_resource_kinds_by_hand():
    """64 cores, 32 of memory, 8 accelerators; a job of 32, 4 and 2 of them for 3 slots.

    Levels are 16 per kind where there are more units: every 4 of 64, every 2 of 32; of the 8
    accelerators all, the last one repeated.
    """
    jobs = [(0, (32, 4, 2), 3, 4, 2.0), (0, (16, 0, 8), 12, 6, 1.0)]
    batch = ServerBatch(ScriptedWorkload(jobs, (64, 32, 8)), buffer=50)
    encoder = AfterstateEncoder(batch)
    assert encoder.features == 3 * (16 + 5) + 3 * (5 + 3) + 2
    assert encoder.size == 51 * (encoder.features + 1)
    first = blocks_of(batch)[0, 1]
    assert first[0] == 1.0
    later = np.log(3) / np.log(13)  # in two slots
    np.testing.assert_allclose(first[1:17], [0] * 8 + [later] * 8, rtol=1e-6)
    np.testing.assert_allclose(first[17:22], [0.5, 0.5, 1, 1, 1])
    np.testing.assert_allclose(first[22:38], [0] * 14 + [later] * 2, rtol=1e-6)
    np.testing.assert_allclose(first[38:43], [28 / 32, 28 / 32, 1, 1, 1])
    np.testing.assert_allclose(first[43:59], [0] * 6 + [later] * 10, rtol=1e-6)
    np.testing.assert_allclose(first[59:64], [0.75, 0.75, 1, 1, 1])
    np.testing.assert_array_equal(first[64:80], [0, 0, 0, 0, 1, 0, 0, 0] * 2)  # short, middle
    work = np.log(1 + (0.25 + 1) * 12 / 3) / np.log(13)
    least = np.log(6) / np.log(7)  # the second has waited 1 of 6 slots
    by_hand = [0.25, work, 0.5 / 6, 0.5, least, 0.25, 0.0, 1.0]
    np.testing.assert_allclose(first[80:88], by_hand, rtol=1e-6)
    np.testing.assert_allclose(first[88:], [1 / 50, 0.0], rtol=1e-6)


def test_the_observation_of_three_resource_kinds_by_hand():
    """Rows are execution, three requirements, wait, deadline; then use and the flag."""
    jobs = [(0, (32, 4, 2), 3, 4, 2.0), (0, (16, 0, 8), 12, 6, 1.0)]
    batch = ServerBatch(ScriptedWorkload(jobs, (64, 32, 8)), buffer=50)
    batch.step(np.array([1]))
    obs = Encoder(batch).encode()[0]
    assert obs.shape == (50 * 6 + 4,)
    deadline = 1.0  # 12 + 6: the latest there is
    row = [1.0, 0.25, 0.0, 1.0, np.log(2) / np.log(7), deadline]
    np.testing.assert_allclose(obs[:6], row, rtol=1e-6)
    np.testing.assert_allclose(obs[-4:], [0.5, 4 / 32, 2 / 8, 0.0])
    assert not obs[6:-4].any()


@pytest.mark.parametrize("mode", ["drain", "backfill", "pause"])
@pytest.mark.parametrize("kinds", [1, 2])
def test_an_afterstate_is_what_the_slot_brings(mode, kinds):
    """Certain rewards and free units, held against the kernel that plays the slot."""
    jobs = [{"name": "a", "share": 0.5, "slots": 3}, {"name": "b", "share": 0.8, "slots": 2}]
    config = {"training_job": [job | {"mode": mode} for job in jobs[:kinds]]}
    batch = EnvConfig(load=0.9, buffer=6, **config).build_servers(50, seed=4)
    rng, seen = np.random.default_rng(0), np.zeros(2)
    for slot in range(300):
        if slot % 17 == 0:
            drawn = np.where(rng.random(50) < 0.5, rng.integers(0, kinds, 50), NO_KIND)
            batch.request_training(drawn)
        actions = random_actions(batch.mask, rng)
        chosen = blocks_of(batch)[np.arange(50), actions]
        batch.step(actions)
        certain = np.delete(batch.reward_terms, DROP, axis=1).sum(axis=1) / 4.0
        np.testing.assert_allclose(chosen[:, 0], certain, atol=1e-6)
        trains = batch.servers.training > 0
        free = C - batch.servers.used[:, 0] - batch.rules.demand[batch.training_kind, 0] * trains
        np.testing.assert_allclose(chosen[:, 11], np.maximum(free, 0) / C, atol=1e-6)
        kind = batch.training_kind
        np.testing.assert_array_equal(
            chosen[:, -kinds:], batch.training_waiting[:, None] & (kind[:, None] == range(kinds))
        )
        seen += np.array([trains.sum(), batch.training_waiting.sum()])
    assert seen[0] > 500
    assert seen[1] > 500 or mode == "pause"  # then no training job has to wait


def test_training_where_nobody_waits_and_nothing_runs_costs_exactly_nothing():
    batch = EnvConfig(load=0.2).build_servers(200, seed=1)
    for _ in range(50):
        batch.step(SCHEDULERS["sjf"]().select(batch))
    encoder = AfterstateEncoder(batch)
    obs = encoder.encode()
    flagged = encoder.encode_flagged(obs)
    size = encoder.features + 1  # of the block of "start nothing"
    assert batch.is_idle.sum() > 20
    np.testing.assert_array_equal(flagged[batch.is_idle, :size], obs[batch.is_idle, :size])
    assert flagged[~batch.is_empty, size - 1].all()
    batch.request_training(np.ones(200, bool))
    np.testing.assert_array_equal(encoder.encode(), flagged)


def test_boltzmann_draws_from_the_softmax_over_what_is_allowed():
    """Temperature 0.5, Q = 0, 0.5, 9 (not allowed): chances 1 to e."""
    batch = EnvConfig(buffer=2).build_servers(20_000, seed=0)
    batch.mask[:] = [True, True, False]
    q = np.tile(np.array([0.0, 0.5, 9.0], np.float32), (20_000, 1))
    boltzmann = Boltzmann(start=1.0, floor=0.5, decay_slots=10)
    actions = boltzmann.choose(q, batch, slot=10, rng=np.random.default_rng(0))
    shares = np.bincount(actions, minlength=3) / 20_000
    np.testing.assert_allclose(shares, [1 / (1 + np.e), np.e / (1 + np.e), 0], atol=0.01)


def test_an_agent_fills_in_what_is_not_given(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("agent: replay\nlearner: {n_step: 2}")
    experiment = load(path)
    assert experiment.learner.n_step == 2
    assert experiment.learner.observe.afterstates
    assert experiment.exploration == "guided"
    again = build(yaml.safe_load(yaml.safe_dump(experiment.model_dump(mode="json"))), "again")
    assert again == experiment


def test_each_strategy_may_have_an_agent_of_its_own():
    entry = {"gate": "ats", "agent": "replay", "set": {"learner.n_step": 1}, "label": "one"}
    entries = ["ats", entry, {"gate": "pts", "agent": "paper"}]
    for top in ("paper", "replay"):
        values = {"strategies": entries, "agent": top}
        plain, deployable, paper = resolve(build(values, "test")).strategies
        assert plain.experiment.learner.observe.afterstates == (top == "replay")
        assert deployable.experiment.learner.observe.afterstates
        assert deployable.experiment.learner.n_step == 1
        assert deployable.args["fallback"] == "server_empty"
        assert paper.experiment.exploration == "epsilon_greedy"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"agent": "deployabel"}, "unknown agent 'deployabel'; did you mean 'deployable'?"),
        (
            {"strategies": [{"gate": "ats", "agent": "deploy"}]},
            "did you mean 'deployable'",
        ),
        (
            {"agent": "replay", "learner": {"observe": {"free_ahead": 3}}},
            "learner.observe: afterstates show neither",
        ),
        (
            {"agent": "replay", "learner": {"guide": {"scheduler": "reserve"}}},
            "learner.guide: unknown scheduler 'reserve'; did you mean 'reservation'?",
        ),
        (
            {"agent": "replay", "learner": {"guide": {"args": {"reserved": 3}}}},
            "learner.guide: args: got an unexpected keyword argument 'reserved'",
        ),
        ({"agent": "replay", "learner": 3}, "learner: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_agent_is_one_line(values, message, tmp_path):
    with pytest.raises(ConfigError) as error:
        stages(resolve(build(values, "test")), Folder(tmp_path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def new_algorithm(cluster):
    """Builds the algorithm of a strategy with the deployable agent."""
    from mec_rllib.trials.learner_run import algorithm_config

    built = []

    def new(runners=0, servers=1, **learner):
        (strategy,) = resolve(
            build(
                {
                    "agent": "replay",
                    "learner": learner,
                    "runners": {"num": runners, "servers": servers},
                },
                "test",
            )
        ).strategies
        built.append(algorithm_config(strategy, seed=3).build_algo())
        built[-1].slots_per_iteration = 1500
        return built[-1]

    yield new
    for algorithm in built:
        algorithm.stop()


@pytest.mark.ray
def test_the_guide_decides_first_and_the_agent_learns_from_it(new_algorithm):
    algorithm = new_algorithm(guide={"slots": 1500})
    result = algorithm.train()
    assert result["learner"]["guided"] == 0.0  # from the next slot on
    assert algorithm.learner_updates > 0
    rule, batch = SCHEDULERS["reservation"](), EnvConfig().build_servers(1, seed=3)
    for slot in range(algorithm.training_slots[0]):
        actions = rule.select(batch)
        assert actions[0] == algorithm.replay.rows.actions[slot]
        batch.step(actions)


@pytest.mark.ray
def test_compiled_updates_of_afterstates_are_those_of_autograd(new_algorithm):
    algorithm = new_algorithm(guide={"slots": 1000})
    algorithm.train()
    learner, replay = algorithm.learner_group._learner, algorithm.replay
    assert replay.sample(32)[0].next_mask.sum() > 32  # there is something to choose
    (metrics, autograd), (mine, compiled) = by_autograd_and_compiled(learner, replay, 50, 32)
    np.testing.assert_allclose(mine, metrics, rtol=1e-3, atol=1e-5)
    for name, value in autograd.items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.ray
def test_q_is_the_certain_reward_and_the_value_of_the_afterstate(new_algorithm):
    algorithm = new_algorithm()
    algorithm.train()
    module, drawn = algorithm.get_module(), algorithm.replay.sample(20)[0]
    obs, allowed = drawn.next_obs, drawn.next_mask
    q = algorithm.env_runner._q(obs)
    with torch.no_grad():
        stock = module.forward_target({"obs": torch.from_numpy(obs)})["qf_preds"].numpy()
        online = module.compute_q_values({"obs": torch.from_numpy(obs)})["qf_preds"].numpy()
    assert allowed.sum() > 20
    # The target network acts.
    np.testing.assert_allclose(q[allowed], stock[allowed], rtol=1e-4, atol=1e-5)
    assert np.abs(q - online)[allowed].max() > 1e-3
    assert not q[~allowed].any()


@pytest.mark.ray
def test_remote_runners_act_with_the_target_network(new_algorithm):
    algorithm = new_algorithm(runners=1, servers=2)
    algorithm.train()
    (state,) = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: {k: v.numpy() for k, v in runner.module.state_dict().items()},
        local_env_runner=False,
    )
    whole = algorithm.get_module().state_dict()
    assert len(algorithm.replay) == algorithm.slots - 2 * 2  # n - 1 slots of both are held back
    for name, values in state.items():
        assert np.array_equal(values, whole[f"_target_{name}"].numpy())


@pytest.mark.ray
def test_a_policy_file_acts_as_the_agent_did(new_algorithm, tmp_path):
    algorithm = new_algorithm(guide={"slots": 500})
    algorithm.train()
    save_policy(algorithm.get_module(), tmp_path, {"afterstates": True})
    module, observe = load_policy(tmp_path)
    played = GreedyPolicy(module, observe)
    original = GreedyPolicy(algorithm.get_module(), {"afterstates": True})
    here, there = (EnvConfig(load=0.6).build_servers(8, seed=5) for _ in range(2))
    for _ in range(300):
        actions = original.select(here)
        np.testing.assert_array_equal(played.select(there), actions)
        here.step(actions)
        there.step(actions)
    assert here.tally.jobs[:, :, 1].sum() > 100  # started
