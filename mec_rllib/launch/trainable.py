"""Trials as Ray Tune runs them, and the checkpoints that they keep themselves.

Tune's own checkpoints are not used: ours are whole or not there, and carry a manifest.
"""

import json
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune

from mec_rllib.config.study import Study
from mec_rllib.errors import ConfigError, LostError
from mec_rllib.launch.restarts import REPORT_FILE, as_reported, may_mend, restart_point
from mec_rllib.locks import Lock, hold
from mec_rllib.results.folder import Folder, TrialFolder
from mec_rllib.trials.checkpoints import KEPT, write_checkpoint
from mec_rllib.trials.runs import start_run
from mec_rllib.trials.traces import check_traces
from mec_rllib.trials.trial import Trial, origin
from mec_rllib.user_code import in_words

CHECKPOINT_EVERY_REPORTS = 10
CHECKPOINT_EVERY_S = 60.0  # long reports leave one each
WAIT_FOR_LOCK_S = 240.0  # a host that was cut off ends its processes after a minute or two


class CheckpointedTrial(tune.Trainable):
    """A trial that writes checkpoints into its folder and goes on from one."""

    _trials: list[Trial] = []  # noqa: RUF012 that play side by side; never changed in place
    _lock: Lock | None = None
    _over: dict[str, Any] | None = None  # the last report of a trial whose end nobody heard of
    _reported = 0  # reports that were made before
    _is_whole = True  # not in the middle of a report

    def begin(
        self, folder: TrialFolder, of: Mapping[str, Any], build: Callable[[], list[Trial]]
    ) -> None:
        """Takes over the folder, and goes on from the checkpoint in it.

        Args:
            folder: of the trial; made, if it is not there.
            of: whose checkpoints they are.
            build: the trials, at slot 0.

        Raises:
            LostError: a process of another driver holds the folder.
            CheckpointError: see `restart_point`.
        """
        folder.path.mkdir(parents=True, exist_ok=True)
        try:  # a trial of a driver that was killed may live on for a moment
            self._lock = hold(folder.path, WAIT_FOR_LOCK_S)
        except ConfigError as error:
            raise LostError(str(error)) from None
        self._folder, self._of = folder, of
        self._report: dict[str, Any] | None = None
        point = restart_point(folder, of)
        if point is not None and point.is_over:
            self._over, self._reported = as_reported(point.report), point.number
        else:
            self._trials = build()
            if point is not None:
                self.load_trials(point.checkpoint)
        self._written, self._written_at = self.reports, time.monotonic()
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
        return self._trials[0].reports if self._trials else self._reported

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
        if self._over is not None:
            return self._over
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
        trials, lock = self._trials, self._lock
        self._trials, self._lock, self._over, self._reported = [], None, None, 0
        self._is_whole = True
        for trial in trials:
            trial.run.stop()
        if lock is not None:
            lock.close()

    def reset(self, *args: Any, **kwargs: Any) -> bool:
        """Tune's reset; it counts from 0 otherwise."""
        is_reset = super().reset(*args, **kwargs)
        self._count_on()
        return is_reset

    def _count_on(self) -> None:
        self._iteration = self.reports if self._over is None else self.reports - 1
        self._time_total = self._trials[0].wall_s if self._trials and self.reports else 0.0


class StrategyTrial(CheckpointedTrial):
    """{"strategy": label, "seed": s} of an experiment.

    An error that would come again is its last report: Tune starts a trial again after any other.
    """

    _error: Exception | None = None  # at the start

    def setup(
        self,
        config: dict[str, Any],
        study: Study,
        folder: Folder,
        pretrained: Mapping[int, Path],
    ) -> None:
        """Starts the strategy; the actor may be reused for another one."""
        self._study, self._experiment_folder, self._pretrained = study, folder, pretrained
        self._node = ray.util.get_node_ip_address()
        if not folder.is_begun:  # a node that joined after the check at the start
            raise LostError(
                f"node {self._node} does not see {folder.path}: it must be shared storage"
            )
        self.start(config)

    def start(self, config: dict[str, Any]) -> None:
        """Starts the strategy with the seed, or goes on with them."""
        strategy, seed = self._study.by_label[config["strategy"]], config["seed"]

        def build() -> list[Trial]:
            check_traces([strategy], self._experiment_folder)
            run = start_run(strategy, seed, self._pretrained.get(seed))
            return [Trial(strategy.label, seed, strategy.experiment, run, self._node)]

        folder, self._error = self._experiment_folder.trial(strategy.label, seed), None
        try:
            self.begin(folder, origin(strategy, seed), build)
        except Exception as error:
            if may_mend(error):
                raise
            self._error = error  # a process that fails to start would be started again

    def step(self) -> dict[str, Any]:
        """One report; an error that would come again ends the trial."""
        try:
            if self._error is not None:
                raise self._error
            return super().step()
        except Exception as error:
            if may_mend(error):
                raise
            text = "".join(traceback.format_exception(error))
            return {"failed": in_words(error), "traceback": text, "done": True}

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
