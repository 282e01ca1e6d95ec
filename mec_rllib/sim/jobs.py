"""What a job is: the class it is drawn from, and a table of drawn jobs."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class JobClass:
    """One class of the reference workload: inclusive integer ranges and a weight.

    Args:
        name: what reports call it.
        mix: share of all jobs, relative to the other classes.
        resources: (lowest, highest) units of each resource kind, one pair per kind.
        execution: (shortest, longest) execution time e in slots, at least 1.
        slack: (least, most) slots s that a job may wait; its deadline is e + s after arrival.
        weight: what the job is worth, > 0.
    """

    name: str
    mix: float
    resources: tuple[tuple[int, int], ...]
    execution: tuple[int, int]
    slack: tuple[int, int]
    weight: float


# Reconstructed (the source does not print its classes); the first is latency-critical.
REFERENCE_CLASSES = (
    JobClass("critical", 0.6, ((2, 5),), (1, 2), (0, 2), 4.0),
    JobClass("interactive", 0.2, ((2, 4),), (4, 6), (8, 15), 2.0),
    JobClass("elastic", 0.2, ((4, 5),), (15, 25), (60, 120), 1.0),
)


class Jobs(NamedTuple):
    """A table of jobs, sorted by arrival; n rows, D resource kinds."""

    arrival: Ints  # (n,) slot of arrival
    job_class: Ints  # (n,) index into the workload's class names
    requirement: Ints  # (n, D) units held while it runs
    execution: Ints  # (n,) slots it runs
    slack: Ints  # (n,) slots it may wait; -1: its deadline cannot be met when it arrives
    weight: Floats  # (n,)

    def take(self, rows: slice | Ints) -> "Jobs":
        """The rows asked for, as a table of their own."""
        return Jobs._make(column[rows] for column in self)

    @staticmethod
    def concatenate(tables: "list[Jobs]") -> "Jobs":
        """One table after the other."""
        return Jobs._make(np.concatenate(columns) for columns in zip(*tables, strict=True))


def no_jobs(resources: int) -> Jobs:
    """A table without a row, of D resource kinds."""
    none = np.zeros(0, np.int64)
    return Jobs(none, none, np.zeros((0, resources), np.int64), none, none, np.zeros(0))
