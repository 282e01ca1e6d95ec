"""What an interrupted experiment still has to do."""

from collections.abc import Callable
from pathlib import Path

from mec_rllib.launch.reporting.report_files import take_back
from mec_rllib.launch.restarts import RestartPoint, restart_point
from mec_rllib.launch.stages import Left, Stage
from mec_rllib.results.folder import TrialFolder, trial_name
from mec_rllib.results.stored import read_study
from mec_rllib.trials.trial import origin

TUNE_STATE = ("experiment_state-*", "basic-variant-state-*", "searcher-state-*", "search_gen_*")


def what_is_left(stage: Stage, warn: Callable[[str], None]) -> Left:
    """Looks into the folder of a stage, and takes its logs back to the checkpoints.

    A damaged checkpoint is passed over and said. Nothing is changed before all of them are found.

    Raises:
        ConfigError: the folder holds no experiment of ours, or a checkpoint cannot be used.
    """
    trials = read_study(stage.folder.path).trials
    finished = frozenset(trial_name(t.strategy, t.seed) for t in trials if t.is_finished)
    found: dict[TrialFolder, RestartPoint | None] = {}
    for trial in trials:
        if not trial.is_finished:
            of = origin(stage.study.by_label[trial.strategy], trial.seed)
            folder = stage.folder.trial(trial.strategy, trial.seed)
            found[folder] = restart_point(folder, of, warn)
    remove_tune_state(stage.folder.path)
    for folder in found:  # its failures are of the run before
        folder.errors.unlink(missing_ok=True)
    return Left(finished, {folder.name: take_back(folder, at) for folder, at in found.items()})


def remove_tune_state(folder: Path) -> None:
    """Removes what Tune noted of earlier parts of the run: it does not go on from there."""
    for pattern in TUNE_STATE:
        for path in folder.glob(pattern):
            path.unlink()
