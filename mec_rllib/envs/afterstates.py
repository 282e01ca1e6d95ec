"""What the deployable agent sees: for each action, what is certain of it and where it leads.

The afterstate of an action is the server at the end of the slot, before chance (the next
arrivals) has its say: the action's job has started, everything that runs has ticked, waits have
grown, and who can no longer meet the deadline has left. Its reward up to there is certain too:
the start term and the expiry terms. So a network only has to learn the value of afterstates,
Q(s, a) = certain reward + V(afterstate), one function for all actions.

The features are *reconstructed*, after an independent prototype of this project.
"""

import numpy as np

from mec_rllib.envs.gym_world import GymBatch, GymEncoder
from mec_rllib.envs.observation import Encoder, Observations
from mec_rllib.sim.jobs import Bools, Ints
from mec_rllib.sim.server import PAUSE, WAITING, ServerBatch, inlined, kernel

AHEAD = (1, 2, 3, 5, 10)  # slots at which the free share is shown
SHORT, MIDDLE = 2, 8  # longest execution time of a short and of a middle job, slots
LENGTHS = 3  # short, middle, long
MAX_LEVELS = 16  # numbers of units per resource kind whose time is shown
PER_LENGTH = 5  # features of a length, beside the requirement of each resource kind
SCALE = 4.0  # jobs of one length that count as 1


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
    - the share of the buffer that is filled, and the flag "a training job is still waiting"

    Whether a training job runs in this slot is as certain as the rest: one whose demand is free
    runs, and leaves no flag behind. So what it costs to train now is exact where the server is
    empty, whatever the network knows.

    Args:
        batch: the servers; M, D, capacity and the longest times are taken from it.

    Attributes:
        features: F.
        size: of an observation, (M + 1) * (F + 1).
        low: of an observation; every waiting job may expire.
        high: of an observation.
    """

    def __init__(self, batch: ServerBatch):
        capacity = batch.rules.capacity
        levels = np.arange(1, MAX_LEVELS + 1)[:, None]
        spread = np.ceil(levels * capacity / np.minimum(MAX_LEVELS, capacity)).astype(np.int64)
        self._levels = np.minimum(spread, capacity)[: min(MAX_LEVELS, int(capacity.max()))]
        self._batch = batch
        self._free = np.zeros((max(batch.workload.max_execution, AHEAD[-1]) + 1, len(capacity)))
        self._scratch = np.zeros((LENGTHS, PER_LENGTH + len(capacity)))
        kinds = len(capacity)
        self.features = self._levels.size + len(AHEAD) * kinds + LENGTHS * (PER_LENGTH + kinds) + 2
        actions = batch.buffer + 1
        self.size = actions * (self.features + 1)
        self.low, self.high = -float(batch.buffer), float(batch.buffer * capacity.max())

    def encode(self) -> Observations:
        """(N, size) observations of the servers as they are now."""
        return self._encode(self._batch.servers.training, self._batch.mask)

    def encode_flagged(self, obs: Observations) -> Observations:
        """(N, size) as if a training job waited on every server; `obs` are those of now."""
        training = self._batch.servers.training
        flagged = np.where(training == 0, WAITING, training)
        return self._encode(flagged, self._batch.mask_with_training())

    def _encode(self, training: Ints, mask: Bools) -> Observations:
        batch = self._batch
        out = np.zeros((batch.num_servers, batch.buffer + 1, self.features + 1), np.float32)
        _encode(
            batch.servers,
            batch.rules,
            training,
            mask,
            self._levels,
            batch.workload.max_weight,
            batch.workload.max_slack,
            self._free,
            self._scratch,
            out,
        )
        return out.reshape(batch.num_servers, self.size)


def encoder_of(
    batch: ServerBatch | GymBatch,
    afterstates: bool = False,
    free_ahead: int = 0,
    job_class: bool = False,
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
        return AfterstateEncoder(batch)
    return Encoder(batch, free_ahead, job_class)


@kernel
def _encode(servers, rules, training, mask, levels, max_weight, max_slack, free, pools, out):
    for i in range(out.shape[0]):
        for action in range(out.shape[1]):
            if mask[i, action]:
                block = out[i, action]
                left = _left_of_training(servers, rules, training[i], i, action - 1)
                frozen = rules.mode == PAUSE and training[i] != 0
                _look_ahead(servers, rules, left, frozen, i, action - 1, free)
                block[0] = _pool_waiting(servers, rules, i, action - 1, max_weight, pools)
                column = _write_free(rules.capacity, levels, free, block)
                column = _write_pools(pools, max_slack, free.shape[0] - 1, column, block)
                waiting = 0.0
                for length in range(LENGTHS):
                    waiting += pools[length, 0]
                block[column] = waiting / servers.execution.shape[1]
                block[column + 1] = left == WAITING


@inlined
def _left_of_training(servers, rules, training, i, row):
    """As Servers.training, at the end of the slot."""
    if training != WAITING:
        return max(training - 1, 0)
    if rules.mode != PAUSE:
        for d in range(rules.capacity.shape[0]):
            units = servers.used[i, d] + rules.demand[d]
            if row >= 0:
                units += servers.requirement[i, row, d]
            if units > rules.capacity[d]:
                return WAITING
    return rules.training_slots - 1


@inlined
def _look_ahead(servers, rules, left_of_training, frozen, i, row, free):
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
            free[h, d] = max(units - rules.demand[d] if trains else units, 0)


@inlined
def _pool_waiting(servers, rules, i, started, max_weight, pools):
    """Sums over the jobs that still wait at the end of the slot; returns the certain reward."""
    pools[:] = 0.0
    pools[:, PER_LENGTH - 1] = np.inf  # least remaining slack
    reward = 0.0
    for row in range(servers.waiting[i]):
        weight = servers.weight[i, row] / max_weight
        wait, slack = servers.wait[i, row], servers.slack[i, row]
        if row == started:
            reward += weight * (1.0 - 0.5 * wait / (slack + 1))
        elif wait + 1 > slack:
            reward -= weight
        else:
            execution, left = servers.execution[i, row], slack - wait - 1
            length = 0 if execution <= SHORT else 1 if execution <= MIDDLE else 2
            pools[length, 0] += 1.0
            pools[length, 2] += weight / (1.0 + left)
            pools[length, 3] += weight
            pools[length, 4] = min(pools[length, 4], left)
            for d in range(rules.capacity.shape[0]):
                share = servers.requirement[i, row, d] / rules.capacity[d]
                pools[length, PER_LENGTH + d] += share
                pools[length, 1] += share * execution / rules.capacity.shape[0]
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
    for length in range(LENGTHS):
        block[column] = pools[length, 0] / SCALE
        block[column + 1] = np.log1p(pools[length, 1]) / np.log1p(longest)
        block[column + 2] = pools[length, 2]
        block[column + 3] = pools[length, 3]
        least = min(pools[length, 4], max_slack)
        empty = pools[length, 0] == 0.0
        block[column + 4] = 1.0 if empty else np.log1p(least) / np.log1p(max(max_slack, 1))
        column += PER_LENGTH
        for d in range(pools.shape[1] - PER_LENGTH):
            block[column] = pools[length, PER_LENGTH + d]
            column += 1
    return column
