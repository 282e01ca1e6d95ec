"""Pretraining: who trains the policies that an experiment starts from, and whether they fit."""

from typing import Any

from mec_rllib.config.explorations import exploration_class
from mec_rllib.config.load import with_values
from mec_rllib.config.strategies import resolve
from mec_rllib.config.study import Strategy, Study
from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.errors import ConfigError


def pretraining_of(study: Study) -> Study:
    """The same agent without a gate, on jobs that the experiment itself does not bring.

    Raises:
        ConfigError: a bad value in `pretrain.set`.
    """
    experiment = study.experiment
    assert experiment.pretrain is not None
    changes = {
        "name": f"{experiment.name[:80]}: pretraining",
        "strategies": ["ideal"],
        "seeds": [pretraining_seed(seed) for seed in experiment.seeds],
        "slots": experiment.pretrain.slots,
        "pretrain": None,
        "claims": [],
        "compare": None,
        # What is done to the strategies later is not done to what they start from.
        "gate.until": None,
        "gate.updates_per_job": None,
        "learner.corrupt.slot": None,
    }
    values = changes | experiment.pretrain.set
    return resolve(with_values(experiment, values, "pretrain.set"))


def pretraining_seed(seed: int) -> int:
    """The seed whose policy an experiment's seed starts from."""
    return (seed + 1_000_000) % 2**31


def check_networks(study: Study, pretraining: Study) -> None:
    """A policy can only be taken over by a network like its own.

    Raises:
        ConfigError: a strategy with another one; the message names the key.
    """
    theirs = _network(pretraining.strategies[0])
    for strategy in study.strategies:
        for key, value in _network(strategy).items() if strategy.learns else ():
            if value != theirs[key]:
                raise ConfigError(
                    f"strategy {strategy.label}: pretrain trains another network: {key} is "
                    f"{theirs[key]} there, {value} here"
                )


def _network(strategy: Strategy) -> dict[str, Any]:
    """What has to be equal for one network to take over the weights of another."""
    experiment = strategy.experiment
    learner, world = experiment.learner, experiment.env.build_world(1)
    observe = learner.observe.model_dump()
    network: dict[str, Any] = {
        "learner.algorithm": learner.algorithm,
        "learner.hidden": learner.hidden,
        "learner.observe": observe,
        "exploration": None,
        "what exploration adds to the network": {},
        "the observation's size": encoder_of(world, **observe).size,
        "the number of actions": world.mask.shape[1],
    }
    exploration = exploration_class(strategy.exploration)
    if exploration.network is not None:
        network["exploration"] = strategy.exploration
        network["what exploration adds to the network"] = exploration.network_config(
            **strategy.exploration_args
        )
    return network
