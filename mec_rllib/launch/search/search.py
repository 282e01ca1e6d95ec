"""Hyper-parameter search through Ray Tune: on lifetime reward, on seeds that are not reported.

The first strategy of the config is searched. Its winner joins the experiment as one more
strategy, so it is judged on fresh seeds beside the untuned one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from mec_rllib.config.sections import SearchConfig
from mec_rllib.config.strategies import resolve
from mec_rllib.config.study import Strategy, Study
from mec_rllib.errors import ConfigError
from mec_rllib.files import write_json
from mec_rllib.launch.cluster import Cluster, cores_of, start_ray
from mec_rllib.launch.reporting.progress import ExperimentProgress, waiting
from mec_rllib.launch.reporting.report_files import ReportFiles
from mec_rllib.launch.reporting.tensorboard import Board
from mec_rllib.launch.search.log import (
    METRIC,
    SampleLog,
    SampleNames,
    SearchLeft,
    what_is_left_of_search,
)
from mec_rllib.launch.search.winner import pick_winner
from mec_rllib.launch.stages import ShowProgress, Stage, run_config
from mec_rllib.launch.stopping import CleanStop
from mec_rllib.launch.trainable import CheckpointedTrial
from mec_rllib.results.folder import Folder, TrialFolder
from mec_rllib.trials.check import check
from mec_rllib.trials.runs import start_run
from mec_rllib.trials.traces import check_traces
from mec_rllib.trials.trial import REPORTS, Trial

TUNED = "-tuned"  # suffix of the winner's label
GRACE_REPORTS = 20  # before ASHA may stop a config


def check_search(study: Study) -> None:
    """Tries one sample.

    Raises:
        ConfigError: the space names a key that the strategy does not have, or bad values.
    """
    search = study.experiment.search
    assert search is not None
    sample = {
        key: domain.sample(random_state=np.random.RandomState(0))
        for key, domain in _space(search).items()
    }
    check(_sampled(study, sample))


def run_search(stage: Stage, cluster: Cluster, progress: ExperimentProgress) -> tuple[Study, str]:
    """Searches, or goes on; writes `search.json`.

    Returns:
        The study to run, and what a reader has to know about its winner (often nothing).

    Raises:
        KeyboardInterrupt: it was interrupted.
        RuntimeError: no config came to an end with an R.
    """
    experiment, search = stage.study.experiment, stage.study.experiment.search
    assert search is not None
    left = what_is_left_of_search(stage.folder)
    if search.samples > len(left.tried):
        _try_samples(stage, left, cluster, progress)
        left = what_is_left_of_search(stage.folder)
    untuned, *_ = stage.study.strategies
    samples = [(sample, _sampled(stage.study, sample["values"])) for sample in left.tried]
    winner = pick_winner(untuned, samples)
    found = {
        "winner": winner and winner.sample,
        "ties": winner.ties if winner and winner.note else [],
        "tried": left.tried,
    }
    write_json(stage.folder.search_result, found)
    if winner is None:
        raise RuntimeError(f"no config came to an end with an R; see {stage.folder.search_result}")
    entry = _entry(stage.study, winner.sample["values"])
    tuned = experiment.model_copy(update={"strategies": [*experiment.strategies, entry]})
    return resolve(tuned), winner.note


def _try_samples(
    stage: Stage, left: SearchLeft, cluster: Cluster, progress: ExperimentProgress
) -> None:
    search = stage.study.experiment.search
    assert search is not None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bundles = cores_of_sample(stage.study.strategies[0], len(search.seeds))
    start_ray(cluster, sum(bundle["CPU"] for bundle in bundles), say=progress.begin)
    progress.begin(waiting(search.samples - len(left.tried)))
    stop = CleanStop(after_report=False)
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(
                SearchTrial,
                study=stage.study,
                folder=stage.folder,
            ),
            tune.PlacementGroupFactory(bundles),
        ),
        param_space=_space(search),
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            num_samples=search.samples - len(left.tried),
            search_alg=_proposer(search, left),
            scheduler=_early_stopping() if search.early_stopping else None,
            reuse_actors=True,
            trial_name_creator=SampleNames(left.unfinished),
            trial_dirname_creator=str,
        ),
        run_config=run_config(
            stage.folder,
            [
                ReportFiles(
                    stage.folder.path,
                    str,
                    left.reports,
                    Board({}),
                    of=lambda trial: {"sample": trial.config},
                ),
                ShowProgress(progress, str),
                SampleLog(stage.folder, search.slots),
            ],
            stop,
        ),
    )
    with stop.listening():
        tuner.fit()
    if stop.is_asked:
        raise KeyboardInterrupt


class SearchTrial(CheckpointedTrial):
    """One sample of the space: plays all search seeds side by side and reports their mean."""

    def setup(self, config: dict[str, Any], study: Study, folder: Folder) -> None:
        """Starts the first sample; the actor may be reused for others."""
        self._study, self._search_folder = study, folder
        self.start(config)

    def start(self, config: dict[str, Any]) -> None:
        """Starts one run per seed, or goes on with them."""
        search = self._study.experiment.search
        assert search is not None
        strategy = _sampled(self._study, config)
        check_traces(self._study.strategies[:1], self._search_folder)
        played = strategy.experiment.model_copy(update={"slots": search.slots})

        def build() -> list[Trial]:
            return [
                Trial(strategy.label, seed, played, start_run(strategy, seed))
                for seed in search.seeds
            ]

        folder = TrialFolder(self._search_folder.path / self.trial_name)
        self.begin(folder, {"sample": config}, build)

    def play(self) -> dict[str, Any]:
        """One report of every seed."""
        results = [trial.play_report() for trial in self._trials]
        lifetime = float(np.mean([r["reward"]["lifetime"] for r in results]))
        return {
            METRIC: lifetime,
            "reward": {"lifetime": lifetime},
            "timesteps_total": results[0]["timesteps_total"],
            "share_training": float(np.mean([r["share_training"] for r in results])),
            "done": self.is_done,
        }

    def save_trials(self, folder: Path) -> None:
        """Every seed in a folder of its own."""
        for k, trial in enumerate(self._trials):
            (folder / str(k)).mkdir()
            trial.save(folder / str(k))

    def load_trials(self, folder: Path) -> None:
        """Goes on with every seed."""
        for k, trial in enumerate(self._trials):
            trial.restore(folder / str(k))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Tune's own is not used."""


def cores_of_sample(strategy: Strategy, seeds: int) -> list[dict[str, float]]:
    """As `cores_of`: a sample plays all seeds side by side, each with runners of its own.

    RLlib puts the k-th runner of every algorithm into the k-th bundle, and waits for it for ever.
    """
    one, *runners = cores_of(strategy)
    return [one, *({"CPU": seeds * runner["CPU"]} for runner in runners)]


def _early_stopping() -> AsyncHyperBandScheduler:
    """Compares after equal numbers of reports; the last report ends a trial, not ASHA."""
    return AsyncHyperBandScheduler(max_t=REPORTS + 1, grace_period=GRACE_REPORTS)


def _space(search: SearchConfig) -> dict[str, Any]:
    make = {
        "uniform": tune.uniform,
        "loguniform": tune.loguniform,
        "randint": lambda low, high: tune.randint(low, high + 1),
        "choice": lambda *values: tune.choice(values),
    }
    return {
        key: make[kind](*values)
        for key, distribution in search.space.items()
        for kind, values in distribution.items()
    }


def _sampled(study: Study, values: Mapping[str, Any]) -> Strategy:
    sample = study.experiment.model_copy(update={"strategies": [_entry(study, values)]})
    try:
        (strategy,) = resolve(sample).strategies
    except ConfigError as error:
        raise ConfigError(f"search.space: {error}") from None
    return strategy


def _entry(study: Study, values: Mapping[str, Any]) -> dict[str, Any]:
    """The first strategy's entry under `strategies:`, with these values."""
    first, given = study.strategies[0], study.experiment.strategies[0]
    if isinstance(given, str):
        given = {"gate" if first.learns else "scheduler": given}
    # What is searched takes the place of the entry's own value.
    given = {key: value for key, value in given.items() if f"gate.{key}" not in values}
    args = {k.removeprefix("args."): v for k, v in values.items() if k.startswith("args.")}
    keys = {k: v for k, v in values.items() if not k.startswith("args.")}
    entry = given | {"label": f"{first.label}{TUNED}", "set": given.get("set", {}) | keys}
    if args or "args" in given:
        entry["args"] = given.get("args", {}) | args
    return entry


def _proposer(search: SearchConfig, left: SearchLeft) -> Any:
    """Who proposes: first the samples that were under way."""
    # A search that goes on must not propose its first samples again.
    seed = len(left.tried) + len(left.unfinished)
    if search.searcher == "random":
        return BasicVariantGenerator(
            points_to_evaluate=list(left.unfinished.values()), random_state=seed
        )
    return _OptunaGoesOn(seed, left)


class _OptunaGoesOn(OptunaSearch):
    """Optuna that knows what was tried, and begins with the samples that were under way."""

    def __init__(self, seed: int, left: SearchLeft):
        known = [sample for sample in left.tried if sample[METRIC] is not None]
        super().__init__(
            seed=seed,
            points_to_evaluate=[sample["values"] for sample in known] or None,
            evaluated_rewards=[sample[METRIC] for sample in known] or None,
        )
        self._unfinished = list(left.unfinished.values())

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        """Takes the space over."""
        is_set = super().set_search_properties(*args, **kwargs)
        for values in self._unfinished:
            self._ot_study.enqueue_trial(values)
        return is_set
