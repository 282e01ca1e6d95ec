"""Any table in CSV, by a map from our columns to the table's."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field, ValidationInfo, field_validator

from mec_rllib.importers.base import Found, Importer, Jobs, interactive_where
from mec_rllib.importers.lines import Log, header_of, seconds, table_of
from mec_rllib.sim.jobs import Floats
from mec_rllib.sim.traces.columns import PER_SECOND, columns_of
from mec_rllib.sim.traces.form import (
    ARRIVAL,
    CLASS,
    DEADLINE,
    DEMAND,
    DURATION,
    OWN,
    SLACK,
    Unit,
    check_name,
    is_of_kind,
    normal,
)

FORMULA = re.compile(r"(.+)([-*/])(.+)")
OPERATORS = {"-": np.subtract, "*": np.multiply, "/": np.divide}
INSTANTS = (ARRIVAL, DEADLINE)
SLACKS = ("slack_s", "slack_per_s")  # settings that make a column slack_s


class Formula(NamedTuple):
    """What a column of ours is made of: a column, or two columns, or a column and a number."""

    left: str
    operator: str = ""
    right: str | float = ""

    @property
    def columns(self) -> list[str]:
        """Columns of the table."""
        return [name for name in (self.left, self.right) if isinstance(name, str) and name]


class Table(Importer):
    """Any table: CSV with a header (plain, gzip, bz2, zstd), column by column."""

    map: list[str] = Field(
        default_factory=list,
        validate_default=True,
        description="OURS=THEIRS, once for each column, or several with commas: arrival_s=submit, "
        "duration_s=end-start, demand=cores/64, job_class=queue; THEIRS is a column, or "
        "column/number, column*number, column/column, column-column",
    )
    unit: Unit = Field(
        "s", description="of times: s, ms, us, ns, or iso8601 (dates, durations in seconds)"
    )
    separator: str = Field(",", min_length=1, description="between fields; tab for a tab")
    interactive: str = Field(
        "",
        description="values of job_class that are interactive, comma-separated, others elastic; "
        "none: they are names of classes",
    )
    default_class: str = Field(
        "elastic", min_length=1, description="class of all jobs where job_class is not mapped"
    )

    @field_validator("separator")
    @classmethod
    def _is_a_mark(cls, separator: str) -> str:
        separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
        if len(separator) != 1:
            raise ValueError("must be one character, or tab")
        return separator

    @field_validator("map")
    @classmethod
    def _has_what_is_needed(cls, map_: list[str], info: ValidationInfo) -> list[str]:
        names = [ours for ours, _ in _pairs(map_)]
        kinds = [name for name in names if is_of_kind(name)]
        for name in names:
            check_name(name)
            if names.count(name) > 1:
                raise ValueError(f"{name} is there twice")
        for needed in (ARRIVAL, DURATION, DEMAND):
            if needed not in names and not (needed == DEMAND and kinds):
                raise ValueError(f"{needed} is missing; add --map {needed}=COLUMN")
        if DEMAND in names and kinds:
            raise ValueError(f"{DEMAND} and {kinds[0]} both say what a job demands")
        slacks = [name for name in (DEADLINE, SLACK) if name in names]
        slacks += [f"--{key}".replace("_", "-") for key in SLACKS if info.data.get(key) is not None]
        if slacks[1:] and not {*slacks} <= {"--slack-s", "--slack-per-s"}:
            raise ValueError(f"{' and '.join(slacks)} both say how long a job may wait")
        return map_

    def jobs(self, files: Sequence[Path]) -> Jobs:
        """See `Importer.jobs`; several files share one clock."""
        parts = [self._read(file) for file in files]
        table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
        found = Found(len(table))
        found.leave_out((table[DURATION] == 0).to_numpy(), "of duration 0")
        demands = table.filter(like=DEMAND)
        found.leave_out((demands == 0).all(axis=1).to_numpy(), "that demand nothing")
        if self.interactive:
            names = [name.strip() for name in self.interactive.split(",")]
            table[CLASS] = interactive_where(table[CLASS].isin(names).to_numpy())
        return self.finished(table, found)

    def _read(self, file: Path) -> pd.DataFrame:
        """Our columns of a file, checked."""
        header = header_of(file, self.separator)
        formulas = {ours: _formula(theirs, header) for ours, theirs in _pairs(self.map)}
        of_class = formulas.pop(CLASS, None)
        dates = self._dates(formulas)
        used = dict.fromkeys(name for f in formulas.values() for name in f.columns)
        numbers = [name for name in used if name not in dates]
        empty = [name for ours in OWN if ours in formulas for name in formulas[ours].columns]
        log = table_of(file, numbers, dates, empty, self.separator)
        values = {name: log[name] for name in numbers}
        values |= {name: seconds(log, name, name in empty) for name in dates}
        columns = {ours: self._of(formula, ours, values) for ours, formula in formulas.items()}
        _check(log, columns, dict(_pairs(self.map)))
        classes = np.full(len(log), self.default_class, object)
        if of_class is not None:
            classes = self._classes(file, of_class.left)
        return pd.DataFrame(columns | {CLASS: classes})

    def _classes(self, file: Path, name: str) -> np.ndarray:
        log = table_of(file, (), (name,), separator=self.separator)
        given = np.array([text.strip() for text in log[name]], object)
        log.refuse(given == "", f"{CLASS} ({name}) is empty")
        return given

    def _dates(self, formulas: dict[str, Formula]) -> list[str]:
        """Columns that hold dates: instants, and what has a time between."""
        if self.unit != "iso8601":
            return []
        of_dates = [f for ours, f in formulas.items() if ours in INSTANTS or f.operator == "-"]
        return list(dict.fromkeys(name for formula in of_dates for name in formula.columns))

    def _of(self, formula: Formula, ours: str, values: dict[str, Floats]) -> Floats:
        """Our column, in seconds or shares."""
        found = values[formula.left]
        if formula.operator:
            right = formula.right
            other = values[right] if isinstance(right, str) else right
            with np.errstate(divide="ignore", invalid="ignore"):  # refused with its line
                found = OPERATORS[formula.operator](found, other)
        return found / PER_SECOND[self.unit] if ours.endswith("_s") else found


def _pairs(map_: Sequence[str]) -> list[tuple[str, str]]:
    """Our columns with what they are made of."""
    pairs = []
    for entry in filter(str.strip, ",".join(map_).split(",")):
        ours, equals, theirs = entry.partition("=")
        if not (equals and ours.strip() and theirs.strip()):
            raise ValueError(f"{entry.strip()!r} must be OURS=THEIRS")
        pairs.append((normal(ours), theirs.strip()))
    return pairs


def _formula(theirs: str, header: Sequence[str]) -> Formula:
    """What is meant; a name that the table has is taken first, whatever signs it holds."""
    if normal(theirs) in header or not (match := FORMULA.fullmatch(theirs)):
        return Formula(normal(theirs))
    left, operator, right = (part.strip() for part in match.groups())
    try:
        return Formula(normal(left), operator, float(right))
    except ValueError:
        return Formula(normal(left), operator, normal(right))


def _check(log: Log, columns: dict[str, Floats], map_: dict[str, str]) -> None:
    """A ValueError names the line of a value that a trace may not hold."""
    for name, values in columns.items():
        log.columns[f"ours {name}"] = values
    shown = {name: f"{name} ({theirs})" for name, theirs in map_.items()}
    for column in columns_of([*columns]):
        values = columns[column.name]
        name = f"ours {column.name}"
        if column.name == ARRIVAL:  # from the first on
            column = column._replace(lowest=-column.highest)
        wrong = ~column.allows(values)
        if column.name in (DURATION, DEMAND):  # those of 0 are left out, and counted
            wrong &= values != 0
        hint = ""
        if column.highest == 1.0 and np.any(values[wrong] > 1.0):
            hint = f"; divide it: --map {column.name}={map_[column.name]}/NUMBER"
        log.refuse(
            wrong, f"{shown[column.name]} must be {column.bounds}, not {{{name}}}{hint}", name
        )
    if DEADLINE in columns:
        wrong = columns[DEADLINE] < columns[ARRIVAL]
        names = f"ours {DEADLINE}", f"ours {ARRIVAL}"
        log.refuse(wrong, f"{DEADLINE} {{{names[0]}}} is before {ARRIVAL} {{{names[1]}}}", *names)
