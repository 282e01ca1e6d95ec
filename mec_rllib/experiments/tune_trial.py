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

from mec_rllib.experiments.checkpoints import (
    KEPT,
    DamagedCheckpointError,
    check_checkpoint,
    checkpoints,
    write_checkpoint,
)
from mec_rllib.experiments.config import build
from mec_rllib.experiments.locks import hold
from mec_rllib.experiments.results import CONFIG_FILE
from mec_rllib.experiments.strategies import Strategy, resolve
from mec_rllib.experiments.traces import check_traces, sha256_of
from mec_rllib.experiments.trial import SchedulerRun, StrategyRun, Trial

CHECKPOINT_EVERY_REPORTS = 10
CHECKPOINT_EVERY_S = 60.0  # long reports leave one each
REPORT_FILE = "report.json"  # in a checkpoint: the last report, in case nobody wrote it down
WAIT_FOR_LOCK_S = 240.0  # a host that was cut off ends its processes after a minute or two


class CheckpointedTrial(tune.Trainable):
    """A trial that writes checkpoints into its folder and goes on from one."""

    _trials: list[Trial]  # that play side by side

    def begin(self, folder: Path, of: Mapping[str, Any], checkpoint: Path | None) -> None:
        """Takes over the folder once `_trials` are there, and goes on from the checkpoint."""
        folder.mkdir(parents=True, exist_ok=True)
        # A trial of a driver that was killed may live on for a moment.
        self._lock = hold(folder, WAIT_FOR_LOCK_S)
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
        experiment: dict[str, Any],
        folder: Path,
        pretrained: Mapping[int, Path],
        checkpoints: Mapping[str, Path],
    ) -> None:
        """Starts the strategy; the actor may be reused for another one."""
        self._experiment_folder, self._pretrained = folder, pretrained
        self._checkpoints = checkpoints
        self._strategies = {s.label: s for s in resolve(build(experiment, "experiment"))}
        self._node = ray.util.get_node_ip_address()
        if not (folder / CONFIG_FILE).is_file():  # a node that joined after the check at the start
            raise RuntimeError(
                f"node {self._node} does not see {folder}: it must be shared storage"
            )
        self.start(config)

    def start(self, config: dict[str, Any]) -> None:
        """Starts the strategy with the seed, or goes on with them."""
        strategy, seed = self._strategies[config["strategy"]], config["seed"]
        check_traces([strategy], self._experiment_folder)
        strategy_run = start_run(strategy, seed, self._pretrained.get(seed))
        trial = Trial(strategy.label, seed, strategy.experiment, strategy_run, self._node)
        self._trials = [trial]
        folder = self._experiment_folder / trial_name(strategy.label, seed)
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


def start_run(strategy: Strategy, seed: int, pretrained: Path | None = None) -> StrategyRun:
    """The strategy at slot 0; `pretrained` is a checkpoint whose policy it starts from."""
    if strategy.gate is not None:
        # Torch and RLlib take seconds to import: in the trial, not in the driver that waits for it.
        from mec_rllib.experiments.learner_run import LearnerRun

        return LearnerRun(strategy, seed, pretrained)
    runners = strategy.experiment.runners
    batch = strategy.experiment.env.build_world(max(runners.num, 1) * runners.servers, seed)
    return SchedulerRun(strategy.build_scheduler(seed), batch)


def restart_point(folder: Path) -> Path | None:
    """Where a trial goes on whose process or node was lost: its newest checkpoint that is whole.

    None if there is none, or if it holds the policy only: the trial had come to its end, but
    nobody heard of it.
    """
    for path in checkpoints(folder):
        try:
            check_checkpoint(path)
        except DamagedCheckpointError:
            continue
        report = json.loads((path / REPORT_FILE).read_text(encoding="utf-8"))
        return None if "row" in report else path
    return None


def trial_name(label: str, seed: int) -> str:
    """Name of a trial, and of its folder."""
    return f"{label}_seed{seed}"


def origin(strategy: Strategy, seed: int) -> dict[str, Any]:
    """Whose a checkpoint is: what must be equal in a run that goes on from it."""
    # Others may join or leave an experiment without a change of this trial.
    shared = {"name", "strategies", "seeds", "search"}
    kind: Any = strategy.gate or strategy.scheduler
    return {
        "strategy": strategy.label,
        "seed": seed,
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "args": json.loads(json.dumps(dict(strategy.args or {}), default=str)),
        "config": strategy.experiment.model_dump(mode="json", exclude=shared),
        "trace": sha256_of(strategy.experiment.env),
    }
