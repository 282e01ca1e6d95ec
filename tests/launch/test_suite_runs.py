"""A suite is played, interrupted, goes on, and outlives an experiment that fails."""

import io
import json
import os
import signal
import threading
import time

import pytest
import yaml
from commands import mec_rllib
from rich.console import Console

from mec_rllib import Suite, SuiteResults
from mec_rllib.config.suite import load_suite
from mec_rllib.errors import ConfigError
from mec_rllib.launch.cluster import Cluster
from mec_rllib.launch.launcher import Player
from mec_rllib.launch.suite import SuitePlayer

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

    def play(player, plan, go_on):
        label = player._folder.path.name
        labels.append((label, go_on))
        return do[label](player) if label in do else []

    monkeypatch.setattr(Player, "play", play)
    return labels, do


def player(out):
    return SuitePlayer(out, Cluster(), Console(file=io.StringIO()), print)


LOADS = ["load0.3", "load0.6", "load0.9"]


def test_all_experiments_begin_before_the_first_is_played(tmp_path, suite, played):
    labels, do = played
    out = tmp_path / "out"
    do["load0.3"] = lambda _: [sorted(str(p.relative_to(out)) for p in out.rglob("*.yaml"))]
    (found,) = player(out).begin(load_suite(suite))
    assert found.startswith("load0.3: ['load0.3/config.yaml', 'load0.6/config.yaml', 'load0.9/c")
    assert labels == [(label, False) for label in LOADS]
    assert (out / "report.html").is_file()


def test_experiments_that_fail_are_said_and_the_others_are_played(tmp_path, suite, played):
    labels, do = played

    def fails(_):
        raise RuntimeError("disk full")

    do |= {"load0.3": fails, "load0.6": lambda _: ["sjf_seed0: no fuel"]}
    failures = player(tmp_path / "out").begin(load_suite(suite))
    assert failures == ["load0.3: disk full", "load0.6: sjf_seed0: no fuel"]
    assert len(labels) == 3


def test_who_stops_an_experiment_with_its_last_report_stops_the_suite(tmp_path, suite, played):
    labels, do = played

    def stops(player):
        player._stop.is_asked = True
        return []

    do["load0.6"] = stops
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        player(out).begin(load_suite(suite))
    assert [label for label, _ in labels] == LOADS[:2]
    labels.clear(), do.clear()
    assert player(out).go_on() == []
    assert labels == [(label, True) for label in LOADS]


def test_a_suite_goes_on_as_it_began_and_can_be_played_again(tmp_path, suite, played):
    out, begun = tmp_path / "out", load_suite(suite)
    player(out).begin(begun)
    assert player(out).go_on(begun) == []
    with pytest.raises(ConfigError, match=r"load0.3: .*with slots 400, the config has 500; go on"):
        player(out).go_on(load_suite(suite, ["slots=500"]))
    values = yaml.safe_load(suite.read_text())
    suite.write_text(yaml.safe_dump(values | {"suite": values["suite"][:2]}))
    with pytest.raises(ConfigError, match="holds an experiment with suite"):
        player(out).go_on(load_suite(suite))
    with pytest.raises(ConfigError, match="is taken; name a folder that is new or empty"):
        player(out).begin(begun)
    again = load_suite(out / "suite.yaml")  # of the folder, without the files it came from
    assert {k: w.experiment for k, w in again.worlds.items()} == {
        k: w.experiment for k, w in begun.worlds.items()
    }
    assert again.claims == list(begun.claims)


def test_bad_input_of_one_experiment_leaves_nothing(tmp_path, suite):
    values = yaml.safe_load(suite.read_text())
    values["suite"][1]["set"]["compare"] = {"baseline": "sfj"}
    suite.write_text(yaml.safe_dump(values))
    done = mec_rllib("tune", suite, "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    line = (
        "mec-rllib: load0.6: compare.baseline: no strategy is called 'sfj'; did you mean 'sjf'?\n"
    )
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
        "        if self.is_empty.exists():\n"
        "            raise RuntimeError('no fuel')\n"
        "        return super().select(batch)\n"
    )
    (tmp_path / "tank.yaml").write_text("strategies: ['empty_tank:Tank', sjf]\nslots: 500\n")
    (tmp_path / "learner.yaml").write_text("strategies: [ats]\nslots: 4000\n")
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
    assert (status["running"], status["waiting"], status["done"]) == (1, 2, 0)

    done = mec_rllib("resume", out)
    assert done.returncode == 1, done.stderr
    assert "failed: tank: Tank_seed0: RuntimeError: no fuel" in done.stderr
    assert f"go on with: mec-rllib resume {out}" in done.stderr
    assert "learner (1 of 2)" in done.stdout

    (tmp_path / "empty").unlink()
    files = [out / name / "result.json" for name in ("learner/ats_seed0", "tank/sjf_seed0")]
    before = [file.read_text() for file in files]
    done = mec_rllib("tune", suite, "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert [file.read_text() for file in files] == before  # finished: not played again
    rows = SuiteResults(out).rows()
    assert list(rows[["world", "strategy", "slots"]].itertuples(index=False, name=None)) == [
        ("learner", "ats", 4000),
        ("tank", "Tank", 500),
        ("tank", "sjf", 500),
    ]
    tank = rows[rows.world == "tank"]
    assert tank.reward_lifetime.nunique() == 1  # with fuel it is SJF
    assert "R by experiment" in done.stdout
    with pytest.raises(ConfigError, match="is taken"):
        Suite.load(suite).run(out)
    assert set(Suite.load(suite).run(out, resume=True).experiments) == {"learner", "tank"}


def interrupt_once_it_reports(folder):
    """Presses Ctrl-C."""
    deadline = time.monotonic() + 120
    while not list(folder.glob("*/checkpoint_*/policy.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)
