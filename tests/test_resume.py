"""Nothing is lost: a run that was saved, killed or damaged goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from mec_rllib.experiments.checkpoints import (
    CheckpointError,
    check_checkpoint,
    checkpoints,
    newest_good_checkpoint,
    write_checkpoint,
)
from mec_rllib.experiments.config import build
from mec_rllib.experiments.results import read_experiment
from mec_rllib.rl.exploration import Decay, Greedy
from mec_rllib.sim.totals import Totals

CONFIG = {"seeds": [0], "slots": 4000, "evaluation": {"slots": 2000}, "env": {"load": 0.4}}


def save_number(number):
    return lambda folder: (folder / "state.json").write_text(f'{{"n": {number}}}')


def test_a_checkpoint_is_whole_and_the_one_before_is_kept(tmp_path):
    for number in (10, 20, 30):
        write_checkpoint(tmp_path, number, save_number(number))
    names = [path.name for path in checkpoints(tmp_path)]
    assert names == ["checkpoint_000030", "checkpoint_000020"]
    for path in checkpoints(tmp_path):
        check_checkpoint(path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_a_failure_while_writing_leaves_the_one_before(tmp_path):
    write_checkpoint(tmp_path, 10, save_number(10))

    def disk_full(folder):
        (folder / "state.json").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_checkpoint(tmp_path, 20, disk_full)
    assert os.listdir(tmp_path) == ["checkpoint_000010"]


def damage_byte(path):
    content = bytearray((path / "state.json").read_bytes())
    content[-2] ^= 1
    (path / "state.json").write_bytes(content)


def newer(path):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))


DAMAGES = {
    "state.json is damaged": damage_byte,
    "state.json is missing": lambda path: (path / "state.json").unlink(),
    "has no manifest.json": lambda path: (path / "manifest.json").unlink(),
    "its manifest.json is damaged": lambda path: (path / "manifest.json").write_text("{"),
    "format 99 is of a newer mec-rllib": newer,
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damage_is_named_and_the_one_before_is_taken(tmp_path, message):
    write_checkpoint(tmp_path, 10, save_number(10))
    newest = write_checkpoint(tmp_path, 20, save_number(20))
    DAMAGES[message](newest)
    with pytest.raises(CheckpointError, match=message):
        check_checkpoint(newest)
    said = []
    assert newest_good_checkpoint(tmp_path, said.append).name == "checkpoint_000010"
    assert len(said) == 1
    assert message in said[0]


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
    _, (trial,) = read_experiment(tmp_path)
    assert [report["timesteps_total"] for report in trial.reports] == [100, 200, 300]


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("gate", ["ats", "idle", "ideal"])
def test_a_restored_trial_goes_on_bit_for_bit(tmp_path, gate):
    from mec_rllib.experiments.runner import start
    from mec_rllib.experiments.strategies import resolve
    from mec_rllib.experiments.trial import Trial

    (strategy,) = resolve(build(CONFIG | {"strategies": [gate]}, "test"))
    new = lambda: Trial(gate, 0, strategy.experiment, start(strategy, 0))  # noqa: E731
    straight, interrupted, resumed = new(), new(), new()
    results = []
    while not straight.is_done:
        results.append(straight.play_report())
    for _ in range(50):
        interrupted.play_report()
    interrupted.save(tmp_path)
    resumed.restore(tmp_path)
    assert resumed.reports == 50
    while not resumed.is_done:
        again = resumed.play_report()
        assert _without_time(again) == _without_time(results[resumed.reports - 1])
    first, second = (t.run._algorithm.get_state("play")["play"] for t in (straight, resumed))
    np.testing.assert_equal(_plain(second), _plain(first))
    weights = [t.run._algorithm.get_module().get_state() for t in (straight, resumed)]
    np.testing.assert_equal(weights[1], weights[0])
    for trial in (straight, interrupted, resumed):
        trial.run.stop()


def _plain(state):
    """Nested dictionaries and arrays, with totals and explorations as such."""
    if isinstance(state, Totals):
        return state.to_json()
    if isinstance(state, Greedy | Decay):
        return _plain(vars(state))
    return {k: _plain(v) for k, v in state.items()} if isinstance(state, dict) else state


def _without_time(result):
    row = {k: v for k, v in result.get("row", {}).items() if k != "wall_s"}
    return json.dumps({k: v for k, v in result.items() if k != "row"} | row, sort_keys=True)


@pytest.mark.ray
def test_a_killed_experiment_is_resumed_and_every_trial_ends_once(tmp_path):
    config = CONFIG | {"strategies": ["ats", "sjf"], "seeds": [0, 1], "slots": 12000}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "mec_rllib"]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    subprocess.run([*command, "tune", path, "--out", straight], check=True, capture_output=True)

    run = subprocess.Popen(
        [*command, "tune", path, "--out", killed], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not list(killed.glob("ats_seed*/checkpoint_*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert not (killed / "summary.json").exists()
    newest = max(killed.glob("ats_seed*/checkpoint_*"))
    (newest / "trial.json").write_text("{}")  # damaged as well

    done = subprocess.run([*command, "resume", killed], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "trial.json is damaged; taking the one before" in done.stderr
    rows = [json.loads((out / "summary.json").read_text())["rows"] for out in (straight, killed)]
    for row in rows[0] + rows[1]:
        del row["wall_s"]
    assert rows[0] == rows[1]

    again = subprocess.run([*command, "resume", killed], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "(0 trials)" in again.stdout


def test_resuming_what_is_no_experiment_is_one_line(tmp_path):
    command = [sys.executable, "-m", "mec_rllib", "resume", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"mec-rllib: {tmp_path}: holds no experiment (no config.yaml)\n"
