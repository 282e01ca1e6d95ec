"""The gates that are not the source's: budget, price, td_slope, bandit."""

import numpy as np
import pytest
from gate_slots import RELIABLE, UNRELIABLE, fires, play, view
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.gates.bandit import Bandit
from examples.gates.td_slope import TDSlope
from mec_rllib.gates import Budget, Price

SLOTS = 2000
SMALL = {"window": 4, "min_history": 4, "refresh": 1}  # enough for paper


def fixed_budget(share, **options):
    return Budget(1, first_share=share, last_share=share, **options)


def test_budget_spends_a_token_where_psi_reaches_the_quantile_of_its_rate():
    psis = [-4, -3, -2, -1, 0, 5, -6, 6, -9, 7, 7, -9, 7]
    # A quarter of a token a slot, one saved at most: the first is there in slot 3.
    # 3: -4 -3 -2 -1 -> -1.75, -1 fires    5: 5 is the highest, but the token is gone until slot 7
    # 7:  0  5 -6  6 ->  5.25,  6 fires    11: a token, -9    12: 7 7 -9 7 -> 7, a tie fires
    assert fires(fixed_budget(0.25, burst=1, **SMALL), psis) == [3, 7, 12]


@pytest.mark.parametrize(("fallback", "expected"), [("pts", [3, 7, 11]), ("server_empty", [5])])
def test_budget_spends_at_its_rate_while_q_is_unreliable(fallback, expected):
    empty = np.array([[0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]], bool).T
    gate = fixed_budget(0.25, burst=1, fallback=fallback, **SMALL)
    # server_empty: the token of slot 3 waits for slot 5; the next is there in slot 9 only
    assert fires(gate, np.zeros(12), td=UNRELIABLE, empty=empty) == expected


def test_saved_tokens_are_spent_one_after_the_other():
    empty = np.arange(100)[:, None] >= 90
    gate = fixed_budget(0.1, burst=3, fallback="server_empty")
    assert fires(gate, np.zeros(100), td=UNRELIABLE, empty=empty) == [90, 91, 92]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from(["pts", "server_empty"]),
    st.integers(1, 20),
)
def test_budget_never_spends_what_has_not_come_in(seed, unreliable, fallback, burst):
    rng = np.random.default_rng(seed)
    psis = np.round(rng.normal(size=(600, 1)).cumsum(axis=0), 1)
    td = np.where(rng.random((600, 1)) < unreliable, UNRELIABLE, RELIABLE)
    gate = Budget(1, 0.2, 0.01, half_life=50, burst=burst, min_history=50, fallback=fallback)
    fired = play(gate, psis, td=td, empty=rng.random((600, 1)) < 0.5)[:, 0]
    came_in = np.cumsum(0.01 + 0.19 * 0.5 ** (np.arange(600) // 10 * 10 / 50))
    assert (fired.cumsum() <= came_in + 1e-9).all()


def test_a_constant_psi_spends_what_comes_in():
    fired = fires(fixed_budget(0.01), np.full(10_000, -0.5))
    assert 98 <= len(fired) <= 100
    assert np.diff(fired).max() <= 101


@pytest.mark.compiled
def test_a_random_psi_spends_most_of_what_comes_in():
    fired = fires(fixed_budget(0.01), np.random.default_rng(1).normal(size=20_000))
    assert 160 <= len(fired) <= 200


def test_the_rate_halves_its_way_to_the_last_share():
    gate = Budget(1, first_share=0.05, last_share=0.01, half_life=100, refresh=1)
    for slot, expected in ((0, 0.05), (100, 0.03), (200, 0.02), (10**6, 0.01)):
        gate.wants(view(slot=slot))
        assert gate.metrics()["token_rate"] == pytest.approx(expected)


def test_drift_adds_to_the_rate_while_the_td_statistic_is_above_its_average():
    gate = fixed_budget(0.01, drift_boost=4.0, drift_rate=0.5, refresh=1)
    # its average: 0.1, then 0.125, 0.4125; the statistic is above it by 1/5 and by 7/10
    for td, expected in ((0.1, 0.01), (0.15, 0.018), (0.7, 0.01 + 0.04 * (0.7 / 0.4125 - 1))):
        gate.wants(view(td=td))
        assert gate.metrics()["token_rate"] == pytest.approx(expected)
    gate.wants(view(td=0.1))
    assert gate.metrics()["token_rate"] == pytest.approx(0.01)


def exact(gate=Price, **options):
    """A gate whose averages are the last TD error, and whose floor is it, too: share = least."""
    return gate(1, td_rate=1.0, drift_rate=1.0, **options)


def test_price_waits_longer_for_a_dear_slot():
    # kappa = 0.25 * since - 1: 0 after 4 slots, 0.5 after 6
    options = {"overhead": 1.0, "least": 0.25, "most": 0.5}
    assert fires(exact(**options), np.zeros(13)) == [3, 7, 11]
    assert fires(exact(**options), np.full(13, -0.5)) == [5, 11]
    assert fires(exact(**options), [-9, -9, -9, -9, 0, -9, -9, -9, -0.25, -0.25]) == [4, 9]


def test_price_trains_at_its_share_while_q_is_unreliable():
    gate = exact(overhead=1.0, least=0.25, most=0.5)
    assert fires(gate, np.full(9, -50.0), td=UNRELIABLE) == [3, 7]


def test_the_share_follows_the_td_error_above_its_floor():
    gate = Price(1, worth=0.1, least=0.01, most=0.3, td_rate=1.0, drift_rate=0.5)
    # floor: 0.5, 0.75, 0.1 (down at once), 0.2 (the TD error is 0.3), 0.6 (1.0)
    steps = ((1.0, 0.1), (1.0, 0.1 / 3), (0.1, 0.01), (0.3, 0.05), (1.0, 0.1 * (1 / 0.6 - 1)))
    for td_error, expected in steps:
        gate.wants(view(td_error=-td_error))
        assert gate.metrics()["wanted_share"] == pytest.approx(expected)


@pytest.mark.compiled
@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.floats(0, 5))
def test_price_neither_starves_nor_floods(seed, dearest):
    rng = np.random.default_rng(seed)
    psis = -dearest * rng.random((1000, 1))
    td_errors = np.exp(rng.normal(size=(1000, 1)).cumsum(axis=0) / 20)
    gate = Price(1, overhead=0.5, least=0.05, most=0.2, td_rate=0.1, drift_rate=0.01)
    gaps = np.diff(np.flatnonzero(play(gate, psis, td_error=td_errors)))
    assert gaps.min() >= 5
    assert gaps.max() <= (1 + dearest / 0.5) / 0.05 + 1


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


GATES_BY_NAME = {
    "budget": lambda n: Budget(n, 0.1, 0.01, half_life=500, min_history=50, drift_boost=3.0),
    "price": lambda n: Price(n, drift_rate=0.01, td_rate=0.05),
    "td_slope": lambda n: TDSlope(n, td_rate=0.05),
    "bandit": lambda n: Bandit(n, own_every=3, least=0.02),
}


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


@pytest.mark.parametrize("name", ["budget", "price", "bandit"])
def test_a_batch_decides_as_its_servers_do_alone(name):
    slots = slots_of(3)
    together = play(GATES_BY_NAME[name](3), **slots)
    assert together.any(axis=0).all()
    for server in range(3):
        own = {k: v[:, server : server + 1] for k, v in slots.items()}
        alone = play(GATES_BY_NAME[name](1), **own)
        np.testing.assert_array_equal(alone[:, 0], together[:, server])
