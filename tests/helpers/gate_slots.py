"""Slots of made-up servers, for tests of gates."""

import numpy as np

from mec_rllib.gates import GateView

RELIABLE, UNRELIABLE = 0.05, 0.5


def view(
    psi=0.0,
    since=10_000,
    td=RELIABLE,
    idle=True,
    empty=True,
    can_ask=True,
    rng=None,
    slot=0,
    td_error=0.1,
    reward=0.0,
    use=0.0,
    queue=0,
    agreement=np.nan,
    price=np.nan,
):
    per_server = (psi, can_ask, idle, empty, since, td)
    return GateView(
        slot,
        *(np.atleast_1d(value) for value in per_server),
        rng or np.random.default_rng(0),
        np.atleast_1d(td_error),
        np.atleast_1d(reward),
        *(like(np.atleast_1d(can_ask), value) for value in (np.asarray(use, float), queue)),
        like(np.atleast_1d(can_ask), agreement),
        like(np.atleast_1d(can_ask), price),
    )


def like(servers, value):
    """One value per server."""
    return np.broadcast_to(value, servers.shape).copy()


def play(gate, psis, rng=None, **others):
    """(T, N) where the gate fires, if every training job runs at once.

    psis is (T, N), and so is every other value that changes from slot to slot.
    """
    rng = rng or np.random.default_rng(0)
    fired = np.zeros(np.shape(psis), bool)
    since = np.ones(gate.num_servers, np.int64)
    for slot, psi in enumerate(psis):
        now = {k: v[slot] if np.ndim(v) == 2 else np.full(len(psi), v) for k, v in others.items()}
        true = np.ones(len(psi), bool)
        now = {
            "td": np.full(len(psi), RELIABLE),
            "can_ask": true,
            "idle": true,
            "empty": true,
        } | now
        fired[slot] = gate.wants(view(psi, since.copy(), slot=slot, rng=rng, **now))
        gate.credits(fired[slot])
        since = np.where(fired[slot], 1, since + 1)
    return fired


def fires(gate, psis, **others):
    """Slots in which the gate of a single server fires."""
    return np.flatnonzero(play(gate, np.reshape(psis, (-1, 1)), **others)).tolist()
