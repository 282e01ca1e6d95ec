"""Interquartile means, and whether values over seeds are normal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mec_rllib.results.robust import iqm, is_normal, robust_section

BIMODAL = [-0.5, -0.52, -0.49, -0.51, -0.5, 0.8, 0.81, 0.79, 0.8, 0.82]
NORMAL = [0.70, 0.74, 0.72, 0.69, 0.71, 0.73, 0.72, 0.75, 0.68, 0.71]


def test_the_middle_half_by_hand():
    assert iqm([[1, 2, 3, 4, 5, 6, 7, 100]]).mean == pytest.approx((3 + 4 + 5 + 6) / 4)
    assert iqm([[1, 2, 3, 4], [5, 6, 7, 100]]).mean == pytest.approx(4.5)


def test_values_are_drawn_anew_within_a_world_only():
    """Two worlds far apart: their distance is no luck, and must not widen the interval."""
    worlds = [[0.1, 0.1001, 0.1002, 0.1003], [0.9, 0.9001, 0.9002, 0.9003]]
    mean, low, high = iqm(worlds)
    assert low <= mean <= high
    assert high - low < 0.01
    mixed = iqm([worlds[0] + worlds[1]])
    assert mixed.high - mixed.low > 0.1


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=12))
def test_an_interval_holds_its_mean(values):
    mean, low, high = iqm([values])
    assert min(values) - 1e-9 <= mean <= max(values) + 1e-9
    if np.isfinite(low):
        assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_where_there_is_no_spread_there_is_no_interval():
    assert np.isnan(iqm([[0.5, 0.5, 0.5]]).low)
    assert np.isnan(iqm([[0.5]]).low)
    assert np.isnan(iqm([]).mean)
    assert np.isnan(iqm([[np.nan]]).mean)


def test_two_humps_are_not_normal_and_are_shown():
    assert is_normal(NORMAL)
    assert not is_normal(BIMODAL)
    assert is_normal(BIMODAL[:4])  # too few to tell
    assert is_normal([0.5] * 10)
    rows = [
        {"strategy": label, "seed": seed, "reward_lifetime": value}
        for label, values in (("never", BIMODAL), ("ats", NORMAL))
        for seed, value in enumerate(values)
    ]
    section = robust_section(rows)
    assert [row[0] for row in section.rows] == ["never"]
    assert section.rows[0][1:3] == ["10", f"{np.mean(BIMODAL):.3f}"]
