"""Writes imported jobs as a trace, with all that was assumed beside them."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from mec_rllib.errors import ConfigError
from mec_rllib.files import write_json

METADATA = "mec_rllib"  # key in Parquet
SIDECAR = ".import.json"  # behind the name of other files


def _parquet(table: pd.DataFrame, file: Path, about: Mapping[str, Any]) -> None:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {METADATA: json.dumps(about)}
    pyarrow.parquet.write_table(arrow.replace_schema_metadata(metadata), file)


def _csv(table: pd.DataFrame, file: Path, about: Mapping[str, Any]) -> None:
    table.to_csv(file, index=False, lineterminator="\n", compression=_packed(file))


def _json_lines(table: pd.DataFrame, file: Path, about: Mapping[str, Any]) -> None:
    table.to_json(file, orient="records", lines=True, compression=_packed(file), double_precision=9)


def _packed(file: Path) -> Any:
    # No time in it: the same jobs give the same file.
    return {"method": "gzip", "mtime": 0} if ".gz" in file.name else None


WRITERS: dict[str, Callable[[pd.DataFrame, Path, Mapping[str, Any]], None]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".csv.gz": _csv,
    ".jsonl": _json_lines,
    ".jsonl.gz": _json_lines,
}


def writer_of(out: Path) -> str:
    """The ending that says how to write a file.

    Raises:
        ConfigError: another ending.
    """
    for ending in WRITERS:
        if out.name.endswith(ending) and out.name != ending:
            return ending
    raise ConfigError(f"--out {out}: must end with {', '.join(WRITERS)}")


def check_out(out: Path, overwrite: bool) -> None:
    """Makes sure, before anything is read, that the trace can be written.

    Raises:
        ConfigError: it cannot.
    """
    ending = writer_of(out)
    if out.is_dir():
        raise ConfigError(f"--out {out}: is a folder")
    places = [out] if ending == ".parquet" else [out, sidecar_of(out)]
    for place in places:
        if place.exists() and not overwrite:
            raise ConfigError(f"--out {place}: is there already; --overwrite replaces it")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.absolute().parent}")


def sidecar_of(out: Path) -> Path:
    """Where the assumptions lie that a file cannot hold itself."""
    return out.with_name(out.name + SIDECAR)


def write(table: pd.DataFrame, out: Path, about: Mapping[str, Any]) -> None:
    """Writes the trace whole or not at all.

    Args:
        table: columns of a trace.
        out: file; its ending says how.
        about: what was assumed: into Parquet's metadata, else into a file beside it.

    Raises:
        ConfigError: it cannot be written.
    """
    ending = writer_of(out)
    temporary = out.with_name(f".{out.name}.tmp{ending}")
    try:
        WRITERS[ending](table, temporary, about)
        if ending != ".parquet":
            write_json(sidecar_of(out), about)
        os.replace(temporary, out)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)
