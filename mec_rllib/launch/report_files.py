"""The files that Tune logs reports into, taken back to a checkpoint before a trial goes on.

`result.json` is cut to the reports that the checkpoint knows; the tables and TensorBoard events
are written anew from it, so no slot is in them twice and no curve jumps back.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, LoggerCallback

from mec_rllib.files import write_whole
from mec_rllib.launch.trainable import REPORT_FILE, restart_point
from mec_rllib.results.folder import TrialFolder
from mec_rllib.results.stored import read_reports

Reports = list[dict[str, Any]]


def take_back(trial: TrialFolder, checkpoint: Path | None) -> Reports:
    """Takes the logs of a trial back to its checkpoint (None: to the start).

    Returns:
        The reports that stay.
    """
    reports: Reports = []
    if checkpoint is not None:
        last = json.loads((checkpoint / REPORT_FILE).read_text(encoding="utf-8"))
        slots = last["timesteps_total"]
        reports = [r for r in read_reports(trial.results) if r["timesteps_total"] <= slots]
        if not reports or reports[-1]["timesteps_total"] < slots:  # the driver died before it
            reports.append(last | {"training_iteration": len(reports) + 1})
    lines = "".join(json.dumps(report) + "\n" for report in reports)
    if trial.path.is_dir():
        write_whole(trial.results, lines)
    if reports and "row" in reports[-1]:
        return reports  # nothing will be written anew
    for path in trial.written_anew:
        path.unlink()
    for other in trial.checkpoints:  # passed over: damaged, or of slots that are played anew
        if checkpoint is None or other > checkpoint:
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
    """

    def __init__(
        self,
        folder: Path,
        name: Callable[[Any], str],
        earlier: Mapping[str, Reports],
        board: LoggerCallback,
    ):
        self._folder, self._name, self._earlier = folder, name, dict(earlier)
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
            # A tuple, as the trial itself reports it: TensorBoard would draw a list.
            plain = {k: tuple(v) if isinstance(v, list) else v for k, v in report.items()}
            for logger in self._tables:
                logger.log_trial_result(iteration, place, plain)

    def on_trial_result(self, iteration, trials, trial, result, **info) -> None:
        """A report."""
        for logger in self._loggers:
            logger.log_trial_result(iteration, self._places[trial.trial_id], result)

    def on_trial_recover(self, iteration, trials, trial, **info) -> None:
        """It starts again from its newest checkpoint: the files go back there, too."""
        self._close(trial, failed=True)
        folder = TrialFolder(self._folder / self._name(trial))
        self._earlier[folder.name] = take_back(folder, restart_point(folder))

    def on_trial_complete(self, iteration, trials, trial, **info) -> None:
        """Closes the files."""
        self._close(trial, failed=False)

    def on_trial_error(self, iteration, trials, trial, **info) -> None:
        """Closes the files."""
        self._close(trial, failed=True)

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
