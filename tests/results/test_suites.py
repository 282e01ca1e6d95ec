"""A suite made by hand: its tables, its claims, its files, and how far it is."""

import json

import numpy as np
import pytest
import yaml
from commands import mec_rllib
from scipy import stats
from stored import REPORTS, result, trial, write

from mec_rllib import SuiteResults
from mec_rllib.errors import ConfigError
from mec_rllib.locks import hold
from mec_rllib.results.folder import SuiteFolder
from mec_rllib.results.status import suite_status
from mec_rllib.results.stored import TrialResults

CLAIM = {"measure": "difference", "margin": 0.0, "below": False}
ABOVE = CLAIM | {"id": "above", "text": "ATS is above SJF", "of": {"better": "ats", "worse": "sjf"}}
# Rewards by world and strategy, of seeds 0, 1, ...
REWARDS = {
    "calm": {"ats": (0.80, 0.82, 0.81), "sjf": (0.70, 0.73, 0.705)},
    "busy": {"ats": (0.20, 0.40), "sjf": (0.15, 0.33)},
}


def write_suite(folder, trials, claims=(), seeds=(0, 1, 2)):
    """The files of a suite whose experiments have these trials."""
    for label, of_world in trials.items():
        labels = list(dict.fromkeys(t.strategy for t in of_world)) or ["ats", "sjf"]
        config = {"name": label, "strategies": labels, "seeds": list(seeds), "slots": 20_000}
        write(folder / label, of_world, config)
    worlds = [{"config": f"{label}/config.yaml", "set": {}, "label": label} for label in trials]
    SuiteFolder(folder).write({"name": "two", "suite": worlds, "claims": list(claims)})
    return folder


def trials_of(rewards):
    return {
        label: [
            trial(strategy, seed, reward_lifetime=reward)
            for strategy, values in of_world.items()
            for seed, reward in enumerate(values)
        ]
        for label, of_world in rewards.items()
    }


def decided(folder, rewards, *claims):
    path = write_suite(folder, trials_of(rewards), claims)
    return {claim["id"]: claim for claim in SuiteResults(path).claims().to_dict("records")}


def test_a_claim_is_the_mean_over_worlds_of_differences_paired_within_them(tmp_path):
    claim = decided(tmp_path, REWARDS, ABOVE)["above"]
    calm, busy = (np.subtract(w["ats"], w["sjf"]) for w in REWARDS.values())
    assert claim["estimate"] == pytest.approx((calm.mean() + busy.mean()) / 2)
    welch = stats.ttest_ind(calm, -busy, equal_var=False)  # a + b > 0 is a > -b
    low, high = welch.confidence_interval(0.95)
    assert claim["ci95"] == pytest.approx([low / 2, high / 2])
    assert claim["p"] == pytest.approx(welch.pvalue)
    assert (claim["n"], claim["note"]) == (5, "")
    assert claim["worlds"]["busy"] == {"estimate": pytest.approx(busy.mean()), "n": 2}


def test_seeds_of_different_worlds_are_not_paired(tmp_path):
    # Another order of the worlds' seeds changes nothing: only pairs within a world count.
    first = decided(tmp_path / "a", REWARDS, ABOVE)["above"]
    turned = {s: values[::-1] for s, values in REWARDS["busy"].items()}
    second = decided(tmp_path / "b", REWARDS | {"busy": turned}, ABOVE)["above"]
    assert second["ci95"] == pytest.approx(first["ci95"])


def test_a_claim_is_decided_where_the_whole_interval_agrees(tmp_path):
    little = {"ats": (0.80, 0.81, 0.80), "sjf": (0.70, 0.705, 0.70)}
    worlds = {"calm": little, "busy": little}
    less = ABOVE | {"id": "less", "margin": 0.2}
    below = ABOVE | {"id": "below", "margin": 0.2, "below": True}
    found = decided(tmp_path, worlds, ABOVE, less, below)
    assert [claim["verdict"] for claim in found.values()] == ["holds", "fails", "holds"]
    assert all(claim["holm"] for claim in found.values())


@pytest.mark.parametrize(
    ("busy", "note"),
    [
        ({"ats": (0.2,), "sjf": (0.1,)}, "busy: one seed"),
        ({"ats": (0.2, 0.3)}, "busy: no figures"),
        ({"ats": (0.2, 0.2), "sjf": (0.1, 0.1)}, "busy: all 2 seeds equal"),
        ({"ats": (None, None), "sjf": (0.1, 0.2)}, "busy: no figures"),
    ],
)
def test_a_world_that_cannot_say_leaves_a_claim_undecided_and_is_named(tmp_path, busy, note):
    claim = decided(tmp_path, REWARDS | {"busy": busy, "more": busy}, ABOVE)["above"]
    assert claim["verdict"] == "undecided"
    assert claim["note"] == note.replace("busy", "busy, more")
    assert np.isnan(claim["ci95"]).all()
    assert np.isnan(claim["estimate"]) == ("no figures" in note)
    assert not claim["holm"]


def test_a_claim_that_no_world_can_say_anything_about_is_not_listed(tmp_path):
    assert decided(tmp_path, {w: {"ats": (0.1, 0.2)} for w in ("a", "b")}, ABOVE) == {}


def test_holm_is_over_the_claims_of_the_suite(tmp_path):
    # p is about 0.03: alone it survives, as one of three equal ones it does not.
    rng = np.random.default_rng(7)
    worlds = {
        label: {"ats": tuple(0.5 + 0.1 * rng.normal(size=6)), "sjf": (0.4,) * 6} for label in "ab"
    }
    alone = decided(tmp_path / "one", worlds, ABOVE)["above"]
    assert alone["holm"] == (alone["p"] < 0.05)
    margin = ABOVE | {"margin": alone["ci95"][0] - 0.005}
    assert decided(tmp_path / "two", worlds, margin)["above"]["holm"]
    three = [margin | {"id": str(k)} for k in range(3)]
    assert not any(c["holm"] for c in decided(tmp_path / "three", worlds, *three).values())


def test_the_report_shows_strategies_by_worlds_and_writes_every_report(tmp_path):
    rewards = REWARDS | {"<late>": {"ats": (0.9, 0.8, 0.7)}}
    path = write_suite(tmp_path / "out", trials_of(rewards), [ABOVE])
    shown = mec_rllib("report", path)
    assert shown.returncode == 0, shown.stderr
    table = (path / "report.md").read_text()
    assert "| strategy | calm | busy | <late> | mean |" in table
    rows = {line.split(" | ")[0][2:]: line[2:-2].split(" | ")[1:] for line in table.splitlines()}
    half = stats.t.ppf(0.975, 2) * stats.sem(REWARDS["calm"]["ats"])
    assert rows["ats"][0] == f"0.810 ± {half:.3f}"
    assert rows["ats"][3].startswith(f"{np.mean([0.81, 0.3, 0.8]):.3f} ± ")
    assert rows["sjf"][2:] == ["-", "-"]  # not in the last world: no mean over all
    assert rows["ATS is above SJF"][3] == "<late>: no figures"
    page = (path / "report.html").read_text()
    assert '<a href="&lt;late&gt;/report.html">' in page
    assert "<late>" not in page
    assert "nan" not in (shown.stdout + table + page).replace("<!doctype", "")
    assert "3 experiments; 13 of 15 trials finished." in page
    for label in rewards:
        assert (path / label / "summary.json").is_file()
        assert (path / label / "report.html").is_file()
    assert shown.stdout.count("report   ") == 1  # the suite's
    summary = json.loads((path / "summary.json").read_text())
    assert set(summary) == {"suite", "config", "versions", "rows", "aggregate", "claims"}
    assert (summary["suite"], len(summary["rows"])) == ("two", 13)
    assert summary["rows"][0] | {"world": "calm", "strategy": "ats"} == summary["rows"][0]
    assert {(a["world"], a["strategy"]) for a in summary["aggregate"]} == {
        (label, strategy) for label in rewards for strategy in rewards[label]
    }


def test_a_baseline_must_be_in_every_experiment(tmp_path):
    path = write_suite(tmp_path / "out", trials_of(REWARDS | {"late": {"ats": (0.9, 0.8)}}))
    before = sorted(path.rglob("*"))
    shown = mec_rllib("report", path, "--baseline", "sjf")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("mec-rllib: late: no strategy is called 'sjf'; ")
    assert sorted(path.rglob("*")) == before
    assert mec_rllib("report", path, "--baseline", "ats").returncode == 0
    assert "Against ats" in (path / "calm/report.html").read_text()


def test_a_suite_that_has_hardly_begun_has_a_report(tmp_path):
    begun = [TrialResults("ats", 0, [result(0)]), TrialResults("sjf", 0, [])]
    path = write_suite(tmp_path / "out", {"calm": begun, "busy": []}, [ABOVE], seeds=[0])
    (path / "busy/search").mkdir()
    (path / "busy/config.yaml").rename(path / "busy/search/config.yaml")  # its search runs
    (path / "busy/study.json").rename(path / "busy/search/study.json")
    shown = mec_rllib("report", path)
    assert shown.returncode == 0, shown.stderr
    assert "calm: not finished (2 of 2): ats (seed 0), sjf (seed 0)" in shown.stdout
    assert "No trial has finished yet." in (path / "report.html").read_text()
    assert not (path / "busy/report.html").exists()
    assert suite_status(path)["experiments"]["busy"]["state"] == "waiting"


NOW = 1_000_000.0


def at(seconds, upto, **last):
    """The reports of a trial that has come so far, the last one so many seconds ago."""
    reports = [
        result(k, timestamp=NOW - seconds - 10.0 * (upto - 1 - k), node="here") for k in range(upto)
    ]
    return [*reports[:-1], reports[-1] | last]


@pytest.fixture
def running(tmp_path):
    """Of four experiments one is over, one failed, one runs, one waits."""
    done = TrialResults("ats", 0, at(500, REPORTS, row={"reward_lifetime": 0.5}))
    half = TrialResults("ats", 0, at(5, 5))
    worlds = {
        "first": [done],
        "broken": [TrialResults("ats", 0, at(300, 3))],
        "third": [half],
        "last": [TrialResults("ats", 0, [])],
    }
    path = write_suite(tmp_path / "out", worlds, seeds=[0])
    lines = [f"Failure # {k + 1} (occurred at noon)\nRuntimeError: no fuel\n" for k in range(4)]
    (path / "broken/ats_seed0/error.txt").write_text("\n".join(lines))
    return path


def test_status_is_a_line_per_experiment_and_the_sum(running):
    with hold(running), hold(running / "third"):
        found = suite_status(running, now=NOW)
    states = {label: one["state"] for label, one in found["experiments"].items()}
    assert states == {"first": "over", "broken": "over", "third": "running", "last": "waiting"}
    assert [found[s] for s in ("running", "failed", "waiting", "done")] == [1, 1, 1, 1]
    assert (found["suite"], found["state"], found["silent_s"]) == ("two", "running", 5.0)
    # 19 + 2 + 4 reports of 1,000 slots in 685 s from first to last; 15,000 and 20,000 slots to go.
    assert found["left_s"] == pytest.approx((500 + 190 - 5) * 35 / 25)
    assert suite_status(running, now=NOW)["state"] == "stopped"  # nobody is at work in it


def test_the_command_prints_status_as_a_table_or_json(running):
    shown = mec_rllib("status", running)
    assert shown.returncode == 0, shown.stderr
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines[1][:4] == ["first", "over", "1", "done"]
    assert lines[4][:4] == ["last", "waiting", "1", "waiting"]
    assert "broken, ats seed 0: RuntimeError: no fuel" in shown.stdout
    assert "two: 1 stopped, 1 failed, 1 waiting, 1 done; nobody is at work in it" in shown.stdout
    assert json.loads(mec_rllib("status", running, "--json").stdout)["failed"] == 1


def test_what_is_no_suite_or_a_damaged_one_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no suite \(no suite.yaml\)"):
        SuiteResults(tmp_path)
    for content in ("[", "5", "{}", yaml.safe_dump({"name": "a", "suite": [1], "claims": []})):
        (tmp_path / "suite.yaml").write_text(content)
        for command in ("status", "report", "resume"):
            shown = mec_rllib(command, tmp_path)
            assert (shown.returncode, shown.stdout) == (2, "")
            assert shown.stderr == f"mec-rllib: {tmp_path}/suite.yaml: is damaged\n"
    assert [path.name for path in tmp_path.iterdir()] == ["suite.yaml"]
