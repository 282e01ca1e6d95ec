"""Experiments as they would be read back from a folder, made in memory."""

import json
from pathlib import Path

import yaml

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.results.folder import Folder
from mec_rllib.results.stored import StoredStudy, TrialResults, _from_stored

CONFIGS = Path(__file__).parents[2] / "tune_configs"
# Every claim of a shipped config, by its id.
SHIPPED_CLAIMS = {
    claim["id"]: claim
    for path in sorted([*CONFIGS.glob("*.yaml"), *CONFIGS.parent.glob("examples/*/*.yaml")])
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
