"""A training job in one compiled call is its updates one after the other, bit for bit."""

import importlib
import sys

import numba
import numpy as np
import pytest
import torch
from torch import nn

from mec_rllib.rl.dqn.afterstates import differentiate_afterstates, train_on_afterstates
from mec_rllib.rl.dqn.mlp_update import descend, differentiate, train
from mec_rllib.rl.dqn.updates import CompiledUpdates
from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.replay.afterstates import AfterstateReplay
from mec_rllib.rl.replay.prioritized import PrioritizedReplay

FEATURES, ACTIONS, CAPACITY, BATCH = 6, 4, 50, 8


def transitions(rng, count, width):
    """Some with one action allowed, some with several; some end their episode."""
    mask = rng.random((count, ACTIONS)) < 0.3
    mask[np.arange(count), rng.integers(0, ACTIONS, count)] = True
    obs, next_obs = rng.normal(size=(2, count, width)).astype(np.float32)
    rewards = (2.0 * rng.normal(size=count)).astype(np.float32)
    discounts = np.where(rng.random(count) < 0.1, 0.0, 0.95)
    actions = rng.integers(0, ACTIONS, count)
    return Transitions(obs, actions, rewards, next_obs, mask, discounts, np.zeros((count, 0), bool))


def built(on_afterstates, double_q=True, alpha=0.6, count=30, kernel=None):
    """Networks, their updates, and a replay that `count` transitions were added to."""
    kind, outputs = (AfterstateReplay, 1) if on_afterstates else (PrioritizedReplay, ACTIONS)
    width = ACTIONS * (FEATURES + 1) if on_afterstates else FEATURES
    replay, rng = kind(CAPACITY, width, ACTIONS, alpha, seed=3), np.random.default_rng(1)
    for _ in range(count // 10):
        replay.add(transitions(rng, 10, width))
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append([nn.Linear(FEATURES, 9), nn.Linear(9, 7), nn.Linear(7, outputs)])
    adam = torch.optim.Adam([p for layer in nets[0] for p in layer.parameters()], 0.01)
    kernel = kernel or (train_on_afterstates if on_afterstates else train)
    return CompiledUpdates(*nets, adam, 0.1, double_q, kernel), replay


def state_of(updates, replay):
    """All that an update may change."""
    adam, tree = updates._adam, replay.priorities
    state = [*adam[:2], *adam[3:6], tree.tree, tree.largest]
    return [value.copy() for value in state], replay.get_state()["rng"]


def assert_same(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[1] == other[1]


def one_by_one(updates, replay, count):
    """The updates in plain Python: what a job was before all of them were one call."""
    differentiated = differentiate
    if isinstance(replay, AfterstateReplay):
        differentiated = differentiate_afterstates
    sums = np.zeros(3)
    for _ in range(count):
        _, drawn, importance = replay.sample(BATCH)
        rows, _, *more = replay.parts
        errors = differentiated(updates._networks, rows, *more, drawn, importance, sums)
        descend(updates._adam)
        replay.update_priorities(drawn, errors)
        # By Python's own power: numpy's differs in the last bit where it computes eight at once.
        new = [(error + 1e-6) ** replay.priorities.alpha for error in errors.tolist()]
        np.testing.assert_array_equal(replay.get_state()["priorities"][drawn], new)
    return (count, *(sums / count))


@pytest.mark.parametrize("count", [10, 40, 130])  # one batch; not yet full; wrapped around
@pytest.mark.parametrize("alpha", [0.0, 0.6])
@pytest.mark.parametrize("double_q", [True, False])
@pytest.mark.parametrize("on_afterstates", [False, True])
@pytest.mark.parametrize("job", [1, 32])
def test_a_job_is_its_updates_one_after_the_other(on_afterstates, double_q, alpha, count, job):
    ends = []
    for run in (one_by_one, lambda updates, replay, count: updates.run(replay, count, BATCH)):
        updates, replay = built(on_afterstates, double_q, alpha, count)
        before = state_of(updates, replay)
        metrics = run(updates, replay, job)
        ends.append((state_of(updates, replay), tuple(metrics)))
    assert_same(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    for name, (a, b) in enumerate(zip(before[0][:5], ends[0][0][0], strict=False)):
        assert not np.array_equal(a, b), name


@pytest.mark.parametrize("on_afterstates", [False, True])
def test_half_of_a_job_is_the_first_half_of_its_updates(on_afterstates):
    """A callback may allow fewer; the rest, had it been allowed later, would have been the same."""
    (whole, replay), (halves, halved) = (built(on_afterstates) for _ in range(2))
    whole.run(replay, 10, BATCH)
    for part in (5, 1, 4):
        halves.run(halved, part, BATCH)
    assert_same(state_of(whole, replay), state_of(halves, halved))


def test_no_update_is_drawn_from_an_empty_replay():
    updates, replay = built(False, count=0)
    before = state_of(updates, replay)
    with pytest.raises(ValueError, match="empty"):
        updates.run(replay, 1, BATCH)
    assert_same(before, state_of(updates, replay))


KERNELS = ("replay.priorities", "replay.prioritized", "replay.afterstates", "dqn.mlp")
UPDATES = ("dqn.mlp_update", "dqn.updates", "dqn.q_function", "dqn.learner", "dqn.afterstates")


@pytest.fixture
def plain(monkeypatch):
    """The compiled functions in plain Python, as with NUMBA_DISABLE_JIT=1."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    for name in KERNELS + UPDATES:
        package, _, module = f"mec_rllib.rl.{name}".rpartition(".")
        monkeypatch.setattr(sys.modules[package], module, sys.modules[f"{package}.{module}"])
        monkeypatch.delitem(sys.modules, f"{package}.{module}")
    afterstates = importlib.import_module("mec_rllib.rl.dqn.afterstates")
    update = importlib.import_module("mec_rllib.rl.dqn.mlp_update")
    return {False: update.train, True: afterstates.train_on_afterstates}


@pytest.mark.parametrize("on_afterstates", [False, True])
def test_compiled_code_means_what_it_says_in_plain_python(on_afterstates, plain):
    assert not hasattr(plain[on_afterstates], "py_func")
    ends = []
    for kernel in (None, plain[on_afterstates]):
        updates, replay = built(on_afterstates, kernel=kernel)
        metrics = updates.run(replay, 3, BATCH)
        ends.append((state_of(updates, replay), metrics))
    for a, b in zip(ends[0][0][0], ends[1][0][0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-5)
    assert ends[0][0][1] == ends[1][0][1]
