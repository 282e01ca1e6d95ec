"""Every strategy against a baseline, paired by seed."""

from typing import Any

from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest
from mec_rllib.results.claims import why_undecided, with_holm
from mec_rllib.results.measures import Finished, difference
from mec_rllib.results.stats import interval, known, p_value
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
    check_labels(study, baseline)
    finished = Finished(study)
    labels = [s.label for s in study.strategies if s.label != baseline]
    measured = {label: difference(finished, label, baseline, metric) for label in labels}
    found = [_found(label, baseline, metric, v) for label, v in measured.items() if v]
    return with_holm(found)


def paired(
    study: StoredStudy, strategy: str, baseline: str, metric: str = "reward_lifetime"
) -> dict[str, Any]:
    """The difference of one strategy to another: as in `compare`, without Holm.

    Raises:
        ConfigError: there is no such strategy.
    """
    check_labels(study, strategy, baseline)
    return _found(
        strategy, baseline, metric, difference(Finished(study), strategy, baseline, metric)
    )


def check_labels(study: StoredStudy, *labels: str) -> None:
    """Raises ConfigError if an experiment has no strategy of that name."""
    known_labels = [s.label for s in study.strategies]
    for label in labels:
        if label not in known_labels:
            raise ConfigError(f"no strategy is called {label!r}; {nearest(label, known_labels)}")


def _found(strategy: str, baseline: str, metric: str, values: list[float]) -> dict[str, Any]:
    mean, low, high = interval(values)
    return {
        "strategy": strategy,
        "baseline": baseline,
        "metric": metric,
        "estimate": mean,
        "ci95": [low, high],
        "n": len(known(values)),
        "p": p_value(values, 0.0),
        "note": why_undecided(values),
    }
