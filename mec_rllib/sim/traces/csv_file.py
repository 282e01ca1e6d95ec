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

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mec_rllib.sim.traces.columns import (
    CLASS,
    COLUMNS,
    NUMBERS,
    Part,
    Tell,
    check_columns,
    first_fault,
    normal,
    part_of,
    short,
)

BLOCK_BYTES = 8 * 2**20
LONGEST_LINE = 64 * 2**20  # bytes; whoever has no line end in so many has no table
BOM = b"\xef\xbb\xbf"
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
FOREIGN = {  # how files begin that are often taken for a CSV
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a ZIP or Excel file; save the table as CSV or Parquet",
    b"\xfd7zXZ": "compressed with xz; gzip, bz2 and zstd are read",
}


def csv_parts(file: Path, ignore: tuple[str, ...], tell: Tell | None) -> Iterator[Part]:
    """The rows of the file, in parts; a ValueError names the line that is wrong."""
    header: list[str] = []
    line, jobs, last = 0, 0, -math.inf  # lines and jobs before the block; the last arrival
    for block, share in _blocks(file):
        start = 0
        if not header:
            first, start, line = _first_line(block)
            try:
                header = _header(first, ignore)
            except (ValueError, csv.Error) as error:
                raise ValueError(f"line {line}: {error}") from None
        rows = block[start:]
        part = _fast_part(rows, header, last)
        if part is None:
            part = _part_by_row(rows, header, last, line)
        if len(part.job_class):
            last = part.numbers[0][-1]
        line, jobs = line + rows.count(b"\n"), jobs + len(part.job_class)
        if tell is not None:
            tell(share, jobs)
        yield part
    if not header:
        raise ValueError(f"line 1: column {COLUMNS[0]} is missing; the file is empty")


def _fast_part(rows: bytes, header: Sequence[str], last: float) -> Part | None:
    """The rows of a block, or None where something in it needs a closer look."""
    if rows.count(b'"') % 2:  # pyarrow closes a quote at the end of the file
        return None
    if not rows.strip(b"\r\n"):
        return Part([np.zeros(0) for _ in NUMBERS], np.zeros(0, np.int64), [])
    types = {column.name: pa.float64() for column in NUMBERS}
    types |= {CLASS: pa.dictionary(pa.int32(), pa.string())}
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(rows),
            read_options=pyarrow.csv.ReadOptions(column_names=header),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=list(COLUMNS)
            ),
        )
    except pa.ArrowInvalid:
        return None
    part = part_of(table)
    return part if part and first_fault(part, last) is None else None


def _part_by_row(rows: bytes, header: Sequence[str], last: float, line: int) -> Part:
    """The rows of a block; a ValueError names the line of the first that is wrong.

    Args:
        rows: some lines of the file.
        header: names of all its columns.
        last: arrival of the job before.
        line: lines before these.
    """
    reader = csv.reader(io.StringIO(rows.decode(), newline=""), strict=True)
    numbers: list[list[float]] = [[] for _ in NUMBERS]
    names: list[str] = []
    try:
        for fields in reader:
            if not fields:
                continue
            if len(fields) > len(header):
                raise ValueError(f"has {len(fields)} fields, the header has {len(header)}")
            row = dict(zip(header, fields, strict=False))
            for column, values in zip(NUMBERS, numbers, strict=True):
                values.append(column.number(row.get(column.name)))
            names.append((row.get(CLASS) or "").strip())
            if not names[-1]:
                raise ValueError(f"{CLASS} is empty")
            if numbers[0][-1] < last:
                raise ValueError("arrival_s goes back; sort the file by arrival_s")
            last = numbers[0][-1]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {line + reader.line_num}: {error}") from None
    codes = {name: k for k, name in enumerate(dict.fromkeys(names))}
    job_class = np.array([codes[name] for name in names], np.int64)
    return Part([np.array(values, float) for values in numbers], job_class, list(codes))


def _blocks(file: Path) -> Iterator[tuple[bytes, float]]:
    """The text in blocks of whole lines, and the share of the file that is read by then."""
    with pa.OSFile(str(file)) as raw:
        size = max(raw.size(), 1)
        begins = raw.read(8)
        raw.seek(0)
        for magic, what in FOREIGN.items():
            if begins.startswith(magic):
                raise OSError(None, what)
        packed = next((kind for magic, kind in COMPRESSED.items() if begins.startswith(magic)), "")
        text = pa.CompressedInputStream(raw, packed) if packed else raw
        rest = b""
        while block := text.read(BLOCK_BYTES):
            if b"\0" in block:
                raise OSError(None, "not a text file: it holds a zero byte")
            whole, end, after = block.rpartition(b"\n")
            if end:
                yield rest + whole + end, raw.tell() / size
            rest = after if end else rest + after
            if len(rest) > LONGEST_LINE:
                raise OSError(None, f"no line ends within {LONGEST_LINE:,} bytes")
        if rest:
            yield rest, 1.0


def _first_line(block: bytes) -> tuple[str, int, int]:
    """The header's text, where the block goes on after it, and the number of its line."""
    lines, place = block.splitlines(keepends=True), 0
    for number, line in enumerate(lines, 1):
        place += len(line)
        text = line.removeprefix(BOM) if number == 1 else line
        if text.strip():
            return text.decode().rstrip("\r\n"), place, number
    return "", place, 1


def _header(line: str, ignore: tuple[str, ...]) -> list[str]:
    """Names of the columns, without the spaces and capitals that people give them."""
    names = [normal(name) for name in next(csv.reader([line], strict=True), [])]
    if len(names) == 1:
        for mark, shown in ((";", ";"), ("\t", "a tab"), ("|", "|")):
            if len({*map(normal, line.split(mark))} & {*COLUMNS}) > 1:
                raise ValueError(
                    f"found one column {short(line)!r}: separated by {shown!r}? Commas must "
                    "separate the columns, and points the decimals"
                )
    check_columns(names, ignore)
    return names


def line_of(file: Path, job: int) -> int:
    """The line of a job, by going through the file once more."""
    lines = (line for block, _ in _blocks(file) for line in io.StringIO(block.decode(), newline=""))
    reader = csv.reader(lines)
    next(islice((fields for fields in reader if fields), job + 1, None))
    return reader.line_num
