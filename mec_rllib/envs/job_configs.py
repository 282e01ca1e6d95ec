"""The parts of the `env:` section that say which jobs come: classes, a trace, bursts, drift."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, field_validator

from mec_rllib.section import Name, Section, differ
from mec_rllib.sim.bursts import Bursts
from mec_rllib.sim.jobs import JobClass
from mec_rllib.sim.traces.columns import Tell
from mec_rllib.sim.traces.files import Trace
from mec_rllib.sim.traces.form import Form, Unit, check_name
from mec_rllib.sim.traces.made import PREFIX, file_of
from mec_rllib.sim.traces.workload import (
    DEFAULT_RULES,
    ClassRule,
    TraceWorkload,
    read_once,
    workload_once,
)

Units = Annotated[int, Field(ge=0, le=100_000)]
Slots = Annotated[int, Field(ge=0, le=100_000)]
Range = tuple[Slots, Slots]
Load = Annotated[float, Field(gt=0, le=1000)]


class ClassConfig(Section):
    """One job class of the bernoulli workload."""

    name: Name = Field(description="its name in reports")
    mix: float = Field(ge=0, le=1e9, description="share of the jobs, relative to the others")
    resources: tuple[Units, Units] | list[tuple[Units, Units]] = Field(
        description="[lowest, highest] units, or one such pair per resource kind"
    )
    execution: Range = Field(description="[shortest, longest] execution time, slots")
    slack: Range = Field(description="[least, most] slots it may wait")
    weight: float = Field(gt=0, le=1e9, description="what it is worth")

    @classmethod
    def of(cls, c: JobClass) -> Self:
        """The section that builds this class of one resource kind."""
        return cls(
            name=c.name,
            mix=c.mix,
            resources=c.resources[0],
            execution=c.execution,
            slack=c.slack,
            weight=c.weight,
        )

    def build(self) -> JobClass:
        """The class as the simulator wants it."""
        pairs = self.resources if isinstance(self.resources, list) else [self.resources]
        return JobClass(self.name, self.mix, tuple(pairs), self.execution, self.slack, self.weight)


class ClassRuleConfig(Section):
    """Slack and weight of a trace class: slack = ceil(slack_base + slack_per_slot * e)."""

    slack_base: float = Field(ge=0, le=100_000, description="slots")
    slack_per_slot: float = Field(ge=0, le=1000, description="slots per slot of execution")
    weight: float = Field(gt=0, le=1e9, description="what a job of this class is worth")


class TimeConfig(Section):
    """What a trace means by a time."""

    unit: Unit = Field(
        "s",
        description="of its times: s, ms, us, ns, or iso8601 (arrival_s and deadline_s are dates, "
        "duration_s and slack_s seconds)",
    )


class TraceConfig(Section):
    """A recorded workload."""

    path: str = Field(
        description="CSV or JSON Lines (plain, gzip, bz2, zstd) or Parquet: arrival_s, duration_s, "
        "demand or demand_<kind> for each resource kind, job_class; if there: deadline_s or "
        "slack_s, weight; or a made one, no recording: made:edge_day, "
        "made:gpu_cluster, made:llm_requests"
    )
    columns: dict[Name, Name] = Field(
        default_factory=dict,
        description="the file's names of columns that have another one there: "
        "{arrival_s: submit_time}",
    )
    ignore: list[Name] = Field(
        default_factory=list, description="further columns that the file has: not used"
    )
    time: TimeConfig = Field(default_factory=TimeConfig, description="what it means by a time")
    sort: bool = Field(False, description="sort the jobs by arrival on reading")
    slot_s: PositiveFloat = Field(1.0, ge=1e-9, le=1e9, description="seconds per slot")
    load: Load | None = Field(
        0.3, description="time is rescaled to this offered load; null keeps the recorded time"
    )
    end: Literal["loop", "stop"] = Field("loop", description="after the last job")
    max_execution: int = Field(100, ge=1, le=100_000, description="cap on execution time, slots")
    rules: dict[str, ClassRuleConfig] = Field(
        default_factory=lambda: {k: ClassRuleConfig(**vars(r)) for k, r in DEFAULT_RULES.items()},
        description="slack and weight per job class, where a job has none of its own",
    )

    @field_validator("columns")
    @classmethod
    def _are_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            check_name(name)
        differ("names of the file", [*columns.values()])
        return columns

    @field_validator("path")
    @classmethod
    def _stands_on_its_own(cls, path: str) -> str:
        if path.startswith(PREFIX):
            file_of(path)  # whether there is one of this name
            return path
        try:
            return str(Path(path).expanduser().absolute())  # Tune's trials run in other folders
        except RuntimeError as error:  # ~somebody
            raise ValueError(str(error)) from None

    def read(self, tell: Tell | None = None) -> Trace:
        """The trace, read once per process while the file stays as it is.

        Raises:
            ValueError: the file cannot be read, or holds something else.
        """
        columns = tuple(self.columns.items())
        return read_once(
            self.path, Form(tuple(self.ignore), columns, self.time.unit, self.sort), tell
        )

    def build(
        self, capacity: tuple[int, ...], kinds: tuple[str, ...] | None = None
    ) -> TraceWorkload:
        """The file's jobs, rescaled; one object per process for the same settings.

        Args:
            capacity: units of each resource kind.
            kinds: their names; None: they are in the file's order.
        """
        rules = tuple((name, ClassRule(**dict(rule))) for name, rule in self.rules.items())
        return workload_once(
            *(self.read(), capacity, self.slot_s, self.load, self.end, self.max_execution),
            *(rules, kinds),
        )


class BurstsConfig(Section):
    """Calm and busy phases by turns, at the same mean load; see `mec_rllib.sim.bursts`."""

    factor: float = Field(
        4.0,
        ge=1,
        le=1000,
        description="jobs of a busy slot for each of a calm one, on average",
    )
    slots: float = Field(50.0, ge=1, le=100_000, description="mean length of a busy phase")
    every: float = Field(
        250.0, gt=1, le=1e6, description="slots from one busy phase to the next, mean"
    )

    def build(self) -> Bursts:
        """The phases as the simulator wants them."""
        return Bursts(**dict(self))


class DriftConfig(Section):
    """Worlds that follow one another; see `mec_rllib.sim.drift`."""

    worlds: int = Field(8, ge=1, le=100_000, description="worlds; the last one stays")
    slots: int = Field(25_000, ge=1, le=10**9, description="slots that each lasts, of each server")
    first: int = Field(0, ge=0, description="world of slot 0")
    seed: int | None = Field(
        None, ge=0, lt=2**33, description="seed of the worlds; null = that of the jobs"
    )

    def at_the_end(self, slots: int, seed: int) -> Self:
        """No world comes after the one that servers of this seed are in after so many slots."""
        last = min(self.first + (slots - 1) // self.slots, self.worlds - 1)
        seed = seed if self.seed is None else self.seed
        return self.model_copy(update={"worlds": last + 1, "first": last, "seed": seed})
