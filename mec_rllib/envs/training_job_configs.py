"""The `env.training_job` section: what a training job takes, one kind of them or several."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from mec_rllib.section import Name, Section, differ

ONLY = "training"  # name of the only kind


class TrainingJobConfig(Section):
    """A kind of training jobs."""

    name: Name = Field(
        ONLY, description="its name in strategies and reports; several kinds need one each"
    )
    share: float = Field(1.0, gt=0, le=1, description="share of every resource kind it needs")
    slots: int = Field(1, ge=1, le=10_000, description="slots it runs")
    mode: Literal["drain", "backfill", "pause"] = Field(
        "drain",
        description="user jobs around it: drain (nothing starts), backfill (a job starts if it "
        "ends no later than the longest running one), pause (running jobs freeze); one of several "
        "kinds says it for all",
    )
    updates: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="K learner updates that one is worth; null = gate.updates_per_job",
    )
    batch: int | None = Field(
        None, ge=1, le=1_000_000, description="transitions per update; null = learner.batch"
    )


def _several(given: Any) -> Any:
    """Keys and values are the only kind; an empty section is its default."""
    if given is None:
        return [{}]
    return [given] if isinstance(given, Mapping) else given


def _agree(kinds: list[TrainingJobConfig]) -> list[TrainingJobConfig]:
    """Names differ; the mode that is said holds for all."""
    differ("training_job", [kind.name for kind in kinds])
    modes = {kind.mode for kind in kinds if "mode" in kind.model_fields_set}
    if len(modes) > 1:
        raise ValueError(f"one mode is for all kinds, not {' and '.join(sorted(modes))}")
    return [kind.model_copy(update={"mode": mode}) for mode in modes for kind in kinds] or kinds


def _written(kinds: list[TrainingJobConfig]) -> Any:
    """As a config file has it: the only kind, without its name, as keys and values."""
    if len(kinds) == 1 and kinds[0].name == ONLY:
        return kinds[0].model_dump(exclude={"name"})
    return [kind.model_dump() for kind in kinds]


TrainingJobs = Annotated[
    list[TrainingJobConfig],
    Field(min_length=1, max_length=100),
    BeforeValidator(_several),
    AfterValidator(_agree),
    PlainSerializer(_written),
]
