"""Reward against training share: the front, against an oracle that looks at every pair."""

from hypothesis import given, settings
from hypothesis import strategies as st
from stored import stored, trial

from mec_rllib.results.tables import front_section
from mec_rllib.results.trade_off import pareto_front, trade_off

FEW = st.integers(0, 4).map(float)  # few values: many ties


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(FEW, FEW), max_size=12))
def test_the_front_is_what_no_other_point_beats(points):
    beats = lambda a, b: a[0] <= b[0] and a[1] >= b[1] and a != b  # noqa: E731
    expected = [not any(beats(other, point) for other in points) for point in points]
    assert pareto_front([c for c, _ in points], [g for _, g in points]) == expected


def test_points_are_means_over_seeds_of_the_gates_that_pay():
    figures = {  # training, R: of two seeds
        "ats": ((0.01, 0.8), (0.03, 0.9)),
        "pts": ((0.02, 0.7), (0.02, 0.7)),
        "never": ((0.0, 0.1), (0.0, 0.2)),
        "ideal": ((0.0, 0.9), (0.0, 0.9)),
        "sjf": ((0.0, 0.8), (0.0, 0.8)),
    }
    trials = [
        trial(strategy, seed, share_training=share, reward_lifetime=reward)
        for strategy, seeds in figures.items()
        for seed, (share, reward) in enumerate(seeds)
    ]
    points = trade_off(stored(trials, strategies=list(figures), seeds=[0, 1]))
    assert [(p.strategy, p.n, p.on_front) for p in points] == [
        ("never", 2, True),
        ("ats", 2, True),
        ("pts", 2, False),
    ]
    assert [round(p.reward.mean, 6) for p in points] == [0.15, 0.85, 0.7]


def test_a_point_counts_the_seeds_that_have_a_reward():
    rewards = {"ats": (0.8, None), "pts": (0.7, 0.6), "always": (0.5, 0.6), "idle": (None, None)}
    trials = [
        trial(strategy, seed, share_training=0.01 * (seed + 1), reward_lifetime=reward)
        for strategy, seeds in rewards.items()
        for seed, reward in enumerate(seeds)
    ]
    points = trade_off(stored(trials, strategies=list(rewards), seeds=[0, 1]))
    assert {p.strategy: (p.n, p.share.mean) for p in points} == {
        "ats": (1, 0.01),  # the share is that of the seed whose reward counts
        "pts": (2, 0.015),
        "always": (2, 0.015),
    }
    assert "one seed" in front_section(points).note
    assert "one seed" not in front_section([p for p in points if p.n == 2]).note


def test_two_gates_are_no_trade_off():
    assert trade_off(stored([trial("ats"), trial("pts")], strategies=["ats", "pts"])) == []
