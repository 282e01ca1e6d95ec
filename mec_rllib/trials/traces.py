"""Recordings that an experiment plays: what is said of them, and whether they are still the same.

What was done to each trace, with the SHA-256 of its file, lies in the experiment's folder from its
beginning. Reports read it there; whoever goes on compares it with the files.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from mec_rllib.config.study import Strategy, Study
from mec_rllib.envs.config import EnvConfig
from mec_rllib.errors import ConfigError
from mec_rllib.results.folder import Folder
from mec_rllib.results.traces import kept_traces
from mec_rllib.sim.traces.workload import TraceWorkload

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


def tell_traces(study: Study, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """The same for all strategies: the figures of each trace, with the labels of who plays it."""
    found: list[dict[str, Any]] = []
    envs: list[EnvConfig] = []
    for strategy in study.strategies:
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


def check_traces(strategies: Iterable[Strategy], folder: Folder) -> None:
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
                f"{folder.path}: does not say which content of trace {trace.path} it began with "
                f"({folder.traces.name} is missing, or without {strategy.label}); begin anew"
            )
        began, here = kept[strategy.label]["sha256"], trace.read().sha256
        if began != here:
            raise ConfigError(
                f"trace {trace.path}: has changed since the experiment in {folder.path} "
                f"began with it (SHA-256 {began[:12]}, now {here[:12]}); "
                "put the old file back, or begin anew"
            )


def _progress(path: str, tell: Callable[[str], None]) -> Callable[[float, int], None]:
    last = time.monotonic()

    def progress(share: float, jobs: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_EVERY_S:
            last = time.monotonic()
            tell(f"trace {path}: {share:.0%} read, {jobs:,} jobs")

    return progress
