"""Reads a recorded workload from its file into arrays."""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mec_rllib.sim.jobs import Floats, Ints
from mec_rllib.sim.traces.columns import NUMBERS, Part, Tell, normal, one_line
from mec_rllib.sim.traces.csv_file import csv_parts, line_of
from mec_rllib.sim.traces.made import file_of
from mec_rllib.sim.traces.parquet_file import is_parquet, parquet_parts


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
        return f"row {job + 1:,}" if is_parquet(file) else f"line {line_of(file, job):,}"


def read_trace(path: str | Path, ignore: Sequence[str] = (), tell: Tell | None = None) -> Trace:
    """Reads a job trace with the columns arrival_s, duration_s, demand, job_class.

    Args:
        path: CSV (UTF-8, a header, commas; plain, gzip, bz2 or zstd), Parquet, or a made one by
            name (`made:edge_day`; see `mec_rllib.sim.traces.made`).
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
        read = parquet_parts if is_parquet(file) else csv_parts
        columns = _joined(read(file, tuple(map(normal, ignore)), tell))
    except OSError as error:  # pyarrow's, too: a damaged archive
        reason = error.strerror or one_line(error)
        raise ValueError(f"trace {path}: cannot be read ({reason})") from None
    except UnicodeDecodeError:
        raise ValueError(f"trace {path}: cannot be read (not a UTF-8 text file)") from None
    except (ValueError, csv.Error) as error:
        raise ValueError(f"trace {path}: {one_line(error)}") from None
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
