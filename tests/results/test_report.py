"""The report of experiments made by hand: files, health, and what is missing."""

import json

import pytest
import yaml
from rich.console import Console

from mec_rllib.config.experiment import Experiment
from mec_rllib.errors import ConfigError
from mec_rllib.results.gate_health import examine
from mec_rllib.results.report import report
from mec_rllib.results.stored import TrialResults

REPORTS = 20


def result(k, **changes):
    return {
        "timesteps_total": 1000 * (k + 1),
        "reward": {"window": 0.5 + 0.01 * k, "lifetime": 0.5},
        "server": {"share_training": 0.01, "server_use": 0.3},
        "training": {"jobs": 10 * (k + 1)},
        "gate": {"fallback_share": 0.0, "psi": -1.0, "psi_threshold": 0.0, "td_statistic": 0.05},
        "learner": {"epsilon": 0.1},
        "training_slots": [1000 * k + 17],
    } | changes


def row(strategy, seed, **changes):
    metrics = ("reward_lifetime", "reward_last20", "reward_greedy", "share_blocked", "wall_s")
    return (
        {"strategy": strategy, "seed": seed, "slots": 20_000, "miss_rate": 0.1}
        | dict.fromkeys(metrics, 0.5 + 0.01 * seed)
        | {"share_training": 0.01, "learner_updates": 6400, "training_jobs": 200}
        | {"server_use": 0.3, "use_at_training": 0.1, "queue": 0.5, "queue_at_training": 0.2}
        | {"miss_rate_by_class": {"critical": 0.2, "elastic": 0.0}}
        | changes
    )


def trial(strategy, seed=0, reports=None, **changes):
    reports = reports or [result(k) for k in range(REPORTS)]
    return TrialResults(
        strategy, seed, [*reports[:-1], reports[-1] | {"row": row(strategy, seed, **changes)}]
    )


def write(folder, trials, config):
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for t in trials:
        inside = folder / f"{t.strategy}_seed{t.seed}"
        inside.mkdir()
        (inside / "result.json").write_text("\n".join(map(json.dumps, t.reports)))


def test_a_half_finished_experiment_is_shown_and_what_is_missing_is_named(tmp_path, capsys):
    trials = [trial("ats", 0), trial("ats", 1), trial("pts", 0)]
    trials[1].reports = trials[1].reports[:7]
    config = {"name": "<half>", "strategies": ["ats", "pts"], "seeds": [0, 1], "slots": 20_000}
    write(tmp_path / "out", trials, config)
    report(tmp_path / "out", Console(width=120))
    assert "not finished (2 of 4): ats (seed 1), pts (seed 1)" in capsys.readouterr().out
    page = (tmp_path / "out/report.html").read_text()
    assert "2 of 4 trials finished" in page
    assert "&lt;half&gt;" in page
    assert "<half>" not in page
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page.replace("http-equiv", "")  # opens offline
    table = (tmp_path / "out/report.md").read_text()
    assert "| ats | 1 | 0.500 |" in table
    assert {p.name for p in (tmp_path / "out").glob("*.png")} == {
        *("rewards.png", "server.png", "final.png", "where.png", "trade_off.png", "misses.png")
    }


def test_an_experiment_of_schedulers_has_no_gates_to_show(tmp_path):
    plain = [
        {k: v for k, v in result(k).items() if k in ("timesteps_total", "reward", "server")}
        for k in range(REPORTS)
    ]
    config = {"strategies": ["sjf"], "seeds": [0], "slots": 20_000}
    write(tmp_path / "out", [trial("sjf", reports=plain)], config)
    report(tmp_path / "out", Console())
    assert not (tmp_path / "out/where.png").exists()
    assert "No failure signature seen" in (tmp_path / "out/report.html").read_text()


def test_a_folder_without_an_experiment_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no experiment"):
        report(tmp_path, Console())
    assert not list(tmp_path.iterdir())


def health_of(*trials):
    labels = list(dict.fromkeys(t.strategy for t in trials))
    experiment = Experiment(strategies=labels, seeds=sorted({t.seed for t in trials}))
    return {(f.strategy, f.signature): f.figures for f in examine(experiment, trials)}


def test_a_healthy_gate_has_no_findings():
    assert health_of(trial("ats"), trial("pts"), trial("ideal")) == {}


def test_each_failure_signature_is_named_with_its_figures():
    often = [result(k, training={"jobs": 50 * (k + 1)}) for k in range(REPORTS)]
    assert "5.0% of the slots" in health_of(trial("ats", reports=often))["ats", "trains too often"]

    never = [result(k, training={"jobs": 3}) for k in range(REPORTS)]
    assert (
        "seed 0"
        in health_of(trial("idle", reports=never), trial("idle", 1))["idle", "never trains"]
    )

    busy = health_of(trial("pts", use_at_training=0.5))
    assert "50% of the server" in busy["pts", "trains at bad moments"]

    worse = [result(k, reward={"window": 0.8 - 0.01 * k, "lifetime": 0.5}) for k in range(REPORTS)]
    assert "6,400 updates" in health_of(trial("pts", reports=worse))["pts", "learns too slowly"]

    gate = {"fallback_share": 1.0, "psi": -1.0, "psi_threshold": 0.0, "td_statistic": 0.4}
    stuck = health_of(trial("ats", reports=[result(k, gate=gate) for k in range(REPORTS)]))
    assert "TD statistic 0.40, cutoff 0.1" in stuck["ats", "fallback never let go"]
