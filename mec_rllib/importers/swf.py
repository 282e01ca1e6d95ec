"""The Standard Workload Format of the Parallel Workloads Archive (version 2.2).

Lines that begin with `;` are comments; those at the top say how large the machine is. A job is a
line of 18 numbers, -1 where one is not known. Times are seconds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from mec_rllib.importers.base import Found, Importer, Jobs, at_most_one, interactive_where
from mec_rllib.importers.lines import Log, fault, number, text_of
from mec_rllib.sim.jobs import Bools, Floats

FIELDS = 18
PLACES = {  # of the fields that are looked at, from 0
    "submit time": 1,
    "run time": 3,
    "processors used": 4,
    "processors asked for": 7,
    "status": 10,
    "queue": 14,
}
UNKNOWN = -1
PARTIAL = (2, 3, 4)  # status: parts of a job that has a line of its own
FAILED, CANCELLED = 0, 5
SIZES = ("MaxProcs", "MaxNodes")  # header comments, the better one first


class SWF(Importer):
    """Standard Workload Format: batch jobs of parallel machines (.swf, .swf.gz)."""

    processors: int | None = Field(
        None,
        ge=1,
        description="processors of the machine; none: MaxProcs of the log's header, or MaxNodes, "
        "or the largest job",
    )
    processors_from: Literal["used", "asked"] = Field(
        "used", description="the demand: processors used or asked for; the other one if unknown"
    )
    cancelled: bool = Field(True, description="take jobs that were cancelled after they had run")
    failed: bool = Field(True, description="take jobs that failed; they held their processors")
    zero_run_s: float = Field(
        0.5, gt=0, le=3600, description="run time of a job whose rounded run time is 0"
    )
    interactive_s: float = Field(
        600.0, ge=0, description="jobs that run at most so long are interactive, others elastic"
    )
    interactive_queue: int | None = Field(
        None, ge=0, description="instead: jobs of this queue are interactive (0 by convention)"
    )

    digits: ClassVar[int] = 3

    def jobs(self, files: Sequence[Path]) -> Jobs:
        """See `Importer.jobs`."""
        logs, starts, sizes = [], [], []
        for file in files:
            log, header = _read(file)
            logs.append(log)
            starts.append(header.get("UnixStartTime"))
            sizes += [header[name] for name in SIZES if header.get(name)][:1]
        columns = {name: np.concatenate([log[name] for log in logs]) for name in PLACES}
        submit = np.concatenate(_on_one_clock(files, logs, starts))
        found = Found(len(submit))
        run, used = self._checked(columns, submit, found)
        size = self.processors or (max(sizes) if sizes else float(np.max(used, initial=1)))
        if self.processors is None:
            found.assumed["processors"] = size
        share = at_most_one(used / size, found, f"the {size:g} processors of the machine")
        is_interactive = run <= self.interactive_s
        if self.interactive_queue is not None:
            is_interactive = columns["queue"] == self.interactive_queue
        table = {"arrival_s": submit, "duration_s": run, "demand": share}
        names = interactive_where(is_interactive)
        return self.finished(pd.DataFrame(table | {"job_class": names}), found)

    def _checked(
        self, columns: dict[str, np.ndarray], submit: Floats, found: Found
    ) -> tuple[Floats, Floats]:
        """Run times and processors; what is no job is left out."""
        run, status = columns["run time"], columns["status"]
        asked, used = columns["processors asked for"], columns["processors used"]
        found.leave_out(np.isin(status, PARTIAL), "parts of jobs that have a line of their own")
        found.leave_out((status == CANCELLED) & (run <= 0), "cancelled before they ran")
        if not self.cancelled:
            found.leave_out(status == CANCELLED, "cancelled")
        if not self.failed:
            found.leave_out(status == FAILED, "failed")
        found.leave_out(columns["submit time"] == UNKNOWN, "without a submit time")
        found.leave_out(run == UNKNOWN, "without a run time")
        first, second = (used, asked) if self.processors_from == "used" else (asked, used)
        found.leave_out((first <= 0) & (second <= 0), "without processors")
        other = "asked for" if self.processors_from == "used" else "used"
        found.change((first <= 0) & (second > 0), f"with the processors {other}")
        found.change(run == 0, f"of run time 0 taken as {self.zero_run_s:g} s")
        return np.where(run == 0, self.zero_run_s, run), np.where(first > 0, first, second)


def _read(file: Path) -> tuple[Log, dict[str, float]]:
    """The jobs of a log, and the numbers of its header comments."""
    header: dict[str, float] = {}
    rows, lines = [], []
    # Comments hold names of people, in whatever encoding.
    for line, text in enumerate(text_of(file, "latin-1").split("\n"), 1):
        text = text.strip()
        if text.startswith(";"):
            key, _, value = text.lstrip("; \t").partition(":")
            word = (value.split() or [""])[0]
            if word.isdecimal():
                header.setdefault(key.strip(), float(word))
        elif text:
            fields = text.split(";")[0].split()
            if len(fields) != FIELDS:
                raise fault(file, line, f"has {len(fields)} fields, a job of SWF has {FIELDS}")
            rows.append([number(file, line, name, fields[k]) for name, k in PLACES.items()])
            lines.append(line)
    if not rows:
        raise ValueError(f"{file}: holds no job")
    columns = dict(zip(PLACES, np.array(rows, float).T, strict=True))
    log = Log(file, columns, np.array(lines))
    for name in ("submit time", "run time", "processors used", "processors asked for"):
        wrong: Bools = (columns[name] < 0) & (columns[name] != UNKNOWN)
        log.refuse(wrong, f"{name} must be 0 or more, or -1, not {{{name}}}", name)
        log.refuse(columns[name] > 1e12, f"{name} must be at most 1e12, not {{{name}}}", name)
    return log, header


def _on_one_clock(
    files: Sequence[Path], logs: Sequence[Log], starts: Sequence[float | None]
) -> list[Floats]:
    """Submit times; of several logs from the first one's start on."""
    if len(logs) == 1:
        return [logs[0]["submit time"]]
    for file, start in zip(files, starts, strict=True):
        if start is None:
            raise ValueError(
                f"{file}: several logs need UnixStartTime in each header; import them one by one"
            )
    origin = min(start for start in starts if start is not None)
    return [
        np.where(log["submit time"] == UNKNOWN, UNKNOWN, log["submit time"] + (start or 0) - origin)
        for log, start in zip(logs, starts, strict=True)
    ]
