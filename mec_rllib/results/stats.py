"""Statistics of claims: intervals over seeds, and differences paired by seed."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import special  # scipy.stats has the same, but takes a second to load

Values = Sequence[float] | np.ndarray
Verdict = Literal["holds", "fails", "undecided"]
CONFIDENCE = 0.95
ROUNDING = 1e-9  # of the largest value, or of 1: values no further apart are equal


class Interval(NamedTuple):
    """A mean and its 95 % t-interval; NaN bounds where there is no spread to judge it by."""

    mean: float
    low: float
    high: float


def known(values: Values) -> np.ndarray:
    """The values that are numbers; where no job was resolved, R is none."""
    x = np.asarray(values, float)
    return x[np.isfinite(x)]


def all_equal(values: Values) -> bool:
    """Whether all values are one, but for rounding: they say nothing about the next one."""
    x = known(values)
    return len(x) > 0 and bool(np.ptp(x) <= ROUNDING * max(1.0, np.abs(x).max()))


def interval(values: Values) -> Interval:
    """Mean and 95 % interval (Student's t over seeds); values that are NaN are left out.

    A single value, or several that are equal, have no interval: a t-test needs a spread.
    """
    x = known(values)
    if not len(x):
        return Interval(np.nan, np.nan, np.nan)
    mean = float(x.mean())
    if all_equal(x):
        return Interval(mean, np.nan, np.nan)
    half = float(special.stdtrit(len(x) - 1, 0.5 + CONFIDENCE / 2) * _standard_error(x))
    return Interval(mean, mean - half, mean + half)


def verdict(difference: Interval, above: float) -> Verdict:
    """Whether the difference is above a bound: decided only if the whole interval agrees."""
    if difference.low > above:
        return "holds"
    return "fails" if difference.high <= above else "undecided"


def p_value(values: Values, above: float) -> float:
    """Two-sided p of Student's t-test that the mean differs from a bound; NaN without a spread."""
    x = known(values)
    if not len(x) or all_equal(x):
        return np.nan
    t = abs(x.mean() - above) / _standard_error(x)
    return float(2.0 * special.stdtr(len(x) - 1, -t))


def _standard_error(x: np.ndarray) -> float:
    return float(x.std(ddof=1) / np.sqrt(len(x)))


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which of these tests survive the Holm-Bonferroni correction; NaN does not, but counts."""
    p = np.nan_to_num(np.asarray(p_values, float), nan=1.0)
    survives = np.zeros(len(p), bool)
    for rank, k in enumerate(np.argsort(p, kind="stable")):
        if p[k] > level / (len(p) - rank):
            break
        survives[k] = True
    return survives.tolist()
