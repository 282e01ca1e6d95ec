"""Claims of the source, decided from trials paired by seed; `docs/claims.md` lists the tests."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from mec_rllib.config.experiment import Experiment
from mec_rllib.results.measures import (
    Finished,
    above_always,
    above_frozen,
    above_pts_of_equal_share,
    ats_above_best_pts,
    chooser_above_best_kind,
    deployable_above_best_rule,
    difference,
    fallback_acts,
    fallback_lets_go,
    faster_than_pts,
    lowest_above_stopped,
    trains_in,
    trains_less,
    where_load,
    where_load_changes,
)
from mec_rllib.results.stats import (
    Interval,
    Verdict,
    all_equal,
    holm,
    interval,
    known,
    p_value,
    verdict,
)
from mec_rllib.results.stored import TrialResults

ABLATIONS = (  # strategies of ablation_agent.yaml
    "no-guide",
    "epsilon-greedy",
    "rows-not-afterstates",
    "one-step",
    "acts-online",
    "fallback-pts",
    "fallback-idle",
)
REWARDS = {
    "reward_lifetime": "lifetime",
    "reward_last20": "last 20 %",
    "reward_greedy": "greedy",
}


class Claim(NamedTuple):
    """What `measure` gives, one value per seed, is on average above `margin` (or below it).

    No values: the experiment has nothing to say about it.
    """

    id: str
    text: str
    measure: Callable[[Finished], list[float]]
    margin: float = 0.0
    is_below: bool = False  # the margin is an upper bound
    unit: Literal["R", "share"] = "R"
    of_mec: bool = False  # a figure of the source: says nothing about another environment


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
        "ats_trains_little",
        "ATS trains in less than 2 % of the slots",
        trains_in("ats"),
        0.02,
        is_below=True,
        unit="share",
        of_mec=True,
    ),
    Claim("fallback_acts", "corrupted Q makes ATS fall back to PTS", fallback_acts, unit="share"),
    Claim(
        "fallback_lets_go",
        "ATS leaves the fallback again",
        fallback_lets_go,
        0.1,
        is_below=True,
        unit="share",
    ),
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
        "tuned_guide_above_searched",
        "the agent that the searched rule guides is above that rule",
        difference("tuned-guide", "reservation-tuned"),
    ),
    Claim(
        "tuned_guide_above_deployable",
        "the searched rule is the better guide",
        difference("tuned-guide", "deployable"),
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
        unit="share",
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
        unit="share",
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
    Holm-Bonferroni correction for all claims in the list (5 % for the whole family). Where seeds
    have no spread, nothing is decided; `note` says why.
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
                "verdict": _verdict(claim, found),
                "estimate": mean,
                "ci95": [low, high],
                "margin": claim.margin,
                "is_below": claim.is_below,
                "unit": claim.unit,
                "n": len(known(values)),
                "p": p,
                "holm": survives,
                "note": _why_undecided(values),
            }
        )
    return decided


def _verdict(claim: Claim, found: Interval) -> Verdict:
    if claim.is_below:
        return verdict(Interval(-found.mean, -found.high, -found.low), -claim.margin)
    return verdict(found, claim.margin)


def _why_undecided(values: Sequence[float]) -> str:
    """Why there is no interval; empty where there is one."""
    if not (n := len(known(values))):
        return "no figures"
    if n == 1:
        return "one seed"
    return f"all {n} seeds equal" if all_equal(values) else ""
