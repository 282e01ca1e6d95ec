"""How far an experiment or a suite is, from its files: what runs, is done or failed, and why."""

import re
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mec_rllib.locks import is_held
from mec_rllib.paths import command
from mec_rllib.results.folder import Folder
from mec_rllib.results.stored import StoredStudy, TrialResults, read_study
from mec_rllib.results.suite import read_suite

RESTARTS = 3  # of a trial whose process or node was lost
SILENT_S = 120.0  # a report takes as long as a hundredth of a trial
FINAL_FAILURE = "Final failure"  # in error.txt: one that would come again
FAILURE = re.compile(rf"^(?:Failure # \d+|({FINAL_FAILURE})) \(occurred", re.MULTILINE)
STATES = ("running", "stopped", "failed", "waiting", "done")


def status(folder: Path, now: float | None = None) -> dict[str, Any]:
    """What `mec-rllib status --json` prints.

    Args:
        folder: of the experiment.
        now: seconds since the epoch.

    Raises:
        ConfigError: the folder holds no experiment of ours.
    """
    return _status(read_study(folder), time.time() if now is None else now)


def suite_status(folder: Path, now: float | None = None) -> dict[str, Any]:
    """What `mec-rllib status --json` prints of a suite: each experiment, and the sum.

    Raises:
        ConfigError: the folder holds no suite of ours.
    """
    now = time.time() if now is None else now
    suite = read_suite(folder)
    found = {label: _status(world, now) for label, world in suite.worlds.items()}
    for one in found.values():  # silence says nothing of what has not begun
        if one["state"] != "over" and not any(trial["last_report"] for trial in one["trials"]):
            one["state"] = "waiting"
    is_over = all(one["state"] == "over" for one in found.values())
    begun = [one for one in found.values() if one["state"] != "waiting"]
    silent_s = min(one["silent_s"] for one in begun or found.values())
    results = [trial for world in suite.worlds.values() for trial in world.trials]
    trials = [trial for one in found.values() for trial in one["trials"]]
    held = is_held(suite.folder.path)
    state = _state(is_over, held, silent_s)
    return {
        "suite": suite.name,
        "state": state,
        "is_held": held,
        "silent_s": silent_s,
        "left_s": _left_s(results, trials) if state == "running" else None,
        "experiments": found,
    } | {state: sum(one[state] for one in found.values()) for state in STATES}


def _state(is_over: bool, is_held: bool | None, silent_s: float) -> str:
    runs = silent_s < SILENT_S if is_held is None else is_held
    return "over" if is_over else "running" if runs else "stopped"


def _status(study: StoredStudy, now: float) -> dict[str, Any]:
    held = is_held(study.folder.path)
    trials = [_trial(study.folder, r, study.slots, held is not False) for r in study.trials]
    reported = [t["last_report"] for t in trials if t["last_report"] is not None]
    silent_s = now - max(reported, default=study.folder.config.stat().st_mtime)
    is_over = all(trial["state"] in ("done", "failed") for trial in trials)
    state = _state(is_over, held, silent_s)
    return {
        "experiment": study.name,
        "state": state,
        "is_held": held,
        "silent_s": silent_s,
        "left_s": _left_s(study.trials, trials) if state == "running" else None,
        "trials": trials,
    } | {state: sum(trial["state"] == state for trial in trials) for state in STATES}


def _trial(folder: Folder, results: TrialResults, slots: int, may_run: bool) -> dict[str, Any]:
    errors = folder.trial(results.strategy, results.seed).errors
    text = errors.read_text(encoding="utf-8", errors="replace") if errors.is_file() else ""
    failures = FAILURE.findall(text)
    last = results.reports[-1] if results.reports else {}
    if results.is_finished:
        state = "done"
    elif len(failures) > RESTARTS or FINAL_FAILURE in failures:
        state = "failed"
    elif results.reports:
        state = "running" if may_run else "stopped"
    else:
        state = "waiting"
    return {
        "strategy": results.strategy,
        "seed": results.seed,
        "state": state,
        "slots": last.get("timesteps_total", 0),
        "of": slots,
        "reward_lifetime": last.get("reward", {}).get("lifetime"),
        "node": last.get("node"),
        "failures": len(failures),
        "reason": text.strip().splitlines()[-1].strip() if text.strip() else None,
        "last_report": last.get("timestamp"),
    }


def _left_s(results: Sequence[TrialResults], trials: Sequence[dict[str, Any]]) -> float | None:
    """Seconds left at the pace of all reports so far; none: too few to tell."""
    # The driver may have died before it wrote a report down: that one has no time.
    stamps = [report["timestamp"] for r in results for report in r.reports if "timestamp" in report]
    if not stamps or max(stamps) == min(stamps):
        return None
    # The first report of a trial says nothing about the time that its slots took.
    played = sum(
        r.reports[-1]["timesteps_total"] - r.reports[0]["timesteps_total"]
        for r in results
        if r.reports
    )
    to_go = sum(trial["of"] - trial["slots"] for trial in trials if trial["state"] != "failed")
    return (max(stamps) - min(stamps)) * to_go / played if played else None


def print_status(found: dict[str, Any], folder: Path, console: Console) -> None:
    """A table of the trials, and a line that sums up."""
    table = Table(box=None, pad_edge=False)
    for heading in ("trial", "state", "slots", "R", "node", "failures"):
        table.add_column(heading, justify="left" if heading in ("trial", "state") else "right")
    for trial in sorted(found["trials"], key=lambda t: STATES.index(t["state"])):
        reward = trial["reward_lifetime"]
        table.add_row(
            f"{trial['strategy']} seed {trial['seed']}",
            trial["state"],
            f"{trial['slots'] / trial['of']:.0%}",
            "-" if reward is None else f"{reward:.3f}",
            trial["node"] or "-",
            str(trial["failures"] or "-"),
        )
    console.print(table)
    for line in (*_reasons(found), _sum(found, found["experiment"], folder)):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def print_suite_status(found: dict[str, Any], folder: Path, console: Console) -> None:
    """A line per experiment, why trials failed, and a line that sums up."""
    table = Table(box=None, pad_edge=False)
    for heading in ("experiment", "state", "trials", "left"):
        table.add_column(heading, justify="right" if heading == "left" else "left")
    for label, one in found["experiments"].items():
        left = one["left_s"]
        shown = "-" if left is None else str(timedelta(seconds=round(left)))
        table.add_row(label, one["state"], _counts(one), shown)
    console.print(table)
    reasons = [
        f"{label}, {reason}"
        for label, one in found["experiments"].items()
        for reason in _reasons(one)
    ]
    for line in (*reasons, _sum(found, found["suite"], folder)):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _reasons(found: dict[str, Any]) -> list[str]:
    """Why trials failed that are not done."""
    return [
        f"{trial['strategy']} seed {trial['seed']}: {trial['reason']}"
        for trial in found["trials"]
        if trial["reason"] and trial["state"] != "done"
    ]


def _counts(found: dict[str, Any]) -> str:
    return ", ".join(f"{found[state]} {state}" for state in STATES if found[state])


def _sum(found: dict[str, Any], name: str, folder: Path) -> str:
    silent = timedelta(seconds=round(found["silent_s"]))
    left, resume = found["left_s"], command("mec-rllib", "resume", folder)
    end = {
        "over": "",
        "running": f"; {'?' if left is None else timedelta(seconds=round(left))} left",
        "stopped": f"; nobody is at work in it, go on with: {resume}"
        if found["is_held"] is False
        else f"; no report for {silent}: if nothing runs any more, {resume}",
    }[found["state"]]
    return f"{name}: {_counts(found)}{end}"
