"""What `mec-rllib shadow` finds in a log, whom it judges where, and what it refuses."""

import json

import numpy as np
import pytest
import yaml

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.schedulers import Reservation, run
from mec_rllib.trials.shadow import judge, logged
from tests.helpers.commands import mec_rllib

ENV = {"workload": "bernoulli", "load": 0.9}
KEYS = ("--window", "500", "--candidates", "16")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"env": {"load": 0.9}, "strategies": ["sjf"]}))
    return path


@pytest.fixture
def log(tmp_path):
    """2,000 slots of a busy server."""
    rng, path = np.random.default_rng(0), tmp_path / "log.csv"
    lines = ["arrival_s,duration_s,demand,job_class"]
    for slot in range(2000):
        if rng.random() < 0.3:
            name, seconds = ("elastic", 20) if rng.random() < 0.2 else ("interactive", 2)
            lines.append(f"{slot},{seconds},{rng.uniform(0.2, 0.5):.2f},{name}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_it_says_who_would_have_earned_what_and_prints_a_rule(config, log, tmp_path):
    before = sorted(tmp_path.iterdir())
    done = mec_rllib("shadow", config, "--log", log, *KEYS, "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.iterdir()) == before  # nothing is written
    said = json.loads(done.stdout)
    assert said["slots"] == pytest.approx(2000, abs=20)
    rewards = [row["reward"] for row in said["rows"]]
    assert rewards == sorted(rewards, reverse=True)
    names = {"found", "shadow", "reservation", "priority", "sjf", "edf", "fifo"}
    assert {row["strategy"] for row in said["rows"]} == names
    assert all(row["ci95"][0] < row["reward"] < row["ci95"][1] for row in said["rows"])
    assert all(len(row["blocks"]) == 10 for row in said["rows"])


def test_the_rule_can_be_pasted_into_strategies_and_earns_what_was_said(config, log, tmp_path):
    rule = tmp_path / "rule.yaml"
    done = mec_rllib("shadow", config, "--log", log, *KEYS, "--out", rule)
    assert done.returncode == 0, done.stderr
    assert rule.read_text() in done.stdout
    (entry,) = yaml.safe_load(rule.read_text())
    study = resolve(build({"strategies": [entry]}, "pasted"))
    assert study.strategies[0].label in done.stdout


def test_a_rule_is_judged_on_the_second_half_of_the_log(config, log):
    experiment = logged(config, log, [])
    verdict = judge(experiment, window=500, candidates=8)
    (judged,) = [one for one in verdict.judged if one.label == "reservation"]
    batch, half = experiment.env.build_servers(1), verdict.slots // 2
    run(batch, Reservation(), half)
    reward, weight = batch.tally.reward.sum(), batch.tally.weight.sum()
    run(batch, Reservation(), verdict.slots - half)
    reward, weight = batch.tally.reward.sum() - reward, batch.tally.weight.sum() - weight
    assert reward / weight == pytest.approx(np.mean(judged.blocks), abs=0.05)
    again = judge(experiment, window=500, candidates=8)
    assert again == verdict


def test_what_is_found_depends_on_the_first_half_only(config, log, tmp_path):
    lines = log.read_text().splitlines()
    middle = 1 + len(lines) // 2
    other = tmp_path / "other.csv"
    late = [line.replace("elastic", "interactive") for line in lines[middle + 40 :]]
    other.write_text("\n".join(lines[: middle + 40] + late) + "\n")
    one, two = (judge(logged(config, path, []), 500, 16) for path in (log, other))
    found = [next(j for j in v.judged if j.label == "found") for v in (one, two)]
    assert found[0] != found[1]
    if isinstance(one.recommended, dict) and isinstance(two.recommended, dict):
        assert one.recommended["args"] == two.recommended["args"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("--window", "1500"), "two windows are 3,000"),
        (("--checkpoint", "nowhere"), "nowhere"),
        (("--set", "env.gym={id: CartPole-v1}", "--set", "env.load=0.3"), "env.gym has no jobs"),
        (("--out", "mine.yaml"), "exists already"),
        (("--out", "no/where.yaml"), "there is no folder"),
    ],
)
def test_what_is_refused_is_refused_in_one_line(config, log, tmp_path, keys, said):
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = mec_rllib("shadow", config, "--log", log, *KEYS, *keys, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_log_that_is_not_there(config, tmp_path):
    done = mec_rllib("shadow", config, "--log", tmp_path / "no.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no.csv" in done.stderr
    assert len(done.stderr.splitlines()) == 1
