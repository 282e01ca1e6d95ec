"""What `evaluate` plays: a scheduler by name, or the policy of a checkpoint."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mec_rllib.config.experiment import Experiment
from mec_rllib.config.strategies import resolve
from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.errors import ConfigError
from mec_rllib.lookup import seeded
from mec_rllib.results.folder import TrialFolder
from mec_rllib.schedulers import Scheduler
from mec_rllib.trials.check import check
from mec_rllib.trials.checkpoints import MANIFEST, checkpoint_at

RLLIB_METADATA = "rllib_checkpoint.json"
Evaluated = tuple[str, Callable[[int], Scheduler]]  # label, and what plays a seed


def scheduler_of(experiment: Experiment, name: str) -> Evaluated:
    """A scheduler of the project or of the user.

    Raises:
        ConfigError: an unknown name, or an environment that cannot be built.
    """
    asked = experiment.model_copy(update={"strategies": [{"scheduler": name}]})
    (strategy,) = resolve(asked).strategies
    check(strategy)
    return strategy.label, partial(seeded, strategy.scheduler, strategy.args)


def policy_of(experiment: Experiment, place: Path, allow_pickle: bool = False) -> Evaluated:
    """The greedy policy of a checkpoint, or of the newest one in a trial's folder.

    Args:
        experiment: its environment is what the policy has to fit.
        place: a checkpoint, or the folder of a trial.
        allow_pickle: take an RLlib checkpoint that holds no policy file; code in it runs.

    Raises:
        ConfigError: no checkpoint there, a damaged one, or one trained on other observations.
    """
    try:
        world = experiment.env.build_world(1)
    except ValueError as error:
        raise ConfigError(f"env: {error}") from None
    logging.getLogger("ray._common.deprecation").setLevel(
        logging.ERROR
    )  # RLlib warns of its own deprecations
    from mec_rllib.rl.policy import GreedyPolicy
    from mec_rllib.rl.policy_file import load_policy

    try:
        if allow_pickle:
            module, observe = _unpickled(place), experiment.learner.observe.model_dump()
        else:
            module, observe = load_policy(_policy_folder(place))
        seen = (encoder_of(world, **observe).size, world.mask.shape[1])
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--checkpoint: {error}") from None
    trained = (module.observation_space.shape[0], int(module.action_space.n))
    if seen != trained:
        raise ConfigError(
            f"--checkpoint {place}: was trained on {trained[0]} inputs and {trained[1]} "
            f"actions, the config has {seen[0]} and {seen[1]} (env.buffer, env.capacity, "
            f"env.classes{', learner.observe' if allow_pickle else ''})"
        )
    policy = GreedyPolicy(module, observe)
    return place.resolve().name, lambda seed: policy


def _policy_folder(place: Path) -> Path:
    if (place / RLLIB_METADATA).is_file() and not (place / MANIFEST).is_file():
        raise ConfigError(
            f"{place} is an RLlib checkpoint without a policy file: loading it runs code "
            "that is in it; if you trust it, add --allow-pickle"
        )
    return checkpoint_at(place)[0]


def _unpickled(place: Path) -> Any:
    from mec_rllib.rl.policy import load_module

    try:
        return load_module(next(iter(TrialFolder(place).checkpoints), place))
    except Exception as error:  # unpickling may end in anything
        raise ConfigError(f"--checkpoint {place}: cannot be loaded: {error!r:.200}") from None
