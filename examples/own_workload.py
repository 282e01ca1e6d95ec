"""My users come in a rhythm of their own: a workload, played against two rules.

python -m examples.own_workload
"""

import numpy as np

from mec_rllib import Results, Study
from mec_rllib.sim.jobs import Jobs


class RushHours:
    """Jobs that come often in the first half of every `period` slots, and rarely in the second."""

    class_names, capacity, length = ("request",), (10,), None  # endless
    max_execution, max_slack, max_weight = 6, 8, 1.0

    def __init__(self, period: int = 200, often: float = 0.5, rarely: float = 0.05):
        self.period, self.often, self.rarely = period, often, rarely

    def arrivals(self, rng: np.random.Generator, start: int, stop: int) -> Jobs:
        """The jobs of slots start..stop-1, sorted by arrival."""
        slots = np.arange(start, stop)
        is_rush = slots % self.period < self.period / 2
        arrival = slots[rng.random(len(slots)) < np.where(is_rush, self.often, self.rarely)]
        n = len(arrival)
        return Jobs(
            arrival=arrival,
            job_class=np.zeros(n, np.int64),
            requirement=rng.integers(1, 6, (n, 1)),
            execution=rng.integers(1, 7, n),
            slack=rng.integers(0, 9, n),
            weight=np.ones(n),
        )


def main(slots: int = 20_000) -> Results:
    """Plays it; `workload_args` are the arguments of the class."""
    env = {"workload": "examples.own_workload:RushHours", "workload_args": {"period": 400}}
    study = Study({"strategies": ["sjf", "edf", "idle"], "slots": slots, "env": env})
    results = study.run_here()
    print(results.rows()[["strategy", "reward_lifetime", "miss_rate"]])
    return results


if __name__ == "__main__":
    main()
