"""A suite is played, interrupted, goes on, and outlives an experiment that fails."""

import io
import json
import os
import signal
import threading
import time

import pytest
import yaml
from commands import mec_rllib, one_process
from rich.console import Console

from mec_rllib import Suite
from mec_rllib.config.suite import load_suite
from mec_rllib.errors import ConfigError
from mec_rllib.launch.cluster import Cluster
from mec_rllib.launch.launcher import Launcher
from mec_rllib.launch.suite import SuiteLauncher

CLAIM = {"id": "c", "text": "EDF is above SJF", "measure": "difference"}
CLAIM |= {"of": {"better": "edf", "worse": "sjf"}}


@pytest.fixture
def suite(tmp_path):
    """A suite of three experiments of two rules."""
    rules = {"strategies": ["sjf", "edf"], "seeds": [0, 1], "slots": 400}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules | {"evaluation": {"slots": 200}}))
    worlds = [{"config": "rules", "set": {"env.load": load}, "label": f"load{load}"} for load in
              (0.3, 0.6, 0.9)]  # fmt: skip
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump({"name": "three", "suite": worlds, "claims": [CLAIM]}))
    return path


@pytest.fixture
def played(monkeypatch):
    """What is played, without playing it; `do[label]` is done instead."""
    labels, do = [], {}

    def run(launcher, plan, go_on):
        label = launcher._folder.path.name
        labels.append((label, go_on))
        return do[label](launcher) if label in do else []

    monkeypatch.setattr(Launcher, "run", run)
    return labels, do


def launcher(out):
    return SuiteLauncher(out, Cluster(), Console(file=io.StringIO()), print)


LOADS = ["load0.3", "load0.6", "load0.9"]


def test_all_experiments_begin_before_the_first_is_played(tmp_path, suite, played):
    labels, do = played
    out = tmp_path / "out"
    do["load0.3"] = lambda _: [sorted(str(p.relative_to(out)) for p in out.rglob("*.yaml"))]
    (found,) = launcher(out).begin(load_suite(suite))
    assert found.startswith("load0.3: ['load0.3/config.yaml', 'load0.6/config.yaml', 'load0.9/c")
    assert labels == [(label, False) for label in LOADS]
    assert (out / "report.html").is_file()


def test_experiments_that_fail_are_said_and_the_others_are_played(tmp_path, suite, played):
    labels, do = played

    def fails(_):
        raise RuntimeError("disk full")

    do |= {"load0.3": fails, "load0.6": lambda _: ["sjf_seed0: no fuel"]}
    failures = launcher(tmp_path / "out").begin(load_suite(suite))
    assert failures == ["load0.3: disk full", "load0.6: sjf_seed0: no fuel"]
    assert len(labels) == 3


def test_who_stops_an_experiment_with_its_last_report_stops_the_suite(tmp_path, suite, played):
    labels, do = played

    def stops(launcher):
        launcher._stop.is_asked = True
        return []

    do["load0.6"] = stops
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        launcher(out).begin(load_suite(suite))
    assert [label for label, _ in labels] == LOADS[:2]
    labels.clear(), do.clear()
    assert launcher(out).go_on() == []
    assert labels == [(label, True) for label in LOADS]


def test_a_suite_goes_on_as_it_began(tmp_path, suite, played):
    out, begun = tmp_path / "out", load_suite(suite)
    launcher(out).begin(begun)
    assert launcher(out).go_on(begun) == []
    with pytest.raises(ConfigError, match=r"load0.3: .*with slots 400, the config has 500; go on"):
        launcher(out).go_on(load_suite(suite, ["slots=500"]))
    values = yaml.safe_load(suite.read_text())
    suite.write_text(yaml.safe_dump(values | {"suite": values["suite"][:2]}))
    with pytest.raises(ConfigError, match="holds an experiment with suite"):
        launcher(out).go_on(load_suite(suite))
    with pytest.raises(ConfigError, match="is taken; name a folder that is new or empty"):
        launcher(out).begin(begun)


def test_bad_input_of_one_experiment_leaves_nothing(tmp_path, suite):
    values = yaml.safe_load(suite.read_text())
    values["suite"][1]["set"]["compare"] = {"baseline": "sfj"}
    suite.write_text(yaml.safe_dump(values))
    done = mec_rllib("tune", suite, "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    line = "load0.6: compare.baseline: no strategy is called 'sfj'; did you mean 'sjf'?"
    assert done.stderr == f"mec-rllib: {line}\n"
    assert not (tmp_path / "out").exists()
    refused = mec_rllib("train", suite, "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert "is a suite of experiments" in refused.stderr


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_suite_is_interrupted_fails_and_ends(tmp_path, modules):
    (modules / "empty_tank.py").write_text(
        "from pathlib import Path\n"
        "from mec_rllib.schedulers import SJF\n"
        "class Tank(SJF):\n"
        f"    is_empty = Path({str(tmp_path / 'empty')!r})\n"
        "    def select(self, batch):\n"
        "        if batch.slot > 300 and self.is_empty.exists():\n"
        "            raise RuntimeError('no fuel')\n"
        "        return super().select(batch)\n"
    )
    (tmp_path / "tank.yaml").write_text("strategies: ['empty_tank:Tank', sjf]\nslots: 500\n")
    (tmp_path / "learner.yaml").write_text("strategies: [ats]\nslots: 2500\n")
    suite, out = tmp_path / "s.yaml", tmp_path / "out"
    suite.write_text("suite: [{config: learner, set: {env.load: 0.4}}, {config: tank}]\n")
    (tmp_path / "empty").touch()

    handler = signal.getsignal(signal.SIGINT)
    threading.Thread(target=interrupt_once_it_reports, args=(out / "learner",)).start()
    try:
        done = mec_rllib("tune", suite, "--out", out)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert done.returncode == 130, done.stderr
    assert f"interrupted; go on with: mec-rllib resume {out}" in done.stderr
    status = json.loads(mec_rllib("status", out, "--json").stdout)
    assert (status["stopped"], status["waiting"], status["done"]) == (1, 2, 0)

    done = mec_rllib("resume", out)
    assert done.returncode == 1, done.stderr
    assert "failed: tank: Tank_seed0: empty_tank.py:7: RuntimeError: no fuel" in done.stderr
    assert f"go on with: mec-rllib resume {out}" in done.stderr
    assert "learner (1 of 2)" in done.stdout

    (tmp_path / "empty").unlink()
    files = [out / name / "result.json" for name in ("learner/ats_seed0", "tank/sjf_seed0")]
    before = [file.read_text() for file in files]
    with pytest.raises(ConfigError, match="is taken"):
        Suite.load(suite).run(out)
    with one_process():
        results = Suite.load(suite).run(out, resume=True)
    assert [file.read_text() for file in files] == before  # finished: not played again
    rows = results.rows()
    assert list(rows[["world", "strategy", "slots"]].itertuples(index=False, name=None)) == [
        ("learner", "ats", 2500),
        ("tank", "Tank", 500),
        ("tank", "sjf", 500),
    ]
    tank = rows[rows.world == "tank"]
    assert tank.reward_lifetime.nunique() == 1  # with fuel it is SJF
    assert "| strategy | learner | tank | mean |" in (out / "report.md").read_text()


def interrupt_once_it_reports(folder):
    """Presses Ctrl-C."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if list(folder.glob("*/checkpoint_*/policy.json")):
            os.kill(os.getpid(), signal.SIGINT)
            return
        time.sleep(0.02)
