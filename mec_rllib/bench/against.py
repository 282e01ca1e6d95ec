"""This code beside another revision of it, on the same machine at the same time."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import mec_rllib
from mec_rllib.bench.turns import Contestant, take_turns
from mec_rllib.bench.worker import ONE_THREAD
from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest


class Own(NamedTuple):
    """A case: the same slots for both, so that a measurement is the same work."""

    name: str
    gate: str = "ats"
    agent: str = "paper"
    servers: int = 1
    slots: int = 20_000  # of all servers together
    warm_up: int = 4_000  # likewise; ats begins after 500 slots of each server
    also_in_python: bool = False  # this code once more, asking a Python gate slot by slot


CASES = (
    Own("ats, N = 1", also_in_python=True),
    Own("pts, N = 1", gate="pts"),
    Own("never, N = 1", gate="never", slots=40_000),
    Own("ats, afterstates, N = 1", agent="replay", slots=10_000),
    Own("ats, N = 64", servers=64, slots=256_000, warm_up=64_000),
)
PASSED_ON = ("gate", "agent", "servers", "slots", "warm_up")  # to `revision.prepare`
ROOT = Path(mec_rllib.__file__).resolve().parents[1]
OURS, IN_PYTHON = "this code", "this code, slot by slot"


class Code(NamedTuple):
    """A checkout, and what a table calls it."""

    folder: Path
    name: str


@contextmanager
def checked_out(revision: str) -> Iterator[Code]:
    """A revision of this code in a temporary git worktree, which is removed in the end.

    Raises:
        ConfigError: this code is no git checkout, or it has no such revision.
    """
    commit = _commit(revision)
    folder = Path(tempfile.mkdtemp(prefix="mec-rllib-bench-")).resolve()
    code = folder / commit[:7]
    try:
        # Without hooks: they are for people who work there.
        added = ("-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", "--quiet")
        if _git(*added, str(code), commit) is None:
            raise ConfigError(f"--against {revision}: git cannot check it out into {folder}")
        yield Code(code, _named(revision, commit))
    finally:
        _git("worktree", "remove", "--force", str(code))
        shutil.rmtree(folder, ignore_errors=True)


def _commit(revision: str) -> str:
    """The hash of a revision of the checkout that this code is run from."""
    where = _git("rev-parse", "--show-toplevel")
    if where is None or Path(where) != ROOT:
        raise ConfigError(f"--against {revision}: needs a git checkout, and {ROOT} is none")
    commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        tags = (_git("tag") or "").split()
        hint = nearest(revision, tags) if tags else "see git log"
        raise ConfigError(f"--against {revision}: {ROOT} has no such revision; {hint}")
    return commit


def _named(revision: str, commit: str) -> str:
    return revision if commit.startswith(revision) else f"{revision} ({commit[:7]})"


def _git(*arguments: str) -> str | None:
    """What git says, None if it fails or is not there."""
    # In a hook of git's they name the repository of the hook.
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env)  # noqa: S603
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def measure_against(
    revision: str, rounds: int, say: Callable[[str], None], show: Callable[[str], None]
) -> dict[str, Any]:
    """All cases, with both codes in turns; `show` is given a line for each that is done.

    Raises:
        ConfigError: see `checked_out`.
    """
    entries: list[dict[str, Any]] = []
    with checked_out(revision) as theirs:
        for case in CASES:
            found = entries_of(case, theirs, rounds, say)
            show(line_of(found))
            entries += found
        return {"revision": theirs.name, "cases": entries}


def entries_of(
    case: Own, theirs: Code, rounds: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One entry for each contestant: its rounds and how many times faster than the revision."""
    contestants = [_contestant(case, Code(ROOT, OURS))]
    if case.also_in_python:
        contestants.append(_contestant(case, Code(ROOT, IN_PYTHON), in_python=True))
    contestants.append(_contestant(case, theirs))
    turns = take_turns(contestants, rounds, lambda line: say(f"{case.name}: {line}"))
    entries = []
    for name, turn in turns.items():
        entry = {"case": case.name, "contestant": name} | turn.figures()
        if turn.skipped is None:
            entry["us_per_slot"] = [work.seconds / work.slots * 1e6 for work in turn.works]
        entries.append(entry)
    before = entries[-1].get("us_per_slot", [])
    for entry in entries[:-1]:
        pairs = zip(before, entry.get("us_per_slot", []), strict=False)  # one may be skipped
        entry["times_faster"] = [old / new for old, new in pairs]
    return entries


def _contestant(case: Own, code: Code, in_python: bool = False) -> Contestant:
    script = Path(__file__).with_name("revision.py")
    arguments = {key: getattr(case, key) for key in PASSED_ON} | {"in_python": in_python}
    return Contestant(
        code.name,
        (sys.executable, "-P", str(script), str(code.folder), json.dumps(arguments)),
        os.environ | ONE_THREAD | {"PYTHONPATH": str(code.folder)},
    )


def line_of(entries: list[dict[str, Any]]) -> str:
    """One case: who took how long for a slot."""
    times = [
        f"{e['contestant']} "
        + ("skipped" if "skipped" in e else f"{np.median(e['us_per_slot']):.1f} us/slot")
        for e in entries
    ]
    return f"{entries[0]['case']}: {', '.join(times)}"
