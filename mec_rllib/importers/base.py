"""What every importer shares: its settings, the jobs that it finds, and what it does to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from mec_rllib.section import Section
from mec_rllib.sim.jobs import Bools, Floats

INTERACTIVE, ELASTIC = "interactive", "elastic"  # the classes that shipped configs have rules for


class Found:
    """Jobs of a log, and counts of the rows that were left out or changed.

    Args:
        rows: of the log, one index each.
    """

    def __init__(self, rows: int):
        self.rows = rows
        self.kept = np.ones(rows, bool)
        self.left_out: dict[str, int] = {}
        self.changed: dict[str, int] = {}
        self.assumed: dict[str, str | float] = {}  # what a setting was when the log decided it

    def leave_out(self, which: Bools, why: str) -> None:
        """Rows that are no jobs; a row is counted once, with the first reason."""
        self._count(self.left_out, which, why)
        self.kept &= ~which

    def change(self, which: Bools, what: str) -> None:
        """Rows whose values were changed."""
        self._count(self.changed, which, what)

    def _count(self, counts: dict[str, int], which: Bools, why: str) -> None:
        if n := int(np.sum(which & self.kept)):
            counts[why] = counts.get(why, 0) + n


class Jobs:
    """Columns of a trace, sorted by arrival; n jobs.

    Attributes:
        table: `arrival_s` from 0 on, `duration_s`, demands, `job_class`, maybe `slack_s`.
        first_s: first arrival on the log's own clock, seconds.
        found: counts.
    """

    def __init__(self, table: pd.DataFrame, found: Found, first_s: float):
        self.table, self.found, self.first_s = table, found, first_s

    @property
    def span_s(self) -> float:
        """Seconds from the first arrival to the last."""
        return float(self.table["arrival_s"].iloc[-1])

    @property
    def load(self) -> float | None:
        """Offered load of one server, of the kind that is loaded most; None without a span."""
        demands = self.table.filter(like="demand")
        work = demands.mul(self.table["duration_s"], axis=0).sum().max()
        return float(work) / self.span_s if self.span_s > 0 else None


class Importer(Section):
    """Settings of an import; a subclass says how a format is read."""

    slack_s: float | None = Field(
        None,
        ge=0,
        le=1e9,
        description="seconds that every job may wait; none: no column slack_s, the rule of the "
        "class decides (env.trace.rules)",
    )
    slack_per_s: float | None = Field(
        None,
        ge=0,
        le=1e6,
        description="further seconds that it may wait for each second that it runs",
    )

    digits: ClassVar[int] = 6  # decimals of seconds
    demand_digits: ClassVar[int] = 6

    def jobs(self, files: Sequence[Path]) -> Jobs:
        """The jobs of the logs.

        Raises:
            ValueError: a file cannot be read or holds something else; names the file and the line.
        """
        raise NotImplementedError

    def finished(self, table: pd.DataFrame, found: Found) -> Jobs:
        """The rows that are kept as the columns of a trace: sorted, from 0 on, rounded.

        Args:
            table: arrival_s, duration_s, demands, job_class for each row of the log.
            found: counts; says which rows are kept.

        Raises:
            ValueError: no row is left.
        """
        behind = table["arrival_s"] < table["arrival_s"].where(found.kept).cummax()
        found.change(behind.to_numpy(), "sorted by arrival")
        table = table[found.kept].sort_values("arrival_s", kind="stable", ignore_index=True)
        table = self.trimmed(table, found) if len(table) else table
        if not len(table):
            counts = "; ".join(f"{n:,} {why}" for why, n in found.left_out.items())
            raise ValueError(f"no job is left of {found.rows:,} ({counts or 'no row'})")
        first = float(table["arrival_s"].iloc[0])
        table["arrival_s"] = np.round(table["arrival_s"] - first, self.digits)
        if "deadline_s" in table:
            table["deadline_s"] = np.round(table["deadline_s"] - first, self.digits)
        table["duration_s"] = _rounded(table["duration_s"], self.digits)
        for name in table.filter(like="demand"):
            table[name] = _rounded(table[name], self.demand_digits)
        if self.slack_s is not None or self.slack_per_s is not None:
            slack = (self.slack_s or 0.0) + (self.slack_per_s or 0.0) * table["duration_s"]
            table["slack_s"] = np.round(slack, self.digits)
        return Jobs(table, found, first)

    def trimmed(self, table: pd.DataFrame, found: Found) -> pd.DataFrame:
        """The jobs, sorted by arrival, as a format wants them; here: as they are."""
        return table


def _rounded(values: pd.Series, digits: int) -> Floats:
    """Rounded, but what is above 0 stays above it."""
    least = np.where(values > 0, 10.0**-digits, 0.0)
    return np.maximum(np.round(values.to_numpy(float), digits), least)


def at_most_one(demand: Floats, found: Found, what: str) -> Floats:
    """A demand above a whole server is a whole server."""
    found.change(demand > 1.0, f"cut to {what}")
    return np.minimum(demand, 1.0)


def interactive_where(which: Bools) -> np.ndarray:
    """Names of the classes."""
    return np.where(which, INTERACTIVE, ELASTIC)
