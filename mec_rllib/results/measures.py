"""What claims measure: differences between strategies, one value per seed.

A measure takes the finished trials of an experiment; it returns no value where the experiment has
nothing to say about it.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from mec_rllib.config.experiment import Experiment
from mec_rllib.config.strategies import resolve
from mec_rllib.gates import ATS, PTS, Bandit, Budget, Idle, Price, ServerEmpty, TDSlope
from mec_rllib.results.folder import TrialResults

# Gates that pay for their training; `always` is judged against the worst of the others.
PAYING = (PTS, Idle, ServerEmpty, ATS, Budget, Price, TDSlope, Bandit)
AFTER_DAMAGE_SLOTS = 10_000
SETTLED_SHARE = 0.2  # of the slots, at the end
TINY = 1e-6  # share of slots that counts as none, where it must have a logarithm


class Finished:
    """The finished trials of an experiment, by strategy and seed."""

    def __init__(self, experiment: Experiment, trials: Sequence[TrialResults]):
        self.experiment = experiment
        self.strategies = {s.label: s for s in resolve(experiment).strategies}
        self._trials: dict[str, dict[int, TrialResults]] = {}
        for trial in trials:
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

    def labels(self, *gates: type) -> list[str]:
        """Finished strategies with just one of these gates."""
        return [s for s in self._trials if self.strategies[s].gate in gates]

    @property
    def rules(self) -> list[str]:
        """Finished strategies that learn nothing."""
        return [s for s in self._trials if self.strategies[s].scheduler is not None]

    def mean_reward(self, strategy: str, metric: str = "reward_lifetime") -> float:
        """Lifetime reward, or another one, over the seeds."""
        return float(np.mean([t.row[metric] for (t,) in self.of(strategy)]))


def difference(better: str, worse: str, metric: str = "reward_lifetime") -> Callable:
    """Measure: a metric of one strategy minus that of another."""
    return lambda finished: [a.row[metric] - b.row[metric] for a, b in finished.of(better, worse)]


def ats_above_best_pts(finished: Finished) -> list[float]:
    """ATS minus the PTS whose mean is highest; choosing it on these seeds favours PTS."""
    periodic = finished.labels(PTS)
    if len(periodic) < 2:
        return []
    return difference("ats", max(periodic, key=finished.mean_reward))(finished)


def deployable_above_best_rule(metric: str = "reward_lifetime") -> Callable:
    """Measure: the deployable agent minus the best scheduler; choosing that one favours it."""

    def measured(finished: Finished) -> list[float]:
        rules = finished.rules
        if len(rules) < 2:
            return []
        best = max(rules, key=lambda rule: finished.mean_reward(rule, metric))
        return difference("deployable", best, metric)(finished)

    return measured


def above_always(finished: Finished) -> list[float]:
    """The worst other gate that pays minus always; choosing it on these seeds favours always."""
    others = finished.labels(*PAYING)
    if not others:
        return []
    return difference(min(others, key=finished.mean_reward), "always")(finished)


def above_frozen(finished: Finished) -> list[float]:
    """ATS minus never in the last 20 %, where both start from the same trained policy."""
    if finished.experiment.pretrain is None:
        return []
    return difference("ats", "never", "reward_last20")(finished)


def lowest_above_stopped(finished: Finished) -> list[float]:
    """The lowest gate that goes on (of PTS: the best) minus the one that stops (`frozen`).

    Choosing both on these seeds favours frozen and PTS.
    """
    learning = [s for s in finished.labels(*PAYING) if s != "frozen"]
    periodic = finished.labels(PTS)
    rivals = [s for s in learning if s not in periodic]
    if periodic:
        rivals.append(max(periodic, key=finished.mean_reward))
    if not rivals:
        return []
    return difference(min(rivals, key=finished.mean_reward), "frozen")(finished)


def chooser_above_best_kind(finished: Finished) -> list[float]:
    """`ats_kinds` minus the ATS with a single kind whose mean is highest (this favours ATS)."""
    single = [
        s for s in finished.labels(ATS) if finished.strategies[s].experiment.gate.kind is not None
    ]
    if not single:
        return []
    return difference("ats_kinds", max(single, key=finished.mean_reward))(finished)


def faster_than_pts(finished: Finished) -> list[float]:
    """Area between the curves of ATS and PTS once the load rises, less their gap before."""
    rises, runners = first_rise(finished.experiment.env.load), finished.experiment.runners
    if not rises:  # from slot 0 on: there is nothing before
        return []
    rises *= max(runners.num, 1) * runners.servers  # a load is of each server, reports are of all
    values = []
    for ats, pts in finished.of("ats", "pts"):
        slots = np.array([report["timesteps_total"] for report in ats.reports])
        gap = window_rewards(ats) - window_rewards(pts)
        values.append(float(np.nanmean(gap[slots > rises]) - np.nanmean(gap[slots <= rises])))
    return values


def where_load(at_least: float, measure: Callable) -> Callable:
    """Measure: only where the load is constant and at least so high."""

    def measured(finished: Finished) -> list[float]:
        env = finished.experiment.env
        if env.workload != "bernoulli" or isinstance(env.load, list) or env.load < at_least:
            return []
        return measure(finished)

    return measured


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


def trains_little(finished: Finished) -> list[float]:
    """How far ATS's share of slots that train stays below 2 %."""
    return [0.02 - ats.row["share_training"] for (ats,) in finished.of("ats")]


def fallback_acts(finished: Finished) -> list[float]:
    """Share of reports in fallback in the 10,000 slots after the damage, minus before it."""
    values = []
    for slots, fallback, damaged in _damaged(finished):
        before = fallback[(slots > damaged - AFTER_DAMAGE_SLOTS) & (slots <= damaged)]
        after = fallback[(slots > damaged) & (slots <= damaged + AFTER_DAMAGE_SLOTS)]
        values.append(float(after.mean() - before.mean()))
    return values


def fallback_lets_go(finished: Finished) -> list[float]:
    """How far the share of reports in fallback stays below 10 % in the last 20 % of the slots."""
    return [
        0.1 - float(fallback[slots > (1.0 - SETTLED_SHARE) * slots[-1]].mean())
        for slots, fallback, _ in _damaged(finished)
    ]


def trains_less(less: str, more: str, part: float) -> Callable:
    """Measure: this part of one strategy's share of slots that train, minus that of another."""
    return lambda finished: [
        part * b.row["share_training"] - a.row["share_training"] for a, b in finished.of(less, more)
    ]


def trains_in(strategy: str) -> Callable:
    """Measure: the share of slots that train."""
    return lambda finished: [t.row["share_training"] for (t,) in finished.of(strategy)]


def above_pts_of_equal_share(strategy: str) -> Callable:
    """Measure: minus what PTS has for as much training, between its periods (logarithmic)."""

    def measured(finished: Finished) -> list[float]:
        periodic = finished.labels(PTS)
        values = []
        for trial, *others in finished.of(strategy, *periodic) if len(periodic) >= 2 else []:
            rows = sorted((t.row for t in others), key=lambda row: row["share_training"])
            shares = np.log([max(row["share_training"], TINY) for row in rows])
            share = np.log(max(trial.row["share_training"], TINY))
            reward = np.interp(share, shares, [row["reward_lifetime"] for row in rows])
            values.append(trial.row["reward_lifetime"] - float(reward))
        return values

    return measured


def where_load_changes(measure: Callable) -> Callable:
    """Measure: only where the load follows a schedule."""
    return lambda f: [] if first_rise(f.experiment.env.load) is None else measure(f)


def _damaged(finished: Finished) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Slots, share in fallback, and the report in whose end the damage was done, per seed."""
    label = "ats-corrupt"
    if label not in finished.strategies:
        return []
    planned = finished.strategies[label].experiment.learner.corrupt.slot
    series = []
    for (trial,) in finished.of(label) if planned is not None else []:
        slots = np.array([report["timesteps_total"] for report in trial.reports])
        fallback = np.array([report["gate"]["fallback_share"] for report in trial.reports])
        if (slots >= planned).sum() > 1:
            series.append((slots, fallback, int(slots[slots >= planned][0])))
    return series
