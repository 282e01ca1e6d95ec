"""Arrivals that were seen: all of them, none before its time, drawn again as they came together."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.sim.arrivals import ArrivalLog, Arrivals, record_of
from mec_rllib.sim.jobs import REFERENCE_CLASSES, Jobs
from mec_rllib.sim.server import CHUNK_SLOTS, ServerBatch
from mec_rllib.sim.workloads import BernoulliWorkload, ScriptedWorkload


def recording(workload, servers=1, seed=0):
    batch = ServerBatch(workload, servers, seed=seed)
    batch.recording = True
    return batch


def step(batch, slots):
    for _ in range(slots):
        batch.step(np.zeros(batch.num_servers, np.int64))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=6), st.integers(1, 3))
def test_every_job_is_told_once_and_none_before_it_arrives(pieces, servers):
    workload = BernoulliWorkload(REFERENCE_CLASSES, load=0.9)
    batch, told = recording(workload, servers), []
    for slots in pieces:
        step(batch, slots)
        new = batch.take_arrivals()
        assert (new.jobs.arrival <= batch.slot).all()
        told.append(new)
    counts = np.concatenate([new.counts for new in told])
    assert len(counts) == (sum(pieces) + 1) * servers
    jobs = Jobs.concatenate([new.jobs for new in told])
    assert len(jobs.arrival) == batch.tally.jobs[:, :, 0].sum() == counts.sum()
    # In order: record k holds the arrivals of server k mod N in slot k // N.
    records = np.repeat(np.arange(len(counts)), counts)
    np.testing.assert_array_equal(jobs.arrival, records // servers)
    for i in range(servers):
        alone = recording(workload, 1)
        alone.first_index = i
        alone.reset(0)
        step(alone, sum(pieces))
        mine = jobs.take(records % servers == i)
        for one, other in zip(mine, alone.take_arrivals().jobs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_was_told_is_not_told_again_after_a_restart():
    batch = recording(BernoulliWorkload(REFERENCE_CLASSES, load=0.9))
    step(batch, CHUNK_SLOTS + 50)
    batch.take_arrivals()
    again = recording(BernoulliWorkload(REFERENCE_CLASSES, load=0.9))
    again.set_state(batch.get_state())
    for one in (batch, again):
        step(one, 100)
    first, second = batch.take_arrivals(), again.take_arrivals()
    np.testing.assert_array_equal(first.counts, second.counts)
    assert first.counts.sum() == len(second.jobs.arrival) > 10


def log_of(counts, forgetting=5.0):
    log = ArrivalLog(forgetting, 1)
    n = int(np.sum(counts))
    numbers, units = np.arange(n), np.ones((n, 1), np.int64)
    log.add(Arrivals(Jobs(numbers, numbers, units, units[:, 0], numbers, numbers * 1.0), counts))
    return log


def test_a_record_weighs_less_the_older_it_is():
    log = log_of(np.zeros(20, np.int64))
    chances = (np.arange(100_000) + 0.5) / 100_000
    drawn = np.bincount([record_of(log.recorded, c) for c in chances], minlength=20) / 100_000
    weights = np.exp(-np.arange(20)[::-1] / 5.0)
    np.testing.assert_allclose(drawn, weights / weights.sum(), atol=2e-3)


def test_old_records_make_room_and_the_jobs_of_the_others_stay_theirs():
    log, counts = log_of(np.array([2, 0, 1])), np.tile([1, 0, 2], 20)
    n = int(counts.sum())
    for _ in range(5):
        numbers = np.arange(n)
        log.add(
            Arrivals(
                Jobs(numbers, numbers, np.ones((n, 1), np.int64), numbers, numbers, numbers * 1.0),
                counts,
            )
        )
    recorded = log.recorded
    assert 40 <= len(log) < 100  # 8 times the forgetting are kept, at most twice as many held
    assert recorded.bounds[0] == 0
    assert recorded.bounds[-1] == len(recorded.jobs.arrival)
    kept = np.tile(counts, 5)[-len(log) :]
    np.testing.assert_array_equal(np.diff(recorded.bounds), kept)
    jobs = np.tile(np.arange(n), 5)[-kept.sum() :]
    np.testing.assert_array_equal(recorded.jobs.arrival, jobs)


def test_servers_without_arrivals_are_empty_and_stay_so():
    batch = ServerBatch(ScriptedWorkload([(0, 3, 2, 1, 1.0), (5, 3, 2, 1, 1.0)]), 2)
    silent = batch.without_arrivals(4)
    assert silent.num_servers == 4
    assert silent.rules is batch.rules
    step(silent, CHUNK_SLOTS + 5)
    assert silent.is_idle.all()
    assert silent.tally.jobs.sum() == 0
