"""Sums of what happened, by hand: one small world, alone and twice."""

import json

import numpy as np
import pytest

from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import DROP, EXPIRY, START
from mec_rllib.sim.totals import Sums, Totals, world_figures
from mec_rllib.sim.workloads import ScriptedWorkload

# slot, units of both kinds, execution, slack, weight, class; A, B, C and D
JOBS = [
    (0, (4, 1), 2, 5, 2.0, 0),
    (0, (2, 2), 1, 1, 1.0, 1),
    (1, (10, 4), 1, 0, 3.0, 0),
    (1, (1, 1), 1, 9, 4.0, 1),
]


def played(slots, servers=1):
    """Two jobs fit into the buffer.

    Slot 0 starts A, and B waits; C arrives, D is dropped. Before slot 1 a training job is asked
    for, whose demand, the whole server, is not free; B and C expire. Slot 2 trains.
    """
    batch = ServerBatch(ScriptedWorkload(JOBS, (10, 4)), servers, buffer=2)
    for slot in range(slots):
        if slot == 1:
            batch.request_training(np.ones(servers, bool))
        batch.step(np.full(servers, 1 if slot == 0 else 0))
    return batch


@pytest.mark.parametrize("servers", [1, 2])
def test_everything_that_happened_is_counted_once(servers):
    totals, n = Totals.of(played(4, servers)), servers
    assert (totals.slots, totals.training_slots, totals.training_jobs) == (4 * n, n, n)
    # arrived, started, expired, dropped
    np.testing.assert_array_equal(totals.jobs, n * np.array([[2, 1, 1, 0], [2, 0, 1, 1]]))
    np.testing.assert_array_equal(totals.waiting, [0, 0])
    np.testing.assert_array_equal(totals.reward, n * np.array([2.0, -4.0, -4.0]))
    assert totals.weight == 10.0 * n
    assert totals.blocked_slots == n
    np.testing.assert_allclose(totals.used_share, n * np.array([8 / 10, 2 / 4]))
    assert totals.waiting_slots == (2 + 2) * n
    assert totals.requests == n
    np.testing.assert_allclose(totals.used_share_at_request, n * np.array([4 / 10, 1 / 4]))
    assert totals.waiting_at_request == 2 * n
    np.testing.assert_array_equal(totals.training_jobs_of_kinds, [n])
    assert totals.mean_reward == pytest.approx(-0.6)
    assert totals.miss_rate == 3 / 4
    assert totals.miss_rates == [1 / 2, 1.0]
    counts = {"arrived": 4, "started": 1, "expired": 2, "dropped": 1, "waiting": 0}
    assert totals.counts() == {f"jobs_{name}": n * count for name, count in counts.items()}
    shares = {"share_training": 0.25, "share_blocked": 0.25, "server_use": 0.2, "queue": 1.0}
    assert totals.shares() == pytest.approx(shares)
    at_training = {"use_at_training": 0.4, "queue_at_training": 2.0}
    assert totals.at_training() == pytest.approx(at_training)


def test_jobs_in_the_buffer_are_counted_by_class():
    batch = played(1, servers=3)
    np.testing.assert_array_equal(Totals.of(batch).waiting, [3, 3])  # C and B, thrice
    assert Totals.of(batch).counts()["jobs_waiting"] == 6


def test_the_terms_of_a_slot_and_their_sum():
    batch = played(1, servers=2)
    np.testing.assert_array_equal(batch.reward_terms[:, START], 2.0)
    np.testing.assert_array_equal(batch.reward_terms[:, DROP], -4.0)
    np.testing.assert_array_equal(batch.rewards, -2.0)
    batch.step(np.zeros(2, np.int64))
    np.testing.assert_array_equal(batch.reward_terms[:, EXPIRY], -4.0)  # B and C
    np.testing.assert_array_equal(batch.rewards, -4.0)
    np.testing.assert_array_equal(batch.tally.reward, [[2.0, -4.0, -4.0]] * 2)


def test_where_nothing_happened_there_is_no_rate():
    totals = Totals.of(ServerBatch(ScriptedWorkload([], (10,))))
    assert np.isnan([totals.mean_reward, totals.miss_rate, *totals.miss_rates]).all()
    assert np.isnan(list(totals.at_training().values())).all()
    assert not any(totals.shares().values())
    assert set(totals.counts().values()) == {0}


def test_a_window_is_a_later_moment_minus_an_earlier_one():
    before, after = Totals.of(played(1)), Totals.of(played(4))
    window = after - before
    assert (window.slots, window.weight, window.blocked_slots) == (3, 4.0, 1)
    np.testing.assert_array_equal(window.reward, [0.0, -4.0, 0.0])
    np.testing.assert_array_equal(window.waiting, [-1, -1])
    assert window.mean_reward == -1.0
    both = before + window
    assert both.to_json() == after.to_json()
    figures = world_figures(after, before)
    assert figures["timesteps_total"] == 4
    assert figures["reward"] == {"lifetime": pytest.approx(-0.6), "window": -1.0}
    assert figures["miss_rate"] == {"lifetime": 0.75, "window": 1.0}
    assert figures["server"] == window.shares() | window.at_training()
    assert figures["share_training"] == 0.25
    assert figures["server"]["share_training"] == pytest.approx(1 / 3)
    first = world_figures(before, None)
    assert first["reward"]["window"] == first["reward"]["lifetime"] == pytest.approx(-2.0 / 6.0)


def test_totals_are_the_same_after_json():
    totals = Totals.of(played(4, servers=2))
    again = Totals.from_json(json.loads(json.dumps(totals.to_json())))
    assert again.to_json() == totals.to_json()
    assert again.mean_reward == totals.mean_reward
    np.testing.assert_array_equal((totals - again).jobs, 0)


def test_a_world_of_ones_own_says_what_it_has():
    sums = Sums(np.array(5), np.array(1), np.array(1))
    assert np.isnan(sums.miss_rate)
    assert sums.miss_rates == []
    for figure in (lambda: sums.mean_reward, sums.counts, sums.shares, sums.at_training):
        with pytest.raises(NotImplementedError):
            figure()
