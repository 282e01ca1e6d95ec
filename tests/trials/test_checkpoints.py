"""A checkpoint is whole or passed over, and a trial goes on from it bit for bit."""

import copy
import json
import os

import numpy as np
import pytest
import yaml
from comparing import without_time

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.results.folder import TrialFolder
from mec_rllib.results.stored import read_study
from mec_rllib.rl.exploration import Decay, Greedy
from mec_rllib.sim.totals import Totals
from mec_rllib.trials.checkpoints import (
    MANIFEST,
    CheckpointError,
    DamagedCheckpointError,
    check_checkpoint,
    newest_good_checkpoint,
    write_checkpoint,
)
from mec_rllib.trials.runs import start_run
from mec_rllib.trials.trial import Trial

OF = {"strategy": "ats", "seed": 0}  # whose the checkpoints of these tests are
CONFIG = {"seeds": [0], "evaluation": {"slots": 2000}, "env": {"load": 0.4}}


def save_number(number):
    return lambda folder: (folder / "state.json").write_text(f'{{"n": {number}}}')


def test_a_checkpoint_is_whole_and_the_one_before_is_kept(tmp_path):
    for number in (10, 20, 30):
        write_checkpoint(TrialFolder(tmp_path), number, save_number(number), OF)
    names = [path.name for path in TrialFolder(tmp_path).checkpoints]
    assert names == ["checkpoint_000030", "checkpoint_000020"]
    for path in TrialFolder(tmp_path).checkpoints:
        check_checkpoint(path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_a_failure_while_writing_leaves_the_one_before(tmp_path):
    write_checkpoint(TrialFolder(tmp_path), 10, save_number(10), OF)

    def disk_full(folder):
        (folder / "state.json").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_checkpoint(TrialFolder(tmp_path), 20, disk_full, OF)
    assert os.listdir(tmp_path) == ["checkpoint_000010"]


def damage_byte(path):
    content = bytearray((path / "state.json").read_bytes())
    content[-2] ^= 1
    (path / "state.json").write_bytes(content)


def change(path, **values):
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | values))


DAMAGES = {
    "state.json is damaged": damage_byte,
    "state.json is missing": lambda path: (path / "state.json").unlink(),
    "extra.pkl does not belong to it": lambda path: (path / "extra.pkl").write_text("?"),
    "has no manifest.json": lambda path: (path / MANIFEST).unlink(),
    "its manifest.json is damaged": lambda path: (path / MANIFEST).write_text("{"),
    "'/etc/passwd' lies outside": lambda path: change(path, files={"/etc/passwd": "0"}),
    "'../up' lies outside": lambda path: change(path, files={"../up": "0"}),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damage_is_named_and_the_one_before_is_taken(tmp_path, message):
    write_checkpoint(TrialFolder(tmp_path), 10, save_number(10), OF)
    newest = write_checkpoint(TrialFolder(tmp_path), 20, save_number(20), OF)
    DAMAGES[message](newest)
    with pytest.raises(DamagedCheckpointError, match=message):
        check_checkpoint(newest)
    said = []
    assert (
        newest_good_checkpoint(TrialFolder(tmp_path), OF, said.append).name == "checkpoint_000010"
    )
    assert len(said) == 1
    assert message in said[0]


def test_without_a_whole_checkpoint_nothing_is_thrown_away(tmp_path):
    assert (
        newest_good_checkpoint(TrialFolder(tmp_path), OF, print) is None
    )  # nothing was written so far
    damage_byte(write_checkpoint(TrialFolder(tmp_path), 10, save_number(10), OF))
    with pytest.raises(CheckpointError, match="none of its checkpoints is whole"):
        newest_good_checkpoint(TrialFolder(tmp_path), OF, print)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 99}, "format 99 is of a newer mec-rllib"),
        ({"versions": {"ray": "2.9.3"}}, "written with ray 2.9.3, here is .*; install ray==2.9.3"),
        ({"versions": {}}, "written with ray none"),
        ({"of": OF | {"seed": 3}}, "was written for seed 3, here: 0"),
        ({"of": OF | {"config": {"lr": 0.1}}}, "was written for config.* 0.1"),
    ],
)
def test_a_checkpoint_of_another_run_or_version_is_refused(tmp_path, values, message):
    write_checkpoint(TrialFolder(tmp_path), 10, save_number(10), OF)
    change(write_checkpoint(TrialFolder(tmp_path), 20, save_number(20), OF), **values)
    with pytest.raises(CheckpointError, match=message):
        newest_good_checkpoint(TrialFolder(tmp_path), OF, print)


def test_totals_survive_json_exactly():
    from mec_rllib.schedulers import SCHEDULERS, run

    batch = build(CONFIG | {"strategies": ["sjf"]}, "test").env.build_servers(3, 5)
    run(batch, SCHEDULERS["sjf"](), 500)
    before = Totals.of(batch)
    after = Totals.from_json(json.loads(json.dumps(before.to_json())))
    assert not any(np.any(value) for value in (before - after).to_json().values())


def test_slots_played_again_count_once(tmp_path):
    config = CONFIG | {"strategies": ["sjf"], "slots": 300}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "sjf_seed0").mkdir()
    slots = [100, 200, "{cut of", 200, 300]
    lines = [s if isinstance(s, str) else json.dumps({"timesteps_total": s}) for s in slots]
    (tmp_path / "sjf_seed0" / "result.json").write_text("\n".join(lines))
    (trial,) = read_study(tmp_path).trials
    assert [report["timesteps_total"] for report in trial.reports] == [100, 200, 300]


OWN = {  # gates that are not built in, by their labels
    "td_slope": {"gate": "examples.gates.td_slope:TDSlope", "label": "td_slope"},
    "bandit": {"gate": "examples.gates.bandit:Bandit", "label": "bandit"},
}
RESUMED = [
    *(("ats", seed, 0) for seed in (0, 4, 9)),
    *(pytest.param("ats", seed, 0, marks=pytest.mark.slow) for seed in (1, 2, 3, 5, 6, 7, 8)),
    *((gate, 0, 0) for gate in ("idle", "ideal", "budget", *OWN)),
    ("ats", 0, 2),  # with remote runners
]


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(("gate", "seed", "runners"), RESUMED)
def test_a_restored_trial_goes_on_bit_for_bit(tmp_path, gate, seed, runners):
    """Saved in the middle of one run; another goes on from there, and ends in the same place."""
    config = CONFIG | {
        "strategies": [OWN.get(gate, gate)],
        "slots": 2000,
        "runners": {"num": runners},
    }
    (strategy,) = resolve(build(config, "test")).strategies
    straight, results = Trial(gate, seed, strategy.experiment, start_run(strategy, seed)), []
    while not straight.is_done:
        results.append(straight.play_report())
        if straight.reports == 35 + 5 * seed:
            straight.save(tmp_path)
    expected = _state_of(straight)
    straight.run.stop()  # its runners make room
    resumed = Trial(gate, seed, strategy.experiment, start_run(strategy, seed))
    resumed.restore(tmp_path)
    assert resumed.reports == 35 + 5 * seed
    while not resumed.is_done:
        again = resumed.play_report()
        assert without_time(again) == without_time(results[resumed.reports - 1])
    assert resumed.run.learner_updates > 0
    np.testing.assert_equal(_state_of(resumed), expected)
    resumed.run.stop()


def _state_of(trial):
    """Replay, servers, gate, counters, generators; weights, target and Adam."""
    algorithm = trial.run._algorithm
    learner = algorithm.learner_group._learner.get_state()
    return copy.deepcopy((_plain(algorithm.get_state()["play"]), _numbers(learner)))


def _numbers(state):
    """Arrays and numbers of a learner's state, by their place."""
    if isinstance(state, dict):
        return {key: _numbers(value) for key, value in state.items() if key != "metrics_logger"}
    return np.asarray(state) if hasattr(state, "shape") else state


def _plain(state):
    """Nested dictionaries and arrays, with totals and explorations as such."""
    if isinstance(state, Totals):
        return state.to_json()
    if isinstance(state, Greedy | Decay):
        return _plain(vars(state))
    return {k: _plain(v) for k, v in state.items()} if isinstance(state, dict) else state
