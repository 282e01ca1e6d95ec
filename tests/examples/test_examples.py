"""Every example runs, and says what it promises."""

import math

import pytest

from examples import from_python, own_network, own_workload, read_results, stock_rllib


def test_gates_are_compared_from_python_and_read_back():
    results = from_python.main(slots=1_500, seeds=(0, 1))
    assert len(results.rows()) == 6
    compared = results.compare("ats", "pts")
    assert compared["n"] == 2
    curves = read_results.main(str(results.folder))
    assert list(curves.columns) == ["ats", "pts", "reservation"]
    assert len(curves) == 100


def test_a_workload_of_ones_own_is_played():
    rows = own_workload.main(slots=2_000).rows()
    assert list(rows["strategy"]) == ["sjf", "edf", "idle"]
    assert (rows["jobs_arrived"] > 400).all()
    assert rows["jobs_arrived"].nunique() == 1  # the same jobs for all


@pytest.mark.ray
def test_a_network_of_ones_own_learns():
    found = own_network.main(slots=1_500, width=16)
    assert found["updates"] > 0
    assert math.isfinite(found["reward"])


@pytest.mark.ray
def test_rllib_plays_the_environment():
    assert stock_rllib.main(iterations=2)["num_env_steps_sampled_lifetime"] > 0


def test_stable_baselines_plays_the_environment():
    pytest.importorskip("sb3_contrib")
    from examples import stable_baselines

    assert -1.0 <= stable_baselines.main(slots=128, servers=2) <= 1.0
