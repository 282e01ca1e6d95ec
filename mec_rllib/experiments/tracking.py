"""Where figures go while trials run: TensorBoard always, W&B and MLflow if asked for."""

import numbers
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from ray import tune
from ray.tune.logger import TBXLoggerCallback
from ray.tune.utils import flatten_dict
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams

from mec_rllib.errors import ConfigError
from mec_rllib.experiments.config import Experiment
from mec_rllib.experiments.strategies import Strategy

PREFIX = "ray/tune/"  # of every tag that Tune writes
CHARTS = {  # group: chart: tags; the "Custom Scalars" tab of TensorBoard
    "reward": {
        "R": ["reward/window", "reward/lifetime"],
        "missed jobs": ["miss_rate/window", "miss_rate/lifetime"],
    },
    "gate": {
        "psi and its threshold": ["gate/psi", "gate/psi_threshold"],
        "TD statistic": ["gate/td_statistic"],
        "share of slots in the fallback": ["gate/fallback_share"],
        "training jobs": ["training/jobs"],
    },
    "learner": {
        "loss": ["learner/loss"],
        "TD error": ["learner/td_error"],
        "Q": ["learner/q_value"],
        "updates, allowed and vetoed": ["training/updates", "training/vetoed_updates"],
        "epsilon": ["learner/epsilon"],
    },
    "server": {
        "use": ["server/server_use"],
        "waiting jobs": ["server/queue"],
        "slots that train or are blocked": ["server/share_training", "server/share_blocked"],
    },
}
LAYOUT = {
    group: {title: ["Multiline", [PREFIX + tag for tag in tags]] for title, tags in charts.items()}
    for group, charts in CHARTS.items()
}
ROW = f"{PREFIX}row/"  # the figures of a finished trial
NO_FIGURES = ("timestamp", "pid", "timesteps_total", "training_iteration", "config/seed", "done")


def check_tracking(experiment: Experiment) -> None:
    """Tries the trackers that are asked for.

    Raises:
        ConfigError: one is not installed, does not answer, or knows no key.
    """
    tracking = experiment.tracking
    for name, value in (("wandb", tracking.wandb), ("mlflow", tracking.mlflow)):
        if value is not None and find_spec(name) is None:
            raise ConfigError(
                f"tracking.{name}: {name} is not installed; pip install 'mec-rllib[{name}]'"
            )
    if tracking.wandb is not None and not _can_log_in():
        raise ConfigError(
            "tracking.wandb: no API key; run `wandb login`, or set WANDB_API_KEY, or "
            "WANDB_MODE=offline"
        )
    if tracking.mlflow is not None:
        _check_mlflow(tracking.mlflow)


def _can_log_in() -> bool:
    import wandb

    is_local = os.environ.get("WANDB_MODE") in ("offline", "disabled")
    return is_local or bool(wandb.login(prompt=False))


def _check_mlflow(uri: str) -> None:
    import mlflow

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own 7 take minutes
    try:
        mlflow.MlflowClient(uri).search_experiments(max_results=1)
    except mlflow.exceptions.MlflowException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"tracking.mlflow {uri}: {reason}") from None


def board(strategies: Sequence[Strategy]) -> "Board":
    """TensorBoard of these strategies."""
    return Board({s.label: hyperparameters(s) for s in strategies})


def trackers(experiment: Experiment) -> list[tune.Callback]:
    """Tune's callbacks for the trackers that the config names."""
    found: list[tune.Callback] = []
    tracking = experiment.tracking
    if tracking.wandb is not None:
        from ray.air.integrations.wandb import WandbLoggerCallback

        found.append(WandbLoggerCallback(project=tracking.wandb, group=experiment.name))
    if tracking.mlflow is not None:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        uri, name = tracking.mlflow, experiment.name
        found.append(MLflowLoggerCallback(tracking_uri=uri, experiment_name=name))
    return found


class Board(TBXLoggerCallback):
    """TensorBoard with charts in groups, and each trial's hyper-parameters beside its row.

    Args:
        by_strategy: hyper-parameters by the label of a strategy.
    """

    def __init__(self, by_strategy: dict[str, dict[str, Any]]):
        super().__init__()
        self._by_strategy = by_strategy

    def log_trial_start(self, trial: Any) -> None:
        """Opens the trial's file; the layout goes in first."""
        super().log_trial_start(trial)
        self._trial_writer[trial].add_custom_scalars(LAYOUT)

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """One event for all figures of a report; the writer's thread brings it to disk.

        Tune's own logger writes one for each figure and waits for the disk after every report:
        two thirds of what a report costs the driver.
        """
        if trial not in self._trial_writer:
            self.log_trial_start(trial)
        figures = {
            PREFIX + tag: float(value)
            for tag, value in flatten_dict(result, delimiter="/").items()
            if isinstance(value, numbers.Real) and value == value and tag not in NO_FIGURES
        }
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
        writer = self._trial_writer[trial].file_writer
        writer.add_summary(Summary(value=values), result["timesteps_total"])
        self._trial_result[trial] = figures

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Writes what TensorBoard's HParams tab shows, and closes the file."""
        row = {t: v for t, v in self._trial_result.get(trial, {}).items() if t.startswith(ROW)}
        if row:
            known = self._by_strategy[trial.config["strategy"]] | dict(trial.config)
            for summary in hparams(hparam_dict=known, metric_dict=row):
                self._trial_writer[trial].file_writer.add_summary(summary)
        super().log_trial_end(trial, failed)


def hyperparameters(strategy: Strategy) -> dict[str, Any]:
    """What a strategy can be tuned by: numbers, texts and switches, by the config's keys."""
    rule = strategy.gate or strategy.scheduler
    found: dict[str, Any] = {"rule": getattr(rule, "__name__", str(rule)), **(strategy.args or {})}
    if strategy.gate is not None:
        found["updates_per_job"] = strategy.updates_per_job
        found |= _flat({"learner": strategy.experiment.learner.model_dump(mode="json")})
    load = strategy.experiment.env.load
    found["env.load"] = load if isinstance(load, numbers.Number) else str(load)
    return {key: v for key, v in found.items() if isinstance(v, str | bool | int | float)}


def _flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
