"""The update without Ray: the written gradient, the loss and Adam against torch's own."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from torch import nn
from updates import by_autograd_and_compiled

from mec_rllib.rl.dqn.afterstates import _q_of_allowed, train_on_afterstates
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.dqn.learner import GatedDQNTorchLearner, td_loss
from mec_rllib.rl.dqn.mlp import layers_of
from mec_rllib.rl.dqn.mlp_update import train
from mec_rllib.rl.dqn.updates import CompiledUpdates, is_plain_adam
from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.replay.afterstates import AfterstateReplay
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.rl.targets import follow

OBS, ACTIONS, BATCH = 5, 4, 16


def drawn_batch(seed=0, width=OBS):
    """Transitions with errors on both sides of Huber's 1, ends of episodes, forbidden actions."""
    rng = np.random.default_rng(seed)
    mask = rng.random((BATCH, ACTIONS)) < 0.6
    mask[:, 0] = True
    mask[:4] = np.eye(ACTIONS, dtype=bool)[[2, 3, 1, 2]]  # only one action is allowed there
    discounts = np.where(np.arange(BATCH) % 5 == 0, 0.0, 0.9 ** (1 + np.arange(BATCH) % 3))
    drawn = Transitions(
        rng.normal(size=(BATCH, width)).astype(np.float32),
        rng.integers(0, ACTIONS, BATCH),
        (4.0 * rng.normal(size=BATCH)).astype(np.float32),
        rng.normal(size=(BATCH, width)).astype(np.float32),
        mask,
        discounts,
        np.zeros((BATCH, 0), bool),
    )
    return drawn, rng.uniform(0.1, 1.0, BATCH).astype(np.float32)


def replay_of_batches(on_afterstates, alpha=1.0, batches=3):
    """A replay that holds so many of these batches."""
    width = ACTIONS * (OBS + 1) if on_afterstates else OBS
    kind = AfterstateReplay if on_afterstates else PrioritizedReplay
    replay = kind(batches * BATCH, width, ACTIONS, alpha, seed=5)
    for k in range(batches):
        drawn, _ = drawn_batch(k, width)
        if on_afterstates:  # values decide between actions, not certain rewards
            drawn.next_obs.reshape(BATCH, ACTIONS, -1)[:, :, 0] *= 0.02
        replay.add(drawn)
    return replay


def network(inputs, outputs, seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, outputs)
    )


def linears(net):
    return [layer for layer in net if isinstance(layer, nn.Linear)]


def q_of(net, obs, on_afterstates):
    """(B, A) by torch; a block of an afterstate is its certain reward and what is valued."""
    obs = torch.from_numpy(obs)
    if not on_afterstates:
        return net(obs)
    blocks = obs.reshape(len(obs), ACTIONS, -1)
    return blocks[..., 0] + net(blocks[..., 1:])[..., 0]


def loss_by_hand(online, target, drawn, weights, double_q, on_afterstates):
    """Double DQN with Huber's loss, a row at a time: (loss, mean Q taken, |TD error|)."""
    with torch.no_grad():
        next_q = q_of(online if double_q else target, drawn.next_obs, on_afterstates)
        worth = q_of(target, drawn.next_obs, on_afterstates)
    q = q_of(online, drawn.obs, on_afterstates)
    loss, taken, errors = 0.0, [], []
    for b in range(BATCH):
        allowed = np.flatnonzero(drawn.next_mask[b])
        best = max(allowed, key=lambda a, b=b: next_q[b, a])
        goal = float(drawn.rewards[b]) + float(drawn.discounts[b]) * worth[b, best]
        error = q[b, drawn.actions[b]] - goal
        far = abs(error) > 1.0
        loss = loss + float(weights[b]) * (abs(error) - 0.5 if far else 0.5 * error**2) / BATCH
        taken.append(q[b, drawn.actions[b]].item())
        errors.append(abs(error.item()))
    return loss, np.mean(taken), errors


@pytest.mark.parametrize("double_q", [True, False])
@pytest.mark.parametrize("on_afterstates", [False, True])
def test_the_written_update_is_torchs_own(double_q, on_afterstates):
    """Ten updates by autograd and Adam of torch, and ten of ours: all parameters, all answers.

    Adam's epsilon is large, so that the size of the gradient counts and not its direction only.
    """
    outputs, kernel = (1, train_on_afterstates) if on_afterstates else (ACTIONS, train)
    online, target = (network(OBS, outputs, seed) for seed in (0, 1))
    mine, my_target = copy.deepcopy(online), copy.deepcopy(target)
    adam, my_adam = (torch.optim.Adam(net.parameters(), 0.01, eps=0.01) for net in (online, mine))
    update = CompiledUpdates(linears(mine), linears(my_target), my_adam, 0.1, double_q, kernel)
    replay = replay_of_batches(on_afterstates, alpha=0.5)
    far = near = 0
    for _ in range(10):
        drawn, rows, weights = copy.deepcopy(replay).sample(BATCH)
        loss, mean_q, errors = loss_by_hand(
            online, target, drawn, weights, double_q, on_afterstates
        )
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            for ours, theirs in zip(target.parameters(), online.parameters(), strict=True):
                ours += 0.1 * (theirs - ours)
        found = update.run(replay, 1, BATCH)
        noted = replay.get_state()["priorities"][rows] ** 2
        np.testing.assert_allclose(found.loss, loss.item(), rtol=1e-4)
        np.testing.assert_allclose(found.q_value, mean_q, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.td_error, np.mean(errors), rtol=1e-4)
        np.testing.assert_allclose(noted, errors, rtol=1e-4, atol=1e-5)
        far, near = far + (noted > 1).sum(), near + (noted < 1).sum()
    assert min(far, near) > 20
    for ours, theirs in ((mine, online), (my_target, target)):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(my_adam.state.values(), adam.state.values(), strict=True):
        assert ours["step"] == theirs["step"] == 10
        for name in ("exp_avg", "exp_avg_sq"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-6)


def test_the_written_update_goes_on_where_torchs_adam_was():
    """Three steps by torch, then one of either kind; as after a restored checkpoint."""
    nets = [network(OBS, ACTIONS, 0) for _ in range(2)]
    adams = [torch.optim.Adam(net.parameters(), lr=0.01, eps=0.01) for net in nets]
    target, replay = network(OBS, ACTIONS, 1), replay_of_batches(False)
    for k in range(4):
        drawn, _, weights = copy.deepcopy(replay).sample(BATCH)
        if k == 3:
            there = linears(copy.deepcopy(target))
            CompiledUpdates(linears(nets[1]), there, adams[1], 0.1, True, train).run(
                replay, 1, BATCH
            )
        for net, adam in list(zip(nets, adams, strict=True))[: 1 if k == 3 else 2]:
            adam.zero_grad()
            loss_by_hand(net, target, drawn, weights, True, False)[0].backward()
            adam.step()
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-4, atol=1e-6)
    assert {float(state["step"]) for state in adams[1].state.values()} == {4.0}


def test_q_of_afterstates_is_the_certain_reward_and_the_value_of_what_is_allowed():
    """Blocks that are all zero but for the reward are those of forbidden actions: Q = 0."""
    rng, net = np.random.default_rng(0), network(OBS, 1, 2)
    blocks = rng.normal(size=(6, ACTIONS, 1 + OBS)).astype(np.float32)
    blocks[:, :, 1 : 1 + OBS // 2] = 0.0  # no unit is free yet, but some later
    allowed = rng.random((6, ACTIONS)) < 0.5
    allowed[0], allowed[1] = True, False
    blocks[~allowed, 1:] = 0.0
    blocks[0, 0, 2:] = 0.0  # a single feature is enough
    blocks[0, 0, 1] = 1.0
    with torch.no_grad():
        expected = np.where(allowed, q_of(net, blocks.reshape(6, -1), True).numpy(), 0.0)
    found = _q_of_allowed(layers_of(linears(net)), blocks.reshape(6, -1), ACTIONS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not found[1].any()


@pytest.fixture
def new_learner():
    """A learner in this process, without Ray."""

    def new(width=OBS, double_q=True, activation="relu", **observe):
        spaces = Box(-9.0, 9.0, (width,), np.float32), Discrete(ACTIONS)
        config = (
            GatedDQNConfig()
            .acting(observe=observe)
            .training(lr=0.01, double_q=double_q, tau=0.1)
            .rl_module(model_config={"fcnet_hiddens": [8, 7], "fcnet_activation": activation})
            .debugging(seed=0)
        )
        return config.build_learner(spaces={"__env__": spaces, DEFAULT_MODULE_ID: spaces})

    return new


def weights_of(learner):
    state = learner.module[DEFAULT_MODULE_ID].unwrapped().state_dict()
    return {k: v.clone() for k, v in state.items() if k.endswith(("weight", "bias"))}


@pytest.mark.parametrize("options", [{}, {"double_q": False}, {"afterstates": True}])
def test_a_learner_updates_as_autograd_does_from_the_state_that_it_is_given(new_learner, options):
    on_afterstates = "afterstates" in options
    replay = replay_of_batches(on_afterstates)
    learner = new_learner(ACTIONS * (OBS + 1) if on_afterstates else OBS, **options)
    for _ in range(3):
        drawn, _, weights = replay.sample(BATCH)
        learner.autograd_update(drawn, weights)
    untrained = weights_of(learner)
    (metrics, autograd), (mine, compiled) = by_autograd_and_compiled(learner, replay, 5, BATCH)
    np.testing.assert_allclose(mine, metrics, rtol=2e-3, atol=1e-4)
    for name, value in untrained.items():
        np.testing.assert_allclose(
            compiled[name], autograd[name], rtol=2e-3, atol=1e-4, err_msg=name
        )
        assert not torch.equal(autograd[name], value)  # the target follows, too
    assert not all(torch.equal(compiled[name], autograd[name]) for name in untrained)


@pytest.mark.parametrize("on_afterstates", [False, True])
def test_a_restored_learner_goes_on_bit_for_bit(new_learner, on_afterstates):
    learners = [
        new_learner(ACTIONS * (OBS + 1), afterstates=True) if on_afterstates else new_learner()
        for _ in range(2)
    ]
    learners[0].learn(replay_of_batches(on_afterstates), 3, BATCH)
    learners[1].set_state(copy.deepcopy(learners[0].get_state()))
    one, other = (
        (learner.learn(replay_of_batches(on_afterstates), 2, BATCH), weights_of(learner))
        for learner in learners
    )
    assert one[0] == other[0]
    assert all(torch.equal(value, other[1][name]) for name, value in one[1].items())


class OwnReplay(PrioritizedReplay):
    """A replay of a user: it says itself what is drawn."""

    drawn = 0

    def sample(self, batch):
        self.drawn += 1
        return super().sample(batch)


class OwnLoss(GatedDQNTorchLearner):
    """A learner of a user."""

    losses = 0

    def compute_flat_loss(self, *arguments):
        self.losses += 1
        return super().compute_flat_loss(*arguments)


def test_what_a_user_overrides_is_asked(new_learner, monkeypatch):
    learner, replay = new_learner(), replay_of_batches(False)
    replay.__class__ = OwnReplay
    learner.learn(replay, 3, 4)
    assert replay.drawn == 3
    monkeypatch.setattr(DefaultDQNTorchRLModule, "learner_class", OwnLoss, raising=False)
    learner = new_learner()
    learner.learn(replay_of_batches(False), 3, 4)
    assert learner.losses == 3


def test_a_loss_of_a_learner_is_that_by_hand(new_learner):
    for double_q in (True, False):
        learner = new_learner(double_q=double_q)
        for k in range(3):
            learner.autograd_update(*drawn_batch(k))
        module = learner.module[DEFAULT_MODULE_ID].unwrapped()
        nets = [
            lambda obs, e=encoder, a=head: a(e({Columns.OBS: obs})["encoder_out"])
            for encoder, head in (
                (module.encoder, module.af),
                (module._target_encoder, module._target_af),
            )
        ]
        drawn, weights = drawn_batch(5)
        loss, taken, errors = learner.compute_flat_loss(module, drawn, weights)
        expected = loss_by_hand(*nets, drawn, weights, double_q, False)
        assert loss.item() == pytest.approx(expected[0].item(), rel=1e-5)
        assert taken.mean().item() == pytest.approx(expected[1], rel=1e-4, abs=1e-6)
        np.testing.assert_allclose(errors, expected[2], rtol=1e-4, atol=1e-6)


def test_what_is_no_plain_network_is_updated_by_autograd(new_learner):
    learner, replay = new_learner(activation="tanh"), filled_replay(width=OBS)
    assert learner._compiled_updates is None
    before = weights_of(learner)
    metrics = learner.learn(replay, 4, 8)
    assert metrics.updates == 4
    assert metrics.loss > 0
    after = weights_of(learner)
    assert not any(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("heads", [1, 3])
def test_the_loss_over_heads_by_hand(heads):
    drawn, weights = drawn_batch()
    rng = np.random.default_rng(7)
    q, judge, target = (
        torch.from_numpy(rng.normal(size=(BATCH, heads, ACTIONS)).astype(np.float32))
        for _ in range(3)
    )
    loss, taken, error = td_loss(q.requires_grad_(), judge, target, drawn, weights)
    total, all_taken, errors = 0.0, np.zeros(BATCH), np.zeros(BATCH)
    for b in range(BATCH):
        for h in range(heads):
            allowed = np.flatnonzero(drawn.next_mask[b])
            best = allowed[np.argmax(judge[b, h].numpy()[allowed])]
            goal = drawn.rewards[b] + drawn.discounts[b] * target[b, h, best].item()
            e = q[b, h, drawn.actions[b]].item() - goal
            total += weights[b] * (0.5 * e * e if abs(e) <= 1 else abs(e) - 0.5) / BATCH
            all_taken[b] += q[b, h, drawn.actions[b]].item() / heads
            errors[b] += abs(e) / heads
    assert loss.item() == pytest.approx(total, rel=1e-5)
    np.testing.assert_allclose(taken.detach(), all_taken, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(error, errors, rtol=1e-5)
    loss.backward()
    moved = np.abs(q.grad.numpy()).sum(axis=1) > 0  # only the actions taken
    np.testing.assert_array_equal(moved.argmax(axis=1), drawn.actions)
    assert moved.sum() == BATCH


def test_the_target_follows_softly():
    main, target = network(3, 2, 0), network(3, 2, 1)
    expected = [
        0.75 * t.detach() + 0.25 * m.detach()
        for t, m in zip(target.parameters(), main.parameters(), strict=True)
    ]
    follow(SimpleNamespace(get_target_network_pairs=lambda: [(main, target)]), 0.25)
    for found, value in zip(target.parameters(), expected, strict=True):
        torch.testing.assert_close(found.detach(), value)


def filled_replay(seed=0, width=2):
    """20 transitions that tell themselves by their reward, with priorities from 1 to 3."""
    v = np.arange(20, dtype=np.float32)
    obs, mask = np.repeat(v[:, None], width, axis=1), np.ones((20, ACTIONS), bool)
    rows = Transitions(obs, v.astype(np.int64) % 3, v, obs, mask, np.full(20, 0.9), mask[:, :0])
    replay = PrioritizedReplay(20, width, ACTIONS, alpha=1.0, beta=0.5, seed=seed)
    replay.add(rows)
    replay.update_priorities(np.arange(20), np.linspace(1.0, 3.0, 20))
    return replay


def learn(replay, updates, batch):
    """`learn` of a learner whose update is ours: what it was given, and what it gave back."""
    given = []

    def update(drawn, weights):
        given.append((drawn, weights))
        return 0.5 * len(given), 2.0, 10.0 + drawn.rewards

    learner = SimpleNamespace(_compiled_updates=None, autograd_update=update)
    return given, GatedDQNTorchLearner.learn(learner, replay, updates, batch)


def test_an_update_is_given_what_was_drawn_and_its_importance_weights():
    given, metrics = learn(filled_replay(), updates=1, batch=8)
    drawn, _, weights = filled_replay().sample(8)
    np.testing.assert_array_equal(given[0][0].rewards, drawn.rewards)
    np.testing.assert_array_equal(given[0][1], weights)
    assert weights.min() < 0.9  # they say something
    assert metrics == (1, 0.5, pytest.approx(10.0 + drawn.rewards.mean()), 2.0)


def test_the_priorities_of_what_was_drawn_become_their_errors():
    replay = filled_replay()
    before = replay.get_state()["priorities"]
    given, metrics = learn(replay, updates=3, batch=4)
    seen = np.unique(np.concatenate([drawn.rewards for drawn, _ in given])).astype(int)
    expected = np.where(np.isin(np.arange(20), seen), 10.0 + np.arange(20), before)
    np.testing.assert_allclose(replay.get_state()["priorities"], expected, rtol=1e-6)
    assert 4 < len(seen) < 20
    assert (metrics.updates, metrics.loss, metrics.q_value) == (3, 1.0, 2.0)


def test_only_the_plain_adam_is_written_out():
    parameters = [torch.zeros(2, requires_grad=True)]
    assert is_plain_adam(torch.optim.Adam(parameters))
    for option in ({"weight_decay": 0.1}, {"amsgrad": True}, {"maximize": True}):
        assert not is_plain_adam(torch.optim.Adam(parameters, **option))
    assert not is_plain_adam(torch.optim.AdamW(parameters, weight_decay=0.0))
    groups = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(2)]
    assert not is_plain_adam(torch.optim.Adam(groups))
