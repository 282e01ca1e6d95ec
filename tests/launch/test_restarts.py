"""Where a trial goes on, and which errors end it: one judge, asked without Ray."""

import json

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError, LostError
from mec_rllib.launch import trainable
from mec_rllib.launch.reporting.report_files import take_back
from mec_rllib.launch.restarts import may_mend, restart_point
from mec_rllib.launch.resume import what_is_left
from mec_rllib.launch.stages import Stage
from mec_rllib.launch.trainable import StrategyTrial
from mec_rllib.results.folder import Folder
from mec_rllib.schedulers import SJF
from mec_rllib.trials.checkpoints import write_checkpoint
from mec_rllib.trials.trial import origin

CONFIG = {"strategies": ["sjf", "fifo"], "slots": 400, "evaluation": {"slots": 80}}


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "mends"),
    [
        (NameError("np"), False),
        (ValueError("bad"), False),
        (RuntimeError("failed 10 times in a row"), False),
        (FileNotFoundError("jobs.csv"), False),
        (ConfigError("no"), False),
        (OSError(28, "No space left on device"), True),
        (ConnectionError("the recorder does not answer"), True),
        (caused(RuntimeError("10 times in a row"), ConnectionError()), True),
        (caused(RuntimeError("10 times in a row"), NameError()), False),
        (LostError("all env runners are lost"), True),
        (ActorDiedError(), True),
        (RayTaskError("f", "traceback", ValueError("bad")), False),
        (RayTaskError("f", "traceback", ActorDiedError()), True),
    ],
)
def test_only_what_may_mend_is_tried_again(error, mends):
    assert may_mend(error) is mends


class Failing(SJF):
    """Raises in one of its slots."""

    error = RuntimeError("no fuel")

    def __init__(self):
        self._slots = 0

    def select(self, batch):
        self._slots += 1
        if self._slots == 50:
            raise self.error
        return super().select(batch)


@pytest.fixture
def experiment(tmp_path):
    """Begins an experiment, and hands out its study and its folder."""

    def begin(**config):
        study = resolve(build(CONFIG | config, "c"))
        folder = Folder(tmp_path)
        folder.write(study.experiment.model_dump(mode="json"), study.to_json())
        return study, folder

    return begin


def started(study, folder, strategy="sjf"):
    """A trial as Tune starts it, without its process."""
    trial = StrategyTrial.__new__(StrategyTrial)
    trial.setup({"strategy": strategy, "seed": 0}, study, folder, {})
    return trial


def test_an_error_that_would_come_again_is_the_last_report(experiment):
    study, folder = experiment(strategies=["test_restarts:Failing", "fifo"])
    trial = started(study, folder, "Failing")
    reports = [trial.step() for _ in range(13)]
    assert [("failed" in report) for report in reports] == [False] * 12 + [True]
    place, message = reports[-1]["failed"].split(": ", 1)
    assert place.startswith(("test_restarts.py:", "tests/launch/test_restarts.py:"))
    assert message == "RuntimeError: no fuel"
    assert reports[-1]["done"] is True
    assert "raise self.error" in reports[-1]["traceback"]
    trial.reset_config({"strategy": "fifo", "seed": 0})  # the process is used again
    assert trial.step()["timesteps_total"] == 4
    trial.cleanup()


def test_a_disk_that_refuses_is_left_to_a_restart(experiment, monkeypatch):
    monkeypatch.setattr(Failing, "error", OSError(28, "No space left on device"))
    study, folder = experiment(strategies=["test_restarts:Failing"])
    trial = started(study, folder, "Failing")
    with pytest.raises(OSError, match="No space left"):
        [trial.step() for _ in range(13)]
    trial.cleanup()


def test_what_fails_at_the_start_is_reported_too(experiment, monkeypatch):
    study, folder = experiment()

    def broken(*arguments):
        raise KeyError("fuel")

    monkeypatch.setattr(trainable, "start_run", broken)
    trial = started(study, folder)
    assert trial.step()["failed"].endswith("KeyError: 'fuel'")
    trial.cleanup()


def test_a_trial_whose_end_nobody_heard_of_returns_its_row_at_once(experiment, monkeypatch):
    study, folder = experiment()
    trial = started(study, folder)
    while not trial.is_done:
        trial.step()
    trial.cleanup()
    assert folder.trial("sjf", 0).checkpoints
    monkeypatch.setattr(trainable, "start_run", None)  # nothing is built, nothing is played
    again = started(study, folder)
    report = again.step()
    assert report["done"] is True
    assert report["row"]["slots"] == 400
    assert report["timesteps_total"] == 400
    assert again._iteration == 99  # Tune counts this one: 100
    again.cleanup()


def checkpoint(trial, number, of, **report):
    report = json.dumps({"timesteps_total": 4 * number} | report)
    write_checkpoint(trial, number, lambda path: (path / "report.json").write_text(report), of)


@pytest.mark.parametrize(
    ("more", "kept"),
    [({}, [4, 8, 12]), ({"done": True, "row": {}}, [4, 8])],
    ids=["under way", "over"],
)
def test_logs_go_back_to_where_the_trial_goes_on(experiment, more, kept):
    """Its last report it makes again."""
    study, folder = experiment()
    trial, of = folder.trial("sjf", 0), origin(study.strategies[0], 0)
    trial.path.mkdir()
    lines = [json.dumps({"timesteps_total": slots}) for slots in (4, 8, 12, 16)]
    trial.results.write_text("\n".join(lines))
    (trial.path / "progress.csv").touch()
    checkpoint(trial, 3, of, **more)
    checkpoint(trial, 4, of)
    (trial.checkpoint(4) / "report.json").write_text("{")  # damaged: passed over
    point = restart_point(trial, of)
    assert point.checkpoint == trial.checkpoint(3)
    assert point.is_over is bool(more)
    reports = take_back(trial, point)
    assert [report["timesteps_total"] for report in reports] == kept
    assert len(trial.results.read_text().splitlines()) == len(kept)
    assert trial.checkpoints == [trial.checkpoint(3)]
    assert not (trial.path / "progress.csv").exists()


def test_a_resume_starts_a_trial_that_ended_unheard(experiment):
    """It costs a process, and returns its row: there is one way for a row into the files."""
    study, folder = experiment()
    trial = folder.trial("sjf", 0)
    trial.path.mkdir()
    trial.results.write_text(json.dumps({"timesteps_total": 396}) + "\n")
    checkpoint(trial, 100, origin(study.strategies[0], 0), done=True, row={})
    left = what_is_left(Stage(study, folder, None), print)
    assert left.finished == frozenset()
    assert [r["timesteps_total"] for r in left.reports["sjf_seed0"]] == [396]


def test_checkpoints_that_are_all_damaged_end_the_trial(experiment):
    study, folder = experiment()
    trial = folder.trial("sjf", 0)
    trial.path.mkdir()
    checkpoint(trial, 3, origin(study.strategies[0], 0))
    (trial.checkpoint(3) / "report.json").write_text("{")
    started_one = started(study, folder)
    assert "none of its checkpoints is whole; delete the folder" in started_one.step()["failed"]
    started_one.cleanup()
