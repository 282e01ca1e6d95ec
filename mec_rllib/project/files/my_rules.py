"""Which job next: a scheduler of your own."""

import numpy as np


class WorthMost:
    """Starts the job that is worth most for each unit and slot that it takes."""

    def select(self, batch):
        """(N,) actions: 0 = start nothing, i = start the i-th waiting job."""
        jobs, allowed = batch.servers, batch.mask[:, 1:]
        work = jobs.requirement.sum(axis=2) * jobs.execution  # (N, buffer)
        worth = np.where(allowed, jobs.weight / np.maximum(work, 1), 0.0)
        return np.where(allowed.any(axis=1), worth.argmax(axis=1) + 1, 0)
