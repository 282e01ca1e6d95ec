"""Reads a trace from JSON Lines: one object a line, plain or compressed."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

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
from mec_rllib.sim.traces.form import ARRIVAL, CLASS, DEADLINE, OWN, SLACK, Form, normal, short
from mec_rllib.sim.traces.text_blocks import BOM, text_blocks


def json_parts(file: Path, form: Form, tell: Tell | None) -> Iterator[Part]:
    """The rows of the file, in parts; a ValueError names the line that is wrong.

    The first object says which columns there are. `deadline_s`, `slack_s` and `weight` may also
    come with later ones; an object without them has an empty cell.
    """
    keys: dict[str, str | None] = {}  # our names by the file's
    columns: tuple[Column, ...] = ()
    used = set[str]()
    line, jobs, last = 0, 0, -math.inf  # lines and jobs before the block; the last arrival
    for block, share in text_blocks(file):
        rows = block.removeprefix(BOM) if not line else block
        if not keys and rows.strip():
            keys = _keys_of_first(rows, form)
            columns = columns_of([ours for ours in keys.values() if ours])
        part = _fast_part(rows, keys, columns, last, form) if columns else empty_part(columns)
        if part is None:
            part = part_by_row(_rows(rows, keys, line), columns, last, form)
        used |= {
            name
            for name in (DEADLINE, SLACK)
            if name in part.numbers and not np.isnan(part.numbers[name]).all()
        }
        if len(used) > 1:
            raise ValueError(f"columns {DEADLINE} and {SLACK}: both say how long a job may wait")
        if part.jobs:
            last = part.numbers[ARRIVAL][-1]
        line, jobs = line + rows.count(b"\n"), jobs + part.jobs
        if tell is not None:
            tell(share, jobs)
        yield part


def _keys_of_first(rows: bytes, form: Form) -> dict[str, str | None]:
    """Our names of the first object's keys (None: not used), and of those that may come later."""
    before = len(rows) - len(rows.lstrip())
    line = rows[:before].count(b"\n") + 1
    try:
        names = [*_object(rows[before:].partition(b"\n")[0])]
        headings = form.headings([normal(name) for name in names])
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from None
    keys: dict[str, str | None] = dict(zip(names, headings, strict=True))
    return keys | {name: name for name in OWN if name not in {*keys, *keys.values()}}


def _object(line: bytes) -> dict[str, Any]:
    found = json.loads(line, object_pairs_hook=_pairs)
    if not isinstance(found, dict):
        raise ValueError(f"must be an object {{...}}, not {short(line.decode().strip())}")
    return found


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"column {short(twice)!r} is there twice")
    return found


def _fast_part(
    rows: bytes, keys: Mapping[str, str | None], columns: Sequence[Column], last: float, form: Form
) -> Part | None:
    """The rows of a block, or None where something in it needs a closer look."""
    if not rows.strip():
        return empty_part(columns)
    types = {c.name: pa.string() if c.is_date(form.unit) else pa.float64() for c in columns}
    types |= {CLASS: pa.string()}
    schema = pa.schema([(theirs, types[ours]) for theirs, ours in keys.items() if ours])
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(rows),
            read_options=pyarrow.json.ReadOptions(block_size=len(rows) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=schema),
        )
    except pa.ArrowInvalid:
        return None
    lines = sum(1 for line in rows.split(b"\n") if line.strip())
    if len(table) != lines or not keys.keys() >= {*table.column_names}:
        return None
    table = table.select(schema.names).rename_columns([*filter(None, keys.values())])
    part = part_of(table, columns, form.unit)
    return part if part and first_fault(part, columns, last, form) is None else None


def _rows(rows: bytes, keys: Mapping[str, str | None], line: int) -> Iterator[tuple[str, Row]]:
    """The objects of a block with their lines; a ValueError names the first that is none.

    Args:
        rows: some lines of the file.
        keys: our names by the file's.
        line: lines before these.
    """
    ours_of = {normal(name): ours for name, ours in keys.items()}
    for k, text in enumerate(rows.split(b"\n"), line + 1):
        if not text.strip():
            continue
        try:
            found = {normal(name): value for name, value in _object(text).items()}
            if unknown := [name for name in found if name not in ours_of]:
                raise ValueError(f"column {short(unknown[0])!r} is not in the first object")
        except ValueError as error:
            raise ValueError(f"line {k}: {error}") from None
        row: Row = {ours: _text(found.get(name)) for name, ours in ours_of.items() if ours}
        yield f"line {k}", row


def _text(value: Any) -> str:
    """As a field of a CSV file has it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def line_of(file: Path, row: int) -> int:
    """The line of a row (the first is 0), by going through the file once more."""
    lines = (line for block, _ in text_blocks(file) for line in block.splitlines(keepends=True))
    numbered = (number for number, line in enumerate(lines, 1) if line.removeprefix(BOM).strip())
    return next(islice(numbered, row, None))
