"""The config file: the experiment that it describes, `--set` overrides, errors of one line.

An experiment is data: strategies x seeds on one environment. `load` turns a YAML file into an
`Experiment` or says in one line what is wrong, where, and what the nearest right value is.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.section import Name, Section
from mec_rllib.errors import ConfigError
from mec_rllib.experiments.sections import (
    NETWORKS_OF_THEIR_OWN,
    EvaluationConfig,
    GateConfig,
    LearnerConfig,
    PretrainConfig,
    RunnersConfig,
    SearchConfig,
    Seed,
    TrackingConfig,
)
from mec_rllib.experiments.yaml_text import parse_yaml
from mec_rllib.imports import nearest

Agent = Literal["paper", "deployable", "sac", "ppo"]
# What an agent is: values for keys that a config does not give itself.
AGENTS: dict[str, dict[str, Any]] = {
    "paper": {
        "exploration": "epsilon_greedy",
        "learner.observe.afterstates": False,
        "learner.n_step": 1,
        "learner.lr": 5e-4,
        "learner.act_with": "online",
        "learner.algorithm": "dqn",
        "gate.fallback": "pts",
    },
    "deployable": {
        "exploration": "guided",
        "learner.observe.afterstates": True,
        "learner.n_step": 3,
        "learner.lr": 3e-4,
        "learner.act_with": "target",
        "learner.algorithm": "dqn",
        "gate.fallback": "server_empty",
    },
}
for _name in ("sac", "ppo"):
    AGENTS[_name] = AGENTS["paper"] | {"exploration": "sampled", "learner.algorithm": _name}


class Experiment(Section):
    """Everything an experiment is: the root of the config file."""

    name: Name = Field("experiment", description="what reports say")
    strategies: list[str | dict[str, Any]] = Field(
        ["ats"],
        min_length=1,
        description="gates and schedulers by name, or {gate: or scheduler: NAME, label, "
        "gate keys, args (of your own class), set: {config.key: value}}",
    )
    seeds: list[Seed] = Field([0], min_length=1, description="each strategy runs once per seed")
    slots: int = Field(200_000, ge=1, le=10**12, description="slots, all servers together")
    env: EnvConfig = Field(default_factory=EnvConfig, description="the servers and their jobs")
    gate: GateConfig = Field(default_factory=GateConfig, description="when to train")
    agent: Agent = Field(
        "paper",
        description="paper, the source's Double DQN, or deployable: sets exploration: guided, "
        "learner.observe.afterstates: true, learner.n_step: 3, learner.lr: 3.0e-4, "
        "learner.act_with: target, gate.fallback: server_empty, where they are not given; "
        "sac and ppo: the actor-critics, which explore by sampling",
    )
    exploration: Literal[
        "epsilon_greedy", "boltzmann", "bootstrapped", "noisy", "guided", "none", "sampled"
    ] = Field(
        "epsilon_greedy",
        description="how it explores (sampled: sac and ppo only)",
    )
    learner: LearnerConfig = Field(default_factory=LearnerConfig, description="how it learns")
    pretrain: PretrainConfig | None = Field(
        None,
        description="train a policy to start from, for free and on other jobs; null = untrained",
    )
    search: SearchConfig | None = Field(
        None, description="search the first strategy's hyper-parameters before the experiment"
    )
    runners: RunnersConfig = Field(default_factory=RunnersConfig, description="who plays")
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="greedy evaluation at the end"
    )
    tracking: TrackingConfig = Field(
        default_factory=TrackingConfig, description="who else is told while it runs"
    )

    @model_validator(mode="before")
    @classmethod
    def _agent_fills_in(cls, values: Any) -> Any:
        agent = values.get("agent") if isinstance(values, Mapping) else None
        return (
            _filled(values, AGENTS[agent]) if isinstance(agent, str) and agent in AGENTS else values
        )

    @model_validator(mode="after")
    def _actor_critics_have_what_they_need(self) -> Self:
        algorithm, learner = self.learner.algorithm, self.learner
        if (algorithm == "dqn") == (self.exploration == "sampled"):
            raise ValueError(
                f"exploration is {self.exploration}, which does not go with learner.algorithm "
                f"{algorithm}: sac and ppo are sampled, dqn is not"
            )
        if self.exploration in NETWORKS_OF_THEIR_OWN and learner.observe.afterstates:
            raise ValueError(
                f"exploration {self.exploration} has a network of its own: no afterstates "
                "(agent: paper)"
            )
        if algorithm == "dqn":
            return self
        if self.runners.num or learner.observe.afterstates or learner.n_step > 1:
            raise ValueError(
                f"learner.algorithm {algorithm} needs runners.num 0, learner.n_step 1, and no "
                "afterstates"
            )
        if algorithm == "ppo" and self.env.training_jobs:
            raise ValueError(
                "learner.algorithm ppo uses a rollout up at once: no env.training_jobs"
            )
        if algorithm == "ppo" and self.env.gym is not None:
            raise ValueError("learner.algorithm ppo knows continuing tasks only: no env.gym")
        return self

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is named twice")
        return seeds

    @model_validator(mode="after")
    def _search_is_fair(self) -> Self:
        if self.search is None:
            return self
        if shared := set(self.search.seeds) & set(self.seeds):
            raise ValueError(f"search.seeds and seeds share {min(shared)}: report on fresh seeds")
        if self.pretrain is not None:
            raise ValueError("search and pretrain cannot be combined")
        return self


def _filled(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the dotted keys that are missing; what is no section is left to be refused."""
    filled = dict(values)
    for key, default in defaults.items():
        place, *rest = key.split(".", 1)
        inner = filled.get(place)
        if rest and inner is None:  # absent, or an empty section
            inner = {}
        if rest and isinstance(inner, Mapping):
            filled[place] = _filled(inner, {rest[0]: default})
        elif not rest and place not in filled:
            filled[place] = default
    return filled


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Reads a config file and applies `--set` overrides.

    Args:
        path: YAML file.
        overrides: "a.b=value", the value in YAML; numbers index lists.

    Raises:
        ConfigError: one line: what, where, the nearest right value.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        raise ConfigError(f"{path}: cannot be read ({reason})") from None
    values = parse_yaml(text, str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold keys and values, not a {type(values).__name__}")
    for override in overrides:
        _override(values, override)
    return build(values, str(path))


def build(values: Mapping[str, Any], source: str) -> Experiment:
    """A checked experiment from plain values; `source` names them in errors."""
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_one_line(error)}") from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply") from None


def with_values(experiment: Experiment, values: Mapping[str, Any], source: str) -> Experiment:
    """A copy with the dotted keys set, checked again."""
    plain = experiment.model_dump()
    for key, value in values.items():
        _set(plain, str(key), value, source)
    return build(plain, source)


def _override(values: dict[str, Any], override: str) -> None:
    source = f"--set {override}"
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{source}: must have the form a.b=value")
    _set(values, key.strip(), parse_yaml(text, source), source)


def _set(values: dict[str, Any], key: str, value: Any, source: str) -> None:
    *parents, last = key.split(".")
    place: Any = values
    for part in parents:
        if isinstance(place, dict):
            if place.get(part) is None:  # absent, or an empty section in the file
                place[part] = {}
            place = place[part]
        else:
            place = _item(place, part, source)
    if isinstance(place, dict):
        place[last] = value
    else:
        _item(place, last, source)
        place[int(last)] = value


def _item(place: Any, part: str, source: str) -> Any:
    if not isinstance(place, list):
        raise ConfigError(f"{source}: {part!r} is below a value that has no keys")
    if not part.isdigit() or int(part) >= len(place):
        raise ConfigError(f"{source}: {part!r} is no index of a list of {len(place)}")
    return place[int(part)]


def _one_line(error: ValidationError) -> str:
    """The first problem: its place, what is wrong, and the nearest right key."""
    problems = error.errors(include_url=False)
    # In a union every alternative complains; the longest place is the one the user meant.
    first = max(problems, key=lambda p: (p["type"] == "extra_forbidden", len(p["loc"])))
    model, shown = _walk(first["loc"])
    where = ".".join(shown) or "config"
    if first["type"] == "extra_forbidden" and model is not None:
        return f"{where}: unknown key; {nearest(shown[-1], model.model_fields)}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if first["type"] == "value_error" or first["type"] == "missing":
        return f"{where}: {_clean(message)}"
    return f"{where}: {_clean(message)}, not {_short(first['input'])}"


def _walk(loc: Iterable[int | str]) -> tuple[type[BaseModel] | None, list[str]]:
    """The model that the place is in, and the place without pydantic's union labels."""
    model: type[BaseModel] | None = Experiment
    shown: list[str] = []
    for part in loc:
        field = model.model_fields.get(part) if model and isinstance(part, str) else None
        if field:
            model = _model_of(field.annotation)
        if field or not shown or not _is_union_label(part):
            shown.append(str(part))
    return model, shown


def _is_union_label(part: int | str) -> bool:
    if isinstance(part, int):
        return False
    return part in ("float", "int", "str", "constrained-int", "constrained-float") or "[" in part


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The section inside an annotation such as `list[ClassConfig]` or `TraceConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if found := _model_of(inner):
            return found
    return None


def _clean(text: str) -> str:
    return " ".join(text.split())


def _short(value: Any) -> str:
    text = _clean(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."
