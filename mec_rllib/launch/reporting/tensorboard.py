"""TensorBoard: every figure over slots, charts in groups, hyper-parameters beside the results.

Written with tensorboard's own parts: the logger of Tune imports torch into the driver, which has no
other use for it, and brings every report to disk figure by figure.
"""

import numbers
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.logger import LoggerCallback
from ray.tune.utils import flatten_dict
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalars
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.record_writer import RecordWriter

from mec_rllib.config.study import Strategy

PREFIX = "ray/tune/"  # of every tag, as Tune's own logger writes them
REASONS = ("psi", "tie", "fallback")  # of gates that look at psi
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
        "requests to train, by what they rest on": [
            f"gate/requests_by_{reason}" for reason in REASONS
        ],
        "... their shares since the last report": [f"gate/share_by_{reason}" for reason in REASONS],
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
RESULTS = (f"{PREFIX}row/", f"{PREFIX}reward_lifetime")  # of a finished trial; of a search's sample
NO_FIGURES = ("timestamp", "pid", "timesteps_total", "training_iteration", "config/seed", "done")


class Board(LoggerCallback):
    """Writes an event file per trial.

    Args:
        by_strategy: hyper-parameters by the label of a strategy; a trial's config joins them.
    """

    def __init__(self, by_strategy: Mapping[str, Mapping[str, Any]]):
        self._by_strategy = by_strategy
        self._files: dict[Any, RecordWriter] = {}
        self._figures: dict[Any, dict[str, float]] = {}

    def log_trial_start(self, trial: Any) -> None:
        """Opens the trial's file; the layout goes in first."""
        trial.init_local_path()
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        self._files[trial] = RecordWriter((Path(trial.local_path) / name).open("wb"))
        self._write(trial, Event(file_version="brain.Event:2"))
        self._write(trial, Event(summary=Summary(value=[_layout()])))

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """One event for all figures of a report."""
        if trial not in self._files:
            self.log_trial_start(trial)
        figures = {
            PREFIX + tag: float(value)
            for tag, value in flatten_dict(result, delimiter="/").items()
            if isinstance(value, numbers.Real) and value == value and tag not in NO_FIGURES
        }
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
        self._write(trial, Event(step=result["timesteps_total"], summary=Summary(value=values)))
        self._figures[trial] = figures

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Writes what TensorBoard's HParams tab shows, and closes the file."""
        if trial not in self._files:
            return
        found = [tag for tag in self._figures.pop(trial, {}) if tag.startswith(RESULTS)]
        if found:
            known = dict(self._by_strategy.get(trial.config.get("strategy"), {}))
            known |= flatten_dict(trial.config, delimiter=".")
            values = _hparams(known, found)
            self._write(trial, Event(summary=Summary(value=values)))
        self._files.pop(trial).close()

    def _write(self, trial: Any, event: Event) -> None:
        event.wall_time = time.time()
        file = self._files[trial]
        file.write(event.SerializeToString())
        file.flush()


def board(strategies: Sequence[Strategy]) -> Board:
    """TensorBoard of these strategies."""
    return Board({s.label: hyperparameters(s) for s in strategies})


def hyperparameters(strategy: Strategy) -> dict[str, Any]:
    """What a strategy can be tuned by: numbers, texts and switches, by the config's keys."""
    found: dict[str, Any] = {"rule": strategy.path.rpartition(":")[2], **strategy.args}
    if strategy.learns:
        found["updates_per_job"] = strategy.updates_per_job
        learner = strategy.experiment.learner.model_dump(mode="json")
        found |= flatten_dict({"learner": learner}, delimiter=".")
    load = strategy.experiment.env.load
    found["env.load"] = load if isinstance(load, numbers.Number) else str(load)
    return found


def _layout() -> Summary.Value:
    groups = [
        layout_pb2.Category(
            title=group,
            chart=[
                layout_pb2.Chart(
                    title=title,
                    multiline=layout_pb2.MultilineChartContent(tag=[PREFIX + tag for tag in tags]),
                )
                for title, tags in charts.items()
            ],
        )
        for group, charts in CHARTS.items()
    ]
    return Summary.Value(
        tag=custom_scalars.CONFIG_SUMMARY_TAG,
        metadata=custom_scalars.create_summary_metadata(),
        tensor=TensorProto(
            dtype=DT_STRING,
            string_val=[layout_pb2.Layout(category=groups).SerializeToString()],
        ),
    )


def _hparams(values: Mapping[str, Any], results: Sequence[str]) -> list[Summary.Value]:
    """What was tried, and which tags say how it went."""
    start, infos = SessionStartInfo(), []
    for key, value in values.items():
        if isinstance(value, bool):
            start.hparams[key].bool_value, kind = value, api_pb2.DATA_TYPE_BOOL
        elif isinstance(value, numbers.Real):
            start.hparams[key].number_value, kind = float(value), api_pb2.DATA_TYPE_FLOAT64
        elif isinstance(value, str):
            start.hparams[key].string_value, kind = value, api_pb2.DATA_TYPE_STRING
        else:  # None, a list: no column that one could sort by
            continue
        infos.append(api_pb2.HParamInfo(name=key, type=kind))
    metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in results]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics)
    end = SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
    contents = {
        hparams.EXPERIMENT_TAG: HParamsPluginData(experiment=experiment),
        hparams.SESSION_START_INFO_TAG: HParamsPluginData(session_start_info=start),
        hparams.SESSION_END_INFO_TAG: HParamsPluginData(session_end_info=end),
    }
    return [
        Summary.Value(
            tag=tag,
            metadata=hparams.create_summary_metadata(content),
            tensor=hparams.NULL_TENSOR,
        )
        for tag, content in contents.items()
    ]
