"""Reads a recorded workload from its file into arrays."""

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mec_rllib.sim.jobs import Floats, Ints
from mec_rllib.sim.traces import csv_file, json_file
from mec_rllib.sim.traces.columns import Part, Tell
from mec_rllib.sim.traces.form import ARRIVAL, DEMAND, DURATION, OF_KIND, Form, Unit, one_line
from mec_rllib.sim.traces.made import file_of
from mec_rllib.sim.traces.parquet_file import is_parquet, parquet_parts
from mec_rllib.sim.traces.text_blocks import first_bytes


class Trace(NamedTuple):
    """Jobs as recorded, sorted by arrival; n jobs, D resource kinds.

    Whatever a job says of itself is NaN where its cell is empty, and None where all are.
    """

    arrival_s: Floats  # (n,) seconds, from any moment on
    duration_s: Floats  # (n,) seconds, > 0
    demand: Floats  # (n, D) shares of one server, [0, 1], not all 0
    job_class: Ints  # (n,) index into the class names
    class_names: tuple[str, ...]  # sorted
    kinds: tuple[str, ...]  # names of the resource kinds; "" if there is one without a name
    deadline_s: Floats | None  # (n,) by when the job must be finished, on the clock of arrival_s
    slack_s: Floats | None  # (n,) seconds that it may wait
    weight: Floats | None  # (n,) > 0
    row: Ints | None  # (n,) where each job stands in the file, from 0; None: in this order
    path: str  # as it was given
    sha256: str  # of the file
    form: Form  # how it was read

    @property
    def source(self) -> str:
        """What errors call it."""
        return f"trace {self.path}"

    def place(self, job: int) -> str:
        """Where a job stands in the file: its line, or its row in Parquet."""
        file, row = file_of(self.path), job if self.row is None else int(self.row[job])
        if is_parquet(file):
            return f"row {row + 1:,}"
        return f"line {(json_file if _is_json(file) else csv_file).line_of(file, row):,}"


def read_trace(
    path: str | Path,
    ignore: Sequence[str] = (),
    tell: Tell | None = None,
    columns: Mapping[str, str] | None = None,
    unit: Unit = "s",
    sort: bool = False,
) -> Trace:
    """Reads a job trace with the columns arrival_s, duration_s, demand, job_class.

    In place of `demand` there may be `demand_<kind>` for several resource kinds. `deadline_s` or
    `slack_s`, and `weight`, may be there, too; empty cells leave it to the rule of the class.

    Args:
        path: CSV (UTF-8, a header, commas; plain, gzip, bz2 or zstd), JSON Lines (likewise),
            Parquet, or a made one by name (`made:edge_day`; see `mec_rllib.sim.traces.made`).
        ignore: further columns that the file may have, and must.
        tell: is told now and then how much has been read.
        columns: the file's name of a column by ours, where it is another.
        unit: of the times in the file. With "iso8601" arrival_s and deadline_s are dates (UTC
            unless they say otherwise), duration_s and slack_s seconds.
        sort: sort the jobs by arrival.

    Raises:
        ValueError: the file is unreadable, empty, unsorted, misses a column, has an unknown or a
            repeated one, or holds a value out of range; the message names the file and the line.
    """
    return read_as(path, Form(tuple(ignore), tuple((columns or {}).items()), unit, sort), tell)


def read_as(path: str | Path, form: Form, tell: Tell | None = None) -> Trace:
    """As `read_trace`, which says what is read and what is raised."""
    try:
        file = file_of(path)
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        return _trace(_parts(file, form, tell), str(path), sha256, form)
    except OSError as error:  # pyarrow's, too: a damaged archive
        reason = error.strerror or one_line(error)
        raise ValueError(f"trace {path}: cannot be read ({reason})") from None
    except UnicodeDecodeError:
        raise ValueError(f"trace {path}: cannot be read (not a UTF-8 text file)") from None
    except (ValueError, csv.Error) as error:
        raise ValueError(f"trace {path}: {one_line(error)}") from None


def _parts(file: Path, form: Form, tell: Tell | None) -> Iterator[Part]:
    if is_parquet(file):
        return parquet_parts(file, form, tell)
    if first_bytes(file).startswith(b"["):
        raise ValueError("line 1: a JSON array; JSON Lines have one object a line, no brackets")
    return (json_file.json_parts if _is_json(file) else csv_file.csv_parts)(file, form, tell)


def _is_json(file: Path) -> bool:
    return first_bytes(file).startswith(b"{")


def _trace(parts: Iterator[Part], path: str, sha256: str, form: Form) -> Trace:
    """All parts behind one another, with one list of class names, sorted if asked for."""
    found = list(parts)
    if not any(part.jobs for part in found):
        raise ValueError("holds no job")
    found = [part for part in found if part.jobs]
    names = [*found[0].numbers]
    numbers = {name: np.concatenate([part.numbers[name] for part in found]) for name in names}
    classes = sorted({name for part in found for name in part.class_names})
    code_of = {name: k for k, name in enumerate(classes)}
    codes = [
        np.array([code_of[name] for name in part.class_names], np.int64)[part.job_class]
        for part in found
    ]
    job_class = np.concatenate(codes)
    row = None
    if form.sort and np.any(np.diff(numbers[ARRIVAL]) < 0):
        row = np.argsort(numbers[ARRIVAL], kind="stable")
        numbers = {name: values[row] for name, values in numbers.items()}
        job_class = job_class[row]
    demands = [name for name in names if name.startswith(DEMAND)]
    own = {
        name: numbers[name] if name in numbers and not np.isnan(numbers[name]).all() else None
        for name in ("deadline_s", "slack_s", "weight")
    }
    return Trace(
        arrival_s=numbers[ARRIVAL],
        duration_s=numbers[DURATION],
        demand=np.stack([numbers[name] for name in demands], axis=1),
        job_class=job_class,
        class_names=tuple(classes),
        kinds=tuple(name.removeprefix(OF_KIND) if name != DEMAND else "" for name in demands),
        **own,
        row=row,
        path=path,
        sha256=sha256,
        form=form,
    )
