"""Reads a recorded workload from its file: CSV, plain or compressed, or Parquet.

Columns go straight into arrays, block by block. A block that holds anything unusual is read again
row by row, by Python's own reader: it names the line, or takes what the fast one would not.
"""

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.made_traces import file_of

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
            raise ValueError(f"{self.name} must be a number, not {_short(text)!r}") from None
        if not self.allows(np.array(value)):
            bound = (
                f"above {self.above:g}" if self.above > -math.inf else f"{self.lowest:g} or more"
            )
            top = f" and at most {self.highest:g}" if self.highest < 1e15 else ""
            raise ValueError(f"{self.name} must be {bound}{top}, not {_short(text)}")
        return value


NUMBERS = (
    Column("arrival_s", lowest=0.0),
    Column("duration_s", above=0.0),
    Column("demand", above=0.0, highest=1.0),
)
CLASS = "job_class"
COLUMNS = (*(column.name for column in NUMBERS), CLASS)


class Trace(NamedTuple):
    """Jobs as recorded, sorted by arrival; n jobs."""

    arrival_s: Floats  # (n,) seconds, from any moment on
    duration_s: Floats  # (n,) seconds, > 0
    demand: Floats  # (n,) share of one server, (0, 1]
    job_class: Ints  # (n,) index into the class names
    class_names: tuple[str, ...]  # sorted
    path: str  # as it was given
    sha256: str  # of the file

    @property
    def source(self) -> str:
        """What errors call it."""
        return f"trace {self.path}"

    def place(self, job: int) -> str:
        """Where a job stands in the file: its line, or its row in Parquet."""
        file = file_of(self.path)
        return f"row {job + 1:,}" if _is_parquet(file) else f"line {_line_of(file, job):,}"


class Part(NamedTuple):
    """Some rows of the file: numbers in the order of `NUMBERS`, and the classes' names."""

    numbers: list[Floats]
    job_class: Ints
    class_names: list[str]


def read_trace(path: str | Path, ignore: Sequence[str] = (), tell: Tell | None = None) -> Trace:
    """Reads a job trace with the columns arrival_s, duration_s, demand, job_class.

    Args:
        path: CSV (UTF-8, a header, commas; plain, gzip, bz2 or zstd), Parquet, or a made one by
            name (`made:edge_day`; see `mec_rllib.sim.made_traces`).
        ignore: further columns that the file may have, and must.
        tell: is told now and then how much has been read.

    Raises:
        ValueError: the file is unreadable, empty, unsorted, misses a column, has an unknown or a
            repeated one, or holds a value out of range; the message names the file and the line.
    """
    try:
        file = file_of(path)
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        read = _parquet_parts if _is_parquet(file) else _csv_parts
        columns = _joined(read(file, tuple(map(_normal, ignore)), tell))
    except OSError as error:  # pyarrow's, too: a damaged archive
        reason = error.strerror or _one_line(error)
        raise ValueError(f"trace {path}: cannot be read ({reason})") from None
    except UnicodeDecodeError:
        raise ValueError(f"trace {path}: cannot be read (not a UTF-8 text file)") from None
    except (ValueError, csv.Error) as error:
        raise ValueError(f"trace {path}: {_one_line(error)}") from None
    return Trace(*columns, path=str(path), sha256=sha256)


def _joined(parts: Iterator[Part]) -> tuple[Floats, Floats, Floats, Ints, tuple[str, ...]]:
    """All parts behind one another, with one list of class names."""
    numbers: list[list[Floats]] = [[] for _ in NUMBERS]
    codes, code_of = list[Ints](), dict[str, int]()
    for part in parts:
        for column, values in zip(numbers, part.numbers, strict=True):
            column.append(values)
        mine = [code_of.setdefault(name, len(code_of)) for name in part.class_names]
        codes.append(np.array(mine, np.int64)[part.job_class])
    if not sum(map(len, codes)):
        raise ValueError("holds no job")
    names = sorted(code_of)
    rank = np.empty(len(names), np.int64)
    rank[[code_of[name] for name in names]] = np.arange(len(names))
    arrival, duration, demand = (np.concatenate(column) for column in numbers)
    return arrival, duration, demand, rank[np.concatenate(codes)], tuple(names)


def _csv_parts(file: Path, ignore: tuple[str, ...], tell: Tell | None) -> Iterator[Part]:
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
    part = _part_of(table)
    return part if part and _first_fault(part, last) is None else None


def _part_of(table: pa.Table) -> Part | None:
    """The columns as arrays; None where one has no value."""
    if any(table.column(name).null_count for name in COLUMNS):
        return None
    numbers = [table.column(column.name).to_numpy() for column in NUMBERS]
    classes = table.column(CLASS).unify_dictionaries().combine_chunks()
    if isinstance(classes, pa.ChunkedArray):
        classes = pa.concat_arrays(classes.chunks)
    names = [str(name).strip() for name in classes.dictionary.to_pylist()]
    return Part(numbers, classes.indices.to_numpy().astype(np.int64), names)


def _first_fault(part: Part, last: float) -> int | None:
    """The first row that may not stand there: a value out of range, no class, or time goes back."""
    good = np.ones(len(part.job_class), bool)
    for column, values in zip(NUMBERS, part.numbers, strict=True):
        good &= column.allows(values)
    good &= np.array([bool(name) for name in part.class_names], bool)[part.job_class]
    good &= np.diff(part.numbers[0], prepend=last) >= 0
    return None if good.all() else int(np.argmin(good))


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


def _parquet_parts(file: Path, ignore: tuple[str, ...], tell: Tell | None) -> Iterator[Part]:
    try:
        table = pyarrow.parquet.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise OSError(None, f"a damaged Parquet file: {_one_line(error)}") from None
    names = table.schema_arrow.names
    _check_columns([_normal(name) for name in names], ignore)
    wanted = {_normal(name): name for name in names if _normal(name) in COLUMNS}
    jobs, last = 0, -math.inf
    for batch in table.iter_batches(columns=list(wanted.values())):
        columns = {name: _cast(batch.column(theirs), name) for name, theirs in wanted.items()}
        part = _part_of(pa.table(columns))
        fault = _first_fault(part, last) if part else _first_null(columns)
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
        raise ValueError(f"{name} must be {kind}, not {_one_line(values.type)}") from None


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
    names = [_normal(name) for name in next(csv.reader([line], strict=True), [])]
    if len(names) == 1:
        for mark, shown in ((";", ";"), ("\t", "a tab"), ("|", "|")):
            if len({*map(_normal, line.split(mark))} & {*COLUMNS}) > 1:
                raise ValueError(
                    f"found one column {_short(line)!r}: separated by {shown!r}? Commas must "
                    "separate the columns, and points the decimals"
                )
    _check_columns(names, ignore)
    return names


def _check_columns(names: list[str], ignore: tuple[str, ...]) -> None:
    found = ", ".join(map(_short, names))
    for name in COLUMNS:
        if name not in names:
            raise ValueError(
                f"column {name} is missing; it needs {', '.join(COLUMNS)}; found: {found:.120}"
            )
    for k, name in enumerate(names):
        if name in names[:k]:
            raise ValueError(f"column {_short(name)!r} is there twice")
        if name not in COLUMNS and name not in ignore:
            raise ValueError(
                f"column {_short(name)!r} is unknown; env.trace.ignore: [{_short(name)}] leaves "
                "it out"
            )
    for name in ignore:
        if name in COLUMNS or name not in names:
            reason = "is needed" if name in COLUMNS else f"is not there; found: {found:.120}"
            raise ValueError(f"env.trace.ignore: column {_short(name)!r} {reason}")


def _line_of(file: Path, job: int) -> int:
    """The line of a job, by going through the file once more."""
    lines = (line for block, _ in _blocks(file) for line in io.StringIO(block.decode(), newline=""))
    reader = csv.reader(lines)
    next(islice((fields for fields in reader if fields), job + 1, None))
    return reader.line_num


def _is_parquet(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"PAR1"


def _normal(name: str) -> str:
    return name.strip().lower()


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
