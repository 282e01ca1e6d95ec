"""Builds once what a strategy needs, and plays a few slots with it, before anything starts."""

import pickle
from collections.abc import Iterator
from typing import Any

from mec_rllib.config.explorations import exploration_class
from mec_rllib.config.study import Strategy, Study
from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.errors import ConfigError
from mec_rllib.gates import Idle, ServerEmpty
from mec_rllib.gates.scores import OF_AGENT, PRICES
from mec_rllib.lookup import nearest, seeded
from mec_rllib.results.claims import check_claims
from mec_rllib.schedulers import SCHEDULERS
from mec_rllib.trials.dry_run import dry_run, users_faults
from mec_rllib.user_code import fault_of

# What gates, and scores and fallbacks by name, ask of an environment of Gymnasium.
ASKED: dict[Any, str] = {
    Idle: "is_idle",
    "idle": "is_idle",
    ServerEmpty: "is_empty",
    "server_empty": "is_empty",
    "use": "use",
    "queue": "queue",
}


def check_study(study: Study) -> None:
    """Plays a few slots of every strategy, and looks at what is claimed and compared.

    Raises:
        ConfigError: whatever would fail in a trial, or at the report.
    """
    for strategy in study.strategies:
        check(strategy)
    labels = study.written or tuple(study.by_label)
    check_claims([claim.model_dump() for claim in study.experiment.claims], labels)
    compare = study.experiment.compare
    if compare is not None and compare.baseline not in {*labels, *study.by_label}:
        raise ConfigError(
            f"compare.baseline: no strategy is called {compare.baseline!r}; "
            + nearest(compare.baseline, labels)
        )


def check(strategy: Strategy) -> None:
    """Builds world, gate, guide or scheduler, and plays a few slots (`dry_run`).

    Raises:
        ConfigError: whatever would fail in a trial, as far as it needs no network.
    """
    with users_faults(strategy.label):
        _check_built(strategy)
    dry_run(strategy)


def _check_built(strategy: Strategy) -> None:
    env = strategy.experiment.env
    try:
        if env.gym is None:
            env.build_workload()
        else:
            _check_gym(strategy, env.build_world(1))
    except ValueError as error:
        if fault_of(error):
            raise
        raise ConfigError(f"env: {error}") from None
    _check_advice(strategy)
    if not strategy.learns:
        scheduler = seeded(strategy.scheduler, strategy.args, seed=0)
        if hasattr(scheduler, "prepare"):
            scheduler.prepare(env.build_world(1))


def _check_advice(strategy: Strategy) -> None:
    """A second network, or a world that is played on, is of the trial's own process."""
    experiment, args = strategy.experiment, strategy.args
    by_agreement = args.get("reliability") == "agreement" and args.get("score", "psi") in OF_AGENT
    if not by_agreement and args.get("score") not in PRICES:
        return
    asked = "reliability agreement" if by_agreement else f"score {args['score']}"
    has_choice = len(experiment.env.training_job) > 1 and strategy.training_kind is None
    if experiment.runners.num or has_choice:
        raise ConfigError(
            f"strategy {strategy.label}: gate.{asked} needs runners.num 0 and one kind of training "
            "job (gate.kind)"
        )
    own_network = exploration_class(strategy.exploration).network is not None
    learner = experiment.learner
    is_plain = learner.algorithm == "dqn" and learner.experience == "replay" and not own_network
    if by_agreement and not is_plain:
        raise ConfigError(
            f"strategy {strategy.label}: gate.{asked} needs learner.algorithm dqn, "
            "learner.experience replay, and an exploration without a network of its own; else td"
        )


def _check_gym(strategy: Strategy, world: Any) -> None:
    """What an environment of Gymnasium has no meaning for is refused."""
    encoder_of(world, **strategy.experiment.learner.observe.model_dump())
    _check_world_says_what_the_gate_asks(strategy, world)
    rules = {strategy.scheduler}
    if strategy.learns and strategy.guide:
        rules = {SCHEDULERS.get(strategy.guide)}
    if jobs := rules & (set(SCHEDULERS.values()) - {SCHEDULERS["random"]}):
        name = next(n for n, rule in SCHEDULERS.items() if rule in jobs)
        raise ConfigError(
            f"strategy {strategy.label}: {name} schedules jobs, and gym.id has none; "
            "take random, or a rule of your own (package.module:Class)"
        )
    try:
        pickle.dumps(world.get_state())
    except Exception as error:
        raise ConfigError(
            f"env.gym: it cannot be saved in a checkpoint ({type(error).__name__}: {error})"
        ) from None


def _check_world_says_what_the_gate_asks(strategy: Strategy, world: Any) -> None:
    env = world.envs[0].unwrapped
    missing = [name for name in _asked_of_the_world(strategy) if not hasattr(env, name)]
    if missing:
        raise ConfigError(
            f"strategy {strategy.label}: asks for {missing[0]}, an attribute that "
            f"{type(env).__name__} does not have"
        )


def _asked_of_the_world(strategy: Strategy) -> Iterator[str]:
    """Attributes of an environment that a gate looks at, its score and its fallback."""
    if strategy.gate in ASKED:
        yield ASKED[strategy.gate]
    score = strategy.args.get("score", "psi")
    names = [score, strategy.args.get("fallback") if score in OF_AGENT else None]
    yield from (ASKED[name] for name in names if name in ASKED)
