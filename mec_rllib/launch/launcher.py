"""An experiment from the first slot to the report: search, pretraining, trials."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from mec_rllib.config.load import load
from mec_rllib.config.strategies import resolve
from mec_rllib.config.study import Study
from mec_rllib.errors import ConfigError
from mec_rllib.launch.cluster import Cluster, join
from mec_rllib.launch.reporting.progress import ExperimentProgress
from mec_rllib.launch.resume import what_is_left
from mec_rllib.launch.search.search import check_search, run_search
from mec_rllib.launch.stages import NOTHING_YET, Stage, run_stage, stages
from mec_rllib.launch.stopping import CleanStop
from mec_rllib.locks import hold
from mec_rllib.paths import command
from mec_rllib.results.folder import Folder
from mec_rllib.trials.begin import begin
from mec_rllib.trials.checkpoints import first_difference
from mec_rllib.trials.traces import check_traces, read_traces, tell_traces


class Launcher:
    """Plays an experiment in its folder.

    Args:
        out: the folder.
        cluster: where it runs.
        console: for progress and tables.
        warn: is told what was passed over.
        stop: listens for the user, over all that is played.
    """

    def __init__(
        self,
        out: Path,
        cluster: Cluster,
        console: Console,
        warn: Callable[[str], None],
        stop: CleanStop | None = None,
    ):
        self._out, self._folder = out, Folder(out.absolute())
        self._cluster, self._console, self._warn = cluster, console, warn
        self._stop = stop or CleanStop()

    def begin(self, study: Study) -> list[str]:
        """Plays a new experiment; returns a line per trial that failed.

        Raises:
            ConfigError: bad input; nothing is written then.
            KeyboardInterrupt: it was interrupted.
            RuntimeError: it cannot go on.
        """
        check_free(self._out)
        plan = self.plan(study)
        look_at_cluster(self._cluster, [study], self._out, self._console)
        for note in study.notes:
            self._warn(note)
        tell_traces(study, self._warn)
        self.write(plan)
        return self.run(plan, go_on=False)

    def go_on(self, same: Study | None = None) -> list[str]:
        """Plays what is left of the experiment in the folder; see `begin`.

        Args:
            same: what it must be; None takes whatever is there.
        """
        plan = self.plan_of_rest(same)
        look_at_cluster(self._cluster, [plan[-1].study], self._out, self._console)
        tell_traces(plan[-1].study, self._warn)
        return self.run(plan, go_on=True)

    def plan(self, study: Study) -> list[Stage]:
        """What has to run for a new experiment.

        Raises:
            ConfigError: whatever would fail at the start of a trial.
        """
        plan = self._stages(study)
        if study.experiment.search is not None:
            check_search(study)
        return plan

    def plan_of_rest(self, same: Study | None = None) -> list[Stage]:
        """What has to run, or has run, for the experiment in the folder; see `go_on`."""
        Folder(self._out).check_begun()
        searched = self._folder.search.config
        begun = load(searched if searched.is_file() else self._folder.config)
        if same is not None:
            there, here = begun.model_dump(mode="json"), same.experiment.model_dump(mode="json")
            check_same(there, here, self._out)
        found = load(self._folder.config) if self._folder.config.is_file() else begun
        study = resolve(found)
        plan = self._stages(study)
        for stage in [Stage(resolve(begun), self._folder.search, None), *plan]:
            if stage.folder.config.is_file():
                check_traces(stage.study.strategies, stage.folder)
        return plan

    def _stages(self, study: Study) -> list[Stage]:
        read_traces((strategy.experiment.env for strategy in study.strategies), self._warn)
        return stages(study, self._folder)

    def write(self, plan: list[Stage]) -> None:
        """Begins the experiment's folder."""
        if plan[-1].study.experiment.search is not None:
            begin(plan[-1].study, self._folder.search)
        else:
            _write_all(plan)

    def run(self, plan: list[Stage], go_on: bool) -> list[str]:
        """Plays what was planned and written; see `begin`."""
        started, failures = time.monotonic(), list[str]()
        with hold(self._out):
            if not self._folder.config.is_file():
                plan = stages(self._search(plan[-1].study), self._folder)
                _write_all(plan)
            for stage in plan:
                self._stop.check()
                failures = self._run(stage, go_on)
                if failures:  # what comes next builds on it
                    break
        # Pictures take a second to load: here, where no trial waits for it.
        from mec_rllib.results.report import report

        report(self._out, self._console)
        took = timedelta(seconds=round(time.monotonic() - started))
        self._console.print(f"took     {took}", highlight=False)
        return failures

    def _run(self, stage: Stage, go_on: bool) -> list[str]:
        left = what_is_left(stage, self._warn) if go_on else NOTHING_YET
        trials = stage.trials - len(left.finished)
        if stage.folder.path != self._folder.path or go_on:
            self._console.print(f"{stage.study.experiment.name} ({trials} trials)", highlight=False)
        behind = {
            name: reports[-1]["timesteps_total"]
            for name, reports in left.reports.items()
            if reports and name not in left.finished
        }
        with ExperimentProgress(
            self._console, trials, stage.study.experiment.slots, behind
        ) as progress:
            return run_stage(stage, self._cluster, progress, self._stop, left)

    def _search(self, study: Study) -> Study:
        """The study with the winner of its search in it."""
        search = study.experiment.search
        assert search is not None
        stage = Stage(study, self._folder.search, None)
        line = f"search: {search.samples} samples x {len(search.seeds)} seeds, {stage.folder.path}"
        self._console.print(line, highlight=False, soft_wrap=True)
        with ExperimentProgress(self._console, search.samples, search.slots) as progress:
            found, note = run_search(stage, self._cluster, progress)
        winner = found.experiment.strategies[-1]
        for line in (f"winner: {winner}", *([note] if note else [])):
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)
        return found


def _write_all(plan: list[Stage]) -> None:
    for stage in plan:
        begin(stage.study, stage.folder)


def check_free(out: Path) -> None:
    """Raises ConfigError if there is something where a new run is to go."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"--out {out}: is taken; name a folder that is new or empty, "
            "or go on with what is in it (--resume)"
        )


def check_same(begun: Mapping[str, Any], wanted: Mapping[str, Any], out: Path) -> None:
    """Raises ConfigError if what was begun in a folder is not what is wanted now."""
    if difference := first_difference(begun, wanted):
        key, was, now = difference
        raise ConfigError(
            f"--out {out}: holds an experiment with {key} {was}, the config has "
            f"{now}; go on as it began ({command('mec-rllib', 'resume', out)}), or elsewhere"
        )


def look_at_cluster(
    cluster: Cluster, studies: Sequence[Study], out: Path, console: Console
) -> None:
    """Makes sure that the cluster can play all of this, before anything is written."""
    cluster.check()
    if cluster.address is not None:
        line = join(cluster.address, studies, out)
        console.print(line, highlight=False, soft_wrap=True)
