"""The gates, by hand."""

from functools import partial

import numpy as np
import pytest
from gate_slots import RELIABLE, UNRELIABLE, fires, play, view
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.envs.config import EnvConfig
from mec_rllib.gates import (
    ATS,
    GATES,
    PTS,
    Always,
    Budget,
    Ideal,
    Idle,
    ServerEmpty,
    TDStatistic,
)
from mec_rllib.schedulers import SJF
from mec_rllib.section import section_of
from mec_rllib.sim.training_jobs import NO_KIND


def scripted_ats(**options):
    """Small enough for paper: 75th percentile of 4 values, looked at in every slot."""
    small = {"period": 1000, "percentile": 75.0, "window": 4, "min_history": 4, "refresh": 1}
    return ATS(1, **(small | options))


def test_ats_fires_where_psi_reaches_the_percentile_of_its_window():
    psis = [-4, -3, -2, -1, -5, 0, -6, -3, 1]
    # slot: window -> its 75th percentile (linear), psi
    # 3: -4 -3 -2 -1 -> -1.75, -1 fires      4: -3 -2 -1 -5 -> -1.75, -5
    # 5: -2 -1 -5  0 -> -0.75,  0 fires      6: -1 -5  0 -6 -> -0.75, -6
    # 7: -5  0 -6 -3 -> -2.25, -3            8:  0 -6 -3  1 ->  0.25,  1 fires
    assert fires(scripted_ats(), psis) == [3, 5, 8]


def why(gate):
    """The reasons of a gate of one server."""
    return [name for name, where in gate.reasons().items() if where[0]]


def test_a_request_rests_on_psi_on_a_tie_or_on_the_fallback():
    gate = scripted_ats(period=3)
    assert why(gate) == ["fallback"]  # no threshold yet
    for psi in (-4, -3, -2, -1):
        gate.wants(view(psi))
    assert why(gate) == ["psi"]  # -1 is above -1.75
    gate.wants(view(-5))
    assert why(gate) == []
    gate.wants(view(5, td=UNRELIABLE))
    assert why(gate) == ["fallback"]
    for _ in range(4):
        gate.wants(view(0))
    rng = np.random.default_rng(0)
    # An empty server: training costs exactly nothing. A clock or chance decides.
    reasons = [why(gate) for _ in range(40) if gate.wants(view(0, rng=rng))[0]]
    assert reasons
    assert all(found == ["tie"] for found in reasons)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=4, max_size=60),
    st.sampled_from([ATS, Budget]),
)
def test_a_psi_gate_that_wants_to_train_has_one_reason(slots, kind):
    gate = kind(1, window=4, min_history=4, refresh=1)
    for psi, is_reliable in slots:
        wanted = gate.wants(view(float(psi), td=RELIABLE if is_reliable else UNRELIABLE))[0]
        assert len(why(gate)) <= 1
        assert why(gate) or not wanted


def test_a_gate_that_looks_at_the_clock_has_nothing_to_tell_apart():
    assert PTS(2).reasons() == {}


def test_ats_trains_periodically_while_q_is_unreliable():
    gate = scripted_ats(period=3)
    assert fires(gate, [-4, -3, -2, -1, 5, 6, 7], td=UNRELIABLE) == [2, 5]
    assert gate.metrics()["fallback_share"] == 1.0


def test_ats_trains_periodically_before_it_has_a_history():
    assert fires(scripted_ats(period=2), [9, 8, 7]) == [1]


def test_a_psi_while_a_training_job_waits_is_not_remembered():
    gate = scripted_ats()
    for psi in (-4, -3, -2, -1):
        gate.wants(view(psi, can_ask=False))
    assert gate.metrics() == {"fallback_share": 1.0, "psi": -1.0}


@pytest.mark.compiled
@pytest.mark.parametrize(("ties", "lowest", "highest"), [("ge", 90, 100), ("random", 60, 140)])
def test_a_constant_psi_neither_starves_nor_floods(ties, lowest, highest):
    fired = fires(ATS(1, ties=ties), [-0.5] * 10_000)
    assert lowest <= len(fired) <= highest


def test_a_constant_psi_starves_a_gate_without_ties():
    assert [s for s in fires(ATS(1, ties="gt"), [-0.5] * 3000) if s > 500] == []


@pytest.mark.compiled
@pytest.mark.parametrize("ties", ["ge", "gt", "random"])
def test_without_ties_ats_trains_in_about_one_of_hundred_slots(ties):
    psis = np.random.default_rng(1).normal(size=20_000)
    assert 150 <= len(fires(ATS(1, ties=ties), psis)) <= 250


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-5, 5), min_size=4, max_size=40),
    st.sampled_from([50.0, 90.0, 99.0]),
    st.integers(2, 12),
)
def test_the_threshold_is_the_percentile_of_the_last_values(psis, percentile, window):
    gate = ATS(1, percentile=percentile, window=window, min_history=1, refresh=1)
    for psi in psis:
        gate.wants(view(psi))
    expected = np.percentile(psis[-window:], percentile)
    assert gate.metrics()["psi_threshold"] == pytest.approx(expected, abs=1e-12)


def intervals(gate, slots=6000, load=0.3):
    """Slots from completions to the next requests on a server that drains, and slots blocked."""
    batch, scheduler = EnvConfig(load=load).build_servers(1, seed=4), SJF()
    waited, completed_at = [], 0
    for slot in range(slots):
        s = batch.servers
        state = view(
            since=s.since_training[0],
            idle=batch.is_idle[0],
            empty=batch.is_empty[0],
            can_ask=s.training[0] == 0,
        )
        if gate.wants(state)[0] and s.training[0] == 0:
            waited.append(slot - completed_at)
            batch.request_training(np.array([True]))
        batch.step(scheduler.select(batch))
        if batch.completed[0] != NO_KIND:
            completed_at = slot
    return waited, batch.tally.blocked_slots[0]


def test_pts_asks_exactly_a_period_after_the_last_completion():
    waited, blocked = intervals(PTS(1, period=40))
    assert blocked > 0
    assert set(waited[1:]) == {40}
    assert 100 < len(waited) < 150  # fewer than 6000 / 40: draining takes slots too


def test_always_leaves_one_user_slot_between_two_training_jobs():
    waited, blocked = intervals(Always(1))
    assert set(waited[1:]) == {2}
    assert blocked > 0


def test_the_server_is_never_blocked_by_a_gate_that_waits_for_it_to_be_empty():
    waited, blocked = intervals(ServerEmpty(1, period=40))
    assert blocked == 0
    assert min(waited) >= 40
    assert max(waited) > 40


@pytest.mark.parametrize(
    ("gate", "state", "expected"),
    [
        (Idle(1, period=5), {"since": 5}, True),
        (Idle(1, period=5), {"since": 4}, False),
        (Idle(1, period=5), {"idle": False}, False),
        (Idle(1, period=5, longest_wait=9), {"idle": False, "since": 9}, True),
        (Idle(1, period=5, longest_wait=9), {"idle": False, "since": 8}, False),
        (ServerEmpty(1, period=5), {"idle": False, "since": 5}, True),
        (ServerEmpty(1, period=5), {"empty": False}, False),
        (ServerEmpty(1, period=5, longest_wait=9), {"empty": False, "since": 9}, True),
        (ServerEmpty(1, period=5, longest_wait=9), {"empty": False, "since": 8}, False),
    ],
)
def test_gates_that_look_at_the_server(gate, state, expected):
    assert gate.wants(view(**state))[0] == expected


@pytest.mark.parametrize("gate", [ATS, partial(Budget, rate=1.0)])
def test_a_fallback_need_not_wait_for_ever(gate):
    busy = {"idle": False, "empty": False, "td": UNRELIABLE}
    for fallback in ("idle", "server_empty"):
        assert not gate(1, fallback=fallback).wants(view(**busy))[0]
        forced = gate(1, fallback=fallback, longest_wait=400)
        assert not forced.wants(view(since=399, **busy))[0]
        assert forced.wants(view(since=400, **busy))[0]


def test_training_is_free_under_ideal_only():
    assert [name for name, gate in GATES.items() if not gate.occupies] == ["ideal"]
    assert Ideal(1).wants(view()).all()


def test_the_td_statistic_is_a_ratio_of_averages():
    statistic = TDStatistic(2, rate=0.5)
    assert np.isinf(statistic.ratio).all()
    statistic.update(np.array([-1.0, 0.0]), np.array([2.0, 2.0]))
    statistic.update(np.array([0.0, 0.0]), np.array([4.0, 4.0]))
    # |TD|: 0.5, then 0.25; |V|: 1, then 2.5
    np.testing.assert_allclose(statistic.ratio, [0.1, 0.0])
    other = TDStatistic(2)
    other.set_state(statistic.get_state())
    np.testing.assert_array_equal(other.ratio, statistic.ratio)


@pytest.mark.parametrize(("share", "meant"), [(0.99, "99"), (0.955, "95.5"), (1.0, "99")])
def test_a_share_for_a_percentile_is_refused_with_what_was_meant(share, meant):
    """0.99 would fire in nearly every slot."""
    with pytest.raises(ValueError, match=rf"percent: did you mean {meant}\?"):
        section_of(ATS)(percentile=share)
    assert section_of(ATS)(percentile=1.01).percentile == 1.01


def test_a_fallback_that_waits_keeps_to_its_period():
    """An idle server is not enough: the last training has to be a period ago."""
    gate = ATS(1, period=100, fallback="idle", window=4, min_history=4, refresh=1)
    assert not gate.wants(view(td=UNRELIABLE, since=99))[0]
    assert gate.wants(view(td=UNRELIABLE, since=100))[0]


def test_reasons_stay_what_they_were():
    gate = ATS(1, window=4, min_history=4, refresh=1)
    for _ in range(5):
        gate.wants(view())
    before = gate.reasons()["fallback"]
    gate.wants(view(td=UNRELIABLE))
    assert before.tolist() == [False]
    assert gate.reasons()["fallback"].tolist() == [True]


def test_the_chance_of_a_tie_is_that_of_each_server():
    """The share above the threshold is counted server by server."""
    gate = ATS(2, percentile=50.0, window=8, min_history=4, refresh=1, ties="random")
    play(gate, np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 2.0]]))
    # Half of 4 values is wanted. Server 0: 4 tie, none is above. Server 1: 2 are above 0.5.
    assert gate.get_state()["tie_chance"].tolist() == [0.5, 0.0]


@pytest.mark.parametrize("gate", [ATS, Budget])
@pytest.mark.parametrize(
    ("agreement", "td", "share"),
    [(0.8, 0.1, 0.0), (0.79, 0.1, 1.0), (np.nan, 0.1, 1.0), (0.9, 0.11, 1.0)],
)
def test_by_agreement_psi_is_trusted_where_two_networks_agree_and_td_errors_are_small(
    gate, agreement, td, share
):
    built = gate(1, min_history=1, refresh=1, reliability="agreement")
    built.wants(view(td=td, agreement=agreement))
    assert built.metrics()["fallback_share"] == share
    by_td = gate(1, min_history=1, refresh=1)
    by_td.wants(view(td=td, agreement=agreement))
    assert by_td.metrics()["fallback_share"] == float(td > 0.1)


def test_a_second_network_is_asked_for_only_where_it_matters():
    assert not Budget(1).needs_agreement
    assert Budget(1, reliability="agreement").needs_agreement
    assert not Budget(1, "queue", reliability="agreement").needs_agreement
    assert ATS(1, reliability="agreement").needs_agreement
