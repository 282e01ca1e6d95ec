"""What the deployable agent sees: for each action, what is certain of it and where it leads.

The afterstate of an action is the server at the end of the slot, before chance (the next
arrivals) has its say: the action's job has started, everything that runs has ticked, waits have
grown, and who can no longer meet the deadline has left. Its reward up to there is certain too:
the start term and the expiry terms. So a network only has to learn the value of afterstates,
Q(s, a) = certain reward + V(afterstate), one function for all actions.

An agent that is not told the weights (`hide_weights`) sees no reward. It sees what happens to the
jobs of each class, and has to learn what that is worth.

The features are *reconstructed*, after an independent prototype of this project.
"""

from typing import NamedTuple

import numpy as np

from mec_rllib.envs.gym_world import GymBatch, GymEncoder
from mec_rllib.envs.observation import Encoder, Observations, see, see_flagged
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import PAUSE, WAITING, inlined, kernel, mask_with_training

AHEAD = (1, 2, 3, 5, 10)  # slots at which the free share is shown
SHORT, MIDDLE = 2, 8  # longest execution time of a short and of a middle job, slots
LENGTHS = 3  # short, middle, long
MAX_LEVELS = 16  # numbers of units per resource kind whose time is shown
PER_GROUP = 5  # features of waiting jobs that are pooled, beside the requirement of each kind
SCALE = 4.0  # jobs of one group that count as 1


class AfterstateSight(NamedTuple):
    """How afterstates are shown."""

    levels: Ints  # (levels, D) numbers of units whose time is shown
    max_weight: float
    max_slack: int  # slots
    free: Floats  # (longest + 1, D) scratch: units free so many slots later
    pools: Floats  # (groups, features) scratch: sums over waiting jobs
    outcomes: Floats  # (classes,) scratch: what the slot brings; empty unless weights are hidden
    training: Ints  # (N,) scratch, for `see_flagged`: as Servers.training
    kinds: Ints  # (N,) scratch, likewise
    mask: Bools  # (N, M + 1) scratch, likewise


class AfterstateEncoder:
    """Encodes N servers as M + 1 afterstates of F features each, with the certain reward.

    The block of action a is [reward / largest weight, F features]; blocks of actions that are
    not allowed are zero. Features of an afterstate, D resource kinds:

    - for each of up to 16 numbers of units (1..C where C <= 16) and each kind: the time until so
      many are free, log(1 + t) / log(1 + longest execution time)
    - the free share of each kind 1, 2, 3, 5 and 10 slots ahead
    - for short (e <= 2), middle (e <= 8) and long waiting jobs: their number / 4, requirement of
      each kind / C, work (log), urgency sum w / (1 + remaining slack), sum of w, least
      remaining slack (log; 1 where there is none); w relative to the largest weight
    - the share of the buffer that is filled, and the flag "a training job is still waiting", one
      for each kind of training jobs

    With `hide_weights` the certain reward is left at zero, jobs are pooled by class instead of
    length, with w = 1, and these come before the share of the buffer:

    - for each class, what the slot certainly brings, in weights of the class: + the satisfaction
      of the job that starts, - the number of jobs that expire

    Whether a training job runs in this slot is as certain as the rest: one whose demand is free
    runs, and leaves no flag behind. So what it costs to train now is exact where the server is
    empty, whatever the network knows.

    Args:
        batch: the servers; M, D, capacity and the longest times are taken from it.
        hide_weights: whether the agent has to learn what a job of each class is worth.

    Attributes:
        features: F.
        size: of an observation, (M + 1) * (F + 1).
        low: of an observation; every waiting job may expire.
        high: of an observation.
    """

    def __init__(self, batch: ServerBatch, hide_weights: bool = False):
        capacity, classes = batch.rules.capacity, len(batch.workload.class_names)
        levels = np.arange(1, MAX_LEVELS + 1)[:, None]
        spread = np.ceil(levels * capacity / np.minimum(MAX_LEVELS, capacity)).astype(np.int64)
        self._batch = batch
        groups, kinds = classes if hide_weights else LENGTHS, len(capacity)
        self.sight = AfterstateSight(
            levels=np.minimum(spread, capacity)[: min(MAX_LEVELS, int(capacity.max()))],
            max_weight=float(batch.workload.max_weight),
            max_slack=int(batch.workload.max_slack),
            free=np.zeros((max(batch.workload.max_execution, AHEAD[-1]) + 1, kinds)),
            pools=np.zeros((groups, PER_GROUP + kinds)),
            outcomes=np.zeros(classes if hide_weights else 0),
            training=np.zeros(batch.num_servers, np.int64),
            kinds=np.zeros(batch.num_servers, np.int64),
            mask=np.zeros((batch.num_servers, batch.buffer + 1), bool),
        )
        self.features = self.sight.levels.size + len(AHEAD) * kinds + self.sight.pools.size
        self.features += len(self.sight.outcomes) + 1 + batch.kinds
        actions = batch.buffer + 1
        self.size = actions * (self.features + 1)
        self.low, self.high = -float(batch.buffer), float(batch.buffer * capacity.max())

    def encode(self) -> Observations:
        """(N, size) observations of the servers as they are now."""
        out = np.empty((self._batch.num_servers, self.size), np.float32)
        _encode_now(self.sight, self._batch.servers, self._batch.rules, self._batch.now, out)
        return out

    def encode_flagged(self, obs: Observations, kind: int = 0) -> Observations:
        """(N, size) as if a job of a kind waited where none does; `obs` are those of now."""
        batch, out = self._batch, np.empty_like(obs)
        _encode_flagged(self.sight, batch.servers, batch.rules, batch.now, kind, out)
        return out


def encoder_of(
    batch: ServerBatch | GymBatch,
    afterstates: bool = False,
    free_ahead: int = 0,
    job_class: bool = False,
    hide_weights: bool = False,
) -> Encoder | AfterstateEncoder | GymEncoder:
    """The encoder that `learner.observe` asks for.

    Raises:
        ValueError: it asks for something that only a MEC server shows.
    """
    if isinstance(batch, GymBatch):
        if afterstates or free_ahead or job_class:
            raise ValueError("learner.observe (and the deployable agent) is for MEC servers")
        return GymEncoder(batch)
    if afterstates:
        return AfterstateEncoder(batch, hide_weights)
    return Encoder(batch, free_ahead, job_class)


@see.of(AfterstateSight)
def _see_afterstates(sight, field, out):
    _encode_now(sight, field.servers, field.rules, field.now, out)


@see_flagged.of(AfterstateSight)
def _see_afterstates_flagged(sight, field, kind, obs, out):
    _encode_flagged(sight, field.servers, field.rules, field.now, kind, out)


@kernel
def _encode_now(sight, servers, rules, now, out):
    _encode(sight, servers, rules, servers.training, servers.training_kind, now.mask, out)


@kernel
def _encode_flagged(sight, servers, rules, now, kind, out):
    for i in range(len(out)):
        is_asked = servers.training[i] == 0
        sight.training[i] = WAITING if is_asked else servers.training[i]
        sight.kinds[i] = kind if is_asked else servers.training_kind[i]
    mask_with_training(servers, rules, now.mask, kind, sight.mask)
    _encode(sight, servers, rules, sight.training, sight.kinds, sight.mask, out)


@inlined
def _encode(sight, servers, rules, training, kinds, mask, out):
    levels, max_weight, max_slack = sight.levels, sight.max_weight, sight.max_slack
    free, pools, outcomes = sight.free, sight.pools, sight.outcomes
    size = out.shape[1] // mask.shape[1]
    for i in range(out.shape[0]):
        for column in range(out.shape[1]):
            out[i, column] = 0.0
        for action in range(mask.shape[1]):
            if mask[i, action]:
                block = out[i, action * size : (action + 1) * size]
                left = _left_of_training(servers, rules, training[i], kinds[i], i, action - 1)
                frozen = rules.mode == PAUSE and training[i] != 0
                _look_ahead(servers, rules, left, kinds[i], frozen, i, action - 1, free)
                block[0] = _pool_waiting(servers, rules, i, action - 1, max_weight, pools, outcomes)
                column = _write_free(rules.capacity, levels, free, block)
                column = _write_pools(pools, max_slack, free.shape[0] - 1, column, block)
                waiting = 0.0
                for group in range(len(pools)):
                    waiting += pools[group, 0]
                for job_class in range(len(outcomes)):
                    block[column] = outcomes[job_class]
                    column += 1
                block[column] = waiting / servers.execution.shape[1]
                if left == WAITING:
                    block[column + 1 + kinds[i]] = 1.0


@inlined
def _left_of_training(servers, rules, training, kind, i, row):
    """As Servers.training, at the end of the slot."""
    if training != WAITING:
        return max(training - 1, 0)
    if rules.mode != PAUSE:
        for d in range(rules.capacity.shape[0]):
            units = servers.used[i, d] + rules.demand[kind, d]
            if row >= 0:
                units += servers.requirement[i, row, d]
            if units > rules.capacity[d]:
                return WAITING
    return rules.training_slots[kind] - 1


@inlined
def _look_ahead(servers, rules, left_of_training, kind, frozen, i, row, free):
    """free[h, d]: units free h slots after the end of this slot, if nothing else starts."""
    horizon = servers.releases.shape[1]
    for d in range(free.shape[1]):
        units = rules.capacity[d] - servers.used[i, d]
        if row >= 0:
            units -= servers.requirement[i, row, d]
        for h in range(free.shape[0]):
            slot = h - 1 if frozen else h  # running jobs that give back at the end of slot `slot`
            if 0 <= slot < horizon:
                units += servers.releases[i, (servers.clock[i] + slot) % horizon, d]
            if row >= 0 and slot == servers.execution[i, row] - 1:
                units += servers.requirement[i, row, d]
            trains = left_of_training > h
            free[h, d] = max(units - rules.demand[kind, d] if trains else units, 0)


@inlined
def _pool_waiting(servers, rules, i, started, max_weight, pools, outcomes):
    """Sums over the jobs that still wait at the end of the slot; returns the certain reward."""
    hides_weights = len(outcomes) > 0
    outcomes[:] = 0.0
    pools[:] = 0.0
    pools[:, PER_GROUP - 1] = np.inf  # least remaining slack
    reward = 0.0
    for row in range(servers.waiting[i]):
        weight = 1.0 if hides_weights else servers.weight[i, row] / max_weight
        wait, slack = servers.wait[i, row], servers.slack[i, row]
        outcome = 0.0
        if row == started:
            outcome = 1.0 - 0.5 * wait / (slack + 1)
        elif wait + 1 > slack:
            outcome = -1.0
        else:
            execution, left = servers.execution[i, row], slack - wait - 1
            group = 0 if execution <= SHORT else 1 if execution <= MIDDLE else 2
            if hides_weights:
                group = servers.job_class[i, row]
            pools[group, 0] += 1.0
            pools[group, 2] += weight / (1.0 + left)
            pools[group, 3] += weight
            pools[group, 4] = min(pools[group, 4], left)
            for d in range(rules.capacity.shape[0]):
                share = servers.requirement[i, row, d] / rules.capacity[d]
                pools[group, PER_GROUP + d] += share
                pools[group, 1] += share * execution / rules.capacity.shape[0]
        if hides_weights:
            outcomes[servers.job_class[i, row]] += outcome
        else:
            reward += weight * outcome
    return reward


@inlined
def _write_free(capacity, levels, free, block):
    column = 1
    longest = np.log1p(free.shape[0] - 1)
    for d in range(len(capacity)):
        h = 0
        for level in range(len(levels)):
            while h < free.shape[0] - 1 and free[h, d] < levels[level, d]:
                h += 1
            block[column] = np.log1p(h) / longest
            column += 1
        for ahead in AHEAD:
            block[column] = free[ahead - 1, d] / capacity[d]
            column += 1
    return column


@inlined
def _write_pools(pools, max_slack, longest, column, block):
    for group in range(len(pools)):
        block[column] = pools[group, 0] / SCALE
        block[column + 1] = np.log1p(pools[group, 1]) / np.log1p(longest)
        block[column + 2] = pools[group, 2]
        block[column + 3] = pools[group, 3]
        least = min(pools[group, 4], max_slack)
        empty = pools[group, 0] == 0.0
        block[column + 4] = 1.0 if empty else np.log1p(least) / np.log1p(max(max_slack, 1))
        column += PER_GROUP
        for d in range(pools.shape[1] - PER_GROUP):
            block[column] = pools[group, PER_GROUP + d]
            column += 1
    return column
