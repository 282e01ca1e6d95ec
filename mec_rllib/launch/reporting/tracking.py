"""Trackers beside TensorBoard, if asked for: W&B and MLflow."""

import os
from importlib.util import find_spec

from ray import tune

from mec_rllib.config.experiment import Experiment
from mec_rllib.errors import ConfigError


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
