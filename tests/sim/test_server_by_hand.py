"""Trajectories worked out by hand. A job: (arrival, requirement, execution, slack, weight)."""

import numpy as np
import pytest

from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.workloads import ScriptedWorkload


def server(*jobs, capacity=(10,), **options):
    return ServerBatch(ScriptedWorkload(jobs, capacity), **options)


def train(batch):
    batch.request_training(np.array([True]))


def play(batch, *actions):
    """(start, expiry, drop) of each slot; the reward is their sum."""
    terms = []
    for action in actions:
        (reward,) = batch.step(np.array([action])).tolist()
        terms.append(tuple(batch.reward_terms[0].tolist()))
        assert reward == sum(terms[-1])
    return terms


def allowed(batch):
    return np.flatnonzero(batch.mask[0]).tolist()


def test_a_job_that_starts_at_once_earns_its_weight():
    batch = server((0, 4, 3, 5, 2.0))
    assert play(batch, 1) == [(2.0, 0.0, 0.0)]


def test_waiting_costs_up_to_half_of_the_weight():
    batch = server((0, 4, 1, 3, 2.0))
    # wait 2 of slack 3: 2 * (1 - 0.5 * 2 / 4)
    assert play(batch, 0, 0, 1)[-1] == (1.5, 0.0, 0.0)


def test_a_job_may_start_in_the_last_slot_that_meets_its_deadline():
    batch = server((0, 4, 1, 1, 1.0))
    assert play(batch, 0, 1) == [(0.0, 0.0, 0.0), (0.75, 0.0, 0.0)]


def test_a_job_expires_when_its_wait_exceeds_its_slack():
    batch = server((0, 4, 1, 1, 1.0))
    assert play(batch, 0, 0, 0) == [(0, 0, 0), (0, -1.0, 0), (0, 0, 0)]
    assert batch.servers.waiting[0] == 0


def test_a_full_buffer_drops_the_job_in_the_transition_that_ends_with_its_arrival():
    batch = server((0, 4, 1, 9, 1.0), (1, 4, 1, 9, 3.0), buffer=1)
    assert play(batch, 0) == [(0.0, 0.0, -3.0)]


def test_a_job_that_starts_makes_room_for_one_that_arrives_next():
    batch = server((0, 4, 1, 9, 1.0), (1, 4, 1, 9, 3.0), buffer=1)
    assert play(batch, 1, 1) == [(1.0, 0.0, 0.0), (3.0, 0.0, 0.0)]


def test_units_are_held_for_the_execution_time():
    batch = server((0, 6, 2, 0, 1.0), (1, 6, 1, 5, 1.0))
    play(batch, 1)
    assert (batch.units_in_use.tolist(), allowed(batch)) == ([[6]], [0])
    play(batch, 0)
    assert (batch.units_in_use.tolist(), allowed(batch)) == ([[0]], [0, 1])


def test_every_resource_kind_must_fit():
    batch = server((0, (3, 1), 5, 9, 1.0), (0, (1, 2), 1, 9, 1.0), capacity=(4, 2))
    play(batch, 1)
    assert allowed(batch) == [0]  # 1 of the first kind is free, but only 1 of the second
    play(batch, 0, 0, 0, 0)
    assert allowed(batch) == [0, 1]


def test_a_training_job_runs_in_its_very_slot_if_its_demand_is_free():
    batch = server((0, 4, 1, 5, 1.0))
    train(batch)
    assert allowed(batch) == [0]
    play(batch, 0)
    assert (batch.completed == 0).all()
    assert (batch.tally.training_slots[0], batch.tally.blocked_slots[0]) == (1, 0)
    assert allowed(batch) == [0, 1]


def test_drain_starts_nothing_until_the_long_job_has_ended():
    batch = server((0, 2, 3, 0, 1.0), (1, 2, 1, 9, 1.0))
    play(batch, 1)  # runs in slots 0, 1, 2
    train(batch)
    assert allowed(batch) == [0]
    play(batch, 0, 0)
    assert batch.training_waiting.all()
    assert batch.tally.blocked_slots[0] == 2
    play(batch, 0)  # slot 3
    assert (batch.completed == 0).all()
    assert play(batch, 1) == [(1.0 - 0.5 * 3 / 10, 0.0, 0.0)]


def test_backfill_starts_what_ends_no_later_than_the_long_job():
    batch = server((0, 2, 4, 0, 1.0), (1, 2, 3, 9, 1.0), (1, 2, 4, 9, 1.0), mode="backfill")
    play(batch, 1)  # runs in slots 0..3
    train(batch)
    assert allowed(batch) == [0, 1]  # from slot 1: 3 slots end in time, 4 do not
    play(batch, 1, 0, 0)
    assert batch.tally.blocked_slots[0] == 3
    play(batch, 0)
    assert (batch.completed == 0).all()


def test_pause_freezes_the_long_job_for_the_training_slot():
    batch = server((0, 10, 2, 0, 1.0), (1, 4, 1, 9, 1.0), mode="pause")
    play(batch, 1)
    train(batch)
    assert allowed(batch) == [0]
    play(batch, 0)  # slot 1: training; the job has one slot left
    assert (batch.completed == 0).all()
    assert batch.tally.blocked_slots[0] == 0
    assert allowed(batch) == [0]
    play(batch, 0)  # slot 2: the job's last slot
    assert allowed(batch) == [0, 1]


def test_a_job_that_arrives_in_the_slot_of_a_training_job_waits():
    batch = server((1, 2, 1, 1, 1.0))
    play(batch, 0)
    train(batch)
    assert play(batch, 0, 1) == [(0.0, 0.0, 0.0), (0.75, 0.0, 0.0)]


def test_a_job_without_slack_expires_behind_a_training_job():
    batch = server((1, 2, 1, 0, 4.0))
    play(batch, 0)
    train(batch)
    assert play(batch, 0) == [(0.0, -4.0, 0.0)]


def test_user_jobs_run_beside_a_small_training_job():
    batch = server((0, 5, 1, 9, 1.0), (1, 6, 1, 9, 1.0), training_share=0.5, training_slots=3)
    train(batch)
    play(batch, 0)
    assert batch.units_in_use.tolist() == [[5]]
    assert allowed(batch) == [0, 1]  # 5 units are free: the first job fits, the second does not
    play(batch, 1, 0)
    assert (batch.completed == 0).all()
    assert batch.tally.training_slots[0] == 3


def test_one_training_job_at_a_time():
    batch = server(training_slots=2)
    train(batch)
    play(batch, 0)
    train(batch)
    play(batch, 0)
    assert (batch.completed[0], batch.servers.training[0]) == (0, 0)


def test_slots_since_training_count_from_its_completion():
    batch = server()
    play(batch, 0, 0)
    assert batch.servers.since_training[0] == 2
    train(batch)
    play(batch, 0)
    assert batch.servers.since_training[0] == 1


@pytest.mark.parametrize(
    "options", [{"buffer": 0}, {"training_share": 0}, {"training_slots": 0}, {"mode": "drian"}]
)
def test_parameters_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        server(**options)
