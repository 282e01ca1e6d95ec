"""What `evaluate` plays: a scheduler by name, or the policy of a checkpoint."""

import logging
from collections.abc import Callable
from pathlib import Path

from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.errors import ConfigError
from mec_rllib.experiments.checkpoints import newest_checkpoint
from mec_rllib.experiments.config import Experiment
from mec_rllib.experiments.strategies import resolve
from mec_rllib.schedulers import Scheduler

Player = tuple[str, Callable[[int], Scheduler]]  # label, and what plays a seed


def scheduler_of(experiment: Experiment, name: str) -> Player:
    """A scheduler of the project or of the user.

    Raises:
        ConfigError: an unknown name, or an environment that cannot be built.
    """
    asked = experiment.model_copy(update={"strategies": [{"scheduler": name}]})
    (strategy,) = resolve(asked)
    strategy.check()
    return strategy.label, strategy.build_scheduler


def policy_of(experiment: Experiment, checkpoint: Path) -> Player:
    """The greedy policy of a checkpoint, or of the newest one in a trial's folder.

    Raises:
        ConfigError: no checkpoint there, or one that was trained on other observations.
    """
    try:
        world = experiment.env.build_world(1)
    except ValueError as error:
        raise ConfigError(f"env: {error}") from None
    logging.getLogger("ray._common.deprecation").setLevel(
        logging.ERROR
    )  # RLlib warns of its own deprecations
    from mec_rllib.rl.policy import GreedyPolicy, load_module

    try:
        module = load_module(newest_checkpoint(checkpoint))
    except ValueError as error:
        raise ConfigError(f"--checkpoint: {error}") from None
    observe = experiment.learner.observe.model_dump()
    seen = (encoder_of(world, **observe).size, world.mask.shape[1])
    trained = (module.observation_space.shape[0], int(module.action_space.n))
    if seen != trained:
        raise ConfigError(
            f"--checkpoint {checkpoint}: was trained on {trained[0]} inputs and {trained[1]} "
            f"actions, the config has {seen[0]} and {seen[1]} (env.buffer, learner.observe)"
        )
    policy = GreedyPolicy(module, observe)
    return checkpoint.resolve().name, lambda seed: policy
