"""Experiments as they would be read back from a folder, made in memory."""

import json
from pathlib import Path

import yaml

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.results.folder import Folder
from mec_rllib.results.stored import StoredStudy, _from_stored

CONFIGS = Path(__file__).parents[2] / "tune_configs"
# Every claim of a shipped config, by its id.
SHIPPED_CLAIMS = {
    claim["id"]: claim
    for path in sorted(CONFIGS.glob("*.yaml"))
    for claim in yaml.safe_load(path.read_text(encoding="utf-8")).get("claims", [])
}


def stored(trials, **config):
    """The study of a config and made-up trials."""
    study = resolve(build(config, "test"))
    plain = study.experiment.model_dump(mode="json")
    strategies = tuple(_from_stored(record, plain) for record in study.to_json())
    return StoredStudy(Folder("nowhere"), plain, strategies, tuple(trials))


def write(folder, trials, config):
    """The files of an experiment: config, strategies, reports."""
    study = resolve(build(config, "test"))
    there = Folder(folder)
    there.write(study.experiment.model_dump(mode="json"), study.to_json())
    for trial in trials:
        inside = there.trial(trial.strategy, trial.seed)
        inside.path.mkdir()
        inside.results.write_text("\n".join(map(json.dumps, trial.reports)))
