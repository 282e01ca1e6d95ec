"""Plays what is published: whatever has no data file, or a stale one."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from mec_rllib.files import write_json
from mec_rllib.published.data import DataFile, asked_anew
from mec_rllib.published.identity import digest, made_of, stale_by
from mec_rllib.published.reuse import take_over
from mec_rllib.published.units import Page, Unit
from mec_rllib.results.folder import Folder
from mec_rllib.results.stored import read_study
from mec_rllib.results.summary import PACKAGES

Tell = Callable[[str], None]


def play_pages(
    pages: Iterable[Page], data: Path, runs: Path, cores: int | None, tell: Tell
) -> list[str]:
    """Plays every unit whose data are missing or stale, and writes its data file.

    What was interrupted goes on from where it stopped: a folder below `runs` belongs to one config,
    and NAME.json beside it says to which.

    Args:
        pages: whose units.
        data: folder of the data files.
        runs: folder for what the experiments write.
        cores: how many trials run at once; None: one a core.
        tell: is told what is done, and why.

    Returns:
        A line per trial or experiment that failed.
    """
    failures = []
    for unit in (unit for page in pages for unit in page.units):
        path = unit.data_in(data)
        reason = why_play(DataFile.read(path), unit)
        if reason is None:
            tell(f"{unit.name}: is there")
        elif not unit.is_here:
            tell(f"{unit.name}: not played here ({unit.recording} is not there), left as it is")
        else:
            tell(f"{unit.name}: is played ({reason})")
            failures += [f"{unit.name}: {line}" for line in _play(unit, path, runs, cores, tell)]
    return failures


def why_play(found: DataFile | None, unit: Unit) -> str | None:
    """Why a unit has to be played; None: its data are there and fresh."""
    if found is None:
        return "no data"
    stale_by = found.stale_by(unit.study)
    return f"stale: {stale_by}" if stale_by else None


def _play(unit: Unit, path: Path, runs: Path, cores: int | None, tell: Tell) -> list[str]:
    folder = _folder_of(unit, runs)
    commit = commit_here()
    if not folder.is_begun:
        taken = take_over(unit.study, folder, runs)
        if taken:
            tell(f"{unit.name}: {taken} of {len(unit.study.trials)} trials are there already")
    try:
        failures = _play_rest(unit, folder, cores)
    except RuntimeError as error:  # the others can still be played
        return [str(error)]
    if not failures:
        played = asked_anew(read_study(folder.path), unit.study)
        DataFile.of(unit.study, played, origin(commit, searched(folder))).write(path)
    return failures


def _folder_of(unit: Unit, runs: Path) -> Folder:
    """Where the unit was begun, or will be: what has changed since is played in another folder."""
    for path in sorted(runs.glob(f"{unit.name}-*.json")):
        begun = json.loads(path.read_text(encoding="utf-8"))
        if stale_by(begun, unit.study) is None:
            return Folder(path.with_suffix(""))
    name = f"{unit.name}-{digest(unit.study)}"
    runs.mkdir(parents=True, exist_ok=True)
    write_json(runs / f"{name}.json", made_of(unit.study))
    return Folder(runs / name)


def _play_rest(unit: Unit, folder: Folder, cores: int | None) -> list[str]:
    """All that is not finished: on one core in this process, where nothing needs Tune."""
    experiment = unit.study.experiment
    if cores == 1 and experiment.search is None and experiment.pretrain is None:
        from mec_rllib.trials.here import play_here

        play_here(unit.study, folder)
        return []
    from mec_rllib.launch import listen_here_only

    listen_here_only()  # before Ray is imported
    from mec_rllib.launch.cluster import Cluster
    from mec_rllib.launch.launcher import Launcher

    launcher = Launcher(
        folder.path,
        Cluster(cores=cores),
        Console(markup=False),
        lambda line: print(line, file=sys.stderr),
    )
    return launcher.go_on() if folder.is_begun else launcher.begin(unit.study)


def origin(commit: str | None, search: dict[str, Any] | None) -> dict[str, Any]:
    """Who plays: code, versions and kind of host, by no name."""
    return {
        "commit": commit,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        "host": {"cpu": _cpu(), "cores": os.cpu_count()},
        "searched": search,
    }


def searched(folder: Folder) -> dict[str, Any] | None:
    """What a search came to: how many samples, and the values of the best."""
    result = folder.search.search_result
    if not result.is_file():
        return None
    found = json.loads(result.read_text(encoding="utf-8"))
    return {"samples": len(found["tried"]), "winner": found["winner"]["values"]}


def commit_here() -> str | None:
    """The commit of this code; with a + where it was changed since; None: nobody knows."""
    root = Path(__file__).parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None

    def ask(*words: str) -> str:
        done = subprocess.run(  # noqa: S603 words of ours
            [git, "-C", str(root), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = ask("status", "--porcelain", "--", "mec_rllib", "callbacks", "tune_configs")
    head = ask("rev-parse", "--short=12", "HEAD")
    return f"{head}+" if changed and head else head or None


def _cpu() -> str:
    """The model of the processor."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
