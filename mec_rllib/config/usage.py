"""Which keys the strategies of a study use: a key that does nothing is refused, by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mec_rllib.config.experiment import Experiment
from mec_rllib.config.explorations import OLDER
from mec_rllib.config.load import build
from mec_rllib.config.sections import GateConfig, LearnerConfig
from mec_rllib.config.study import Strategy
from mec_rllib.errors import ConfigError
from mec_rllib.gates import GATES
from mec_rllib.lookup import is_import_path, nearest
from mec_rllib.section import section_of

# Of these algorithms only; all other keys of `learner` are used by whoever learns.
OF_ALGORITHMS = {
    "n_step": ("dqn",),
    "act_with": ("dqn",),
    "double_q": ("dqn",),
    "tau": ("dqn", "sac"),
    "alpha": ("dqn", "sac"),
    "beta": ("dqn", "sac"),
}
# Of one kind of experience only.
OF_EXPERIENCES = {"imagined": "imagined", "replay": "replay", "alpha": "replay", "beta": "replay"}
DRAWN = ("bernoulli", "drift")  # workloads that draw their jobs from classes
OF_WORKLOADS = {
    "load": DRAWN,
    "users": DRAWN,
    "classes": DRAWN,
    "bursts": DRAWN,
    "drift": ("drift",),
    "trace": ("trace",),
    "capacity": (*DRAWN, "trace"),
}


def check_usage(values: Mapping[str, Any], strategies: Sequence[Strategy], source: str) -> None:
    """Makes sure that some strategy uses every key.

    Args:
        values: the keys as they were given, nested; defaults are not among them.
        strategies: that are asked.
        source: names the file or the override in errors.

    Raises:
        ConfigError: nobody uses a key; the message says who would.
    """
    defaults = _defaults(values)
    for key, value in _keys(values):
        if key in defaults and defaults[key] == value:
            continue
        asked = _who_uses(key)
        if asked is None:
            continue
        is_used, complaint = asked
        if not any(map(is_used, strategies)):
            raise ConfigError(f"{source}: {key}: {complaint}")


def _defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that nobody asked for: a folder's `config.yaml` is whole, with all the defaults."""
    if not set(Experiment.model_fields) <= set(values):
        return {}
    return dict(_keys(build({"agent": values["agent"]}, "defaults").model_dump(mode="json")))


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys down to what is no mapping; null gives a key back, so it is no use of it."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _keys(value, f"{prefix}{name}.")
        elif value is not None and value != {}:
            yield f"{prefix}{name}", value


Asked = tuple[Callable[[Strategy], bool], str]


def _nobody(who: str) -> str:
    return f"none of the strategies uses it; {who} would"


LEARNS: Asked = (lambda strategy: strategy.learns, _nobody("a gate (strategies: [ats])"))


def _who_uses(key: str) -> Asked | None:
    """Whether a strategy uses a key, and the complaint if none does; None: everybody uses it."""
    section, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    if section == "gate":
        return _of_gate(name)
    if section == "learner":
        return _of_learner(name)
    if section in ("agent", "exploration"):
        return LEARNS
    return _of_env(name) if section == "env" else None


def _of_gate(name: str) -> Asked:
    if name in GateConfig.model_fields:
        return LEARNS
    takers = [gate for gate, kind in GATES.items() if name in section_of(kind).model_fields]
    known = [key for kind in GATES.values() for key in section_of(kind).model_fields]
    complaint = f"unknown key; {nearest(name, dict.fromkeys([*known, *GateConfig.model_fields]))}"
    if takers:
        complaint = _nobody(", ".join(takers[:3]))
    return (
        lambda strategy: strategy.learns and name in section_of(strategy.gate).model_fields,
        complaint,
    )


def _of_learner(name: str) -> Asked | None:
    if exploration := OLDER.get(name):
        return (
            lambda s: s.learns and s.exploration == exploration,
            _nobody(f"exploration: {exploration}"),
        )
    if name not in LearnerConfig.model_fields:
        return None
    algorithms, experience = OF_ALGORITHMS.get(name), OF_EXPERIENCES.get(name)
    if algorithms is None and experience is None:
        return LEARNS
    wanted = []
    if algorithms is not None:
        wanted.append(f"learner.algorithm {' or '.join(algorithms)}")
    if experience is not None:
        wanted.append(f"learner.experience: {experience}")

    def is_used(strategy: Strategy) -> bool:
        learner = strategy.experiment.learner
        fits = algorithms is None or learner.algorithm in algorithms
        return strategy.learns and fits and experience in (None, learner.experience)

    return is_used, _nobody(" with ".join(wanted))


def _of_env(name: str) -> Asked | None:
    if name == "workload_args":
        return lambda s: is_import_path(s.experiment.env.workload), _nobody(
            "a workload of your own"
        )
    if name == "training_job":
        return LEARNS
    workloads = OF_WORKLOADS.get(name)
    if workloads is None:
        return None
    return (
        lambda s: s.experiment.env.gym is None and s.experiment.env.workload in workloads,
        _nobody(f"env.workload: {' or '.join(workloads)}"),
    )
