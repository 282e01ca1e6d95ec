"""Trials as Ray Tune runs them, and the checkpoints that they keep themselves.

Tune's own checkpoints are not used: ours are whole or not there, and carry a manifest.
"""

import json
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune

from mec_rllib.config.study import Study
from mec_rllib.locks import hold
from mec_rllib.results.folder import Folder, TrialFolder
from mec_rllib.trials.checkpoints import (
    KEPT,
    DamagedCheckpointError,
    check_checkpoint,
    write_checkpoint,
)
from mec_rllib.trials.players import start_run
from mec_rllib.trials.traces import check_traces
from mec_rllib.trials.trial import Trial, origin

CHECKPOINT_EVERY_REPORTS = 10
CHECKPOINT_EVERY_S = 60.0  # long reports leave one each
REPORT_FILE = "report.json"  # in a checkpoint: the last report, in case nobody wrote it down
WAIT_FOR_LOCK_S = 240.0  # a host that was cut off ends its processes after a minute or two


class CheckpointedTrial(tune.Trainable):
    """A trial that writes checkpoints into its folder and goes on from one."""

    _trials: list[Trial]  # that play side by side

    def begin(self, folder: TrialFolder, of: Mapping[str, Any], checkpoint: Path | None) -> None:
        """Takes over the folder once `_trials` are there, and goes on from the checkpoint."""
        folder.path.mkdir(parents=True, exist_ok=True)
        # A trial of a driver that was killed may live on for a moment.
        self._lock = hold(folder.path, WAIT_FOR_LOCK_S)
        self._folder, self._of = folder, of
        self._report: dict[str, Any] | None = None
        if checkpoint is not None:
            self.load_trials(checkpoint)
        self._written, self._written_at = self.reports, time.monotonic()
        self._is_whole = True  # not in the middle of a report
        self._count_on()

    @abstractmethod
    def start(self, config: dict[str, Any]) -> None:
        """Builds `_trials` for the config and begins with them."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes over another trial: starting a process costs more than many a trial."""
        self.cleanup()
        self.start(new_config)
        return True

    @property
    def reports(self) -> int:
        """Reports so far."""
        return self._trials[0].reports

    @property
    def is_done(self) -> bool:
        """Whether all slots are played."""
        return all(trial.is_done for trial in self._trials)

    @abstractmethod
    def play(self) -> dict[str, Any]:
        """Plays one report of every trial."""

    @abstractmethod
    def save_trials(self, folder: Path) -> None:
        """Writes the trials into a checkpoint."""

    @abstractmethod
    def load_trials(self, folder: Path) -> None:
        """Goes on from what `save_trials` wrote."""

    def step(self) -> dict[str, Any]:
        """One report; now and then it leaves a checkpoint."""
        self._is_whole = False
        self._report = self.play()
        self._is_whole = True
        waited = time.monotonic() - self._written_at
        if self.is_done:
            self.write_checkpoint(keep=1)
        elif self.reports % CHECKPOINT_EVERY_REPORTS == 0 or waited > CHECKPOINT_EVERY_S:
            self.write_checkpoint()
        return self._report

    def write_checkpoint(self, keep: int = KEPT) -> None:
        """Writes a checkpoint of this moment."""

        def save(folder: Path) -> None:
            (folder / REPORT_FILE).write_text(json.dumps(self._report), encoding="utf-8")
            self.save_trials(folder)

        write_checkpoint(self._folder, self.reports, save, self._of, keep)
        self._written, self._written_at = self.reports, time.monotonic()

    def cleanup(self) -> None:
        """Ends the trials and lets go of the folder."""
        for trial in self._trials:
            trial.run.stop()
        self._lock.close()

    def reset(self, *args: Any, **kwargs: Any) -> bool:
        """Tune's reset; it counts from 0 otherwise."""
        is_reset = super().reset(*args, **kwargs)
        self._count_on()
        return is_reset

    def _count_on(self) -> None:
        self._iteration = self.reports
        self._time_total = self._trials[0].wall_s if self.reports else 0.0


class StrategyTrial(CheckpointedTrial):
    """{"strategy": label, "seed": s} of an experiment."""

    def setup(
        self,
        config: dict[str, Any],
        study: Study,
        folder: Folder,
        pretrained: Mapping[int, Path],
        checkpoints: Mapping[str, Path],
    ) -> None:
        """Starts the strategy; the actor may be reused for another one."""
        self._study, self._experiment_folder, self._pretrained = study, folder, pretrained
        self._checkpoints = checkpoints
        self._node = ray.util.get_node_ip_address()
        if not folder.is_begun:  # a node that joined after the check at the start
            raise RuntimeError(
                f"node {self._node} does not see {folder.path}: it must be shared storage"
            )
        self.start(config)

    def start(self, config: dict[str, Any]) -> None:
        """Starts the strategy with the seed, or goes on with them."""
        strategy, seed = self._study.by_label[config["strategy"]], config["seed"]
        check_traces([strategy], self._experiment_folder)
        strategy_run = start_run(strategy, seed, self._pretrained.get(seed))
        trial = Trial(strategy.label, seed, strategy.experiment, strategy_run, self._node)
        self._trials = [trial]
        folder = self._experiment_folder.trial(strategy.label, seed)
        # Tune starts a trial again after its node was lost: what lies in its folder is newer.
        checkpoint = restart_point(folder) or self._checkpoints.get(folder.name)
        if checkpoint is not None and not checkpoint.is_dir():
            checkpoint = None  # replaced by that of its end, of which nobody heard
        self.begin(folder, origin(strategy, seed), checkpoint)

    def play(self) -> dict[str, Any]:
        """One report; the last one carries the row."""
        return self._trials[0].play_report()

    def save_trials(self, folder: Path) -> None:
        """Everything, or of a finished trial its policy."""
        self._trials[0].save(folder)

    def load_trials(self, folder: Path) -> None:
        """Goes on."""
        self._trials[0].restore(folder)

    def cleanup(self) -> None:
        """Ends the strategy; if it has not come to its end, with a checkpoint."""
        if self._is_whole and not self.is_done and self.reports > self._written:
            self.write_checkpoint()
        super().cleanup()


def restart_point(trial: TrialFolder) -> Path | None:
    """Where a trial goes on whose process or node was lost: its newest intact checkpoint.

    None if there is none, or if it holds the policy only: the trial had come to its end, but
    nobody heard of it.
    """
    for path in trial.checkpoints:
        try:
            check_checkpoint(path)
        except DamagedCheckpointError:
            continue
        report = json.loads((path / REPORT_FILE).read_text(encoding="utf-8"))
        return None if "row" in report else path
    return None
