"""Recorded workloads, replayed slot by slot."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mec_rllib.sim.jobs import Floats, Jobs
from mec_rllib.sim.traces.columns import Tell
from mec_rllib.sim.traces.figures import TraceFigures, figures_of
from mec_rllib.sim.traces.files import Trace
from mec_rllib.sim.traces.files import read_trace as read_trace
from mec_rllib.sim.traces.made import file_of

FEW_SLOTS = 100  # a pass that is shorter is repeated: rounding its length would change the load
MOST_SLOTS = 10**12  # of a pass
MOST_JOBS_A_SLOT = 10_000
MISPLACED = 99.0  # a leap so many times as long as all the rest is a wrong time, not a silence
FEW_JOBS = 0.01  # share of the jobs that lies on the other side of such a leap
ENOUGH_JOBS = 10  # to tell


@dataclass(frozen=True)
class ClassRule:
    """Slack and weight that a trace does not record (reconstructed): slack = ceil(a + b * e)."""

    slack_base: float
    slack_per_slot: float
    weight: float


DEFAULT_RULES = {
    "interactive": ClassRule(1.0, 1.0, 4.0),
    "elastic": ClassRule(2.0, 3.0, 1.0),
}


class TraceWorkload:
    """Replays a trace on one resource kind; every server sees the same jobs.

    Execution e = ceil(duration / slot), capped; requirement r = max(1, ceil(demand * C)). The
    offered load is counted in slots and units as the server sees them: sum(e * r) / (C * slots).
    The first job arrives in slot 0.

    Args:
        trace: recorded jobs.
        capacity: units of the server; traces record one resource kind.
        slot_s: seconds per slot.
        load: stretches or squeezes the arrival times to this offered load: a pass takes
            sum(e * r) / (C * load) slots, whatever its span; None keeps the time.
        end: "loop" starts over after the last job, "stop" lets no more jobs come.
        max_execution: cap on e, slots.
        rules: slack and weight per class name.

    Attributes:
        jobs: of the trace, in the slots of its first pass.
        span: slots of one pass; of several where one would take few slots.
        figures: what became of the recording.

    Raises:
        ValueError: more than one resource kind, a class without a rule, a time of arrival that
            cannot be right, or a load that these jobs cannot offer.
    """

    def __init__(
        self,
        trace: Trace,
        capacity: tuple[int, ...] = (10,),
        slot_s: float = 1.0,
        load: float | None = 0.3,
        end: Literal["loop", "stop"] = "loop",
        max_execution: int = 100,
        rules: Mapping[str, ClassRule] | None = None,
    ):
        if len(capacity) != 1:
            raise ValueError(f"a trace records one resource kind, the capacity has {len(capacity)}")
        self.capacity = tuple(capacity)
        self.end = end
        self.class_names = trace.class_names
        rules = DEFAULT_RULES if rules is None else rules
        for name in self.class_names:
            if name not in rules:
                raise ValueError(
                    f"{trace.source}: class {name!r} has no rule; known: {', '.join(rules)}"
                )
        _check_times(trace)
        jobs = _as_played(trace, capacity[0], slot_s, max_execution, rules)
        self._cycle, self.span = _placed(trace, jobs, capacity[0], slot_s, load, end == "loop")
        self.jobs = self._cycle.take(slice(len(trace.arrival_s)))
        self.length = self.span if end == "stop" else None
        self.max_execution = int(jobs.execution.max())
        self.max_slack = int(jobs.slack.max())
        self.max_weight = float(jobs.weight.max())
        self.figures: TraceFigures = figures_of(
            trace,
            self._cycle,
            slots=self.span,
            units=capacity[0],
            slot_s=slot_s,
            max_execution=max_execution,
            keeps_time=load is None,
        )

    def arrivals(self, rng: np.random.Generator, start: int, stop: int) -> Jobs:
        """Jobs that arrive in slots start..stop-1; draws nothing."""
        if self.end == "stop":
            return self._pass(start, stop, 0)
        passes = range(start // self.span, (stop - 1) // self.span + 1)
        return Jobs.concatenate([self._pass(start, stop, k * self.span) for k in passes])

    def _pass(self, start: int, stop: int, offset: int) -> Jobs:
        rows = slice(*np.searchsorted(self._cycle.arrival, [start - offset, stop - offset]))
        jobs = self._cycle.take(rows)
        return jobs._replace(arrival=jobs.arrival + offset)


def _check_times(trace: Trace) -> None:
    """A few jobs that lie ages away from all others would leave one burst and an empty world."""
    times, jobs = trace.arrival_s, len(trace.arrival_s)
    if jobs < ENOUGH_JOBS:
        return
    gaps = np.diff(times)
    after = int(np.argmax(gaps)) + 1
    rest = times[-1] - times[0] - gaps[after - 1]
    strays = min(after, jobs - after)
    if gaps[after - 1] > MISPLACED * rest and strays <= max(1, FEW_JOBS * jobs) and rest > 0:
        raise ValueError(
            f"{trace.source}: {trace.place(after)}: arrival_s leaps from {times[after - 1]:.15g} "
            f"to {times[after]:.15g}, all other jobs lie within {rest:.6g} s; is a time wrong "
            f"{'before' if after == strays else 'from'} there{' on' if after > strays else ''}?"
        )


def _as_played(
    trace: Trace, units: int, slot_s: float, max_execution: int, rules: Mapping[str, ClassRule]
) -> Jobs:
    """The jobs in slots and units, all of them at slot 0."""
    execution = np.minimum(np.ceil(trace.duration_s / slot_s), max_execution).astype(np.int64)
    # The subtraction keeps 0.3 * 10 = 3.0000000000000004 from asking for a fourth unit.
    requirement = np.maximum(1, np.ceil(trace.demand * units - 1e-9)).astype(np.int64)
    chosen = [rules[name] for name in trace.class_names]
    base = np.array([rule.slack_base for rule in chosen])[trace.job_class]
    per_slot = np.array([rule.slack_per_slot for rule in chosen])[trace.job_class]
    slack = np.ceil(base + per_slot * execution).astype(np.int64)
    weight = np.array([rule.weight for rule in chosen])[trace.job_class]
    nowhere = np.zeros(len(execution), np.int64)
    return Jobs(nowhere, trace.job_class, requirement[:, None], execution, slack, weight)


def _placed(
    trace: Trace, jobs: Jobs, units: int, slot_s: float, load: float | None, loops: bool
) -> tuple[Jobs, int]:
    """The jobs in their slots, and the slots of a pass."""
    times = trace.arrival_s - trace.arrival_s[0]
    repeats = 1
    if load is None:
        times /= slot_s
        slots = times[-1] + 1
    else:
        work = float(np.sum(jobs.execution * jobs.requirement[:, 0])) / units
        slots = work / load
        if slots < 1:
            raise ValueError(f"{trace.source}: load {load:g} needs more jobs: at most {work:.3g}")
        times *= slots / times[-1] if times[-1] > 0 else 0.0
        repeats = math.ceil(FEW_SLOTS / slots) if loops else 1
    if slots > MOST_SLOTS or len(times) > MOST_JOBS_A_SLOT * slots:
        raise ValueError(
            f"{trace.source}: {len(times):,} jobs in {slots:.3g} slots; "
            "set env.trace.load, or another env.trace.slot_s"
        )
    if repeats > 1:
        times = _repeated(times, slots, repeats)
        jobs = jobs.take(np.tile(np.arange(len(trace.arrival_s)), repeats))
    length = int(slots) if load is None else round(repeats * slots)
    arrival = np.minimum(times.astype(np.int64), length - 1)  # the last instant is of the last slot
    return jobs._replace(arrival=arrival), length


def _repeated(times: Floats, slots: float, repeats: int) -> Floats:
    return (times + slots * np.arange(repeats)[:, None]).ravel()


# What this process has read, and made of it: a big file takes minutes and hundreds of MB.
_TRACES: dict[tuple[str, tuple[str, ...]], tuple[tuple[int, ...], Trace]] = {}
_WORKLOADS: dict[tuple[Any, ...], TraceWorkload] = {}
KEPT_WORKLOADS = 4


def read_once(path: str, ignore: tuple[str, ...] = (), tell: Tell | None = None) -> Trace:
    """As `read_trace`; a file that is as it was is not read again."""
    try:
        found = file_of(path).stat()
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
    except (OSError, ValueError):
        return read_trace(path, ignore, tell)  # says what is wrong
    before = _TRACES.get((path, ignore))
    if before is not None and before[0] == state:
        return before[1]
    trace = read_trace(path, ignore, tell)
    _TRACES[path, ignore] = (state, trace)
    return trace


def workload_once(
    trace: Trace,
    capacity: tuple[int, ...],
    slot_s: float,
    load: float | None,
    end: Literal["loop", "stop"],
    max_execution: int,
    rules: tuple[tuple[str, ClassRule], ...],
) -> TraceWorkload:
    """As `TraceWorkload`; it draws nothing, so whoever wants the same may have the same one."""
    settings = (capacity, slot_s, load, end, max_execution, rules)
    key = (trace.path, trace.sha256, *settings)
    if key not in _WORKLOADS:
        made = TraceWorkload(trace, *settings[:-1], dict(rules))
        while len(_WORKLOADS) >= KEPT_WORKLOADS:
            _WORKLOADS.pop(next(iter(_WORKLOADS)))
        _WORKLOADS[key] = made
    return _WORKLOADS[key]
