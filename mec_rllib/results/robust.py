"""Interquartile means with bootstrap intervals: for values over seeds that are not normal.

Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice".
scipy.stats takes a second to load, so it is loaded where it is used.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mec_rllib.files import number
from mec_rllib.results.stats import CONFIDENCE, Interval, Values, all_equal, interval, known
from mec_rllib.results.tables import Section, text
from mec_rllib.sim.streams import Purpose, generator

ENOUGH = 5  # values to tell anything of their distribution
LEVEL = 0.05  # of the Shapiro-Wilk test
TRIMMED = 0.25  # of the values, at each end
RESAMPLES = 2000


def normality(values: Values) -> float:
    """p of Shapiro and Wilk's test that values are normal; NaN: too few of them, or all equal."""
    from scipy import stats

    x = known(values)
    if len(x) < ENOUGH or all_equal(x):
        return np.nan
    return float(stats.shapiro(x).pvalue)


def is_normal(values: Values) -> bool:
    """Whether nothing speaks against a normal distribution."""
    return not normality(values) < LEVEL


def iqm(strata: Sequence[Values]) -> Interval:
    """Mean of the middle half of all values, with a 95 % interval by stratified bootstrap.

    Args:
        strata: the values of each world's seeds; values are drawn anew within a world only.
    """
    from scipy import stats

    data = [x for x in map(known, strata) if len(x)]
    if not data:
        return Interval(np.nan, np.nan, np.nan)
    middle = float(stats.trim_mean(np.concatenate(data), TRIMMED))
    if any(len(x) < 2 for x in data) or all(map(all_equal, data)):
        return Interval(middle, np.nan, np.nan)
    found = stats.bootstrap(
        data,
        _middle,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=generator(0, Purpose.BOOTSTRAP),
    )
    return Interval(middle, *map(float, found.confidence_interval))


def _middle(*strata: Any, axis: int = -1) -> Any:
    from scipy import stats

    return stats.trim_mean(np.concatenate(strata, axis=axis), TRIMMED, axis=axis)


def robust_section(rows: Sequence[dict[str, Any]], metric: str = "reward_lifetime") -> Section:
    """Strategies whose R over the seeds is not normal; without rows where there is none."""
    labels = dict.fromkeys(row["strategy"] for row in rows)
    values = {
        label: [number(row[metric]) for row in rows if row["strategy"] == label] for label in labels
    }
    cells = [
        _cells(label, of_label) for label, of_label in values.items() if not is_normal(of_label)
    ]
    note = (
        "Strategies whose lifetime R over the seeds is not normal (Shapiro-Wilk, p < "
        f"{LEVEL:g}): a mean and a t-interval say little of them. Beside them the interquartile "
        "mean and its 95 % bootstrap interval."
    )
    headings = ("strategy", "n", "mean R", "IQM of R", "95 % bootstrap", "p of normality")
    return Section("Not normal over the seeds", note, headings, cells)


def _cells(label: str, values: Values) -> list[str]:
    middle = iqm([values])
    return [
        label,
        str(len(known(values))),
        text(interval(values).mean, ".3f"),
        text(middle.mean, ".3f"),
        f"[{text(middle.low, '.3f')}, {text(middle.high, '.3f')}]",
        text(normality(values), ".2g"),
    ]
