"""Intervals, verdicts, and claims decided from rows."""

from pathlib import Path

import numpy as np
import pytest

from mec_rllib.experiments.claims import CLAIMS, decide
from mec_rllib.experiments.stats import Interval, interval, verdict


def test_the_interval_by_hand():
    # mean 3, standard error 1 / sqrt(3), t(0.975, 2 degrees of freedom) = 4.3027
    mean, low, high = interval([2.0, 3.0, 4.0])
    assert (mean, low, high) == pytest.approx(
        (3, 3 - 4.3027 / 3**0.5, 3 + 4.3027 / 3**0.5), rel=1e-4
    )


def test_one_value_has_no_interval_and_nan_is_no_value():
    assert interval([2.0])[0] == 2.0
    assert np.isnan(interval([2.0])[1])
    assert interval([1.0, float("nan"), 3.0])[0] == 2.0
    assert np.isnan(interval([])[0])


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_interval_covers_a_known_truth_in_95_of_100_experiments(seeds):
    rng = np.random.default_rng(0)
    intervals = [interval(rng.normal(0.7, 0.1, seeds)) for _ in range(4000)]
    assert 0.93 <= np.mean([low <= 0.7 <= high for _, low, high in intervals]) <= 0.97


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (Interval(0.2, 0.1, 0.3), "holds"),
        (Interval(-0.2, -0.3, -0.1), "fails"),
        (Interval(0.1, -0.1, 0.3), "undecided"),
        (Interval(0.1, np.nan, np.nan), "undecided"),
    ],
)
def test_a_claim_is_decided_only_if_the_whole_interval_agrees(difference, expected):
    assert verdict(difference, above=0.0) == expected


def row(strategy, seed, reward):
    metrics = ("reward_lifetime", "reward_last20", "reward_greedy")
    return {"strategy": strategy, "seed": seed} | dict.fromkeys(metrics, reward)


def test_claims_pair_by_seed_and_use_shared_seeds_only():
    # Both vary a lot from seed to seed, their difference does not.
    rows = [row("ats", s, 0.1 * s + 0.05 + 0.001 * (s % 2)) for s in range(6)]
    rows += [row("pts", s, 0.1 * s) for s in range(1, 5)] + [row("pts", 99, 5.0)]
    (claim,) = [c for c in decide(rows) if c["id"] == "ats_above_pts"]
    assert (claim["verdict"], claim["n"]) == ("holds", 4)
    assert claim["estimate"] == pytest.approx(0.0505)


def test_near_means_within_the_margin():
    rows = [row("ats", s, 0.80 + 0.001 * s) for s in range(4)]
    rows += [row("ideal", s, 0.82 + 0.0005 * s) for s in range(4)]
    claims = {c["id"]: c["verdict"] for c in decide(rows)}
    assert claims["ats_near_ideal_lifetime"] == "holds"


def test_claims_without_rows_are_not_decided():
    assert decide([row("ats", 0, 0.5)]) == []


def test_every_claim_has_its_test_written_down():
    page = (Path(__file__).parent.parent / "docs" / "claims.md").read_text()
    for claim in CLAIMS:
        assert f"| `{claim.id}` |" in page
