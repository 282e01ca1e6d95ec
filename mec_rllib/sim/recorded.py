"""Jobs that are known, played again: a log as a workload."""

import numpy as np

from mec_rllib.sim.jobs import Jobs, no_jobs
from mec_rllib.sim.workloads import Workload


class RecordedJobs:
    """The jobs of a table, the same for every server; draws nothing.

    Args:
        jobs: sorted by arrival; slot 0 is the first that is played.
        of: the workload that they came from: it says what else servers need to know.
        length: slots until the last job has arrived; None: endless.
    """

    def __init__(self, jobs: Jobs, of: Workload, length: int | None):
        self.jobs, self.length = jobs, length
        self.class_names, self.capacity = of.class_names, of.capacity
        self.max_execution, self.max_slack = of.max_execution, of.max_slack
        self.max_weight = of.max_weight

    def arrivals(self, rng: np.random.Generator, start: int, stop: int) -> Jobs:
        """The jobs of these slots."""
        return self.jobs.take(slice(*np.searchsorted(self.jobs.arrival, [start, stop])))


def silent(workload: Workload) -> RecordedJobs:
    """A workload on which nothing arrives; otherwise as another one."""
    return RecordedJobs(no_jobs(len(workload.capacity)), workload, None)
