"""What training is worth, and the gates of the examples: td_slope, bandit."""

import numpy as np
import pytest
from gate_slots import fires, play, view

from examples.gates.bandit import Bandit
from examples.gates.td_slope import TDSlope
from mec_rllib.gates.value import TrainingValue

SLOTS = 2000


def exact(gate, **options):
    """A gate whose averages are the last TD error, and whose floor is it, too: share = least."""
    return gate(1, td_rate=1.0, drift_rate=1.0, **options)


def test_the_share_follows_the_td_error_above_its_floor():
    value = TrainingValue(1, worth=0.1, least=0.01, most=0.3, td_rate=1.0, drift_rate=0.5)
    # floor: 0.5, 0.75, 0.1 (down at once), 0.2 (the TD error is 0.3), 0.6 (1.0)
    steps = ((1.0, 0.1), (1.0, 0.1 / 3), (0.1, 0.01), (0.3, 0.05), (1.0, 0.1 * (1 / 0.6 - 1)))
    for td_error, expected in steps:
        kappa = value.of(view(td_error=-td_error, since=20))
        assert value.share == pytest.approx(expected)
        assert kappa == pytest.approx(0.1 * (20 * expected - 1))


def test_td_slope_follows_the_td_error():
    gate = TDSlope(1, gain=2.0, least=0.01, most=0.4, half_life=10**9, td_rate=1.0)
    for td_error, expected in ((1.0, 0.4), (0.5, 0.1), (-0.75, 0.225), (9.0, 0.4), (0.1, 0.01)):
        gate.wants(view(td_error=td_error))
        assert gate.metrics()["chance"] == pytest.approx(expected)


def test_td_slope_ends_at_least_where_the_td_error_is_flat():
    gate = TDSlope(1, least=0.1, most=0.5, half_life=10, td_rate=0.5)
    fired = fires(gate, np.zeros(11_000), td_error=0.2)
    assert gate.metrics()["chance"] == pytest.approx(0.1)
    assert 950 <= sum(slot >= 1000 for slot in fired) <= 1050


def busy_world(gate, slots=4000, seed=0):
    """Every other slot is busy; training in a busy slot costs 1 in the next, elsewhere nothing."""
    rng, since, fired, reward = np.random.default_rng(seed), 1, [], 0.0
    for slot in range(slots):
        empty = bool(rng.random() < 0.5)
        state = view(0.0, since, empty=empty, idle=empty, slot=slot, reward=reward)
        wanted = gate.wants(state)
        gate.credits(wanted)
        reward = rng.normal(0.1, 0.3) - (wanted[0] and not empty)
        since = 1 if wanted[0] else since + 1
        if wanted[0]:
            fired.append((slot, empty))
    return fired


def test_bandit_learns_where_training_costs_nothing():
    gate = exact(Bandit, horizon=3, prior=10.0, overhead=0.5, least=0.02, most=0.04)
    fired = busy_world(gate)
    late = [empty for slot, empty in fired if slot >= 2000]
    assert np.mean(late) > 0.95
    assert 30 <= len(late) <= 60


def test_every_tenth_training_job_is_the_bandits_own():
    gate = Bandit(2, own_every=10)
    earned = [gate.credits(np.array([True, False])) for _ in range(20)]
    assert [not e[0] for e in earned] == ([False] * 9 + [True]) * 2
    assert gate.metrics()["own_updates"] == 1.0  # two of one server, none of the other


def test_bandit_regresses_rewards_on_what_it_did():
    rng, horizon, slots = np.random.default_rng(5), 4, 300
    gate = Bandit(1, horizon=horizon, prior=7.0, forget=1.0, own_every=10**6)
    seen, since, waits = [], 1, 0
    for slot in range(slots):
        psi, td, reward = rng.normal(), rng.random(), rng.normal()
        state = view(
            *(psi, since, td),
            idle=False,
            empty=psi > 0,
            can_ask=not waits,
            slot=slot,
            reward=reward,
        )
        # What is granted may wait for some slots, and what is not granted leaves no trace.
        granted = bool(gate.wants(state)[0]) and not waits and rng.random() < 0.7
        context = [1.0, psi, psi > 0, 0.0, np.log1p(since) / np.log1p(1000.0), td]
        seen.append((context, granted, reward, not waits))
        ends = waits == 1
        waits = rng.integers(0, 3) if granted else max(waits - 1, 0)
        since = 1 if ends or (granted and not waits) else since + 1
    rewards = np.array([reward for *_, reward, _ in seen])
    rewards -= np.cumsum(rewards) / np.arange(1, slots + 1)  # less what is usual
    rows, targets = [], []
    for slot, (context, granted, _, can_ask) in enumerate(seen[: slots - horizon]):
        if can_ask:
            rows.append([*context, *(np.array(context) * granted)])
            expected = granted * context[1]
            targets.append(rewards[slot + 1 : slot + 1 + horizon].sum() - expected)
    z = np.array(rows, float)
    ridge = np.diag([1.0] * 6 + [7.0] * 6)
    expected = np.linalg.solve(z.T @ z + ridge, z.T @ targets)[6:]
    gate.own_every = 1
    gate.credits(np.array([True]))
    np.testing.assert_allclose(gate.get_state()["correction"][0], expected)


def slots_of(servers, seed=2):
    """What so many servers go through."""
    rng, shape = np.random.default_rng(seed), (SLOTS, servers)
    return {
        "psis": np.round(np.minimum(rng.normal(size=shape), 0.0), 1),  # many ties
        "td": rng.uniform(0.0, 0.12, shape),
        "td_error": rng.normal(size=shape) * (1 + (np.arange(SLOTS) > 1000))[:, None],
        "empty": rng.random(shape) < 0.5,
        "can_ask": rng.random(shape) < 0.9,
        "reward": rng.normal(size=shape),
    }


def test_a_batch_decides_as_its_servers_do_alone():
    slots = slots_of(3)
    together = play(Bandit(3, own_every=3, least=0.02), **slots)
    assert together.any(axis=0).all()
    for server in range(3):
        own = {k: v[:, server : server + 1] for k, v in slots.items()}
        alone = play(Bandit(1, own_every=3, least=0.02), **own)
        np.testing.assert_array_equal(alone[:, 0], together[:, server])
