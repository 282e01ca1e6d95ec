"""Phases of bursts, by hand."""

from math import comb

import numpy as np
import pytest

from mec_rllib.sim.bursts import Bursts
from mec_rllib.sim.jobs import REFERENCE_CLASSES
from mec_rllib.sim.workloads import BernoulliWorkload


class Scripted:
    """A generator that draws what is written down, and notes the chances asked for."""

    def __init__(self, first, lengths):
        self._first, self._lengths, self.chances = first, list(lengths), []

    def random(self):
        return self._first

    def geometric(self, chance):
        self.chances.append(chance)
        return self._lengths.pop(0)


def test_phases_by_hand():
    """Busy for 2 of 6 slots, three times as many jobs: 0.6 and 1.8 of the mean."""
    bursts = Bursts(factor=3, slots=2, every=6)
    assert (bursts.calm, bursts.busy) == pytest.approx((0.6, 1.8))
    rng = Scripted(0.33, [2, 3, 5])
    np.testing.assert_allclose(bursts.rates(rng, 7), [1.8] * 2 + [0.6] * 3 + [1.8] * 2)
    assert rng.chances == [1 / 2, 1 / 4, 1 / 2]
    rng = Scripted(1 / 3, [2, 3])
    np.testing.assert_allclose(bursts.rates(rng, 5), [0.6] * 2 + [1.8] * 3)
    assert rng.chances == [1 / 4, 1 / 2]


@pytest.mark.parametrize("factor", [1, 4])
def test_the_mean_load_stays(factor):
    bursts = Bursts(factor=factor, slots=10, every=50)
    assert 0.2 * bursts.busy + 0.8 * bursts.calm == pytest.approx(1.0)
    assert bursts.busy == pytest.approx(factor * bursts.calm)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((4, 0.9, 50), r"bursts.slots \(0.9\) must be at least 1"),
        ((4, 50, 50.9), r"bursts.every \(50.9\) at least 1 more"),
        ((0.9, 50, 250), "bursts.factor must be at least 1, not 0.9"),
    ],
)
def test_phases_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Bursts(*values)


def test_the_shortest_phases_are_taken():
    assert Bursts(1, 1, 2).calm == 1.0


def test_jobs_come_as_often_as_their_phase_says():
    """The same draws as a workload with that load, slot by slot."""
    bursts, slots = Bursts(factor=4, slots=5, every=20), 200
    jobs = BernoulliWorkload(REFERENCE_CLASSES, 0.4, bursts=bursts).arrivals(
        np.random.default_rng(3), 0, slots
    )
    rng = np.random.default_rng(3)
    rates = bursts.rates(rng, slots)
    arrived = []
    plain = BernoulliWorkload(REFERENCE_CLASSES, 0.4)
    chances = plain.job_rate(np.arange(slots)) / 20 * rates
    for slot, u in enumerate(rng.random(slots)):
        below, k = 0.0, 0
        while True:  # the binomial distribution, added up
            below += comb(20, k) * chances[slot] ** k * (1 - chances[slot]) ** (20 - k)
            if u < below:
                break
            k += 1
        arrived += [slot] * k
    assert jobs.arrival.tolist() == arrived
    assert len(set(rates)) == 2


def test_a_busy_phase_must_not_ask_more_of_a_user_than_a_job_a_slot():
    """20 users, each at most one job: lambda below 20 at load 48.3; a busy phase has 2.5 times."""
    most = 20 * 24.15 / 10
    BernoulliWorkload(REFERENCE_CLASSES, most * 0.999)
    bursts = Bursts(4, 50, 250)
    assert bursts.busy == 2.5
    BernoulliWorkload(REFERENCE_CLASSES, most * 0.999 / 2.5, bursts=bursts)
    for load, phases in ((most * 1.001, None), (most * 1.001 / 2.5, bursts)):
        with pytest.raises(ValueError, match="or more users"):
            BernoulliWorkload(REFERENCE_CLASSES, load, bursts=phases)
