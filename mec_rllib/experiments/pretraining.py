"""Pretraining: who trains the policies that an experiment starts from, and whether they fit."""

from typing import Any

from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.errors import ConfigError
from mec_rllib.experiments.config import Experiment, with_values
from mec_rllib.experiments.sections import exploration_class
from mec_rllib.experiments.strategies import resolve


def pretraining_of(experiment: Experiment) -> Experiment:
    """The same agent without a gate, on jobs that the experiment itself does not bring."""
    assert experiment.pretrain is not None
    changes = {
        "name": f"{experiment.name[:80]}: pretraining",
        "strategies": ["ideal"],
        "seeds": [pretraining_seed(seed) for seed in experiment.seeds],
        "slots": experiment.pretrain.slots,
        "pretrain": None,
        # What is done to the strategies later is not done to what they start from.
        "gate.until": None,
        "gate.updates_per_job": None,
        "learner.corrupt.slot": None,
    }
    return with_values(experiment, changes | experiment.pretrain.set, "pretrain.set")


def pretraining_seed(seed: int) -> int:
    """The seed whose policy an experiment's seed starts from."""
    return (seed + 1_000_000) % 2**31


def check_networks(experiment: Experiment, pretraining: Experiment) -> None:
    """A policy can only be taken over by a network like its own.

    Raises:
        ConfigError: a strategy with another one; the message names the key.
    """
    theirs = _network(pretraining)
    for strategy in resolve(experiment):
        for key, value in _network(strategy.experiment).items() if strategy.gate else ():
            if value != theirs[key]:
                raise ConfigError(
                    f"strategy {strategy.label}: pretrain trains another network: {key} is "
                    f"{theirs[key]} there, {value} here"
                )


def _network(experiment: Experiment) -> dict[str, Any]:
    """What has to be equal for one network to take over the weights of another."""
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
    exploration = exploration_class(experiment.exploration)
    if exploration.network is not None:
        network["exploration"] = experiment.exploration
        network["what exploration adds to the network"] = exploration.network_config(
            **learner.exploration_args(experiment.exploration)
        )
    return network
