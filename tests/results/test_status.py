"""`mec-rllib status`: what runs, what is done, what failed and why, and the time left."""

import json

import pytest
import yaml
from commands import mec_rllib

from mec_rllib import locks
from mec_rllib.config.load import load
from mec_rllib.config.strategies import resolve
from mec_rllib.launch.resume import what_is_left
from mec_rllib.launch.stages import Stage
from mec_rllib.locks import hold, is_held
from mec_rllib.results.folder import Folder
from mec_rllib.results.status import SILENT_S, status

NOW = 1_000_000.0


@pytest.fixture
def folder(tmp_path):
    """Two strategies, two seeds of 1,000 slots: one is done, one runs, one failed, one waits."""
    config = {"name": "four", "strategies": ["ats", "sjf"], "seeds": [0, 1], "slots": 1000}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    report(tmp_path, "sjf_seed0", [(100, -60), (1000, -40)], node="10.0.0.2")
    report(tmp_path, "ats_seed0", [(100, -50), (300, -10)], node="10.0.0.3")
    fail(tmp_path, "ats_seed0", 1, "RuntimeError: lost once")
    fail(tmp_path, "ats_seed1", 4, "RuntimeError: no fuel")
    return tmp_path


@pytest.fixture
def at_work(folder):
    """The same, and a process is at work in it."""
    with hold(folder):
        yield folder


@pytest.fixture
def without_locks(folder, monkeypatch):
    """The same, on a file system without locks."""

    def refuse(*arguments):
        raise OSError("no locks")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    return folder


def report(folder, name, reports, node):
    (folder / name).mkdir(exist_ok=True)
    lines = [
        {"timesteps_total": slots, "timestamp": NOW + at, "node": node, "reward": {"lifetime": 0.5}}
        for slots, at in reports
    ]
    if lines[-1]["timesteps_total"] == 1000:
        lines[-1]["row"] = {}
    (folder / name / "result.json").write_text("\n".join(map(json.dumps, lines)))


def fail(folder, name, times, reason):
    (folder / name).mkdir(exist_ok=True)
    lines = [f"Failure # {k + 1} (occurred at noon)\nTraceback\n{reason}\n" for k in range(times)]
    (folder / name / "error.txt").write_text("\n".join(lines))


def test_every_trial_has_a_state_and_a_failed_one_a_reason(at_work):
    found = status(at_work, now=NOW)
    states = {f"{t['strategy']}_seed{t['seed']}": t["state"] for t in found["trials"]}
    assert states == {
        **{"sjf_seed0": "done", "sjf_seed1": "waiting"},
        **{"ats_seed0": "running", "ats_seed1": "failed"},
    }
    assert (found["done"], found["running"], found["failed"], found["waiting"]) == (1, 1, 1, 1)
    running, failed = found["trials"][:2]
    assert (running["slots"], running["node"], running["failures"]) == (300, "10.0.0.3", 1)
    assert failed["reason"] == "RuntimeError: no fuel"


def test_time_left_is_what_is_left_at_the_pace_so_far(at_work):
    # 900 + 200 slots in 50 s; ats seed 0 has 700 to go, sjf seed 1 has 1,000, the failed one none.
    assert status(at_work, now=NOW)["left_s"] == pytest.approx(50 * 1700 / 1100)


def test_without_locks_silence_is_said(without_locks):
    assert status(without_locks, now=NOW)["state"] == "running"
    late = status(without_locks, now=NOW + SILENT_S)
    assert late["state"] == "stopped"
    assert late["silent_s"] == SILENT_S + 10


def test_a_report_that_its_driver_did_not_write_down_has_no_time(at_work):
    with (at_work / "ats_seed0" / "result.json").open("a") as file:
        file.write(json.dumps({"timesteps_total": 400, "reward": {"lifetime": 0.5}}) + "\n")
    assert status(at_work, now=NOW)["left_s"] > 0


def test_failures_before_a_resume_do_not_count(folder):
    study = resolve(load(folder / "config.yaml"))
    what_is_left(Stage(study, Folder(folder), None), print)
    found = status(folder, now=NOW)
    assert (found["failed"], found["stopped"], found["state"]) == (0, 0, "stopped")


def test_the_command_prints_a_table_or_json(folder):
    shown = mec_rllib("status", folder)
    assert shown.returncode == 0, shown.stderr
    assert "ats seed 1: RuntimeError: no fuel" in shown.stdout
    assert "1 stopped, 1 failed, 1 waiting, 1 done; nobody is at work in it" in shown.stdout
    assert f"mec-rllib resume {folder}" in shown.stdout
    assert json.loads(mec_rllib("status", folder, "--json").stdout)["failed"] == 1


def test_what_is_no_experiment_is_one_line(tmp_path):
    shown = mec_rllib("status", tmp_path)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == f"mec-rllib: {tmp_path}: holds no experiment (no config.yaml)\n"


def test_the_lock_knows_whether_it_runs(folder):
    """Reports that are fresh do not make a run that was interrupted run."""
    found = status(folder, now=NOW)
    assert (found["state"], found["running"], found["stopped"]) == ("stopped", 0, 1)
    assert found["left_s"] is None
    with hold(folder):
        late = status(folder, now=NOW + 10 * SILENT_S)  # a long report
        assert (late["state"], late["running"]) == ("running", 1)
    assert status(folder, now=NOW)["state"] == "stopped"


def test_a_lock_is_asked_for_without_being_taken(folder):
    assert is_held(folder) is False
    with hold(folder):
        assert is_held(folder) is True
        assert is_held(folder) is True
    with hold(folder):  # asking has left nothing behind
        pass


def test_without_locks_nobody_can_tell(without_locks):
    assert is_held(without_locks) is None


def test_an_error_that_would_come_again_is_a_failure_at_once(folder):
    text = "Final failure (occurred at noon)\nTraceback\ngates.py:4: KeyError: 0\n"
    (folder / "ats_seed0" / "error.txt").write_text(text)
    failed = status(folder, now=NOW)["trials"][0]
    assert (failed["state"], failed["failures"]) == ("failed", 1)
    assert failed["reason"] == "gates.py:4: KeyError: 0"


def test_classes_of_the_user_are_not_needed(tmp_path):
    """On another machine, without their package."""
    config = {"name": "own", "strategies": [], "seeds": [0], "slots": 1000}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    own = {"label": "mine", "learns": True, "rule": "gone:Mine", "path": "gone:Mine", "args": {}}
    own |= {"occupies": True, "has_fallback": False, "settings": {}}
    (tmp_path / "study.json").write_text(json.dumps({"format": 1, "strategies": [own]}))
    report(tmp_path, "mine_seed0", [(100, -60), (300, -40)], node="10.0.0.2")
    shown = mec_rllib("status", tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "mine seed 0" in shown.stdout
