"""How jobs are drawn and written down, against scipy and by hand; what is refused."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mec_rllib.sim.jobs import REFERENCE_CLASSES, JobClass
from mec_rllib.sim.workloads import (
    BernoulliWorkload,
    LoadSchedule,
    ScriptedWorkload,
    _binomial_arrivals,
    of_seed,
)

ONE = JobClass("one", 1.0, ((1, 3),), (2, 4), (0, 5), 2.0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.lists(st.sampled_from([0.0, 1e-6, 0.03, 0.5, 0.97, 1.0]), min_size=1, max_size=40),
)
def test_arrivals_are_binomial_by_inversion(seed, users, chances):
    fire = np.array(chances)
    offsets = _binomial_arrivals(np.random.default_rng(seed), fire, (1 - fire) ** users, users)
    drawn = np.random.default_rng(seed).random(len(fire))
    expected = stats.binom.ppf(drawn, users, fire).astype(int)
    np.testing.assert_array_equal(np.bincount(offsets, minlength=len(fire)), expected)
    assert np.all(np.diff(offsets) >= 0)


def test_a_job_is_drawn_evenly_from_the_ranges_of_its_class():
    classes = [ONE, replace(ONE, name="two", mix=3.0, execution=(5, 5), weight=1.0)]
    jobs = BernoulliWorkload(classes, 5.0).arrivals(np.random.default_rng(0), 0, 10_000)
    assert len(jobs.arrival) > 5000
    assert np.mean(jobs.job_class == 1) == pytest.approx(0.75, abs=0.02)
    for column, values in ((jobs.requirement[:, 0], range(1, 4)), (jobs.slack, range(6))):
        shares = np.bincount(column, minlength=max(values) + 1) / len(column)
        np.testing.assert_allclose(shares[list(values)], 1 / len(values), atol=0.02)
        assert shares[list(values)].sum() == pytest.approx(1.0)
    of_one = jobs.execution[jobs.job_class == 0]
    np.testing.assert_allclose(np.bincount(of_one)[2:] / len(of_one), 1 / 3, atol=0.03)
    assert set(jobs.execution[jobs.job_class == 1]) == {5}
    np.testing.assert_array_equal(jobs.weight, np.where(jobs.job_class == 0, 2.0, 1.0))


def test_what_a_workload_says_of_its_jobs():
    two = replace(ONE, name="two", execution=(1, 9), slack=(3, 8), weight=0.5)
    workload = BernoulliWorkload([ONE, two], 0.3, (10,), users=7)
    assert (workload.class_names, workload.capacity) == (("one", "two"), (10,))
    assert (workload.max_execution, workload.max_slack, workload.max_weight) == (9, 8, 2.0)
    assert workload.length is None
    assert workload.users == 7


@pytest.mark.parametrize("chunks", [[0, 100], [50, 150], [0, 30, 100], [100, 200]])
def test_chances_are_those_of_the_slots_asked_for(chunks):
    """Half of what is offered until slot 100; whatever was asked for before."""
    workload = BernoulliWorkload(REFERENCE_CLASSES, [[0, 0.1], [100, 2.0]])
    workload.arrivals(np.random.default_rng(9), 0, 1024)
    for start, stop in pairwise(chunks):
        fresh = BernoulliWorkload(REFERENCE_CLASSES, [[0, 0.1], [100, 2.0]])
        found, expected = (
            w.arrivals(np.random.default_rng(4), start, stop) for w in (workload, fresh)
        )
        np.testing.assert_array_equal(found.arrival, expected.arrival)
        assert ((found.arrival >= start) & (found.arrival < stop)).all()
        loads = np.interp(range(start, stop), [0, 100], [0.1, 2.0])
        np.testing.assert_allclose(workload.job_rate(np.arange(start, stop)), loads / 2.415)


def test_a_load_schedule_by_hand():
    schedule = LoadSchedule([[10, 0.2], [20, 0.4], [21, 0.1]])
    slots = np.array([0, 10, 15, 20, 21, 1000])
    np.testing.assert_allclose(schedule.at(slots), [0.2, 0.2, 0.3, 0.4, 0.1, 0.1])
    for load in (0.3, 1):
        np.testing.assert_array_equal(LoadSchedule(load).at(slots), load)
    with pytest.raises(ValueError, match="must rise"):
        LoadSchedule([[5, 0.2], [5, 0.4]])
    for slot in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="must rise"):
            LoadSchedule([[0, 0.2], [slot, 0.4]])
    for load in (0.0, -0.1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="must be above 0 and finite"):
            LoadSchedule([[0, 0.2], [5, load]])


def test_scripted_jobs_by_hand():
    jobs = [(5, (1, 2), 3, 4, 2.5, 2), (0, 2, 7, 1, 1.0), (5, 1, 1, 9, 0.5)]
    workload = ScriptedWorkload(jobs, (4, 2))
    found = workload.arrivals(np.random.default_rng(), 0, 6)
    assert found.arrival.tolist() == [0, 5, 5]
    assert found.requirement.tolist() == [[2, 2], [1, 2], [1, 1]]
    assert found.execution.tolist() == [7, 3, 1]
    assert found.slack.tolist() == [1, 4, 9]
    assert found.weight.tolist() == [1.0, 2.5, 0.5]
    assert found.job_class.tolist() == [0, 2, 0]
    assert workload.class_names == ("class0", "class1", "class2")
    assert (workload.max_execution, workload.max_slack, workload.max_weight) == (7, 9, 2.5)
    assert workload.length == 6
    for start, stop, count in ((0, 5, 1), (1, 5, 0), (5, 6, 2), (6, 99, 0)):
        assert len(workload.arrivals(np.random.default_rng(), start, stop).arrival) == count
    with pytest.raises(ValueError, match="more than the capacity"):
        ScriptedWorkload([(0, (1, 3), 1, 1, 1.0)], (4, 2))


def test_an_empty_script_is_a_workload_too():
    workload = ScriptedWorkload([], (4, 2))
    assert workload.class_names == ("class0",)
    assert (workload.max_execution, workload.max_slack, workload.max_weight) == (1, 0, 1.0)
    assert workload.length == 1
    assert workload.jobs.requirement.shape == (0, 2)


def test_a_workload_without_a_seed_is_the_same_for_all():
    workload = ScriptedWorkload([])
    assert of_seed(workload, 3) is workload


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resources": ((1, 3), (1, 1))}, "2 resource kinds, but the capacity has 1"),
        ({"resources": ((1, 11),)}, "asks for up to 11 units, the capacity is 10"),
        ({"resources": ((-1, 3),)}, r"resources \[-1, 3\] is no range"),
        ({"resources": ((4, 3),)}, r"resources \[4, 3\] is no range"),
        ({"resources": ((0, 3),)}, "at least one resource kind must be needed"),
        ({"execution": (0, 3)}, r"execution \[0, 3\] is no range from 1 up"),
        ({"execution": (4, 3)}, r"execution \[4, 3\] is no range from 1 up"),
        ({"slack": (-1, 3)}, r"slack \[-1, 3\] is no range from 0 up"),
        ({"slack": (4, 3)}, r"slack \[4, 3\] is no range from 0 up"),
        ({"weight": 0.0}, "weight must be above 0 and finite, not 0"),
        ({"weight": np.inf}, "weight must be above 0 and finite, not inf"),
        ({"mix": -1.0}, "the mix of the classes must be finite"),
        ({"mix": np.nan}, "the mix of the classes must be finite"),
        ({"mix": 0.0}, "not all zero"),
    ],
)
def test_classes_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        BernoulliWorkload([replace(ONE, **changes)])
    if "mix" not in changes:
        with pytest.raises(ValueError, match=message):
            BernoulliWorkload([ONE, replace(ONE, **changes)])


def test_classes_at_the_bounds_are_taken():
    bounds = replace(ONE, resources=((10, 10),), execution=(1, 1), slack=(0, 0), mix=0.5)
    BernoulliWorkload([bounds, replace(ONE, mix=0.0)])
    BernoulliWorkload([replace(ONE, resources=((0, 3), (1, 1)))], 0.3, (10, 1))
    with pytest.raises(ValueError, match="classes must not be empty"):
        BernoulliWorkload([])


def test_the_load_that_users_can_bring_is_bounded():
    """One user, work 2 * 3 = 6 units a job, 10 units: a job in every slot is load 0.6."""
    BernoulliWorkload([ONE], 0.6, users=1)
    jobs = BernoulliWorkload([ONE], 0.6, users=1).arrivals(np.random.default_rng(0), 3, 8)
    assert jobs.arrival.tolist() == [3, 4, 5, 6, 7]
    with pytest.raises(ValueError, match=r"at most load 0\.6, or more users"):
        BernoulliWorkload([ONE], 0.601, users=1)
    with pytest.raises(ValueError, match=r"at most load 0\.6, or more users"):
        BernoulliWorkload([ONE], [[0, 0.1], [9, 0.601]], users=1)
