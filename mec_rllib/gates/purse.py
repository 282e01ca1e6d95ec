"""Tokens: how much training there may be. A slot brings some, a training job takes one."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from mec_rllib.compiled import compiled
from mec_rllib.section import Section, section_from
from mec_rllib.sim.jobs import Floats, Ints


class Decay(Section):
    """A rate that falls: half of the way every `half_life` slots."""

    first: float = Field(0.04, gt=0, le=1, description="tokens per slot at slot 0")
    last: float = Field(0.002, gt=0, le=1, description="tokens per slot in the end")
    half_life: int = Field(7500, ge=1, le=10**12, description="slots in which half of it goes")

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.last > self.first:
            raise ValueError(f"last is {self.last:g}, more than first {self.first:g}")
        return self


class WarmUp(Section):
    """Training jobs at even distances, before the budget counts."""

    start: int = Field(500, ge=0, le=10**12, description="slot of the first token")
    until: int = Field(4000, ge=1, le=10**12, description="slot from which on the budget counts")
    jobs: int = Field(87, ge=1, le=10**12, description="training jobs in between")

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.until - self.start < self.jobs:
            raise ValueError(f"{self.jobs} jobs do not fit between {self.start} and {self.until}")
        return self


def falling(rate: Any) -> Decay:
    """How a rate falls: a number stays what it is, `decaying` is a `Decay` as it is.

    Raises:
        ValueError: neither, nor the keys of a `Decay`.
    """
    if isinstance(rate, Mapping):
        return section_from(Decay, rate)
    if rate == "decaying":
        return Decay()
    if isinstance(rate, int | float):
        if not 0.0 < rate <= 1.0:
            raise ValueError(f"must be above 0 and at most 1, not {rate}")
        return Decay(first=rate, last=rate)
    raise ValueError(f"must be a number, decaying, or {{first, last, half_life}}, not {rate!r}")


def _checked(rate: Any) -> Any:
    falling(rate)
    return rate


Rate = Annotated[
    Any,
    Field(
        description="training jobs per slot that it may have, on average; of budget also {first: "
        "0.04, last: 0.002, half_life: 7500}: falls from the one to the other, half of the way "
        "in half_life slots; decaying: with these values"
    ),
    AfterValidator(_checked),
]
Burst = Annotated[int, Field(ge=1, le=10**9, description="tokens that can be saved")]
Warm = Annotated[
    WarmUp | None,
    Field(
        description="{start: 500, until: 4000, jobs: 87}: so many training jobs at even "
        "distances before the budget counts; null = none"
    ),
]


class Purse(NamedTuple):
    """What comes in, and what is there."""

    tokens: Floats  # (N,)
    rate: Floats  # (N,) tokens that this slot brings
    last_since: Ints  # (N,) slots since training, a slot ago
    first_rate: float
    last_rate: float
    half_life: float
    burst: float
    warm_rate: float  # tokens per slot of the warm-up
    warm_start: int  # slot
    warm_until: int  # slot; 0: there is no warm-up


def empty_purse(num_servers: int, rate: Any, burst: int, warm_up: Any) -> Purse:
    """No token yet; `rate` and `warm_up` as `Rate` and `Warm`, sections as mappings, too."""
    falls = falling(rate)
    warm = section_from(WarmUp, warm_up) if isinstance(warm_up, Mapping) else warm_up
    return Purse(
        tokens=np.zeros(num_servers),
        rate=np.full(num_servers, falls.first if warm is None else 0.0),
        last_since=np.full(num_servers, -1),
        first_rate=float(falls.first),
        last_rate=float(falls.last),
        half_life=float(falls.half_life),
        burst=float(burst),
        warm_rate=0.0 if warm is None else warm.jobs / (warm.until - warm.start),
        warm_start=0 if warm is None else warm.start,
        warm_until=0 if warm is None else warm.until,
    )


@compiled
def can_spend(purse, i):
    """Whether a token is there; ten times a tenth of one is."""
    return purse.tokens[i] >= 1.0 - 1e-9


@compiled
def settle(purse, slot, since_training, i):
    """A training job that has completed takes its token; the slot brings what it brings."""
    if since_training <= purse.last_since[i]:
        purse.tokens[i] -= 1.0
    purse.last_since[i] = since_training
    if slot < purse.warm_until:
        purse.rate[i] = purse.warm_rate if slot >= purse.warm_start else 0.0
    else:
        left = 0.5 ** (slot / purse.half_life)
        purse.rate[i] = purse.last_rate + (purse.first_rate - purse.last_rate) * left
    purse.tokens[i] = min(purse.tokens[i] + purse.rate[i], purse.burst)
