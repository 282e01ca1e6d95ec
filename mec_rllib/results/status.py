"""How far an experiment is, from its files: what runs, what is done, what failed and why."""

import re
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mec_rllib.results.folder import Folder
from mec_rllib.results.locks import is_held
from mec_rllib.results.stored import TrialResults, read_study

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
    now = time.time() if now is None else now
    study = read_study(folder)
    results, slots = study.trials, study.slots
    held = is_held(study.folder.path)
    trials = [_trial(study.folder, r, slots, held is not False) for r in results]
    reported = [t["last_report"] for t in trials if t["last_report"] is not None]
    silent_s = now - max(reported, default=study.folder.config.stat().st_mtime)
    is_over = all(trial["state"] in ("done", "failed") for trial in trials)
    runs = silent_s < SILENT_S if held is None else held
    return {
        "experiment": study.name,
        "state": "over" if is_over else "running" if runs else "stopped",
        "is_held": held,
        "silent_s": silent_s,
        "left_s": None if is_over or not runs else _left_s(results, trials, slots),
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


def _left_s(
    results: Sequence[TrialResults], trials: Sequence[dict[str, Any]], slots: int
) -> float | None:
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
    to_go = sum(slots - trial["slots"] for trial in trials if trial["state"] != "failed")
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
    for trial in found["trials"]:
        if trial["reason"] and trial["state"] != "done":
            line = f"{trial['strategy']} seed {trial['seed']}: {trial['reason']}"
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    counts = ", ".join(f"{found[state]} {state}" for state in STATES if found[state])
    silent = timedelta(seconds=round(found["silent_s"]))
    left = found["left_s"]
    end = {
        "over": "",
        "running": f"; {'?' if left is None else timedelta(seconds=round(left))} left",
        "stopped": f"; nobody is at work in it, go on with: mec-rllib resume {folder}"
        if found["is_held"] is False
        else f"; no report for {silent}: if nothing runs any more, mec-rllib resume {folder}",
    }[found["state"]]
    line = f"{found['experiment']}: {counts}{end}"
    console.print(line, highlight=False, soft_wrap=True, markup=False)
