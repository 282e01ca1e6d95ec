"""The runner in this process, without Ray: what it stores, what its gate and exploration see."""

import numpy as np
import pytest

from mec_rllib.gates import GATES, PTS
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.env_runner import MecEnvRunner
from mec_rllib.rl.exploration import Greedy

SERVERS = 2


class Noting(PTS):
    """Trains every 5 slots, and notes what it sees."""

    needs_td = True
    views: list

    def wants(self, view):
        self.views = [*getattr(self, "views", []), view._replace(td_error=view.td_error.copy())]
        return super().wants(view)


class Random(Greedy):
    """Draws evenly what is allowed; notes the slots that it is told."""

    slots: list

    def choose(self, q, servers, slot, rng):
        self.slots = [*getattr(self, "slots", []), slot]
        return np.where(servers.mask, rng.random(servers.mask.shape), -1.0).argmax(axis=1)


def runner_of(gate=Noting, seed=3, **gate_args):
    config = (
        GatedDQNConfig()
        .gating(gate=gate, gate_args=gate_args or {"period": 5})
        .env_runners(num_envs_per_env_runner=SERVERS)
        .environment(env_config={"load": 0.6})
        .replay(learning_starts=0)
        .acting(exploration=Random)
        .debugging(seed=seed)
    )
    return MecEnvRunner(config=config)


def by_slot(fragment):
    """Columns of shape (slots, N, ...)."""
    slots = fragment.slots // SERVERS
    return [c.reshape(slots, SERVERS, *c.shape[1:]) for c in fragment.transitions]


def test_a_slot_is_stored_as_the_agent_acted_on_it_training_flag_included():
    """Trains every 5 slots on draining servers; the flag is the last column of an observation."""
    runner = runner_of()
    world, step, waiting = runner.env.servers, runner.env.servers.step, []

    def noted_step(actions):
        waiting.append(world.training_waiting.copy())
        return step(actions)

    world.step = noted_step
    fragment = runner.sample(num_slots=200)
    obs, _, _, next_obs, *_ = by_slot(fragment)
    waiting = np.array(waiting)
    np.testing.assert_array_equal(obs[..., -1] == 1.0, waiting)
    inserted = waiting[1:] & (next_obs[:-1, :, -1] == 0.0)  # by the gate, in this very slot
    assert inserted.sum() > 20
    # Nothing but the flag is different from what the slot before led to.
    np.testing.assert_array_equal(obs[1:, :, :-1], next_obs[:-1, :, :-1])
    assert fragment.credits.sum() == len(fragment.training_slots) > 20


@pytest.mark.parametrize("gate", [Noting, GATES["ats"]])
def test_the_td_error_is_that_of_the_slot_before(gate):
    """r + gamma * V(s') - Q(s, a), with V of the actions allowed before the gate's beat."""
    runner = runner_of(gate, period=5)
    errors, note = [], runner._td.update
    runner._td.update = lambda error, value: (
        errors.append((error.copy(), value)) or note(error, value)
    )
    obs, actions, rewards, next_obs, next_mask, _, _ = by_slot(runner.sample(num_slots=60))
    found, values = (np.array(column) for column in zip(*errors, strict=True))
    q, next_q = (
        runner._q(np.ascontiguousarray(o.reshape(60 * SERVERS, -1))).reshape(60, SERVERS, -1)
        for o in (obs, next_obs)
    )
    taken = np.take_along_axis(q, actions[..., None], axis=2)[..., 0]
    value = np.where(next_mask, next_q, -np.inf).max(axis=2)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(values[1:], value[:-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found[1:], (rewards + 0.95 * value - taken)[:-1], rtol=1e-4, atol=1e-5
    )
    assert np.abs(value).max() > 0.01  # a discount matters
    if gate is Noting:
        seen = np.array([view.td_error for view in runner._gating.gate.views])
        np.testing.assert_array_equal(seen, found)


def test_an_exploration_is_told_the_slot_of_the_agents_life():
    runner = runner_of()
    runner.sample(num_slots=20)
    runner.sample(num_slots=20)
    slots = runner._exploration.slots
    assert slots == list(range(0, 40 * SERVERS, SERVERS))


def test_two_seeds_draw_differently_and_one_seed_the_same():
    drawn = [runner_of(seed=seed)._rng.random(8) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.isin(drawn[0], drawn[2]).any()


def test_the_replays_of_two_seeds_draw_differently_and_of_one_seed_the_same():
    transitions = runner_of().sample(num_slots=50).transitions
    rows = []
    for seed in (3, 3, 4):
        replay = GatedDQNConfig().debugging(seed=seed).build_replay(transitions.obs.shape[1], 11)
        replay.add(transitions)
        rows.append(replay.sample(32)[1])
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
