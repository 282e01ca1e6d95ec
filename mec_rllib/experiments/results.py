"""Files of an experiment: config and trials as they lie in its folder, and JSON for others."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mec_rllib.errors import ConfigError
from mec_rllib.experiments.config import Experiment, load
from mec_rllib.experiments.strategies import resolve
from mec_rllib.experiments.yaml_text import dump_yaml

RESTARTS = 3  # of a trial whose process or node was lost, or that failed
CONFIG_FILE = "config.yaml"
RESULT_FILE = "result.json"


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
    def is_finished(self) -> bool:
        """Whether it has a row."""
        return bool(self.reports) and "row" in self.reports[-1]

    @property
    def row(self) -> dict[str, Any]:
        """The row of a finished trial."""
        return self.reports[-1]["row"]


def read_experiment(folder: Path) -> tuple[Experiment, list[TrialResults]]:
    """Config and trials of an experiment, finished or not, in the order of the config.

    Raises:
        ConfigError: the folder holds no experiment of ours.
    """
    experiment = read_config(folder)
    trials = [
        TrialResults(s.label, seed, read_reports(folder / f"{s.label}_seed{seed}" / RESULT_FILE))
        for s in resolve(experiment)
        for seed in experiment.seeds
    ]
    return experiment, trials


def read_config(folder: Path) -> Experiment:
    """The whole config of an experiment, as it was when it began.

    Raises:
        ConfigError: the folder holds no experiment of ours.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ConfigError(f"{folder}: holds no experiment (no {CONFIG_FILE})")
    return load(path)


def write_config(experiment: Experiment, folder: Path) -> None:
    """The whole config into the experiment's folder: what `read_config` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    config = experiment.model_dump(mode="json")
    write_whole(folder / CONFIG_FILE, dump_yaml(config))


def read_reports(path: Path) -> list[dict[str, Any]]:
    """Tune's JSON lines; lines cut off by a crash and slots played again count once."""
    reports: list[dict[str, Any]] = []
    content = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    for line in content.splitlines():
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(report, dict) or "timesteps_total" not in report:
            continue
        while reports and reports[-1]["timesteps_total"] >= report["timesteps_total"]:
            reports.pop()
        reports.append(report)
    return reports


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all; what is not a number becomes null."""
    write_whole(path, json.dumps(finite(content), indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Writes the file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """The value with null in place of NaN and infinities, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def number(value: float | None) -> float:
    """NaN in place of null, as JSON has it where a figure is no number."""
    return math.nan if value is None else value
