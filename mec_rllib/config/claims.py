"""What an experiment claims, and what it compares: written down in its file before it runs."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from mec_rllib.section import Section

Id = Annotated[str, Field(pattern=r"^[\w.+=-]{1,80}$")]


class ClaimConfig(Section):
    """A claim: the mean of a measure over the seeds is above a margin (or below it)."""

    id: Id = Field(description="its name in tables and summary.json")
    text: str = Field(min_length=1, max_length=200, description="the claim in a sentence")
    measure: str = Field(
        description="what is measured, a value per seed: difference, above_best, worst_above, "
        "above_equal_share, adapts_earlier, greedy_while_learning, blocks_less, training_share, "
        "trains_less, fallback_acts, fallback_remains (mec_rllib/results/measures.py)"
    )
    of: dict[str, Any] = Field(
        description="arguments of the measure, mostly labels of strategies: {better: ats, worse: "
        "sjf}; rivals: labels, {gate: pts or paying}, or {scheduler: any}"
    )
    margin: float = Field(0.0, description="bound that the mean is claimed to be above")
    below: bool = Field(False, description="the claim is that the mean is below the margin")
    primary: bool = Field(
        False,
        description="of the few that the project was made for, which `make results` corrects "
        "together; all others are exploratory",
    )


def _ids_differ(claims: list[ClaimConfig]) -> list[ClaimConfig]:
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise ValueError(f"two claims have the id {twice!r}")
    return claims


Claims = Annotated[list[ClaimConfig], AfterValidator(_ids_differ)]


class CompareConfig(Section):
    """Every strategy against one of them, paired by seed."""

    baseline: str = Field(min_length=1, description="label of the strategy to compare with")
