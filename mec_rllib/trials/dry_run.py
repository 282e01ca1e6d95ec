"""A few slots of a strategy, with all code that its user brings along, before anything starts.

Played for real: the workload or the environment, and the scheduler, or the gate and its guide. The
gate sees a `GateView` whose psi and TD errors are drawn: no network is needed, so neither torch
nor RLlib is imported, and it costs milliseconds. What a user wrote is called as in a trial.
"""

import copy
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mec_rllib.config.study import Strategy
from mec_rllib.envs.gym_world import GymBatch
from mec_rllib.errors import ConfigError
from mec_rllib.gates import Gate, GateView, build_gate
from mec_rllib.lookup import seeded
from mec_rllib.rl.exploration import Guided
from mec_rllib.rl.gating import view_of
from mec_rllib.schedulers import Scheduler, random_actions
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.sim.training_jobs import NO_KIND
from mec_rllib.trials.trial import evaluation_world
from mec_rllib.user_code import WrongAnswerError, described, fault_of, named, one_line, wrong_answer

SLOTS = 100
LONGEST_S = 1.0  # of one world: a slow rule is believed after fewer slots


def dry_run(strategy: Strategy) -> None:
    """Plays a few slots.

    Raises:
        ConfigError: what would fail in a trial: file and line of the user's code, what it has to
            return and what it returned.
    """
    experiment = strategy.experiment
    with users_faults(strategy.label):
        runners = experiment.runners
        if not strategy.learns:
            world = experiment.env.build_world(max(runners.num, 1) * runners.servers)
            for played in (world, evaluation_world(experiment, seed=0)):
                _play_scheduler(seeded(strategy.scheduler, strategy.args, seed=0), played)
            return
        assert strategy.gate is not None
        world = experiment.env.build_world(runners.servers)  # of one runner
        guide = Guided(**strategy.exploration_args).guide if strategy.guide else None
        costs, kind = world.kind_costs, strategy.training_kind
        where, free = (world.num_servers, costs, kind), experiment.gate.free
        gate = build_gate(strategy.gate, *where, free=free, **strategy.args)
        _play_gate(gate, guide, world)


@contextmanager
def users_faults(label: str) -> Iterator[None]:
    """Turns errors of the user's code into one line; a bug of ours keeps its traceback.

    Args:
        label: of the strategy.

    Raises:
        ConfigError: an error in the user's code, or a value that it was given.
    """
    try:
        yield
    except ConfigError:
        raise
    except WrongAnswerError as error:
        raise ConfigError(error) from error
    except Exception as error:
        if fault := fault_of(error):
            raised = f"{fault.function}() raised {named(fault.error)}"
            raise ConfigError(f"{fault.place}: {raised}") from error
        if isinstance(error, ValueError | TypeError):
            raise ConfigError(f"strategy {label}: {one_line(error)}") from error
        raise


def _play_scheduler(scheduler: Scheduler, world: Any) -> None:
    for _ in _slots():
        world.step(_selected(scheduler, world))


def _play_gate(gate: Gate, guide: Scheduler | None, world: ServerBatch | GymBatch) -> None:
    rng, reward = generator(0, Purpose.ACTING), np.zeros(world.num_servers)
    gate.reasons()
    for _ in _slots():
        wanted = _wanted(gate, _view(gate, world, reward, rng), world.kinds)
        if gate.occupies:
            world.request_training(wanted)
        actions = random_actions(world.mask, rng) if guide is None else _selected(guide, world)
        reward = world.step(actions) / world.reward_scale
        completed = world.completed != NO_KIND
        if gate.occupies and completed.any():
            _check_bools(gate, "credits", gate.credits(completed), world.num_servers)
        for where in gate.reasons().values():
            _check_bools(gate, "reasons", where, world.num_servers)
    gate.metrics()
    state = gate.get_state()
    _check_pickle(gate, state)
    gate.set_state(state)
    copy.deepcopy(guide)  # it is part of a checkpoint, too


def _slots() -> Iterator[int]:
    until = time.monotonic() + LONGEST_S
    for slot in range(SLOTS):
        yield slot
        if time.monotonic() > until:
            return


def _view(gate: Gate, world: Any, reward: Any, rng: np.random.Generator) -> GateView:
    """As a runner makes it, but with psi and TD errors that are drawn."""
    n = world.num_servers
    shape = (n, world.kinds) if gate.chooses_kind else (n,)
    psi = -rng.random(shape) if gate.needs_psi else np.full(shape, np.nan)
    asked = gate.needs_psi or gate.needs_td
    td_error = rng.normal(size=n) if asked else np.full(n, np.nan)
    drawn = rng.random(n)
    return view_of(
        world,
        gate,
        psi=psi,
        td_statistic=drawn,
        rng=rng,
        td_error=td_error,
        reward=reward,
    )


def _wanted(gate: Gate, view: GateView, kinds: int) -> Any:
    wanted, n = gate.wants(view), len(view.can_ask)
    if not gate.chooses_kind:
        _check_bools(gate, "wants", wanted, n)
        return wanted
    is_array = isinstance(wanted, np.ndarray) and wanted.dtype.kind in "iu"
    if not is_array or wanted.shape != (n,) or wanted.min() < NO_KIND or wanted.max() >= kinds:
        values = f" from {wanted.min()} to {wanted.max()}" if is_array and wanted.size else ""
        must = f"(N,) integers -1..{kinds - 1}, N = {n} here, returned {described(wanted)}{values}"
        raise wrong_answer(gate, "wants", must)
    return wanted


def _check_bools(gate: Gate, method: str, answer: Any, n: int) -> None:
    is_array = isinstance(answer, np.ndarray) and answer.dtype == bool
    if not is_array or answer.shape != (n,):
        must = f"(N,) booleans, N = {n} here, returned {described(answer)}"
        raise wrong_answer(gate, method, must)


def _check_pickle(gate: Gate, state: Any) -> None:
    """A checkpoint holds it."""
    try:
        pickle.dumps(state)
    except Exception as error:
        must = f"what a checkpoint can hold (pickle): {named(error)}"
        raise wrong_answer(gate, "get_state", must) from None


def _selected(scheduler: Scheduler, world: Any) -> Any:
    n, mask = world.num_servers, world.mask
    answer = scheduler.select(world)
    actions = np.asarray(answer)
    if actions.shape != (n,) or actions.dtype.kind not in "iu":
        must = f"(N,) integers, N = {n} here, returned {described(answer)}"
        raise wrong_answer(scheduler, "select", must)
    is_there = (actions >= 0) & (actions < mask.shape[1])
    allowed = is_there & mask[np.arange(n), np.where(is_there, actions, 0)]
    if not allowed.all():
        server = int(np.argmin(allowed))
        fits = ", ".join(map(str, np.flatnonzero(mask[server])))
        must = f"actions that batch.mask allows, returned {actions[server]} where it allows {fits}"
        raise wrong_answer(scheduler, "select", must)
    return actions
