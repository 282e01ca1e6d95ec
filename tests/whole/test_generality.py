"""The same learner, callback and gates on environments of Gymnasium."""

import copy
import json
import re
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from commands import mec_rllib
from gym_worlds import Line

from mec_rllib.config.load import build as build_experiment
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.gates import GATES, Gate
from mec_rllib.launch.cluster_check import modules_to_send
from mec_rllib.launch.stages import stages
from mec_rllib.results.folder import Folder
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.dqn.q_function import QFunction

ROOT = Path(__file__).parents[2]
assert Line is not None  # registers Line-v0

needs_ray = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
ray_test = lambda test: needs_ray[0](needs_ray[1](test))  # noqa: E731


class Watching(Gate):
    """Trains every third slot and remembers what it saw."""

    needs_psi = True

    def __init__(self, num_servers):
        super().__init__(num_servers)
        self.views = []

    def wants(self, view):
        self.views.append((view.slot, view.psi.copy()))
        return view.since_training >= 3


def config_of(gym, gate="pts", servers=1, runners=0, updates=2, slots=500, seed=0, **training):
    return (
        GatedDQNConfig()
        .environment(env_config={"gym": gym})
        .gating(
            gate=GATES[gate] if isinstance(gate, str) else gate,
            gate_args={"period": 20} if gate in ("pts", "ats") else {},
            updates_per_job=updates,
        )
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=servers)
        .replay(learning_starts=100)
        .acting(slots_per_iteration=slots)
        .training(**training)
        .debugging(seed=seed)
    )


CARTPOLE = {"id": "CartPole-v1", "steps": 2}


@ray_test
@pytest.mark.parametrize("gate", ["pts", "ats", "always", "ideal", "never"])
def test_every_update_is_paid_for(gate):
    algorithm = config_of(CARTPOLE, gate, slots=2000).build_algo()
    result = algorithm.train()
    jobs = 1900 if gate == "ideal" else int(algorithm.totals.training_jobs)
    assert algorithm.learner_updates == 2 * jobs
    assert algorithm.totals.training_slots // 2 == algorithm.totals.training_jobs
    assert result["reward"]["lifetime"] == 1.0
    assert np.isnan(result["miss_rate"]["lifetime"])
    algorithm.stop()


@ray_test
def test_fleets_on_remote_runners_play_environments_of_their_own():
    algorithm = config_of(CARTPOLE, "pts", servers=2, runners=2, slots=2000).build_algo()
    algorithm.train()
    assert algorithm.totals.slots == len(algorithm.replay) == 2000
    assert algorithm.learner_updates == 2 * algorithm.totals.training_jobs > 0
    positions = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.env.servers.observations[:, 0].tolist(), local_env_runner=False
    )
    assert len({p for runner in positions for p in runner}) == 4
    algorithm.stop()


@ray_test
@pytest.mark.parametrize("terminates", [True, False])
def test_no_transition_leads_from_one_episode_into_the_next(terminates):
    gym = {"id": "Line-v0", "args": {"length": 3, "terminates": terminates}, "cost": "fixed"}
    algorithm = config_of(gym, "never", servers=2, slots=60).build_algo()
    algorithm.train()
    rows = rows_of(algorithm.replay)
    np.testing.assert_allclose(rows["next"], rows["obs"] + 0.1, atol=1e-6)
    last = np.isclose(rows["next"], 0.3)
    assert last.sum() == 20
    np.testing.assert_array_equal(rows["discounts"][last], 0.0 if terminates else 0.95)
    np.testing.assert_array_equal(rows["discounts"][~last], 0.95)
    algorithm.stop()


def rows_of(replay):
    obs, _, _, next_obs, _, discounts, _ = replay.get_state()["rows"]
    return {"obs": obs[:, 0], "next": next_obs[:, 0], "discounts": discounts}


@ray_test
@pytest.mark.parametrize("activation", ["relu", "tanh"])  # compiled, and with autograd
@pytest.mark.parametrize(("terminates", "value"), [(True, 1.0), (False, 2.0)])
def test_only_an_end_for_good_cuts_the_bootstrap(activation, terminates, value):
    """Reward 1 in every step of episodes of one step, gamma 0.5: Q = 1, or 1 / (1 - 0.5)."""
    gym = {"id": "Line-v0", "args": {"length": 1, "terminates": terminates}, "cost": "fixed"}
    config = config_of(gym, "ideal", updates=1, slots=1500, gamma=0.5, lr=3e-3, tau=0.05)
    config.rl_module(model_config={"fcnet_hiddens": [16], "fcnet_activation": activation})
    algorithm = config.build_algo()
    algorithm.train()
    q = QFunction(algorithm.get_module())(np.zeros((1, 2), np.float32))
    # What a truncated episode leads to is never seen from inside; its value is that of the start,
    # as far as the network does not tell 0.1 from 0.
    np.testing.assert_allclose(q, value, atol=0.1)
    algorithm.stop()


@ray_test
def test_psi_compares_what_training_leaves_with_the_best_action():
    algorithm = config_of(CARTPOLE, Watching, slots=200).build_algo()
    seen = []
    runner = algorithm.env_runner
    for _ in range(200):
        world = runner.env.servers
        mask, obs = world.mask_with_training(), runner._memory.obs.copy()
        runner.sample(num_slots=1)
        flagged = obs.copy()
        flagged[:, -1] = 1.0
        q, q_flagged = (QFunction(runner.module)(o) for o in (obs, flagged))
        best = np.where(world_mask(obs, mask), q, -np.inf).max(axis=1)
        seen.append(np.where(mask, q_flagged, -np.inf).max(axis=1) - best)
    watched = [psi for _, psi in runner._gating.gate.views]
    np.testing.assert_allclose(np.ravel(watched), np.ravel(seen), atol=1e-5)
    assert runner.env.servers.totals().training_jobs > 0
    algorithm.stop()


def world_mask(obs, mask_while_training):
    """Allowed actions: those of training while one runs, else all."""
    return np.where(obs[:, -1:] > 0, mask_while_training, True)


@ray_test
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    make = lambda: config_of(CARTPOLE, "ats", servers=2, n_step=3).build_algo()  # noqa: E731
    whole, first, second = make(), make(), make()
    for algorithm in (whole, whole, whole, first):
        algorithm.train()
    first.save_to_path(tmp_path / "checkpoint")
    second.restore_from_path(tmp_path / "checkpoint")
    second.train()
    second.train()
    a, b = (copy.deepcopy(x.get_module().state_dict()) for x in (whole, second))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole.totals == second.totals
    for algorithm in (whole, first, second):
        algorithm.stop()


@ray_test
def test_the_documented_environment_of_ones_own(tmp_path, modules):
    """The example of docs/generality.md: trains, reports, and its policy can be played."""
    text = (ROOT / "docs/generality.md").read_text()
    for name, code in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        for folder in (tmp_path, modules):
            (folder / name).write_text(code)
    sets = ["--set", "slots=2000", "--set", "seeds=[0]", "--set", "evaluation.slots=500"]
    done = mec_rllib("tune", "thermostat.yaml", *sets, "--out", "runs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "runs/summary.json").read_text())["rows"]
    by_name = {row["strategy"]: row for row in rows}
    assert by_name["ats"]["learner_updates"] == 32 * by_name["ats"]["training_jobs"] > 0
    assert by_name["ats"]["jobs_arrived"] is None
    assert by_name["ats"]["miss_rate"] is None
    assert by_name["random"]["learner_updates"] == 0
    played = mec_rllib(
        *("evaluate", "--checkpoint", "runs/ats_seed0", "--config", "thermostat.yaml"),
        *("--slots", "500", "--seeds", "1", "--json"),
        cwd=tmp_path,
    )
    assert played.returncode == 0, played.stderr
    (row,) = json.loads(played.stdout)["rows"]
    assert np.isfinite(row["reward_lifetime"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"env": {"gym": {"id": "CartPol-v1"}}}, "Did you mean: `CartPole`"),
        ({"env": {"gym": {"id": "nowhere:Mine-v0"}}}, "gym.id nowhere:Mine-v0"),
        ({"env": {"gym": CARTPOLE | {"args": {"gravity": 3}}}}, "gravity"),
        ({"env": {"gym": CARTPOLE | {"cost": "repeet"}}}, "did you mean 'repeat'"),
        ({"env": {"gym": CARTPOLE | {"cost_args": {"last": 1}}}}, "gym.cost_args of repeat"),
        ({"env": {"gym": CARTPOLE, "load": 0.5}}, "load has no meaning"),
        ({"env": {"gym": CARTPOLE}, "strategies": ["sjf"]}, "sjf schedules jobs"),
        ({"env": {"gym": CARTPOLE}, "strategies": ["idle"]}, "asks for is_idle"),
        ({"env": {"gym": CARTPOLE}, "agent": "deployable"}, "is for MEC servers"),
    ],
)
def test_what_has_no_meaning_there_is_refused_in_one_line(tmp_path, values, message):
    with pytest.raises(ConfigError) as error:
        stages(resolve(build_experiment(values, "test")), Folder(tmp_path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_environment_of_ones_own_travels_to_the_nodes():
    gym = {"id": "examples.inventory:Inventory-v0", "cost": "fixed"}
    (place,) = modules_to_send(resolve(build_experiment({"env": {"gym": gym}}, "test")))
    assert Path(place) == ROOT / "examples"
    assert modules_to_send(resolve(build_experiment({"env": {"gym": CARTPOLE}}, "test"))) == []


@pytest.mark.parametrize(
    "exploration", [{"guided": {"scheduler": "my_rules:Mine"}}, "my_rules:Explores"]
)
def test_rules_of_ones_own_travel_to_the_nodes(tmp_path, monkeypatch, exploration):
    (tmp_path / "my_rules.py").write_text(
        "from mec_rllib.rl.exploration import Greedy as Explores\n"
        "from mec_rllib.schedulers import FIFO as Mine\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rules", raising=False)
    (place,) = modules_to_send(resolve(build_experiment({"exploration": exploration}, "test")))
    assert Path(place) == tmp_path / "my_rules.py"


def test_a_fallback_to_what_an_environment_cannot_say_is_refused(tmp_path):
    strategies = [{"gate": "ats", "fallback": "idle"}]
    experiment = build_experiment({"env": {"gym": CARTPOLE}, "strategies": strategies}, "test")
    with pytest.raises(ConfigError, match="asks for is_idle"):
        stages(resolve(experiment), Folder(tmp_path))


def test_our_environments_are_plain_gymnasium_environments():
    env = gymnasium.make("examples.inventory:Inventory-v0")
    gymnasium.utils.env_checker.check_env(env.unwrapped, skip_render_check=True)
