"""What an interrupted experiment still has to do."""

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from mec_rllib.experiments.checkpoints import newest_good_checkpoint
from mec_rllib.experiments.results import read_experiment
from mec_rllib.experiments.runner import Stage, trial_name


class Left(TypedDict, total=False):
    """Arguments of `run_stage`."""

    finished: set[str]  # names of trials that have a row
    checkpoints: dict[str, Path]  # where others go on from; the rest starts at slot 0


def what_is_left(stage: Stage, warn: Callable[[str], None]) -> Left:
    """Looks into the folder of a stage; a damaged checkpoint is passed over and said.

    Raises:
        ConfigError: the folder holds no experiment of ours.
    """
    _, trials = read_experiment(stage.folder)
    left = Left(finished=set(), checkpoints={})
    for trial in trials:
        name = trial_name(trial.strategy, trial.seed)
        if trial.is_finished:
            left["finished"].add(name)
        elif checkpoint := newest_good_checkpoint(stage.folder / name, warn):
            left["checkpoints"][name] = checkpoint
    return left
