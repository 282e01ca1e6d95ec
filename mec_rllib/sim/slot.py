"""The slot, beat by beat: the tables of N servers, and the compiled functions that play on them.

All servers share the slot number, nothing else. The beats of slot t:

    arrivals -> gate (`insert_training`) -> decide -> serve -> expire -> arrivals of t + 1

`play_slot` plays decide to the arrivals of the next slot, so that a drop is counted in the
transition that ends with the arrival. What the source leaves open is *reconstructed* and marked so.
"""

from typing import NamedTuple

from numba import njit

from mec_rllib.compiled import compiled
from mec_rllib.sim.jobs import Bools, Floats, Ints, Jobs
from mec_rllib.sim.training_jobs import NO_KIND

DRAIN, BACKFILL, PAUSE = range(3)  # Rules.mode

ARRIVED, STARTED, EXPIRED, DROPPED = range(4)  # columns of Tally.jobs
START, EXPIRY, DROP = range(3)  # columns of Tally.reward: the reward's terms
WAITING = -1  # Servers.training while a training job waits for its demand

# A kernel here only reads and writes the arrays that it is given. Without numba's reference
# counts for them (atomic, at every access through a tuple) the slot takes a fifth of the time;
# a kernel that allocates does not compile with it.
kernel = compiled(_nrt=False)
inlined = njit(inline="always")


class Servers(NamedTuple):
    """State of N servers: buffers of M rows (first come first), D resource kinds, horizon H."""

    waiting: Ints  # (N,) jobs in the buffer
    requirement: Ints  # (N, M, D) units
    execution: Ints  # (N, M) slots
    slack: Ints  # (N, M) slots a job may wait; below 0: it cannot be started any more
    wait: Ints  # (N, M) slots it has waited
    weight: Floats  # (N, M)
    job_class: Ints  # (N, M)
    used: Ints  # (N, D) units held by user jobs, frozen ones included
    releases: Ints  # (N, H, D) units given back when service slot h (mod H) ends
    clock: Ints  # (N,) service slots played; stands still while user jobs are frozen
    last_end: Ints  # (N,) service slot after which no user job of now is running
    training: Ints  # (N,) 0 none, WAITING, or slots left of the running training job
    since_training: Ints  # (N,) slots since the last training job completed (or since slot 0)
    training_kind: Ints  # (N,) kind (index) of the training job that waits or runs, or ran last
    since_kind: Ints  # (N, J) as since_training, for each of J kinds of training jobs


class Tally(NamedTuple):
    """What happened so far, per server. Every resolved job is in here once."""

    jobs: Ints  # (N, classes, 4) arrived, started, expired, dropped
    reward: Floats  # (N, 3) sums of the start, expiry and drop terms, not scaled
    weight: Floats  # (N,) weight of the resolved jobs
    slots: Ints  # (N,)
    training_slots: Ints  # (N,) slots in which a training job ran
    blocked_slots: Ints  # (N,) slots in which a training job waited and did not run
    training_jobs: Ints  # (N, J) completed, by kind
    used: Ints  # (N, D) unit-slots held by user jobs that ran
    waiting: Ints  # (N,) job-slots in the buffer when the slot was decided
    requests: Ints  # (N,) training jobs inserted
    used_at_request: Ints  # (N, D) units held by user jobs then, summed over the requests
    waiting_at_request: Ints  # (N,) jobs in the buffer then, summed over the requests


class Now(NamedTuple):
    """What follows from the state, and what the last slot brought."""

    mask: Bools  # (N, M + 1) actions allowed
    units_in_use: Ints  # (N, D) by running user jobs (frozen ones aside) or a training job
    is_empty: Bools  # (N,) no unit in use; jobs may wait
    is_idle: Bools  # (N,) no unit in use and nobody waits
    reward_terms: Floats  # (N, 3) start, expiry and drop of the last step, not scaled
    rewards: Floats  # (N,) their sum
    completed: Ints  # (N,) kind of the training job that completed in the last step, or -1


class Rules(NamedTuple):
    """What does not change during a run."""

    capacity: Ints  # (D,) units
    demand: Ints  # (J, D) units of a training job of each kind
    training_slots: Ints  # (J,) its duration
    mode: int  # DRAIN, BACKFILL or PAUSE


class Field(NamedTuple):
    """N servers and all that is needed to play them, while the jobs drawn last."""

    servers: Servers
    tally: Tally
    now: Now
    rules: Rules
    stream: Jobs
    cursor: Ints  # (N, 2) next job of each server in the stream, and the end of its jobs


@kernel
def play_slot(servers, tally, now, rules, stream, cursor, next_slot, actions):
    """Plays decide, serve, expire and the arrivals of the next slot; actions (N,).

    Server i reads its arrivals from `stream` at cursor[i, 0], up to cursor[i, 1].
    """
    for i in range(len(actions)):
        play_server(servers, tally, now, rules, stream, cursor, next_slot, i, actions[i])


@inlined
def play_server(servers, tally, now, rules, stream, cursor, next_slot, i, action):
    """The same for server i alone."""
    tally.waiting[i] += servers.waiting[i]
    start = 0.0
    if 0 < action < now.mask.shape[1] and now.mask[i, action]:
        start = _start(servers, tally, i, action - 1)
    now.completed[i] = _serve(servers, tally, rules, i)
    expiry = _expire(servers, tally, i)
    drop = _admit(servers, tally, stream, cursor, next_slot, i)
    _allow(servers, rules, i, now.mask)
    _measure_use(servers, rules, i, now)
    now.reward_terms[i, START] = start
    now.reward_terms[i, EXPIRY] = expiry
    now.reward_terms[i, DROP] = drop
    now.rewards[i] = start + expiry + drop
    for term in range(3):
        tally.reward[i, term] += now.reward_terms[i, term]
    tally.slots[i] += 1


@kernel
def open_first_slot(servers, tally, stream, cursor):
    """Slot 0 has arrivals, but no transition that ends with them."""
    for i in range(len(cursor)):
        tally.reward[i, DROP] += _admit(servers, tally, stream, cursor, 0, i)


@kernel
def refresh(servers, now, rules):
    """Writes what `now` says of the servers as they are."""
    for i in range(len(now.mask)):
        _allow(servers, rules, i, now.mask)
        _measure_use(servers, rules, i, now)


@inlined
def _start(servers, tally, i, row):
    """Decide: the job in this row takes its units; returns the start term of the reward."""
    end = servers.clock[i] + servers.execution[i, row]
    horizon = servers.releases.shape[1]
    for d in range(servers.used.shape[1]):
        servers.used[i, d] += servers.requirement[i, row, d]
        servers.releases[i, (end - 1) % horizon, d] += servers.requirement[i, row, d]
    servers.last_end[i] = max(servers.last_end[i], end)
    weight = servers.weight[i, row]
    tally.jobs[i, servers.job_class[i, row], STARTED] += 1
    tally.weight[i] += weight
    term = weight * (1.0 - 0.5 * servers.wait[i, row] / (servers.slack[i, row] + 1))
    _remove(servers, i, row)
    return term


@inlined
def _serve(servers, tally, rules, i):
    """Serve: training starts if it can, all that runs ticks; the kind that completed, or -1."""
    kind = servers.training_kind[i]
    if servers.training[i] == WAITING:
        if rules.mode == PAUSE or _demand_is_free(servers, rules, i, kind):
            servers.training[i] = rules.training_slots[kind]
        else:
            tally.blocked_slots[i] += 1
    trains = servers.training[i] > 0
    if not (trains and rules.mode == PAUSE):
        now = servers.clock[i] % servers.releases.shape[1]
        for d in range(servers.used.shape[1]):
            tally.used[i, d] += servers.used[i, d]
            servers.used[i, d] -= servers.releases[i, now, d]
            servers.releases[i, now, d] = 0
        servers.clock[i] += 1
    completed = NO_KIND
    if trains:
        tally.training_slots[i] += 1
        servers.training[i] -= 1
        if servers.training[i] == 0:
            tally.training_jobs[i, kind] += 1
            servers.since_training[i] = 0
            servers.since_kind[i, kind] = 0
            completed = kind
    servers.since_training[i] += 1
    for k in range(servers.since_kind.shape[1]):
        servers.since_kind[i, k] += 1
    return completed


@inlined
def _expire(servers, tally, i):
    """Expire: waits grow; who can no longer meet the deadline leaves; returns the expiry term."""
    term = 0.0
    kept = 0
    for row in range(servers.waiting[i]):
        servers.wait[i, row] += 1
        if servers.wait[i, row] > servers.slack[i, row]:
            term -= servers.weight[i, row]
            tally.weight[i] += servers.weight[i, row]
            tally.jobs[i, servers.job_class[i, row], EXPIRED] += 1
        else:
            if kept != row:
                _copy(servers, i, row, kept)
            kept += 1
    for row in range(kept, servers.waiting[i]):
        _clear(servers, i, row)
    servers.waiting[i] = kept
    return term


@inlined
def _admit(servers, tally, stream, cursor, slot, i):
    """Arrivals: this slot's jobs enter the buffer, a full one drops them; returns the drop term."""
    term = 0.0
    while cursor[i, 0] < cursor[i, 1] and stream.arrival[cursor[i, 0]] <= slot:
        j = cursor[i, 0]
        cursor[i, 0] += 1
        tally.jobs[i, stream.job_class[j], ARRIVED] += 1
        row = servers.waiting[i]
        if row == servers.execution.shape[1]:
            tally.jobs[i, stream.job_class[j], DROPPED] += 1
            tally.weight[i] += stream.weight[j]
            term -= stream.weight[j]
        else:
            for d in range(servers.used.shape[1]):
                servers.requirement[i, row, d] = stream.requirement[j, d]
            servers.execution[i, row] = stream.execution[j]
            servers.slack[i, row] = stream.slack[j]
            servers.wait[i, row] = 0
            servers.weight[i, row] = stream.weight[j]
            servers.job_class[i, row] = stream.job_class[j]
            servers.waiting[i] += 1
    return term


@kernel
def insert_training(servers, tally, rules, kinds, mask):
    """A training job of kinds[i] (-1: none) waits from now on where none is."""
    for i in range(len(kinds)):
        if kinds[i] >= 0 and servers.training[i] == 0:
            servers.training[i] = WAITING
            servers.training_kind[i] = kinds[i]
            tally.requests[i] += 1
            tally.waiting_at_request[i] += servers.waiting[i]
            for d in range(servers.used.shape[1]):
                tally.used_at_request[i, d] += servers.used[i, d]
            _allow(servers, rules, i, mask)


@inlined
def _allow(servers, rules, i, mask):
    """Which actions are allowed now: jobs that fit, less what a training job holds back."""
    mask[i, :] = False
    mask[i, 0] = True
    training, kind = servers.training[i], servers.training_kind[i]
    nothing_starts = (rules.mode == PAUSE and training != 0) or (
        rules.mode == DRAIN and training == WAITING
    )
    if not nothing_starts:
        for row in range(servers.waiting[i]):
            # A job of a trace may arrive when its deadline cannot be met any more.
            if servers.slack[i, row] < 0:
                continue
            mask[i, row + 1] = _fits(servers, rules, i, row, training > 0, kind)
            if training == WAITING:
                mask[i, row + 1] &= _backfills(servers, rules, i, row, kind)


@kernel
def mask_with_training(servers, rules, mask, kind, flagged):
    """Writes (N, M + 1) actions that would be allowed if a training job of a kind waited."""
    for i in range(len(mask)):
        flagged[i, :] = False
        flagged[i, 0] = True
        for row in range(servers.waiting[i]):
            allowed = mask[i, row + 1]
            if servers.training[i] == 0:
                allowed &= rules.mode == BACKFILL and _backfills(servers, rules, i, row, kind)
            flagged[i, row + 1] = allowed


@inlined
def _measure_use(servers, rules, i, now):
    trains = servers.training[i] > 0
    is_empty = True
    for d in range(len(rules.capacity)):
        # Jobs that are frozen by a training job use nothing.
        units = 0 if trains and rules.mode == PAUSE else servers.used[i, d]
        if trains:
            units += rules.demand[servers.training_kind[i], d]
        now.units_in_use[i, d] = units
        is_empty &= units == 0
    now.is_empty[i] = is_empty
    now.is_idle[i] = is_empty and servers.waiting[i] == 0


@inlined
def _fits(servers, rules, i, row, beside_training, kind):
    for d in range(len(rules.capacity)):
        free = rules.capacity[d] - servers.used[i, d]
        if beside_training:
            free -= rules.demand[kind, d]
        if servers.requirement[i, row, d] > free:
            return False
    return True


@inlined
def _backfills(servers, rules, i, row, kind):
    """Reconstructed: may this job start while a training job waits, without delaying it?"""
    if servers.clock[i] + servers.execution[i, row] > servers.last_end[i]:
        return False
    if not _demand_is_free(servers, rules, i, kind):
        return True
    return _fits(servers, rules, i, row, True, kind)


@inlined
def _demand_is_free(servers, rules, i, kind):
    for d in range(len(rules.capacity)):
        if servers.used[i, d] + rules.demand[kind, d] > rules.capacity[d]:
            return False
    return True


@inlined
def _remove(servers, i, row):
    for later in range(row + 1, servers.waiting[i]):
        _copy(servers, i, later, later - 1)
    servers.waiting[i] -= 1
    _clear(servers, i, servers.waiting[i])


@inlined
def _copy(servers, i, source, target):
    for d in range(servers.used.shape[1]):
        servers.requirement[i, target, d] = servers.requirement[i, source, d]
    servers.execution[i, target] = servers.execution[i, source]
    servers.slack[i, target] = servers.slack[i, source]
    servers.wait[i, target] = servers.wait[i, source]
    servers.weight[i, target] = servers.weight[i, source]
    servers.job_class[i, target] = servers.job_class[i, source]


@inlined
def _clear(servers, i, row):
    """Empty rows hold zeros, so that observations need no second look at `waiting`."""
    for d in range(servers.used.shape[1]):
        servers.requirement[i, row, d] = 0
    servers.execution[i, row] = 0
    servers.slack[i, row] = 0
    servers.wait[i, row] = 0
    servers.weight[i, row] = 0.0
    servers.job_class[i, row] = 0
