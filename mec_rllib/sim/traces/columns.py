"""What the columns of a trace may hold, whatever file they come from."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.traces.form import (
    ARRIVAL,
    CLASS,
    DEADLINE,
    DEMAND,
    DURATION,
    SLACK,
    WEIGHT,
    Form,
    Unit,
    is_of_kind,
    short,
)

Tell = Callable[[float, int], None]  # share of the file, jobs so far
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "iso8601": 1.0}
LARGEST = 1e15


class Column(NamedTuple):
    """A column of numbers, and what it may hold."""

    name: str
    lowest: float = -LARGEST
    above: float = -math.inf
    highest: float = LARGEST
    is_time: bool = False
    is_instant: bool = False  # and not a length of time
    may_be_empty: bool = False

    def allows(self, values: Floats) -> Bools:
        """Which values may stand there; NaN is an empty cell."""
        good = (values >= self.lowest) & (values > self.above) & (values <= self.highest)
        return good | np.isnan(values) if self.may_be_empty else good

    def is_date(self, unit: Unit) -> bool:
        """Whether it holds dates, not numbers."""
        return self.is_instant and unit == "iso8601"

    def per_second(self, unit: Unit) -> float:
        """What its values are divided by."""
        return PER_SECOND[unit] if self.is_time else 1.0

    def value(self, text: str | None, unit: Unit, date: float = math.nan) -> float:
        """The value of a field, NaN where it is empty; a ValueError says what is wrong with it.

        Args:
            text: of the field; None: there is none.
            unit: of times.
            date: what the text is as a date, seconds; NaN: it is none.
        """
        if self.may_be_empty and not (text or "").strip():
            return math.nan
        what = "a date (ISO 8601)" if self.is_date(unit) else "a number"
        if text is None:
            raise ValueError(f"{self.name} must be {what}, the row ends before it")
        if self.is_date(unit):
            value = None if math.isnan(date) else date
        else:
            value = _number(text, self.per_second(unit))
        if value is None:
            raise ValueError(f"{self.name} must be {what}, not {short(text)!r}")
        if math.isnan(value) or not self.allows(np.array(value)):
            raise ValueError(f"{self.name} must be {self.bounds}, not {short(text)}")
        return value

    @property
    def bounds(self) -> str:
        """What it may hold, in words."""
        if self.above > -math.inf:
            low = f"above {self.above:g}"
        else:
            low = f"{self.lowest:g} or more" if self.lowest > -LARGEST else "a finite number"
        return low + (f" and at most {self.highest:g}" if self.highest < LARGEST else "")


def _number(text: str, per_second: float) -> float | None:
    try:
        return float(text.replace("_", "x")) / per_second
    except ValueError:
        return None


TIMES = (
    Column(ARRIVAL, lowest=0.0, is_time=True, is_instant=True),
    Column(DURATION, above=0.0, is_time=True),
)
ONE_DEMAND = Column(DEMAND, above=0.0, highest=1.0)
PER_JOB = (
    Column(DEADLINE, is_time=True, is_instant=True, may_be_empty=True),
    Column(SLACK, is_time=True, may_be_empty=True),
    Column(WEIGHT, above=0.0, highest=1e9, may_be_empty=True),
)


def columns_of(names: Sequence[str]) -> tuple[Column, ...]:
    """The columns of numbers in a file whose columns have these names (ours)."""
    kinds = [Column(name, lowest=0.0, highest=1.0) for name in names if is_of_kind(name)]
    demands = [ONE_DEMAND] if DEMAND in names else kinds
    return (*TIMES, *demands, *(column for column in PER_JOB if column.name in names))


class Part(NamedTuple):
    """Some rows of the file: numbers by our name of the column, and the classes' names."""

    numbers: dict[str, Floats]  # seconds and shares; NaN: the cell is empty
    job_class: Ints
    class_names: list[str]

    @property
    def jobs(self) -> int:
        """Rows."""
        return len(self.job_class)


def empty_part(columns: Sequence[Column]) -> Part:
    """No row."""
    return Part({column.name: np.zeros(0) for column in columns}, np.zeros(0, np.int64), [])


def part_of(table: pa.Table, columns: Sequence[Column], unit: Unit) -> Part | None:
    """The columns of a table as arrays; None where something in it is no number or no date."""
    numbers = {}
    for column in columns:
        values = table.column(column.name)
        if values.null_count and not column.may_be_empty:
            return None
        found = _seconds(values, column, unit)
        if found is None:
            return None
        numbers[column.name] = found
    classes = table.column(CLASS)
    if classes.null_count:
        return None
    if not pa.types.is_dictionary(classes.type):
        classes = classes.dictionary_encode()
    classes = classes.unify_dictionaries().combine_chunks()
    if isinstance(classes, pa.ChunkedArray):
        classes = pa.concat_arrays(classes.chunks)
    names = [str(name).strip() for name in classes.dictionary.to_pylist()]
    return Part(numbers, classes.indices.to_numpy().astype(np.int64), names)


def _seconds(values: pa.ChunkedArray, column: Column, unit: Unit) -> Floats | None:
    """The column as numbers; a NaN that is no empty cell becomes infinite, so it is refused."""
    if not column.is_date(unit):
        found = values.to_numpy() / column.per_second(unit)
        empty = values.is_null().to_numpy()
        return np.where(np.isnan(found) & ~empty, np.inf, found)
    if pa.types.is_timestamp(values.type):
        return _since_1970(values.to_pandas())
    return (
        None if pc.any(pc.utf8_is_decimal(values)).as_py() else _dates(values.to_pandas(), "raise")
    )


def dates(texts: Iterable[str | None]) -> Floats:
    """Seconds since 1970 (UTC, unless a date says otherwise); NaN where a text is no date."""
    known = [text if text is None or not text.strip().isdecimal() else "" for text in texts]
    found = _dates(pd.Series(known, dtype=object), "coerce")
    assert found is not None
    return found


def _dates(texts: pd.Series, errors: str) -> Floats | None:
    try:
        found = pd.to_datetime(texts.str.strip(), format="ISO8601", utc=True, errors=errors)
    except ValueError:
        return None
    return _since_1970(found)


def _since_1970(moments: pd.Series) -> Floats:
    nanoseconds = moments.astype("datetime64[ns, UTC]" if moments.dt.tz else "datetime64[ns]")
    found = nanoseconds.astype("int64").to_numpy() / 1e9
    return np.where(moments.isna(), np.nan, found)


def first_fault(part: Part, columns: Sequence[Column], last: float, form: Form) -> int | None:
    """The first row that may not stand there; see `check_row`."""
    numbers = part.numbers
    good = np.ones(part.jobs, bool)
    for column in columns:
        good &= column.allows(numbers[column.name])
    good &= np.array([bool(name) for name in part.class_names], bool)[part.job_class]
    if DEADLINE in numbers:
        good &= ~(numbers[DEADLINE] < numbers[ARRIVAL])
    if DEMAND not in numbers:
        good &= np.any([numbers[c.name] > 0 for c in columns if is_of_kind(c.name)], axis=0)
    if not form.sort:
        good &= np.diff(numbers[ARRIVAL], prepend=last) >= 0
    return None if good.all() else int(np.argmin(good))


Row = dict[str, str | None]  # the fields of a row by our name, as text


def part_by_row(
    rows: Iterable[tuple[str, Row]], columns: Sequence[Column], last: float, form: Form
) -> Part:
    """Rows, looked at one by one; a ValueError begins with the place of the first that is wrong.

    Args:
        rows: the place of each, and its fields.
        columns: of numbers.
        last: arrival of the job before.
        form: of the file.
    """
    rows = list(rows)
    days = {c.name: dates(r.get(c.name) for _, r in rows) for c in columns if c.is_date(form.unit)}
    numbers: dict[str, list[float]] = {column.name: [] for column in columns}
    names = list[str]()
    for k, (place, row) in enumerate(rows):
        try:
            for column in columns:
                date = days[column.name][k] if column.name in days else math.nan
                value = column.value(row.get(column.name), form.unit, date)
                numbers[column.name].append(value)
            names.append((row.get(CLASS) or "").strip())
            _check_row({name: values[-1] for name, values in numbers.items()}, names[-1])
            if not form.sort and numbers[ARRIVAL][-1] < last:
                raise ValueError(
                    "arrival_s goes back; sort the file by arrival_s, or set env.trace.sort"
                )
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        last = numbers[ARRIVAL][-1]
    codes = {name: k for k, name in enumerate(dict.fromkeys(names))}
    job_class = np.array([codes[name] for name in names], np.int64)
    arrays = {name: np.array(values, float) for name, values in numbers.items()}
    return Part(arrays, job_class, list(codes))


def _check_row(values: dict[str, float], job_class: str) -> None:
    """What no single field can say."""
    if not job_class:
        raise ValueError(f"{CLASS} is empty")
    if values.get(DEADLINE, math.inf) < values[ARRIVAL]:
        raise ValueError(
            f"deadline_s {values[DEADLINE]:.15g} is before arrival_s {values[ARRIVAL]:.15g}"
        )
    kinds = [name for name in values if is_of_kind(name)]
    if kinds and not any(values[name] for name in kinds):
        raise ValueError(f"{', '.join(kinds)} are 0: the job demands nothing")
