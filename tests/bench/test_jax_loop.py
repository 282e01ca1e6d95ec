"""The JAX opponent plays our world and does our work: slot by slot, and update by update."""

import numpy as np
import pytest
import torch
from torch import nn

from mec_rllib.envs.observation import Encoder
from mec_rllib.rl.dqn.learner import td_loss
from mec_rllib.rl.messages import Transitions
from mec_rllib.sim.jobs import REFERENCE_CLASSES
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.workloads import BernoulliWorkload, ScriptedWorkload

jax = pytest.importorskip("jax")
pytest.importorskip("optax")
loop = pytest.importorskip("mec_rllib.bench.jax_loop")
jnp = jax.numpy


class Scripted(ScriptedWorkload):
    """With the scales of the reference classes, whatever the script holds."""

    max_execution, max_slack, max_weight = 25, 120, 4.0

    def __init__(self, jobs):
        super().__init__(jobs)
        del self.max_execution, self.max_slack, self.max_weight


def script(load, slots, seed):
    """Jobs of the reference classes, so many that buffers overflow."""
    drawn = BernoulliWorkload(REFERENCE_CLASSES, load).arrivals(
        np.random.default_rng(seed), 0, slots
    )
    rows = zip(
        drawn.arrival,
        drawn.requirement[:, 0],
        drawn.execution,
        drawn.slack,
        drawn.weight,
        strict=True,
    )
    return list(rows)


@pytest.mark.parametrize("load", [0.3, 1.5])
def test_a_server_plays_as_ours_does(load):
    slots, rng = 1_500, np.random.default_rng(1)
    jobs = script(load, slots, seed=2)
    ours = ServerBatch(Scripted(jobs), 1)
    encoder = Encoder(ours)
    table = np.array([[e, r, s, w, 0] for _, r, e, s, w in jobs], np.float32)
    counts = np.bincount([job[0] for job in jobs], minlength=slots + 1)
    firsts = np.cumsum(counts) - counts
    stream = loop.stream_of(jnp.array(table))
    step, see = jax.jit(loop.play_slot), jax.jit(lambda s: (loop.observe(s), loop.allowed(s)))
    # An action of nothing in a slot before the first brings the jobs of slot 0.
    theirs, _ = step(loop.empty(), 0, stream, firsts[0], counts[0])
    for slot in range(1, slots):
        obs, mask = see(theirs)
        np.testing.assert_array_equal(mask, ours.mask[0])
        np.testing.assert_allclose(obs, encoder.encode()[0], atol=1e-6)
        action = rng.choice(np.flatnonzero(mask)) if rng.random() < 0.8 else rng.integers(11)
        expected = ours.step(np.array([action]))[0] / 4.0
        theirs, reward = step(theirs, action, stream, firsts[slot], counts[slot])
        assert float(reward) == pytest.approx(expected, abs=1e-5)
    dropped, expired = ours.tally.jobs[0].sum(0)[[3, 2]]
    assert expired > 0
    assert (dropped > 0) == (load > 1)


def test_jobs_come_as_often_and_are_as_large_as_ours():
    draw = jax.jit(jax.vmap(loop.draw_jobs))
    stream, first, arrivals = draw(jax.random.split(jax.random.key(0), 500))
    arrivals, jobs = np.asarray(arrivals), np.asarray(stream.jobs).reshape(-1, 5)
    expected = BernoulliWorkload(REFERENCE_CLASSES, 0.3).job_rate(0)
    assert arrivals.mean() == pytest.approx(expected, rel=0.02)
    np.testing.assert_array_equal(first, np.cumsum(arrivals, 1) - arrivals)
    for c in REFERENCE_CLASSES:
        of_class = jobs[jobs[:, loop.WEIGHT] == c.weight]
        assert len(of_class) / len(jobs) == pytest.approx(c.mix, rel=0.03)
        ranges = (c.execution, c.resources[0], c.slack)
        for column, (low, high) in zip(of_class.T, ranges, strict=False):
            assert (column.min(), column.max()) == (low, high)


def test_an_update_is_ours_with_every_transition_alike():
    rng, n = np.random.default_rng(0), 2
    agent = loop.new_agent(jax.random.key(3))
    target = jax.tree.map(lambda x: x + 0.05 * rng.standard_normal(x.shape), agent.target)
    agent = agent._replace(target=target)
    obs = rng.random((40, n, loop.FEATURES), np.float32)
    mask, action = rng.random((40, n, 11)) < 0.5, rng.integers(11, size=(40, n))
    mask[..., 0] = True
    reward = rng.random((40, n), np.float32)
    memory = loop.Memory(*map(jnp.array, (obs, mask, action, reward)))
    slots, servers = rng.integers(40, size=32), rng.integers(n, size=32)
    now, then = (slots, servers), ((slots + 1) % 40, servers)
    drawn = Transitions(
        obs=obs[now],
        actions=action[now],
        rewards=reward[now],
        next_obs=obs[then],
        next_mask=mask[then],
        discounts=np.full(32, loop.GAMMA),
        mask=np.empty((32, 0), bool),
    )
    online, behind = as_torch(agent.network), as_torch(agent.target)
    adam = torch.optim.Adam(online.parameters(), lr=5e-4)
    for _ in range(3):
        update(online, behind, adam, drawn)
        agent = loop.learn(agent, memory, jnp.array(slots), jnp.array(servers))
    for theirs, ours in ((agent.network, online), (agent.target, behind)):
        for (weights, bias), layer in zip(theirs, ours[::2], strict=True):
            np.testing.assert_allclose(weights.T, layer.weight.detach(), atol=2e-6)
            np.testing.assert_allclose(bias, layer.bias.detach(), atol=2e-6)


def update(online, behind, adam, drawn):
    """One update by autograd, with the loss of our learner."""
    obs, next_obs = torch.from_numpy(drawn.obs), torch.from_numpy(drawn.next_obs)
    q = (online(obs), online(next_obs), behind(next_obs))
    loss, _, _ = td_loss(*(x[:, None] for x in q), drawn, np.ones(32, np.float32))
    adam.zero_grad()
    loss.backward()
    adam.step()
    with torch.no_grad():
        for follower, leader in zip(behind.parameters(), online.parameters(), strict=True):
            follower.lerp_(leader, loop.TAU)


def as_torch(network):
    """The same network in torch."""
    layers = []
    for weights, bias in network:
        layer = nn.Linear(*weights.shape)
        layer.weight.data = torch.tensor(np.array(weights.T))
        layer.bias.data = torch.tensor(np.array(bias))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("servers", [1, 3])
def test_the_loop_plays_and_learns_at_the_rate_asked_for(servers):
    program = loop.program(every=50, updates=2, times=2)
    state = program(loop.first_state(servers))
    assert int(state.slot) == 2 * loop.STEPS
    assert int(state.agent.adam[0].count) == 2 * loop.STEPS // 50 * 2
    obs = np.asarray(state.memory.obs)[: 2 * loop.STEPS]
    assert len(np.unique(obs.reshape(-1, loop.FEATURES), axis=0)) > 100
    assert not np.asarray(state.memory.obs)[2 * loop.STEPS :].any()
    taken = np.take_along_axis(
        np.asarray(state.memory.mask), np.asarray(state.memory.action)[..., None], 2
    )
    assert taken[: 2 * loop.STEPS].all()
