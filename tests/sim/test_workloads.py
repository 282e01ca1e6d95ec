"""Where jobs come from: loads, mixes, traces, and what is refused."""

import hashlib

import numpy as np
import pytest

from mec_rllib.schedulers import SJF
from mec_rllib.sim.jobs import REFERENCE_CLASSES
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.traces.workload import ClassRule, TraceWorkload, read_trace
from mec_rllib.sim.workloads import BernoulliWorkload, LoadSchedule

HEADER = "arrival_s,duration_s,demand,job_class\n"
GOOD = "0,3,0.25,interactive\n4,8,0.5,elastic\n10,1.5,0.05,interactive\n"


def all_jobs(workload, slots, seed=0):
    return workload.arrivals(np.random.default_rng(seed), 0, slots)


def offered_load(jobs, capacity, slots):
    return (jobs.requirement * jobs.execution[:, None]).sum(axis=0) / capacity / slots


@pytest.mark.compiled
@pytest.mark.parametrize("load", [0.1, 0.3, 0.9])
def test_bernoulli_offers_the_load_asked_for(load):
    jobs = all_jobs(BernoulliWorkload(REFERENCE_CLASSES, load), 200_000)
    assert offered_load(jobs, [10], 200_000) == pytest.approx(load, rel=0.02)


def test_the_mean_work_of_the_reference_workload_is_that_of_the_design():
    workload = BernoulliWorkload(REFERENCE_CLASSES, 0.3)
    assert 0.3 * 10 / workload.job_rate(0) == pytest.approx(24.15)


@pytest.mark.compiled
def test_the_load_counts_for_the_kind_that_is_loaded_most():
    two_kinds = [
        c.__class__(**{**vars(c), "resources": ((1, 1), (2, 4))}) for c in REFERENCE_CLASSES
    ]
    jobs = all_jobs(BernoulliWorkload(two_kinds, 0.3, (10, 10)), 100_000)
    first, second = offered_load(jobs, np.array([10, 10]), 100_000)
    assert second == pytest.approx(0.3, rel=0.05)
    assert first == pytest.approx(0.1, rel=0.05)


@pytest.mark.compiled
def test_classes_come_in_their_mix_and_ranges():
    jobs = all_jobs(BernoulliWorkload(REFERENCE_CLASSES, 0.9), 100_000)
    shares = np.bincount(jobs.job_class) / len(jobs.job_class)
    np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.01)
    for k, c in enumerate(REFERENCE_CLASSES):
        mine = jobs.take(np.flatnonzero(jobs.job_class == k))
        assert (mine.requirement.min(), mine.requirement.max()) == c.resources[0]
        assert (mine.execution.min(), mine.execution.max()) == c.execution
        assert (mine.slack.min(), mine.slack.max()) == c.slack
        assert set(mine.weight) == {c.weight}


@pytest.mark.compiled
def test_the_load_follows_its_schedule():
    schedule = LoadSchedule([[20_000, 0.1], [100_000, 0.3]])
    np.testing.assert_allclose(schedule.at(np.array([0, 60_000, 200_000])), [0.1, 0.2, 0.3])
    jobs = all_jobs(BernoulliWorkload(REFERENCE_CLASSES, [[0, 0.1], [100_000, 0.5]]), 100_000)
    early, late = (np.sum(jobs.arrival // 50_000 == half) for half in (0, 1))
    assert late / early == pytest.approx(0.4 / 0.2, rel=0.1)


def trajectory_hash(seed, first_index=0):
    batch = ServerBatch(
        BernoulliWorkload(REFERENCE_CLASSES, 0.5), 2, first_index=first_index, seed=seed
    )
    digest, scheduler = hashlib.sha256(), SJF()
    for slot in range(2500):
        batch.request_training(np.full(2, slot % 50 == 0))
        batch.step(scheduler.select(batch))
        for array in (*batch.servers, batch.mask, batch.reward_terms):
            digest.update(array.tobytes())
    return digest.hexdigest()


def test_same_seed_same_bytes():
    hashes = [trajectory_hash(0), trajectory_hash(0), trajectory_hash(1), trajectory_hash(0, 2)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


@pytest.fixture
def trace_of(tmp_path):
    def write(text, header=HEADER):
        path = tmp_path / "trace.csv"
        path.write_text(header + text)
        return path

    return write


def test_a_trace_becomes_slots_units_and_slacks(trace_of):
    workload = TraceWorkload(read_trace(trace_of(GOOD)), load=None, end="stop")
    jobs = all_jobs(workload, 1024)
    assert jobs.arrival.tolist() == [0, 4, 10]
    assert jobs.execution.tolist() == [3, 8, 2]
    assert jobs.requirement.tolist() == [[3], [5], [1]]
    assert jobs.slack.tolist() == [4, 26, 3]  # 1 + e, 2 + 3e
    assert jobs.weight.tolist() == [4, 1, 4]
    assert workload.length == 11


def test_a_trace_is_rescaled_to_a_load(trace_of):
    workload = TraceWorkload(read_trace(trace_of(GOOD)), load=0.1, end="stop")
    # 3*3 + 8*5 + 2*1 = 51 unit-slots over 10 units at load 0.1: 51 slots, 0 to 50
    assert workload.jobs.arrival.tolist() == [0, 20, 50]
    assert workload.length == 51


def test_slots_may_be_longer_and_execution_is_capped(trace_of):
    workload = TraceWorkload(read_trace(trace_of(GOOD)), load=None, slot_s=2, max_execution=3)
    assert workload.jobs.execution.tolist() == [2, 3, 1]
    assert workload.jobs.arrival.tolist() == [0, 2, 5]


def test_a_trace_loops_or_stops(trace_of):
    trace = read_trace(trace_of(GOOD))
    looping = all_jobs(TraceWorkload(trace, load=None, end="loop"), 33)
    assert looping.arrival.tolist() == [0, 4, 10, 11, 15, 21, 22, 26, 32]
    stopping = all_jobs(TraceWorkload(trace, load=None, end="stop"), 33)
    assert stopping.arrival.tolist() == [0, 4, 10]


def test_slack_and_weight_follow_the_rules_given(trace_of):
    rules = {"interactive": ClassRule(2, 0, 7), "elastic": ClassRule(0, 1.5, 1)}
    jobs = TraceWorkload(read_trace(trace_of(GOOD)), rules=rules).jobs
    assert jobs.slack.tolist() == [2, 12, 2]
    assert jobs.weight.tolist() == [7, 1, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no job"),
        ("0,3,0.2,interactive\n5,3,0.2,elastic\n4,3,0.2,elastic\n", "line 4: arrival_s goes back"),
        ("0,3,0.2,elastic\n\n\n5,3,0.2,elastic\n4,3,0.2,elastic\n", "line 6: arrival_s goes back"),
        ("-1,3,0.2,interactive\n", "line 2: arrival_s must be 0 or more, not -1"),
        ("0,0,0.2,interactive\n", "line 2: duration_s must be above 0, not 0"),
        ("0,-2,0.2,interactive\n", "line 2: duration_s must be above 0, not -2"),
        ("0,3,1.2,interactive\n", "demand must be above 0 and at most 1, not 1.2"),
        ("0,3,0,interactive\n", "demand must be above 0"),
        ("0,nan,0.2,interactive\n", "line 2: duration_s"),
        ("inf,3,0.2,interactive\n", "line 2: arrival_s"),
        ("0,1e308,0.2,interactive\n", "line 2: duration_s"),
        ("0,3,much,interactive\n", "demand must be a number, not 'much'"),
        ("0,3\n", "line 2: demand must be a number"),
        ("0,3,0.2,\n", "line 2: job_class is empty"),
        ("0,3,0.2,batch\n", ".csv: class 'batch' has no rule; known: interactive, elastic"),
    ],
)
def test_bad_traces_are_refused_in_one_line(trace_of, text, message):
    with pytest.raises(ValueError, match="trace") as caught:
        TraceWorkload(read_trace(trace_of(text)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["arrival_s", "duration_s", "demand", "job_class"])
def test_a_missing_column_is_named(trace_of, column):
    header = HEADER.replace(column, "other")
    with pytest.raises(ValueError, match=f"column {column} is missing"):
        read_trace(trace_of(GOOD, header))


def test_what_is_no_text_file_cannot_be_read(tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    for path in ("bytes.csv", "absent.csv", "."):
        with pytest.raises(ValueError, match="cannot be read"):
            read_trace(tmp_path / path)


@pytest.mark.parametrize(
    "load", [0, -1, float("nan"), float("inf"), [], [[0, 0.1], [0, 0.2]], [[1]]]
)
def test_bad_loads_are_refused(load):
    with pytest.raises(ValueError, match="load"):
        LoadSchedule(load)


def test_the_load_schedule_goes_on_from_chunk_to_chunk():
    """A server asks for 1,024 slots at a time; what counts is the slot, not its place in them."""
    schedule = [[0, 0.01], [3 * 1024, 0.01], [3 * 1024 + 1, 0.9]]
    workload = BernoulliWorkload(REFERENCE_CLASSES, schedule)
    constant = BernoulliWorkload(REFERENCE_CLASSES, 0.9)
    later, expected = (
        w.arrivals(np.random.default_rng(2), 4 * 1024, 5 * 1024) for w in (workload, constant)
    )
    for column, other in zip(later, expected, strict=True):
        np.testing.assert_array_equal(column, other)
    batch = ServerBatch(workload, seed=1)
    arrived = []
    for _ in range(5):
        before = batch.tally.jobs[..., 0].sum()
        for _ in range(1024):
            batch.step(np.zeros(1, np.int64))
        arrived.append(batch.tally.jobs[..., 0].sum() - before)
    assert max(arrived[:3]) < 30  # 0.01 of 10 units is 4.2 jobs in 1,024 slots, 0.9 is 382
    assert min(arrived[3:]) > 300


def test_two_seeds_draw_different_jobs():
    jobs = [all_jobs(BernoulliWorkload(REFERENCE_CLASSES, 0.5), 1024, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(jobs[0].arrival, jobs[1].arrival)
    assert not np.array_equal(jobs[0].arrival, jobs[2].arrival)
