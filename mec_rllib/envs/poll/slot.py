"""A slot of one server with four queues, beat by beat: compiled functions on its tables."""

from typing import NamedTuple

import numpy as np

from mec_rllib.compiled import compiled
from mec_rllib.sim.jobs import Floats, Ints

QUEUES, PLACES = 4, 12  # and customers that a queue holds
SET_UP = 2  # slots to go to another queue
SUCCESS = 0.95  # chance that a slot of service serves a customer
HOLDING, LOST = 0.05, 2.0  # cost of a customer who waits a slot, and of one who is lost, in c
SCALE = 0.1  # of the reward
LEARNS = 0.02  # rate of the running means of arrivals
STAY, GO = range(2)  # actions
SEEN = 3 * QUEUES + 2  # numbers that are seen
DRAWS = QUEUES + 1  # numbers in [0, 1) that a slot takes


class Polling(NamedTuple):
    """The server and its queues."""

    waiting: Ints  # (4,) customers
    at: Ints  # () queue that is served
    set_up: Ints  # () slots left until it is
    rates: Floats  # (4,) customers per slot; never observed
    costs: Floats  # (4,) c of a customer who waits
    means: Floats  # (4,) running means of arrivals


@compiled
def dearest(world):
    """Another queue, with the largest c x; -1: nobody waits elsewhere."""
    best = -1
    for q in range(QUEUES):
        if q != world.at[0] and world.waiting[q] > 0:
            cost = world.costs[q] * world.waiting[q]
            if best < 0 or cost > world.costs[best] * world.waiting[best]:
                best = q
    return best


@compiled
def allow(world, allowed):
    """Writes (2,) what may be done: nobody stays at an empty queue if others wait elsewhere."""
    allowed[GO] = dearest(world) >= 0
    allowed[STAY] = not allowed[GO] or world.waiting[world.at[0]] > 0


@compiled
def play(world, action, is_frozen, draws):
    """Plays a slot: go, serve, and the arrivals of the next one; returns the reward.

    Args:
        world: it is changed.
        action: STAY or GO; where there is nowhere to go, it stays.
        is_frozen: a training job holds the server at its queue, where it serves on.
        draws: (DRAWS,) numbers in [0, 1).
    """
    target = dearest(world)
    if action == GO and target >= 0 and not is_frozen:
        world.at[0], world.set_up[0] = target, SET_UP
    if world.set_up[0] > 0:
        world.set_up[0] -= 1
    elif world.waiting[world.at[0]] > 0 and draws[QUEUES] < SUCCESS:
        world.waiting[world.at[0]] -= 1
    cost = 0.0
    for q in range(QUEUES):
        came = draws[q] < world.rates[q]
        if came and world.waiting[q] == PLACES:
            cost += LOST * world.costs[q]
        elif came:
            world.waiting[q] += 1
        cost += HOLDING * world.costs[q] * world.waiting[q]
        world.means[q] += LEARNS * (came - world.means[q])
    return -SCALE * cost


@compiled
def look(world, seen):
    """Writes (SEEN,) what is seen; neither costs nor rates are."""
    for q in range(QUEUES):
        seen[q] = np.log(1.0 + world.waiting[q])
        seen[QUEUES + q] = q == world.at[0]
        seen[2 * QUEUES + 2 + q] = world.means[q]
    seen[2 * QUEUES] = world.waiting[world.at[0]] / PLACES
    seen[2 * QUEUES + 1] = world.set_up[0] / SET_UP
