"""Prioritized replay: frequencies, weights, the ring, and a restart in the middle."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.envs.afterstates import AfterstateEncoder
from mec_rllib.envs.config import EnvConfig
from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.replay.afterstates import AfterstateReplay
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.schedulers import random_actions
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


def test_new_transitions_are_as_likely_as_the_most_surprising_one_ever():
    """Not as that of the last batch: 9 stays the highest, though its own row is 0.5 by now."""
    replay = PrioritizedReplay(4, 2, 3, alpha=1.0)
    replay.add(transitions(0, 1))
    replay.update_priorities(np.array([0, 1]), np.array([9.0, 1.0]))
    replay.update_priorities(np.array([0, 1]), np.array([0.5, -0.25]))
    replay.add(transitions(2))
    np.testing.assert_allclose(replay.get_state()["priorities"], [0.5, 0.25, 9.0], rtol=1e-5)


def test_new_transitions_have_priority_one_before_anything_is_known():
    replay = PrioritizedReplay(4, 2, 3)
    replay.add(transitions(0, 1))
    replay.update_priorities(np.array([0]), np.array([0.01]))
    replay.add(transitions(2))
    np.testing.assert_allclose(replay.get_state()["priorities"], [0.01**0.6, 1, 1], rtol=1e-4)


def test_two_seeds_draw_different_rows():
    rows = [replay_of(np.ones(50), seed=seed).sample(32)[1] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


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


def test_the_replay_of_afterstates_draws_what_the_plain_one_draws():
    """The same rows and weights; of the observations all that an update looks at."""
    batch, rng = EnvConfig(load=0.9, buffer=4).build_servers(40, seed=2), np.random.default_rng(0)
    encoder = AfterstateEncoder(batch)
    plain = PrioritizedReplay(100, encoder.size, 5, seed=3)
    packed, restored = (AfterstateReplay(100, encoder.size, 5, seed=3) for _ in range(2))
    for _ in range(7):  # 280 transitions into a ring of 100
        obs, actions = encoder.encode(), random_actions(batch.mask, rng)
        rewards = batch.step(actions).astype(np.float32)
        after = (encoder.encode(), batch.mask.copy(), np.full(40, 0.9), np.ones((40, 0), bool))
        for replay in (plain, packed):
            replay.add(Transitions(obs, actions, rewards, *after))
        rows = plain.sample(8)[1]
        np.testing.assert_array_equal(packed.sample(8)[1], rows)
        for replay in (plain, packed):
            replay.update_priorities(rows, np.arange(8.0))
    restored.set_state(copy.deepcopy(packed.get_state()))
    (dense, rows, weights), drawn, again = (r.sample(64) for r in (plain, packed, restored))
    for found, found_rows, found_weights in (drawn, again):
        np.testing.assert_array_equal(found_rows, rows)
        np.testing.assert_array_equal(found_weights, weights)
        np.testing.assert_array_equal(found.next_obs, dense.next_obs)
        taken = found.obs.reshape(64, 5, -1)[np.arange(64), found.actions]
        np.testing.assert_array_equal(
            taken, dense.obs.reshape(64, 5, -1)[np.arange(64), dense.actions]
        )


class Drawn:
    """A generator that draws the same all the time."""

    def __init__(self, value):
        self._value = value

    def random(self, size):
        return np.full(size, self._value)


def test_a_point_belongs_to_the_row_that_it_begins():
    """Four rows of priority 1: points 0, 1, 2, 3 are theirs."""
    replay = PrioritizedReplay(4, 2, 3)
    replay.add(transitions(0, 1, 2, 3))
    replay._rng = Drawn(0.0)
    np.testing.assert_array_equal(replay.sample(4)[1], [0, 1, 2, 3])
    np.testing.assert_array_equal(replay.sample(2)[1], [0, 2])


@pytest.mark.parametrize("filled", range(1, 8))
def test_a_point_that_is_rounded_up_to_the_end_belongs_to_the_last_row(filled):
    replay = PrioritizedReplay(9, 2, 3)
    replay.add(transitions(*range(filled)))
    replay._rng = Drawn(1.0)
    assert replay.sample(1)[1] == [filled - 1]


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 9])
def test_a_replay_of_any_capacity_is_filled_and_then_full(capacity):
    replay = PrioritizedReplay(capacity, 2, 3)
    assert len(replay) == 0
    for k in range(2 * capacity):
        replay.add(transitions(k))
        assert len(replay) == min(k + 1, capacity)
    assert set(replay.sample(40 * capacity)[0].rewards) == set(range(capacity, 2 * capacity))


def test_what_was_no_surprise_may_still_be_drawn():
    replay = replay_of([0.0, 3.0])
    np.testing.assert_allclose(replay.get_state()["priorities"], [1e-6, 3.0 + 1e-6], rtol=1e-9)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=9),
    st.sampled_from([0.3, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_importance_weights_are_those_of_the_source(priorities, alpha, beta):
    """(n p)^-beta over the largest of the batch, p in proportion to priority^alpha."""
    replay = replay_of(priorities, alpha, beta, seed=2)
    _, rows, weights = replay.sample(12)
    scaled = (np.array(priorities) + 1e-6) ** alpha
    expected = (len(priorities) * scaled / scaled.sum())[rows] ** -beta
    np.testing.assert_allclose(weights, expected / expected.max(), rtol=1e-5)
    assert weights.dtype == np.float32


def test_columns_of_slots_and_servers_become_rows():
    """Slot by slot, the servers of a slot together; a column without content stays one."""
    columns = (np.arange(6).reshape(3, 2), np.arange(24).reshape(3, 2, 4), np.zeros((3, 2, 0)))
    rows = Transitions(columns[1], *[columns[0]] * 2, *[columns[1]] * 2, columns[0], columns[2])
    flat = rows.flat()
    np.testing.assert_array_equal(flat.actions, range(6))
    np.testing.assert_array_equal(flat.obs, np.arange(24).reshape(6, 4))
    assert flat.mask.shape == (6, 0)


def afterstates(rng, count):
    """Transitions of 3 actions with blocks of 2; the first action is always allowed."""
    mask = rng.random((count, 3)) < 0.5
    mask[:, 0] = True
    obs, next_obs = rng.uniform(1.0, 2.0, (2, count, 6)).astype(np.float32)
    zeros = np.zeros(count)
    return Transitions(
        obs, rng.integers(0, 3, count), zeros, next_obs, mask, zeros, np.zeros((count, 0), bool)
    )


def test_the_replay_of_afterstates_keeps_what_an_update_looks_at_and_nothing_else():
    rng = np.random.default_rng(1)
    rows, replay = afterstates(rng, 5), AfterstateReplay(8, 6, 3)
    replay.add(rows)
    drawn, places, _ = replay.sample(40)
    for b, place in enumerate(places):
        obs, next_obs = drawn.obs[b].reshape(3, 2), drawn.next_obs[b].reshape(3, 2)
        for action in range(3):
            taken = action == rows.actions[place]
            allowed = rows.next_mask[place, action]
            whole, whole_next = (o[place].reshape(3, 2) for o in (rows.obs, rows.next_obs))
            np.testing.assert_array_equal(obs[action], whole[action] if taken else 0.0)
            np.testing.assert_array_equal(next_obs[action], whole_next[action] if allowed else 0.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.lists(st.integers(1, 8), min_size=1, max_size=9), st.integers(0, 9))
def test_blocks_stay_those_of_their_transition(capacity, counts, seed):
    """However many actions are allowed, and whatever was made room for or restored before."""
    rng, replay = np.random.default_rng(seed), AfterstateReplay(capacity, 6, 3)
    rows, added = {}, 0
    for count in counts:
        new = afterstates(rng, count)
        new.next_mask[:, 1:] = rng.random((count, 2)) < rng.choice([0.0, 0.0, 0.5, 1.0])
        for b in range(max(count - capacity, 0), count):
            rows[added % capacity] = new.next_obs[b].reshape(3, 2)[new.next_mask[b]]
            added += 1
        replay.add(new)
        state = replay.get_state()
        np.testing.assert_array_equal(
            state["next"], np.concatenate([rows[row] for row in range(len(rows))])
        )
        if rng.random() < 0.5:
            replay = AfterstateReplay(capacity, 6, 3)
            replay.set_state(state)
        drawn, places, _ = replay.sample(8)
        for b, place in enumerate(places):
            found = drawn.next_obs[b].reshape(3, 2)[drawn.next_mask[b]]
            np.testing.assert_array_equal(found, rows[place])


@pytest.mark.parametrize("kind", [PrioritizedReplay, AfterstateReplay])
@pytest.mark.parametrize("filled", [0, 2, 5])
def test_a_state_stays_what_it_was_when_it_was_taken(kind, filled):
    """Neither the replay it was taken of nor the one it was given to writes into it."""
    rng = np.random.default_rng(3)
    replay = kind(5, 6, 3, seed=1)
    if filled:
        replay.add(afterstates(rng, filled))
    state = replay.get_state()
    kept = copy.deepcopy(state)
    others = [kind(5, 6, 3, seed=2) for _ in range(2)]
    others[0].set_state(kept)
    others[1].set_state(state)
    for used in (replay, others[1]):
        used.add(afterstates(rng, 3))
        used.update_priorities(np.arange(3), np.full(3, 7.0))
    again = kind(5, 6, 3)
    again.set_state(state)
    for value in state.values():
        for column in value if isinstance(value, list) else [value]:
            if isinstance(column, np.ndarray):
                column[...] = 0
    assert len(again) == filled
    if filled:
        for found, expected in zip(again.sample(30)[0], others[0].sample(30)[0], strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [PrioritizedReplay, AfterstateReplay])
def test_nothing_is_left_of_what_a_restored_replay_held_before(kind):
    rng = np.random.default_rng(4)
    small, full = kind(5, 6, 3, seed=1), kind(5, 6, 3, seed=1)
    small.add(afterstates(rng, 2)._replace(rewards=np.array([1.0, 2.0])))
    full.add(afterstates(rng, 5))
    full.set_state(small.get_state())
    assert set(full.sample(200)[0].rewards) == {1.0, 2.0}
    np.testing.assert_array_equal(full.get_state()["priorities"], [1.0, 1.0])


def test_an_empty_replay_of_afterstates_keeps_none():
    state = AfterstateReplay(5, 6, 3).get_state()
    assert len(state["next"]) == len(state["taken"]) == 0


def test_the_defaults_are_those_of_the_source():
    """alpha 0.6 and beta 0.5; and seed 0."""
    drawn = []
    for replay in (PrioritizedReplay(4, 2, 3), PrioritizedReplay(4, 2, 3, 0.6, 0.5, 0)):
        replay.add(transitions(0, 1, 2, 3))
        replay.update_priorities(np.arange(4), np.array([1.0, 2.0, 3.0, 4.0]))
        drawn.append([replay.sample(3)[1:] for _ in range(20)])
    np.testing.assert_array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize("kind", [PrioritizedReplay, AfterstateReplay])
def test_a_single_transition_is_enough_to_train_on(kind):
    replay = kind(5, 6, 3)
    assert not replay.can_train
    replay.add(afterstates(np.random.default_rng(0), 1))
    assert replay.can_train
