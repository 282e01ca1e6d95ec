"""A suite read back from its folder: its worlds side by side, and the claims about all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mec_rllib.errors import ConfigError
from mec_rllib.files import number
from mec_rllib.results.claims import conclude, measure_of, why_undecided, with_holm
from mec_rllib.results.folder import SuiteFolder
from mec_rllib.results.measures import MEASURES, Finished
from mec_rllib.results.stats import Values, estimate, known, over_worlds
from mec_rllib.results.stored import StoredStudy, read_study
from mec_rllib.results.summary import summarize
from mec_rllib.results.tables import Section, plus_minus


@dataclass(frozen=True)
class StoredSuite:
    """A suite read back from its folder.

    Attributes:
        folder: where it lies.
        config: as it began, plain.
        worlds: its experiments by their labels; one whose search runs is shown as it will begin.
    """

    folder: SuiteFolder
    config: Mapping[str, Any]
    worlds: Mapping[str, StoredStudy]

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.config["name"]


def read_config(folder: SuiteFolder) -> dict[str, Any]:
    """The config of a suite as it began, plain.

    Raises:
        ConfigError: the folder holds no suite, or a damaged one.
    """
    if not folder.is_begun:
        raise ConfigError(f"{folder.path}: holds no suite (no {folder.config.name})")
    try:
        config = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
        [(world["label"], config["name"], config["claims"]) for world in config["suite"]]
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise ConfigError(f"{folder.config}: is damaged") from None
    return config


def read_suite(path: str | Path) -> StoredSuite:
    """The suite in a folder, finished or not.

    Raises:
        ConfigError: the folder holds no suite of ours.
    """
    folder = SuiteFolder(path)
    config = read_config(folder)
    worlds = {}
    for label in (world["label"] for world in config["suite"]):
        begun = folder.world(label)
        begun.check_begun()
        worlds[label] = read_study((begun if begun.config.is_file() else begun.search).path)
    return StoredSuite(folder, config, worlds)


def decide_suite(suite: StoredSuite) -> list[dict[str, Any]]:
    """The claims of a suite that its worlds can say something about.

    Seeds are paired within a world and never across. The estimate is the mean over all worlds
    (`stats.over_worlds`); a world that has nothing to say, or whose seeds have no spread, leaves
    a claim undecided, and `note` names it. Holm's correction is for all claims of the suite.
    """
    finished = [Finished(world) for world in suite.worlds.values()]
    found = []
    for claim in suite.config["claims"]:
        values = [MEASURES[measure_of(claim)](world, **claim["of"]) for world in finished]
        if any(values):
            found.append(_concluded(claim, dict(zip(suite.worlds, values, strict=True))))
    trials = [trial for world in suite.worlds.values() for trial in world.trials]
    is_running = not all(trial.is_finished for trial in trials)
    return [claim | {"interim": is_running} for claim in with_holm(found)]


def _concluded(claim: Mapping[str, Any], values: Mapping[str, Values]) -> dict[str, Any]:
    reasons: dict[str, list[str]] = {}
    for label, of_world in values.items():
        if reason := why_undecided(of_world):
            reasons.setdefault(reason, []).append(label)
    note = "; ".join(f"{', '.join(labels)}: {reason}" for reason, labels in reasons.items())
    counts = {label: len(known(of_world)) for label, of_world in values.items()}
    over_all = over_worlds(list(values.values()))
    return conclude(claim, over_all, sum(counts.values()), note) | {
        "worlds": {
            label: {"estimate": estimate(of_world).mean, "n": counts[label]}
            for label, of_world in values.items()
        }
    }


def summarize_suite(suite: StoredSuite) -> dict[str, Any]:
    """The content of a suite's `summary.json`: rows and aggregates name their world."""
    worlds = {label: summarize(study) for label, study in suite.worlds.items()}
    versions = next(iter(worlds.values()))["versions"]
    return {
        "suite": suite.name,
        "config": suite.config,
        "versions": versions,
        "rows": _of_worlds(worlds, "rows"),
        "aggregate": _of_worlds(worlds, "aggregate"),
        "claims": decide_suite(suite),
    }


def _of_worlds(worlds: Mapping[str, Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    return [{"world": label} | row for label, summary in worlds.items() for row in summary[key]]


def world_section(suite: StoredSuite) -> Section:
    """R of every strategy in every world; the best mean over all worlds first."""
    labels = dict.fromkeys(s.label for world in suite.worlds.values() for s in world.strategies)
    rewards = {label: _rewards(suite, label) for label in labels}
    means = {label: over_worlds(of_worlds) for label, of_worlds in rewards.items()}
    order = sorted(
        (label for label in labels if any(map(len, rewards[label]))),
        key=lambda label: (np.isnan(means[label].mean), -means[label].mean),
    )
    rows = [
        [
            label,
            *(plus_minus(estimate(of_world).interval, ".3f") for of_world in rewards[label]),
            plus_minus(means[label].interval, ".3f"),
        ]
        for label in order
    ]
    note = (
        "R, mean over seeds; ± is half the 95 % t-interval (none: one seed, or all are equal). The "
        "last column is the mean over the experiments, for strategies that are in all of them."
    )
    return Section("R by experiment", note, ("strategy", *suite.worlds, "mean"), rows)


def _rewards(suite: StoredSuite, strategy: str) -> Sequence[list[float]]:
    """Lifetime R of a strategy: for each world, the values of its finished seeds."""
    return [
        [number(trial.row["reward_lifetime"]) for trial in world.finished(strategy)]
        for world in suite.worlds.values()
    ]
