"""n-step returns: by hand, against a plain loop over random slots, and in pieces."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.replay.n_step import NStep


def test_n_step_returns_by_hand():
    """n = 3, gamma = 0.5, rewards 1, 2, 4, 8: 1 + 1 + 1 and 2 + 2 + 2; two slots are held back."""
    slots = np.arange(4)
    rows = Transitions(
        obs=slots[:, None, None].astype(np.float32),
        actions=slots[:, None],
        rewards=np.array([[1.0], [2.0], [4.0], [8.0]], np.float32),
        next_obs=slots[:, None, None].astype(np.float32) + 1,
        next_mask=np.ones((4, 1, 2), bool),
        discounts=np.full((4, 1), 0.5),
        mask=np.ones((4, 1, 0), bool),
    )
    whole = NStep(3, 0.5).extend(rows)
    np.testing.assert_array_equal(whole.rewards, [[3.0], [6.0]])
    np.testing.assert_array_equal(whole.actions, [[0], [1]])
    np.testing.assert_array_equal(whole.next_obs[:, 0, 0], [3, 4])
    np.testing.assert_array_equal(whole.discounts, [[0.125], [0.125]])
    in_pieces, n_step = [], NStep(3, 0.5)
    for k in range(4):
        state = n_step.get_state()
        n_step = NStep(3, 0.5)
        n_step.set_state(state)
        in_pieces.append(n_step.extend(Transitions._make(c[k : k + 1] for c in rows)))
    for column, pieces in zip(whole, zip(*in_pieces, strict=True), strict=True):
        np.testing.assert_array_equal(column, np.concatenate(pieces))


def test_n_step_returns_end_with_their_episode():
    """n = 3, gamma = 0.5; slot 1 terminates, slot 3 truncates, of 6 slots with reward 1."""
    slots = np.arange(6)
    rows = Transitions(
        obs=slots[:, None, None].astype(np.float32),
        actions=slots[:, None],
        rewards=np.ones((6, 1), np.float32),
        next_obs=slots[:, None, None].astype(np.float32) + 0.5,
        next_mask=np.ones((6, 1, 2), bool),
        discounts=np.where(slots == 1, 0.0, 0.5)[:, None],
        mask=np.ones((6, 1, 0), bool),
    )
    ends = np.isin(slots, (1, 3))[:, None]
    expected = {
        "rewards": [1.5, 1.0, 1.5, 1.0],
        "next_obs": [1.5, 1.5, 3.5, 3.5],
        "discounts": [0.0, 0.0, 0.25, 0.5],
    }
    whole = NStep(3, 0.5).extend(rows, ends)
    pieces, n_step = [], NStep(3, 0.5)
    for k in range(6):
        state, n_step = n_step.get_state(), NStep(3, 0.5)
        n_step.set_state(state)
        piece = Transitions._make(column[k : k + 1] for column in rows)
        pieces.append(n_step.extend(piece, ends[k : k + 1]))
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(whole, name).ravel(), values)
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(joined.ravel(), values)


COLUMNS = ("obs", "actions", "rewards", "next_obs", "next_mask", "discounts", "mask")


def slots_of(rng, slots, servers, gamma, ends):
    """Random one-slot transitions; half of the ends are for good."""
    terminated = ends & (rng.random((slots, servers)) < 0.5)
    return Transitions(
        rng.random((slots, servers, 2), np.float32),
        rng.integers(0, 5, (slots, servers)),
        rng.normal(size=(slots, servers)).astype(np.float32),
        rng.random((slots, servers, 2), np.float32),
        rng.random((slots, servers, 3)) < 0.5,
        np.where(terminated, 0.0, gamma),
        rng.random((slots, servers, 3)) < 0.5,
    )


def by_loop(rows, ends, steps, gamma):
    """What the return of every slot is, one server and slot after the other."""
    found = {name: [] for name in COLUMNS}
    slots, servers = rows.rewards.shape
    for t in range(slots - steps + 1):
        for i in range(servers):
            reward, last = 0.0, t
            for k in range(steps):
                last = t + k
                reward += gamma**k * float(rows.rewards[last, i])
                if ends[last, i]:
                    break
            length = last - t + 1
            values = (rows.obs[t, i], rows.actions[t, i], reward, rows.next_obs[last, i])
            discount = gamma**length if rows.discounts[last, i] > 0 else 0.0
            values += (rows.next_mask[last, i], discount, rows.mask[t, i])
            for name, value in zip(COLUMNS, values, strict=True):
                found[name].append(value)
    return found


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.sampled_from([0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.3]),
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
)
def test_n_step_returns_are_those_of_a_plain_loop(seed, steps, gamma, ending, pieces):
    """Handed over in pieces of any size, by two servers, whose columns stay as they are."""
    rng, slots = np.random.default_rng(seed), sum(pieces)
    ends = rng.random((slots, 2)) < ending
    rows = slots_of(rng, slots, 2, gamma, ends)
    before = [column.copy() for column in rows]
    n_step, got, start = NStep(steps, gamma), [], 0
    for piece in pieces:
        part = slice(start, start + piece)
        some = Transitions._make(column[part] for column in rows)
        got.append(n_step.extend(some, ends[part] if ending else None).flat())
        start += piece
    expected = by_loop(rows, ends, steps, gamma)
    for name, pieces_of_it in zip(COLUMNS, zip(*got, strict=True), strict=True):
        found = np.concatenate(pieces_of_it)
        assert len(found) == len(expected[name])
        if len(found):
            np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-6)
            assert found.dtype == getattr(rows, name).dtype
    for column, value in zip(rows, before, strict=True):
        np.testing.assert_array_equal(column, value)


def test_what_is_held_back_is_a_copy_and_so_is_its_state():
    """A runner writes into the same rows again; a state that was saved stays as it was."""
    rng, ends = np.random.default_rng(0), np.array([[0], [0], [0], [1], [0], [0]], bool)
    rows = slots_of(rng, 6, 1, 0.9, ends)
    expected = by_loop(rows, ends, 3, 0.9)["rewards"]
    n_step = NStep(3, 0.9)
    assert n_step.get_state() is None
    first, first_ends = Transitions._make(c[:4].copy() for c in rows), ends[:4].copy()
    n_step.extend(first, first_ends)
    for column in (*first, first_ends):
        column[...] = 0
    state = n_step.get_state()
    for _ in range(2):
        other = NStep(3, 0.9)
        given = [column.copy() for column in state]
        other.set_state(given)
        for column in given:
            column[...] = 0
        rest = other.extend(Transitions._make(column[4:] for column in rows), ends[4:])
        np.testing.assert_allclose(rest.rewards[:, 0], expected[2:], rtol=1e-6)
        for column in state:
            assert column.base is None
    for column in n_step.get_state():
        column[...] = 0
    rest = n_step.extend(Transitions._make(column[4:] for column in rows), ends[4:])
    np.testing.assert_allclose(rest.rewards[:, 0], expected[2:], rtol=1e-6)
    n_step.set_state(None)
    assert len(n_step.extend(Transitions._make(column[4:] for column in rows)).rewards) == 0


def test_one_step_is_handed_on_as_it_is():
    rows = slots_of(np.random.default_rng(0), 3, 2, 0.9, np.zeros((3, 2), bool))
    assert NStep(1, 0.9).extend(rows) is rows
