"""What became of a recording: the jobs in the file against the jobs that the server sees."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mec_rllib.sim.jobs import Jobs
from mec_rllib.sim.traces.files import Trace

LOST_WORK = 0.2  # shares and factors that a warning begins at
ROUNDED_UP = 1.5
STRETCHED = 5.0
SHARED_SLOTS = 0.5
GAP = 0.5  # of the span
GAP_OF_FEW_JOBS = 0.9
FEW_JOBS = 10
LOADS = (0.01, 2.0)  # beyond these a server has nothing to do, or no chance
LATE = 0.1
UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))


@dataclass(frozen=True)
class TraceFigures:
    """One pass of a trace as it is played; shares are in [0, 1].

    Attributes:
        path: of the file, as the config names it.
        sha256: of the file.
        jobs: in the file.
        span_s: seconds from the first arrival to the last.
        recorded_load: sum(duration * demand) / span, of the resource kind that is loaded most;
            None where all jobs share one instant.
        slots: of one pass of the jobs.
        slot_s: seconds per slot.
        load: offered load as played, sum(e * r) / (C * slots), of the kind that is loaded most.
        loads: the same of every kind, by its name ("" if there is one without a name).
        max_execution: cap on the execution time, slots.
        stretch: seconds played per second recorded, of the arrival times; None as above.
        cut_jobs: share of the jobs that the cap makes shorter.
        lost_work: share of the work that goes with it.
        units_ratio: units asked for each one demanded: requirements are rounded up; of the kind
            where this is most.
        slots_ratio: slots asked for each one that the jobs need after the cap: rounded up, too.
        shared_slots: share of the jobs that arrive in the same slot as another one.
        largest_gap_s: seconds without an arrival, at most.
        largest_gap: the same as a share of the span.
        largest_gap_before: where the job after it stands in the file.
        late_jobs: share of the jobs that cannot meet their deadline when they arrive; None where
            no job has a deadline or a slack of its own.
        moved_jobs: jobs that stood in the file behind one that arrives later, and were sorted.
    """

    path: str
    sha256: str
    jobs: int
    span_s: float
    recorded_load: float | None
    slots: int
    slot_s: float
    load: float
    loads: dict[str, float]
    max_execution: int
    stretch: float | None
    cut_jobs: float
    lost_work: float
    units_ratio: float
    slots_ratio: float
    shared_slots: float
    largest_gap_s: float
    largest_gap: float
    largest_gap_before: str | None  # None where it is not worth a look
    late_jobs: float | None
    moved_jobs: int

    def to_json(self) -> dict[str, Any]:
        """The figures, the line and the warnings, in JSON's types."""
        return asdict(self) | {"line": self.line(), "warnings": self.warnings()}

    def line(self) -> str:
        """One line: what was done to the trace."""
        recorded = f" at load {self.recorded_load:.3g}" if self.recorded_load is not None else ""
        silence, span = map(duration_in_words, (self.largest_gap_s, self.span_s))
        gap = f"largest gap {silence} ({_share(self.largest_gap)} of the span"
        before = f", before {self.largest_gap_before}" if self.largest_gap_before else ""
        each = ", ".join(f"{kind} {load:.3g}" for kind, load in self.loads.items() if kind)
        moved = f" ({self.moved_jobs:,} out of order, sorted)" if self.moved_jobs else ""
        late = f"; {self._late()}" if self.late_jobs is not None else ""
        return (
            f"trace {self.path}: {self.jobs:,} jobs{moved} in {span}{recorded}, "
            f"played in {self.slots:,} slots of {self.slot_s:g} s at load {self.load:.3g}"
            f"{f' ({each})' if each else ''}; "
            f"{self._stretching()}; {_share(self.cut_jobs)} of the jobs cut to "
            f"{self.max_execution} slots, {_share(self.lost_work)} of the work lost; "
            f"{self.units_ratio:.2f} units asked for each demanded; "
            f"{_share(self.shared_slots)} of the jobs share a slot; {gap}{before}){late}"
        )

    def _late(self) -> str:
        share = _share(self.late_jobs or 0.0)
        return f"{share} of the jobs cannot meet their deadline when they arrive"

    def _stretching(self) -> str:
        if self.stretch is None:
            return "all of them arrive at once"
        if abs(self.stretch - 1) < 5e-4:
            return "time as recorded"
        word = "stretched" if self.stretch > 1 else "squeezed"
        return f"time {word} {max(self.stretch, 1 / self.stretch):.3g} times"

    def warnings(self) -> list[str]:
        """What is large, and the key to turn; one line each."""
        found = []
        if self.lost_work > LOST_WORK:
            found.append(
                f"{_share(self.lost_work)} of the work is lost to env.trace.max_execution "
                f"{self.max_execution}: raise it, or env.trace.slot_s"
            )
        if self.units_ratio > ROUNDED_UP:
            found.append(
                f"the jobs ask for {self.units_ratio:.2f} times the units that they demanded, "
                "rounded up: raise env.capacity"
            )
        if self.slots_ratio > ROUNDED_UP:
            found.append(
                f"the jobs run {self.slots_ratio:.2f} times as long as recorded, rounded up to "
                f"slots of {self.slot_s:g} s: lower env.trace.slot_s"
            )
        if self.stretch and not 1 / STRETCHED < self.stretch < STRETCHED:
            found.append(
                f"{self._stretching()} to reach load {self.load:.3g}: change env.trace.load "
                "(null keeps the time), or env.capacity"
            )
        if not LOADS[0] <= self.load <= LOADS[1]:
            found.append(f"the offered load is {self.load:.3g}: set env.trace.load")
        if self.shared_slots > SHARED_SLOTS:
            found.append(
                f"{_share(self.shared_slots)} of the jobs arrive in the same slot as another one: "
                "lower env.trace.slot_s, or env.trace.load"
            )
        if self.largest_gap_before:
            found.append(
                f"{_share(self.largest_gap)} of the span is one gap, before "
                f"{self.largest_gap_before}: is a time wrong in env.trace.path?"
            )
        if self.late_jobs and self.late_jobs > LATE:
            found.append(
                f"{self._late()}: is it on the clock of arrival_s (env.trace.time)? Else lower "
                "env.trace.slot_s"
            )
        return [f"trace {self.path}: {line}" for line in found]


def figures_of(
    trace: Trace,
    jobs: Jobs,
    slots: int,
    capacity: tuple[int, ...],
    slot_s: float,
    max_execution: int,
    keeps_time: bool,
) -> TraceFigures:
    """The figures of a trace.

    Args:
        trace: as recorded.
        jobs: as played in one pass; the trace once, or several times.
        slots: of this pass.
        capacity: units of each resource kind.
        slot_s: seconds per slot.
        max_execution: cap on the execution time, slots.
        keeps_time: the jobs arrive as recorded, and not for a load.
    """
    repeats = len(jobs.arrival) // len(trace.arrival_s)
    says_when = trace.deadline_s is not None or trace.slack_s is not None
    kept = np.minimum(trace.duration_s, max_execution * slot_s)
    work, kept_work = (d @ trace.demand for d in (trace.duration_s, kept))  # (D,)
    once = slice(0, len(trace.arrival_s))
    execution, requirement = jobs.execution[once], jobs.requirement[once]
    units = np.array(capacity)
    demanded = trace.demand.sum(axis=0) * units
    loads = repeats * (execution @ requirement) / (units * slots)
    span = float(trace.arrival_s[-1] - trace.arrival_s[0])
    stretch = 1.0 if keeps_time or not span else slots * slot_s / (repeats * span)
    together = np.diff(jobs.arrival) == 0
    together = np.append(together, False) | np.append(False, together)
    gap, share, before = _largest_gap(trace, span)
    return TraceFigures(
        path=trace.path,
        sha256=trace.sha256,
        jobs=len(trace.arrival_s),
        span_s=span,
        recorded_load=float(work.max()) / span if span > 0 else None,
        slots=slots,
        slot_s=slot_s,
        load=float(loads.max()),
        loads=dict(zip(trace.kinds, loads.tolist(), strict=True)),
        max_execution=max_execution,
        stretch=stretch if span > 0 else None,
        cut_jobs=float(np.mean(trace.duration_s > max_execution * slot_s)),
        lost_work=1.0 - float(kept_work.sum() / work.sum()),
        units_ratio=float(np.max(requirement.sum(axis=0)[demanded > 0] / demanded[demanded > 0])),
        slots_ratio=float(execution.sum() * slot_s / kept.sum()),
        shared_slots=float(together.mean()),
        largest_gap_s=gap,
        largest_gap=share,
        largest_gap_before=before,
        late_jobs=float(np.mean(jobs.slack[once] < 0)) if says_when else None,
        moved_jobs=_moved(trace),
    )


def _moved(trace: Trace) -> int:
    """Jobs that stand in the file behind one that arrives later."""
    if trace.row is None:
        return 0
    in_file = trace.arrival_s[np.argsort(trace.row)]
    return int(np.sum(in_file < np.maximum.accumulate(in_file)))


def _largest_gap(trace: Trace, span: float) -> tuple[float, float, str | None]:
    """Seconds, the share of the span, and the place after it in the file, if that is strange."""
    gaps = np.diff(trace.arrival_s, append=trace.arrival_s[-1])
    after, gap = int(np.argmax(gaps)) + 1, float(gaps.max())
    share = gap / span if span > 0 else 0.0
    few = len(gaps) < FEW_JOBS
    strange = len(gaps) > 2 and share > (GAP_OF_FEW_JOBS if few else GAP)
    return gap, share, trace.place(after) if strange else None


def duration_in_words(seconds: float) -> str:
    """In the largest unit that gives at least 2."""
    for length, name in UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.3g} {name}"
    return f"{seconds:.3g} s"


def _share(share: float) -> str:
    return "below 0.001 %" if 0.0 < share < 1e-5 else f"{100 * share:.3g} %"
