"""A training job that imagines: it plays servers that do not exist, and learns from that.

Once jobs are known the slot is certain; unknown is only who arrives next. So the agent plays its
greedy policy in imagined servers, on which arrivals of the last slots come once more, and learns
the values of the afterstates that it passes: TD(lambda), cut where it explored (Watkins). This is
the source's generator of synthetic samples (it "creates synthetic training samples"; how is not
published); all else here is *reconstructed*, after an independent prototype of this project.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mec_rllib.compiled import compiled
from mec_rllib.envs.observation import Observations, see
from mec_rllib.rl.dqn.afterstates import AfterstateNetwork
from mec_rllib.rl.dqn.mlp import fused, represent
from mec_rllib.rl.dqn.mlp_update import copy, descend, propagate
from mec_rllib.rl.dqn.q_function import rate
from mec_rllib.rl.masks import take_best
from mec_rllib.sim.arrivals import record_of
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.slot import insert_training, play_slot
from mec_rllib.sim.training_jobs import NO_KIND

INTERRUPTIONS = 0.05  # of the slots without a training job, in servers where some come
ARRIVES_NOW = 2**62  # slot; whatever a record holds has arrived by then


class Chances(NamedTuple):
    """Numbers in [0, 1) with which a training job imagines, and the order in which it learns."""

    arrivals: Floats  # (T + 1, W)
    exploration: Floats  # (T + 1, W)
    action: Floats  # (T + 1, W)
    training: Floats  # (T + 1, W)
    order: Ints  # (K, B) afterstates of a batch: slot * W + server


class Terms(NamedTuple):
    """How it is imagined."""

    features: int  # F of an afterstate
    gamma: float
    trace_decay: float  # lambda
    exploration: float  # share of slots with any allowed action
    interrupted: int  # servers in which training jobs come; they show what these cost
    reward_scale: float


class Passed(NamedTuple):
    """What is passed on the way, for T + 1 slots of W imagined servers."""

    features: Observations  # (T + 1, W, F) of the afterstates
    certain: Floats  # (T + 1, W) reward that is certain of the action taken
    value: Floats  # (T + 1, W) of the afterstate
    best: Floats  # (T + 1, W) highest Q
    is_best: Bools  # (T + 1, W) whether the action taken is the best one
    chance: Floats  # (T + 1, W) reward that was not certain: of jobs that found the buffer full
    counts: NDArray[np.float32]  # (T + 1, W) 1 where it is learned from, else 0


@fused
def train_in_imagination(networks, adam, chances, field, sight, terms, recorded):
    """All updates of a training job; returns sums of their loss, |TD error| and V (3,).

    Args:
        networks: `Networks`; the online network plays and judges.
        adam: `Adam`.
        chances: `Chances`.
        field: of the imagined servers; they go on from where they are.
        sight: with which the agent sees them.
        terms: `Terms`.
        recorded: `Recorded` arrivals.
    """
    network = AfterstateNetwork(networks.online, field.now.mask.shape[1])
    passed = imagine(field, sight, network, terms, chances, recorded)
    if adam.steps[0] == 0.0:
        _start_at(networks, passed, terms)
    goals = lambda_returns(passed, terms).ravel()
    features = passed.features.reshape(-1, passed.features.shape[2])
    counts, sums = passed.counts.ravel(), np.zeros(3)
    units = np.zeros(chances.order.shape[1], np.int64)
    for drawn in chances.order:
        shown = np.empty((len(drawn), features.shape[1]), np.float32)
        for b in range(len(drawn)):
            copy(features[drawn[b]], shown[b])
        inputs = represent(networks.online, shown)
        weight, bias = networks.online[-1]
        values = np.dot(inputs[-1], weight[0]) + bias[0]
        slopes = np.empty(len(drawn), np.float32)
        for b in range(len(drawn)):
            error = values[b] - goals[drawn[b]]
            slopes[b] = counts[drawn[b]] * error / len(drawn)
            sums[0] += 0.5 * error * error / len(drawn)
            sums[1] += abs(error) / len(drawn)
            sums[2] += values[b] / len(drawn)
        propagate(networks, inputs, units, slopes)
        descend(adam)
    return sums


@compiled
def _start_at(networks, passed, terms):
    """Starts the values where they lie if rewards go on as on average: differences count."""
    mean = (passed.certain + passed.chance).mean() / (1.0 - terms.gamma)
    networks.online[-1][1][0] += mean
    networks.target[-1][1][0] += mean
    passed.value[:] += mean
    passed.best[:] += mean


@compiled
def imagine(field, sight, network, terms, chances, recorded):
    """Plays the imagined servers, greedily but for exploration; returns what is passed."""
    slots, servers = chances.arrivals.shape
    block = terms.features + 1
    obs = np.empty((servers, field.now.mask.shape[1] * block), np.float32)
    actions, kinds = np.zeros(servers, np.int64), np.empty(servers, np.int64)
    passed = Passed(
        np.empty((slots, servers, block - 1), np.float32),
        np.empty((slots, servers)),
        np.empty((slots, servers)),
        np.empty((slots, servers)),
        np.empty((slots, servers), np.bool_),
        np.empty((slots, servers)),
        np.ones((slots, servers), np.float32),
    )
    for t in range(slots):
        for i in range(servers):
            drawn = chances.training[t, i] / INTERRUPTIONS  # below 1: a kind, each as likely
            is_inserted = i < terms.interrupted and drawn < 1.0
            kinds[i] = int(drawn * field.rules.demand.shape[0]) if is_inserted else NO_KIND
        insert_training(field.servers, field.tally, field.rules, kinds, field.now.mask)
        see(sight, field, obs)
        q = rate(network, obs)
        take_best(q, field.now.mask, actions)
        for i in range(servers):
            best = actions[i]
            if chances.exploration[t, i] < terms.exploration:
                actions[i] = _any_allowed(field.now.mask[i], chances.action[t, i])
            taken = obs[i, actions[i] * block : (actions[i] + 1) * block]
            copy(taken[1:], passed.features[t, i])
            if i < terms.interrupted:
                passed.counts[t, i] = taken[block - field.rules.demand.shape[0] :].max()
            passed.certain[t, i] = taken[0]
            passed.value[t, i] = q[i, actions[i]] - taken[0]
            passed.best[t, i] = q[i, best]
            passed.is_best[t, i] = actions[i] == best
            record = record_of(recorded, chances.arrivals[t, i])
            field.cursor[i, 0] = recorded.bounds[record]
            field.cursor[i, 1] = recorded.bounds[record + 1]
        play_slot(
            field.servers,
            field.tally,
            field.now,
            field.rules,
            recorded.jobs,
            field.cursor,
            ARRIVES_NOW,
            actions,
        )
        for i in range(servers):
            reward = field.now.rewards[i] / terms.reward_scale
            passed.chance[t, i] = reward - passed.certain[t, i]
    return passed


@compiled
def lambda_returns(passed, terms):
    """(T, W) what the afterstates are worth by what came after them."""
    slots, servers = passed.value.shape[0] - 1, passed.value.shape[1]
    returns = np.empty((slots, servers))
    for i in range(servers):
        ahead = passed.best[slots, i]  # worth of the next slot, this far looked ahead
        for t in range(slots - 1, -1, -1):
            returns[t, i] = passed.chance[t, i] + terms.gamma * ahead
            ahead = passed.best[t, i]
            if passed.is_best[t, i]:
                beyond = terms.trace_decay * (returns[t, i] - passed.value[t, i])
                ahead = passed.certain[t, i] + passed.value[t, i] + beyond
    return returns


@compiled
def _any_allowed(mask, chance):
    """One of the allowed actions."""
    left = int(chance * mask.sum())
    for action in range(len(mask)):
        if mask[action]:
            if left == 0:
                return action
            left -= 1
    return 0
