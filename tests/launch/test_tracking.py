"""W&B and MLflow: asked for and missing, and told everything where they are installed."""

from importlib.util import find_spec

import pytest
import yaml
from commands import mec_rllib

from mec_rllib.config.load import build
from mec_rllib.errors import ConfigError
from mec_rllib.launch.reporting import tracking

CONFIG = {"strategies": ["sjf", "ats"], "slots": 1000, "evaluation": {"slots": 800}}


def tune(tmp_path, **tracking):
    path, out = tmp_path / "c.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(CONFIG | {"tracking": tracking}))
    return mec_rllib("tune", path, "--out", out), out


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_named_before_the_start(name, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    experiment = build({"tracking": {name: "mine"}}, "test")
    with pytest.raises(ConfigError, match=rf"pip install 'mec-rllib\[{name}\]'"):
        tracking.check_tracking(experiment)


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_a_server_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    experiment = build({"tracking": {"mlflow": "http://127.0.0.1:9"}}, "test")
    with pytest.raises(ConfigError, match=r"tracking.mlflow http://127.0.0.1:9: .*failed"):
        tracking.check_tracking(experiment)


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.skipif(
    find_spec("mlflow") is None or find_spec("wandb") is None,
    reason="wandb and mlflow are not both installed: pip install -e '.[wandb,mlflow]'",
)
def test_wandb_and_mlflow_get_every_report(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    done, _ = tune(tmp_path, wandb="mec", mlflow=uri)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 2
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("experiment")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name for run in runs} == {"sjf_seed0", "ats_seed0"}
    for run in runs:
        assert run.info.status == "FINISHED"
        assert len(client.get_metric_history(run.info.run_id, "reward/lifetime")) > 90
