"""Every strategy against a baseline, paired by seed."""

from typing import Any

from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest
from mec_rllib.results.claims import why_undecided
from mec_rllib.results.measures import Finished, difference
from mec_rllib.results.stats import holm, interval, known, p_value
from mec_rllib.results.stored import StoredStudy


def compare(
    study: StoredStudy, baseline: str, metric: str = "reward_lifetime"
) -> list[dict[str, Any]]:
    """The difference of each strategy to the baseline: mean, 95 % t-interval, p, Holm.

    The Holm-Bonferroni correction is over all strategies that are compared (5 % for the family).

    Args:
        study: what was played.
        baseline: label of a strategy.
        metric: of the rows.

    Raises:
        ConfigError: there is no such strategy.
    """
    labels = [s.label for s in study.strategies]
    if baseline not in labels:
        raise ConfigError(f"no strategy is called {baseline!r}; {nearest(baseline, labels)}")
    finished = Finished(study)
    measured = {
        label: difference(finished, label, baseline, metric)
        for label in labels
        if label != baseline
    }
    measured = {label: values for label, values in measured.items() if values}
    p_values = [p_value(values, 0.0) for values in measured.values()]
    found = []
    for (label, values), p, survives in zip(
        measured.items(), p_values, holm(p_values), strict=True
    ):
        mean, low, high = interval(values)
        found.append(
            {
                "strategy": label,
                "baseline": baseline,
                "metric": metric,
                "estimate": mean,
                "ci95": [low, high],
                "n": len(known(values)),
                "p": p,
                "holm": survives,
                "note": why_undecided(values),
            }
        )
    return found
