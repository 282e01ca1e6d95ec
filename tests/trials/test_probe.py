"""What a training job takes away, by hand; and that a trial that is probed stays what it was."""

import copy
import json

import numpy as np
import pytest
from commands import mec_rllib
from gym_worlds import Battery

from mec_rllib.config.load import build as build_experiment
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.results.folder import Folder
from mec_rllib.results.probe import probe_section
from mec_rllib.results.stored import read_study
from mec_rllib.schedulers import SJF, RandomScheduler
from mec_rllib.trials.futures import Futures
from mec_rllib.trials.here import play_here
from mec_rllib.trials.probe import Terms, probe

assert Battery is not None  # registers Battery-v0
TERMS = Terms(every=50, futures=4, ahead=30)


def strategy_of(env, gate="pts"):
    (strategy,) = resolve(build_experiment({"env": env, "strategies": [gate]}, "test")).strategies
    return strategy


def priced(strategy, world, policy, index=0, count=6, ahead=12):
    """Prices; the world must stay what it is."""
    before = copy.deepcopy(world.get_state())
    prices = Futures(strategy, count, ahead).prices(world, index, policy, np.random.default_rng(3))
    after = world.get_state()
    for name, value in before.items():
        if name not in ("envs", "rngs"):
            np.testing.assert_equal(after[name], value)
    return prices


def test_the_price_of_a_job_that_costs_half_a_reward_in_each_of_three_steps():
    gym = {"id": "Battery-v0", "args": {"length": 50}, "cost": "own", "steps": 3}
    strategy = strategy_of({"gym": gym})
    world = strategy.experiment.env.build_world(2, 0)
    world.step(np.array([1, 1]))
    np.testing.assert_allclose(priced(strategy, world, RandomScheduler(0), index=1), 1.5)
    assert world.envs[1].unwrapped.charge == 5
    np.testing.assert_allclose(priced(strategy, world, RandomScheduler(0), ahead=2), 1.0)


def test_futures_of_an_environment_differ_and_are_those_of_both():
    gym = {"id": "LlmServing-v0", "cost": "own", "steps": 8, "reward": "weight"}
    strategy = strategy_of({"gym": gym})
    world = strategy.experiment.env.build_world(1, 0)
    for _ in range(200):
        world.step(np.array([int(world.mask[0, :3].nonzero()[0][-1])]))

    class First:
        def select(self, batch):
            return np.where(batch.mask[:, 1], 1, np.where(batch.mask[:, 2], 2, 0))

    prices = priced(strategy, world, First(), count=40, ahead=60)
    assert len(set(prices.round(6))) > 20
    assert prices.mean() > 0.2  # a job costs, on average
    strategy_of_nothing = Futures(strategy, 5, 60)
    strategy_of_nothing._kinds[:] = -1  # no job in either
    assert not strategy_of_nothing.prices(world, 0, First(), np.random.default_rng(0)).any()


def test_a_job_in_an_idle_server_costs_less_than_in_a_busy_one():
    strategy = strategy_of({"load": 0.7, "training_job": {"slots": 5}})
    prices, is_idle = [], []
    world = strategy.experiment.env.build_world(1, 0)
    for _ in range(120):
        for _ in range(15):
            world.step(SJF().select(world))
        is_idle.append(bool(world.is_idle[0]))
        prices.append(priced(strategy, world, SJF(), count=8, ahead=40).mean())
    is_idle, prices = np.array(is_idle), np.array(prices)
    assert 5 < is_idle.sum() < 115
    assert prices[is_idle].mean() < 0.6 * prices[~is_idle].mean()


def test_what_is_recorded_cannot_be_drawn():
    strategy = strategy_of({"workload": "trace", "trace": {"path": "made:edge_day"}})
    with pytest.raises(ConfigError, match="futures are drawn, which"):
        Futures(strategy, 2, 5)


def played(folder, **values):
    experiment = {
        "strategies": [{"gate": "budget", "rate": 0.05, "label": "psi"}, "pts", "sjf"],
        "seeds": [0, 1],
        "slots": 3000,
        "env": {"load": 0.6, "buffer": 4},
        "learner": {"epsilon": {"decay_slots": 1000}, "hidden": [16]},
        "evaluation": {"slots": 80},
    } | values
    study = resolve(build_experiment(experiment, "test"))
    play_here(study, Folder(folder))
    return study


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_trial_that_is_probed_ends_with_the_row_that_it_had(tmp_path):
    played(tmp_path / "run")
    said = []
    probe(tmp_path / "run", TERMS, only="psi", say=said.append)
    folder = Folder(tmp_path / "run")
    for seed in (0, 1):
        found = json.loads(folder.trial("psi", seed).probe.read_text())
        looks = found["looks"]
        assert {k: found[k] for k in TERMS._fields} == TERMS._asdict()
        assert 30 < len(looks) <= 60
        assert {look["slot"] % 50 for look in looks} == {0}
        updates = [look["updates"] for look in looks]
        assert updates == sorted(updates)
        assert updates[-1] > 1000
        for look in looks:
            assert look["price"] == pytest.approx((look["half"] + look["other_half"]) / 2)
            assert 0 <= look["use"] <= 1
    assert [line.partition(":")[0] for line in said] == ["psi, seed 0", "psi, seed 1"]
    assert not any("differs" in line for line in said)
    assert not folder.trial("pts", 0).probe.is_file()
    section = probe_section(read_study(tmp_path / "run"))
    assert [row[:3] for row in section.rows] == [
        ["psi", "2", f"{slot:,}"] for slot in range(600, 3001, 600)
    ]
    probe(tmp_path / "run", TERMS, only="psi", say=said.append)
    assert "is there already" in said[-1]


def test_correlations_are_those_of_the_part_of_life(tmp_path, monkeypatch):
    """psi says it in the first half of the looks and says the contrary later."""
    study = resolve(build_experiment({"slots": 1000, "seeds": [0]}, "test"))
    folder = Folder(tmp_path)
    folder.write(study.experiment.model_dump(mode="json"), study.to_json())
    trial = folder.trial("ats", 0)
    trial.path.mkdir()
    row = {"timesteps_total": 1000, "row": {"strategy": "ats", "seed": 0}}
    trial.results.write_text(json.dumps(row))
    looks = []
    for k in range(100):
        price = float((7 * k) % 100)
        sign = -1.0 if k < 40 else 1.0
        looks.append(
            {"slot": 10 * (k + 1), "updates": k, "psi": sign * price, "use": price, "queue": 1.0}
            | {"price": price, "half": price, "other_half": price**2}
        )
    trial.probe.write_text(json.dumps(TERMS._asdict() | {"looks": looks}))
    rows = probe_section(read_study(tmp_path)).rows
    assert [row[3] for row in rows] == ["+1.00", "+1.00", "-1.00", "-1.00", "-1.00"]
    assert {row[4] for row in rows} == {"+1.00"}
    assert {row[5] for row in rows} == {"-"}  # the queue is always the same
    assert {row[6] for row in rows} == {"+1.00"}


@pytest.mark.parametrize(
    ("values", "arguments", "message"),
    [
        ({}, ["--strategy", "nobody"], "no strategy is called 'nobody'; known: psi, pts, sjf"),
        ({"runners": {"num": 1}}, [], "runners.num 0"),
        ({}, [], "holds no finished trial of a gate"),
    ],
)
def test_what_cannot_be_probed_is_said_in_one_line(tmp_path, values, arguments, message):
    experiment = {"strategies": [{"gate": "budget", "label": "psi"}, "pts", "sjf"]} | values
    study = resolve(build_experiment(experiment, "test"))
    folder = Folder(tmp_path)
    folder.write(study.experiment.model_dump(mode="json"), study.to_json())
    done = mec_rllib("probe", tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_without_an_experiment_is_named(tmp_path):
    done = mec_rllib("probe", tmp_path)
    assert done.returncode == 2
    assert "holds no experiment" in done.stderr
