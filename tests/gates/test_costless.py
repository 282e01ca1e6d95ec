"""costless: where psi is 0, within a budget; worked by hand."""

from gate_slots import view

from mec_rllib.gates import GATES, Costless


def fired(gate, psis):
    """Slots in which server 0 is asked to train; a job runs in the slot in which it is wanted."""
    found, since = [], 0
    for slot, psi in enumerate(psis):
        since = since + 1
        asked = gate.wants(view(psi, since, slot=slot))
        if asked[0]:
            found.append(slot)
            since = 0
    return found


def test_it_waits_until_training_costs_nothing():
    gate = Costless(1, per_slot=1.0, ahead=5, apart=1)
    assert fired(gate, [-0.1, -0.2, 0.0, -0.3, 1e-6, 0.4]) == [2, 4]


def test_jobs_are_apart_and_in_the_end_the_best_psi_will_do_or_any():
    gate = Costless(1, per_slot=1.0, ahead=100, apart=3, longest_wait=5, forced_after=8)
    psis = [0.0] * 6 + [-3.0, -1.0, -2.0, -2.0, -2.0, -1.0]  # 1 after 5 slots is as good as any
    psis += [-1.0, -3.0, -3.0, -3.0, -3.0, -3.0, -3.0, -3.0]  # nothing is: forced
    assert fired(gate, psis) == [2, 5, 11, 19]


def test_its_budget_is_so_many_at_once_and_then_a_rate():
    gate = Costless(1, per_slot=0.1, ahead=3, apart=1)
    # In slot t while fewer than 3 + t / 10 have completed: 3 < 3.3, then 4 < 4.1, 5 < 5.1, 6 < 6.1.
    assert fired(gate, [0.0] * 40) == [0, 1, 2, 3, 11, 21, 31]


def test_a_gate_that_is_never_forced_trains_never_where_it_costs():
    gate = GATES["costless"](1, longest_wait=None, forced_after=None)
    assert fired(gate, [-1.0] * 3000) == []
