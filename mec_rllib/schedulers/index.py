"""The family of index rules: what every built-in rule of one index is a member of."""

from typing import Annotated, Self

import numpy as np
from pydantic import Field

from mec_rllib.schedulers.index_rule import COLUMNS, IndexRule, play_by_index
from mec_rllib.schedulers.rule import asked
from mec_rllib.sim.jobs import Floats, Ints
from mec_rllib.sim.server import ServerBatch

Keys = dict[str, float | None]

MOST, UNITS = 1000.0, 1e5  # of an exponent; of units
NEVER = -1.0  # patience of jobs that are never urgent


def _exponent(of: str) -> object:
    return Field(ge=-MOST, le=MOST, description=f"exponent of {of} in a job's index")


def _reserve(jobs: str) -> object:
    return Field(
        ge=-UNITS, le=UNITS, description=f"units that {jobs} must leave free, unless it is urgent"
    )


def _patience(jobs: str) -> object:
    text = f"slots of slack left up to which {jobs} is urgent; -1: never"
    return Field(ge=-1, le=1e5, description=text)


def _units(text: str) -> object:
    return Field(ge=-UNITS, le=UNITS, description=text)


AS_MIDDLE = "a job of the low tier (null: as the middle one)"
Weight = Annotated[float, _exponent("the weight")]
Execution = Annotated[float, _exponent("the execution time (slots)")]
Requirement = Annotated[float, _exponent("the share of the server it needs")]
Slack = Annotated[float, _exponent("1 + the slots it may still wait")]
Wait = Annotated[float, _exponent("1 + the slots it has waited")]
Deadline = Annotated[float, _exponent("the slots until its deadline")]
Top = Annotated[
    float | None,
    Field(ge=0, le=1e9, description="weight of the top tier; null = the largest there is"),
]
Low = Annotated[
    float | None, Field(ge=0, le=1e9, description="the low tier is below it; null = half of top")
]
ReserveTop = Annotated[float, _reserve("a job of the top tier")]
Reserve = Annotated[float, _reserve("a job of the middle tier")]
ReserveLow = Annotated[float | None, _reserve(AS_MIDDLE)]
PatienceTop = Annotated[float, _patience("a job of the top tier")]
Patience = Annotated[float, _patience("a job of the middle tier")]
PatienceLow = Annotated[float | None, _patience(AS_MIDDLE)]
Long = Annotated[float, _units("further units to leave free, times ln(execution time)")]
Crowd = Annotated[float, _units("further units, times the share of the buffer in use")]
Ahead = Annotated[
    float, Field(ge=0, le=10, description="what a unit counts that comes free while the job runs")
]
BySlack = Annotated[
    bool, Field(description="equal indices go to the least slack left, then to the first")
]
Head = Annotated[bool, Field(description="only the head of the line may start")]


class Index:
    """Starts the job with the highest index, of those that may start (see `index_rule`).

    Jobs are in three tiers by their weight. A job may start if it fits and is urgent, or leaves
    the reserve of its tier free. Equal indices go to the earliest arrival. With no keys: the
    earliest arrival that fits.

    Args:
        weight: exponent of the weight.
        execution: exponent of the execution time, slots.
        requirement: exponent of the share of the server that it needs (of the scarcest kind).
        slack: exponent of 1 + the slots that it may still wait.
        wait: exponent of 1 + the slots that it has waited.
        deadline: exponent of the slots until its deadline.
        top: weight from which on a job is in the top tier; None: the largest of the workload.
        low: weight below which a job is in the low tier; None: half of `top`.
        reserve_top: units that a job of the top tier must leave free, unless it is urgent.
        reserve: the same for the middle tier.
        reserve_low: the same for the low tier; None: as the middle one.
        patience_top: slots of slack left up to which a job of the top tier is urgent; -1: never.
        patience: the same for the middle tier.
        patience_low: the same for the low tier; None: as the middle one.
        long: further units to leave free, times the logarithm of the execution time.
        crowd: further units to leave free, times the share of the buffer that is in use.
        ahead: what a unit counts that comes free while the job runs, for its share of that time:
            0 nothing, 1 as a free one.
        by_slack: equal indices go to the job with the least slack left, before arrival.
        head: only the head of the line may start.
    """

    keys: Keys
    _made: tuple[float, IndexRule] | None = None  # for the last workload's largest weight

    def __init__(
        self,
        weight: Weight = 0.0,
        execution: Execution = 0.0,
        requirement: Requirement = 0.0,
        slack: Slack = 0.0,
        wait: Wait = 0.0,
        deadline: Deadline = 0.0,
        top: Top = None,
        low: Low = None,
        reserve_top: ReserveTop = 0.0,
        reserve: Reserve = 0.0,
        reserve_low: ReserveLow = None,
        patience_top: PatienceTop = NEVER,
        patience: Patience = NEVER,
        patience_low: PatienceLow = None,
        long: Long = 0.0,
        crowd: Crowd = 0.0,
        ahead: Ahead = 0.0,
        by_slack: BySlack = False,
        head: Head = False,
    ):
        given = locals()
        self.keys = {name: given[name] for name in COLUMNS}

    @classmethod
    def of(cls, vector: Floats) -> Self:
        """The rule with this vector."""
        rule = cls.__new__(cls)
        rule.keys = dict(zip(COLUMNS, vector.tolist(), strict=True))
        return rule

    def vector(self, max_weight: float) -> Floats:
        """(len(COLUMNS),) all numbers; max_weight is the workload's."""
        keys = dict(self.keys)
        top = keys["top"] = max_weight if keys["top"] is None else keys["top"]
        for key, other in (
            ("low", 0.5 * top),
            ("reserve_low", keys["reserve"]),
            ("patience_low", keys["patience"]),
        ):
            keys[key] = other if keys[key] is None else keys[key]
        return np.array([keys[name] for name in COLUMNS], float)

    def rule_for(self, batch: ServerBatch) -> IndexRule:
        """The rule for compiled code."""
        top = float(batch.workload.max_weight)
        if self._made is None or self._made[0] != top:
            self._made = (top, IndexRule(self.vector(top)[None]))
        return self._made[1]

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        return asked(self.rule_for(batch), batch)

    def play(self, batch: ServerBatch, slots: int) -> None:
        """Plays so many slots of every server in compiled code."""
        play_by_index(self.rule_for(batch), batch, slots)
