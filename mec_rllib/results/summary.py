"""The content of `summary.json`: rows, their aggregate, and the claims that they decide."""

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from mec_rllib.files import number
from mec_rllib.results.claims import decide
from mec_rllib.results.compare import compare
from mec_rllib.results.stats import interval
from mec_rllib.results.stored import StoredStudy
from mec_rllib.results.traces import kept_traces, trace_of_summary

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


def summarize(study: StoredStudy, baseline: str | None = None) -> dict[str, Any]:
    """The content of `summary.json`.

    Args:
        study: what was played.
        baseline: label of the strategy that all others are compared with; None: the config's.
    """
    rows = [trial.row for trial in study.trials if trial.is_finished]
    wanted = study.setting("compare.baseline")
    if baseline is None and wanted in [s.label for s in study.strategies]:
        baseline = wanted
    return {
        "experiment": study.name,
        "config": study.config,
        "versions": {package: version(package) for package in PACKAGES},
        "trace": trace_of_summary(kept_traces(study.folder)),
        "rows": rows,
        "aggregate": aggregate_of(rows),
        "claims": decide(study),
        "comparisons": compare(study, baseline) if baseline else [],
    }


def aggregate_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds, with intervals; strategies in the order of their rows."""
    aggregate = []
    for strategy in dict.fromkeys(row["strategy"] for row in rows):
        mine = [row for row in rows if row["strategy"] == strategy]
        entry: dict[str, Any] = {"strategy": strategy, "n": len(mine)}
        for metric in METRICS:
            # A row that has no number there was read back from JSON as null, or is older.
            entry[metric] = _mean([number(row.get(metric)) for row in mine])
        counts = [row["requests_by_reason"] for row in mine if "requests_by_reason" in row]
        if counts:
            entry["requests"] = _requests(counts)
        aggregate.append(entry)
    return aggregate


def _requests(counts: list[dict[str, int]]) -> dict[str, Any]:
    """Training jobs that were asked for, and the share of each reason."""
    totals = [sum(of_row.values()) for of_row in counts]
    shares = {
        reason: _mean(
            [c[reason] / n if n else math.nan for c, n in zip(counts, totals, strict=True)]
        )
        for reason in counts[0]
    }
    return _mean(totals) | {"shares": shares}


def _mean(values: Sequence[float]) -> dict[str, Any]:
    mean, low, high = interval(values)
    return {"mean": mean, "ci95": [low, high]}
