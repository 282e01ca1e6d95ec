"""What was done to the traces that an experiment plays, from its files; whether any job came."""

import json
from collections.abc import Sequence
from typing import Any

from mec_rllib.results.folder import Folder


def kept_traces(folder: Folder) -> list[dict[str, Any]]:
    """What the experiment began with; its own trace first."""
    try:
        text = folder.traces.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return json.loads(text)["traces"]


def trace_of_summary(kept: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The figures for `summary.json`: those of the first trace, and of `others`, if there are."""
    return {**kept[0], "others": list(kept[1:])} if kept else None


def lines_of(kept: Sequence[dict[str, Any]]) -> list[str]:
    """What a report shows of these figures."""
    return [
        line
        for trace in kept
        for line in (trace["line"], *(f"warning: {warning}" for warning in trace["warnings"]))
    ]


def without_jobs(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line where no job came: whatever such a row says, it says nothing."""
    empty = [row for row in rows if row.get("jobs_arrived") == 0]
    if not empty:
        return []
    names = ", ".join(f"{row['strategy']} (seed {row['seed']})" for row in empty)
    return [f"no job arrived: {names}; there is nothing that these rows could tell"]
