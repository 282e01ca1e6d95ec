"""A study: an experiment and its strategies, resolved once and handed on. Data only."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mec_rllib.config.experiment import Experiment
from mec_rllib.config.explorations import OLDER, name_and_keys
from mec_rllib.config.sections import GateConfig
from mec_rllib.lookup import load_path

if TYPE_CHECKING:
    from mec_rllib.gates import Gate
    from mec_rllib.schedulers import Scheduler

# Keys of the config that are about the whole experiment: they may change, a trial stays the same.
OF_THE_WHOLE = {"name", "strategies", "seeds", "search", "claims", "compare"}


@dataclass(frozen=True)
class Strategy:
    """One competitor: a gate that trains an agent, or a scheduler that learns nothing.

    Classes are kept by their import path, and looked up where they act.

    Attributes:
        label: its name in this study; it names a folder.
        learns: whether it is a gate with an agent.
        rule: name of the gate or the scheduler, as the config has it.
        path: `module:Class` of the gate or the scheduler.
        args: arguments of that class, but for the number of servers and the seed.
        experiment: the whole config as this strategy sees it (after its agent and `set` keys).
        updates_per_job: K, where the kind of training job does not say; 0 for schedulers.
        exploration_args: arguments of the exploration, but for the seed.
    """

    label: str
    learns: bool
    rule: str
    path: str
    args: Mapping[str, Any]
    experiment: Experiment
    updates_per_job: int = 0
    exploration_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gate(self) -> "type[Gate] | None":
        """The class of its gate; None if it learns nothing."""
        return load_path(self.path) if self.learns else None

    @property
    def scheduler(self) -> "Callable[..., Scheduler] | None":
        """The class of its scheduler; None if it learns."""
        return None if self.learns else load_path(self.path)

    @property
    def occupies(self) -> bool:
        """Whether its training jobs take slots."""
        gate = self.gate
        return gate is not None and gate.occupies and not self.experiment.gate.free

    @property
    def exploration(self) -> str:
        """Name or import path of the exploration."""
        return name_and_keys(self.experiment.exploration)[0]

    @property
    def guide(self) -> str | None:
        """Name or import path of the rule that acts first, if one does."""
        return self.exploration_args["scheduler"] if self.exploration == "guided" else None

    @property
    def identity(self) -> dict[str, Any]:
        """All that makes it what it is, but for its label: plain data, to be compared.

        The gate's own keys are among its arguments; those of other gates are not about it.
        """
        config = self.experiment.model_dump(mode="json", exclude=OF_THE_WHOLE)
        config["gate"] = {key: config["gate"][key] for key in GateConfig.model_fields}
        config["exploration"] = {self.exploration: _plain(self.exploration_args)}
        for key in OLDER:
            del config["learner"][key]
        return {
            "class": self.path,
            "args": _plain(self.args),
            "config": config,
        }

    def to_json(self, study: Experiment) -> dict[str, Any]:
        """What `study.json` says of it: `mec_rllib.results` reads that without any class.

        Args:
            study: the experiment that it is part of; only what differs from it is written down.
        """
        from mec_rllib.gates import Budget, PsiGate

        own: dict[str, Any] = {"mode": "json", "exclude": OF_THE_WHOLE}
        gate = self.gate
        return {
            "label": self.label,
            "learns": self.learns,
            "rule": self.rule,
            "path": self.path,
            "args": self.identity["args"],
            "occupies": self.occupies,
            "has_fallback": gate is not None and issubclass(gate, PsiGate | Budget),
            "settings": dict(
                differences(study.model_dump(**own), self.experiment.model_dump(**own))
            ),
        }

    @property
    def updates_of_kinds(self) -> list[int]:
        """K of each kind of training jobs."""
        return [kind.updates or self.updates_per_job for kind in self.experiment.env.training_job]

    @property
    def batch_of_kinds(self) -> list[int]:
        """Transitions per update, for each kind of training jobs."""
        batch = self.experiment.learner.batch
        return [kind.batch or batch for kind in self.experiment.env.training_job]

    @property
    def training_kind(self) -> int | None:
        """Index of the kind that the gate asks for; None: there is one, or the gate chooses."""
        names = [kind.name for kind in self.experiment.env.training_job]
        wanted = self.experiment.gate.kind
        return None if wanted is None else names.index(wanted)


@dataclass(frozen=True)
class Study:
    """An experiment, resolved: what the driver and every trial's process are given."""

    experiment: Experiment
    strategies: tuple[Strategy, ...]
    written: tuple[str, ...] = ()  # labels in the file itself, whatever was overridden since
    notes: tuple[str, ...] = ()  # what was left out of the file, and why

    @cached_property
    def by_label(self) -> dict[str, Strategy]:
        """The strategies by their labels."""
        return {strategy.label: strategy for strategy in self.strategies}

    @property
    def first(self) -> "Study":
        """The first strategy with the first seed: what `train` plays."""
        strategies, seeds = self.experiment.strategies[:1], self.experiment.seeds[:1]
        one = self.experiment.model_copy(update={"strategies": strategies, "seeds": seeds})
        return replace(self, experiment=one, strategies=self.strategies[:1])

    @property
    def trials(self) -> list[tuple[Strategy, int]]:
        """Every strategy with every seed, in the order in which they start."""
        return [(s, seed) for seed in self.experiment.seeds for s in self.strategies]

    def to_json(self) -> list[dict[str, Any]]:
        """The strategies, as `study.json` has them."""
        return [strategy.to_json(self.experiment) for strategy in self.strategies]


def _plain(args: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(dict(args), default=str))


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Dotted keys in which nested mappings differ, with the values of the other one."""
    for key, value in other.items():
        before = one.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from differences(before, value, f"{prefix}{key}.")
        elif value != before:
            yield prefix + key, value
