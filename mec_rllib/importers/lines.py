"""Logs in text, plain or compressed: their lines, their tables, and what is wrong with them."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mec_rllib.sim.jobs import Bools, Floats
from mec_rllib.sim.traces.columns import dates
from mec_rllib.sim.traces.form import normal, one_line, short
from mec_rllib.sim.traces.text_blocks import BOM, text_blocks


def text_of(file: Path, encoding: str = "utf-8") -> str:
    """The text of a file, decompressed, without a byte order mark.

    Raises:
        ValueError: it cannot be read; names the file.
    """
    try:
        with file.open("rb"):  # says more shortly what is wrong than pyarrow does
            pass
        whole = b"".join(block for block, _ in text_blocks(file))
        if whole.startswith(b"PAR1"):
            raise OSError(None, "Parquet, not text")
        return whole.removeprefix(BOM).decode(encoding)
    except OSError as error:  # pyarrow's, too: a damaged archive
        reason = error.strerror or one_line(error)
        raise ValueError(f"{file}: cannot be read ({reason})") from None
    except UnicodeDecodeError as error:
        line = whole[: error.start].count(b"\n") + 1
        raise ValueError(f"{file}: line {line}: not UTF-8 text") from None


def fault(file: Path, line: int, what: object) -> ValueError:
    """An error about a line."""
    return ValueError(f"{file}: line {line}: {one_line(what)}")


class Log:
    """Columns of a table in text, and the line of each row."""

    def __init__(self, file: Path, columns: dict[str, np.ndarray], lines: np.ndarray):
        self.file, self.columns, self.lines = file, columns, lines

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.lines)

    def refuse(self, which: Bools, what: str, *names: str) -> None:
        """Raises a ValueError for the first row that is marked; `{name}` shows its values."""
        if np.any(which):
            row = int(np.argmax(which))
            for name in names:
                what = what.replace(f"{{{name}}}", _shown(self.columns[name][row]))
            raise fault(self.file, int(self.lines[row]), what)


def _shown(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else short(str(value))


def table_of(
    file: Path,
    numbers: Sequence[str],
    texts: Sequence[str] = (),
    empty: Sequence[str] = (),
    separator: str = ",",
) -> Log:
    """Columns of a CSV file with a header; others are left aside.

    Args:
        file: the file.
        numbers: columns of finite numbers.
        texts: columns of text.
        empty: which of the numbers may be empty: NaN then.
        separator: between fields.

    Raises:
        ValueError: a column is missing, or a field is no number; names the file and the line.
    """
    text = text_of(file)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    header = next_row(file, reader)
    place = _places(file, reader.line_num, header, [*numbers, *texts])
    shape = Shape(file, len(header), place, tuple(numbers), tuple(empty), separator)
    return _fast(shape, text, reader.line_num) or _by_row(shape, reader)


def header_of(file: Path, separator: str = ",") -> list[str]:
    """Names of the columns, as `normal` has them."""
    text = text_of(file)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    return [normal(name) for name in next_row(file, reader)]


class Shape(NamedTuple):
    """Which columns of a table are wanted."""

    file: Path
    fields: int  # of a row
    place: dict[str, int]  # of each column
    numbers: tuple[str, ...]
    empty: tuple[str, ...]  # which numbers may be empty
    separator: str


def _places(file: Path, line: int, header: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    names = [normal(name) for name in header]
    for name in wanted:
        if normal(name) not in names:
            found = ", ".join(map(short, header)) or "nothing"
            raise fault(file, max(line, 1), f"column {name} is missing; found: {found:.120}")
        if names.count(normal(name)) > 1:
            raise fault(file, line, f"column {name} is there twice")
    return {name: names.index(normal(name)) for name in wanted}


def next_row(file: Path, reader: Any) -> list[str]:
    """The next row that is not empty; [] at the end."""
    try:
        return next((row for row in reader if any(field.strip() for field in row)), [])
    except csv.Error as error:
        raise fault(file, reader.line_num, error) from None


def _fast(shape: Shape, text: str, line: int) -> Log | None:
    """All rows behind the header's line at once, or None where something needs a closer look."""
    rows = text.encode()
    if b'"' in rows:
        return None
    names = [f"#{k}" for k in range(shape.fields)]
    kinds = {
        names[k]: pa.float64() if name in shape.numbers else pa.string()
        for name, k in shape.place.items()
    }
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(rows),
            read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=line),
            parse_options=pyarrow.csv.ParseOptions(delimiter=shape.separator),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=kinds, include_columns=list(kinds), null_values=[""]
            ),
        )
    except pa.ArrowInvalid:
        return None
    if len(table) != rows.rstrip(b"\r\n").count(b"\n") + 1 - line:  # empty lines
        return None
    found = {name: table.column(names[k]) for name, k in shape.place.items()}
    for name in shape.numbers:
        good = np.isfinite(found[name].to_numpy())
        if name in shape.empty:
            good |= found[name].is_null().to_numpy()
        if not good.all():
            return None
    columns = {name: values.to_numpy() for name, values in found.items()}
    return Log(shape.file, columns, np.arange(line + 1, line + 1 + len(table)))


def _by_row(shape: Shape, reader: Any) -> Log:
    """Row by row; a ValueError names the line of the first that is wrong."""
    columns: dict[str, list] = {name: [] for name in shape.place}
    lines = []
    while row := next_row(shape.file, reader):
        line = reader.line_num
        if len(row) != shape.fields:
            raise fault(shape.file, line, f"has {len(row)} fields, the header has {shape.fields}")
        for name, k in shape.place.items():
            value: str | float = row[k].strip()
            if name in shape.numbers:
                is_empty = not value and name in shape.empty
                value = math.nan if is_empty else number(shape.file, line, name, value)
            columns[name].append(value)
        lines.append(line)
    arrays = {
        name: np.array(values, float if name in shape.numbers else object)
        for name, values in columns.items()
    }
    return Log(shape.file, arrays, np.array(lines, np.int64))


def number(file: Path, line: int, name: str, text: object) -> float:
    """A field as a finite number; a ValueError names the line."""
    try:
        value = float(str(text).replace("_", "x"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise fault(file, line, f"{name} must be a number, not {short(str(text))!r}")
    return value


def seconds(log: Log, name: str, may_be_empty: bool = False) -> Floats:
    """A column of dates as seconds since 1970; a ValueError names the line of what is none."""
    found = dates(log[name])
    wrong = np.isnan(found)
    if may_be_empty:
        wrong &= np.array([bool(text and text.strip()) for text in log[name]], bool)
    log.refuse(wrong, f"{name} must be a date (ISO 8601), not '{{{name}}}'", name)
    return found


def concatenated(logs: Sequence[Log], name: str) -> np.ndarray:
    """A column of several logs."""
    return np.concatenate([log[name] for log in logs])
