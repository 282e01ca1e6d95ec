"""Each rule on a buffer written by hand, and all of them on the reference workload."""

from inspect import signature

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.envs.config import EnvConfig
from mec_rllib.schedulers import SCHEDULERS, RandomScheduler, Reservation, run
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Totals
from mec_rllib.sim.workloads import ScriptedWorkload


def choice(name, *waiting, running=0, **options):
    """Action for jobs (requirement, execution, slack, weight) that wait; some units are in use."""
    # The first job only takes units: it starts in slot 0, the others arrive in slot 1.
    blocker = [(0, running, 5, 0, 1.0)] if running else []
    batch = ServerBatch(ScriptedWorkload(blocker + [(1, *job) for job in waiting]))
    batch.step(np.array([len(blocker)]))
    scheduler = SCHEDULERS[name](**options) if options else SCHEDULERS[name]()
    return int(scheduler.select(batch)[0])


LONG, SHORT, BIG = (2, 9, 50, 1.0), (2, 1, 50, 1.0), (8, 1, 50, 1.0)


def test_fifo_starts_the_head_of_the_line_only():
    assert choice("fifo", LONG, SHORT) == 1
    assert choice("fifo", BIG, SHORT, running=5) == 0


def test_sjf_starts_the_shortest_that_fits():
    assert choice("sjf", LONG, SHORT, BIG) == 2
    assert choice("sjf", BIG, LONG, running=5) == 2
    assert choice("sjf", BIG, running=5) == 0


def test_edf_starts_the_nearest_deadline():
    assert choice("edf", (2, 1, 9, 1.0), (2, 4, 5, 1.0), (2, 8, 3, 1.0)) == 2  # 10, 9, 11


def test_priority_goes_by_weight_then_by_slack():
    assert choice("priority", (2, 1, 1, 1.0), (2, 1, 9, 4.0), (2, 1, 8, 4.0)) == 3
    assert choice("priority", (2, 1, 1, 1.0), (8, 1, 9, 4.0), running=5) == 1


def tetris(waiting, capacity=(10, 10), running=None, **options):
    """Action for jobs (requirement, execution) of several kinds, all of the same weight."""
    blocker = [(0, running, 5, 0, 1.0)] if running else []
    jobs = [(1, requirement, execution, 50, 1.0) for requirement, execution in waiting]
    batch = ServerBatch(ScriptedWorkload(blocker + jobs, capacity))
    batch.step(np.array([len(blocker)]))
    return int(SCHEDULERS["tetris"](**options).select(batch)[0])


def test_tetris_prefers_what_aligns_with_the_free_units():
    """Free shares 0.9 and 0.2. Alignment: 0.1 * 0.9 + 0.2 * 0.2 = 0.13, and 0.29."""
    cores_full, memory_full = (1, 8), (8, 1)
    first, second = ((1, 2), 3), ((3, 1), 2)
    assert tetris([first, second], running=cores_full, remaining_work=0) == 2
    # Free shares 0.2 and 0.9: 0.02 + 0.18 = 0.20; the second, with 3 of its kind, does not fit.
    assert tetris([first, second], running=memory_full, remaining_work=0) == 1


def test_tetris_looks_at_the_units_that_are_free():
    """Free shares 0.9 and 0.2. Both jobs ask for 0.3 in sum, and both fit.

    Alignments with the first kind scarce: 0.1 * 0.9 + 0.2 * 0.2 = 0.13 and 0.20; with the other
    kind scarce, it is the other way round.
    """
    cores_full, memory_full = (8, 1), (1, 8)
    more_memory, more_cores = ((1, 2), 2), ((2, 1), 2)
    for jobs in ([more_memory, more_cores], [more_cores, more_memory]):
        for running, wanted in ((memory_full, more_cores), (cores_full, more_memory)):
            chosen = tetris(jobs, running=running, remaining_work=0)
            assert jobs[chosen - 1] == wanted


def test_tetris_weighs_alignment_against_the_remaining_work():
    """Nothing runs: alignments 1.0 and 0.4, works 1.0 * 6 = 6 and 0.4 * 2 = 0.8.

    epsilon = m * 1.4 / 6.8: scores 1 - 6 * epsilon and 0.4 - 0.8 * epsilon, equal at
    epsilon = 0.6 / 5.2, that is at m = 0.56.
    """
    jobs = [((5, 5), 6), ((2, 2), 2)]
    for remaining_work, chosen in [(0.0, 1), (0.55, 1), (0.57, 2), (1.0, 2)]:
        assert tetris(jobs, remaining_work=remaining_work) == chosen


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([0.0, 0.5, 1.0, 4.0]))
def test_tetris_starts_only_what_fits_and_knows_no_units(data, remaining_work):
    """Counting a resource kind in units k times smaller changes nothing."""
    capacity = np.array([10, 64, 8])
    requirement = st.tuples(*(st.integers(0, int(units)) for units in capacity)).filter(any)
    jobs = data.draw(st.lists(st.tuples(requirement, st.integers(1, 20)), min_size=1, max_size=8))
    running = data.draw(st.none() | requirement)
    scale = np.array(data.draw(st.tuples(*(st.integers(1, 50) for _ in capacity))))
    chosen = tetris(jobs, tuple(capacity), running, remaining_work=remaining_work)
    free = capacity - (0 if running is None else np.array(running))
    fits = [row for row, (needs, _) in enumerate(jobs, 1) if np.all(np.array(needs) <= free)]
    assert chosen in fits or (chosen == 0 and not fits)
    finer = [(tuple(np.array(needs) * scale), execution) for needs, execution in jobs]
    fine_running = None if running is None else tuple(np.array(running) * scale)
    options = {"remaining_work": remaining_work}
    assert tetris(finer, tuple(capacity * scale), fine_running, **options) == chosen


def test_tetris_refuses_a_weight_below_zero():
    with pytest.raises(ValueError, match="remaining_work must be 0 or more, not -1"):
        SCHEDULERS["tetris"](remaining_work=-1)


@pytest.mark.parametrize("name", ["sjf", "edf", "priority", "reservation", "tetris"])
def test_ties_go_to_the_earliest_arrival(name):
    assert choice(name, SHORT, SHORT, SHORT) == 1


def test_reservation_keeps_units_free_for_the_top_weight():
    light, urgent, top = (3, 5, 50, 1.0), (3, 5, 10, 1.0), (3, 1, 0, 4.0)
    blocker_of = {"running": 5}  # 5 units free; a job of 3 would leave 2
    assert choice("reservation", light, (9, 1, 0, 4.0), **blocker_of) == 0
    assert choice("reservation", urgent, (9, 1, 0, 4.0), **blocker_of) == 1
    assert choice("reservation", light, top, **blocker_of) == 2
    assert choice("reservation", light, (9, 1, 0, 4.0), reserve=2, **blocker_of) == 1


def test_reservation_may_hold_back_jobs_of_low_weight_more():
    """5 units free, both jobs would leave 2: enough for the one worth half of the top weight."""
    half, low, top = (3, 5, 50, 2.0), (3, 5, 1, 1.0), (9, 1, 0, 4.0)
    rule = {"reserve": 2, "reserve_low": 3, "patience_low": -1, "running": 5}
    assert choice("reservation", half, top, **rule) == 1
    assert choice("reservation", low, top, **rule) == 0
    assert choice("reservation", low, top, **rule | {"patience_low": 1}) == 1
    assert choice("reservation", low, top, **rule | {"reserve_low": 2}) == 1


def test_reservation_counts_remaining_slack():
    batch = ServerBatch(ScriptedWorkload([(0, 9, 9, 2, 1.0), (0, 9, 9, 2, 4.0)]))
    assert Reservation(reserve=3, patience=1).select(batch)[0] == 2
    batch.servers.requirement[0, 1] = 10 + 1  # the top job no longer fits
    batch.mask[0, 2] = False
    assert Reservation(reserve=3, patience=1).select(batch)[0] == 0
    batch.step(np.array([0]))
    assert Reservation(reserve=3, patience=1).select(batch)[0] == 1


def test_random_is_uniform_over_what_is_allowed_doing_nothing_included():
    jobs = [(0, 2, 1, 9, 1.0), (0, 11 - 1, 1, 9, 1.0)]
    batch = ServerBatch(ScriptedWorkload(jobs), num_servers=3000)
    batch.mask[:, 2] = False
    counts = np.bincount(RandomScheduler(seed=1).select(batch), minlength=3)
    np.testing.assert_allclose(counts / 3000, [0.5, 0.5, 0.0], atol=0.04)


ANCHORS = {  # R on the reference workload; the first, third and last are the design's
    "random": 0.32,
    "fifo": 0.781,
    "sjf": 0.823,
    "edf": 0.834,
    "priority": 0.834,
    "reservation": 0.937,
    "tetris": 0.826,
}


@pytest.mark.compiled
@pytest.mark.parametrize("name", ANCHORS)
def test_anchors_of_the_reference_workload(name):
    batch = EnvConfig(load=0.3).build_servers(64, seed=0)
    run(batch, SCHEDULERS[name](), 10_000)
    assert Totals.of(batch).mean_reward == pytest.approx(ANCHORS[name], abs=0.01)


def test_priority_looks_at_what_fits_only():
    """Both weigh as much; the one that does not fit has less slack left."""
    assert choice("priority", (8, 1, 1, 4.0), (2, 1, 9, 4.0), running=5) == 2


class Counting:
    """A world and a scheduler that count."""

    mask = np.ones((1, 2), bool)

    def __init__(self):
        self.steps = []

    def select(self, batch):
        return len(batch.steps)

    def step(self, actions):
        self.steps.append(actions)


def test_run_plays_as_many_slots_as_asked_and_tells():
    world, told = Counting(), []
    run(world, world, 4, told.append)
    assert world.steps == [0, 1, 2, 3]
    assert told == [1, 2, 3, 4]
    run(world, world, 2)
    assert len(world.steps) == 6


def test_the_defaults_are_those_that_results_were_made_with():
    """docs/results.md names no options where a rule has its defaults."""
    defaults = {
        name: {p.name: p.default for p in signature(rule).parameters.values() if p.name != "rule"}
        for name, rule in SCHEDULERS.items()
        if name in ("random", "reservation", "tetris", "rollout")
    }
    reserve = {"reserve": 3, "patience": 10, "reserve_low": None, "patience_low": None}
    assert defaults == {
        "random": {"seed": 0},
        "reservation": reserve,
        "tetris": {"remaining_work": 1.0},
        "rollout": {"seed": 0, "futures": 32, "horizon": 30, "gamma": 0.95},
    }


def test_two_seeds_choose_differently():
    jobs = [(0, 1, 1, 9, 1.0)] * 10
    batch = ServerBatch(ScriptedWorkload(jobs, (10,)), num_servers=50)
    chosen = [RandomScheduler(seed=seed).select(batch) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert not np.array_equal(chosen[0], chosen[2])
