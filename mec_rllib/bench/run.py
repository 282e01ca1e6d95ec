"""`mec-rllib bench`: measures, and prints medians, spreads and ratios."""

import os
import platform
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mec_rllib.bench.against import measure_against
from mec_rllib.bench.suites import COMMANDS, comparisons, measure
from mec_rllib.errors import ConfigError

Line = Callable[[str], None]  # is given a line
PARTS = ("kernel", "training", "experiment", "growth")
LONG_PARTS = ("growth",)  # only with --long, or by name


def parts_of(only: str | None, against: str | None, long: bool) -> tuple[str, ...]:
    """The parts that the options of the command ask for.

    Raises:
        ConfigError: a part that there is not.
    """
    if only is not None:
        parts = tuple(only.split(","))
        for part in parts:
            if part not in PARTS:
                raise ConfigError(f"--only {part}: is none of {', '.join(PARTS)}")
        return parts
    if against is not None and not long:
        return ()
    return PARTS if long else tuple(part for part in PARTS if part not in LONG_PARTS)


def bench(
    parts: Iterable[str],
    rounds: int,
    progress: Console,
    long: bool = False,
    against: str | None = None,
) -> dict[str, Any]:
    """Runs the parts asked for; what comes back is what `--json` prints.

    Args:
        parts: of `PARTS`.
        rounds: measurements of each contestant.
        progress: shows what is under way, and a line for whatever is done.
        long: all cases of each part.
        against: a revision of this code to measure beside it, first of all.

    Raises:
        ConfigError: the revision cannot be checked out.
    """
    results: dict[str, Any] = {"machine": machine(), "rounds": rounds}
    with progress.status("") as status:

        def run(part: str, measured: Callable[[Line, Line], Any]) -> None:
            # A bench takes long and may be broken off: what is measured is shown at once.
            show = partial(progress.print, markup=False, highlight=False, soft_wrap=True)
            say = lambda line: status.update(f"{part}: {line}")  # noqa: E731
            try:
                results[part] = measured(say, lambda line: show(f"{part}: {line}"))
            except RuntimeError as error:  # what others measured is not lost
                results.setdefault("failed", {})[part] = str(error)

        if against is not None:
            run("against", partial(measure_against, against, rounds))
        for part in parts:
            measure_part = _commands if part == "experiment" else partial(_rates, part, long)
            run(part, partial(measure_part, rounds))
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
    if "against" in results:
        console.print(_against_table(results["against"]))
    for part in PARTS:
        if part == "experiment" and part in results:
            console.print(_command_table(results[part]))
        elif part in results:
            console.print(_rate_table(part, results[part]))
    entries = [entry for part in PARTS for entry in results.get(part, ())]
    entries += results.get("against", {}).get("cases", [])
    for reason in sorted({entry["skipped"] for entry in entries if "skipped" in entry}):
        console.print(f"skipped: {reason}", markup=False)
    for part, error in results.get("failed", {}).items():
        console.print(f"failed: {part}: {error}", markup=False)


def _rates(part: str, long: bool, rounds: int, say: Line, show: Line) -> list[dict[str, Any]]:
    entries = []
    for case in comparisons(part, long):
        measured = list(measure(case, rounds, say))
        show(_line(measured))
        entries += measured
    return _with_ratios(entries)


def _commands(rounds: int, say: Line, show: Line) -> list[dict[str, Any]]:
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


def _against_table(found: dict[str, Any]) -> Table:
    table = Table(title=f"against {found['revision']}, the same slots", title_justify="left")
    table.add_column("case")
    table.add_column("who")
    for name in ("us/slot", "updates/slot", "times faster"):
        table.add_column(name, justify="right")
    table.add_column("plays")
    for entry in found["cases"]:
        if "skipped" in entry:
            table.add_row(entry["case"], entry["contestant"], "skipped")
            continue
        table.add_row(
            entry["case"],
            entry["contestant"],
            _median(entry["us_per_slot"], ".1f"),
            f"{np.median(entry['updates_per_slot']):.3f}",
            _median(entry["times_faster"], ".2f") if entry.get("times_faster") else "",
            entry["plays"].partition(":")[0],  # and why
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
