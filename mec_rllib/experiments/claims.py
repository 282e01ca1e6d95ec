"""Claims of the source, decided from trials paired by seed; `docs/claims.md` lists the tests."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from mec_rllib.experiments.config import Experiment
from mec_rllib.experiments.results import TrialResults
from mec_rllib.experiments.stats import holm, interval, p_value, verdict
from mec_rllib.experiments.strategies import resolve
from mec_rllib.gates import ATS, PTS, Bandit, Budget, Idle, Price, ServerEmpty, TDSlope

# Gates that pay for their training; `always` is judged against the worst of the others.
PAYING = (PTS, Idle, ServerEmpty, ATS, Budget, Price, TDSlope, Bandit)
AFTER_DAMAGE_SLOTS = 10_000
SETTLED_SHARE = 0.2  # of the slots, at the end
ABLATIONS = (  # strategies of ablation_agent.yaml
    "no-guide",
    "epsilon-greedy",
    "rows-not-afterstates",
    "one-step",
    "acts-online",
    "fallback-pts",
    "fallback-idle",
)
TINY = 1e-6  # share of slots that counts as none, where it must have a logarithm


class Finished:
    """The finished trials of an experiment, by strategy and seed."""

    def __init__(self, experiment: Experiment, trials: Sequence[TrialResults]):
        self.experiment = experiment
        self.strategies = {s.label: s for s in resolve(experiment)}
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


class Claim(NamedTuple):
    """What `measure` gives, one value per seed, is on average above `margin`.

    No values: the experiment has nothing to say about it.
    """

    id: str
    text: str
    measure: Callable[[Finished], list[float]]
    margin: float = 0.0
    of_mec: bool = False  # a figure of the source: says nothing about another environment


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
    if not others or "always" not in finished.strategies:
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


REWARDS = {
    "reward_lifetime": "lifetime",
    "reward_last20": "last 20 %",
    "reward_greedy": "greedy",
}
CLAIMS = [
    *(
        Claim(
            f"ats_near_ideal_{metric.removeprefix('reward_')}",
            f"ATS is within 0.03 of ideal ({name})",
            difference("ats", "ideal", metric),
            -0.03,
            of_mec=True,
        )
        for metric, name in REWARDS.items()
    ),
    *(
        Claim(
            f"ats_above_sjf_{metric.removeprefix('reward_')}",
            f"ATS is above SJF ({name})",
            difference("ats", "sjf", metric),
        )
        for metric, name in REWARDS.items()
    ),
    Claim("ats_above_pts", "ATS is above PTS (equal budget)", difference("ats", "pts")),
    Claim("ats_above_best_pts", "ATS is above the best PTS", ats_above_best_pts),
    Claim("ats_above_idle", "ATS is above idle", difference("ats", "idle")),
    Claim("ats_above_server_empty", "ATS is above server_empty", difference("ats", "server_empty")),
    Claim("always_worst", "always is the worst gate that pays", above_always),
    Claim("never_degrades", "a frozen policy falls behind ATS", above_frozen),
    Claim("frozen_lowest", "to stop training is worse than any gate", lowest_above_stopped),
    *(
        Claim(
            f"ats_above_{gate}_{kind}",
            f"ATS is above {gate}, both with {kind} training jobs",
            difference(f"ats-{kind}", f"{gate}-{kind}"),
        )
        for kind in ("small", "large")
        for gate in ("pts", "server_empty", "idle")
    ),
    *(
        Claim(
            f"ats_above_{gate}_{learner}",
            f"ATS is above {gate}, both training {learner.upper()}",
            difference(f"ats-{learner}", f"{gate}-{learner}"),
        )
        for learner in ("dqn", "sac", "ppo")
        for gate in ("pts", "server_empty")
    ),
    *(
        Claim(
            f"{learner}_above_dqn",
            f"{learner.upper()} is above DQN, both with ats",
            difference(f"ats-{learner}", "ats-dqn"),
        )
        for learner in ("sac", "ppo")
    ),
    Claim(
        "ats_kinds_above_best_kind",
        "ATS that chooses the kind is above ATS with the better one",
        chooser_above_best_kind,
    ),
    Claim("ats_adapts_faster", "ATS adapts faster than PTS", faster_than_pts),
    Claim(
        "ats_trains_little", "ATS trains in less than 2 % of the slots", trains_little, of_mec=True
    ),
    Claim("fallback_acts", "corrupted Q makes ATS fall back to PTS", fallback_acts),
    Claim("fallback_lets_go", "ATS leaves the fallback again", fallback_lets_go),
    Claim(
        "deployable_not_below_rule",
        "the deployable agent is not below the reservation rule",
        difference("deployable", "reservation"),
        -0.002,
    ),
    Claim(
        "deployable_not_below_best_rule",
        "the deployable agent is not below the best scheduler",
        deployable_above_best_rule(),
        -0.002,
    ),
    Claim(
        "deployable_above_best_rule_last20",
        "the deployable agent is above the best scheduler (last 20 %)",
        deployable_above_best_rule("reward_last20"),
    ),
    *(
        Claim(
            f"deployable_above_rule_{load:.1f}",
            f"the deployable agent is {margin:.2f} above the reservation rule "
            f"(load {load:.1f} or more)",
            where_load(load, difference("deployable", "reservation")),
            margin,
        )
        for load, margin in ((0.6, 0.1), (0.9, 0.3))
    ),
    Claim(
        "deployable_above_searched",
        "the deployable agent is above the searched rule (lifetime)",
        difference("deployable", "reservation-tuned"),
    ),
    Claim(
        "deployable_above_searched_greedy",
        "the deployable agent is above the searched rule (greedy)",
        difference("deployable", "reservation-tuned", "reward_greedy"),
    ),
    Claim(
        "deployable_above_paper",
        "the deployable agent is above the paper's",
        difference("deployable", "ats"),
    ),
    Claim(
        "deployable_above_tetris",
        "the deployable agent is above the packing rule",
        difference("deployable", "tetris"),
    ),
    Claim(
        "deployable_above_rollout",
        "the deployable agent is above the one-step rollout",
        difference("deployable", "rollout"),
    ),
    *(
        Claim(
            f"deployable_above_{label}",
            f"the deployable agent is above itself with one part changed: {label}",
            difference("deployable", label),
        )
        for label in ABLATIONS
    ),
    *(
        Claim(
            f"{exploration}_above_epsilon",
            f"exploration {exploration} is above epsilon_greedy, both with ats",
            difference(f"{exploration}-ats", "epsilon-ats"),
        )
        for exploration in ("guided", "boltzmann", "bootstrapped", "noisy", "none")
    ),
    Claim(
        "guided_paying_above_epsilon_free",
        "guided that pays for its training is above epsilon_greedy that does not",
        difference("guided-ats", "epsilon-ideal"),
    ),
    Claim("budget_near_ats", "budget is within 0.002 of ATS", difference("budget", "ats"), -0.002),
    Claim(
        "budget_trains_less",
        "budget trains less than half as much as ATS",
        trains_less("budget", "ats", 0.5),
    ),
    Claim(
        "budget_near_fixed",
        "the decaying budget is within 0.002 of the fixed one",
        difference("budget", "budget-fixed"),
        -0.002,
    ),
    Claim(
        "budget_fixed_above_server_empty",
        "psi at a fixed rate is above server_empty",
        difference("budget-fixed", "server_empty"),
    ),
    Claim(
        "budget_drift_above_budget",
        "a budget that follows the TD error is above one that does not (load changes)",
        where_load_changes(difference("budget-drift", "budget")),
    ),
    Claim("price_near_ats", "price is within 0.002 of ATS", difference("price", "ats"), -0.002),
    Claim(
        "price_does_not_starve",
        "price trains in more than 0.1 % of the slots",
        trains_in("price"),
        0.001,
    ),
    Claim(
        "td_slope_above_pts",
        "td_slope is above PTS (equal share)",
        above_pts_of_equal_share("td_slope"),
    ),
    Claim(
        "bandit_above_pts", "bandit is above PTS (equal share)", above_pts_of_equal_share("bandit")
    ),
    Claim("price_above_bandit", "price is above bandit", difference("price", "bandit")),
]


def decide(experiment: Experiment, trials: Sequence[TrialResults]) -> list[dict[str, Any]]:
    """Every claim that the experiment can say something about.

    The verdict is by the 95 % t-interval over seeds; `holm` says whether it survives the
    Holm-Bonferroni correction for all claims in the list (5 % for the whole family).
    """
    finished = Finished(experiment, trials)
    claims = [c for c in CLAIMS if experiment.env.gym is None or not c.of_mec]
    measured = [(claim, claim.measure(finished)) for claim in claims]
    measured = [(claim, values) for claim, values in measured if values]
    p_values = [p_value(values, claim.margin) for claim, values in measured]
    decided = []
    for (claim, values), p, survives in zip(measured, p_values, holm(p_values), strict=True):
        mean, low, high = found = interval(values)
        decided.append(
            {
                "id": claim.id,
                "text": claim.text,
                "verdict": verdict(found, claim.margin),
                "estimate": mean,
                "ci95": [low, high],
                "margin": claim.margin,
                "n": len(values),
                "p": p,
                "holm": survives,
            }
        )
    return decided
