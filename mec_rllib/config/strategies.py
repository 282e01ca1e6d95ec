"""What competes: each entry under `strategies:` names a scheduler, or a gate for the agent."""

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mec_rllib.config.agents import FILLED, default_gate_of, name_once_filled, settings_of
from mec_rllib.config.experiment import Experiment
from mec_rllib.config.explorations import OLDER, exploration_class, name_and_keys
from mec_rllib.config.load import one_line, with_values
from mec_rllib.config.sections import GateConfig
from mec_rllib.config.study import OF_THE_WHOLE, Strategy, Study
from mec_rllib.errors import ConfigError
from mec_rllib.gates import GATES, Gate
from mec_rllib.lookup import find, is_import_path, nearest, path_of
from mec_rllib.schedulers import SCHEDULERS
from mec_rllib.section import section_of

LABEL = re.compile(r"[^\W_][\w.+=-]{0,59}")
FORMER = {
    "ats_kinds": "ats: without `kind` it chooses among several kinds of training jobs",
    "price": "a score of budget: {gate: budget, score: worth, rate: decaying}",
    "td_slope": "a gate of one's own: examples/gates/td_slope.py",
    "bandit": "a gate of one's own: examples/gates/bandit.py",
}
SHARED = OF_THE_WHOLE | {"slots", "pretrain", "tracking"}


def resolve(experiment: Experiment) -> Study:
    """The study of an experiment: all its strategies, with labels that differ.

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
    return Study(experiment, tuple(strategies))


def _resolve(experiment: Experiment, entry: str | Mapping[str, Any], place: str) -> Strategy:
    options = dict(entry) if isinstance(entry, Mapping) else {}
    if not options:
        kind, name = None, str(entry)
    elif gate := _default_gate(options, place):
        kind, name = "gate", gate
        options.setdefault("label", Path(str(options["agent"])).stem)
    elif ("gate" in options) == ("scheduler" in options):
        raise ConfigError(f"{place}: needs either gate: NAME or scheduler: NAME, or an agent")
    else:
        kind = "gate" if "gate" in options else "scheduler"
        name = str(options.pop(kind))
    found = find_strategy(kind, name, place)
    label = str(options.pop("label", name.rpartition(":")[2]))
    check_label(label, place)
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
    check_arguments(found, own_args, place)
    return Strategy(label, False, name, _path(name, found), dict(own_args), experiment)


def _default_gate(options: Mapping[str, Any], place: str) -> str | None:
    """Of an entry that names an agent, and neither gate nor scheduler."""
    if "agent" not in options or "gate" in options or "scheduler" in options:
        return None
    agent = str(options["agent"])
    try:
        gate = default_gate_of(agent)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    if gate is None:
        raise ConfigError(f"{place}: agent {agent} goes with any gate: needs gate: NAME")
    return gate


def check_label(label: str, place: str) -> None:
    """Raises ConfigError if a label cannot be the name of a folder."""
    if not LABEL.fullmatch(label):
        raise ConfigError(
            f"{place}: label {label!r} must be 1-60 letters, digits, or any of -_.+=, "
            "and begin with a letter or digit"
        )


def find_strategy(kind: str | None, name: str, place: str) -> Any:
    """The class that a name or an import path leads to.

    Args:
        kind: "gate" or "scheduler"; None: either.
        name: of a built-in one, or `package.module:Class`.
        place: in the config, for errors.

    Raises:
        ConfigError: it leads nowhere, or to something else.
    """
    gates: dict[str, Any] = {} if kind == "scheduler" else GATES
    builtin = gates | ({} if kind == "gate" else SCHEDULERS)
    if name in FORMER:
        raise ConfigError(f"{place}: {name} is now {FORMER[name]}")
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


def _path(name: str, found: Any) -> str:
    return name if is_import_path(name) else path_of(found)


def _gate(
    experiment: Experiment,
    name: str,
    gate: type[Gate],
    label: str,
    options: Mapping[str, Any],
    own_args: Mapping[str, Any],
    place: str,
) -> Strategy:
    section = section_of(gate)
    usable = [*section.model_fields, *GateConfig.model_fields]
    for key in options:
        if key not in usable:
            raise ConfigError(
                f"{place}: {label} has no key {str(key)!r}; "
                + nearest(str(key), [*usable, "label", "agent", "set", "args"])
            )
    experiment = _with_overrides(experiment, {f"gate.{k}": v for k, v in options.items()}, place)
    given = {k: v for k, v in experiment.gate.model_dump().items() if k in section.model_fields}
    try:
        args = section.model_validate(given | dict(own_args)).model_dump()
    except ValidationError as error:
        where = "args" if own_args else "gate"
        raise ConfigError(f"{place}: {where}.{one_line(error, section)}") from None
    _check_kind(experiment, gate, f"{place}: {label}")
    updates = experiment.gate.updates_per_job or gate.updates_per_job
    explored = _exploration_args(experiment, f"{place}: ")
    return Strategy(
        label=label,
        learns=True,
        rule=name,
        path=_path(name, gate),
        args=args,
        experiment=experiment,
        updates_per_job=updates,
        exploration_args=explored,
    )


def _exploration_args(experiment: Experiment, place: str) -> dict[str, Any]:
    """The arguments of an experiment's exploration, but for the seed.

    Raises:
        ConfigError: keys that it does not have, or the older spelling beside the newer one.
    """
    name, keys = name_and_keys(experiment.exploration)
    older = next((key for key, explored in OLDER.items() if explored == name), None)
    given = getattr(experiment.learner, older) if older else None
    if given is not None and not isinstance(given, Mapping):
        given = {older: given}  # sigma0 is a key itself
    if keys and given and not _are_the_agents(experiment):
        raise ConfigError(f"{place}exploration.{name} and learner.{older} are the same: give one")
    where = f"learner.{older}" if given else f"exploration.{name}"
    try:
        section = section_of(exploration_class(name))
        args = section.model_validate(keys | dict(given or {})).model_dump()
    except ValidationError as error:
        raise ConfigError(f"{place}{where}.{one_line(error, section)}") from None
    except ValueError as error:
        raise ConfigError(f"{place}{error}") from None
    if name == "guided":
        rule = find_strategy("scheduler", args["scheduler"], place + where)
        if getattr(rule, "occupies", False):
            raise ConfigError(
                f"{place}{where}.scheduler: {args['scheduler']} inserts training jobs of its own: "
                "it guides nobody; take index, reservation, ..."
            )
        check_arguments(rule, args["args"] or {}, place + where)
    return args


def _are_the_agents(experiment: Experiment) -> bool:
    """Whether the keys of the exploration come from the agent's file, not from the config."""
    if experiment.agent.startswith(FILLED):  # the file may not be there any more
        return True
    return bool(settings_of(experiment.agent).get("exploration") == experiment.exploration)


def _check_kind(experiment: Experiment, gate: type[Gate], place: str) -> None:
    wanted, names = experiment.gate.kind, [kind.name for kind in experiment.env.training_job]
    if wanted is None:
        if len(names) > 1 and not gate.can_choose_kind():
            listed = ", ".join(names)
            raise ConfigError(
                f"{place}: which kind of training job does it ask for? kind: {listed}"
            )
    elif gate.chooses_kind:
        raise ConfigError(f"{place} chooses among the kinds of training jobs: no kind")
    elif wanted not in names:
        raise ConfigError(
            f"{place}: kind {wanted!r} is not in env.training_job; {nearest(wanted, names)}"
        )


def _with_agent(experiment: Experiment, options: dict[str, Any], place: str) -> Experiment:
    """A strategy's own agent takes the place of the experiment's, with all its keys."""
    if "agent" not in options:
        return experiment
    agent = str(options.pop("agent"))
    try:
        settings = settings_of(agent)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    return _with_overrides(experiment, {"agent": name_once_filled(agent)} | settings, place)


def _with_overrides(experiment: Experiment, values: Any, place: str) -> Experiment:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{place}: set must be keys and values")
    for key in values:
        if str(key).split(".")[0] in SHARED:
            raise ConfigError(f"{place}: set.{key}: all strategies share {key}")
    return with_values(experiment, values, place) if values else experiment


def check_arguments(target: Callable, args: Mapping[str, Any], place: str) -> None:
    """Raises ConfigError if a class or function does not take these arguments."""
    try:
        inspect.signature(target).bind(**args)
        if str(target.__module__).startswith("mec_rllib."):
            section_of(target).model_validate({key: args[key] for key in args if key != "seed"})
    except TypeError as error:
        raise ConfigError(f"{place}: args: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{place}: args.{one_line(error, section_of(target))}") from None
