"""An experiment read back from its folder: on any machine, without the modules of its user."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mec_rllib.errors import ConfigError
from mec_rllib.results.folder import Folder

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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

    @property
    def learns(self) -> bool:
        """Whether its reports tell of a learner."""
        return bool(self.reports) and "learner" in self.reports[0]


@dataclass(frozen=True)
class StoredStrategy:
    """A strategy as `study.json` has it.

    Attributes:
        label: its name.
        learns: whether it is a gate with an agent.
        rule: name of the gate or the scheduler, as the config has it.
        path: its `module:Class`; in old folders its name.
        args: arguments of that class.
        occupies: whether its training jobs take slots.
        has_fallback: whether it looks at psi, and has a fallback.
        config: the whole config as it sees it.
    """

    label: str
    learns: bool
    rule: str
    path: str
    args: Mapping[str, Any]
    occupies: bool
    has_fallback: bool
    config: Mapping[str, Any]

    def setting(self, key: str) -> Any:
        """The value of a dotted key of its config; None if there is no such key."""
        return value_at(self.config, key)


@dataclass(frozen=True)
class StoredStudy:
    """An experiment read back from its folder.

    Attributes:
        folder: where it lies.
        config: the whole config, plain.
        strategies: who competes.
        trials: every strategy with every seed.
        is_resolved: False for a folder written before there was a `study.json`.
    """

    folder: Folder
    config: Mapping[str, Any]
    strategies: tuple[StoredStrategy, ...]
    trials: tuple[TrialResults, ...]
    is_resolved: bool = True

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.config["name"]

    @property
    def slots(self) -> int:
        """Slots of a trial, all servers together."""
        return self.config["slots"]

    @property
    def is_of_mec_servers(self) -> bool:
        """Whether it is about servers, and not an environment of Gymnasium."""
        return value_at(self.config, "env.gym") is None

    @property
    def servers(self) -> int:
        """N, servers of a trial: of all its runners."""
        runners = self.config["runners"]
        return max(runners["num"], 1) * runners["servers"]

    def setting(self, key: str) -> Any:
        """The value of a dotted key of the config; None if there is no such key."""
        return value_at(self.config, key)

    def finished(self, strategy: str) -> list[TrialResults]:
        """The trials of a strategy that have a row."""
        return [t for t in self.trials if t.strategy == strategy and t.is_finished]


def read_study(path: str | Path) -> StoredStudy:
    """The experiment in a folder and its trials, finished or not, in the order of the config.

    Raises:
        ConfigError: the folder holds no experiment of ours.
    """
    folder = Folder(path)
    folder.check()
    try:
        config = yaml.load(folder.config.read_text(encoding="utf-8"), _YAML)  # noqa: S506 a safe one
        strategies = _strategies(folder, config)
        seeds = list(config["seeds"])
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        raise ConfigError(f"{folder.config}: is damaged") from None
    trials = tuple(
        TrialResults(s.label, seed, read_reports(folder.trial(s.label, seed).results))
        for s in strategies
        for seed in seeds
    )
    return StoredStudy(folder, config, strategies, trials, folder.study.is_file())


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


def value_at(values: Any, key: str) -> Any:
    """The value of a dotted key in nested mappings; None if there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def with_value(values: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of nested mappings with the value of a dotted key."""
    part, _, rest = key.partition(".")
    inner = with_value(values.get(part) or {}, rest, value) if rest else value
    return {**values, part: inner}


def _strategies(folder: Folder, config: Mapping[str, Any]) -> tuple[StoredStrategy, ...]:
    if not folder.study.is_file():
        return tuple(_from_entry(entry, config) for entry in config["strategies"])
    stored = json.loads(folder.study.read_text(encoding="utf-8"))
    return strategies_of(stored["strategies"], config)


def strategies_of(
    stored: Iterable[Mapping[str, Any]], config: Mapping[str, Any]
) -> tuple[StoredStrategy, ...]:
    """The strategies of `study.json`, each with the config as it sees it."""
    return tuple(_from_stored(strategy, config) for strategy in stored)


def _from_stored(strategy: Mapping[str, Any], config: Mapping[str, Any]) -> StoredStrategy:
    own = dict(strategy)
    for key, value in own.pop("settings").items():
        config = with_value(config, key, value)
    return StoredStrategy(**own, config=config)


def _from_entry(entry: str | Mapping[str, Any], config: Mapping[str, Any]) -> StoredStrategy:
    """What the config of an old folder says of a strategy; nothing is imported for it."""
    options = {"gate": entry} if isinstance(entry, str) else entry
    name = str(options.get("gate") or options.get("scheduler"))
    label = str(options.get("label", name.rpartition(":")[2]))
    return StoredStrategy(
        label=label,
        learns="gate" in options,
        rule=name,
        path=name,
        args={},
        occupies=name != "ideal",
        has_fallback=False,
        config=config,
    )
