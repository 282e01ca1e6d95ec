"""What the agent sees: the encoding of a server's state, in this one place.

First the paper's 4-tuple of each buffer row: execution e, requirement r, wait, deadline d = e + s.
Then the units in use. Then the flag "a training job is waiting", one for each kind of them.
All in [0, 1]: units as shares of the capacity, times as log(1 + x) / log(1 + max) (raw times made
the same agent far worse).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mec_rllib.compiled import by_type
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import WAITING, inlined, kernel

Observations = NDArray[np.float32]


@by_type
def see(sight, field, out):
    """Writes (N, size) observations of the servers as they are now into `out`."""


@by_type
def see_flagged(sight, field, kind, obs, out):
    """Writes observations as if a training job of a kind waited; `obs` are those of now."""


class RowSight(NamedTuple):
    """How the buffer is shown row by row."""

    log_execution: NDArray[np.float32]  # log(1 + x) / log(1 + largest)
    log_wait: NDArray[np.float32]
    log_deadline: NDArray[np.float32]
    free_ahead: int  # slots
    classes: int  # job classes that are shown
    flag: int  # column of the first flag


class Encoder:
    """Encodes a batch of servers; D resource kinds give (3 + D) * M + D + J floats.

    Args:
        batch: the servers; M, D, capacity and the longest times are taken from it.
        free_ahead: also show the free share 1..free_ahead slots ahead, per kind (off by default).
        job_class: also show each row's job class, one-hot (off by default).

    Attributes:
        size: of an observation.
        low: of an observation.
        high: of an observation.
    """

    low, high = 0.0, 1.0

    def __init__(self, batch: ServerBatch, free_ahead: int = 0, job_class: bool = False):
        workload = batch.workload
        kinds = len(batch.rules.capacity)
        self._batch = batch
        flag = (3 + kinds) * batch.buffer + kinds
        free_ahead = min(free_ahead, workload.max_execution)
        classes = len(workload.class_names) if job_class else 0
        self.size = flag + batch.kinds + free_ahead * kinds + classes * batch.buffer
        longest = workload.max_execution + workload.max_slack
        # One table for all three times would waste resolution: each has its own maximum.
        self.sight = RowSight(
            log_execution=_log_table(workload.max_execution),
            log_wait=_log_table(workload.max_slack),
            log_deadline=_log_table(longest),
            free_ahead=free_ahead,
            classes=classes,
            flag=flag,
        )

    def encode(self) -> Observations:
        """(N, size) observations of the servers as they are now."""
        out = np.empty((self._batch.num_servers, self.size), np.float32)
        _encode(self.sight, self._batch.servers, self._batch.rules, self._batch.now, out)
        return out

    def encode_flagged(self, obs: Observations, kind: int = 0) -> Observations:
        """(N, size) the observations `obs` of now, as if a job of a kind waited on every server."""
        flagged = np.empty_like(obs)
        _set_flag(self.sight, self._batch.kinds, kind, obs, flagged)
        return flagged


def _log_table(largest: int) -> NDArray[np.float32]:
    """log(1 + x) / log(1 + largest) for x = 0..largest."""
    return (np.log1p(np.arange(largest + 1)) / np.log1p(max(largest, 1))).astype(np.float32)


@see.of(RowSight)
def _see_rows(sight, field, out):
    _encode(sight, field.servers, field.rules, field.now, out)


@see_flagged.of(RowSight)
def _see_rows_flagged(sight, field, kind, obs, out):
    _set_flag(sight, len(field.rules.demand), kind, obs, out)


@kernel
def _set_flag(sight, kinds, kind, obs, out):
    for i in range(len(out)):
        for column in range(out.shape[1]):
            out[i, column] = obs[i, column]
        for k in range(kinds):
            out[i, sight.flag + k] = 1.0 if k == kind else 0.0


@kernel
def _encode(sight, servers, rules, now, out):
    capacity, classes, free_ahead = rules.capacity, sight.classes, sight.free_ahead
    kinds = len(capacity)
    buffer = servers.execution.shape[1]
    for i in range(len(out)):
        for column in range(out.shape[1]):
            out[i, column] = 0.0
        column = 0
        for row in range(servers.waiting[i]):
            column = row * (3 + kinds)
            out[i, column] = sight.log_execution[servers.execution[i, row]]
            for d in range(kinds):
                out[i, column + 1 + d] = servers.requirement[i, row, d] / capacity[d]
            out[i, column + 1 + kinds] = sight.log_wait[servers.wait[i, row]]
            deadline = servers.execution[i, row] + servers.slack[i, row]
            out[i, column + 2 + kinds] = sight.log_deadline[deadline]
        column = (3 + kinds) * buffer
        for d in range(kinds):
            out[i, column + d] = now.units_in_use[i, d] / capacity[d]
        column += kinds
        if servers.training[i] == WAITING:
            out[i, column + servers.training_kind[i]] = 1.0
        column += len(rules.demand)
        _encode_free_ahead(servers, capacity, rules.demand, free_ahead, column, i, out)
        column += free_ahead * kinds
        if classes:
            for row in range(servers.waiting[i]):
                out[i, column + row * classes + servers.job_class[i, row]] = 1.0


@inlined
def _encode_free_ahead(servers, capacity, demand, free_ahead, column, i, out):
    horizon = servers.releases.shape[1]
    for d in range(len(capacity)):
        free = capacity[d] - servers.used[i, d]
        for ahead in range(free_ahead):
            free += servers.releases[i, (servers.clock[i] + ahead) % horizon, d]
            trains = servers.training[i] > ahead + 1
            units = free - demand[servers.training_kind[i], d] if trains else free
            share = units / capacity[d]
            out[i, column + ahead * len(capacity) + d] = max(share, 0.0)
