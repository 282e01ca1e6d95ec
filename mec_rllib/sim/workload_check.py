"""What a workload has to be and to answer: looked at before the kernel trusts it."""

from typing import Any

import numpy as np

from mec_rllib.compiled import compiled
from mec_rllib.sim.jobs import Jobs
from mec_rllib.sim.workloads import Workload
from mec_rllib.user_code import described, wrong_answer

NAMES = ("class_names", "capacity", "max_execution", "max_slack", "max_weight", "length")
# What `_first_fault` finds.
FAULTS = (
    "jobs sorted by arrival",
    "arrivals in slots {start}..{last}",
    "a job_class below {classes}, the number of its class_names",
    "an execution from 1 to max_execution {max_execution}",
    "a slack from 0 to max_slack {max_slack}",
    "a weight from 0 to max_weight {max_weight:g}",
    "a requirement from 0 to the capacity {capacity}",
)


def check_workload(workload: Any) -> None:
    """Raises a ValueError that names what a workload lacks."""
    name = type(workload).__name__
    if not callable(getattr(workload, "arrivals", None)):
        raise ValueError(f"{name} must have a method arrivals(rng, start, stop)")
    for attribute in NAMES:
        if not hasattr(workload, attribute):
            raise ValueError(f"{name} must have {', '.join(NAMES)}: {attribute} is missing")
    capacity = np.asarray(workload.capacity)
    if capacity.ndim != 1 or capacity.dtype.kind not in "iu" or not (capacity > 0).all():
        raise ValueError(
            f"{name}.capacity must be a tuple with the units of each resource kind, such as (10,), "
            f"not {workload.capacity!r}"
        )


def checked_jobs(answer: Any, workload: Workload, start: int, stop: int) -> Jobs:
    """The table that a workload has answered for slots start..stop-1, in the kernel's types.

    Raises:
        WrongAnswerError: a column of another kind or length, or values out of range; one line.
    """
    if not isinstance(answer, tuple) or len(answer) != len(Jobs._fields):
        must = f"a mec_rllib.sim.jobs.Jobs, returned {described(answer)}"
        raise wrong_answer(workload, "arrivals", must)
    jobs = Jobs._make(
        _checked_column(workload, name, column, np.size(answer[0]))
        for name, column in zip(Jobs._fields, answer, strict=True)
    )
    most = {
        "max_execution": workload.max_execution,
        "max_slack": workload.max_slack,
        "max_weight": float(workload.max_weight),
    }
    capacity, classes = np.asarray(workload.capacity, np.int64), len(workload.class_names)
    fault, row = _first_fault(*jobs, start, stop, classes, *most.values(), capacity)
    if fault >= 0:
        allowed = FAULTS[fault].format(
            start=start, last=stop - 1, classes=classes, capacity=tuple(workload.capacity), **most
        )
        values = ", ".join(f"{name} {column[row]}" for name, column in jobs._asdict().items())
        raise wrong_answer(workload, "arrivals", f"{allowed}; job {row} has {values}")
    return jobs


def _checked_column(workload: Workload, name: str, column: Any, jobs: int) -> Any:
    shape: tuple[int, ...] = (jobs,)
    wanted = "(n,)"
    if name == "requirement":
        kinds = len(workload.capacity)
        shape, wanted = (jobs, kinds), f"(n, {kinds})"
    if not isinstance(column, np.ndarray) or column.shape != shape:
        raise wrong_answer(
            workload,
            "arrivals",
            f"jobs whose {name} is an array {wanted}, for n = {jobs} jobs; returned "
            + described(column),
        )
    if column.dtype.kind not in ("iuf" if name == "weight" else "iu"):
        what = "numbers" if name == "weight" else "integers"
        raise wrong_answer(workload, "arrivals", f"{what} as {name}, returned {column.dtype}")
    return column.astype(np.float64 if name == "weight" else np.int64, copy=False)


@compiled
def _first_fault(
    arrival,
    job_class,
    requirement,
    execution,
    slack,
    weight,
    start,
    stop,
    classes,
    max_execution,
    max_slack,
    max_weight,
    capacity,
):
    """Which of FAULTS comes first, and its row; (-1, -1): none."""
    for i in range(len(arrival)):
        if i > 0 and arrival[i] < arrival[i - 1]:
            return 0, i
        if arrival[i] < start or arrival[i] >= stop:
            return 1, i
        if job_class[i] < 0 or job_class[i] >= classes:
            return 2, i
        if execution[i] < 1 or execution[i] > max_execution:
            return 3, i
        if slack[i] < 0 or slack[i] > max_slack:
            return 4, i
        if not 0 <= weight[i] <= max_weight:
            return 5, i
        for d in range(len(capacity)):
            if requirement[i, d] < 0 or requirement[i, d] > capacity[d]:
                return 6, i
    return -1, -1
