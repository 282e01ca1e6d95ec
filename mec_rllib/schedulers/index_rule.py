"""Index rules, compiled: of the jobs that may start, the one with the highest index does.

A rule is a vector of numbers. The index of a waiting job is

    weight^a * execution^b * requirement^c * (1 + slack left)^d * (1 + wait)^f * (time left)^g

and it may start if it fits and is urgent (little slack left), or leaves enough units free. How much
is urgent and how much is enough, each of three tiers of jobs has for itself. The same function
decides for a server, and for the recorded jobs that a search replays (`replay`).

Of the pieces, priority indices and reserved units are the field's; how they are put together is
reconstructed.
"""

import math
from typing import NamedTuple

import numpy as np

from mec_rllib.schedulers.rule import select
from mec_rllib.sim.jobs import Floats, Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import Now, Rules, Servers, inlined, kernel, play_server

# Of a vector; every one is a key of `Index`.
COLUMNS = (
    "weight",
    "execution",
    "requirement",
    "slack",
    "wait",
    "deadline",
    "top",
    "low",
    "reserve_top",
    "reserve",
    "reserve_low",
    "patience_top",
    "patience",
    "patience_low",
    "long",
    "crowd",
    "ahead",
    "by_slack",
    "head",
)
(WEIGHT, EXECUTION, REQUIREMENT, SLACK, WAIT, DEADLINE, TOP, LOW) = range(8)
RESERVE, PATIENCE = 8, 11  # of the highest of three tiers
LONG, CROWD, AHEAD, BY_SLACK, HEAD = range(14, 19)

NOTHING = -1  # row of no job
LEAST = 1e-12  # weights and requirements may be 0; logarithms of 0 have no sum
LOGARITHMS = np.log(np.arange(1, 1025))  # of most slots: a look instead of a computation


class IndexRule(NamedTuple):
    """Rule: the highest index of those that may start."""

    vectors: Floats  # (N, len(COLUMNS)) of each server, or (1, ...) of all


@select.of(IndexRule)
def _by_index(rule: IndexRule, servers: Servers, now: Now, rules: Rules, actions: Ints) -> None:
    _choose_all(rule.vectors, servers, now, rules, actions)


@kernel
def _choose_all(vectors, servers, now, rules, actions):
    for i in range(len(actions)):
        k = i if len(vectors) > 1 else 0
        actions[i] = choose(vectors, k, servers, now, rules, i)


def play_by_index(rule: IndexRule, batch: ServerBatch, slots: int) -> None:
    """Plays so many slots of every server, as `ServerBatch.step` with the actions of the rule."""
    while slots > 0:
        ahead = min(slots, batch.slots_ahead())
        _play(rule.vectors, *batch.field, batch.slot, ahead)
        batch.slot += ahead
        slots -= ahead


@kernel
def _play(vectors, servers, tally, now, rules, stream, cursor, slot, slots):
    """Server by server: they share nothing but the slot."""
    for i in range(len(cursor)):
        k = i if len(vectors) > 1 else 0
        for t in range(slot, slot + slots):
            action = choose(vectors, k, servers, now, rules, i)
            play_server(servers, tally, now, rules, stream, cursor, t + 1, i, action)


@inlined
def choose(vectors, k, servers, now, rules, i):
    """The action of server i by vector k: 0, or 1 + the row of the job that starts."""
    best = NOTHING
    is_rated = False  # most often one job may start, and its index does not matter
    highest = 0.0
    rows = min(servers.waiting[i], 1) if vectors[k, HEAD] else servers.waiting[i]
    for row in range(rows):
        if now.mask[i, row + 1] and _may_start(vectors, k, servers, now, rules, i, row):
            if best == NOTHING:
                best = row
                continue
            if not is_rated:
                highest = _index(vectors, k, servers, rules, i, best)
                is_rated = True
            index = _index(vectors, k, servers, rules, i, row)
            if index > highest or (
                index == highest
                and vectors[k, BY_SLACK]
                and _slack_left(servers, i, row) < _slack_left(servers, i, best)
            ):
                best, highest = row, index
    return best + 1


@inlined
def _may_start(vectors, k, servers, now, rules, i, row):
    """Whether a job that fits is urgent, or leaves enough units free."""
    weight = servers.weight[i, row]
    tier = 0 if weight >= vectors[k, TOP] else 1 if weight >= vectors[k, LOW] else 2
    if _slack_left(servers, i, row) <= vectors[k, PATIENCE + tier]:
        return True
    reserve = vectors[k, RESERVE + tier]
    if vectors[k, LONG] != 0.0:
        reserve += vectors[k, LONG] * _ln(servers.execution[i, row])
    if vectors[k, CROWD] != 0.0:
        reserve += vectors[k, CROWD] * servers.waiting[i] / servers.execution.shape[1]
    return _leaves(vectors, k, servers, now, rules, i, row, reserve)


@inlined
def _leaves(vectors, k, servers, now, rules, i, row, reserve):
    """Whether so many units of each kind would be left free if this job started.

    Units that come free while it runs count for their share of its time, times `ahead`.
    """
    for d in range(len(rules.capacity)):
        left = float(rules.capacity[d] - now.units_in_use[i, d] - servers.requirement[i, row, d])
        if left < reserve:
            most = vectors[k, AHEAD] * servers.used[i, d]
            if left + most < reserve or most == 0.0:
                return False
            left += vectors[k, AHEAD] * _coming_free(servers, i, d, servers.execution[i, row])
            if left < reserve:
                return False
    return True


@inlined
def _coming_free(servers, i, d, slots):
    """Mean number of units that jobs that run now give back, over so many slots."""
    horizon = servers.releases.shape[1]
    at = servers.clock[i] % horizon
    unit_slots = 0
    for left in range(slots - 1, max(slots - 1 - horizon, 0), -1):
        unit_slots += left * servers.releases[i, at, d]
        at = at + 1 if at + 1 < horizon else 0
    return unit_slots / slots


@inlined
def _index(vectors, k, servers, rules, i, row):
    """The logarithm of a job's index."""
    execution, left = servers.execution[i, row], _slack_left(servers, i, row)
    index = vectors[k, WEIGHT] * math.log(max(servers.weight[i, row], LEAST))
    index += vectors[k, EXECUTION] * _ln(execution)
    index += vectors[k, SLACK] * _ln(1 + left)
    index += vectors[k, WAIT] * _ln(1 + servers.wait[i, row])
    index += vectors[k, DEADLINE] * _ln(execution + left)
    if vectors[k, REQUIREMENT] != 0.0:
        index += vectors[k, REQUIREMENT] * math.log(max(_share(servers, rules, i, row), LEAST))
    return index


@inlined
def _share(servers, rules, i, row):
    """Of the server, that the job needs; of the resource kind that it needs most of."""
    share = 0.0
    for d in range(len(rules.capacity)):
        share = max(share, servers.requirement[i, row, d] / rules.capacity[d])
    return share


@inlined
def _slack_left(servers, i, row):
    return servers.slack[i, row] - servers.wait[i, row]


@inlined
def _ln(slots):
    """Of a whole number from 1 up."""
    return LOGARITHMS[slots - 1] if slots <= len(LOGARITHMS) else math.log(slots)
