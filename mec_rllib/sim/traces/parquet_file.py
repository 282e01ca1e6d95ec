"""Reads a trace from Parquet, batch by batch."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from mec_rllib.sim.traces.columns import (
    Column,
    Part,
    Row,
    Tell,
    columns_of,
    first_fault,
    part_by_row,
    part_of,
)
from mec_rllib.sim.traces.form import ARRIVAL, CLASS, Form, normal, one_line


def is_parquet(file: Path) -> bool:
    """Whether the file begins as Parquet does, whatever its name."""
    with file.open("rb") as opened:
        return opened.read(4) == b"PAR1"


def parquet_parts(file: Path, form: Form, tell: Tell | None) -> Iterator[Part]:
    """The rows of the file, in parts; a ValueError names the row that is wrong."""
    try:
        table = pyarrow.parquet.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise OSError(None, f"a damaged Parquet file: {one_line(error)}") from None
    names = table.schema_arrow.names
    headings = form.headings([normal(name) for name in names])
    theirs = {ours: name for ours, name in zip(headings, names, strict=True) if ours}
    columns = columns_of([*theirs])
    jobs, last = 0, -math.inf
    for batch in table.iter_batches(columns=[*theirs.values()]):
        rows = pa.table({ours: batch.column(name) for ours, name in theirs.items()})
        rows = pa.table(
            {CLASS: _text(rows.column(CLASS), CLASS)}
            | {c.name: _values(rows.column(c.name), c, form) for c in columns}
        )
        part = part_of(rows, columns, form.unit)
        if part is None or first_fault(part, columns, last, form) is not None:
            part = part_by_row(_rows(rows, jobs), columns, last, form)  # names the row
        last, jobs = part.numbers[ARRIVAL][-1] if part.jobs else last, jobs + part.jobs
        if tell is not None:
            tell(jobs / table.metadata.num_rows, jobs)
        yield part


def _values(values: pa.ChunkedArray, column: Column, form: Form) -> pa.ChunkedArray:
    """The column as it is needed: floats in the form's unit, or dates."""
    kind = values.type
    if column.is_date(form.unit):
        return values if pa.types.is_timestamp(kind) else _text(values, column.name)
    if pa.types.is_timestamp(kind) and column.is_instant:
        raise ValueError(
            f"{column.name} must be numbers, not {one_line(kind)}; "
            "env.trace.time: {unit: iso8601} takes dates"
        )
    try:
        if pa.types.is_duration(kind) and column.is_time:
            nanoseconds = values.cast(pa.duration("ns")).cast(pa.int64()).cast(pa.float64(), False)
            return pa.compute.divide(nanoseconds, 1e9 / column.per_second(form.unit))
        if pa.types.is_temporal(kind) or pa.types.is_boolean(kind):
            raise pa.ArrowInvalid
        return values.cast(pa.float64(), safe=not pa.types.is_integer(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ValueError(f"{column.name} must be numbers, not {one_line(kind)}") from None


def _text(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        kind = "text" if name == CLASS else "dates"
        raise ValueError(f"{name} must be {kind}, not {one_line(values.type)}") from None


def _rows(rows: pa.Table, before: int) -> Iterator[tuple[str, Row]]:
    """The rows of a batch as text, with their places."""
    for k, row in enumerate(rows.to_pylist(), before + 1):
        yield f"row {k}", {name: _as_text(value) for name, value in row.items()}


def _as_text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else str(value)
