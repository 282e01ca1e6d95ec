"""Recorded workloads: read a CSV of jobs and replay it slot by slot."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mec_rllib.sim.jobs import Floats, Jobs

COLUMNS = ("arrival_s", "duration_s", "demand", "job_class")


class Trace(NamedTuple):
    """Jobs as recorded, sorted by arrival; one entry a job."""

    arrival_s: Floats  # seconds since the first job
    duration_s: Floats  # seconds, > 0
    demand: Floats  # share of one server, (0, 1]
    job_class: tuple[str, ...]
    source: str = "trace"  # what errors call it


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


def read_trace(path: str | Path) -> Trace:
    """Reads a job trace (CSV with the columns arrival_s, duration_s, demand, job_class).

    Raises:
        ValueError: the file is unreadable, empty, unsorted, misses a column or holds a value out
            of range; the message names the file and the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        raise ValueError(f"trace {path}: cannot be read ({reason})") from None
    reader = csv.DictReader(text.splitlines(), strict=True)
    rows: list[tuple[float, float, float, str]] = []
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"column {missing[0]} is missing; it needs {', '.join(COLUMNS)}")
        for row in reader:
            rows.append(_parse_row(row))
            if len(rows) > 1 and rows[-1][0] < rows[-2][0]:
                raise ValueError("arrival_s goes back; sort the file by arrival_s")
    except (ValueError, csv.Error) as error:
        raise ValueError(f"trace {path}: line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError(f"trace {path}: holds no job")
    arrival, duration, demand, job_class = zip(*rows, strict=True)
    columns = (np.array(arrival), np.array(duration), np.array(demand), job_class)
    return Trace(*columns, source=f"trace {path}")


def _parse_row(row: dict[str, str]) -> tuple[float, float, float, str]:
    arrival = _number(row, "arrival_s", lowest=0.0)
    duration = _number(row, "duration_s", above=0.0)
    demand = _number(row, "demand", above=0.0, highest=1.0)
    name = (row["job_class"] or "").strip()
    if not name:
        raise ValueError("job_class is empty")
    return arrival, duration, demand, name


def _number(
    row: dict[str, str],
    column: str,
    lowest: float = -math.inf,
    above: float = -math.inf,
    highest: float = 1e15,
) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        raise ValueError(f"{column} must be a number, not {row[column]!r}") from None
    if not (math.isfinite(value) and value >= lowest and value > above and value <= highest):
        bound = f"above {above:g}" if above > -math.inf else f"{lowest:g} or more"
        top = f" and at most {highest:g}" if highest < 1e15 else ""
        raise ValueError(f"{column} must be {bound}{top}, not {row[column]}")
    return value


class TraceWorkload:
    """Replays a trace on one resource kind; every server sees the same jobs.

    Execution e = ceil(duration / slot), capped; requirement r = max(1, ceil(demand * C)). The
    offered load is counted in slots and units as the server sees them: sum(e * r) / (C * slots).

    Args:
        trace: recorded jobs.
        capacity: units of the server; traces record one resource kind.
        slot_s: seconds per slot.
        load: stretches or squeezes the arrival times to this offered load; None keeps the time.
        end: "loop" starts over after the last job, "stop" lets no more jobs come.
        max_execution: cap on e, slots.
        rules: slack and weight per class name.

    Raises:
        ValueError: more than one resource kind, or a class without a rule.
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
        rules = DEFAULT_RULES if rules is None else rules
        self.class_names = tuple(sorted(set(trace.job_class)))
        for name in self.class_names:
            if name not in rules:
                raise ValueError(
                    f"{trace.source}: class {name!r} has no rule; known: {', '.join(rules)}"
                )

        execution = np.minimum(np.ceil(trace.duration_s / slot_s), max_execution).astype(np.int64)
        # The subtraction keeps 0.3 * 10 = 3.0000000000000004 from asking for a fourth unit.
        requirement = np.maximum(1, np.ceil(trace.demand * capacity[0] - 1e-9)).astype(np.int64)
        arrival = trace.arrival_s / slot_s
        if load is not None:
            slots = float(np.sum(execution * requirement)) / (capacity[0] * load)
            span = arrival[-1] - arrival[0]
            arrival = (arrival - arrival[0]) * (slots / span if span > 0 else 0.0)
        job_class = np.array([self.class_names.index(name) for name in trace.job_class], np.int64)
        chosen = [rules[name] for name in self.class_names]
        base = np.array([rule.slack_base for rule in chosen])[job_class]
        per_slot = np.array([rule.slack_per_slot for rule in chosen])[job_class]
        slack = np.ceil(base + per_slot * execution).astype(np.int64)
        weight = np.array([rule.weight for rule in chosen])[job_class]
        self.jobs = Jobs(
            arrival.astype(np.int64), job_class, requirement[:, None], execution, slack, weight
        )
        self.span = int(self.jobs.arrival[-1]) + 1  # slots of one pass
        self.length = self.span if end == "stop" else None
        self.max_execution = int(execution.max())
        self.max_slack = int(slack.max())
        self.max_weight = float(weight.max())

    def arrivals(self, rng: np.random.Generator, start: int, stop: int) -> Jobs:
        """Jobs that arrive in slots start..stop-1; draws nothing."""
        if self.end == "stop":
            return self._pass(start, stop, 0)
        passes = range(start // self.span, (stop - 1) // self.span + 1)
        return Jobs.concatenate([self._pass(start, stop, k * self.span) for k in passes])

    def _pass(self, start: int, stop: int, offset: int) -> Jobs:
        rows = slice(*np.searchsorted(self.jobs.arrival, [start - offset, stop - offset]))
        jobs = self.jobs.take(rows)
        return jobs._replace(arrival=jobs.arrival + offset)
