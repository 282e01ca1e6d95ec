"""Recordings that an experiment plays: what is said of them, and whether they are still the same.

What was done to each trace, with the SHA-256 of its file, lies in the experiment's folder from its
beginning. Reports read it there; whoever goes on compares it with the files.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mec_rllib.envs.config import EnvConfig
from mec_rllib.errors import ConfigError
from mec_rllib.experiments.config import Experiment
from mec_rllib.experiments.results import write_json
from mec_rllib.experiments.strategies import Strategy, resolve
from mec_rllib.sim.traces import TraceWorkload

TRACES_FILE = "traces.json"
PROGRESS_EVERY_S = 2.0  # while a long file is read


def sha256_of(env: EnvConfig) -> str | None:
    """Of the file of the trace that is played, if one is."""
    return env.played_trace.read().sha256 if env.played_trace is not None else None


def read_traces(envs: Iterable[EnvConfig], tell: Callable[[str], None]) -> None:
    """Reads the traces that are played; nothing is said but how far a long one is.

    Raises:
        ConfigError: a file cannot be read.
    """
    for trace in (env.played_trace for env in envs):
        if trace is not None:
            try:
                trace.read(_progress(trace.path, tell))
            except ValueError as error:
                raise ConfigError(f"env: {error}") from None


def tell_trace(env: EnvConfig, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """Says what was done to the trace that is played, if one is; returns its figures.

    Raises:
        ConfigError: the file cannot be read, or its jobs cannot be played.
    """
    if env.played_trace is None:
        return None
    try:
        workload = env.build_workload()
    except ValueError as error:
        raise ConfigError(f"env: {error}") from None
    assert isinstance(workload, TraceWorkload)
    figures = workload.figures.to_json()
    tell(figures["line"])
    for warning in figures["warnings"]:
        tell(f"warning: {warning}")
    return figures


def tell_traces(experiment: Experiment, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """The same for all strategies: the figures of each trace, with the labels of who plays it."""
    found: list[dict[str, Any]] = []
    envs: list[EnvConfig] = []
    for strategy in resolve(experiment):
        env = strategy.experiment.env
        alike = [k for k, other in enumerate(envs) if _same_jobs(env, other)]
        if alike:
            found[alike[0]]["strategies"].append(strategy.label)
        elif (figures := tell_trace(env, tell)) is not None:
            envs.append(env)
            found.append({"strategies": [strategy.label]} | figures)
    return found


def _same_jobs(one: EnvConfig, other: EnvConfig) -> bool:
    return (one.played_trace, one.capacity) == (other.played_trace, other.capacity)


def write_traces(experiment: Experiment, folder: Path) -> None:
    """Keeps the figures in the experiment's folder, if it plays a trace."""
    if found := tell_traces(experiment, lambda line: None):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / TRACES_FILE, {"traces": found})


def kept_traces(folder: Path) -> list[dict[str, Any]]:
    """What `write_traces` has kept; the experiment's own trace first."""
    try:
        text = (folder / TRACES_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return json.loads(text)["traces"]


def check_traces(strategies: Iterable[Strategy], folder: Path) -> None:
    """Makes sure that the files are those that the experiment began with.

    Raises:
        ConfigError: one has changed, or nobody knows.
    """
    kept = {label: trace for trace in kept_traces(folder) for label in trace["strategies"]}
    for strategy in strategies:
        trace = strategy.experiment.env.played_trace
        if trace is None:
            continue
        if strategy.label not in kept:
            raise ConfigError(
                f"{folder}: does not say which content of trace {trace.path} it began with "
                f"({TRACES_FILE} is missing, or without {strategy.label}); begin anew"
            )
        began, here = kept[strategy.label]["sha256"], trace.read().sha256
        if began != here:
            raise ConfigError(
                f"trace {trace.path}: has changed since the experiment in {folder} began with it "
                f"(SHA-256 {began[:12]}, now {here[:12]}); put the old file back, or begin anew"
            )


def trace_of_summary(folder: Path) -> dict[str, Any] | None:
    """The figures for `summary.json`: those of the first trace, and of `others`, if there are."""
    kept = kept_traces(folder)
    return {**kept[0], "others": kept[1:]} if kept else None


def said_of(trace: dict[str, Any] | None) -> list[str]:
    """The lines that a report shows of these figures."""
    if trace is None:
        return []
    return [
        line
        for one in (trace, *trace["others"])
        for line in (one["line"], *(f"warning: {warning}" for warning in one["warnings"]))
    ]


def without_jobs(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line where no job came: whatever such a row says, it says nothing."""
    empty = [row for row in rows if row.get("jobs_arrived") == 0]
    if not empty:
        return []
    names = ", ".join(f"{row['strategy']} (seed {row['seed']})" for row in empty)
    return [f"no job arrived: {names}; there is nothing that these rows could tell"]


def _progress(path: str, tell: Callable[[str], None]) -> Callable[[float, int], None]:
    last = time.monotonic()

    def progress(share: float, jobs: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_EVERY_S:
            last = time.monotonic()
            tell(f"trace {path}: {share:.0%} read, {jobs:,} jobs")

    return progress
