"""Recorded workloads, replayed slot by slot."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mec_rllib.sim.jobs import Bools, Floats, Jobs
from mec_rllib.sim.traces.columns import Tell
from mec_rllib.sim.traces.figures import TraceFigures, figures_of
from mec_rllib.sim.traces.files import Trace, read_as
from mec_rllib.sim.traces.files import read_trace as read_trace
from mec_rllib.sim.traces.form import OF_KIND, Form, normal
from mec_rllib.sim.traces.made import file_of

FEW_SLOTS = 100  # a pass that is shorter is repeated: rounding its length would change the load
MOST_SLOTS = 10**12  # of a pass
MOST_JOBS_A_SLOT = 10_000
MISPLACED = 99.0  # a leap so many times as long as all the rest is a wrong time, not a silence
FEW_JOBS = 0.01  # share of the jobs that lies on the other side of such a leap
ENOUGH_JOBS = 10  # to tell
MOST_SLACK = 10_000_000  # slots; observations hold a table of so many
TOO_LATE = -1  # slack of a job that cannot meet its deadline when it arrives


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
    """Replays a trace; every server sees the same jobs.

    Execution e = ceil(duration / slot), capped; requirement r = ceil(demand * C) of each kind, at
    least 1 where a job demands anything. The offered load is counted in slots and units as the
    server sees them: sum(e * r) / (C * slots), of the kind that is loaded most. The first job
    arrives in slot 0.

    Slack and weight are those of the job, where it has them, else those of its class's rule:
    floor(slack_s / slot), or floor((deadline_s - arrival_s) / slot) - e with e before its cap. Both
    are taken from the recorded times: stretching moves arrivals, neither patience nor duration. A
    job whose slack is below 0 is kept with slack -1: it cannot be started, and expires in its
    first slot.

    Args:
        trace: recorded jobs.
        capacity: units of the server, of each resource kind.
        slot_s: seconds per slot.
        load: stretches or squeezes the arrival times to this offered load: a pass takes
            sum(e * r) / (C * load) slots, whatever its span; None keeps the time.
        end: "loop" starts over after the last job, "stop" lets no more jobs come.
        max_execution: cap on e, slots.
        rules: slack and weight per class name.
        kinds: names of the resource kinds, in the order of the capacity; None: the file's order.

    Attributes:
        jobs: of the trace, in the slots of its first pass.
        span: slots of one pass; of several where one would take few slots.
        figures: what became of the recording.

    Raises:
        ValueError: other resource kinds than the trace has, a class without a rule where a job
            needs it, a time that cannot be right, or a load that these jobs cannot offer.
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
        kinds: Sequence[str] | None = None,
    ):
        self.capacity = tuple(capacity)
        self.end = end
        self.class_names = trace.class_names
        trace = _in_order(trace, self.capacity, kinds)
        _check_times(trace)
        rules = DEFAULT_RULES if rules is None else rules
        jobs = _as_played(trace, self.capacity, slot_s, max_execution, rules)
        self._cycle, self.span = _placed(trace, jobs, self.capacity, slot_s, load, end == "loop")
        self.jobs = self._cycle.take(slice(len(trace.arrival_s)))
        self.length = self.span if end == "stop" else None
        self.max_execution = int(jobs.execution.max())
        self.max_slack = max(int(jobs.slack.max()), 0)
        self.max_weight = float(jobs.weight.max())
        self.figures: TraceFigures = figures_of(
            trace,
            self._cycle,
            slots=self.span,
            capacity=self.capacity,
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


def _in_order(trace: Trace, capacity: tuple[int, ...], kinds: Sequence[str] | None) -> Trace:
    """The trace with its demands in the order of the capacity."""
    recorded = ", ".join(OF_KIND + kind if kind else "demand" for kind in trace.kinds)
    if len(capacity) != len(trace.kinds):
        units = ", ".join(map(str, capacity)) if kinds is None else ", ".join(kinds)
        raise ValueError(
            f"{trace.source}: has {len(trace.kinds)} resource kinds ({recorded}), env.capacity has "
            f"{len(capacity)} ({units})"
        )
    if kinds is None or trace.kinds == ("",):
        return trace
    names = [normal(kind) for kind in kinds]
    for kind, name in zip(kinds, names, strict=True):
        if name not in trace.kinds:
            raise ValueError(
                f"{trace.source}: has {recorded}, env.capacity has {', '.join(kinds)}: there is no "
                f"{OF_KIND}{kind}"
            )
    order = [trace.kinds.index(name) for name in names]
    return trace._replace(demand=trace.demand[:, order], kinds=tuple(names))


def _as_played(
    trace: Trace,
    capacity: tuple[int, ...],
    slot_s: float,
    max_execution: int,
    rules: Mapping[str, ClassRule],
) -> Jobs:
    """The jobs in slots and units, all of them at slot 0."""
    whole = np.ceil(trace.duration_s / slot_s)  # e before its cap
    execution = np.minimum(whole, max_execution).astype(np.int64)
    # The subtraction keeps 0.3 * 10 = 3.0000000000000004 from asking for a fourth unit.
    units = np.ceil(trace.demand * np.array(capacity) - 1e-9).astype(np.int64)
    requirement = np.maximum(trace.demand > 0, units)
    slack, weight = _own_slack(trace, slot_s, whole), trace.weight
    needs_slack = np.ones(len(whole), bool) if slack is None else np.isnan(slack)
    needs_weight = np.ones(len(whole), bool) if weight is None else np.isnan(weight)
    _check_rules(trace, needs_slack, needs_weight, rules)
    no_rule = ClassRule(math.nan, math.nan, math.nan)
    chosen = [rules.get(name, no_rule) for name in trace.class_names]
    base = np.array([rule.slack_base for rule in chosen])[trace.job_class]
    per_slot = np.array([rule.slack_per_slot for rule in chosen])[trace.job_class]
    of_rule = np.ceil(base + per_slot * execution)
    weight_of_rule = np.array([rule.weight for rule in chosen])[trace.job_class]
    slack = of_rule if slack is None else np.where(needs_slack, of_rule, slack)
    weight = weight_of_rule if weight is None else np.where(needs_weight, weight_of_rule, weight)
    nowhere = np.zeros(len(whole), np.int64)
    return Jobs(nowhere, trace.job_class, requirement, execution, slack.astype(np.int64), weight)


def _own_slack(trace: Trace, slot_s: float, execution: Floats) -> Floats | None:
    """Slots that each job may wait by its own account, NaN where it says nothing; None: all."""
    if trace.slack_s is not None:
        slots, largest = trace.slack_s / slot_s, np.abs(trace.slack_s)
    elif trace.deadline_s is not None:
        slots, largest = (trace.deadline_s - trace.arrival_s) / slot_s, np.abs(trace.deadline_s)
    else:
        return None
    # As for requirements: what is a whole number but for the last bits of its times is that number.
    slots = np.floor(slots + 1e-9 + 2 * np.spacing(largest) / slot_s)
    slack = slots if trace.slack_s is not None else slots - execution
    if np.any(slack > MOST_SLACK):
        job = int(np.argmax(slack > MOST_SLACK))
        raise ValueError(
            f"{trace.source}: {trace.place(job)}: may wait {slack[job]:.3g} slots, at most "
            f"{MOST_SLACK:,} are played; is its deadline right? Else raise env.trace.slot_s"
        )
    return np.maximum(slack, TOO_LATE)


def _check_rules(
    trace: Trace, needs_slack: Bools, needs_weight: Bools, rules: Mapping[str, ClassRule]
) -> None:
    """A ValueError names a class without a rule, and the first job that needs it."""
    for code, name in enumerate(trace.class_names):
        if name in rules:
            continue
        mine = trace.job_class == code
        for needs, has, what in (
            (needs_slack, trace.slack_s is not None or trace.deadline_s is not None, "slack"),
            (needs_weight, trace.weight is not None, "weight"),
        ):
            if np.any(mine & needs):
                place = f"{trace.place(int(np.argmax(mine & needs)))}: " if has else ""
                own = f", and the job has no {what} of its own" if has else ""
                raise ValueError(
                    f"{trace.source}: {place}class {name!r} has no rule{own}; "
                    f"known: {', '.join(rules)}"
                )


def _placed(
    trace: Trace,
    jobs: Jobs,
    capacity: tuple[int, ...],
    slot_s: float,
    load: float | None,
    loops: bool,
) -> tuple[Jobs, int]:
    """The jobs in their slots, and the slots of a pass."""
    times = trace.arrival_s - trace.arrival_s[0]
    repeats = 1
    if load is None:
        times /= slot_s
        slots = times[-1] + 1
    else:
        work = float(np.max(jobs.execution @ jobs.requirement / np.array(capacity)))
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
_TRACES: dict[tuple[str, Form], tuple[tuple[int, ...], Trace]] = {}
_WORKLOADS: dict[tuple[Any, ...], TraceWorkload] = {}
KEPT_WORKLOADS = 4


def read_once(path: str, form: Form, tell: Tell | None = None) -> Trace:
    """As `read_as`; a file that is as it was is not read again."""
    try:
        found = file_of(path).stat()
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
    except (OSError, ValueError):
        return read_as(path, form, tell)  # says what is wrong
    before = _TRACES.get((path, form))
    if before is not None and before[0] == state:
        return before[1]
    trace = read_as(path, form, tell)
    _TRACES[path, form] = (state, trace)
    return trace


def workload_once(
    trace: Trace,
    capacity: tuple[int, ...],
    slot_s: float,
    load: float | None,
    end: Literal["loop", "stop"],
    max_execution: int,
    rules: tuple[tuple[str, ClassRule], ...],
    kinds: tuple[str, ...] | None,
) -> TraceWorkload:
    """As `TraceWorkload`; it draws nothing, so whoever wants the same may have the same one."""
    key = (
        *(trace.path, trace.sha256, trace.form),
        *(capacity, slot_s, load, end, max_execution, rules, kinds),
    )
    if key not in _WORKLOADS:
        made = TraceWorkload(trace, capacity, slot_s, load, end, max_execution, dict(rules), kinds)
        while len(_WORKLOADS) >= KEPT_WORKLOADS:
            _WORKLOADS.pop(next(iter(_WORKLOADS)))
        _WORKLOADS[key] = made
    return _WORKLOADS[key]
