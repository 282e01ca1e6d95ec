"""Block bootstrap over time: what another stretch of a recording might have brought."""

import numpy as np
import pytest
from made_up_trials import trial
from stored import stored

from mec_rllib.results.luck import luck_section, over_time


def test_neighbours_that_are_alike_widen_the_interval():
    """Half of the time 1, half of it 0: in blocks, the share of either is luck."""
    alike = np.repeat([1.0, 0.0], 50)
    mixed = np.tile([1.0, 0.0], 50)
    long, short = over_time(alike), over_time(mixed)
    assert long.mean == short.mean == 0.5
    assert long.high - long.low > 0.4
    assert short.high - short.low < 0.01  # a block of ten has five of each


def test_independent_values_have_about_the_interval_of_their_mean():
    """Of white noise the interval is about 2 x 1.96 standard errors, a little less in blocks."""
    rng = np.random.default_rng(1)
    widths = [np.diff(over_time(rng.normal(size=100), block=0.01)[1:])[0] for _ in range(40)]
    assert np.mean(widths) == pytest.approx(2 * 1.96 / 10, rel=0.1)


def test_what_is_missing_is_left_out():
    assert over_time([0.5, np.nan, 0.5] * 4) == (0.5, 0.5, 0.5)
    assert over_time([0.5, np.nan]).mean == 0.5
    assert np.isnan(over_time([0.5, np.nan]).low)
    assert np.isnan(over_time([np.nan]).mean)


@pytest.mark.parametrize(("workload", "rows"), [("trace", 1), ("bernoulli", 0)])
def test_it_is_for_traces_and_for_claims_over_the_lifetime(workload, rows):
    def reports(reward):
        return [
            {"timesteps_total": k, "reward": {"window": reward + 0.1 * (k % 2)}} for k in range(20)
        ]

    trials = [trial("ats", s, 0.5, reports(0.5)) for s in (0, 1)]
    trials += [trial("sjf", s, 0.3, reports(0.3)) for s in (0, 1)]
    of = {"better": "ats", "worse": "sjf"}
    claims = [
        {"id": "a", "text": "over all", "measure": "difference", "of": of},
        {"id": "b", "text": "x", "measure": "difference", "of": of | {"metric": "reward_greedy"}},
        {"id": "c", "text": "x", "measure": "training_share", "of": {"strategy": "ats"}},
    ]
    trace = {"trace": {"path": "made:edge_day"}} if workload == "trace" else {}
    study = stored(
        trials, strategies=["ats", "sjf"], claims=claims, env={"workload": workload} | trace
    )
    found = luck_section(study).rows
    assert found == [["over all", "+0.200", "[+0.200, +0.200]"]][:rows]
