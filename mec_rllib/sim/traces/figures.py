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
UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))


@dataclass(frozen=True)
class TraceFigures:
    """One pass of a trace as it is played; shares are in [0, 1].

    Attributes:
        path: of the file, as the config names it.
        sha256: of the file.
        jobs: in the file.
        span_s: seconds from the first arrival to the last.
        recorded_load: sum(duration * demand) / span; None where all jobs share one instant.
        slots: of one pass of the jobs.
        slot_s: seconds per slot.
        load: offered load as played, sum(e * r) / (C * slots).
        max_execution: cap on the execution time, slots.
        stretch: seconds played per second recorded, of the arrival times; None as above.
        cut_jobs: share of the jobs that the cap makes shorter.
        lost_work: share of the work that goes with it.
        units_ratio: units asked for each one demanded: requirements are rounded up.
        slots_ratio: slots asked for each one that the jobs need after the cap: rounded up, too.
        shared_slots: share of the jobs that arrive in the same slot as another one.
        largest_gap_s: seconds without an arrival, at most.
        largest_gap: the same as a share of the span.
        largest_gap_before: where the job after it stands in the file.
    """

    path: str
    sha256: str
    jobs: int
    span_s: float
    recorded_load: float | None
    slots: int
    slot_s: float
    load: float
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

    def to_json(self) -> dict[str, Any]:
        """The figures, the line and the warnings, in JSON's types."""
        return asdict(self) | {"line": self.line(), "warnings": self.warnings()}

    def line(self) -> str:
        """One line: what was done to the trace."""
        recorded = f" at load {self.recorded_load:.3g}" if self.recorded_load is not None else ""
        gap = f"largest gap {_time(self.largest_gap_s)} ({_share(self.largest_gap)} of the span"
        before = f", before {self.largest_gap_before}" if self.largest_gap_before else ""
        return (
            f"trace {self.path}: {self.jobs:,} jobs in {_time(self.span_s)}{recorded}, played in "
            f"{self.slots:,} slots of {self.slot_s:g} s at load {self.load:.3g}; "
            f"{self._stretching()}; {_share(self.cut_jobs)} of the jobs cut to "
            f"{self.max_execution} slots, {_share(self.lost_work)} of the work lost; "
            f"{self.units_ratio:.2f} units asked for each demanded; "
            f"{_share(self.shared_slots)} of the jobs share a slot; {gap}{before})"
        )

    def _stretching(self) -> str:
        if self.stretch is None:
            return "all of them arrive at once"
        if abs(self.stretch - 1) * self.span_s < 1.5 * self.slot_s:  # slots are whole
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
        return [f"trace {self.path}: {line}" for line in found]


def figures_of(
    trace: Trace, jobs: Jobs, slots: int, units: int, slot_s: float, max_execution: int
) -> TraceFigures:
    """The figures of a trace.

    Args:
        trace: as recorded.
        jobs: as played in one pass; the trace once, or several times.
        slots: of this pass.
        units: of the server.
        slot_s: seconds per slot.
        max_execution: cap on the execution time, slots.
    """
    repeats = len(jobs.arrival) // len(trace.arrival_s)
    kept = np.minimum(trace.duration_s, max_execution * slot_s)
    work, kept_work = (float(d @ trace.demand) for d in (trace.duration_s, kept))
    once = slice(0, len(trace.arrival_s))
    execution, requirement = jobs.execution[once], jobs.requirement[once, 0]
    span = float(trace.arrival_s[-1] - trace.arrival_s[0])
    together = np.diff(jobs.arrival) == 0
    together = np.append(together, False) | np.append(False, together)
    gaps = np.diff(trace.arrival_s, append=trace.arrival_s[-1])
    after, gap = int(np.argmax(gaps)) + 1, float(gaps.max())
    share = gap / span if span > 0 else 0.0
    few = len(gaps) < FEW_JOBS
    strange = len(gaps) > 2 and share > (GAP_OF_FEW_JOBS if few else GAP)
    return TraceFigures(
        path=trace.path,
        sha256=trace.sha256,
        jobs=len(trace.arrival_s),
        span_s=span,
        recorded_load=work / span if span > 0 else None,
        slots=slots,
        slot_s=slot_s,
        load=repeats * float(execution @ requirement) / (units * slots),
        max_execution=max_execution,
        stretch=slots * slot_s / (repeats * span) if span > 0 else None,
        cut_jobs=float(np.mean(trace.duration_s > max_execution * slot_s)),
        lost_work=1.0 - kept_work / work,
        units_ratio=float(requirement.sum() / (trace.demand.sum() * units)),
        slots_ratio=float(execution.sum() * slot_s / kept.sum()),
        shared_slots=float(together.mean()),
        largest_gap_s=gap,
        largest_gap=share,
        largest_gap_before=trace.place(after) if strange else None,
    )


def _time(seconds: float) -> str:
    for length, name in UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.3g} {name}"
    return f"{seconds:.3g} s"


def _share(share: float) -> str:
    return f"{100 * share:.3g} %"
