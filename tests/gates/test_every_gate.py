"""What holds of every gate: its defaults, what it asks for, its state, its figures."""

import copy
import re
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import yaml
from gate_slots import RELIABLE, UNRELIABLE, play, view

from examples.gates.bandit import Bandit
from examples.gates.td_slope import TDSlope
from mec_rllib.gates import (
    ATS,
    GATES,
    Budget,
    ServerEmpty,
    TDStatistic,
)
from mec_rllib.gates.average import MovingAverage
from mec_rllib.section import NOT_KEYS

PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
DOCUMENTED = re.findall(r"^\| `gate\.(\w+)` \| `([^`]*)` \| (?:([a-z_, ]+):)?", PAGE, re.M)


@pytest.mark.parametrize("name", GATES)
def test_a_gate_has_the_defaults_that_are_written_down(name):
    """docs/config.md names the gates of each key, or none where it goes for all of them."""
    parameters = dict(list(signature(GATES[name]).parameters.items())[1:])  # without num_servers
    documented = {
        key: yaml.safe_load(default)
        for key, default, gates in DOCUMENTED
        if name in gates.split(", ") or (not gates and key in parameters)
    }
    assert {k: p.default for k, p in parameters.items() if k not in NOT_KEYS} == documented


FLAGS = {  # needs_psi, needs_td, occupies, chooses_kind
    "ideal": (False, False, False, False),
    "ats": (True, False, True, False),
    "budget": (True, False, True, False),
    "costless": (True, False, True, False),
}


@pytest.mark.parametrize("name", GATES)
def test_a_gate_asks_for_no_more_than_it_looks_at(name):
    gate = GATES[name]
    flags = (gate.needs_psi, gate.needs_td, gate.occupies, gate.chooses_kind)
    assert flags == FLAGS.get(name, (False, False, True, False))


def busy_slots(servers, slots, seed=2):
    """What so many servers go through: ties, times without trust, TD errors of NaN."""
    rng, shape = np.random.default_rng(seed), (slots, servers)
    td_error = rng.normal(size=shape) * (1 + (np.arange(slots) > slots // 2))[:, None]
    td_error[:3] = np.nan
    return {
        "psis": np.round(np.minimum(rng.normal(size=shape), 0.0), 1),
        "td": rng.uniform(0.0, 0.12, shape),
        "td_error": td_error,
        "empty": rng.random(shape) < 0.5,
        "idle": rng.random(shape) < 0.3,
        "can_ask": rng.random(shape) < 0.9,
        "reward": rng.normal(size=shape),
    }


FALLS = {"first": 0.1, "last": 0.02, "half_life": 100}
SMALL = {"window": 60, "min_history": 20, "refresh": 3}
BUILT = {
    "never": lambda n: GATES["never"](n),
    "pts": lambda n: GATES["pts"](n, period=7),
    "idle": lambda n: GATES["idle"](n, period=7, longest_wait=30),
    "ats": lambda n: ATS(n, percentile=90, period=9, **SMALL),
    "ats-random": lambda n: ATS(n, percentile=90, ties="random", fallback="idle", **SMALL),
    "budget": lambda n: Budget(n, rate=FALLS, fallback="queue", **SMALL),
    "budget-worth": lambda n: Budget(n, "worth", 0.1, fallback="idle", longest_wait=9, **SMALL),
    "budget-random": lambda n: Budget(n, "random", 0.1, seed=4, **SMALL),
    "costless": lambda n: GATES["costless"](n, per_slot=0.5, ahead=2, apart=3, longest_wait=40),
    "td_slope": lambda n: TDSlope(n, td_rate=0.05),
    "bandit": lambda n: Bandit(n, own_every=3, least=0.05, most=0.3, horizon=4),
}


def part(slots, which):
    return {name: values[which] for name, values in slots.items()}


@pytest.mark.parametrize("name", BUILT)
def test_a_state_stays_what_it_was_and_brings_back_what_was(name):
    """Neither the gate that it is of nor one that it is given to writes into it."""
    slots = busy_slots(2, 240)
    gate, rng = BUILT[name](2), np.random.default_rng(3)
    play(gate, rng=rng, **part(slots, slice(0, 120)))
    state, drawn = gate.get_state(), rng.bit_generator.state
    kept, fired = copy.deepcopy(state), []
    for given in (None, state, state, kept):
        if given is not None:
            gate = BUILT[name](2)
            play(gate, rng=np.random.default_rng(9), **busy_slots(2, 50, seed=5))
            gate.set_state(given)
        rng = np.random.default_rng()
        rng.bit_generator.state = drawn
        fired.append(play(gate, rng=rng, **part(slots, slice(120, 240))))
        fired.append(gate.metrics())
    assert fired[0].any() != (name == "never")
    for again in range(2, 8, 2):
        np.testing.assert_array_equal(fired[again], fired[0])
        assert fired[again + 1] == fired[1]
    np.testing.assert_equal(state, kept)


def test_the_state_of_the_td_statistic_is_a_copy():
    statistic, rng = TDStatistic(2, rate=0.2), np.random.default_rng(0)
    draws = rng.normal(size=(20, 2, 2))
    for error, value in draws[:10]:
        statistic.update(error, value)
    state = statistic.get_state()
    kept, ratios = copy.deepcopy(state), []
    for given in (None, state, state, kept):
        if given is not None:
            statistic = TDStatistic(2, rate=0.2)
            statistic.set_state(given)
        for error, value in draws[10:]:
            statistic.update(error, value)
        ratios.append(statistic.ratio.copy())
    for other in ratios[1:]:
        np.testing.assert_array_equal(other, ratios[0])


def test_a_td_error_that_is_not_there_changes_nothing():
    statistic = TDStatistic(1, rate=0.5)
    statistic.update(np.array([np.nan]), np.array([3.0]))
    assert np.isinf(statistic.ratio).all()
    statistic.update(np.array([1.0]), np.array([0.0]))  # nothing is worth anything yet
    assert np.isinf(statistic.ratio).all()
    statistic.update(np.array([-1.0]), np.array([-4.0]))
    # |TD|: 0.5, then 0.75; |V|: 0, then 2
    assert statistic.ratio == pytest.approx([0.375])


def test_an_average_begins_as_the_plain_mean():
    """Of 1, 2, 6 the mean, then each new value counts for a quarter; NaN does not count."""
    average = MovingAverage(2, rate=0.25)
    assert not average.value.any()
    for value, mean, is_full in ((1.0, 1.0, 0), (2.0, 1.5, 0), (6.0, 3.0, 0), (3.0, 3.0, 1)):
        average.add(np.array([value, np.nan]))
        np.testing.assert_allclose(average.value, [mean, 0.0])
        assert average.is_full.tolist() == [bool(is_full), False]
    average.add(np.array([7.0, np.inf]))
    np.testing.assert_allclose(average.value, [4.0, 0.0])
    state = average.get_state()
    average.add(np.array([100.0, 1.0]))
    average.set_state(state)
    np.testing.assert_allclose(average.value, [4.0, 0.0])
    average.add(np.array([4.0, 2.0]))
    np.testing.assert_allclose(average.value, [4.0, 2.0])


def test_before_the_first_slot_a_psi_gate_is_in_its_fallback():
    assert ATS(3).metrics() == {"fallback_share": 1.0}


def test_figures_of_a_psi_gate_are_means_over_the_servers():
    gate = ATS(2, percentile=50.0, window=4, min_history=1, refresh=1)
    gate.wants(view(psi=[-1.0, -3.0], td=[RELIABLE, UNRELIABLE], **two()))
    assert gate.metrics() == {"fallback_share": 0.5, "psi": -2.0, "psi_threshold": -2.0}


def two():
    return {"since": [9, 9], "can_ask": [True] * 2, "idle": [True] * 2, "empty": [True] * 2}


def test_the_threshold_is_looked_at_once_in_so_many_slots():
    """Every third slot, from the first: the medians of 1; of 1 2 3 4; of 1 .. 7."""
    gate = ATS(1, percentile=50.0, window=9, min_history=1, refresh=3)
    thresholds = []
    for psi in range(1, 9):
        gate.wants(view(psi=float(psi)))
        thresholds.append(gate.metrics()["psi_threshold"])
    assert thresholds == [1, 1, 1, 2.5, 2.5, 2.5, 4, 4]


@pytest.mark.parametrize("gate", [ATS, Budget])
def test_a_threshold_needs_its_history(gate):
    built = gate(1, min_history=3, refresh=1)
    shares = []
    for psi in (1.0, 2.0, 3.0, 4.0):
        built.wants(view(psi=psi))
        shares.append(built.metrics()["fallback_share"])
    assert shares == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(("td", "falls_back"), [(0.3, 0.0), (0.300001, 1.0)])
def test_the_cutoff_itself_is_reliable(td, falls_back):
    gate = ATS(1, min_history=1, refresh=1, td_cutoff=0.3)
    gate.wants(view(td=td))
    assert gate.metrics()["fallback_share"] == falls_back


@pytest.mark.parametrize(
    ("percentile", "ties", "since", "expected"),
    [
        (90.0, "ge", 10, True),
        (90.0, "ge", 9, False),
        (99.0, "ge", 100, True),
        (99.0, "ge", 99, False),
        (99.0, "gt", 10**6, False),
    ],
)
def test_a_tie_fires_as_often_as_the_percentile_means(percentile, ties, since, expected):
    gate = ATS(1, percentile=percentile, ties=ties, min_history=1, refresh=1)
    assert gate.wants(view(psi=-1.0, since=since))[0] == expected


def test_random_ties_make_up_for_what_is_not_above():
    """Of -1 -1 -1 0, a quarter above the 60th percentile; 0.4 * 4 - 1 = 0.6 of three ties."""
    gate = ATS(1, percentile=60.0, window=4, min_history=4, refresh=1, ties="random")
    rng, fired = np.random.default_rng(0), []
    for k in range(12_000):
        psi = 0.0 if k % 4 == 3 else -1.0
        fired.append(gate.wants(view(psi=psi, rng=rng))[0])
    shares = np.array(fired[8:]).reshape(-1, 4).mean(axis=0)
    np.testing.assert_allclose(shares, [0.2, 0.2, 0.2, 1.0], atol=0.025)


def test_a_kind_so_small_that_it_might_train_at_once_waits_a_slot():
    gate = ATS.of_kinds(1, [0.1, 1.0], period=1, percentile=90.0)
    assert [g.period for g in gate.gates] == [1, 2]


def test_figures_of_kinds_have_their_numbers():
    gate = ATS.of_kinds(1, [0.5, 1.0], min_history=1, refresh=1, percentile=50.0)
    both = view(psi=[[-1.0, -2.0]], since=[[5, 5]])
    gate.wants(both)
    assert {"psi_0": -1.0, "psi_1": -2.0}.items() <= gate.metrics().items()
    assert "psi_2" not in gate.metrics()


def test_a_slope_says_nothing_before_the_average_is_full():
    """Until 4 values are seen the chance is the highest; then it follows what D does."""
    gate = TDSlope(1, gain=1.0, least=0.01, most=0.4, half_life=10**9, td_rate=0.25)
    averages, chances = [], []
    for td_error in (4.0, 2.0, 1.0, 1.0, 1.0):
        gate.wants(view(td_error=td_error))
        averages.append(gate.get_state()["td_error"]["value"][0])
        chances.append(gate.metrics()["chance"])
    assert chances[:3] == [0.4] * 3
    assert chances[3] == pytest.approx(0.4 * averages[3] / averages[2])
    assert chances[4] == pytest.approx(0.4 * averages[4] / averages[2])


class Even:
    """Draws one half, always."""

    def random(self, size):
        return np.full(size, 0.5)


@pytest.mark.parametrize(("most", "expected"), [(0.5, False), (0.51, True)])
def test_a_chance_is_below_itself(most, expected):
    assert TDSlope(1, most=most).wants(view(rng=Even()))[0] == expected


@pytest.mark.parametrize(("since", "longest", "expected"), [(9, 9, True), (8, 9, False)])
def test_no_gate_waits_longer_than_its_longest_wait(since, longest, expected):
    gate = ServerEmpty(1, period=5, longest_wait=longest)
    assert gate.wants(view(since=since, empty=False))[0] == expected


@pytest.mark.parametrize("forget", [1.0, 0.5])
def test_a_bandit_forgets_at_each_of_its_updates(forget):
    """The same regression as by hand, with older slots weighing less by the factor."""
    gate = Bandit(1, horizon=2, prior=5.0, forget=forget, own_every=1)
    rng, sums = np.random.default_rng(1), [np.zeros((12, 12)), np.zeros(12)]
    for _ in range(2):
        for slot in range(30):
            state = view(rng.normal(), since=slot + 2, td=rng.random(), reward=rng.normal())
            gate.wants(state)
        before = [gate.get_state()[name][0].copy() for name in ("moments", "targets")]
        gate.credits(np.array([True]))
        sums = [forget * x for x in before]
        inverse = np.linalg.inv(sums[0] + np.diag([1.0] * 6 + [5.0] * 6))
        found = gate.get_state()
        np.testing.assert_allclose(found["moments"][0], sums[0])
        np.testing.assert_allclose(found["correction"][0], (inverse @ sums[1])[6:])
        np.testing.assert_allclose(found["spread"][0], inverse[6:, 6:])


def test_a_single_tie_makes_up_for_what_is_not_above():
    """Of 1 2 3 4 5 two are above the median: 2.5 - 2 of the one tie."""
    gate = ATS(1, percentile=50.0, window=5, min_history=5, refresh=1, ties="random")
    rng, fired = np.random.default_rng(0), []
    for k in range(5000):
        fired.append(gate.wants(view(psi=1.0 + k % 5, rng=rng))[0])
    shares = np.array(fired[5:]).reshape(-1, 5).mean(axis=0)
    np.testing.assert_allclose(shares, [0, 0, 0.5, 1, 1], atol=0.05)


@pytest.mark.parametrize("name", BUILT)
def test_a_gate_has_a_state_and_figures_before_its_first_slot(name):
    gate, other = BUILT[name](2), BUILT[name](2)
    other.set_state(gate.get_state())
    assert other.metrics() == gate.metrics()
    assert np.isfinite(list(gate.metrics().values())).all()
    if name == "budget":
        assert gate.metrics() == {"fallback_share": 1.0, "tokens": 0.0, "token_rate": 0.1}


def test_a_kind_that_would_train_in_every_slot_is_refused():
    """Half of the slots for two kinds, the small one a quarter of a slot long: one per slot."""
    with pytest.raises(ValueError, match="in every slot"):
        ATS.of_kinds(1, [0.25, 1.0], percentile=50.0)
    ATS.of_kinds(1, [0.26, 1.0], percentile=50.0)
