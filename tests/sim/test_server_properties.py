"""The kernel against the plain reference, slot by slot, over generated worlds."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.sim.jobs import JobClass
from mec_rllib.sim.reference import WAITS, ReferenceServer
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Totals
from mec_rllib.sim.training_jobs import NO_KIND
from mec_rllib.sim.workloads import BernoulliWorkload

CASES, SLOTS = 12 if numba.config.DISABLE_JIT else 250, 60


def ranges(lowest, highest):
    bounds = st.tuples(st.integers(lowest, highest), st.integers(lowest, highest))
    return bounds.map(lambda pair: (min(pair), max(pair)))


@st.composite
def worlds(draw):
    capacity = draw(st.lists(st.integers(2, 12), min_size=1, max_size=2))
    classes = [
        JobClass(
            f"class{k}",
            draw(st.floats(0.1, 1)),
            tuple(draw(ranges(1, units)) for units in capacity),
            draw(ranges(1, 9)),
            draw(ranges(0, 12)),
            draw(st.sampled_from([0.5, 1.0, 4.0])),
        )
        for k in range(draw(st.integers(1, 3)))
    ]
    kinds = draw(st.integers(1, 3))
    return ServerBatch(
        BernoulliWorkload(classes, draw(st.floats(0.05, 2.0)), capacity, users=40),
        num_servers=2,
        buffer=draw(st.integers(1, 5)),
        training_share=[draw(st.sampled_from([0.3, 0.5, 1.0])) for _ in range(kinds)],
        training_slots=[draw(st.integers(1, 3)) for _ in range(kinds)],
        mode=draw(st.sampled_from(["drain", "backfill", "pause"])),
        seed=draw(st.integers(0, 2**31)),
    )


def assert_same(batch, i, reference):
    s, n = batch.servers, len(reference.waiting)
    assert batch.mask[i].tolist() == reference.mask()
    if reference.training is None:
        for kind in range(batch.kinds):
            if_waiting = reference.mask(training=WAITS, kind=kind)
            assert batch.mask_with_training(kind)[i].tolist() == if_waiting
    assert s.waiting[i] == n
    for row, job in enumerate(reference.waiting):
        in_kernel = (tuple(s.requirement[i, row]), s.execution[i, row], s.slack[i, row])
        assert in_kernel == (job.requirement, job.execution, job.slack)
        in_kernel = (s.wait[i, row], s.weight[i, row], s.job_class[i, row])
        assert in_kernel == (job.wait, job.weight, job.job_class)
    for column in (s.requirement, s.execution, s.slack, s.wait, s.weight, s.job_class):
        assert not column[i, n:].any()
    assert tuple(s.used[i]) == reference.used
    assert tuple(batch.units_in_use[i]) == reference.units_in_use
    is_empty = not any(reference.units_in_use)
    assert (batch.is_empty[i], batch.is_idle[i]) == (is_empty, is_empty and n == 0)
    assert batch.tally.slots[i] == reference.slot
    assert s.since_training[i] == reference.since_training
    assert s.since_kind[i].tolist() == reference.since_kind
    if reference.training is not None:
        assert s.training_kind[i] == reference.kind
    tally = batch.tally
    jobs = (reference.arrived, reference.started, reference.expired, reference.dropped)
    assert tuple(tally.jobs[i].sum(axis=0)) == jobs
    slots = (reference.training_ran, reference.blocked)
    assert (tally.training_slots[i], tally.blocked_slots[i]) == slots
    assert tally.training_jobs[i].tolist() == reference.completed_jobs
    used, queues = zip(*reference.at_request, strict=True) if reference.at_request else ((), ())
    assert tally.waiting[i] == reference.waited
    assert (tally.requests[i], tally.waiting_at_request[i]) == (len(queues), sum(queues))
    assert tally.used_at_request[i].tolist() == [
        sum(units[d] for units in used) for d in range(len(reference.capacity))
    ]


def assert_same_sums(batch, i, reference, started, sums):
    """Work done is what was started less what is left; a weight is that of a resolved job."""
    tally = batch.tally
    np.testing.assert_allclose(tally.reward[i], sums)
    weight = sum(job.weight for job in started) - sums[1] - sums[2]
    np.testing.assert_allclose(tally.weight[i], weight)
    by_class = np.bincount([job.job_class for job in started], minlength=len(tally.jobs[i]))
    np.testing.assert_array_equal(tally.jobs[i, :, 1], by_class)
    work = np.zeros(len(reference.capacity), int)
    for job in started:
        work += np.array(job.requirement) * job.execution
    for left, requirement in reference.running:
        work -= np.array(requirement) * left
    np.testing.assert_array_equal(tally.used[i], work)


def play_both(batch, seed, training_rate):
    rng = np.random.default_rng(seed)
    references = [ReferenceServer.like(batch, i, batch.seed) for i in range(2)]
    sums, started = batch.tally.reward.copy(), ([], [])
    for _ in range(SLOTS):
        wanted = np.where(rng.random(2) < training_rate, rng.integers(0, batch.kinds, 2), NO_KIND)
        batch.request_training(wanted)
        for reference, kind in zip(references, wanted, strict=True):
            if kind != NO_KIND:
                reference.request_training(kind)
        for i, reference in enumerate(references):
            assert_same(batch, i, reference)
        actions = rng.integers(0, batch.buffer + 1, 2)
        batch.step(actions)
        for i, reference in enumerate(references):
            if reference.mask()[actions[i]] and actions[i]:
                started[i].append(reference.waiting[actions[i] - 1])
            terms, completed = reference.step(actions[i])
            assert tuple(batch.reward_terms[i]) == terms
            sums[i] += terms
            assert batch.completed[i] == completed
        assert (batch.units_in_use <= batch.rules.capacity).all()
        totals = Totals.of(batch)
        arrived, *resolved = totals.jobs.sum(axis=0)
        assert arrived == sum(resolved) + totals.waiting.sum()
        assert -1 <= np.nan_to_num(totals.mean_reward) <= 1
    for i, reference in enumerate(references):
        assert_same_sums(batch, i, reference, started[i], sums[i])


PLAYS = (worlds(), st.integers(0, 2**31), st.floats(0, 0.5))


@settings(max_examples=CASES, deadline=None, derandomize=True)
@given(*PLAYS)
def test_the_kernel_is_the_reference(batch, seed, training_rate):
    play_both(batch, seed, training_rate)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(*PLAYS)
def test_the_kernel_is_the_reference_in_other_worlds(batch, seed, training_rate):
    play_both(batch, seed, training_rate)
