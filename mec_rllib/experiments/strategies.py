"""What competes: each entry under `strategies:` names a scheduler, or a gate for the DQN."""

import inspect
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.errors import ConfigError
from mec_rllib.experiments.config import AGENTS, Experiment, with_values
from mec_rllib.experiments.sections import GateConfig
from mec_rllib.gates import GATES, Gate, Idle, Never, ServerEmpty
from mec_rllib.imports import find, is_import_path, nearest
from mec_rllib.schedulers import SCHEDULERS, Scheduler

# Training every slot, or every other slot, pays for one update each, not for 32.
ONE_UPDATE_GATES = ("ideal", "always")
DEFAULT_UPDATES_PER_JOB = 32
LABEL = re.compile(r"[^\W_][\w.+=-]{0,59}")
# Keys of `gate` that no gate takes itself.
OF_ALL_GATES = ("td_rate", "updates_per_job", "until", "kind")
SHARED = ("strategies", "seeds", "slots", "name", "pretrain", "search", "tracking")


@dataclass(frozen=True)
class Strategy:
    """One competitor: a gate that trains a DQN, or a scheduler that learns nothing.

    Its experiment is the whole config as this strategy sees it (after its `set` keys).
    """

    label: str
    experiment: Experiment
    gate: type[Gate] | None = None
    scheduler: Callable[..., Scheduler] | None = None
    args: Mapping[str, Any] | None = None  # of the gate or the scheduler
    updates_per_job: int = 0  # where the kind of training job does not say

    @property
    def updates_of_kinds(self) -> list[int]:
        """K of each kind of training jobs."""
        kinds = self.experiment.env.kinds_of_training
        return [kind.updates or self.updates_per_job for kind in kinds]

    @property
    def batch_of_kinds(self) -> list[int]:
        """Transitions per update, for each kind of training jobs."""
        kinds = self.experiment.env.kinds_of_training
        return [kind.batch or self.experiment.learner.batch for kind in kinds]

    @property
    def training_kind(self) -> int:
        """Index of the kind that the gate asks for, unless it chooses itself."""
        names = [kind.name for kind in self.experiment.env.kinds_of_training]
        wanted = self.experiment.gate.kind
        return 0 if wanted is None else names.index(wanted)

    def build_scheduler(self, seed: int) -> Scheduler:
        """The scheduler; one that draws gets the seed."""
        assert self.scheduler is not None
        return _build(self.scheduler, self.args or {}, seed)

    def build_guide(self, seed: int) -> Scheduler:
        """The rule that acts first (`exploration: guided`).

        Raises:
            ConfigError: an unknown rule, or arguments that it does not take.
        """
        guide, place = self.experiment.learner.guide, f"strategy {self.label}: learner.guide"
        found = _find("scheduler", guide.scheduler, place)
        _check_arguments(found, guide.args, place)
        return _build(found, guide.args, seed)

    def check(self) -> None:
        """Builds once everything that can be built without Ray.

        Raises:
            ConfigError: whatever would fail at the start of a trial.
        """
        env = self.experiment.env
        try:
            if env.gym is None:
                env.build_workload()
            else:
                self._check_gym(env.build_world(1))
        except ValueError as error:
            raise ConfigError(f"env: {error}") from None
        try:
            if self.gate is not None:
                self.gate(self.experiment.runners.servers, **(self.args or {}))
                if self.experiment.exploration == "guided":
                    self.build_guide(seed=0)
                return
            scheduler = self.build_scheduler(seed=0)
            if hasattr(scheduler, "prepare"):
                scheduler.prepare(env.build_world(1))
        except ConfigError:
            raise
        except (ValueError, TypeError) as error:
            raise ConfigError(f"strategy {self.label}: {error}") from None

    def _check_gym(self, world: Any) -> None:
        """What an environment of Gymnasium has no meaning for is refused."""
        encoder_of(world, **self.experiment.learner.observe.model_dump())
        self._check_world_says_what_the_gate_asks(world)
        rules = {self.scheduler}
        if self.gate is not None and self.experiment.exploration == "guided":
            rules = {SCHEDULERS.get(self.experiment.learner.guide.scheduler)}
        if jobs := rules & (set(SCHEDULERS.values()) - {SCHEDULERS["random"]}):
            name = next(n for n, rule in SCHEDULERS.items() if rule in jobs)
            raise ConfigError(
                f"strategy {self.label}: {name} schedules jobs, and gym.id has none; "
                "take random, or a rule of your own (package.module:Class)"
            )
        try:
            pickle.dumps(world.get_state())
        except Exception as error:
            raise ConfigError(
                f"env.gym: it cannot be saved in a checkpoint ({type(error).__name__}: {error})"
            ) from None

    def _check_world_says_what_the_gate_asks(self, world: Any) -> None:
        args = self.args or {}
        asked = "is_idle" if self.gate is Idle or args.get("fallback") == "idle" else None
        if self.gate is ServerEmpty or args.get("fallback") == "server_empty":
            asked = "is_empty"
        if asked is not None and not hasattr(world.envs[0].unwrapped, asked):
            raise ConfigError(
                f"strategy {self.label}: asks for {asked}, an attribute that "
                f"{type(world.envs[0].unwrapped).__name__} does not have"
            )


def _build(scheduler: Callable[..., Scheduler], args: Mapping[str, Any], seed: int) -> Scheduler:
    if "seed" in inspect.signature(scheduler).parameters:
        args = {"seed": seed} | dict(args)
    return scheduler(**args)


def resolve(experiment: Experiment) -> list[Strategy]:
    """All strategies of an experiment, with labels that differ.

    Raises:
        ConfigError: an unknown name or key, an import path that leads nowhere, a label twice.
    """
    strategies: list[Strategy] = []
    for k, entry in enumerate(experiment.strategies):
        strategy = _resolve(experiment, entry, f"strategies.{k}")
        if strategy.label in [other.label for other in strategies]:
            raise ConfigError(
                f"strategies.{k}: label {strategy.label!r} is taken; give it one of its own "
                f"({{..., label: {strategy.label}2}})"
            )
        strategies.append(strategy)
    return strategies


def _resolve(experiment: Experiment, entry: str | Mapping[str, Any], place: str) -> Strategy:
    options = dict(entry) if isinstance(entry, Mapping) else {}
    if not options:
        kind, name = None, str(entry)
    elif ("gate" in options) == ("scheduler" in options):
        raise ConfigError(f"{place}: needs either gate: NAME or scheduler: NAME")
    else:
        kind = "gate" if "gate" in options else "scheduler"
        name = str(options.pop(kind))
    found = _find(kind, name, place)
    label = str(options.pop("label", name.rpartition(":")[2]))
    if not LABEL.fullmatch(label):  # it names a folder
        raise ConfigError(
            f"{place}: label {label!r} must be 1-60 letters, digits, or any of -_.+=, "
            "and begin with a letter or digit"
        )
    experiment = _with_agent(experiment, options, place)
    experiment = _with_overrides(experiment, options.pop("set", None) or {}, place)
    own_args = options.pop("args", None) or {}
    if not isinstance(own_args, Mapping):
        raise ConfigError(f"{place}: args must be keys and values")
    if isinstance(found, type) and issubclass(found, Gate):
        if own_args and not is_import_path(name):
            raise ConfigError(
                f"{place}: args is for gates of your own; write {name}'s keys directly"
            )
        return _gate(experiment, name, found, label, options, own_args, place)
    if options:
        known = ["scheduler", "label", "args", "set"]
        key = next(iter(options))
        raise ConfigError(f"{place}: unknown key {key!r}; {nearest(key, known)}")
    _check_arguments(found, own_args, place)
    return Strategy(label, experiment, scheduler=found, args=own_args)


def _find(kind: str | None, name: str, place: str) -> Any:
    gates: dict[str, Any] = {} if kind == "scheduler" else GATES
    builtin = gates | ({} if kind == "gate" else SCHEDULERS)
    try:
        found = find(name, builtin, kind or "strategy")
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    is_gate = isinstance(found, type) and issubclass(found, Gate)
    if kind == "gate" and not is_gate:
        raise ConfigError(f"{place}: {name} is no mec_rllib.gates.Gate")
    if not is_gate and not callable(getattr(found, "select", None)):
        raise ConfigError(f"{place}: {name} is neither a Gate nor a scheduler with `select`")
    return found


def _gate(
    experiment: Experiment,
    name: str,
    gate: type[Gate],
    label: str,
    options: Mapping[str, Any],
    own_args: Mapping[str, Any],
    place: str,
) -> Strategy:
    takes = inspect.signature(gate).parameters
    usable = [k for k in GateConfig.model_fields if k in takes or k in OF_ALL_GATES]
    for key in options:
        if key not in usable:
            raise ConfigError(
                f"{place}: {label} has no key {str(key)!r}; "
                + nearest(str(key), [*usable, "label", "agent", "set", "args"])
            )
    experiment = _with_overrides(experiment, {f"gate.{k}": v for k, v in options.items()}, place)
    args = {k: getattr(experiment.gate, k) for k in usable if k in takes} | dict(own_args)
    _check_kind(experiment, gate, f"{place}: {label}")
    if "kind_costs" in takes:
        args |= {"kind_costs": [kind.cost for kind in experiment.env.kinds_of_training]}
    _check_arguments(gate, {"num_servers": 1, **args}, place)
    default = 1 if name in ONE_UPDATE_GATES else DEFAULT_UPDATES_PER_JOB
    updates = experiment.gate.updates_per_job or default
    return Strategy(label, experiment, gate=gate, args=args, updates_per_job=updates)


def _check_kind(experiment: Experiment, gate: type[Gate], place: str) -> None:
    wanted, kinds = experiment.gate.kind, experiment.env.training_jobs
    if wanted is None:
        if kinds and gate.occupies and not gate.chooses_kind and gate is not Never:
            names = ", ".join(kind.name for kind in kinds)
            raise ConfigError(f"{place}: which kind of training job does it ask for? kind: {names}")
        return
    if gate.chooses_kind:
        raise ConfigError(f"{place} chooses among the kinds of training jobs: no kind")
    if wanted not in [kind.name for kind in kinds]:
        raise ConfigError(
            f"{place}: kind {wanted!r} is not in env.training_jobs; "
            + nearest(wanted, [kind.name for kind in kinds])
        )


def _with_agent(experiment: Experiment, options: dict[str, Any], place: str) -> Experiment:
    """A strategy's own agent takes the place of the experiment's, with all its keys."""
    if "agent" not in options:
        return experiment
    agent = str(options.pop("agent"))
    if agent not in AGENTS:
        raise ConfigError(f"{place}: unknown agent {agent!r}; {nearest(agent, AGENTS)}")
    return _with_overrides(experiment, {"agent": agent} | AGENTS[agent], place)


def _with_overrides(experiment: Experiment, values: Any, place: str) -> Experiment:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{place}: set must be keys and values")
    for key in values:
        if str(key).split(".")[0] in SHARED:
            raise ConfigError(f"{place}: set.{key}: all strategies share {key}")
    return with_values(experiment, values, place) if values else experiment


def _check_arguments(target: Callable, args: Mapping[str, Any], place: str) -> None:
    try:
        inspect.signature(target).bind(**args)
    except TypeError as error:
        raise ConfigError(f"{place}: args: {error}") from None
