"""An import from the files to the trace, and the line that says what was done."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mec_rllib.errors import ConfigError
from mec_rllib.importers import IMPORTERS
from mec_rllib.importers.base import Importer, Jobs
from mec_rllib.importers.write import check_out, write
from mec_rllib.sim.traces.figures import duration_in_words


def import_log(
    importer: Importer, files: Sequence[Path], out: Path, overwrite: bool = False
) -> str:
    """Reads logs and writes a trace; returns one line about it.

    Args:
        importer: the format, with its assumptions.
        files: the logs.
        out: .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz.
        overwrite: replace what is there.

    Raises:
        ConfigError: bad input; nothing is written then.
    """
    check_out(out, overwrite)
    for file in files:
        if file.absolute() == out.absolute():
            raise ConfigError(f"--out {out}: is one of the logs")
    try:
        jobs = importer.jobs(files)
    except ValueError as error:
        named = f"{files[0]}: {error}" if _names_none(error, files) else error
        raise ConfigError(named) from None
    write(jobs.table, out, about(importer, files, jobs))
    return f"{out}: {line(jobs)}"


def _names_none(error: ValueError, files: Sequence[Path]) -> bool:
    return not any(str(error).startswith(f"{file}: ") for file in files)


def about(importer: Importer, files: Sequence[Path], jobs: Jobs) -> dict[str, Any]:
    """What a trace came from: format, assumptions, files, counts."""
    name = next(name for name, kind in IMPORTERS.items() if kind is type(importer))
    found = jobs.found
    return {
        "format": name,
        "mec-rllib": version("mec-rllib"),
        "assumptions": importer.model_dump(mode="json"),
        "from_the_log": found.assumed,
        "files": [
            {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
            for file in files
        ],
        "rows": found.rows,
        "jobs": len(jobs.table),
        "left_out": found.left_out,
        "changed": found.changed,
        "first_arrival_s": jobs.first_s,
    }


def line(jobs: Jobs) -> str:
    """What was found, left out, changed and assumed, in one line."""
    found = jobs.found
    load = f" at load {jobs.load:.3g} of one server" if jobs.load is not None else ""
    span = duration_in_words(jobs.span_s)
    parts = [
        f"{len(jobs.table):,} jobs of {found.rows:,} rows in {span}{load}",
        f"left out: {_counts(found.left_out)}",
        f"changed: {_counts(found.changed)}",
    ]
    if found.assumed:
        settings = (
            f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.assumed.items()
        )
        parts.append(f"from the log: {', '.join(settings)}")
    return "; ".join(parts)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {why}" for why, n in counts.items()) or "none"
