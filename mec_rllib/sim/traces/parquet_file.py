"""Reads a trace from Parquet, batch by batch."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from mec_rllib.sim.traces.columns import (
    CLASS,
    COLUMNS,
    NUMBERS,
    Part,
    Tell,
    check_columns,
    first_fault,
    normal,
    one_line,
    part_of,
)


def is_parquet(file: Path) -> bool:
    """Whether the file begins as Parquet does, whatever its name."""
    with file.open("rb") as opened:
        return opened.read(4) == b"PAR1"


def parquet_parts(file: Path, ignore: tuple[str, ...], tell: Tell | None) -> Iterator[Part]:
    """The rows of the file, in parts; a ValueError names the row that is wrong."""
    try:
        table = pyarrow.parquet.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise OSError(None, f"a damaged Parquet file: {one_line(error)}") from None
    names = table.schema_arrow.names
    check_columns([normal(name) for name in names], ignore)
    wanted = {normal(name): name for name in names if normal(name) in COLUMNS}
    jobs, last = 0, -math.inf
    for batch in table.iter_batches(columns=list(wanted.values())):
        columns = {name: _cast(batch.column(theirs), name) for name, theirs in wanted.items()}
        part = part_of(pa.table(columns))
        fault = first_fault(part, last) if part else _first_null(columns)
        if fault is not None:
            _say_what_is_wrong_with(columns, fault, jobs)
        assert part is not None
        last, jobs = part.numbers[0][-1] if len(part.job_class) else last, jobs + len(batch)
        if tell is not None:
            tell(jobs / table.metadata.num_rows, jobs)
        yield part


def _cast(values: pa.Array, name: str) -> pa.Array:
    """The column as it is needed: floats, or text that repeats."""
    try:
        if name != CLASS:
            if pa.types.is_temporal(values.type):
                raise pa.ArrowInvalid
            return values.cast(pa.float64())
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        return values.cast(pa.string()).dictionary_encode()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        kind = "text" if name == CLASS else "numbers"
        raise ValueError(f"{name} must be {kind}, not {one_line(values.type)}") from None


def _first_null(columns: dict[str, pa.Array]) -> int:
    return min(
        int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
        for values in columns.values()
        if values.null_count
    )


def _say_what_is_wrong_with(columns: dict[str, pa.Array], row: int, before: int) -> None:
    """Raises what the reader of single rows says about this one."""
    values = {name: column[row].as_py() for name, column in columns.items()}
    try:
        for column in NUMBERS:
            value = values[column.name]
            column.number("" if value is None else repr(value))
        if not (values[CLASS] or "").strip():
            raise ValueError(f"{CLASS} is empty")
        raise ValueError("arrival_s goes back; sort the file by arrival_s")
    except ValueError as error:
        raise ValueError(f"row {before + row + 1}: {error}") from None
