"""Shipped configs by name: `mec-rllib tune demo`."""

from pathlib import Path

import pytest

from mec_rllib import Study
from mec_rllib.config.load import load
from mec_rllib.config.shipped import FOLDER, config_file, names
from mec_rllib.config.suite import load_config, load_suite
from mec_rllib.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_every_config_of_the_project_is_shipped():
    assert names() == sorted(path.stem for path in (ROOT / "tune_configs").glob("*.yaml"))
    assert FOLDER.resolve() == (ROOT / "tune_configs").resolve()


@pytest.mark.parametrize("name", ["demo", "demo.yaml"])
def test_a_shipped_config_is_found_from_any_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert config_file(name) == FOLDER / "demo.yaml"
    assert load(name).name == load_config(name).experiment.name == "demo"
    assert isinstance(Study.load(name), Study)
    assert list(load_suite("loads").worlds)


def test_a_file_that_is_there_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # a folder is no config
    assert load("demo").name == "demo"
    (tmp_path / "demo.yaml").write_text("name: mine\nslots: 10\n")
    assert load("demo.yaml").name == "mine"
    assert load("./demo.yaml").name == "mine"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("dmeo", "dmeo: is no file and no shipped config; did you mean 'demo'"),
        ("mine.yaml", "mine.yaml: cannot be read (No such file"),
        ("x/demo", "x/demo: cannot be read"),
        (".", ".: cannot be read"),
        ("..", "cannot be read"),
    ],
)
def test_what_is_neither_is_refused(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert message in str(caught.value)


def test_a_suite_anywhere_may_hold_shipped_configs(tmp_path):
    suite = tmp_path / "mine.yaml"
    suite.write_text("suite:\n- {config: demo}\n- {config: trace.yaml, label: other}\n")
    assert list(load_suite(suite).worlds) == ["demo", "other"]
    (tmp_path / "demo.yaml").write_text("strategies: [sjf]\n")
    assert list(load_suite(suite).worlds["demo"].by_label) == ["sjf"]
    suite.write_text("suite:\n- {config: ../demo}\n")
    with pytest.raises(ConfigError, match=r"no file '../demo' in .*; did you mean 'demo'"):
        load_suite(suite)
