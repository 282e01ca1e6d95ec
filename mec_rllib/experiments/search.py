"""Hyper-parameter search through Ray Tune: on lifetime reward, on seeds that are not reported.

The first strategy of the config is searched. Its winner joins the experiment as one more
strategy, so it is judged on fresh seeds beside the untuned one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from mec_rllib.errors import ConfigError
from mec_rllib.experiments.config import Experiment, SearchConfig, build
from mec_rllib.experiments.progress import ExperimentProgress
from mec_rllib.experiments.runner import ShowProgress, Stage, resources_of, start
from mec_rllib.experiments.session import start_ray
from mec_rllib.experiments.strategies import Strategy, resolve
from mec_rllib.experiments.trial import REPORTS, Trial

SEARCH = "search"  # folder in the experiment's
TUNED = "-tuned"  # suffix of the winner's label
METRIC = "reward_lifetime"
GRACE_REPORTS = 20  # before ASHA may stop a config


def check_search(experiment: Experiment) -> None:
    """Tries one sample.

    Raises:
        ConfigError: the space names a key that the strategy does not have, or bad values.
    """
    assert experiment.search is not None
    sample = {
        key: domain.sample(random_state=np.random.RandomState(0))
        for key, domain in _space(experiment.search).items()
    }
    _sampled(experiment, sample).check()


def run_search(
    stage: Stage, address: str | None = None, progress: ExperimentProgress | None = None
) -> Experiment:
    """Searches, writes `search.json` into the stage's folder, returns the experiment to run.

    Raises:
        KeyboardInterrupt: it was interrupted.
        RuntimeError: no config came to an end.
    """
    experiment = stage.experiment
    search = experiment.search
    assert search is not None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    resources = resources_of(resolve(experiment)[0])
    start_ray(address, sum(bundle["CPU"] for bundle in resources.bundles))
    trainable = tune.with_resources(
        tune.with_parameters(SearchTrial, experiment=experiment.model_dump(mode="json")), resources
    )
    proposer: Any = (
        OptunaSearch(seed=0)
        if search.searcher == "optuna"
        else BasicVariantGenerator(random_state=0)
    )
    tuner = tune.Tuner(
        trainable,
        param_space=_space(search),
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            num_samples=search.samples,
            search_alg=proposer,
            scheduler=_early_stopping() if search.early_stopping else None,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=stage.folder.name,
            storage_path=str(stage.folder.parent),
            callbacks=[ShowProgress(progress, _name)] if progress else [],
            verbose=0,
        ),
    )
    results = tuner.fit()
    tried = [
        {
            "values": dict(result.config or {}),
            METRIC: (result.metrics or {}).get(METRIC),
            "slots": (result.metrics or {}).get("timesteps_total", 0),
            "is_complete": (result.metrics or {}).get("timesteps_total", 0) >= search.slots,
            "error": str(result.error).strip().splitlines()[-1] if result.error else None,
        }
        for result in results
    ]
    if any(not r.error and not (r.metrics or {}).get("done") for r in results):
        raise KeyboardInterrupt
    complete = [sample for sample in tried if sample["is_complete"] and not sample["error"]]
    winner = max(complete, key=lambda sample: sample[METRIC], default=None)
    (stage.folder / "search.json").write_text(
        json.dumps({"winner": winner, "tried": tried}, indent=1) + "\n", encoding="utf-8"
    )
    if winner is None:
        raise RuntimeError(f"no config came to an end; see {stage.folder}/search.json")
    entry = _entry(experiment, winner["values"])
    return experiment.model_copy(update={"strategies": [*experiment.strategies, entry]})


class SearchTrial(tune.Trainable):
    """One sample of the space: plays all search seeds side by side and reports their mean."""

    def setup(self, config: dict[str, Any], experiment: dict[str, Any]) -> None:
        """Starts one run per seed."""
        whole = build(experiment, "experiment")
        assert whole.search is not None
        strategy = _sampled(whole, config)
        played = strategy.experiment.model_copy(update={"slots": whole.search.slots})
        self._trials = [
            Trial(strategy.label, seed, played, start(strategy, seed))
            for seed in whole.search.seeds
        ]

    def step(self) -> dict[str, Any]:
        """One report of every seed."""
        results = [trial.play_report() for trial in self._trials]
        lifetime = float(np.mean([r["reward"]["lifetime"] for r in results]))
        return {
            METRIC: lifetime,
            "reward": {"lifetime": lifetime},
            "timesteps_total": results[0]["timesteps_total"],
            "share_training": float(np.mean([r["share_training"] for r in results])),
            "done": all(trial.is_done for trial in self._trials),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """A sample is a score; its policies are not kept."""

    def cleanup(self) -> None:
        """Ends the runs."""
        for trial in self._trials:
            trial.run.stop()


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


def _sampled(experiment: Experiment, values: Mapping[str, Any]) -> Strategy:
    entry = _entry(experiment, values)
    try:
        (strategy,) = resolve(experiment.model_copy(update={"strategies": [entry]}))
    except ConfigError as error:
        raise ConfigError(f"search.space: {error}") from None
    return strategy


def _entry(experiment: Experiment, values: Mapping[str, Any]) -> dict[str, Any]:
    """The first strategy's entry under `strategies:`, with these values."""
    (first, *_) = resolve(experiment)
    given = experiment.strategies[0]
    if isinstance(given, str):
        given = {"gate" if first.gate is not None else "scheduler": given}
    args = {k.removeprefix("args."): v for k, v in values.items() if k.startswith("args.")}
    keys = {k: v for k, v in values.items() if not k.startswith("args.")}
    entry = given | {"label": f"{first.label}{TUNED}", "set": given.get("set", {}) | keys}
    if args or "args" in given:
        entry["args"] = given.get("args", {}) | args
    return entry


def _name(trial: Any) -> str:
    return f"sample_{trial.trial_id}"


def search_stage(experiment: Experiment, out: Path) -> Stage:
    """Where the search of an experiment runs."""
    return Stage(experiment, out.absolute() / SEARCH, None)
