"""What claims measure: named functions, one value per seed.

A measure takes the finished trials of an experiment and what a claim says under `of`. It returns
no value where the experiment has nothing to say about it, and NaN for a seed in which no job was
resolved. A measure of a new kind is a function here, decorated with `measure`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np

from mec_rllib.files import number
from mec_rllib.results.stats import interval
from mec_rllib.results.stored import StoredStrategy, StoredStudy, TrialResults

LABEL = "label of a strategy"
Label = Annotated[str, LABEL]
# Labels, or {gate: NAME, [NAMES] or paying}, or {scheduler: NAME, [NAMES] or any}.
Rivals = Annotated[Sequence[str] | Mapping[str, Any], LABEL]
Metric = Literal["reward_lifetime", "reward_last20", "reward_greedy"]
Unit = Literal["R", "share", "slots"]

AFTER_DAMAGE_SLOTS = 10_000
SETTLED_SHARE = 0.2  # of the slots, at the end
TINY = 1e-6  # share of slots that counts as none, where it must have a logarithm

Measure = Callable[..., list[float]]

MEASURES: dict[str, Measure] = {}
UNITS: dict[str, Unit] = {}
FORMER = {"adapts_faster": "blocks_less"}  # in folders that are older than the name


def measure(unit: Unit = "R") -> Callable[[Measure], Measure]:
    """Makes a function a measure that claims can name.

    Args:
        unit: of its values: R, a share that is printed in percent, or slots.
    """

    def register(function: Measure) -> Measure:
        MEASURES[function.__name__], UNITS[function.__name__] = function, unit
        return function

    return register


class Finished:
    """The finished trials of an experiment, by strategy and seed."""

    def __init__(self, study: StoredStudy):
        self.study = study
        self.strategies = {s.label: s for s in study.strategies}
        self._trials: dict[str, dict[int, TrialResults]] = {}
        for trial in study.trials:
            if trial.is_finished:
                self._trials.setdefault(trial.strategy, {})[trial.seed] = trial

    def of(self, *strategies: str) -> list[tuple[TrialResults, ...]]:
        """The trials of these strategies, one tuple per seed that all of them have finished."""
        if not all(s in self._trials for s in strategies):
            return []
        seeds = [
            k for k in self._trials[strategies[0]] if all(k in self._trials[s] for s in strategies)
        ]
        return [tuple(self._trials[s][seed] for s in strategies) for seed in seeds]

    def select(self, rivals: Sequence[str] | Mapping[str, Any]) -> list[str]:
        """Labels of the finished strategies that a claim means by `rivals`."""
        if isinstance(rivals, Mapping):
            return [s for s in self._trials if _is_one_of(self.strategies[s], rivals)]
        return [s for s in rivals if s in self._trials]

    def mean_reward(self, strategy: str, metric: str = "reward_lifetime") -> float:
        """Lifetime reward, or another one, over the seeds; NaN where none has one."""
        return interval([figure(t, metric) for (t,) in self.of(strategy)]).mean

    def best(self, strategies: Sequence[str], metric: str = "reward_lifetime") -> str | None:
        """The strategy with the highest mean; None where none has one."""
        means = {s: self.mean_reward(s, metric) for s in strategies}
        return max((s for s in means if np.isfinite(means[s])), key=means.__getitem__, default=None)

    def worst(self, strategies: Sequence[str]) -> str | None:
        """The strategy with the lowest mean of R; None where none has one."""
        means = {s: self.mean_reward(s) for s in strategies}
        return min((s for s in means if np.isfinite(means[s])), key=means.__getitem__, default=None)


def _is_one_of(strategy: StoredStrategy, rivals: Mapping[str, Any]) -> bool:
    kind = "gate" if strategy.learns else "scheduler"
    wanted = rivals.get(kind, [])
    names = [wanted] if isinstance(wanted, str) else wanted
    if "paying" in names:  # for its training; a gate that never trains pays for nothing
        return strategy.occupies and strategy.rule != "never"
    if strategy.learns and not strategy.occupies and strategy.rule != "ideal":
        return False  # a rival by its name pays, as the name alone does
    return strategy.rule in names or "any" in names


def figure(trial: TrialResults, metric: str) -> float:
    """A figure of a finished trial; NaN where there is none, as R where no job was resolved."""
    return number(trial.row.get(metric))


@measure()
def difference(
    finished: Finished,
    better: Label,
    worse: Label,
    metric: Metric = "reward_lifetime",
    load_at_least: float | None = None,
    load_changes: bool = False,
) -> list[float]:
    """A metric of one strategy minus that of another.

    Args:
        finished: the trials.
        better: strategy.
        worse: strategy.
        metric: of the rows.
        load_at_least: only where the load (of the bernoulli workload) is constant and so high.
        load_changes: only where the load follows a schedule.
    """
    load, workload = (finished.study.setting(key) for key in ("env.load", "env.workload"))
    if load_changes and first_rise(load) is None:
        return []
    is_constant = workload == "bernoulli" and not isinstance(load, list)
    if load_at_least is not None and not (is_constant and load >= load_at_least):
        return []
    return [figure(a, metric) - figure(b, metric) for a, b in finished.of(better, worse)]


@measure()
def above_best(
    finished: Finished, strategy: Label, rivals: Rivals, metric: Metric = "reward_lifetime"
) -> list[float]:
    """A strategy minus the best of at least two rivals; choosing it on these seeds favours it."""
    others = [s for s in finished.select(rivals) if s != strategy]
    best = finished.best(others, metric) if len(others) > 1 else None
    return difference(finished, strategy, best, metric) if best else []


@measure()
def worst_above(
    finished: Finished, strategy: Label, rivals: Rivals, best_of: Rivals = ()
) -> list[float]:
    """The lowest rival minus a strategy; choosing it on these seeds favours the strategy.

    Args:
        finished: the trials.
        strategy: that is said to be lower.
        rivals: that are said to be higher.
        best_of: of these rivals only the best one counts.
    """
    rivals_there = [s for s in finished.select(rivals) if s != strategy]
    spared = [s for s in finished.select(best_of) if s in rivals_there]
    others = [s for s in rivals_there if s not in spared]
    others += [best] if (best := finished.best(spared)) else []
    worst = finished.worst(others)
    return difference(finished, worst, strategy) if worst else []


@measure()
def above_equal_share(finished: Finished, strategy: Label, rivals: Rivals) -> list[float]:
    """A strategy minus what its rivals have for as much training, on the line between them.

    The share of slots that train is taken logarithmic; beyond the ends, the end counts.
    """
    periodic, values = finished.select(rivals), list[float]()
    for trial, *others in finished.of(strategy, *periodic) if len(periodic) > 1 else []:
        rows = sorted((t.row for t in others), key=lambda row: row["share_training"])
        shares = np.log([max(row["share_training"], TINY) for row in rows])
        share = np.log(max(trial.row["share_training"], TINY))
        reward = np.interp(share, shares, [number(row["reward_lifetime"]) for row in rows])
        values.append(figure(trial, "reward_lifetime") - float(reward))
    return values


@measure()
def blocks_less(finished: Finished, better: Label, worse: Label) -> list[float]:
    """Gap between two curves once the load rises, less their gap before (means over reports).

    This is what training blocks then, more than what is learned: a rule gains by it, too.
    """
    rises = first_rise(finished.study.setting("env.load"))
    if not rises:  # from slot 0 on: there is nothing before
        return []
    rises *= finished.study.servers  # a load is of each server, reports are of all
    values = []
    for a, b in finished.of(better, worse):
        slots = np.array([report["timesteps_total"] for report in a.reports])
        gap = window_rewards(a) - window_rewards(b)
        values.append(interval(gap[slots > rises]).mean - interval(gap[slots <= rises]).mean)
    return values


@measure("slots")
def adapts_earlier(
    finished: Finished, better: Label, worse: Label, share: float = 0.95
) -> list[float]:
    """Slots until a greedy policy has 95 % of its final R: of one strategy, before another.

    Looked at every `evaluation.interval` slots. The final R is the mean over the last fifth of
    these evaluations; where it is not above 0 there is no such slot.
    """
    return [
        slots_to(b, share) - slots_to(a, share)
        for a, b in finished.of(better, worse)
        if greedy_of(a) and greedy_of(b)
    ]


@measure()
def greedy_while_learning(finished: Finished, better: Label, worse: Label) -> list[float]:
    """Greedy R of one strategy minus that of another, mean over the evaluations on the way."""
    return [
        interval([r for _, r in greedy_of(a)]).mean - interval([r for _, r in greedy_of(b)]).mean
        for a, b in finished.of(better, worse)
        if greedy_of(a) and greedy_of(b)
    ]


@measure("share")
def training_share(finished: Finished, strategy: Label) -> list[float]:
    """The share of slots that train."""
    return [t.row["share_training"] for (t,) in finished.of(strategy)]


@measure("share")
def trains_less(finished: Finished, less: Label, more: Label, part: float = 1.0) -> list[float]:
    """This part of one strategy's share of slots that train, minus that of another."""
    return [
        part * b.row["share_training"] - a.row["share_training"] for a, b in finished.of(less, more)
    ]


@measure("share")
def fallback_acts(finished: Finished, strategy: Label) -> list[float]:
    """Share of reports in fallback in the 10,000 slots after Q is damaged, minus before it."""
    values = []
    for slots, fallback, damaged in _damaged(finished, strategy):
        before = fallback[(slots > damaged - AFTER_DAMAGE_SLOTS) & (slots <= damaged)]
        after = fallback[(slots > damaged) & (slots <= damaged + AFTER_DAMAGE_SLOTS)]
        values.append(interval(after).mean - interval(before).mean)
    return values


@measure("share")
def fallback_remains(finished: Finished, strategy: Label) -> list[float]:
    """Share of reports in fallback in the last 20 % of the slots, where Q was damaged before."""
    return [
        float(fallback[slots > (1.0 - SETTLED_SHARE) * slots[-1]].mean())
        for slots, fallback, _ in _damaged(finished, strategy)
    ]


def greedy_of(trial: TrialResults) -> list[tuple[int, float]]:
    """Slot and R of each greedy evaluation while it learned."""
    evaluations = [report["greedy"] for report in trial.reports if "greedy" in report]
    return [(evaluation["slot"], number(evaluation["reward"])) for evaluation in evaluations]


def slots_to(trial: TrialResults, share: float) -> float:
    """The slot of the first evaluation with this share of the final greedy R; NaN if none has."""
    evaluations = greedy_of(trial)
    last = evaluations[-math.ceil(SETTLED_SHARE * len(evaluations)) :]
    final = interval([reward for _, reward in last]).mean
    reached = [slot for slot, reward in evaluations if reward >= share * final]
    return float(reached[0]) if reached and final > 0.0 else math.nan


def first_rise(load: Any) -> float | None:
    """The slot at which a load schedule starts to rise; None if it never does."""
    points = load if isinstance(load, list) else []
    for (slot, now), (_, later) in pairwise(points):
        if later > now:
            return slot
    return None


def window_rewards(trial: TrialResults) -> np.ndarray:
    """R in each report; NaN where no job was resolved."""
    return np.array([report["reward"]["window"] for report in trial.reports], float)


def _damaged(finished: Finished, label: str) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Slots, share in fallback, and the report in whose end the damage was done, per seed."""
    if label not in finished.strategies:
        return []
    planned = finished.strategies[label].setting("learner.corrupt.slot")
    series = []
    for (trial,) in finished.of(label) if planned is not None else []:
        slots = np.array([report["timesteps_total"] for report in trial.reports])
        fallback = np.array([report["gate"]["fallback_share"] for report in trial.reports])
        if (slots >= planned).sum() > 1:
            series.append((slots, fallback, int(slots[slots >= planned][0])))
    return series
