"""The content of `summary.json`: rows, their aggregate, and the claims that they decide."""

import math
from importlib.metadata import version
from typing import Any

from mec_rllib.experiments.claims import decide
from mec_rllib.experiments.config import Experiment
from mec_rllib.experiments.results import TrialResults
from mec_rllib.experiments.stats import interval

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


def summarize(
    experiment: Experiment, trials: list[TrialResults], trace: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The content of `summary.json`; `trace` is what was done to the trace that was played."""
    rows = [trial.row for trial in trials if trial.is_finished]
    return {
        "experiment": experiment.name,
        "config": experiment.model_dump(mode="json"),
        "versions": {package: version(package) for package in PACKAGES},
        "trace": trace,
        "rows": rows,
        "aggregate": _aggregate(rows),
        "claims": decide(experiment, trials),
    }


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
