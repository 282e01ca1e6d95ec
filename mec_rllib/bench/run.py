"""`mec-rllib bench`: measures, and prints medians, spreads and ratios."""

import os
import platform
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mec_rllib.bench.suites import COMMANDS, COMPARISONS, measure

PARTS = ("kernel", "training", "experiment", "growth")


def bench(parts: Iterable[str], rounds: int, progress: Console) -> dict[str, Any]:
    """Runs the parts asked for; what comes back is what `--json` prints.

    `progress` shows what is under way, and a line for whatever is done.
    """
    results: dict[str, Any] = {"machine": machine(), "rounds": rounds}
    with progress.status("") as status:
        for part in parts:
            say = lambda line, part=part: status.update(f"{part}: {line}")  # noqa: E731
            # A bench takes long and may be broken off: what is measured is shown at once.
            show = lambda line, part=part: progress.print(  # noqa: E731
                f"{part}: {line}", markup=False, highlight=False, soft_wrap=True
            )
            if part == "experiment":
                results[part] = _commands(rounds, say, show)
                continue
            entries = []
            for case in COMPARISONS[part]:
                measured = list(measure(case, rounds, say))
                show(_line(measured))
                entries += measured
            results[part] = _with_ratios(entries)
    return results


def machine() -> str:
    """Cores, load and Python, in one line."""
    load = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, "
        f"Python {platform.python_version()}"
    )


def print_results(results: dict[str, Any], console: Console) -> None:
    """Tables of what `bench` found."""
    console.print(f"{results['machine']}; medians of {results['rounds']} rounds [lowest-highest]")
    for part in PARTS:
        if part == "experiment" and part in results:
            console.print(_command_table(results[part]))
        elif part in results:
            console.print(_rate_table(part, results[part]))
    for reason in sorted(
        {e["skipped"] for p in PARTS for e in results.get(p, ()) if "skipped" in e}
    ):
        console.print(f"skipped: {reason}", markup=False)


def _commands(
    rounds: int, say: Callable[[str], None], show: Callable[[str], None]
) -> list[dict[str, Any]]:
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            say(name)
            runs[name].append(command())
            show(f"{name}: {runs[name][-1]['seconds']:.1f} s")
    return [
        {"case": name} | {key: [run[key] for run in done] for key in done[0]}
        for name, done in runs.items()
    ]


def _with_ratios(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds, round by round, how many times faster the case's first contestant is."""
    first: dict[str, list[float]] = {}
    for entry in entries:
        ours = first.setdefault(entry["case"], entry.get("slots_per_s", []))
        if "slots_per_s" in entry and ours is not entry["slots_per_s"]:
            entry["ratio"] = [a / b for a, b in zip(ours, entry["slots_per_s"], strict=True)]
    return entries


def _line(entries: list[dict[str, Any]]) -> str:
    """One case: who played how many slots per second."""
    rates = [
        f"{e['contestant']} "
        + ("skipped" if "skipped" in e else f"{np.median(e['slots_per_s']):,.0f} slots/s")
        for e in entries
    ]
    return f"{entries[0]['case']}: {', '.join(rates)}"


def _rate_table(part: str, entries: list[dict[str, Any]]) -> Table:
    table = Table(title=part, title_justify="left")
    table.add_column("case")
    table.add_column("who")
    for name in ("slots/s", "updates/slot", "peak MB", "ours / theirs"):
        table.add_column(name, justify="right")
    for entry in entries:
        if "skipped" in entry:
            table.add_row(entry["case"], entry["contestant"], "skipped")
            continue
        table.add_row(
            entry["case"],
            entry["contestant"],
            _median(entry["slots_per_s"], ",.0f"),
            f"{np.median(entry['updates_per_slot']):.3f}",
            f"{np.median(entry['peak_mb']):,.0f}",
            _median(entry["ratio"], ".1f") if "ratio" in entry else "",
        )
    return table


def _command_table(entries: list[dict[str, Any]]) -> Table:
    table = Table(title="experiment", title_justify="left")
    table.add_column("command")
    table.add_column("seconds", justify="right")
    table.add_column("peak MB, all processes", justify="right")
    for entry in entries:
        known = [value for value in entry["peak_mb"] if value is not None]
        memory = _median(known, ",.0f") if known else "needs psutil"
        table.add_row(entry["case"], _median(entry["seconds"], ".1f"), memory)
    return table


def _median(values: list[float], style: str) -> str:
    return f"{np.median(values):{style}} [{min(values):{style}}-{max(values):{style}}]"
