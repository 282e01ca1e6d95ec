"""The files that Tune logs reports into, taken back to a checkpoint before a trial goes on.

`result.json` is cut to the reports that the checkpoint knows; the tables and TensorBoard events
are written anew from it, so no slot is in them twice and no curve jumps back.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, LoggerCallback

from mec_rllib.errors import ConfigError
from mec_rllib.files import write_whole
from mec_rllib.launch.restarts import RestartPoint, as_reported, restart_point
from mec_rllib.results.folder import TrialFolder
from mec_rllib.results.status import FINAL_FAILURE
from mec_rllib.results.stored import read_reports

Reports = list[dict[str, Any]]


def take_back(trial: TrialFolder, point: RestartPoint | None) -> Reports:
    """Takes the logs of a trial back to where it goes on (None: to the start).

    A trial that had come to its end makes its last report again: that one is not kept.

    Returns:
        The reports that stay.
    """
    reports: Reports = []
    if point is not None:
        slots = point.report["timesteps_total"]
        stays = slots - 1 if point.is_over else slots
        reports = [r for r in read_reports(trial.results) if r["timesteps_total"] <= stays]
        is_missing = not reports or reports[-1]["timesteps_total"] < slots
        if is_missing and not point.is_over:  # the driver died before it
            reports.append(point.report | {"training_iteration": len(reports) + 1})
    lines = "".join(json.dumps(report) + "\n" for report in reports)
    if trial.path.is_dir():
        write_whole(trial.results, lines)
    for path in trial.written_anew:
        path.unlink()
    for other in trial.checkpoints:  # passed over: damaged, or of slots that are played anew
        if point is None or other > point.checkpoint:
            shutil.rmtree(other)
    return reports


class ReportFiles(tune.Callback):
    """Writes reports into tables and event files, at once and into the trial's own folder.

    Tune itself logs into a folder of its session and copies that now and then: what it has not
    copied is lost with the driver.

    Args:
        folder: of the experiment.
        name: of a Tune trial, and of its folder.
        earlier: what trials reported before they were resumed; goes into the files written anew.
        board: writes TensorBoard's files.
        of: whose the checkpoints of a Tune trial are (see `restart_point`).
    """

    def __init__(
        self,
        folder: Path,
        name: Callable[[Any], str],
        earlier: Mapping[str, Reports],
        board: LoggerCallback,
        of: Callable[[Any], Mapping[str, Any]],
    ):
        self._folder, self._name, self._earlier = folder, name, dict(earlier)
        self._of = of
        self._tables: list[LoggerCallback] = [CSVLoggerCallback(), board]
        self._loggers: list[LoggerCallback] = [JsonLoggerCallback(), *self._tables]
        self._places: dict[str, _Place] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its callbacks with the experiment; we do not go on from there."""
        return {}

    def on_trial_start(self, iteration, trials, trial, **info) -> None:
        """Opens the files, and fills in what is known."""
        if trial.trial_id in self._places:
            return
        name = self._name(trial)
        place = self._places[trial.trial_id] = _Place(trial, self._folder / name)
        for logger in self._loggers:
            logger.log_trial_start(place)
        for report in self._earlier.pop(name, []):
            for logger in self._tables:
                logger.log_trial_result(iteration, place, as_reported(report))

    def on_trial_result(self, iteration, trials, trial, result, **info) -> None:
        """A report, or the error that ended the trial."""
        if "failed" in result:
            self._write_failure(trial, result)
            return
        for logger in self._loggers:
            logger.log_trial_result(iteration, self._places[trial.trial_id], result)

    def on_trial_recover(self, iteration, trials, trial, **info) -> None:
        """It starts again from its newest checkpoint: the files go back there, too."""
        self._close(trial, failed=True)
        folder = TrialFolder(self._folder / self._name(trial))
        try:
            point = restart_point(folder, self._of(trial))
        except ConfigError:  # the trial looks itself, and ends with this error
            return
        self._earlier[folder.name] = take_back(folder, point)

    def on_trial_complete(self, iteration, trials, trial, **info) -> None:
        """Closes the files."""
        self._close(trial, failed=False)

    def on_trial_error(self, iteration, trials, trial, **info) -> None:
        """Closes the files."""
        self._close(trial, failed=True)

    def _write_failure(self, trial: Any, result: Mapping[str, Any]) -> None:
        """As Tune writes other failures: it copies its own file over ours at the end."""
        own = Path(trial.local_path) / TrialFolder(self._folder).errors.name
        before = own.read_text(encoding="utf-8") if own.is_file() else ""
        now = datetime.now().isoformat(" ", "seconds")
        text = f"{FINAL_FAILURE} (occurred at {now})\n{result['traceback']}\n{result['failed']}\n"
        own.parent.mkdir(parents=True, exist_ok=True)
        write_whole(own, before + text)
        write_whole(TrialFolder(self._folder / self._name(trial)).errors, before + text)

    def _close(self, trial: Any, failed: bool) -> None:
        if place := self._places.pop(trial.trial_id, None):
            for logger in self._loggers:
                logger.log_trial_end(place, failed)


class _Place:
    """A Tune trial whose loggers write into a folder of our choice."""

    def __init__(self, trial: Any, folder: Path):
        self._trial, self.local_path = trial, str(folder)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def init_local_path(self) -> None:
        """Makes the folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)
