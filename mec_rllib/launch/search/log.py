"""What a search has tried so far: written line by line, so that it can go on."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ray import tune

from mec_rllib.files import finite, write_whole
from mec_rllib.launch.reporting.report_files import Reports, take_back
from mec_rllib.launch.restarts import restart_point
from mec_rllib.results.folder import Folder, TrialFolder

METRIC = "reward_lifetime"


class SearchLeft(NamedTuple):
    """What an interrupted search has."""

    tried: list[dict[str, Any]]  # samples that are over
    unfinished: dict[str, dict[str, Any]]  # values of the others, by name
    reports: dict[str, Reports]  # of those, up to their checkpoints


def what_is_left_of_search(folder: Folder) -> SearchLeft:
    """Looks into the folder of a search, and takes the logs of open samples back.

    Raises:
        ConfigError: none of a sample's checkpoints is whole.
    """
    tried = _written_down(folder.samples)
    over = {sample["name"] for sample in tried}
    unfinished = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in folder.parameters_of_samples
        if path.parent.name not in over and path.stat().st_size
    }
    reports = {}
    for name, values in unfinished.items():
        sample = TrialFolder(folder.path / name)
        reports[name] = take_back(sample, restart_point(sample, {"sample": values}))
    return SearchLeft(tried, unfinished, reports)


def _written_down(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; one that was cut off is removed, so that the next does not join it."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = []
    for line in text.splitlines():
        with suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    if text and not text.endswith("\n"):
        write_whole(path, "".join(json.dumps(line) + "\n" for line in lines))
    return lines


class SampleNames:
    """Names samples: one that goes on keeps its folder, a new one is called after its trial."""

    def __init__(self, unfinished: Mapping[str, Mapping[str, Any]]):
        self._free = [(name, dict(values)) for name, values in unfinished.items()]
        self._given: dict[str, str] = {}

    def __call__(self, trial: Any) -> str:
        """The name of a Tune trial."""
        if trial.trial_id not in self._given:
            same = [entry for entry in self._free if entry[1] == trial.config]
            if same:
                self._free.remove(same[0])
            self._given[trial.trial_id] = same[0][0] if same else f"sample_{trial.trial_id}"
        return self._given[trial.trial_id]


class SampleLog(tune.Callback):
    """Writes a line for every sample that is over, and removes its checkpoints: a score is kept."""

    def __init__(self, folder: Folder, slots: int):
        self._folder, self._slots = folder, slots

    def on_trial_complete(self, iteration, trials, trial, **info) -> None:
        """A sample came to its end, or ASHA stopped it."""
        self._write(trial, None)

    def on_trial_error(self, iteration, trials, trial, **info) -> None:
        """A sample failed; the others go on."""
        self._write(trial, str(trial.get_error()).strip().splitlines()[-1])

    def _write(self, trial: Any, error: str | None) -> None:
        name, last = str(trial), trial.last_result or {}
        line = {
            "name": name,
            "values": dict(trial.config),
            METRIC: last.get(METRIC),
            "slots": last.get("timesteps_total", 0),
            "is_complete": last.get("timesteps_total", 0) >= self._slots,
            "error": error,
        }
        with self._folder.samples.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line)) + "\n")
        for path in TrialFolder(self._folder.path / name).checkpoints:
            shutil.rmtree(path)
