"""Prioritized replay: frequencies, weights, the ring, and a restart in the middle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.sim.streams import Purpose, generator


def transitions(*values):
    """Transitions whose reward tells them apart."""
    v = np.array(values, np.float32)
    obs = np.repeat(v[:, None], 2, axis=1)
    mask = np.ones((len(v), 3), bool)
    return Transitions(obs, v.astype(np.int64), v, obs + 1, mask, np.full(len(v), 0.9), mask[:, :0])


def replay_of(priorities, alpha=1.0, beta=1.0, seed=0):
    replay = PrioritizedReplay(len(priorities), 2, 3, alpha, beta, seed)
    replay.add(transitions(*range(len(priorities))))
    replay.update_priorities(np.arange(len(priorities)), np.array(priorities, float))
    return replay


def test_transitions_are_drawn_in_proportion_to_their_priority():
    replay = replay_of([1.0, 2.0, 0.0, 5.0])
    rows = np.concatenate([replay.sample(16)[1] for _ in range(2000)])
    shares = np.bincount(rows, minlength=4) / len(rows)
    np.testing.assert_allclose(shares, [0.125, 0.25, 0.0, 0.625], atol=0.005)


def test_weights_correct_for_the_frequency():
    drawn, rows, weights = replay_of([1.0, 4.0], beta=0.5).sample(64)
    # probabilities 0.2 and 0.8: (2 p)^-0.5 = 1.581 and 0.791, over the largest
    assert {(r, round(float(w), 3)) for r, w in zip(rows, weights, strict=True)} == {
        (0, 1.0),
        (1, 0.5),
    }
    np.testing.assert_array_equal(drawn.rewards, rows)


def test_alpha_flattens_the_priorities():
    replay = replay_of([1.0, 16.0], alpha=0.5)
    rows = np.concatenate([replay.sample(16)[1] for _ in range(2000)])
    assert np.mean(rows == 1) == pytest.approx(0.8, abs=0.01)


def test_the_oldest_transitions_make_room():
    replay = PrioritizedReplay(3, 2, 3)
    replay.add(transitions(1, 2))
    replay.add(transitions(3, 4))
    assert len(replay) == 3
    assert set(replay.sample(300)[0].rewards) == {2, 3, 4}
    replay.add(transitions(5, 6, 7, 8, 9))
    assert set(replay.sample(300)[0].rewards) == {7, 8, 9}


def test_new_transitions_are_as_likely_as_the_most_surprising_one():
    replay = PrioritizedReplay(4, 2, 3, alpha=1.0)
    replay.add(transitions(0, 1))
    replay.update_priorities(np.array([0, 1]), np.array([9.0, 1.0]))
    replay.add(transitions(2))
    rows = np.concatenate([replay.sample(19)[1] for _ in range(500)])
    np.testing.assert_allclose(np.bincount(rows) / len(rows), [9 / 19, 1 / 19, 9 / 19], atol=0.01)


def test_an_empty_replay_cannot_be_sampled():
    with pytest.raises(ValueError, match="empty"):
        PrioritizedReplay(3, 2, 3).sample(1)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=33), st.integers(0, 1000))
def test_every_draw_is_that_of_a_running_sum(priorities, seed):
    replay = replay_of(priorities, seed=seed)
    _, rows, _ = replay.sample(8)
    points = (np.arange(8) + generator(seed, Purpose.REPLAY).random(8)) / 8
    edges = np.cumsum(np.array(priorities) + 1e-6)
    expected = np.searchsorted(edges, points * edges[-1], side="right")
    np.testing.assert_array_equal(rows, np.minimum(expected, len(priorities) - 1))


def test_a_restored_replay_goes_on_as_if_nothing_had_happened():
    replay = replay_of([1.0, 2.0, 3.0])
    other = PrioritizedReplay(3, 2, 3, 1.0, 1.0, seed=99)
    other.set_state(replay.get_state())
    for r in (replay, other):
        r.add(transitions(7))
    mine, others = replay.sample(32), other.sample(32)
    np.testing.assert_array_equal(mine[0].rewards, others[0].rewards)
    np.testing.assert_array_equal(mine[1], others[1])
    np.testing.assert_array_equal(mine[2], others[2])
