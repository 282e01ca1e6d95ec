"""Files of an experiment: read the trials' results, write `summary.json`."""

import json
import math
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from mec_rllib.experiments.claims import decide
from mec_rllib.experiments.config import ConfigError, Experiment, build
from mec_rllib.experiments.stats import interval
from mec_rllib.experiments.strategies import resolve

METRICS = (
    "reward_lifetime",
    "reward_last20",
    "reward_greedy",
    "miss_rate",
    "share_training",
    "share_blocked",
    "server_use",
    "queue",
    "use_at_training",
    "queue_at_training",
    "training_jobs",
    "learner_updates",
    "jobs_arrived",
    "jobs_started",
    "jobs_expired",
    "jobs_dropped",
    "jobs_waiting",
    "wall_s",
)
PACKAGES = ("mec-rllib", "ray", "torch", "gymnasium", "numpy", "numba")


class TrialResults:
    """What one trial has reported so far.

    Attributes:
        strategy: its label.
        seed: its seed.
        reports: the figures of each report, in order; empty if it has not reported yet.
    """

    def __init__(self, strategy: str, seed: int, reports: list[dict[str, Any]]):
        self.strategy, self.seed, self.reports = strategy, seed, reports

    @property
    def row(self) -> dict[str, Any] | None:
        """The row of a finished trial."""
        return self.reports[-1].get("row") if self.reports else None


def read_experiment(folder: Path) -> tuple[Experiment, list[TrialResults]]:
    """Config and trials of an experiment, finished or not, in the order of the config.

    Raises:
        ConfigError: the folder holds no experiment of ours.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{folder}: holds no experiment (no config.yaml)")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"{path}: no valid YAML") from None
    experiment = build(values, str(path))
    trials = [
        TrialResults(s.label, seed, _read_reports(folder / f"{s.label}_seed{seed}" / "result.json"))
        for s in resolve(experiment)
        for seed in experiment.seeds
    ]
    return experiment, trials


def _read_reports(path: Path) -> list[dict[str, Any]]:
    """Tune's JSON lines; a last line cut off by a crash is left out."""
    reports = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            reports.append(json.loads(line))
        except ValueError:
            break
    return reports


def summarize(experiment: Experiment, trials: list[TrialResults]) -> dict[str, Any]:
    """The content of `summary.json`."""
    rows = [trial.row for trial in trials if trial.row]
    return {
        "experiment": experiment.name,
        "config": experiment.model_dump(mode="json"),
        "versions": {package: version(package) for package in PACKAGES},
        "rows": rows,
        "aggregate": _aggregate(rows),
        "claims": decide(rows),
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all; what is not a number becomes null."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(finite(content), indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def finite(value: Any) -> Any:
    """The value with null in place of NaN and infinities, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _aggregate(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    aggregate = []
    for strategy in dict.fromkeys(row["strategy"] for row in rows):
        mine = [row for row in rows if row["strategy"] == strategy]
        entry: dict[str, Any] = {"strategy": strategy, "n": len(mine)}
        for metric in METRICS:
            # A row that has no number there was read back from JSON as null, or is older.
            mean, low, high = interval(
                [math.nan if row.get(metric) is None else row[metric] for row in mine]
            )
            entry[metric] = {"mean": mean, "ci95": [low, high]}
        aggregate.append(entry)
    return aggregate
