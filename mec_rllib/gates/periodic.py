"""Gates that look at the clock and at most at the server: `pts` of the source, and naive ones."""

from typing import Annotated, Any, NamedTuple

from pydantic import Field

from mec_rllib.gates.base import Gate, GateView
from mec_rllib.gates.rule import NO_REASON, RuleGate, reason, wants
from mec_rllib.sim.jobs import Bools, Floats

# Keys that several gates share: their bounds and meaning.
Period = Annotated[int, Field(ge=1, le=10**9, description="slots between two training jobs")]
LongestWait = Annotated[
    Annotated[int, Field(ge=1, le=10**12)] | None,
    Field(
        description="as a gate or as a fallback that waits for a good moment: train anyway after "
        "this many slots; null = never"
    ),
]


FOR_EVER = 2**62  # slots


class Every(NamedTuple):
    """Rule: the period is over."""

    period: int  # slots


@wants.of(Every)
def _every(rule: Every, view: GateView, wanted: Bools) -> None:
    for i in range(len(wanted)):
        wanted[i] = view.since_training[i] >= rule.period


class GoodMoment(NamedTuple):
    """Rule: the period is over and the moment good, or the wait was too long."""

    period: int  # slots
    longest_wait: int  # slots
    nobody_waits: bool  # whether that is part of a good moment


@wants.of(GoodMoment)
def _good_moment(rule: GoodMoment, view: GateView, wanted: Bools) -> None:
    for i in range(len(wanted)):
        is_good = view.is_idle[i] if rule.nobody_waits else view.is_empty[i]
        since = view.since_training[i]
        wanted[i] = (since >= rule.period and is_good) or since >= rule.longest_wait


@reason.of(Every)
@reason.of(GoodMoment)
def _no_reason(rule: Every | GoodMoment, i: int) -> int:
    return NO_REASON


class Ideal(RuleGate):
    """Every slot, for free: the source's upper reference."""

    occupies = False
    updates_per_job = 1

    def __init__(self, num_servers: int):
        super().__init__(num_servers)
        self.rule = Every(0)


class Never(RuleGate):
    """Not at all: the weights stay as they are."""

    def __init__(self, num_servers: int):
        super().__init__(num_servers)
        self.rule = Every(FOR_EVER)

    @classmethod
    def of_kinds(cls, num_servers: int, kind_costs: Floats, **keys: Any) -> Gate:
        """The same: it asks for none of them."""
        return cls(num_servers, **keys)


class PTS(RuleGate):
    """Every `period` slots, counted from the completion of the last training job."""

    def __init__(self, num_servers: int, period: Period = 100):
        super().__init__(num_servers)
        self.rule = Every(period)


class Always(RuleGate):
    """Whenever possible, one user slot between two jobs: naive continual learning."""

    updates_per_job = 1

    def __init__(self, num_servers: int):
        super().__init__(num_servers)
        self.rule = Every(2)


class ServerEmpty(RuleGate):
    """When the period is over and no unit is in use; jobs may wait (reconstructed).

    Args:
        num_servers: N.
        period: slots between two training jobs, at least.
        longest_wait: trains anyway after this many slots; None: never forced.
    """

    nobody_waits = False

    def __init__(self, num_servers: int, period: Period = 100, longest_wait: LongestWait = None):
        super().__init__(num_servers)
        self.rule = GoodMoment(period, slots_of(longest_wait), self.nobody_waits)


class Idle(ServerEmpty):
    """When the period is over and the server is empty and nobody waits (reconstructed)."""

    nobody_waits = True


def slots_of(longest_wait: int | None) -> int:
    """Slots to wait at most; None: for ever."""
    return FOR_EVER if longest_wait is None else longest_wait
