"""From config to results: one strategy with one seed is a Tune trial, whatever the strategy is.

`train` and `tune` both go through `stages` and `run_stage`; the folder they leave is Tune's.
"""

import logging
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import ray
import yaml
from ray import tune
from ray.tune.search.basic_variant import BasicVariantGenerator

from mec_rllib.experiments.checkpoints import newest_checkpoint, write_checkpoint
from mec_rllib.experiments.config import Experiment, build, with_values
from mec_rllib.experiments.progress import ExperimentProgress
from mec_rllib.experiments.strategies import Strategy, resolve
from mec_rllib.experiments.trial import SchedulerRun, StrategyRun, Trial

PRETRAINED = "pretrained"  # folder in the experiment's
CHECKPOINT_EVERY_REPORTS = 10


def start(strategy: Strategy, seed: int, pretrained: Path | None = None) -> StrategyRun:
    """The strategy at slot 0; `pretrained` is the folder of the experiment that trained before."""
    if strategy.gate is not None:
        # Torch and RLlib take seconds to import: in the trial, not in the driver that waits for it.
        from mec_rllib.experiments.learner_run import LearnerRun

        return LearnerRun(strategy, seed, pretrained and _pretrained_policy(pretrained, seed))
    runners = strategy.experiment.runners
    batch = strategy.experiment.env.build_world(max(runners.num, 1) * runners.servers, seed)
    return SchedulerRun(strategy.build_scheduler(seed), batch)


class StrategyTrial(tune.Trainable):
    """A Tune trial: {"strategy": label, "seed": s} of an experiment."""

    def setup(
        self,
        config: dict[str, Any],
        experiment: dict[str, Any],
        folder: Path,
        pretrained: Path | None,
        checkpoints: dict[str, Path],
    ) -> None:
        """Starts the strategy; the actor may be reused for another one."""
        self._experiment_folder, self._pretrained = folder, pretrained
        self._checkpoints = checkpoints
        self._strategies = {s.label: s for s in resolve(build(experiment, "experiment"))}
        self._start(config)

    def _start(self, config: dict[str, Any]) -> None:
        strategy = self._strategies[config["strategy"]]
        strategy_run = start(strategy, config["seed"], self._pretrained)
        self._trial = Trial(strategy.label, config["seed"], strategy.experiment, strategy_run)
        name = trial_name(strategy.label, config["seed"])
        self._folder = self._experiment_folder / name
        if name in self._checkpoints:
            self._trial.restore(self._checkpoints[name])

    def step(self) -> dict[str, Any]:
        """One report; every tenth leaves a checkpoint in the trial's folder."""
        trial = self._trial
        result = trial.play_report()
        if trial.is_done:
            write_checkpoint(self._folder, trial.reports, trial.save, keep=1)
        elif trial.reports % CHECKPOINT_EVERY_REPORTS == 0:
            write_checkpoint(self._folder, trial.reports, trial.save)
        return result

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes over another trial: starting a process costs more than many a trial."""
        self._trial.run.stop()
        self._start(new_config)
        return True

    def cleanup(self) -> None:
        """Ends the strategy's runners."""
        self._trial.run.stop()


class Stage(NamedTuple):
    """A part of an experiment: trials that run together, in a folder of their own."""

    experiment: Experiment
    folder: Path
    pretrained: Path | None  # folder of the stage that trained the policies to start from

    @property
    def trials(self) -> int:
        """How many there are."""
        return len(self.experiment.strategies) * len(self.experiment.seeds)


def stages(experiment: Experiment, out: Path) -> list[Stage]:
    """What has to run, in this order: pretraining, if there is any, and the experiment.

    Raises:
        ConfigError: whatever would fail at the start of a trial.
    """
    for strategy in resolve(experiment):
        strategy.check()
    out = out.absolute()
    if experiment.pretrain is None:
        return [Stage(experiment, out, None)]
    before = stages(_pretraining(experiment), out / PRETRAINED)
    return [*before, Stage(experiment, out, out / PRETRAINED)]


def write_config(stage: Stage) -> None:
    """The stage's config, whole: what `report` reads first."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    config = stage.experiment.model_dump(mode="json")
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    (stage.folder / "config.yaml").write_text(text, encoding="utf-8")


def _pretraining(experiment: Experiment) -> Experiment:
    """The same agent without a gate, on jobs that the experiment itself does not bring."""
    assert experiment.pretrain is not None
    changes = {
        "name": f"{experiment.name[:80]}: pretraining",
        "strategies": ["ideal"],
        "seeds": [_pretraining_seed(seed) for seed in experiment.seeds],
        "slots": experiment.pretrain.slots,
        "pretrain": None,
    }
    return with_values(experiment, changes | experiment.pretrain.set, "pretrain.set")


def _pretraining_seed(seed: int) -> int:
    return (seed + 1_000_000) % 2**31


def _pretrained_policy(folder: Path, seed: int) -> Path:
    return newest_checkpoint(folder / trial_name("ideal", _pretraining_seed(seed)))


def run_stage(
    stage: Stage,
    address: str | None = None,
    progress: ExperimentProgress | None = None,
    checkpoints: dict[str, Path] | None = None,
    finished: Collection[str] = (),
) -> list[str]:
    """Runs strategies x seeds through Ray Tune; the folder becomes Tune's experiment folder.

    Args:
        stage: what to run.
        address: of a running cluster.
        progress: shows the reports.
        checkpoints: where trials go on from, by name; the others start at slot 0.
        finished: names of trials that are left out.

    Returns:
        One line per trial that failed, with the place of its traceback.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    experiment, out = stage.experiment, stage.folder
    strategies = resolve(experiment)
    trials = [
        {"seed": seed, "strategy": strategy.label}
        for seed in experiment.seeds
        for strategy in strategies
        if trial_name(strategy.label, seed) not in finished
    ]
    if not trials:
        return []
    resources = {s.label: resources_of(s) for s in strategies}
    start_ray(address, max(sum(b["CPU"] for b in r.bundles) for r in resources.values()))
    trainable = tune.with_resources(
        tune.with_parameters(
            StrategyTrial,
            experiment=experiment.model_dump(mode="json"),
            folder=stage.folder,
            pretrained=stage.pretrained,
            checkpoints=checkpoints or {},
        ),
        lambda config: resources[config["strategy"]],
    )
    tuner = tune.Tuner(
        trainable,
        param_space={
            "seed": tune.choice(experiment.seeds),
            "strategy": tune.choice([s.label for s in strategies]),
        },
        tune_config=tune.TuneConfig(
            search_alg=BasicVariantGenerator(points_to_evaluate=trials),  # exactly these
            num_samples=len(trials),
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=out.name,
            storage_path=str(out.parent),
            # Trials write their own: whole or not at all, and with a manifest.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[ShowProgress(progress, _name)] if progress else [],
            verbose=0,
        ),
    )
    results = tuner.fit()
    unfinished = [r for r in results if not r.error and not (r.metrics or {}).get("done")]
    if unfinished:
        raise KeyboardInterrupt
    return [
        f"{Path(r.path).name}: {str(r.error).strip().splitlines()[-1]} (see {r.path}/error.txt)"
        for r in results
        if r.error
    ]


class ShowProgress(tune.Callback):
    """Hands the trials' reports to the display, under their names."""

    def __init__(self, progress: ExperimentProgress, name: Callable[[Any], str]):
        self._progress: ExperimentProgress | None = progress
        self._name = name

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its callbacks with the experiment; a display cannot be stored."""
        return {"_progress": None, "_name": None}

    def on_trial_result(self, iteration, trials, trial, result, **info) -> None:
        """A report."""
        if self._progress:
            self._progress.show(self._name(trial), result)

    def on_trial_error(self, iteration, trials, trial, **info) -> None:
        """A failure."""
        if self._progress:
            self._progress.fail(self._name(trial))


def trial_name(label: str, seed: int) -> str:
    """Name of a trial, and of its folder."""
    return f"{label}_seed{seed}"


def _name(trial: Any) -> str:
    return trial_name(trial.config["strategy"], trial.config["seed"])


def resources_of(strategy: Strategy) -> tune.PlacementGroupFactory:
    """A core for the trial, and one for each remote runner."""
    runners = strategy.experiment.runners.num if strategy.gate is not None else 0
    return tune.PlacementGroupFactory([{"CPU": 1.0}] * (1 + runners))


def start_ray(address: str | None, cpus: float) -> None:
    """Joins the cluster at an address, or starts one here with at least so many cores."""
    # Progress, failures and places of files are ours to print, each once.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        return
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    ray.init(
        address=address or "local",
        # Trials that need more processes than there are cores share them, instead of waiting.
        num_cpus=None if address else max(int(cpus), os.cpu_count() or 1),
        include_dashboard=None if address else False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}},
        log_to_driver=False,
        logging_level="ERROR",
    )
