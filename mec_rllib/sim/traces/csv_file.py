"""Reads a trace from CSV, plain or compressed.

Columns go straight into arrays, block by block. A block that holds anything unusual is read again
row by row, by Python's own reader: it names the line, or takes what the fast one would not.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from mec_rllib.sim.traces.columns import (
    Column,
    Part,
    Row,
    Tell,
    columns_of,
    empty_part,
    first_fault,
    part_by_row,
    part_of,
)
from mec_rllib.sim.traces.form import CLASS, COLUMNS, Form, normal, short
from mec_rllib.sim.traces.text_blocks import BOM, text_blocks


def csv_parts(file: Path, form: Form, tell: Tell | None) -> Iterator[Part]:
    """The rows of the file, in parts; a ValueError names the line that is wrong."""
    header: list[str] = []
    columns: tuple[Column, ...] = ()
    line, jobs, last = 0, 0, -math.inf  # lines and jobs before the block; the last arrival
    for block, share in text_blocks(file):
        start = 0
        if not header:
            first, start, line = _first_line(block)
            try:
                header = _header(first, form)
            except (ValueError, csv.Error) as error:
                raise ValueError(f"line {line}: {error}") from None
            columns = columns_of(header)
        rows = block[start:]
        part = _fast_part(rows, header, columns, last, form)
        if part is None:
            part = part_by_row(_rows(rows, header, line), columns, last, form)
        if part.jobs:
            last = part.numbers["arrival_s"][-1]
        line, jobs = line + rows.count(b"\n"), jobs + part.jobs
        if tell is not None:
            tell(share, jobs)
        yield part
    if not header:
        raise ValueError(f"line 1: column {COLUMNS[0]} is missing; the file is empty")


def _fast_part(
    rows: bytes, header: Sequence[str], columns: Sequence[Column], last: float, form: Form
) -> Part | None:
    """The rows of a block, or None where something in it needs a closer look."""
    if rows.count(b'"') % 2:  # pyarrow closes a quote at the end of the file
        return None
    if not rows.strip(b"\r\n"):
        return empty_part(columns)
    types = {c.name: pa.string() if c.is_date(form.unit) else pa.float64() for c in columns}
    types |= {CLASS: pa.dictionary(pa.int32(), pa.string())}
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(rows),
            read_options=pyarrow.csv.ReadOptions(column_names=header),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    part = part_of(table, columns, form.unit)
    return part if part and first_fault(part, columns, last, form) is None else None


def _rows(rows: bytes, header: Sequence[str], line: int) -> Iterator[tuple[str, Row]]:
    """The rows of a block with their lines; a ValueError names the first that is no row.

    Args:
        rows: some lines of the file.
        header: names of all its columns.
        line: lines before these.
    """
    reader = csv.reader(io.StringIO(rows.decode(), newline=""), strict=True)
    try:
        for fields in reader:
            if len(fields) > len(header):
                raise ValueError(f"has {len(fields)} fields, the header has {len(header)}")
            if fields:
                row: Row = dict(zip(header, fields, strict=False))
                yield f"line {line + reader.line_num}", row
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {line + reader.line_num}: {error}") from None


def _first_line(block: bytes) -> tuple[str, int, int]:
    """The header's text, where the block goes on after it, and the number of its line."""
    lines, place = block.splitlines(keepends=True), 0
    for number, line in enumerate(lines, 1):
        place += len(line)
        text = line.removeprefix(BOM) if number == 1 else line
        if text.strip():
            return text.decode().rstrip("\r\n"), place, number
    return "", place, 1


def _header(line: str, form: Form) -> list[str]:
    """Our names of the columns; those that are not used have names of their own."""
    names = [normal(name) for name in next(csv.reader([line], strict=True), [])]
    if len(names) == 1:
        for mark, shown in ((";", ";"), ("\t", "a tab"), ("|", "|")):
            if len({form.ours(normal(name)) for name in line.split(mark)} & {*COLUMNS}) > 1:
                raise ValueError(
                    f"found one column {short(line)!r}: separated by {shown!r}? Commas must "
                    "separate the columns, and points the decimals"
                )
    return [ours or f"#{k}" for k, ours in enumerate(form.headings(names))]


def line_of(file: Path, row: int) -> int:
    """The line of a row (the first is 0), by going through the file once more."""
    blocks = (block for block, _ in text_blocks(file))
    lines = (line for block in blocks for line in io.StringIO(block.decode(), newline=""))
    reader = csv.reader(lines)
    next(islice((fields for fields in reader if fields), row + 1, None))
    return reader.line_num
