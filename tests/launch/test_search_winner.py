"""Which sample of a search wins: hand-made samples of a scheduler and of a gate."""

import pytest

from mec_rllib.config.experiment import Experiment
from mec_rllib.config.strategies import resolve
from mec_rllib.launch.search.search import _sampled
from mec_rllib.launch.search.winner import pick_winner

EXPERIMENT = Experiment(strategies=["reservation", "sjf"], seeds=[0])


def pick(*tried, experiment=EXPERIMENT, key="args.reserve", **others):
    """The winner of samples (value, R), named after their places."""
    samples = [
        {"name": f"sample_{k}", "values": {key: value}, "reward_lifetime": reward}
        | {"is_complete": True, "error": None, **others}
        for k, (value, reward) in enumerate(tried)
    ]
    study = resolve(experiment)
    made = [(sample, _sampled(study, sample["values"])) for sample in samples]
    return pick_winner(study.strategies[0], made)


def test_the_highest_reward_wins():
    winner = pick((3, 0.5), (4, 0.7), (5, 0.6))
    assert (winner.sample["values"], winner.note) == ({"args.reserve": 4}, "")


def test_samples_that_tie_are_named_as_such_and_the_first_is_taken():
    winner = pick((9, 0.5), (5, 0.75), (8, 0.75), (4, 0.75 + 1e-15))  # but for rounding
    assert winner.sample["name"] == "sample_1"
    assert winner.ties == ["sample_1", "sample_2", "sample_3"]
    assert "3 samples tie at R 0.75" in winner.note


def test_of_samples_that_tie_the_untuned_one_is_taken():
    winner = pick((5, 0.75), (3, 0.75))  # 3: what Reservation takes where nothing is said
    assert winner.sample["values"] == {"args.reserve": 3}
    assert "sample_1 is taken" in winner.note
    gate = Experiment(strategies=["pts"], seeds=[0])
    winner = pick((50, 0.75), (100, 0.75), experiment=gate, key="gate.period")
    assert winner.sample["values"] == {"gate.period": 100}


def test_a_sample_that_was_drawn_twice_does_not_tie_with_itself():
    winner = pick((5, 0.75), (5, 0.75))
    assert (winner.ties, winner.note) == (["sample_0"], "")


@pytest.mark.parametrize(
    "samples", [{"is_complete": False}, {"error": "lost"}, {"reward_lifetime": None}]
)
def test_without_a_reward_nobody_wins(samples):
    assert pick((5, 0.75), (6, 0.8), **samples) is None
    assert pick() is None
