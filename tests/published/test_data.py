"""Data files: what comes back out of them, what makes them stale, and what is never in them."""

import gzip
import json
from pathlib import Path

import pytest
from stored import result, trial, write

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.published import data as data_module
from mec_rllib.published import identity as identity_module
from mec_rllib.published.curves import thinned
from mec_rllib.published.data import ALL_TOGETHER, LARGEST, DataFile
from mec_rllib.results.claims import decide, decided
from mec_rllib.results.stored import TrialResults, read_study

DATA = Path(__file__).parents[2] / "docs" / "results" / "data"
CONFIG = {
    "strategies": ["ats", "pts", "sjf"],
    "seeds": [0, 1, 2],
    "slots": 100_000,
    "env": {"load": [[0, 0.1], [31_500, 0.1], [60_000, 0.3]]},
    "claims": [
        {"id": "a", "text": "a", "measure": "difference", "of": {"better": "ats", "worse": "pts"}},
        {"id": "b", "text": "b", "measure": "blocks_less", "of": {"better": "ats", "worse": "pts"}},
    ],
}
ORIGIN = {"commit": "abc", "versions": {}, "host": {"cpu": "some", "cores": 2}, "searched": None}


def curve(label, seed):
    """100 reports; the gap of ats to pts opens in the 32nd, where the load begins to rise."""
    for k in range(100):
        gap = 0.2 * (k > 30) * (label == "ats") + 0.01 * seed * (label == "ats") + 0.001 * (k % 7)
        yield result(k, reward={"window": 0.5 + gap, "lifetime": 0.5})


@pytest.fixture
def played(tmp_path):
    trials = [
        trial(label, seed, list(curve(label, seed)), node="machine-of-somebody", wall_s=60.0,
              reward_lifetime=0.5 + 0.03 * (label == "ats") * seed)
        for label in CONFIG["strategies"]
        for seed in CONFIG["seeds"]
    ]  # fmt: skip
    write(tmp_path / "out", trials, CONFIG)
    return read_study(tmp_path / "out")


def study(**changes):
    return resolve(build(CONFIG | changes, "test"))


def file_of(played, **changes):
    return DataFile.of(study(**changes), played, ORIGIN)


def test_what_is_written_decides_the_same_claims(played, tmp_path):
    path = tmp_path / "data" / "x.json.gz"
    file_of(played).write(path)
    found = DataFile.read(path)
    again = found.study({"claims": played.config["claims"]})
    ours, theirs = decided(found.measured(again)), decide(played)
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine["estimate"] == pytest.approx(yours["estimate"], abs=1e-6)
        assert mine["ci95"] == pytest.approx(yours["ci95"], abs=1e-6, nan_ok=True)
        assert mine["verdict"] == yours["verdict"]
    assert found.content["minutes"] == 9.0
    assert len(again.trials[0].reports) == 50


def test_only_what_thinned_curves_would_tell_otherwise_is_kept(played):
    assert [kept["measure"] for kept in file_of(played).content["measured"]] == ["blocks_less"]


def test_the_same_content_gives_the_same_bytes_and_no_name_of_a_machine(played, tmp_path):
    content = file_of(played).to_bytes()
    assert content == file_of(played).to_bytes()
    text = gzip.decompress(content).decode()
    assert "machine-of-somebody" not in text
    assert str(tmp_path) not in text


def test_curves_become_coarser_until_the_file_is_small_enough(played, monkeypatch):
    fine = len(file_of(played).to_bytes())
    monkeypatch.setattr(data_module, "LARGEST", fine - 1)
    coarse = file_of(played)
    assert len(coarse.to_bytes()) < fine
    assert len(coarse.content["slots"]) == 25


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, None),
        ({"name": "other", "claims": []}, None),  # decided anew, not played anew
        ({"gate": {"period": 50}}, "strategies.ats.args.period"),
        ({"seeds": [0, 1]}, "seeds"),
        ({"slots": 99_999}, "strategies.ats.config.slots"),
        ({"strategies": ["ats", "pts"]}, "strategies.sjf"),
        ({"env": {"load": 0.3}}, "strategies.ats.config.env.load"),
    ],
)
def test_what_makes_data_stale(played, changes, key):
    assert file_of(played).stale_by(study(**changes)) == key


def test_a_key_that_is_new_is_no_difference_while_it_has_its_default(played):
    older = json.loads(gzip.decompress(file_of(played).to_bytes()))
    for strategy in older["identity"]["strategies"].values():
        del strategy["config"]["evaluation"]["interval"]
        del strategy["config"]["env"]["training_job"]["slots"]
    del older["identity"]["strategies"]["ats"]["args"]["ties"]
    assert DataFile(older).stale_by(study()) is None
    changed = study(evaluation={"interval": 50})
    assert DataFile(older).stale_by(changed) == "strategies.ats.config.evaluation.interval"
    changed = study(gate={"ties": "gt"})
    assert DataFile(older).stale_by(changed) == "strategies.ats.args.ties"


def test_data_of_code_that_played_otherwise_are_stale(played, monkeypatch):
    found = file_of(played)
    monkeypatch.setattr(identity_module, "BEHAVIOUR_VERSION", 10_000)
    assert found.stale_by(study()).startswith("BEHAVIOUR_VERSION ")


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "x.json.gz"
    path.write_bytes(b"\x1f\x8bno")
    with pytest.raises(ConfigError, match=r"x\.json\.gz: is no data file"):
        DataFile.read(path)
    assert DataFile.read(tmp_path / "none.json.gz") is None


def test_a_point_is_the_mean_of_its_reports_or_what_the_last_one_counts():
    reports = [result(k, reward={"window": w}) for k, w in enumerate([0.1, None, 0.3, 0.5, 0.7])]
    reports[3]["greedy"] = {"slot": 4000, "reward": 0.25}
    curves = thinned(TrialResults("ats", 0, reports), points=3)
    assert curves["slots"] == [2000, 4000, 5000]
    assert curves["reward.window"] == [0.1, 0.4, 0.7]
    assert curves["training.jobs"] == [20, 40, 50]
    assert (curves["greedy.slots"], curves["greedy.reward"]) == ([4000], [0.25])


def test_shipped_data_are_small_and_name_no_machine():
    files = sorted(DATA.glob("*.json.gz"))
    sizes = [path.stat().st_size for path in files]
    assert max(sizes, default=0) <= LARGEST
    assert sum(sizes) <= ALL_TOGETHER
    for path in files:
        text = gzip.decompress(path.read_bytes()).decode()
        assert '"/' not in text, f"{path.name}: a path of a machine"
        assert '"node"' not in text
