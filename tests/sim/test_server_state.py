"""A batch of servers as a whole: its parameters, its state, its faults, and what it imagines."""

import copy

import numpy as np
import pytest

from mec_rllib.schedulers import SJF, RandomScheduler
from mec_rllib.sim.jobs import REFERENCE_CLASSES, Jobs
from mec_rllib.sim.server import CHUNK_SLOTS, WORKLOAD_ATTEMPTS, ServerBatch
from mec_rllib.sim.training_jobs import NO_KIND
from mec_rllib.sim.workloads import BernoulliWorkload, ScriptedWorkload

WORKLOAD = BernoulliWorkload(REFERENCE_CLASSES, 0.9)
TWO_KINDS = {"training_share": [0.3, 1.0], "training_slots": [1, 3]}


def play(batch, slots, seed=0):
    """What every slot brought, by random actions and training jobs."""
    rng, scheduler, seen = np.random.default_rng(seed), RandomScheduler(seed), []
    for _ in range(slots):
        is_asked = rng.random(batch.num_servers) < 0.05
        batch.request_training(np.where(is_asked, batch.kinds - 1, NO_KIND))
        reward = batch.step(scheduler.select(batch)).copy()
        seen.append([reward, batch.completed.copy(), batch.mask.copy(), batch.is_idle.copy()])
    return seen


def assert_same(seen, others):
    for slot, other in zip(seen, others, strict=True):
        for column, expected in zip(slot, other, strict=True):
            np.testing.assert_array_equal(column, expected)


@pytest.mark.parametrize("slots", [10, CHUNK_SLOTS - 1, CHUNK_SLOTS])
def test_a_restored_batch_goes_on_as_if_nothing_had_happened(slots):
    """Whatever the other one was; and what was saved stays what it was."""
    batch = ServerBatch(WORKLOAD, 2, seed=3, **TWO_KINDS)
    other = ServerBatch(WORKLOAD, 2, seed=4, **TWO_KINDS)
    play(batch, slots)
    play(other, 5, seed=1)
    state = batch.get_state()
    kept = copy.deepcopy(state)
    expected = play(batch, 60, seed=2)
    other.set_state(state)
    assert (other.seed, other.slot, other.workload_faults) == (3, slots, 0)
    assert_same(play(other, 60, seed=2), expected)
    np.testing.assert_equal(state, kept)
    for mine, theirs in zip(batch.tally, other.tally, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_reset_batch_is_a_new_one():
    batch = ServerBatch(WORKLOAD, 2, seed=3)
    play(batch, 50)
    batch.reset(7)
    new = ServerBatch(WORKLOAD, 2, seed=7)
    assert batch.slot == 0
    np.testing.assert_equal(batch.get_state(), new.get_state())
    assert_same(play(batch, 30), play(new, 30))


class Asked:
    """A workload that notes the slots whose jobs it was asked for."""

    def __init__(self):
        self.ranges = []

    def __getattr__(self, name):
        return getattr(WORKLOAD, name)

    def arrivals(self, rng, start, stop):
        self.ranges.append((start, stop))
        return WORKLOAD.arrivals(rng, start, stop)


def test_jobs_are_drawn_for_1024_slots_at_once():
    """Part of what a seed means: bursts, for one, do not reach beyond them."""
    workload = Asked()
    batch = ServerBatch(workload, 2)
    for _ in range(1025):
        batch.step(np.zeros(2, np.int64))
    assert workload.ranges == [(0, 1024)] * 2 + [(1024, 2048)] * 2
    assert not batch.has_episodes


def test_jobs_of_slot_0_are_there_and_count():
    """Three jobs for a buffer of two: the third is dropped before the first slot."""
    jobs = [(0, 1, 1, 9, 1.0), (0, 1, 1, 9, 1.0), (0, 1, 1, 9, 5.0)]
    batch = ServerBatch(ScriptedWorkload(jobs), buffer=2)
    assert batch.servers.waiting[0] == 2
    assert batch.tally.reward[0].tolist() == [0.0, 0.0, -5.0]
    assert batch.tally.jobs[0, 0].tolist() == [3, 0, 0, 1]
    assert batch.mask.tolist() == [[True, True, True]]
    assert batch.reward_scale == 5.0


def test_a_server_has_the_jobs_of_its_index():
    whole, part = ServerBatch(WORKLOAD, 3, seed=5), ServerBatch(WORKLOAD, 1, seed=5, first_index=2)
    for _ in range(CHUNK_SLOTS + 200):
        for batch in (whole, part):
            batch.step(SJF().select(batch))
        np.testing.assert_array_equal(whole.rewards[2:], part.rewards)
    arrived = whole.tally.jobs[:, :, 0].tolist()
    assert arrived[0] != arrived[1] != arrived[2]


class Failing:
    """A workload that fails some times in a row, having drawn already."""

    def __init__(self, times):
        self._times, self.calls = times, 0

    def __getattr__(self, name):
        return getattr(WORKLOAD, name)

    def arrivals(self, rng, start, stop):
        self.calls += 1
        if self.calls <= self._times:
            rng.random(3)
            raise OSError("no answer")
        return WORKLOAD.arrivals(rng, start, stop)


def test_a_fault_of_the_workload_leaves_no_trace_but_a_count():
    faults = WORKLOAD_ATTEMPTS - 1
    batch, plain = ServerBatch(Failing(faults), seed=2), ServerBatch(WORKLOAD, seed=2)
    assert batch.workload_faults == faults
    assert_same(play(batch, 40), play(plain, 40))
    state = batch.get_state()
    plain.set_state(state)
    assert plain.workload_faults == faults


def test_a_workload_that_goes_on_failing_is_given_up():
    with pytest.raises(
        RuntimeError, match="failed 10 times in a row at slot 0: OSError: no answer"
    ):
        ServerBatch(Failing(WORKLOAD_ATTEMPTS))


@pytest.mark.parametrize(("futures", "slots"), [(1, 37), (2, 37), (2, 0)])
def test_imagined_servers_play_as_the_real_one_would(futures, slots):
    """In the futures that are given; the real one stays as it is."""
    real = ServerBatch(WORKLOAD, 3, seed=6, **TWO_KINDS)
    play(real, slots)
    tables = [
        WORKLOAD.arrivals(np.random.default_rng(k), real.slot + 1, real.slot + 41)
        for k in range(futures)
    ]
    before = real.get_state()
    imagined = ServerBatch(WORKLOAD, 2 * futures, seed=9, **TWO_KINDS)
    imagined.imagine(real, 1, tables)
    np.testing.assert_equal(real.get_state(), before)
    np.testing.assert_array_equal(imagined.mask, np.tile(real.mask[1], (2 * futures, 1)))
    alone = [ServerBatch(WORKLOAD, 3, seed=1, **TWO_KINDS) for _ in tables]
    for batch, table in zip(alone, tables, strict=True):
        batch.set_state(before)
        batch._stream = Jobs.concatenate([table] * 3)
        ends = len(table.arrival) * np.arange(4)
        batch._cursor = np.stack([ends[:-1], ends[1:]], axis=1)
        batch._drawn_until = -1
    for _ in range(40):
        rewards = imagined.step(SJF().select(imagined))
        expected = [batch.step(SJF().select(batch))[1] for batch in alone]
        np.testing.assert_array_equal(rewards, expected * 2)


@pytest.mark.parametrize(
    ("share", "units"), [(0.3, 3), (0.31, 4), (0.25, 3), (1.0, 10), (0.01, 1), (0.7, 7)]
)
def test_a_training_job_takes_its_share_rounded_up(share, units):
    batch = ServerBatch(ScriptedWorkload([]), training_share=share, training_slots=2)
    assert batch.rules.demand.tolist() == [[units]]
    batch.request_training(np.array([True]))
    batch.step(np.zeros(1, np.int64))
    assert batch.units_in_use.tolist() == [[units]]
    assert not batch.is_empty[0]
    batch.step(np.zeros(1, np.int64))
    assert batch.units_in_use.tolist() == [[0]]
    assert batch.is_empty[0]
    assert batch.is_idle[0]


def test_every_kind_has_its_demand_of_every_resource():
    batch = ServerBatch(ScriptedWorkload([], (10, 4)), **TWO_KINDS)
    assert batch.rules.demand.tolist() == [[3, 2], [10, 4]]
    assert batch.rules.training_slots.tolist() == [1, 3]
    assert batch.kinds == 2


def test_only_what_training_leaves_may_start_beside_it():
    jobs = [(0, 5, 1, 9, 1.0), (0, 7, 1, 9, 1.0), (0, 8, 1, 9, 1.0)]
    batch = ServerBatch(ScriptedWorkload(jobs), training_share=0.3, training_slots=2)
    batch.request_training(np.array([True]))
    assert batch.can_ask.tolist() == [False]
    assert batch.training_waiting.tolist() == [True]
    batch.step(np.zeros(1, np.int64))
    assert batch.training_waiting.tolist() == [False]
    assert batch.mask.tolist() == [[True, True, True, False] + [False] * 7]
    assert batch.mask_with_training().tolist() == batch.mask.tolist()  # it runs already


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_servers": 0}, "num_servers, buffer and training_slots must be at least 1"),
        ({"buffer": 0}, "must be at least 1"),
        ({"training_slots": [1, 0], "training_share": [1, 1]}, "must be at least 1"),
        ({"training_share": 1.01}, r"training_share must be in \(0, 1\], not 1.01"),
        ({"training_share": [0.5, 0.0], "training_slots": [1, 1]}, "training_share must be"),
        ({"training_share": [0.5, 0.5]}, "2 kinds of training jobs have a share, 1 have slots"),
        ({"mode": "stop"}, "mode must be one of drain, backfill, pause: 'stop'"),
    ],
)
def test_servers_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ServerBatch(ScriptedWorkload([]), **options)


@pytest.mark.parametrize("kind", [-2, 2])
def test_a_kind_that_is_not_there_is_refused_whoever_asks(kind):
    batch = ServerBatch(ScriptedWorkload([]), 2, **TWO_KINDS)
    with pytest.raises(ValueError, match=r"kinds 0\.\.1"):
        batch.request_training(np.array([-1, kind]))
    batch.request_training(np.array([1, 0]))
    assert batch.training_kind.tolist() == [1, 0]
    assert batch.training_waiting.all()


def test_an_action_that_is_not_allowed_starts_nothing():
    jobs = [(0, 6, 3, 9, 1.0), (0, 6, 3, 9, 1.0)]
    for action in (-1, 2, 3, 4):
        batch = ServerBatch(ScriptedWorkload(jobs), buffer=3)
        batch.servers.requirement[0, 1] = 11
        batch.refresh()
        assert batch.step(np.array([action])) == [0.0]
        assert batch.tally.jobs[0, 0].tolist() == [2, 0, 0, 0]


def test_nobody_waits_and_nothing_runs_is_idle_and_jobs_may_wait_at_an_empty_server():
    batch = ServerBatch(ScriptedWorkload([(0, 6, 2, 9, 1.0), (1, 10, 1, 9, 1.0)]))
    seen = []
    for action in (0, 1, 0, 1, 0):
        seen.append((batch.is_empty[0], batch.is_idle[0], batch.units_in_use[0, 0]))
        batch.step(np.array([action]))
    # waits, two wait (6 starts), it runs, the other fits again, it has run
    assert seen == [(1, 0, 0), (1, 0, 0), (0, 0, 6), (1, 0, 0), (1, 1, 0)]
