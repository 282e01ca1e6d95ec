"""A strategy with its learner, for a moment and in this process: it plays, trains, and is saved."""

import importlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import ray

from mec_rllib.config.study import Strategy
from mec_rllib.trials.dry_run import SLOTS, users_faults
from mec_rllib.trials.runs import start_run
from mec_rllib.trials.trial import evaluation_world

STARTS = 32  # transitions before training, here


def rehearse(strategy: Strategy) -> str:
    """Plays some slots of a strategy that learns, updates its network and saves it; no cluster.

    `learner.learning_starts` and `learner.batch` are lowered, and its servers are those of one
    runner in this process; what is saved is removed.

    Returns:
        What was done.

    Raises:
        ConfigError: what would fail in a trial.
    """
    importlib.import_module("ray.rllib")  # it sets its own level then
    for name in ("ray", "ray.rllib", "ray.tune"):  # of what they tell, nothing is for users
        logging.getLogger(name).setLevel(logging.ERROR)
    slots = SLOTS * strategy.experiment.runners.servers
    with users_faults(strategy.label), _without_ray():
        run: Any = start_run(_shortened(strategy), strategy.experiment.seeds[0])
        try:
            run.play(slots)
            if not run.learner_updates:  # whatever its gate has paid for
                run.learn_once()
            world = evaluation_world(strategy.experiment, seed=0)
            world.step(run.policy().select(world))
            with tempfile.TemporaryDirectory() as folder:
                run.save(Path(folder), to_go_on=True)
            updates = run.learner_updates
            done = f"{slots:,} slots, {updates:,} update{'s' if updates > 1 else ''}"
            return f"{done}; {run.plays}"
        finally:
            run.stop()


@contextmanager
def _without_ray() -> Iterator[None]:
    """RLlib starts a Ray to keep the config of remote runners, even where there will be none."""
    if ray.is_initialized():
        yield
        return
    with mock.patch.object(ray, "put", lambda value: value):
        yield


def _shortened(strategy: Strategy) -> Strategy:
    experiment = strategy.experiment
    learner, runners = experiment.learner, experiment.runners
    small = {
        "learning_starts": min(learner.learning_starts, STARTS),
        "batch": min(learner.batch, STARTS),
    }
    changes = {
        "learner": learner.model_copy(update=small),
        "runners": runners.model_copy(update={"num": 0}),
    }
    return replace(strategy, experiment=experiment.model_copy(update=changes))
