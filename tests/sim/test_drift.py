"""Worlds that drift: what changes, what stays, and whose they are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.envs.afterstates import AfterstateEncoder
from mec_rllib.envs.config import EnvConfig
from mec_rllib.schedulers import SJF, RandomScheduler
from mec_rllib.sim.bursts import Bursts
from mec_rllib.sim.drift import DriftWorkload
from mec_rllib.sim.jobs import REFERENCE_CLASSES
from mec_rllib.sim.reference import ReferenceServer
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.workloads import BernoulliWorkload, ScriptedWorkload

SEEDS = st.integers(0, 2**32)


def assert_same(jobs, others):
    for column, other in zip(jobs, others, strict=True):
        np.testing.assert_array_equal(column, other)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SEEDS)
def test_a_world_changes_weights_mix_and_slack_and_keeps_sizes(seed):
    worlds = DriftWorkload(REFERENCE_CLASSES).of_seed(seed).worlds
    assert worlds[0].classes == REFERENCE_CLASSES
    for before, world in pairwise(worlds):
        weights = [c.weight for c in world.classes]
        assert weights != [c.weight for c in before.classes]
        assert sorted(weights) == [1, 2, 4]
        assert sum(c.mix for c in world.classes) == pytest.approx(1.0)
        for c, reference in zip(world.classes, REFERENCE_CLASSES, strict=True):
            assert (c.resources, c.execution) == (reference.resources, reference.execution)
            for slack, given_slack in zip(c.slack, reference.slack, strict=True):
                assert given_slack // 2 <= slack <= 2 * given_slack


@pytest.mark.compiled
@settings(max_examples=10, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 7), st.sampled_from([0.3, 0.6, 0.9]))
def test_every_world_offers_the_load(seed, world, load):
    slots = 200_000
    workload = DriftWorkload(REFERENCE_CLASSES, load, slots=slots, first=world).of_seed(seed)
    jobs = workload.arrivals(np.random.default_rng(seed), 0, slots)
    work = float((jobs.requirement[:, 0] * jobs.execution).sum())
    assert work / (10 * slots) == pytest.approx(load, rel=0.03)


def test_worlds_follow_one_another_and_the_last_one_stays():
    workload = DriftWorkload(REFERENCE_CLASSES, 0.9, worlds=3, slots=1000).of_seed(5)
    jobs = workload.arrivals(np.random.default_rng(0), 500, 5000)
    assert np.all(np.diff(jobs.arrival) >= 0)
    for slot, world in ((999, 0), (1000, 1), (1999, 1), (2000, 2), (4999, 2)):
        assert workload.world_at(slot) == world
    for k, world in enumerate(workload.worlds):
        start, stop = 1000 * k, 1000 * (k + 1) if k < 2 else 5000
        mine = jobs.take(np.flatnonzero((jobs.arrival >= start) & (jobs.arrival < stop)))
        assert len(mine.arrival) > 50
        np.testing.assert_array_equal(
            mine.weight, np.array([c.weight for c in world.classes])[mine.job_class]
        )


def test_the_first_world_is_the_workload_that_is_given():
    drift = DriftWorkload(REFERENCE_CLASSES, 0.6).of_seed(7)
    given_workload = BernoulliWorkload(REFERENCE_CLASSES, 0.6)
    assert_same(*(w.arrivals(np.random.default_rng(1), 0, 1024) for w in (drift, given_workload)))


def small_servers(servers=1, seed=0, **drift):
    return small_env(**drift).build_servers(servers, seed)


def small_env(**drift):
    return EnvConfig(workload="drift", load=0.9, drift={"worlds": 4, "slots": 700} | drift)


def arrived(batch, scheduler, slots=3000):
    for _ in range(slots):
        batch.step(scheduler.select(batch))
    return batch.tally.jobs[:, :, 0]


@pytest.mark.compiled
def test_a_seed_brings_the_same_worlds_and_jobs_whatever_is_done_and_however_many_servers():
    alone = arrived(small_servers(1, seed=3), SJF())
    np.testing.assert_array_equal(alone, arrived(small_servers(1, seed=3), RandomScheduler()))
    np.testing.assert_array_equal(alone[0], arrived(small_servers(5, seed=3), SJF())[0])
    assert (alone != arrived(small_servers(1, seed=4), SJF())).any()
    batch = small_servers(1, seed=0)
    batch.reset(3)  # as a runner does
    np.testing.assert_array_equal(alone, arrived(batch, SJF()))


def test_the_reference_server_sees_the_same_jobs():
    batch = small_servers(1, seed=0)
    reference = ReferenceServer.like(batch, 0, seed=9)
    batch.reset(9)
    for _ in range(2500):
        terms, _ = reference.step(1)
        batch.step(np.array([1]))
        assert tuple(batch.reward_terms[0]) == terms


def test_a_restored_server_is_in_the_worlds_of_its_seed():
    batch, other = small_servers(seed=3), small_servers(seed=8)
    arrived(batch, SJF(), 500)
    other.set_state(batch.get_state())
    np.testing.assert_array_equal(arrived(batch, SJF()), arrived(other, SJF()))


def test_worlds_may_have_a_seed_of_their_own():
    env = small_env(seed=5)
    one, other = (env.build_servers(1, seed).workload.worlds for seed in (1, 2))
    assert [w.classes for w in one] == [w.classes for w in other]


@pytest.mark.parametrize(("slots", "world"), [(700, 0), (701, 1), (1500, 2), (9000, 3)])
def test_a_policy_is_judged_in_the_world_that_it_ended_in(slots, world):
    ended = small_env().at_the_end(slots, seed=6)
    judged = ended.build_servers(1, seed=2**31).workload
    expected = small_servers(seed=6).workload.worlds[world]
    assert {judged.world_at(slot) for slot in (0, 700, 10**6)} == {world}
    assert judged.worlds[world].classes == expected.classes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"drift": {"first": 8}}, "drift.first is 8, but the worlds are 0..7"),
        ({"users": 1, "load": 0.9}, "at most load 0.525, or more users"),  # all critical jobs
        (
            {"classes": [EnvConfig().classes[0].model_dump() | {"name": name} for name in "ab"]},
            "the classes need two different ones",
        ),
    ],
)
def test_worlds_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        EnvConfig(workload="drift", **values).build_workload()


def hiding(batch):
    encoder = AfterstateEncoder(batch, hide_weights=True)
    return encoder.encode().reshape(batch.num_servers, batch.buffer + 1, encoder.features + 1)


def test_an_agent_that_is_not_told_the_weights_sees_nothing_of_them():
    batch = EnvConfig(load=0.9).build_servers(30, seed=2)
    arrived(batch, SJF(), 300)
    seen = hiding(batch)
    batch.servers.weight[:] = 7.0
    np.testing.assert_array_equal(hiding(batch), seen)
    assert not seen[..., 0].any()  # nor the certain reward


@pytest.mark.compiled
def test_what_happens_to_each_class_is_the_certain_reward_once_the_weights_are_known():
    batch = EnvConfig(load=0.9).build_servers(30, seed=2)
    encoder, weights = AfterstateEncoder(batch), np.array([4.0, 2.0, 1.0]) / 4.0
    for _ in range(300):
        told = encoder.encode().reshape(30, batch.buffer + 1, encoder.features + 1)
        np.testing.assert_allclose(hiding(batch)[..., -5:-2] @ weights, told[..., 0], atol=1e-6)
        batch.step(SJF().select(batch))


def test_jobs_are_pooled_by_class_where_weights_are_hidden():
    """Classes 0 and 1, each one job of 4 units for 2 slots; slack 3, so 2 slots are left."""
    jobs = [(0, 4, 2, 3, 9.0, 0), (0, 4, 2, 3, 1.0, 1)]
    batch = ServerBatch(ScriptedWorkload(jobs), buffer=2)
    nothing = hiding(batch)[0, 0]
    row = [1 / 4, np.log(1 + 0.8) / np.log(11), 1 / 3, 1, np.log(3) / np.log(4), 0.4]
    np.testing.assert_allclose(nothing[16:28], row * 2, rtol=1e-6)
    np.testing.assert_allclose(nothing[28:], [0, 0, 1, 0], rtol=1e-6)


def test_what_a_drifting_workload_says_of_its_jobs():
    """Slack may double in any world: that of the longest is 120."""
    drift = DriftWorkload(REFERENCE_CLASSES, 0.4, slots=100)
    assert (drift.class_names, drift.capacity) == (("critical", "interactive", "elastic"), (10,))
    assert (drift.max_execution, drift.max_slack, drift.max_weight) == (25, 240, 4.0)
    assert len(drift.worlds) == 8
    assert drift.length is None
    assert [drift.world_at(slot) for slot in (0, 99, 100, 799, 10**9)] == [0, 0, 1, 7, 7]
    later = DriftWorkload(REFERENCE_CLASSES, 0.4, slots=100, first=6)
    assert [later.world_at(slot) for slot in (0, 99, 100, 300)] == [6, 6, 7, 7]


@pytest.mark.parametrize(("start", "stop"), [(0, 100), (50, 60), (100, 200), (99, 301), (250, 900)])
def test_jobs_are_those_of_one_world_after_the_other(start, stop):
    """Worlds of 100 slots, drawn from one generator in turn; the fourth one is the last."""
    drift = DriftWorkload(REFERENCE_CLASSES, 0.9, worlds=4, slots=100).of_seed(2)
    jobs = drift.arrivals(np.random.default_rng(1), start, stop)
    rng, expected = np.random.default_rng(1), []
    while start < stop:
        end = min((start // 100 + 1) * 100, stop)
        expected.append(drift.worlds[min(start // 100, 3)].arrivals(rng, start, end))
        start = end
    assert_same(jobs, (np.concatenate(columns) for columns in zip(*expected, strict=True)))


def test_slacks_are_scaled_evenly_in_logarithms_and_mixes_are_even_on_average():
    slack, mix = [], []
    for seed in range(150):
        for world in DriftWorkload(REFERENCE_CLASSES).of_seed(seed).worlds[1:]:
            slack.append(np.log2(world.classes[2].slack[1] / 120))
            mix.append([c.mix for c in world.classes])
    assert np.mean(slack) == pytest.approx(0.0, abs=0.06)
    assert np.std(slack) == pytest.approx(2 / 12**0.5, rel=0.05)  # uniform in [-1, 1]
    np.testing.assert_allclose(np.mean(mix, axis=0), 1 / 3, atol=0.02)
    np.testing.assert_allclose(np.var(mix, axis=0), 2 / 63, rtol=0.15)  # of Dirichlet(2, 2, 2)


def test_a_world_offers_the_load_whatever_its_mix():
    """Rate times mean work, by the means of the ranges."""
    for world in DriftWorkload(REFERENCE_CLASSES, 0.6).of_seed(4).worlds:
        work = sum(
            c.mix * np.mean(c.resources[0]) * np.mean(c.execution) for c in world.classes
        ) / sum(c.mix for c in world.classes)
        assert world.job_rate(0) * work / 10 == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"slots": 0}, "drift.slots must be at least 1, not 0"),
        ({"worlds": 3, "first": 3}, r"drift.first is 3, but the worlds are 0..2"),
        ({"first": -1}, r"drift.first is -1, but the worlds are 0..7"),
    ],
)
def test_a_drift_out_of_its_range_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        DriftWorkload(REFERENCE_CLASSES, **values)


def test_a_drift_at_its_bounds_is_taken():
    one = DriftWorkload(REFERENCE_CLASSES[:1], worlds=1, slots=1, first=0)
    assert len(one.worlds) == 1
    same = [REFERENCE_CLASSES[0]] * 2
    assert len(DriftWorkload(same, worlds=1).worlds) == 1
    assert len(DriftWorkload(REFERENCE_CLASSES, worlds=2, first=1).worlds) == 2


def test_bursts_come_in_every_world():
    bursts = Bursts(4, 5, 20)
    drift = DriftWorkload(REFERENCE_CLASSES, 0.4, users=30, bursts=bursts)
    assert {w.bursts for w in drift.worlds} == {bursts}
    assert {w.users for w in drift.worlds} == {30}


def test_a_seed_of_ones_own_is_not_the_servers():
    own = DriftWorkload(REFERENCE_CLASSES, seed=5)
    assert own.of_seed(9) is own
    assert [w.classes for w in own.worlds] == [
        w.classes for w in DriftWorkload(REFERENCE_CLASSES).of_seed(5).worlds
    ]
    nobodys = DriftWorkload(REFERENCE_CLASSES)
    assert nobodys.of_seed(0).worlds[3].classes == nobodys.worlds[3].classes
    assert nobodys.of_seed(1).worlds[3].classes != nobodys.worlds[3].classes
