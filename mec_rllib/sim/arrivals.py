"""What arrived lately, slot by slot: the jobs that came together, to be drawn as such again."""

import math
from typing import Any, NamedTuple

import numpy as np

from mec_rllib.compiled import compiled
from mec_rllib.sim.jobs import Ints, Jobs, no_jobs


class Arrivals(NamedTuple):
    """The jobs of some slots of N servers, ordered by slot, then by server."""

    jobs: Jobs
    counts: Ints  # (slots * N,) jobs that came together


class Recorded(NamedTuple):
    """What compiled code sees of an `ArrivalLog`."""

    jobs: Jobs
    bounds: Ints  # (records + 1,) where in `jobs` those of a record begin, oldest record first
    forgetting: float  # records; the weight of a record falls to 1 / e in so many


class ArrivalLog:
    """Keeps the arrivals of the last slots, each a record: the jobs that came together.

    Args:
        forgetting: records in which the weight of a record falls to 1 / e.
        resources: D, resource kinds of a job.
    """

    def __init__(self, forgetting: float, resources: int):
        self._forgetting = float(forgetting)
        self._kept = math.ceil(8 * forgetting)  # older ones weigh next to nothing
        self._jobs, self._bounds = no_jobs(resources), np.zeros(1, np.int64)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def add(self, new: Arrivals) -> None:
        """Appends records; the oldest ones make room when there are twice as many as are kept."""
        bounds = np.concatenate((self._bounds, self._bounds[-1] + np.cumsum(new.counts)))
        jobs = Jobs.concatenate([self._jobs, new.jobs])
        if len(bounds) > 2 * self._kept:
            bounds = bounds[-self._kept - 1 :]
            jobs, bounds = jobs.take(slice(bounds[0], None)), bounds - bounds[0]
        self._jobs, self._bounds = jobs, bounds

    @property
    def recorded(self) -> Recorded:
        """For compiled code."""
        return Recorded(self._jobs, self._bounds, self._forgetting)

    def get_state(self) -> dict[str, Any]:
        """All records."""
        return {"jobs": list(self._jobs), "bounds": self._bounds}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        self._jobs, self._bounds = Jobs(*state["jobs"]), state["bounds"]


@compiled
def record_of(recorded: Recorded, chance: float) -> int:
    """The record that a number in [0, 1) draws: weight exp(-age / forgetting), newest age 0."""
    records = len(recorded.bounds) - 1
    known = -math.expm1(-records / recorded.forgetting)
    age = int(-recorded.forgetting * math.log1p(-chance * known))
    return max(records - 1 - age, 0)
