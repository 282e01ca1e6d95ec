"""The report of experiments made by hand: files, health, and what is missing."""

import json
import re

import numpy as np
import pytest
from rich.console import Console
from stored import REPORTS, SHIPPED_CLAIMS, result, stored, trial, write

from mec_rllib.errors import ConfigError
from mec_rllib.results.gate_health import examine
from mec_rllib.results.report import report
from mec_rllib.results.report.plots import Drawn, draw_greedy
from mec_rllib.results.stored import TrialResults
from mec_rllib.results.tables import p_text


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


def test_what_the_greedy_policy_was_worth_by_then_is_drawn_where_it_was_evaluated():
    """Two seeds of ats, 0.2 and 0.4, then 0.5 and 0.7; the second evaluation of pts is missing."""

    def evaluated(label, seed, *rewards):
        reports = [
            result(k, greedy={"slot": 1000 * (k + 1), "reward": r}) for k, r in enumerate(rewards)
        ]
        return trial(label, seed, [*reports, result(2)])

    trials = [evaluated("ats", 0, 0.2, 0.5), evaluated("ats", 1, 0.4, 0.7)]
    study = stored([*trials, evaluated("pts", 0, 0.3)], strategies=["ats", "pts"], seeds=[0, 1])
    (axes,) = draw_greedy(Drawn(study)).axes
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert lines["ats"] == pytest.approx(np.array([[1000, 0.3], [2000, 0.6]]))
    assert lines["pts"] == pytest.approx(np.array([[1000, 0.3]]))
    assert draw_greedy(Drawn(stored([trial("ats", 0)], strategies=["ats"]))) is None


def test_a_folder_without_an_experiment_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no experiment"):
        report(tmp_path, Console())
    assert not list(tmp_path.iterdir())


def health_of(*trials):
    labels = list(dict.fromkeys(t.strategy for t in trials))
    study = stored(trials, strategies=labels, seeds=sorted({t.seed for t in trials}))
    return {(f.strategy, f.signature): f.figures for f in examine(study)}


def test_a_healthy_gate_has_no_findings():
    assert health_of(trial("ats"), trial("pts"), trial("ideal")) == {}


def test_each_failure_signature_is_named_with_its_figures():
    often = [result(k, training={"jobs": 50 * (k + 1)}) for k in range(REPORTS)]
    assert "5.0% of the slots" in health_of(trial("ats", reports=often))["ats", "trains too often"]

    never = [result(k, training={"jobs": 0}) for k in range(REPORTS)]
    found = health_of(trial("idle", reports=never), trial("idle", 1))
    assert found["idle", "never trains"] == (
        "no training job in 20,000 slots, where its settings mean up to 195, seed 0"
    )

    stopped = [result(k, training={"jobs": 10 * min(k + 1, 3)}) for k in range(REPORTS)]
    found = health_of(trial("ats", reports=stopped), trial("ats", 1))
    assert found == {
        ("ats", "stops training"): "30 training jobs until slot 3,000, none in the 17,000 slots "
        "since; it never waited longer than 1,000 before, seed 0"
    }

    busy = health_of(trial("pts", use_at_training=0.5))
    assert "50% of the server" in busy["pts", "trains at bad moments"]

    worse = [result(k, reward={"window": 0.8 - 0.01 * k, "lifetime": 0.5}) for k in range(REPORTS)]
    assert "6,400 updates" in health_of(trial("pts", reports=worse))["pts", "learns too slowly"]

    gate = {"fallback_share": 1.0, "psi": -1.0, "psi_threshold": 0.0, "td_statistic": 0.4}
    stuck = health_of(trial("ats", reports=[result(k, gate=gate) for k in range(REPORTS)]))
    assert stuck == {  # it trains: that is no "never"
        ("ats", "fallback never let go"): "pts decides in 100% of the last 20% of the slots, "
        "40 training jobs there; TD statistic 0.40, cutoff 0.1"
    }


def weekly(jobs_at):
    """Reports of a gate that trains in these slots."""
    return [
        result(k, training={"jobs": sum(slot < 1000 * (k + 1) for slot in jobs_at)})
        for k in range(REPORTS)
    ]


@pytest.mark.parametrize(
    ("jobs_at", "signature"),
    [
        (range(5_000, 20_000, 5_000), None),  # the last one is a quarter of the life ago
        ([7_000, 14_000], None),
        ([8_000], None),
        ([600], "stops training"),
        ([], "never trains"),
    ],
)
def test_a_gate_of_ones_own_is_judged_by_what_it_did(jobs_at, signature, readme_examples):
    config = {"gate": "my_package.gates:EveryMonday", "label": "mine"}
    found = examine(stored([trial("mine", reports=weekly(jobs_at))], strategies=[config]))
    assert [f.signature for f in found] == ([signature] if signature else [])


def test_a_gate_of_ones_own_is_not_missed_before_there_is_anything_to_learn(readme_examples):
    config = {"gate": "my_package.gates:EveryMonday", "label": "mine"}
    early = [result(0, training={"jobs": 0}, timesteps_total=400)]
    assert not examine(stored([trial("mine", reports=early)], strategies=[config]))


@pytest.mark.parametrize(
    ("strategy", "slots"),
    [
        ("ats", 700),  # 200 slots after learning starts: 2 training jobs at most
        ({"gate": "pts", "period": 10_000}, 20_000),
        ("ats", 400),
    ],
)
def test_no_training_is_no_news_where_little_is_expected(strategy, slots):
    never = [result(k, training={"jobs": 0}, timesteps_total=slots) for k in range(1)]
    label = strategy if isinstance(strategy, str) else strategy["gate"]
    assert not examine(stored([trial(label, reports=never)], strategies=[strategy]))


def test_two_training_jobs_are_not_too_many():
    few = [result(k, training={"jobs": k // 18}, timesteps_total=10 * (k + 1)) for k in range(20)]
    assert health_of(trial("ats", reports=few)) == {}
    assert health_of(trial("pts", use_at_training=0.9, training_jobs=2)) == {}


def test_a_report_without_data_decides_nothing_and_is_readable(tmp_path, capsys):
    """Equal seeds, one seed, seeds without R, shares: what each table says."""
    trials = [trial("ats", s, reward_lifetime=0.8, share_training=0.009 + 2e-4 * s) for s in (0, 1)]
    trials += [trial("sjf", s, reward_lifetime=0.8) for s in (0, 1)]
    trials += [trial("idle", 0, reward_lifetime=0.7)]
    trials += [trial("pts", s, reward_lifetime=None) for s in (0, 1)]
    config = {"strategies": ["pts", "ats", "sjf", "idle"], "seeds": [0, 1], "slots": 20_000}
    config["claims"] = list(SHIPPED_CLAIMS.values())
    write(tmp_path / "out", trials, config)
    report(tmp_path / "out", Console(width=160))
    shown, table = capsys.readouterr().out, (tmp_path / "out/report.md").read_text()
    rows = {line.split(" | ")[0][2:]: line.split(" | ")[1:] for line in table.splitlines()}
    assert rows["ATS is above SJF (lifetime)"][:4] == [
        *("undecided (interim)", "2", "+0.000", "all 2 seeds equal")
    ]
    assert rows["ATS is above SJF (lifetime)"][4:] == ["> 0", "-", "- |"]
    assert rows["ATS is above idle"][:4] == ["undecided (interim)", "1", "+0.100", "one seed"]
    assert rows["ATS is above PTS (equal budget)"][1:4] == ["0", "-", "no figures"]
    share = rows["ATS trains in less than 2 % of the slots"]
    assert share[:5] == ["holds (interim)", "2", "0.91%", "[0.78%, 1.04%]", "< 2%"]
    for text in (shown, table, (tmp_path / "out/report.html").read_text()):
        assert not re.search(r"\bnan\b", re.sub(r'base64,[^"]*', "", text))
        assert "no R, for no job was resolved: pts (seed 0, 1)" in text
        assert "all 2 seeds equal" in text
    claims = json.loads((tmp_path / "out/summary.json").read_text())["claims"]
    equal = next(claim for claim in claims if claim["id"] == "ats_above_sjf_lifetime")
    assert (equal["p"], equal["ci95"], equal["holm"]) == (None, [None, None], False)
    names = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    assert names[1:6] == ["| ---", "| ats", "| sjf", "| idle", "| pts"]  # no R: last


def test_p_is_never_printed_as_0():
    assert [p_text(p) for p in (0.0, 1e-9, 0.0012, 0.049, 1.0, None)] == [
        *("< 0.001", "< 0.001", "0.0012", "0.049", "1", "-")
    ]


def test_an_experiment_without_finished_trials_has_a_report(tmp_path, capsys):
    begun = TrialResults("ats", 0, [result(0)])
    config = {"strategies": ["ats", "pts"], "seeds": [0], "slots": 20_000}
    write(tmp_path / "out", [begun, TrialResults("pts", 0, [])], config)
    report(tmp_path / "out", Console(width=120))
    assert "not finished (2 of 2): ats (seed 0), pts (seed 0)" in capsys.readouterr().out
    for name in ("report.md", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        assert "No trial has finished yet." in text
        assert "No failure signature seen" not in text


def test_the_trial_that_has_begun_is_drawn_though_the_first_has_not(tmp_path):
    trials = [TrialResults("ats", 0, []), trial("ats", 1), TrialResults("pts", 0, [])]
    config = {"strategies": ["ats", "pts"], "seeds": [0, 1], "slots": 20_000}
    write(tmp_path / "out", trials, config)
    report(tmp_path / "out", Console())
    assert (tmp_path / "out/trade_off.png").exists()


def test_what_requests_rest_on_is_a_table_of_shares(tmp_path, capsys):
    counts = ({"psi": 10, "tie": 80, "fallback": 10}, {"psi": 0, "tie": 60, "fallback": 40})
    trials = [trial("ats", s, requests_by_reason=of) for s, of in enumerate(counts)]
    trials += [trial("pts", s) for s in (0, 1)]
    config = {"strategies": ["ats", "pts"], "seeds": [0, 1], "slots": 20_000}
    write(tmp_path / "out", trials, config)
    report(tmp_path / "out", Console(width=120))
    row = "| ats | 2 | 100 | 5.0% | 70.0% | 25.0% |"
    table = (tmp_path / "out/report.md").read_text()
    assert row in table
    assert "| strategy | n | requests | psi above | tie | fallback |" in table
    assert "70.0%" in capsys.readouterr().out
    assert "<td>70.0%</td>" in (tmp_path / "out/report.html").read_text()
    aggregate = json.loads((tmp_path / "out/summary.json").read_text())["aggregate"]
    ats, pts = aggregate
    assert ats["requests"]["mean"] == 100
    assert ats["requests"]["shares"]["tie"]["mean"] == pytest.approx(0.7)
    assert "requests" not in pts


def test_a_gate_that_never_asked_has_no_shares(tmp_path):
    none = {"psi": 0, "tie": 0, "fallback": 0}
    write(
        tmp_path / "out",
        [trial("ats", 0, requests_by_reason=none)],
        {"strategies": ["ats"], "seeds": [0], "slots": 20_000},
    )
    report(tmp_path / "out", Console())
    assert "| ats | 1 | 0 | - | - | - |" in (tmp_path / "out/report.md").read_text()
