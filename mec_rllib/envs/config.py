"""The `env:` section of a config: typed, checked, and able to build the world it describes."""

import inspect
from typing import Annotated, Any, Self

import gymnasium
from pydantic import Field, model_validator

from mec_rllib.envs.gym_world import GymBatch, Per
from mec_rllib.envs.job_configs import BurstsConfig, ClassConfig, DriftConfig, Load, TraceConfig
from mec_rllib.envs.training_cost import COSTS, TrainingCostWrapper
from mec_rllib.envs.training_job_configs import TrainingJobConfig, TrainingJobs
from mec_rllib.lookup import find, is_import_path
from mec_rllib.section import Name, Section, differ
from mec_rllib.sim.drift import DriftWorkload
from mec_rllib.sim.jobs import REFERENCE_CLASSES
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.traces.workload import TraceWorkload
from mec_rllib.sim.workloads import BernoulliWorkload, Workload

Capacity = Annotated[int, Field(ge=1, le=100_000)]


class GymConfig(Section):
    """An environment of Gymnasium in place of the MEC server."""

    id: str = Field(
        min_length=1, description="as in gymnasium.make: CartPole-v1, or my_package.module:Mine-v0"
    )
    args: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of gymnasium.make"
    )
    cost: str = Field(
        "repeat",
        description="a step of training: repeat (the last action is held), fixed (one action), "
        "own (what the environment says), or an import path",
    )
    cost_args: dict[str, Any] = Field(
        default_factory=dict, description="arguments of the cost: {first: 0}, {action: 0}"
    )
    steps: int = Field(1, ge=1, le=100_000, description="steps a training job takes")
    chunk: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="steps of it in one piece: then it pauses while the environment's is_tight is "
        "true; null = all steps at once",
    )
    reward: Per = Field(
        "step",
        description="R is the mean reward per step, per episode that has ended, or per unit of "
        "weight (info of a step names it: what was at stake in it)",
    )

    @model_validator(mode="after")
    def _pieces_are_parts(self) -> Self:
        if self.chunk is not None and self.chunk > self.steps:
            raise ValueError(f"chunk is {self.chunk}, more than steps {self.steps}")
        return self

    def make(self) -> TrainingCostWrapper:
        """One environment that training jobs can be inserted into.

        Raises:
            ValueError: it cannot be built, or the cost cannot.
        """
        try:
            env = gymnasium.make(self.id, **self.args)
        except (gymnasium.error.Error, ImportError, AttributeError, TypeError) as error:
            raise ValueError(f"gym.id {self.id}: {_joined(error)}") from None
        cost = find(self.cost, COSTS, "cost")
        try:
            inspect.signature(cost).bind(env, **self.cost_args)
        except TypeError as error:
            raise ValueError(f"gym.cost_args of {self.cost}: {error}") from None
        return TrainingCostWrapper(env, cost(env, **self.cost_args), self.steps, self.chunk)

    @property
    def modules(self) -> set[str]:
        """Modules that it is made of: where it is registered, its class, its cost."""
        env = self.make()
        parts = (type(env.unwrapped), type(env.cost))
        registered = {self.id.partition(":")[0]} if ":" in self.id else set()
        return registered | {part.__module__ for part in parts}

    def build(self, num_envs: int, seed: int, first_index: int) -> GymBatch:
        """N of them."""
        return GymBatch(self.make, num_envs, seed, first_index, self.reward)


def _joined(error: Exception) -> str:
    return " ".join(str(error).split())


class EnvConfig(Section):
    """The server and its jobs."""

    workload: str = Field(
        "bernoulli", description="bernoulli, drift, trace, or an import path package.module:Class"
    )
    workload_args: dict[str, Any] = Field(
        default_factory=dict, description="arguments of a workload of your own"
    )
    load: Load | list[tuple[Annotated[float, Field(ge=0)], Load]] = Field(
        0.3,
        description="offered load of bernoulli and drift, or [[slot of each server, load], ...]",
    )
    capacity: Capacity | list[Capacity] | dict[Name, Capacity] = Field(
        10,
        description="units of the server, or a list with one number per resource kind, or their "
        "names, too: {cpu: 64, gpu: 8} for the demand_cpu and demand_gpu of a trace",
    )
    buffer: int = Field(10, ge=1, le=10_000, description="jobs that may wait")
    users: int = Field(20, ge=1, le=1_000_000, description="independent users that send jobs")
    classes: list[ClassConfig] = Field(
        default_factory=lambda: [ClassConfig.of(c) for c in REFERENCE_CLASSES],
        min_length=1,
        description="job classes of bernoulli, and of drift's first world",
    )
    bursts: BurstsConfig | None = Field(
        None, description="bernoulli and drift: jobs come in bursts; null = at an even rate"
    )
    drift: DriftConfig = Field(default_factory=DriftConfig, description="the worlds of drift")
    trace: TraceConfig | None = Field(None, description="the recorded workload")
    training_job: TrainingJobs = Field(
        default_factory=lambda: [TrainingJobConfig()],
        description="what a training job takes; a list: several kinds of training jobs",
    )
    gym: GymConfig | None = Field(
        None,
        description="an environment of Gymnasium instead; any other key of env is then an error",
    )

    @model_validator(mode="after")
    def _has_what_it_names(self) -> Self:
        if self.gym is not None:
            for key, field in type(self).model_fields.items():
                default = field.get_default(call_default_factory=True)
                if key != "gym" and getattr(self, key) != default:
                    raise ValueError(f"gym takes the place of the server: {key} has no meaning")
        differ("classes", [c.name for c in self.classes])
        if self.workload == "trace" and self.trace is None:
            raise ValueError("workload is trace, but trace.path is missing")
        if self.bursts is not None and self.workload not in ("bernoulli", "drift"):
            raise ValueError(
                f"bursts are of the workloads bernoulli and drift; {self.workload} has none: "
                "leave bursts out"
            )
        if self.workload_args and not is_import_path(self.workload):
            raise ValueError("workload_args is for a workload of your own (package.module:Class)")
        return self

    def build_workload(self) -> Workload:
        """The workload, ready to be asked for arrivals.

        Raises:
            ValueError: a trace that cannot be read, classes that do not fit the capacity, an
                import path that leads nowhere.
        """
        units, kinds = self._resources
        if self.played_trace is not None:
            return self.played_trace.build(units, kinds)
        classes = [c.build() for c in self.classes]
        bursts = self.bursts.build() if self.bursts else None
        if self.workload == "bernoulli":
            return BernoulliWorkload(classes, self.load, units, self.users, bursts)
        if self.workload == "drift":
            drift = dict(self.drift)
            return DriftWorkload(classes, self.load, units, self.users, **drift, bursts=bursts)
        known = {"bernoulli": BernoulliWorkload, "drift": DriftWorkload, "trace": TraceWorkload}
        workload: Any = find(self.workload, known, "workload")
        try:
            inspect.signature(workload).bind(**self.workload_args)
        except TypeError as error:
            raise ValueError(f"workload_args of {self.workload}: {error}") from None
        built: Workload = workload(**self.workload_args)
        differ(f"class_names of {self.workload}", built.class_names)
        return built

    @property
    def _resources(self) -> tuple[tuple[int, ...], tuple[str, ...] | None]:
        """Units of each resource kind, and their names, if they have any."""
        if isinstance(self.capacity, dict):
            return tuple(self.capacity.values()), tuple(self.capacity)
        return (tuple(self.capacity) if isinstance(self.capacity, list) else (self.capacity,)), None

    def at_the_end(self, slots: int, seed: int) -> Self:
        """As it is for servers of this seed after so many slots, and then stays.

        The last load of a schedule, and the world that drift has come to.
        """
        values: dict[str, Any] = {}
        if isinstance(self.load, list):
            values["load"] = self.load[-1][1]
        if self.workload == "drift":
            values["drift"] = self.drift.at_the_end(slots, seed)
        return self.model_copy(update=values)

    @property
    def played_trace(self) -> TraceConfig | None:
        """The recording that is played, if one is."""
        return self.trace if self.workload == "trace" and self.gym is None else None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the job classes; an environment of Gymnasium has none."""
        return () if self.gym is not None else tuple(self.build_workload().class_names)

    @property
    def modules(self) -> set[str]:
        """Modules that whatever is played comes from."""
        return {type(self.build_workload()).__module__} if self.gym is None else self.gym.modules

    def build_world(
        self, num_servers: int = 1, seed: int = 0, first_index: int = 0
    ) -> ServerBatch | GymBatch:
        """N servers, or N environments of Gymnasium.

        Raises:
            ValueError: a key that leads nowhere.
        """
        if self.gym is not None:
            return self.gym.build(num_servers, seed, first_index)
        return self.build_servers(num_servers, seed, first_index)

    def build_servers(
        self, num_servers: int = 1, seed: int = 0, first_index: int = 0
    ) -> ServerBatch:
        """N servers on the workload (see `ServerBatch`)."""
        return ServerBatch(
            self.build_workload(),
            num_servers,
            self.buffer,
            training_share=[kind.share for kind in self.training_job],
            training_slots=[kind.slots for kind in self.training_job],
            mode=self.training_job[0].mode,
            seed=seed,
            first_index=first_index,
        )
