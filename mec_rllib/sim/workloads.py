"""Where jobs come from: generators that answer "which jobs arrive in these slots?".

A workload is a pure description; the server that asks hands in the random generator. So the same
seed gives the same jobs, whatever the agent does (common random numbers).
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from mec_rllib.compiled import compiled
from mec_rllib.sim.bursts import Bursts
from mec_rllib.sim.jobs import Floats, Ints, JobClass, Jobs


class Workload(Protocol):
    """What a server needs to know of its jobs. Bring your own by writing these six names."""

    class_names: tuple[str, ...]
    capacity: tuple[int, ...]  # units per resource kind that the jobs were made for
    max_execution: int  # slots
    max_slack: int  # slots
    max_weight: float
    length: int | None  # slots until the last job has arrived; None = endless

    def arrivals(self, rng: np.random.Generator, start: int, stop: int) -> Jobs:
        """Jobs that arrive in slots start..stop-1, sorted by arrival.

        A server asks for consecutive ranges, each once, always of the same size.
        """
        ...


@runtime_checkable
class SeededWorkload(Workload, Protocol):
    """A workload of which more than the jobs is drawn, the same for all servers of a seed."""

    def of_seed(self, seed: int) -> Workload:
        """The workload of a seed; class names, capacity and maxima stay."""
        ...


def of_seed(workload: Workload, seed: int) -> Workload:
    """The workload as the servers of a seed see it."""
    return workload.of_seed(seed) if isinstance(workload, SeededWorkload) else workload


class LoadSchedule:
    """Offered load over time: piecewise linear, constant before the first and after the last point.

    Args:
        load: one load, or points [[slot, load], ...] with rising slots.

    Raises:
        ValueError: no point, slots not rising, or a load that is not positive and finite.
    """

    def __init__(self, load: float | Sequence[Sequence[float]]):
        points = [(0.0, float(load))] if isinstance(load, int | float) else list(load)
        if not points or any(len(point) != 2 for point in points):
            raise ValueError("load must be a number or a list of [slot, load] pairs")
        self.slots, self.loads = (np.array(column, float) for column in zip(*points, strict=True))
        if not np.all(np.isfinite(self.loads)) or self.loads.min() <= 0:
            raise ValueError(f"load must be above 0 and finite, not {self.loads.min():g}")
        if not np.all(np.isfinite(self.slots)) or np.any(np.diff(self.slots) <= 0):
            raise ValueError("the slots of a load schedule must rise")

    def at(self, slots: Ints | Floats | float) -> Floats:
        """Load at each slot."""
        return np.interp(slots, self.slots, self.loads)


class BernoulliWorkload:
    """Users that fire independently each slot and draw a job class by the mix.

    Each of `users` users fires with probability lambda/users (Bernoulli: known from the source),
    lambda = load * C / E[e * r], of the resource kind that is loaded most.

    Args:
        classes: of the jobs.
        load: offered load, or its schedule (see `LoadSchedule`).
        capacity: units per resource kind.
        users: that send jobs.
        bursts: phases in which more jobs come, and fewer in between; None: none.

    Raises:
        ValueError: no classes, an all-zero mix, a requirement above the capacity, a range upside
            down, or a load at which a user would have to fire more than once a slot.
    """

    length: int | None = None

    def __init__(
        self,
        classes: Sequence[JobClass],
        load: float | Sequence[Sequence[float]] = 0.3,
        capacity: Sequence[int] = (10,),
        users: int = 20,
        bursts: Bursts | None = None,
    ):
        if not classes:
            raise ValueError("classes must not be empty")
        self.capacity = tuple(capacity)
        self.classes = tuple(classes)
        self.users, self.bursts = users, bursts
        self.load = LoadSchedule(load)
        mix = np.array([c.mix for c in classes], float)
        if not np.all(np.isfinite(mix)) or mix.min() < 0 or mix.sum() <= 0:
            raise ValueError("the mix of the classes must be finite, not negative and not all zero")
        _check_ranges(classes, self.capacity)
        self._mix_cdf = np.cumsum(mix / mix.sum())
        self._resources = np.array([c.resources for c in classes], np.int64)  # (classes, D, 2)
        self._execution = np.array([c.execution for c in classes], np.int64)
        self._slack = np.array([c.slack for c in classes], np.int64)
        self._weight = np.array([c.weight for c in classes], float)
        self.class_names = tuple(c.name for c in classes)
        self.max_execution = int(self._execution.max())
        self.max_slack = int(self._slack.max())
        self.max_weight = float(self._weight.max())
        mean_work = (self._resources.mean(-1) * self._execution.mean(-1)[:, None]).T @ (
            mix / mix.sum()
        )
        self._range = (0, 0)  # what _cached holds the chances of
        self._cached = (np.zeros(0), np.zeros(0))
        self._jobs_per_load = 1.0 / np.max(mean_work / self.capacity)
        most = users / self._jobs_per_load / (bursts.busy if bursts else 1.0)
        if self.load.loads.max() > most:
            raise ValueError(
                f"load {self.load.loads.max():g} asks each of {users} users for more than one job "
                f"a slot: at most load {most:.3g}, or more users"
            )

    def job_rate(self, slots: Ints | float) -> Floats:
        """Mean number of jobs per slot, lambda."""
        return self.load.at(slots) * self._jobs_per_load

    def _chances(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Per slot: the chance that a user fires, and that nobody does. Same for all servers."""
        if self._range != (start, stop):
            fire = self.job_rate(np.arange(start, stop)) / self.users
            self._range, self._cached = (start, stop), (fire, (1.0 - fire) ** self.users)
        return self._cached

    def arrivals(self, rng: np.random.Generator, start: int, stop: int) -> Jobs:
        """Jobs that arrive in slots start..stop-1 (see `Workload.arrivals`)."""
        fire, nobody = self._chances(start, stop)
        if self.bursts:
            fire = fire * self.bursts.rates(rng, stop - start)
            nobody = (1.0 - fire) ** self.users
        arrival = start + _binomial_arrivals(rng, fire, nobody, self.users)
        drawn = _draw_jobs(
            rng, len(arrival), self._mix_cdf, self._resources, self._execution, self._slack
        )
        job_class, requirement, execution, slack = drawn
        return Jobs(arrival, job_class, requirement, execution, slack, self._weight[job_class])


class ScriptedWorkload:
    """Arrivals written down by hand, for tests and small examples.

    Args:
        jobs: rows (arrival slot, requirement, execution, slack, weight[, class index]); a
            requirement is a number or one number per resource kind.
        capacity: units per resource kind.
    """

    def __init__(self, jobs: Sequence[Sequence], capacity: Sequence[int] = (10,)):
        rows = sorted(jobs, key=lambda row: row[0])
        self.capacity = tuple(capacity)
        kinds = len(self.capacity)
        self.jobs = Jobs(
            np.array([row[0] for row in rows], np.int64),
            np.array([row[5] if len(row) > 5 else 0 for row in rows], np.int64),
            np.array([np.broadcast_to(row[1], kinds) for row in rows], np.int64).reshape(-1, kinds),
            np.array([row[2] for row in rows], np.int64),
            np.array([row[3] for row in rows], np.int64),
            np.array([row[4] for row in rows], float),
        )
        if np.any(self.jobs.requirement > np.array(self.capacity)):
            raise ValueError("a scripted job asks for more than the capacity")
        classes = int(self.jobs.job_class.max(initial=0)) + 1
        self.class_names = tuple(f"class{k}" for k in range(classes))
        self.max_execution = int(self.jobs.execution.max(initial=1))
        self.max_slack = int(self.jobs.slack.max(initial=0))
        self.max_weight = float(self.jobs.weight.max(initial=1.0))
        self.length = int(self.jobs.arrival.max(initial=0)) + 1

    def arrivals(self, rng: np.random.Generator, start: int, stop: int) -> Jobs:
        """The scripted jobs of these slots; draws nothing."""
        rows = slice(*np.searchsorted(self.jobs.arrival, [start, stop]))
        return self.jobs.take(rows)


def _check_ranges(classes: Sequence[JobClass], capacity: tuple[int, ...]) -> None:
    for c in classes:
        if len(c.resources) != len(capacity):
            raise ValueError(
                f"class {c.name}: {len(c.resources)} resource kinds, but the capacity has "
                f"{len(capacity)}"
            )
        for (lowest, highest), units in zip(c.resources, capacity, strict=True):
            if highest > units:
                raise ValueError(
                    f"class {c.name}: asks for up to {highest} units, the capacity is {units}"
                )
            if lowest < 0 or lowest > highest:
                raise ValueError(f"class {c.name}: resources [{lowest}, {highest}] is no range")
        if all(lowest == 0 for lowest, _ in c.resources):
            raise ValueError(f"class {c.name}: at least one resource kind must be needed")
        if not 1 <= c.execution[0] <= c.execution[1]:
            raise ValueError(f"class {c.name}: execution {list(c.execution)} is no range from 1 up")
        if not 0 <= c.slack[0] <= c.slack[1]:
            raise ValueError(f"class {c.name}: slack {list(c.slack)} is no range from 0 up")
        if not 0 < c.weight < np.inf:
            raise ValueError(f"class {c.name}: weight must be above 0 and finite, not {c.weight}")


@compiled
def _binomial_arrivals(rng, fire, nobody, users):
    """Slots (offsets) in which a user fires, repeated once per user: binomial by inversion."""
    offsets = []
    for t in range(len(fire)):
        u = rng.random()
        probability = nobody[t]
        odds = fire[t] / (1.0 - fire[t]) if fire[t] < 1.0 else 0.0
        count = 0
        while u >= probability and count < users:
            if fire[t] >= 1.0:
                count = users
                break
            u -= probability
            probability *= odds * (users - count) / (count + 1)
            count += 1
        for _ in range(count):
            offsets.append(t)
    return np.array(offsets, np.int64) if len(offsets) else np.zeros(0, np.int64)


@compiled
def _draw_jobs(rng, n, mix_cdf, resources, execution, slack):
    kinds = resources.shape[1]
    job_class = np.empty(n, np.int64)
    requirement = np.empty((n, kinds), np.int64)
    execution_drawn = np.empty(n, np.int64)
    slack_drawn = np.empty(n, np.int64)
    for j in range(n):
        c = min(np.searchsorted(mix_cdf, rng.random(), side="right"), len(mix_cdf) - 1)
        job_class[j] = c
        for d in range(kinds):
            requirement[j, d] = _uniform(rng, resources[c, d])
        execution_drawn[j] = _uniform(rng, execution[c])
        slack_drawn[j] = _uniform(rng, slack[c])
    return job_class, requirement, execution_drawn, slack_drawn


@compiled
def _uniform(rng, bounds):
    return bounds[0] + np.int64(rng.random() * (bounds[1] - bounds[0] + 1))
