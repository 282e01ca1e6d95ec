"""What the agent sees: the encoding of a server's state, in this one place.

First the paper's 4-tuple of each buffer row: execution e, requirement r, wait, deadline d = e + s.
Then the units in use. Then the flag "a training job is waiting", one for each kind of them.
All in [0, 1]: units as shares of the capacity, times as log(1 + x) / log(1 + max) (raw times made
the same agent far worse).
"""

import numpy as np
from numpy.typing import NDArray

from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import WAITING, inlined, kernel

Observations = NDArray[np.float32]


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
        self._free_ahead = min(free_ahead, workload.max_execution)
        self._classes = len(workload.class_names) if job_class else 0
        flag = (3 + kinds) * batch.buffer + kinds
        self._flag = flag
        self.size = flag + batch.kinds + self._free_ahead * kinds + self._classes * batch.buffer
        longest = workload.max_execution + workload.max_slack
        # One table for all three times would waste resolution: each has its own maximum.
        self._log_execution = _log_table(workload.max_execution)
        self._log_wait = _log_table(workload.max_slack)
        self._log_deadline = _log_table(longest)

    def encode(self) -> Observations:
        """(N, size) observations of the servers as they are now."""
        out = np.zeros((self._batch.num_servers, self.size), np.float32)
        _encode(
            self._batch.servers,
            self._batch.rules.capacity,
            self._batch.rules.demand,
            self._batch.units_in_use,
            self._log_execution,
            self._log_wait,
            self._log_deadline,
            self._free_ahead,
            self._classes,
            out,
        )
        return out

    def encode_flagged(self, obs: Observations, kind: int = 0) -> Observations:
        """(N, size) the observations `obs` of now, as if a job of a kind waited on every server."""
        flagged = obs.copy()
        flagged[:, self._flag : self._flag + self._batch.kinds] = 0.0
        flagged[:, self._flag + kind] = 1.0
        return flagged


def _log_table(largest: int) -> NDArray[np.float32]:
    """log(1 + x) / log(1 + largest) for x = 0..largest."""
    return (np.log1p(np.arange(largest + 1)) / np.log1p(max(largest, 1))).astype(np.float32)


@kernel
def _encode(
    servers,
    capacity,
    demand,
    in_use,
    log_execution,
    log_wait,
    log_deadline,
    free_ahead,
    classes,
    out,
):
    kinds = len(capacity)
    buffer = servers.execution.shape[1]
    for i in range(len(out)):
        column = 0
        for row in range(servers.waiting[i]):
            column = row * (3 + kinds)
            out[i, column] = log_execution[servers.execution[i, row]]
            for d in range(kinds):
                out[i, column + 1 + d] = servers.requirement[i, row, d] / capacity[d]
            out[i, column + 1 + kinds] = log_wait[servers.wait[i, row]]
            deadline = servers.execution[i, row] + servers.slack[i, row]
            out[i, column + 2 + kinds] = log_deadline[deadline]
        column = (3 + kinds) * buffer
        for d in range(kinds):
            out[i, column + d] = in_use[i, d] / capacity[d]
        column += kinds
        if servers.training[i] == WAITING:
            out[i, column + servers.training_kind[i]] = 1.0
        column += len(demand)
        _encode_free_ahead(servers, capacity, demand, free_ahead, column, i, out)
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
