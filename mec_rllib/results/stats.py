"""Statistics of claims: intervals over seeds, and differences paired by seed."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import special  # scipy.stats has the same, but takes a second to load

Values = Sequence[float] | np.ndarray
Verdict = Literal["holds", "fails", "undecided"]
CONFIDENCE = 0.95
POWER = 0.8
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


class Estimate(NamedTuple):
    """A mean and how well it is known; NaN where there is no spread to judge it by."""

    mean: float
    error: float  # its standard error
    degrees: float  # of freedom, of Student's t

    @property
    def interval(self) -> Interval:
        """The mean with its 95 % t-interval."""
        half = float(special.stdtrit(self.degrees, 0.5 + CONFIDENCE / 2) * self.error)
        return Interval(self.mean, self.mean - half, self.mean + half)

    @property
    def detectable(self) -> float:
        """Distance from a bound that a test at 5 % finds with a chance of 80 % (approximately)."""
        quantiles = special.stdtrit(self.degrees, [0.5 + CONFIDENCE / 2, POWER])
        return float(quantiles.sum() * self.error)

    def p_value(self, above: float) -> float:
        """Two-sided p of Student's t-test that the mean differs from a bound."""
        return float(2.0 * special.stdtr(self.degrees, -abs(self.mean - above) / self.error))


def estimate(values: Values) -> Estimate:
    """The mean of values that are independent, as those of seeds; NaN values are left out.

    A single value, or several that are equal, have no standard error: a t-test needs a spread.
    """
    x = known(values)
    if not len(x):
        return Estimate(np.nan, np.nan, np.nan)
    if all_equal(x):
        return Estimate(float(x.mean()), np.nan, np.nan)
    return Estimate(float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x))), len(x) - 1.0)


def over_worlds(worlds: Sequence[Values]) -> Estimate:
    """The mean over worlds of each world's mean over its seeds: about these worlds, not others.

    The standard error is sqrt(sum of s_w^2 / n_w) / W, for values of different worlds are
    independent; the degrees of freedom are those of Welch and Satterthwaite, for each world has a
    variance of its own. How far the worlds are apart does not count. A world without a standard
    error leaves the whole without one; a world without values leaves it without a mean.

    Args:
        worlds: the values of each world's seeds.
    """
    found = [estimate(values) for values in worlds]
    if not found:
        return Estimate(np.nan, np.nan, np.nan)
    means, errors, degrees = np.array(found).T
    variances = errors**2
    freedom = float(variances.sum() ** 2 / (variances**2 / degrees).sum())
    return Estimate(float(means.mean()), float(np.sqrt(variances.sum()) / len(found)), freedom)


def interval(values: Values) -> Interval:
    """Mean and 95 % interval (Student's t over seeds); values that are NaN are left out."""
    return estimate(values).interval


def verdict(difference: Interval, above: float) -> Verdict:
    """Whether the difference is above a bound: decided only if the whole interval agrees."""
    if difference.low > above:
        return "holds"
    return "fails" if difference.high <= above else "undecided"


def p_value(values: Values, above: float) -> float:
    """Two-sided p of Student's t-test that the mean differs from a bound; NaN without a spread."""
    return estimate(values).p_value(above)


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which of these tests survive the Holm-Bonferroni correction; NaN does not, but counts."""
    p = np.nan_to_num(np.asarray(p_values, float), nan=1.0)
    survives = np.zeros(len(p), bool)
    for rank, k in enumerate(np.argsort(p, kind="stable")):
        if p[k] > level / (len(p) - rank):
            break
        survives[k] = True
    return survives.tolist()
