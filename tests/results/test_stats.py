"""Intervals, verdicts, and claims decided from rows."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from made_up_trials import trial
from scipy import stats
from stored import CONFIGS, SHIPPED_CLAIMS, stored

from mec_rllib.reference.claims import reference
from mec_rllib.results.claims import decide
from mec_rllib.results.stats import (
    ROUNDING,
    Interval,
    all_equal,
    estimate,
    holm,
    interval,
    over_worlds,
    p_value,
    verdict,
)
from mec_rllib.results.stored import TrialResults


def test_the_interval_by_hand():
    # mean 3, standard error 1 / sqrt(3), t(0.975, 2 degrees of freedom) = 4.3027
    mean, low, high = interval([2.0, 3.0, 4.0])
    assert (mean, low, high) == pytest.approx(
        (3, 3 - 4.3027 / 3**0.5, 3 + 4.3027 / 3**0.5), rel=1e-4
    )


def test_the_effect_that_seeds_can_find():
    """t(0.975, 9) + t(0.8, 9) = 2.2622 + 0.8834 standard errors, here of 1 / sqrt(10)."""
    values = np.array([-1.0, 1.0] * 5)
    error = values.std(ddof=1) / 10**0.5
    assert estimate(values).detectable == pytest.approx((2.2622 + 0.8834) * error, rel=1e-4)
    assert np.isnan(estimate([1.0, 1.0]).detectable)


def test_the_power_is_about_80_percent():
    """Of normal samples with that effect, four of five t-tests find it."""
    rng = np.random.default_rng(0)
    samples = rng.normal(3.1456 / 10**0.5, 1.0, (2000, 10))
    found = np.mean([p_value(sample, 0.0) < 0.05 for sample in samples])
    assert found == pytest.approx(0.8, abs=0.04)


def test_one_value_has_no_interval_and_nan_is_no_value():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert interval([2.0])[0] == 2.0
        assert np.isnan(interval([2.0])[1])
        assert np.isnan(p_value([2.0], 0.0))
        assert np.isnan(p_value([2.0, float("nan")], 2.0))
    assert interval([1.0, float("nan"), 3.0])[0] == 2.0
    assert np.isnan(interval([])[0])


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 0.5, 0.5],
        [0.1 + 0.2 - 0.3, 0.0, 0.3 - 0.1 - 0.2],  # equal, but for rounding
        [1e6 * 0.1 * 3, 1e6 * 0.3, None],
        [-0.25],
        [],
    ],
)
def test_values_without_a_spread_decide_nothing(values):
    mean, low, high = interval(values)
    assert np.isnan([low, high, p_value(values, -1.0), p_value(values, 0.0)]).all()
    assert verdict(Interval(mean, low, high), -10.0) == "undecided"


@given(
    st.floats(-100.0, 100.0), st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=8, unique=True)
)
def test_what_differs_by_more_than_rounding_is_not_equal(centre, offsets):
    assume(np.ptp(offsets) > 1e-3)
    assert all_equal(np.full(5, centre) + 1e-14 * np.arange(5) * max(abs(centre), 1.0))
    assert not all_equal(centre + np.array(offsets))
    assert not all_equal([])


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
        (Interval(0.1, 0.0, 0.2), "undecided"),  # it may be no more than the bound
        (Interval(-0.1, -0.2, 0.0), "fails"),  # it is not above the bound
    ],
)
def test_a_claim_is_decided_only_if_the_whole_interval_agrees(difference, expected):
    assert verdict(difference, above=0.0) == expected


AGENTS = {"deployable": "ats"}  # labels that say the agent, not the gate


def claims_of(trials, **config):
    labels = list(dict.fromkeys(t.strategy for t in trials))
    gates = [
        {"gate": AGENTS.get(s, s.split("-")[0]), "label": s} if "-" in s or s in AGENTS else s
        for s in labels
    ]
    study = stored(trials, strategies=gates, claims=list(SHIPPED_CLAIMS.values()), **config)
    return {c["id"]: c for c in decide(study)}


def test_claims_pair_by_seed_and_use_shared_seeds_only():
    # Both vary a lot from seed to seed, their difference does not.
    trials = [trial("ats", s, 0.1 * s + 0.05 + 0.001 * (s % 2)) for s in range(6)]
    trials += [trial("pts", s, 0.1 * s) for s in range(1, 5)] + [trial("pts", 99, 5.0)]
    claim = claims_of(trials)["ats_above_pts"]
    assert (claim["verdict"], claim["n"], claim["holm"]) == ("holds", 4, True)
    assert claim["estimate"] == pytest.approx(0.0505)


def test_near_means_within_the_margin():
    trials = [trial("ats", s, 0.80 + 0.001 * s) for s in range(4)]
    trials += [trial("ideal", s, 0.82 + 0.0005 * s) for s in range(4)]
    assert claims_of(trials)["ats_near_ideal_lifetime"]["verdict"] == "holds"


DIFFERENCES = [c for c in SHIPPED_CLAIMS.values() if c["measure"] == "difference"]


@pytest.mark.parametrize("claim", DIFFERENCES, ids=lambda claim: claim["id"])
def test_a_difference_is_that_of_the_strategies_it_names(claim):
    better, worse = claim["of"]["better"], claim["of"]["worse"]
    strategies = [{"gate": "ats", "label": label} for label in (better, worse)]
    reports = [{"timesteps_total": slot, "reward": {"window": 0.5}} for slot in (50, 150)]
    rewards = {better: 0.8, worse: 0.5}
    trials = [trial(s, seed, rewards[s], reports) for s in rewards for seed in range(3)]
    estimates = []
    for load in (0.9, [[0, 0.1], [100, 0.3]]):  # some are only about one of them
        study = stored(trials, strategies=strategies, claims=[claim], env={"load": load})
        estimates += [c["estimate"] for c in decide(study)]
    assert estimates
    assert estimates == pytest.approx([0.3] * len(estimates))


def test_claims_without_trials_are_not_decided():
    unfinished = TrialResults("pts", 0, [])
    assert set(claims_of([trial("ats", 0, 0.5), unfinished])) == {"ats_trains_little"}


def test_seeds_that_are_all_equal_decide_nothing_and_say_so():
    # Two untrained agents that do the same: every difference is 0, or the same number.
    trials = [trial(s, seed, r) for s, r in (("ats", 0.8), ("sjf", 0.8)) for seed in range(3)]
    claims = claims_of(trials + [trial("ideal", seed, 0.7) for seed in range(3)])
    for claim in (claims["ats_above_sjf_lifetime"], claims["ats_near_ideal_lifetime"]):
        assert (claim["verdict"], claim["note"]) == ("undecided", "all 3 seeds equal")
        assert np.isnan(claim["p"])
        assert not claim["holm"]
    assert claims["ats_near_ideal_lifetime"]["estimate"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.009, 0.010, 0.011], "holds"),
        ([0.029, 0.030, 0.031], "fails"),
        ([0.01, 0.02, 0.03], "undecided"),
    ],
)
def test_a_share_is_below_its_bound_or_not(shares, expected):
    trials = [trial("ats", k, 0.8, share_training=share) for k, share in enumerate(shares)]
    claim = claims_of(trials)["ats_trains_little"]
    assert (claim["verdict"], claim["margin"], claim["is_below"]) == (expected, 0.02, True)
    assert claim["estimate"] == pytest.approx(np.mean(shares))  # the share itself
    assert claim["ci95"][0] < claim["estimate"] < claim["ci95"][1]


def test_seeds_in_which_no_job_was_resolved_are_left_out():
    trials = [trial("ats", seed, r) for seed, r in enumerate((0.8, None, 0.82))]
    trials += [trial("pts", seed, r) for seed, r in enumerate((0.7, 0.7, 0.71))]
    claim = claims_of(trials)["ats_above_pts"]
    assert (claim["n"], claim["estimate"]) == (2, pytest.approx(0.105))
    nothing = [trial(s, seed, None) for s in ("ats", "pts") for seed in range(2)]
    claim = claims_of(nothing)["ats_above_pts"]
    assert (claim["verdict"], claim["n"], claim["note"]) == ("undecided", 0, "no figures")
    assert np.isnan(claim["estimate"])


def test_what_has_no_reward_is_neither_the_best_nor_the_worst():
    trials = [trial("pts-none", seed, None) for seed in range(2)]  # first: max() would keep it
    trials += [trial("pts", seed, 0.7 + 0.01 * seed) for seed in range(2)]
    trials += [trial("ats", seed, 0.8) for seed in range(2)]
    trials += [trial("always", seed, 0.2) for seed in range(2)]
    claims = claims_of(trials)
    assert claims["ats_above_best_pts"]["estimate"] == pytest.approx(0.8 - 0.705)
    assert claims["always_worst"]["estimate"] == pytest.approx(0.705 - 0.2)


def test_the_best_pts_and_the_worst_gate_are_chosen_by_their_means():
    trials = []
    for seed in range(3):
        noise = 0.001 * seed
        trials += [trial("ats", seed, 0.8), trial("pts", seed, 0.7 + noise)]
        trials += [trial("pts-rare", seed, 0.79 + noise), trial("always", seed, 0.2)]
    claims = claims_of(trials)
    assert claims["ats_above_best_pts"]["estimate"] == pytest.approx(0.8 - 0.791)
    assert claims["always_worst"]["estimate"] == pytest.approx(0.701 - 0.2)


@pytest.mark.parametrize("worst", ["pts", "idle", "server_empty", "ats", "budget"])
def test_always_is_judged_against_the_worst_gate_that_pays(worst):
    """Whichever it is; what trains for free, or not at all, is no rival."""
    gates = ["pts", "idle", "server_empty", "ats", "budget"]
    rewards = dict.fromkeys(gates, 0.7) | {worst: 0.6, "always": 0.2, "ideal": 0.1, "never": 0.0}
    trials = [trial(gate, seed, r) for gate, r in rewards.items() for seed in range(2)]
    assert claims_of(trials)["always_worst"]["estimate"] == pytest.approx(0.6 - 0.2)


def test_the_deployable_agent_is_compared_with_the_best_scheduler():
    trials = []
    for seed in range(3):
        noise = 0.001 * seed
        trials += [trial("deployable", seed, 0.8), trial("sjf", seed, 0.7)]
        trials += [trial("edf", seed, 0.78 + noise), trial("pts", seed, 0.9)]
    claim = claims_of(trials)["deployable_not_below_best_rule"]
    assert claim["estimate"] == pytest.approx(0.8 - 0.781)
    assert claim["margin"] == -0.002
    only_one = [t for t in trials if t.strategy != "sjf"]
    assert "deployable_not_below_best_rule" not in claims_of(only_one)


def test_adapting_faster_is_the_gap_after_the_rise_less_the_gap_before():
    def reports(rewards):
        return [
            {"timesteps_total": 100 * (k + 1), "reward": {"window": r}}
            for k, r in enumerate(rewards)
        ]

    trials = []
    for seed in range(2):
        trials.append(trial("ats", seed, 0.5, reports([0.6, 0.6, 0.5, 0.5])))
        trials.append(trial("pts", seed, 0.5, reports([0.5, 0.5, 0.3, float("nan")])))
    load = [[0, 0.1], [200, 0.1], [400, 0.3]]
    assert claims_of(trials, env={"load": load})["ats_blocks_less"]["estimate"] == (
        pytest.approx(0.2 - 0.1)
    )
    assert "ats_blocks_less" not in claims_of(trials)
    assert "ats_blocks_less" not in claims_of(trials, env={"load": [[0, 0.1], [400, 0.3]]})
    # On two servers slot 100 of each is slot 200 of all.
    fleet = {"env": {"load": [[0, 0.1], [100, 0.1], [200, 0.3]]}, "runners": {"servers": 2}}
    assert claims_of(trials, **fleet)["ats_blocks_less"]["estimate"] == pytest.approx(0.2 - 0.1)


def test_the_fallback_acts_after_the_damage_and_lets_go():
    shares = [0.0] * 10 + [1.0] * 10 + [0.0] * 30
    reports = [
        {"timesteps_total": 1000 * (k + 1), "gate": {"fallback_share": share}}
        for k, share in enumerate(shares)
    ]
    trials = [trial("ats-corrupt", seed, 0.5, reports) for seed in range(2)]
    claims = claims_of(trials, learner={"corrupt": {"slot": 10_000}})
    assert claims["fallback_acts"]["estimate"] == 1.0
    assert claims["fallback_lets_go"]["estimate"] == 0.0
    assert not claims_of(trials)  # nothing was damaged


def test_holm_by_hand():
    # 0.01 <= 0.05/4 survives; 0.03 > 0.05/3 stops all that follow.
    assert holm([0.04, 0.01, 0.03, 0.9]) == [False, True, False, False]
    assert holm([0.001, 0.02, float("nan")]) == [True, True, False]


@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=12, unique=True), st.floats(-1.0, 1.0))
def test_interval_and_p_value_are_those_of_scipy(values, above):
    assume(np.ptp(values) > 1e-6)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert interval(values)[1:] == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert p_value(values, above) == pytest.approx(stats.ttest_1samp(values, above).pvalue)


def test_the_p_value_agrees_with_the_interval():
    rng = np.random.default_rng(1)
    for _ in range(200):
        values = rng.normal(0.5, 1.0, 5)
        _, low, high = interval(values)
        assert (p_value(values, 0.0) < 0.05) == (low > 0 or high < 0)


SEEDS = st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=6, unique=True)


@given(SEEDS, SEEDS, st.floats(-0.5, 0.5))
def test_the_mean_over_two_worlds_is_welch_s_test(first, second, above):
    assume(min(np.ptp(first), np.ptp(second)) > 1e-3)
    found = over_worlds([first, second])
    # (a + b) / 2 > c is a > 2c - b.
    welch = stats.ttest_ind(first, 2 * above - np.array(second), equal_var=False)
    low, high = welch.confidence_interval(0.95)
    assert found.interval == pytest.approx(
        (np.mean([np.mean(first), np.mean(second)]), above + low / 2, above + high / 2), rel=1e-6
    )
    assert found.p_value(above) == pytest.approx(welch.pvalue, rel=1e-6, abs=1e-12)


def test_the_mean_over_three_worlds_by_hand():
    # s^2/n: 1/3, 1/4 and 4/3 (n = 3, 2, 3); their sum is 23/12.
    found = over_worlds([[2.0, 3.0, 4.0], [0.0, np.nan, 1.0], [5.0, 7.0, 9.0]])
    assert found.mean == pytest.approx((3 + 0.5 + 7) / 3)
    assert found.error == pytest.approx((23 / 12) ** 0.5 / 3)
    assert found.degrees == pytest.approx((23 / 12) ** 2 / (1 / 18 + 1 / 16 + 16 / 18))


def test_one_world_is_an_experiment_and_how_far_worlds_are_apart_does_not_count():
    values = [[0.1, 0.3, 0.2], [0.5, 0.4, 0.7]]
    assert over_worlds(values[:1]) == pytest.approx(estimate(values[0]))
    far = over_worlds([values[0], np.array(values[1]) + 10.0])
    near = over_worlds(values)
    assert far.mean == pytest.approx(near.mean + 5.0)
    assert (far.error, far.degrees) == pytest.approx((near.error, near.degrees))


@pytest.mark.parametrize("world", [[], [np.nan], [0.5], [0.5, 0.5]])
def test_a_world_without_a_spread_leaves_no_interval(world):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = over_worlds([[0.1, 0.2, 0.4], world])
        assert np.isnan([*found.interval[1:], found.p_value(0.0)]).all()
        assert np.isnan(found.mean) == (0.5 not in world)  # two worlds: one mean is not theirs
        assert np.isnan(over_worlds([])).all()


def test_the_interval_over_worlds_covers_a_known_truth_in_95_of_100_suites():
    rng, covered = np.random.default_rng(0), []
    for _ in range(4000):  # worlds that differ in mean, spread and number of seeds
        worlds = [
            rng.normal(m, s, n) for m, s, n in ((0.9, 0.2, 3), (0.1, 0.05, 10), (0.5, 0.1, 5))
        ]
        _, low, high = over_worlds(worlds).interval
        covered.append(low <= 0.5 <= high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_a_difference_may_depend_on_the_load():
    trials = [trial(s, k, r) for s, r in (("ats", 0.8), ("pts", 0.5)) for k in range(3)]
    of = {"better": "ats", "worse": "pts"}
    decided = {}
    for load in (0.3, 0.6, [[0, 0.1], [100, 0.6]]):
        for extra in ({"load_at_least": 0.6}, {"load_changes": True}):
            claim = {"id": "c", "text": "t", "measure": "difference", "of": of | extra}
            study = stored(trials, strategies=["ats", "pts"], claims=[claim], env={"load": load})
            decided[str(load), *extra] = len(decide(study))
    assert [key for key, n in decided.items() if n] == [
        ("0.6", "load_at_least"),
        ("[[0, 0.1], [100, 0.6]]", "load_changes"),
    ]


def test_the_page_of_claims_is_that_of_the_experiments():
    page = CONFIGS.parent / "docs" / "claims.md"
    assert page.read_text() == reference(CONFIGS), "run `make docs`"


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6, -1e6])
def test_equal_is_what_rounding_makes_of_one_value(size):
    """Relative to the values where they are above 1, else to 1: rewards are about as large."""
    step = ROUNDING * max(1.0, abs(size))
    assert all_equal([size, size + 0.9 * step])
    assert not all_equal([size, size + 1.2 * step])
