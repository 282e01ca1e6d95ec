"""From config to results: one strategy with one seed is a Tune trial, whatever the strategy is.

`train` and `tune` both go through `stages` and `run_stage`; the folder they leave is Tune's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ray import tune
from ray.tune.search.basic_variant import BasicVariantGenerator

from mec_rllib.config.study import Study
from mec_rllib.launch.cluster import Cluster, cores_of, start_ray
from mec_rllib.launch.pretraining import check_networks, pretraining_of, pretraining_seed
from mec_rllib.launch.reporting.progress import ExperimentProgress, waiting
from mec_rllib.launch.reporting.report_files import ReportFiles, Reports
from mec_rllib.launch.reporting.tensorboard import board
from mec_rllib.launch.reporting.tracking import check_tracking, trackers
from mec_rllib.launch.stopping import CleanStop
from mec_rllib.launch.trainable import StrategyTrial
from mec_rllib.results.folder import Folder, TrialFolder, trial_name
from mec_rllib.results.status import RESTARTS
from mec_rllib.trials.check import check_study
from mec_rllib.trials.checkpoints import checkpoint_at
from mec_rllib.trials.trial import origin


class Stage(NamedTuple):
    """A part of an experiment: trials that run together, in a folder of their own."""

    study: Study
    folder: Folder
    pretrained: Folder | None  # of the stage that trained the policies to start from

    @property
    def trials(self) -> int:
        """How many there are."""
        return len(self.study.trials)


def stages(study: Study, out: Folder) -> list[Stage]:
    """What has to run, in this order: pretraining, if there is any, and the experiment.

    Raises:
        ConfigError: whatever would fail at the start of a trial.
    """
    check_study(study)
    check_tracking(study.experiment)
    if study.experiment.pretrain is None:
        return [Stage(study, out, None)]
    pretraining = pretraining_of(study)
    before = stages(pretraining, out.pretrained)
    check_networks(study, pretraining)
    return [*before, Stage(study, out, out.pretrained)]


class Left(NamedTuple):
    """What an interrupted stage has, by name of the trial."""

    finished: frozenset[str]  # have a row and are not played again
    reports: dict[str, Reports]  # what the others have reported, up to where they go on


NOTHING_YET = Left(frozenset(), {})


def run_stage(
    stage: Stage,
    cluster: Cluster,
    progress: ExperimentProgress,
    stop: CleanStop,
    left: Left = NOTHING_YET,
) -> list[str]:
    """Runs strategies x seeds through Ray Tune; the folder becomes Tune's experiment folder.

    Args:
        stage: what to run.
        cluster: where.
        progress: shows the reports.
        stop: listens for the user.
        left: of a stage that goes on.

    Returns:
        One line per trial that failed, with the place of its traceback.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    study = stage.study
    trials = [
        {"seed": seed, "strategy": strategy.label}
        for strategy, seed in study.trials
        if trial_name(strategy.label, seed) not in left.finished
    ]
    if not trials:
        return []
    cores = max(sum(b["CPU"] for b in cores_of(s)) for s in study.strategies)
    start_ray(cluster, cores, say=progress.begin)
    progress.begin(waiting(len(trials)))
    tuner = _tuner(stage, trials, left, progress, stop)
    with stop.listening():
        results = tuner.fit()
    if stop.is_asked and any("row" not in (r.metrics or {}) for r in results):
        raise KeyboardInterrupt
    return [_failure(result) for result in results if _failure(result)]


def _tuner(
    stage: Stage,
    trials: list[dict[str, Any]],
    left: Left,
    progress: ExperimentProgress,
    stop: CleanStop,
) -> tune.Tuner:
    study = stage.study
    return tune.Tuner(
        _trainable(stage),
        param_space={
            "seed": tune.choice(study.experiment.seeds),
            "strategy": tune.choice([s.label for s in study.strategies]),
        },
        tune_config=tune.TuneConfig(
            search_alg=BasicVariantGenerator(points_to_evaluate=trials),  # exactly these
            num_samples=len(trials),
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=run_config(
            stage.folder,
            [
                ReportFiles(
                    stage.folder.path, _name, left.reports, board(study.strategies), _whose(study)
                ),
                *trackers(study.experiment),
                ShowProgress(progress, _name),
            ],
            stop,
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
        ),
    )


def run_config(
    folder: Folder, callbacks: Sequence[tune.Callback], stop: CleanStop, **more: Any
) -> tune.RunConfig:
    """What every run of Tune's has: its folder is ours, and it prints nothing."""
    return tune.RunConfig(
        name=folder.path.name,
        storage_path=str(folder.path.parent),
        # Trials write their own: whole or not at all, and with a manifest.
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        callbacks=[*callbacks, stop],
        stop=stop,
        verbose=0,
        **more,
    )


def _failure(result: Any) -> str:
    """A line about a trial that failed; "" for others."""
    reason = (result.metrics or {}).get("failed") or (
        str(result.error).strip().splitlines()[-1] if result.error else ""
    )
    trial = TrialFolder(Path(result.path))
    return f"{trial.name}: {reason} (see {trial.errors})" if reason else ""


def _whose(study: Study) -> Callable[[Any], dict[str, Any]]:
    return lambda trial: origin(study.by_label[trial.config["strategy"]], trial.config["seed"])


def _trainable(stage: Stage) -> Any:
    resources = {s.label: _placed(cores_of(s)) for s in stage.study.strategies}
    trainable = tune.with_parameters(
        StrategyTrial,
        study=stage.study,
        folder=stage.folder,
        pretrained=_pretrained_policies(stage),
    )
    return tune.with_resources(trainable, lambda config: resources[config["strategy"]])


def _placed(cores: list[dict[str, float]]) -> tune.PlacementGroupFactory:
    """Trials spread over the nodes of a cluster; the runners of one trial stay close to it.

    Weights and transitions travel between them in every iteration.
    """
    return tune.PlacementGroupFactory(cores, strategy="PACK" if len(cores) > 1 else "SPREAD")


def _pretrained_policies(stage: Stage) -> dict[int, Path]:
    """Checkpoints to start from, by seed."""
    if stage.pretrained is None:
        return {}
    return {
        seed: checkpoint_at(stage.pretrained.trial("ideal", pretraining_seed(seed)).path)[0]
        for seed in stage.study.experiment.seeds
    }


class ShowProgress(tune.Callback):
    """Hands the trials' reports to the display, under their names."""

    def __init__(self, progress: ExperimentProgress, name: Callable[[Any], str]):
        self._progress: ExperimentProgress | None = progress
        self._name = name

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its callbacks with the experiment; a display cannot be stored."""
        return {"_progress": None, "_name": None}

    def on_trial_result(self, iteration, trials, trial, result, **info) -> None:
        """A report, or the error that ended the trial."""
        if not self._progress:
            return
        if "failed" in result:
            self._progress.fail(self._name(trial), result["failed"])
        else:
            self._progress.show(self._name(trial), result)

    def on_trial_recover(self, iteration, trials, trial, **info) -> None:
        """Its process or node was lost, or it failed: Tune starts it again."""
        if self._progress:
            failures, node = trial.run_metadata.num_failures, (trial.last_result or {}).get("node")
            self._progress.restart(self._name(trial), f"{failures} of {RESTARTS}", node)

    def on_trial_error(self, iteration, trials, trial, **info) -> None:
        """A failure."""
        if self._progress:
            self._progress.fail(self._name(trial))


def _name(trial: Any) -> str:
    return trial_name(trial.config["strategy"], trial.config["seed"])
