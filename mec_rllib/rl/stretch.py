"""A stretch of slots in compiled code: the loop of the runner, while nobody else has a say.

One slot is a `beat`: the agent looks, the gate is asked, a training job is inserted, the
exploration chooses, the servers play. A stretch is a `for` around it. It ends when a training job
is paid for, if the learner waits for that, and when the slots that were asked for are played.

Physics, network, gate, exploration and encoder are the functions that play slot by slot, too.
"""

from typing import Any, NamedTuple

from mec_rllib.compiled import compiled
from mec_rllib.envs.observation import Observations, see, see_flagged
from mec_rllib.gates.base import GateView
from mec_rllib.gates.rule import reason, wants
from mec_rllib.gates.td_statistic import average
from mec_rllib.rl.dqn.q_function import rate
from mec_rllib.rl.exploration import choose
from mec_rllib.rl.masks import highest_allowed
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.slot import WAITING, inlined, insert_training, mask_with_training, play_slot
from mec_rllib.sim.training_jobs import NO_KIND


class Minds(NamedTuple):
    """Who has a say: each a tuple whose type says what it does."""

    sight: Any
    network: Any
    gate: Any
    exploration: Any


class Terms(NamedTuple):
    """What does not change during a run."""

    needs_psi: bool
    occupies: bool  # training jobs take slots
    kind: int  # of training job that is asked for
    allowed_from: int  # slot
    allowed_until: int  # slot
    until_credit: bool  # a stretch ends with a training job that is paid for
    discount: float
    reward_scale: float
    servers: int  # of all runners


class Memory(NamedTuple):
    """What one slot leaves to the next, of N servers."""

    obs: Observations  # (N, F)
    last_q: Floats  # (N,) Q(s, a) of the last slot; NaN before
    last_reward: Floats  # (N,)
    td_error: Floats  # (N,) of the last slot
    td: Any  # averages
    credits: Ints  # (J,) earned since they were taken
    requests: Ints  # (reasons,) training jobs inserted so far


class Scratch(NamedTuple):
    """Room for one slot of N servers."""

    both: Observations  # (2 N, F) as it is, and as if a training job waited
    value: Floats  # (N,)
    value_flagged: Floats  # (N,)
    psi: Floats  # (N,)
    mask: Bools  # (N, M + 1) with a training job
    wanted: Bools  # (N,)
    can_ask: Bools  # (N,)
    kinds: Ints  # (N,)
    use: Floats  # (N,)
    unknown: Floats  # (N,) NaN: a gate that asks for agreement or price is asked slot by slot


@compiled
def stretch(field, minds, terms, memory, scratch, rows, row, slot, slots, completions, rng):
    """Plays up to `slots` slots; returns how many.

    Args:
        field: the servers.
        minds: who has a say.
        terms: what does not change.
        memory: what one slot leaves to the next.
        scratch: room.
        rows: columns of shape (slots, N, ...) of transitions.
        row: of the first slot in them, and in `completions`.
        slot: the first one.
        slots: at most, of each server; the jobs drawn must last.
        completions: (slots,) credits of each slot.
        rng: for explorations that draw.
    """
    for k in range(slots):
        earned = _beat(field, minds, terms, memory, scratch, rows, row + k, slot + k, rng)
        completions[row + k] = earned
        if terms.until_credit and earned > 0:
            return k + 1
    return slots


@inlined
def _beat(field, minds, terms, memory, scratch, rows, k, slot, rng):
    """One slot of every server, written into row k; returns the credits earned."""
    obs, actions = rows.obs[k], rows.actions[k]
    obs[:] = memory.obs
    q = _look(field, minds, terms, memory, scratch, obs)
    granted = _ask(field, minds, terms, memory, scratch, slot)
    if granted > 0:
        _count_requests(field, minds, memory, scratch)
        if terms.occupies:
            q = _insert(field, minds, terms, memory, scratch, obs, q)
        else:
            _train_for_free(field, terms, memory, scratch)
    q = q[: len(actions)]
    choose(minds.exploration, q, field, slot * terms.servers, rng, actions)
    play_slot(
        field.servers,
        field.tally,
        field.now,
        field.rules,
        field.stream,
        field.cursor,
        slot + 1,
        actions,
    )
    see(minds.sight, field, memory.obs)
    rows.next_obs[k] = memory.obs
    rows.next_mask[k] = field.now.mask
    for i in range(len(actions)):
        memory.last_reward[i] = field.now.rewards[i] / terms.reward_scale
        rows.rewards[k, i] = memory.last_reward[i]
        memory.last_q[i] = q[i, actions[i]]
    return _earn(field, terms, memory, granted)


@inlined
def _look(field, minds, terms, memory, scratch, obs):
    """Q (N, M + 1); where the gate needs psi, (2 N, M + 1): as it is, then with a training job."""
    if not terms.needs_psi:
        return rate(minds.network, obs)
    n, mask = len(obs), field.now.mask
    scratch.both[:n] = obs
    see_flagged(minds.sight, field, terms.kind, obs, scratch.both[n:])
    both = rate(minds.network, scratch.both)
    highest_allowed(both[:n], mask, scratch.value)
    mask_with_training(field.servers, field.rules, mask, terms.kind, scratch.mask)
    highest_allowed(both[n:], scratch.mask, scratch.value_flagged)
    for i in range(n):
        value = scratch.value[i]
        goal = memory.last_reward[i] + terms.discount * value
        memory.td_error[i] = goal - memory.last_q[i]
        scratch.psi[i] = scratch.value_flagged[i] - value
    average(memory.td, memory.td_error, scratch.value)
    return both


@inlined
def _ask(field, minds, terms, memory, scratch, slot):
    """Asks the gate; returns how many servers want to train, and may."""
    servers, now = field.servers, field.now
    for i in range(len(scratch.wanted)):
        scratch.can_ask[i] = servers.training[i] == 0
        scratch.use[i] = 0.0
        for d, units in enumerate(field.rules.capacity):
            scratch.use[i] = max(scratch.use[i], now.units_in_use[i, d] / units)
    view = GateView(
        slot,
        scratch.psi,
        scratch.can_ask,
        now.is_idle,
        now.is_empty,
        servers.since_training,
        memory.td.ratio,
        None,  # type: ignore[arg-type] # it does not draw
        memory.td_error,
        memory.last_reward,
        scratch.use,
        servers.waiting,
        scratch.unknown,
        scratch.unknown,
    )
    wants(minds.gate, view, scratch.wanted)
    granted = 0
    for i in range(len(scratch.wanted)):
        is_wanted = scratch.wanted[i] and terms.allowed_from <= slot < terms.allowed_until
        scratch.kinds[i] = terms.kind if is_wanted else NO_KIND
        granted += is_wanted
    return granted


@inlined
def _count_requests(field, minds, memory, scratch):
    """Where no training job waits or runs one is inserted: notes why it was asked for."""
    for i in range(len(scratch.kinds)):
        if scratch.kinds[i] != NO_KIND and scratch.can_ask[i]:
            why = reason(minds.gate, i)
            if why >= 0:
                memory.requests[why] += 1


@inlined
def _train_for_free(field, terms, memory, scratch):
    """Training jobs that hold nothing and complete at once."""
    servers = field.servers
    for i in range(len(scratch.kinds)):
        if scratch.kinds[i] != NO_KIND:
            memory.credits[terms.kind] += 1
            servers.since_training[i] = 0
            servers.since_kind[i, terms.kind] = 0


@inlined
def _insert(field, minds, terms, memory, scratch, obs, q):
    """Training jobs wait from now on; returns Q of what is seen then."""
    insert_training(field.servers, field.tally, field.rules, scratch.kinds, field.now.mask)
    see(minds.sight, field, obs)
    if not terms.needs_psi:
        return rate(minds.network, obs)
    n = len(obs)
    for i in range(n):
        is_waiting = field.servers.training[i] == WAITING
        if is_waiting and field.servers.training_kind[i] == terms.kind:
            q[i] = q[n + i]
    return q


@inlined
def _earn(field, terms, memory, granted):
    """Credits of this slot, noted for their kind."""
    if not terms.occupies:
        return granted  # noted when they were granted
    earned = 0
    for kind in field.now.completed:
        if kind != NO_KIND:
            memory.credits[kind] += 1
            earned += 1
    return earned
