"""Rules of a strategy, built: its scheduler, or the guide of its agent."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mec_rllib.config.strategies import check_arguments, find_strategy
from mec_rllib.config.study import Strategy
from mec_rllib.schedulers import Scheduler


def build_scheduler(strategy: Strategy, seed: int) -> Scheduler:
    """The scheduler of a strategy that learns nothing; one that draws gets the seed."""
    assert strategy.scheduler is not None
    return _build(strategy.scheduler, strategy.args, seed)


def build_guide(strategy: Strategy, seed: int) -> Scheduler:
    """The rule that acts first (`exploration: guided`).

    Raises:
        ConfigError: an unknown rule, or arguments that it does not take.
    """
    guide, place = strategy.experiment.learner.guide, f"strategy {strategy.label}: learner.guide"
    found = find_strategy("scheduler", guide.scheduler, place)
    check_arguments(found, guide.args, place)
    return _build(found, guide.args, seed)


def _build(scheduler: Callable[..., Scheduler], args: Mapping[str, Any], seed: int) -> Scheduler:
    if "seed" in inspect.signature(scheduler).parameters:
        args = {"seed": seed} | dict(args)
    return scheduler(**args)
