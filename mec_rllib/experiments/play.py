"""An experiment from the first slot to the report: search, pretraining, trials."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from mec_rllib.errors import ConfigError
from mec_rllib.experiments.checkpoints import first_difference
from mec_rllib.experiments.cluster import Cluster, join
from mec_rllib.experiments.config import Experiment
from mec_rllib.experiments.locks import hold
from mec_rllib.experiments.progress import ExperimentProgress
from mec_rllib.experiments.results import CONFIG_FILE, read_config, write_config
from mec_rllib.experiments.resume import what_is_left
from mec_rllib.experiments.runner import NOTHING_YET, Stage, run_stage, stages
from mec_rllib.experiments.search import SEARCH, check_search, run_search, search_stage
from mec_rllib.experiments.strategies import resolve
from mec_rllib.experiments.traces import check_traces, read_traces, tell_traces, write_traces


class Player:
    """Plays an experiment in its folder.

    Args:
        out: the folder.
        cluster: where it runs.
        console: for progress and tables.
        warn: is told what was passed over.
    """

    def __init__(self, out: Path, cluster: Cluster, console: Console, warn: Callable[[str], None]):
        self._out, self._cluster, self._console, self._warn = out, cluster, console, warn

    def begin(self, experiment: Experiment) -> list[str]:
        """Plays a new experiment; returns a line per trial that failed.

        Raises:
            ConfigError: bad input; nothing is written then.
            KeyboardInterrupt: it was interrupted.
            RuntimeError: it cannot go on.
        """
        if self._out.exists() and (not self._out.is_dir() or any(self._out.iterdir())):
            raise ConfigError(
                f"--out {self._out}: is taken; name a folder that is new or empty, "
                "or go on with what is in it (--resume)"
            )
        plan = self._stages(experiment)
        self._join(experiment)
        if experiment.search is not None:
            check_search(experiment)
            _write_config(experiment, self._out / SEARCH)
        else:
            _write_configs(plan)
        return self._play(plan, go_on=False)

    def go_on(self, same: Experiment | None = None) -> list[str]:
        """Plays what is left of the experiment in the folder; see `begin`.

        Args:
            same: what it must be; None takes whatever is there.
        """
        searched = self._out / SEARCH
        begun = read_config(searched if (searched / CONFIG_FILE).is_file() else self._out)
        if same is not None:
            there, here = begun.model_dump(mode="json"), same.model_dump(mode="json")
            if difference := first_difference(there, here):
                key, was, wanted = difference
                raise ConfigError(
                    f"--out {self._out}: holds an experiment with {key} {was}, the config has "
                    f"{wanted}; go on as it began (mec-rllib resume {self._out}), or elsewhere"
                )
        found = read_config(self._out) if (self._out / CONFIG_FILE).is_file() else begun
        plan = self._stages(found)
        for stage in [search_stage(begun, self._out), *plan]:
            if (stage.folder / CONFIG_FILE).is_file():
                check_traces(resolve(stage.experiment), stage.folder)
        self._join(found)
        return self._play(plan, go_on=True)

    def _stages(self, experiment: Experiment) -> list[Stage]:
        read_traces((s.experiment.env for s in resolve(experiment)), self._warn)
        return stages(experiment, self._out)

    def _join(self, experiment: Experiment) -> None:
        """Looks at the cluster before anything is written, and says what is played."""
        self._cluster.check()
        if self._cluster.address is not None:
            line = join(self._cluster.address, experiment, self._out)
            self._console.print(line, highlight=False, soft_wrap=True)
        tell_traces(experiment, self._warn)

    def _play(self, plan: list[Stage], go_on: bool) -> list[str]:
        started, failures = time.monotonic(), list[str]()
        lock = hold(self._out)
        if not (self._out / CONFIG_FILE).is_file():
            plan = stages(self._search(plan[-1].experiment), self._out)
            _write_configs(plan)
        for stage in plan:
            failures = self._run(stage, go_on)
            if failures:  # what comes next builds on it
                break
        lock.close()
        # Pictures take a second to load: here, where no trial waits for it.
        from mec_rllib.experiments.report import report

        report(self._out, self._console)
        took = timedelta(seconds=round(time.monotonic() - started))
        self._console.print(f"took     {took}", highlight=False)
        return failures

    def _run(self, stage: Stage, go_on: bool) -> list[str]:
        left = what_is_left(stage, self._warn) if go_on else NOTHING_YET
        trials = stage.trials - len(left.finished)
        if stage.folder != self._out.absolute() or go_on:
            self._console.print(f"{stage.experiment.name} ({trials} trials)", highlight=False)
        behind = {
            name: reports[-1]["timesteps_total"]
            for name, reports in left.reports.items()
            if reports and name not in left.finished
        }
        with ExperimentProgress(self._console, trials, stage.experiment.slots, behind) as progress:
            return run_stage(stage, self._cluster, progress, left)

    def _search(self, experiment: Experiment) -> Experiment:
        """The experiment with the winner of its search in it."""
        search = experiment.search
        assert search is not None
        stage = search_stage(experiment, self._out)
        line = f"search: {search.samples} samples x {len(search.seeds)} seeds, {stage.folder}"
        self._console.print(line, highlight=False, soft_wrap=True)
        with ExperimentProgress(self._console, search.samples, search.slots) as progress:
            found = run_search(stage, self._cluster, progress)
        winner = found.strategies[-1]
        self._console.print(f"winner: {winner}", highlight=False, soft_wrap=True, markup=False)
        return found


def holds_experiment(folder: Path) -> bool:
    """Whether something of ours was begun in a folder."""
    return any((place / CONFIG_FILE).is_file() for place in (folder, folder / SEARCH))


def _write_configs(plan: list[Stage]) -> None:
    for stage in plan:
        _write_config(stage.experiment, stage.folder)


def _write_config(experiment: Experiment, folder: Path) -> None:
    write_traces(experiment, folder)  # first: where there is a config, the experiment has begun
    write_config(experiment, folder)
