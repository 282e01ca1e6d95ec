"""Gate health: names the ways in which a training gate is known to fail, with the figures."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from mec_rllib.results.measures import SETTLED_SHARE, window_rewards
from mec_rllib.results.stats import interval
from mec_rllib.results.stored import StoredStrategy, StoredStudy, TrialResults

TOO_OFTEN = 2.0  # times as often as the percentile means
ENOUGH_JOBS = 5  # training jobs to judge by, or to expect before none of them is news
SILENT = 3.0  # times as long as ever before
BUSIER = 0.05  # share of the capacity, above the average
ENOUGH_UPDATES = 1000  # to expect progress from


class Finding(NamedTuple):
    """A failure signature that was seen."""

    strategy: str
    signature: str
    figures: str


def examine(study: StoredStudy) -> list[Finding]:
    """What is wrong with the gates, judged on finished trials, all seeds together.

    Of a folder that does not say what its strategies are, nothing is said.
    """
    findings = []
    for strategy in study.strategies if study.is_resolved else ():
        mine = study.finished(strategy.label)
        if not strategy.learns or strategy.rule == "never" or not mine:
            continue
        for signature, check in SIGNATURES.items():
            findings += [Finding(strategy.label, signature, f) for f in check(strategy, mine)]
    return findings


def _too_often(strategy: StoredStrategy, trials: Sequence[TrialResults]) -> Iterator[str]:
    if strategy.rule != "ats":
        return
    expected = 1.0 - strategy.args["percentile"] / 100.0
    settled = [_settled(t) for t in trials]
    trusting = [
        (start, end)
        for reports in settled
        for start, end in pairwise(reports)
        if end["gate"]["fallback_share"] == 0.0
    ]
    if not trusting:
        return
    jobs = sum(end["training"]["jobs"] - start["training"]["jobs"] for start, end in trusting)
    slots = sum(end["timesteps_total"] - start["timesteps_total"] for start, end in trusting)
    if jobs >= ENOUGH_JOBS and jobs > TOO_OFTEN * expected * slots:
        above = np.mean([end["gate"]["psi"] >= end["gate"]["psi_threshold"] for _, end in trusting])
        yield (
            f"{jobs / slots:.1%} of the slots bring a training job where the percentile means "
            f"{expected:.1%}; psi was at or above its threshold in {above:.0%} of the reports"
        )


def _never(strategy: StoredStrategy, trials: Sequence[TrialResults]) -> Iterator[str]:
    """Not once in the whole life, though there was experience and its own rate means some jobs."""
    if not strategy.occupies:
        return
    slots = trials[0].reports[-1]["timesteps_total"]
    to_learn_in = slots - strategy.setting("learner.learning_starts")
    rate = _highest_rate(strategy)
    idle = [t for t in trials if not t.reports[-1]["training"]["jobs"]]
    if to_learn_in <= 0 or not idle or (rate and rate * to_learn_in < ENOUGH_JOBS):
        return
    means = f", where its settings mean up to {rate * to_learn_in:,.0f}" if rate else ""
    yield f"no training job in {slots:,} slots{means}, {_seeds(idle)}"


def _stops(strategy: StoredStrategy, trials: Sequence[TrialResults]) -> Iterator[str]:
    """Silent at the end, for much longer than it ever was before."""
    if not strategy.occupies or strategy.setting("gate.until") is not None:
        return
    for trial in trials:
        slots, jobs = trial.reports[-1]["timesteps_total"], trial.reports[-1]["training"]["jobs"]
        trained = [0, *_reports_with_jobs(trial)]
        longest = max((later - now for now, later in pairwise(trained)), default=0)
        silent = slots - trained[-1]
        if longest and silent > max(SILENT * longest, SETTLED_SHARE * slots):
            yield (
                f"{jobs:,} training job{'s' if jobs > 1 else ''} until slot {trained[-1]:,}, none "
                f"in the {silent:,} slots since; it never waited longer than {longest:,} before, "
                f"seed {trial.seed}"
            )


def _bad_moments(strategy: StoredStrategy, trials: Sequence[TrialResults]) -> Iterator[str]:
    rows = [t.row for t in trials if t.row.get("use_at_training") is not None]
    if sum(row["training_jobs"] for row in rows) < ENOUGH_JOBS:
        return
    at, average = (np.mean([row[key] for row in rows]) for key in ("use_at_training", "server_use"))
    if at > average + BUSIER:
        yield f"{at:.0%} of the server is in use when it asks to train, {average:.0%} on average"


def _no_progress(strategy: StoredStrategy, trials: Sequence[TrialResults]) -> Iterator[str]:
    load = strategy.setting("env.load")
    updates = np.mean([t.row["learner_updates"] for t in trials if t.is_finished])
    rewards = [window_rewards(t) for t in trials]
    fifth = int(SETTLED_SHARE * min(map(len, rewards)))
    # A rising load lowers every curve.
    if isinstance(load, list) or updates < ENOUGH_UPDATES or not fifth:
        return
    first, last = (
        interval([interval(r[part]).mean for r in rewards]).mean
        for part in (slice(None, fifth), slice(-fifth, None))
    )
    if last <= first:
        yield (
            f"R {first:.3f} in the first fifth, {last:.3f} in the last, "
            f"after {updates:,.0f} updates"
        )


def _never_lets_go(strategy: StoredStrategy, trials: Sequence[TrialResults]) -> Iterator[str]:
    if not strategy.has_fallback:
        return
    settled = [_settled(t) for t in trials]
    share = np.mean(
        [np.mean([r["gate"]["fallback_share"] for r in reports]) for reports in settled]
    )
    if share > 0.5:
        td = np.mean([reports[-1]["gate"]["td_statistic"] for reports in settled])
        args = strategy.args
        yield (
            f"{args['fallback']} decides in {share:.0%} of the last {SETTLED_SHARE:.0%} of the "
            f"slots, {sum(map(_jobs, settled)):,} training jobs there; TD statistic {td:.2f}, "
            f"cutoff {args['td_cutoff']:g}"
        )


SIGNATURES: dict[str, Callable[[StoredStrategy, Sequence[TrialResults]], Iterator[str]]] = {
    "trains too often": _too_often,
    "never trains": _never,
    "stops training": _stops,
    "trains at bad moments": _bad_moments,
    "learns too slowly": _no_progress,
    "fallback never let go": _never_lets_go,
}


def _settled(trial: TrialResults) -> list[dict[str, Any]]:
    slots = trial.reports[-1]["timesteps_total"]
    return [r for r in trial.reports if r["timesteps_total"] >= (1.0 - SETTLED_SHARE) * slots]


def _jobs(reports: list[dict[str, Any]]) -> int:
    return reports[-1]["training"]["jobs"] - reports[0]["training"]["jobs"]


def _reports_with_jobs(trial: TrialResults) -> list[int]:
    """Where the reports end in which training jobs completed, in slots."""
    before = [{"training": {"jobs": 0}}, *trial.reports]
    return [
        report["timesteps_total"]
        for last, report in zip(before, trial.reports, strict=False)
        if report["training"]["jobs"] > last["training"]["jobs"]
    ]


def _highest_rate(strategy: StoredStrategy) -> float | None:
    """Training jobs per slot that the gate's own settings mean at most; None: they do not say."""
    args = strategy.args
    if strategy.rule == "ats":
        return 1.0 - args["percentile"] / 100.0
    return 1.0 / args["period"] if strategy.rule in ("pts", "idle", "server_empty") else None


def _seeds(trials: Sequence[TrialResults]) -> str:
    return f"seed{'s' if len(trials) > 1 else ''} {', '.join(str(t.seed) for t in trials)}"
