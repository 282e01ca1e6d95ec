"""TensorBoard's files, read back as TensorBoard reads them."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from mec_rllib.launch.reporting.tensorboard import CHARTS, Board

HPARAMS = "_hparams_/"


class Trial(SimpleNamespace):
    __hash__ = object.__hash__

    def init_local_path(self):
        """The folder is there."""


@pytest.fixture
def trial(tmp_path):
    return Trial(local_path=str(tmp_path), config={"strategy": "pts25", "seed": 3})


def read(trial):
    return EventAccumulator(trial.local_path).Reload()


def hparams(events):
    """The three parts of what the HParams tab shows."""
    content = events.PluginTagToContent("hparams")
    return {
        part: getattr(HParamsPluginData.FromString(content[HPARAMS + part]), part)
        for part in ("experiment", "session_start_info", "session_end_info")
    }


def test_reports_are_on_the_disk_at_once_and_only_numbers_are_points(trial):
    board = Board({})
    board.log_trial_start(trial)
    result = {"timesteps_total": 10, "reward": {"window": 0.5, "lifetime": float("nan")}}
    board.log_trial_result(1, trial, result | {"node": "here", "learner": {"loss": None}})
    events = read(trial)  # the file is still open
    assert events.Tags()["scalars"] == ["ray/tune/reward/window"]
    (point,) = events.Scalars("ray/tune/reward/window")
    assert (point.step, point.value) == (10, 0.5)
    tensor = events.Tensors("custom_scalars__config__")[0].tensor_proto
    layout = layout_pb2.Layout.FromString(tensor.string_val[0])
    assert [group.title for group in layout.category] == list(CHARTS)


def test_what_was_tried_stands_beside_its_row(trial):
    tried = {"rule": "PTS", "period": 25, "learner.guide": None, "double": True}
    board = Board({"pts25": tried})
    board.log_trial_result(1, trial, {"timesteps_total": 10, "row": {"reward_lifetime": 0.25}})
    board.log_trial_end(trial)
    parts = hparams(read(trial))
    start = parts["session_start_info"].hparams
    assert dict(start).keys() == {"rule", "period", "double", "strategy", "seed"}
    assert (start["period"].number_value, start["rule"].string_value) == (25, "PTS")
    assert start["double"].bool_value
    infos = [info.name for info in parts["experiment"].hparam_infos]
    assert set(infos) == set(start)
    metrics = [info.name.tag for info in parts["experiment"].metric_infos]
    assert metrics == ["ray/tune/row/reward_lifetime"]
    assert parts["session_end_info"].status == 1  # success


def test_of_a_search_the_values_of_a_sample_stand_beside_its_reward(trial):
    trial.config = {"learner.lr": 0.001}
    board = Board({})
    board.log_trial_result(1, trial, {"timesteps_total": 10, "reward_lifetime": 0.25})
    board.log_trial_end(trial)
    parts = hparams(read(trial))
    assert parts["session_start_info"].hparams["learner.lr"].number_value == 0.001
    assert [m.name.tag for m in parts["experiment"].metric_infos] == ["ray/tune/reward_lifetime"]


def test_a_trial_without_results_has_no_hyperparameters(trial):
    board = Board({"pts25": {"period": 25}})
    board.log_trial_result(1, trial, {"timesteps_total": 10, "reward": {"window": 0.5}})
    board.log_trial_end(trial, failed=True)
    board.log_trial_end(trial, failed=True)  # closed before
    with pytest.raises(KeyError):
        read(trial).PluginTagToContent("hparams")


def test_the_driver_does_not_load_torch():
    code = "import sys, mec_rllib.launch.launcher; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
