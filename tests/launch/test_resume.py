"""Nothing is lost: what was killed or interrupted goes on as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
import yaml
from commands import command, mec_rllib
from comparing import without_time
from processes import named
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mec_rllib.launch.search.log import what_is_left_of_search
from mec_rllib.locks import hold
from mec_rllib.results.folder import Folder, TrialFolder
from mec_rllib.trials.checkpoints import write_checkpoint

KILLED = {
    "strategies": ["ats", "sjf"],
    "seeds": [0, 1],
    "slots": 6000,
    "evaluation": {"slots": 1000},
    "env": {"load": 0.4},
}
ALONE = ["--set", "strategies=[ats]", "--set", "seeds=[0]"]  # one process to start


def wait_for_policy(out):
    """Until the first DQN has left a checkpoint."""
    deadline = time.monotonic() + 120
    while not list(out.glob("*/checkpoint_*/policy.json")) and time.monotonic() < deadline:
        time.sleep(0.02)


def interrupt(config, out, signals, *options):
    """Starts an experiment and sends signals once its first DQN has left a checkpoint."""
    run = subprocess.Popen(
        command("tune", config, "--out", out, *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_policy(out)
    for number in signals:
        run.send_signal(number)
        time.sleep(0.3)
    _, stderr = run.communicate(timeout=180)
    return run.returncode, stderr


@pytest.fixture(scope="module")
def straight(tmp_path_factory, cluster):
    """An experiment that nobody interrupts: its config and its folder."""
    folder = tmp_path_factory.mktemp("straight")
    (folder / "config.yaml").write_text(yaml.safe_dump(KILLED))
    done = mec_rllib("tune", folder / "config.yaml", "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    return folder / "config.yaml", folder / "out"


def assert_same_files(out, expected, names):
    """Equal rows and reports, each once; equal policies; TensorBoard never goes back."""
    assert sorted(path.name for path in out.glob("*_seed*")) == sorted(names)
    rows = [rows_by_name(folder) for folder in (out, expected)]
    assert rows[0] == {name: rows[1][name] for name in names}
    for path in [expected / name for name in names]:
        reports = [read_lines(o / path.name / "result.json") for o in (out, expected)]
        assert reports[0] == reports[1]
        events = EventAccumulator(str(out / path.name)).Reload()
        steps = [point.step for point in events.Scalars("ray/tune/share_training")]
        assert steps == [json.loads(report)["timesteps_total"] for report in reports[1]]
        tables = (out / path.name / "progress.csv").read_text().splitlines()
        assert len(tables) == 1 + len(steps)
        for policy in path.glob("checkpoint_*/policy.safetensors"):
            assert (out / policy.relative_to(expected)).read_bytes() == policy.read_bytes()


def rows_by_name(folder):
    """The rows of an experiment, without what the clock adds."""
    rows = json.loads((folder / "summary.json").read_text())["rows"]
    return {f"{row['strategy']}_seed{row['seed']}": without_time({"row": row}) for row in rows}


def read_lines(path):
    """What a trial has reported, without what the clock and Tune add."""
    ours = ["timesteps_total", "training_iteration", "reward", "server", "training", "gate", "row"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [without_time({k: line[k] for k in ours if k in line}) for line in lines]


@pytest.mark.ray
def test_a_killed_experiment_is_resumed_and_every_trial_ends_once(tmp_path, straight):
    config, expected = straight
    killed = tmp_path / "killed"
    assert interrupt(config, killed, [signal.SIGKILL])[0] == -signal.SIGKILL
    assert not (killed / "summary.json").exists()
    newest = max(killed.glob("ats_seed*/checkpoint_*"))
    (newest / "trial.json").write_text("{}")  # damaged as well
    if not list(newest.parent.glob("checkpoint_*"))[1:]:
        done = mec_rllib("resume", killed)
        assert done.returncode == 2
        assert "none of its checkpoints is whole; delete the folder" in done.stderr
        shutil.rmtree(newest.parent)
    done = mec_rllib("resume", killed)
    assert done.returncode == 0, done.stderr
    assert_same_files(killed, expected, ["ats_seed0", "ats_seed1", "sjf_seed0", "sjf_seed1"])
    again = mec_rllib("tune", config, "--out", killed, "--resume")
    assert again.returncode == 0, again.stderr
    assert "(0 trials)" in again.stdout


@pytest.mark.ray
def test_a_killed_trial_goes_on_and_ends_once(tmp_path, straight):
    config, expected = straight
    out, killed = tmp_path / "out", []

    def kill():
        wait_for_policy(out)
        deadline = time.monotonic() + 30
        while not killed and time.monotonic() < deadline:  # it has the name between two calls
            killed.extend(named("ray::StrategyTrial", os.getpid()))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = mec_rllib("tune", config, "--out", out, *ALONE)
    killer.join()
    assert done.returncode == 0, done.stderr
    assert len(killed) == 1
    assert "ats_seed0: lost" in done.stdout
    assert "restart 1 of 3" in done.stdout
    assert_same_files(out, expected, ["ats_seed0"])


@pytest.mark.ray
def test_one_ctrl_c_stops_with_a_checkpoint_and_loses_nothing(tmp_path, straight):
    config, expected = straight
    out = tmp_path / "out"
    code, stderr = interrupt(config, out, [signal.SIGINT], *ALONE)
    assert code == 130
    assert "press Ctrl-C again to stop at once" in stderr
    assert f"interrupted; go on with: mec-rllib resume {out}" in stderr
    for path in out.glob("*_seed*/result.json"):  # every report is in a checkpoint
        newest = max(path.parent.glob("checkpoint_*"))
        assert int(newest.name[-6:]) == len(path.read_text().splitlines())
    arguments = ["tune", config, *ALONE, "--out", out, "--resume"]
    other = mec_rllib(*arguments, "--set", "learner.lr=0.1")
    assert other.returncode == 2
    assert "holds an experiment with learner.lr 0.0005, the config has 0.1" in other.stderr
    done = mec_rllib(*arguments)
    assert done.returncode == 0, done.stderr
    assert_same_files(out, expected, ["ats_seed0"])


@pytest.mark.ray
def test_ctrl_c_twice_stops_at_once(tmp_path, straight):
    signals = [signal.SIGINT] * 20  # whoever presses it twice may press it again: to the very end
    code, stderr = interrupt(straight[0], tmp_path / "out", signals, *ALONE)
    assert code == 130
    assert "interrupted; go on with" in stderr
    assert "Traceback" not in stderr


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_search_goes_on_with_the_samples_that_were_under_way(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        "strategies: [pts]\nslots: 600\nevaluation: {slots: 400}\n"
        "search: {samples: 3, seeds: [7], slots: 4000, early_stopping: false,\n"
        "  space: {learner.lr: {loguniform: [1.0e-4, 1.0e-2]}}}"
    )
    out = tmp_path / "out"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run = subprocess.Popen(command("tune", config, "--out", out), **quiet)
    deadline = time.monotonic() + 120
    while not list(out.glob("search/*/checkpoint_*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    before = {path.parent.name: path.read_text() for path in out.glob("search/*/params.json")}
    done = mec_rllib("resume", out)
    assert done.returncode == 0, done.stderr
    tried = json.loads((out / "search/search.json").read_text())["tried"]
    assert len(tried) == 3
    assert all(sample["is_complete"] for sample in tried)
    assert len({sample["values"]["learner.lr"] for sample in tried}) == 3
    assert before.keys() <= {sample["name"] for sample in tried}
    for sample in tried:
        lines = (out / "search" / sample["name"] / "result.json").read_text().splitlines()
        slots = [json.loads(line)["timesteps_total"] for line in lines]
        assert slots == list(range(40, 4001, 40))
    (row, tuned) = json.loads((out / "summary.json").read_text())["rows"]
    assert (row["strategy"], tuned["strategy"]) == ("pts", "pts-tuned")


def test_a_search_passes_over_what_was_damaged(tmp_path):
    Folder(tmp_path).samples.write_text('{"name": "sample_a"}\n{"name": "samp')
    values, folder = {"learner.lr": 0.001}, tmp_path / "sample_b"
    folder.mkdir()
    (folder / "params.json").write_text(json.dumps(values))
    lines = [json.dumps({"timesteps_total": slots}) for slots in (10, 20)]
    (folder / "result.json").write_text("\n".join(lines))
    for slots in (10, 20):
        newest = write_checkpoint(
            TrialFolder(folder),
            slots,
            lambda path, slots=slots: (path / "report.json").write_text(
                json.dumps({"timesteps_total": slots})
            ),
            {"sample": values},
        )
    (newest / "report.json").write_text("{")
    left = what_is_left_of_search(Folder(tmp_path))
    assert [sample["name"] for sample in left.tried] == ["sample_a"]
    assert [report["timesteps_total"] for report in left.reports["sample_b"]] == [10]
    assert Folder(tmp_path).samples.read_text() == '{"name": "sample_a"}\n'


def test_two_runs_do_not_share_a_folder(tmp_path):
    (tmp_path / "config.yaml").write_text("strategies: [sjf]\nslots: 100\n")
    lock = hold(tmp_path)
    done = mec_rllib("resume", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"mec-rllib: {tmp_path}: another mec-rllib is at work in it\n"
    lock.close()


def test_resuming_what_is_no_experiment_is_one_line(tmp_path):
    done = mec_rllib("resume", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"mec-rllib: {tmp_path}: holds no experiment (no config.yaml)\n"
