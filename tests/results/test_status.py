"""`mec-rllib status`: what runs, what is done, what failed and why, and the time left."""

import json

import pytest
import yaml
from commands import mec_rllib

from mec_rllib.config.load import load
from mec_rllib.config.strategies import resolve
from mec_rllib.launch.resume import what_is_left
from mec_rllib.launch.stages import Stage
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


def test_every_trial_has_a_state_and_a_failed_one_a_reason(folder):
    found = status(folder, now=NOW)
    states = {f"{t['strategy']}_seed{t['seed']}": t["state"] for t in found["trials"]}
    assert states == {
        **{"sjf_seed0": "done", "sjf_seed1": "waiting"},
        **{"ats_seed0": "running", "ats_seed1": "failed"},
    }
    assert (found["done"], found["running"], found["failed"], found["waiting"]) == (1, 1, 1, 1)
    running, failed = found["trials"][:2]
    assert (running["slots"], running["node"], running["failures"]) == (300, "10.0.0.3", 1)
    assert failed["reason"] == "RuntimeError: no fuel"


def test_time_left_is_what_is_left_at_the_pace_so_far(folder):
    # 900 + 200 slots in 50 s; ats seed 0 has 700 to go, sjf seed 1 has 1,000, the failed one none.
    assert status(folder, now=NOW)["left_s"] == pytest.approx(50 * 1700 / 1100)


def test_silence_is_said(folder):
    assert status(folder, now=NOW)["state"] == "running"
    late = status(folder, now=NOW + SILENT_S)
    assert late["state"] == "stopped"
    assert late["silent_s"] == SILENT_S + 10


def test_a_report_that_its_driver_did_not_write_down_has_no_time(folder):
    with (folder / "ats_seed0" / "result.json").open("a") as file:
        file.write(json.dumps({"timesteps_total": 400, "reward": {"lifetime": 0.5}}) + "\n")
    assert status(folder, now=NOW)["left_s"] > 0


def test_failures_before_a_resume_do_not_count(folder):
    study = resolve(load(folder / "config.yaml"))
    what_is_left(Stage(study, Folder(folder), None), print)
    found = status(folder, now=NOW)
    assert (found["failed"], found["state"]) == (0, "running")


def test_the_command_prints_a_table_or_json(folder):
    shown = mec_rllib("status", folder)
    assert shown.returncode == 0, shown.stderr
    assert "ats seed 1: RuntimeError: no fuel" in shown.stdout
    assert f"mec-rllib resume {folder}" in shown.stdout
    assert json.loads(mec_rllib("status", folder, "--json").stdout)["failed"] == 1


def test_what_is_no_experiment_is_one_line(tmp_path):
    shown = mec_rllib("status", tmp_path)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == f"mec-rllib: {tmp_path}: holds no experiment (no config.yaml)\n"
