"""What the columns of a trace may hold, whatever file they come from."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from mec_rllib.sim.jobs import Bools, Floats, Ints

Tell = Callable[[float, int], None]  # share of the file, jobs so far


class Column(NamedTuple):
    """A column of numbers, and what it may hold."""

    name: str
    lowest: float = -math.inf
    above: float = -math.inf
    highest: float = 1e15

    def allows(self, values: Floats) -> Bools:
        """Which values may stand there; NaN may not."""
        return (values >= self.lowest) & (values > self.above) & (values <= self.highest)

    def number(self, text: str | None) -> float:
        """The value of a field; a ValueError says what is wrong with it."""
        if text is None:
            raise ValueError(f"{self.name} must be a number, the row ends before it")
        try:
            value = float(text.replace("_", "x"))
        except ValueError:
            raise ValueError(f"{self.name} must be a number, not {short(text)!r}") from None
        if not self.allows(np.array(value)):
            bound = (
                f"above {self.above:g}" if self.above > -math.inf else f"{self.lowest:g} or more"
            )
            top = f" and at most {self.highest:g}" if self.highest < 1e15 else ""
            raise ValueError(f"{self.name} must be {bound}{top}, not {short(text)}")
        return value


NUMBERS = (
    Column("arrival_s", lowest=0.0),
    Column("duration_s", above=0.0),
    Column("demand", above=0.0, highest=1.0),
)
CLASS = "job_class"
COLUMNS = (*(column.name for column in NUMBERS), CLASS)


class Part(NamedTuple):
    """Some rows of the file: numbers in the order of `NUMBERS`, and the classes' names."""

    numbers: list[Floats]
    job_class: Ints
    class_names: list[str]


def part_of(table: pa.Table) -> Part | None:
    """The columns as arrays; None where one has no value."""
    if any(table.column(name).null_count for name in COLUMNS):
        return None
    numbers = [table.column(column.name).to_numpy() for column in NUMBERS]
    classes = table.column(CLASS).unify_dictionaries().combine_chunks()
    if isinstance(classes, pa.ChunkedArray):
        classes = pa.concat_arrays(classes.chunks)
    names = [str(name).strip() for name in classes.dictionary.to_pylist()]
    return Part(numbers, classes.indices.to_numpy().astype(np.int64), names)


def first_fault(part: Part, last: float) -> int | None:
    """The first row that may not stand there: a value out of range, no class, or time goes back."""
    good = np.ones(len(part.job_class), bool)
    for column, values in zip(NUMBERS, part.numbers, strict=True):
        good &= column.allows(values)
    good &= np.array([bool(name) for name in part.class_names], bool)[part.job_class]
    good &= np.diff(part.numbers[0], prepend=last) >= 0
    return None if good.all() else int(np.argmin(good))


def check_columns(names: list[str], ignore: tuple[str, ...]) -> None:
    """A ValueError says which column is missing, there twice or unknown; names as `normal`."""
    found = ", ".join(map(short, names))
    for name in COLUMNS:
        if name not in names:
            raise ValueError(
                f"column {name} is missing; it needs {', '.join(COLUMNS)}; found: {found:.120}"
            )
    for k, name in enumerate(names):
        if name in names[:k]:
            raise ValueError(f"column {short(name)!r} is there twice")
        if name not in COLUMNS and name not in ignore:
            raise ValueError(
                f"column {short(name)!r} is unknown; env.trace.ignore: [{short(name)}] leaves "
                "it out"
            )
    for name in ignore:
        if name in COLUMNS or name not in names:
            reason = "is needed" if name in COLUMNS else f"is not there; found: {found:.120}"
            raise ValueError(f"env.trace.ignore: column {short(name)!r} {reason}")


def normal(name: str) -> str:
    """A column's name without the spaces and capitals that people give it."""
    return name.strip().lower()


def short(text: str) -> str:
    """The text, cut where it is too long for an error."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(error: object) -> str:
    """Its text in one line."""
    return " ".join(str(error).split())
