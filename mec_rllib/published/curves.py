"""Learning curves of a study, thinned to fit a data file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mec_rllib.results.stored import TrialResults, value_at, with_value

POINTS = 50  # of a curve, at most
DIGITS = 4  # significant
# Figures of reports; a point of a curve is the mean over its reports, or that of the last one.
MEANS = ("reward.window", "server.share_training", "server.server_use", "gate.fallback_share")
LAST = ("gate.td_statistic", "training.jobs")

Curves = dict[str, list[float | None]]  # by figure, and `slots`


def thinned(trial: TrialResults, points: int = POINTS) -> Curves:
    """The curves of a trial: about as many points as asked for, each of equally many reports."""
    if not trial.reports:
        return {}
    size = -(-len(trial.reports) // points)
    groups = [trial.reports[k : k + size] for k in range(0, len(trial.reports), size)]
    curves: Curves = {"slots": [group[-1]["timesteps_total"] for group in groups]}
    for figure in (*MEANS, *LAST):
        if (
            value_at(trial.reports[0], figure) is None
            and value_at(trial.reports[-1], figure) is None
        ):
            continue
        last = figure in LAST
        curves[figure] = [_point([value_at(r, figure) for r in group], last) for group in groups]
    if any("greedy" in report for report in trial.reports):
        evaluated = [r for r in trial.reports if "greedy" in r]
        curves["greedy.slots"] = [r["greedy"]["slot"] for r in evaluated]
        curves["greedy.reward"] = [short(r["greedy"]["reward"]) for r in evaluated]
    return curves


def reports_of(curves: Mapping[str, Sequence[Any]], learns: bool) -> list[dict[str, Any]]:
    """Reports with what the curves know."""
    greedy = dict(zip(curves.get("greedy.slots", ()), curves.get("greedy.reward", ()), strict=True))
    reports = []
    for k, slot in enumerate(curves.get("slots", ())):
        report: dict[str, Any] = {"timesteps_total": slot}
        for figure, values in curves.items():
            if figure != "slots" and not figure.startswith("greedy."):
                report = with_value(report, figure, values[k])
        if learns:
            report["learner"] = {}
        reports.append(report)
    for slot, reward in greedy.items():
        at = next((r for r in reports if r["timesteps_total"] >= slot), None)
        if at is not None:
            at["greedy"] = {"reward": reward, "slot": slot}
    return reports


def _point(values: Sequence[float | None], last: bool) -> float | None:
    numbers = [v for v in values if v is not None]
    if not numbers:
        return None
    return short(numbers[-1] if last else float(np.mean(numbers)))


def short(value: float | None, digits: int = DIGITS) -> float | None:
    """A number with so many significant digits; whole ones stay whole."""
    if value is None or isinstance(value, bool | int):
        return value
    return float(f"{value:.{digits}g}")
