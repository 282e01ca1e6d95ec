"""Gates that look at the clock and at most at the server: `pts` of the source, and naive ones."""

from typing import Annotated, Any, NamedTuple

from pydantic import Field

from mec_rllib.compiled import compiled
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


ANYWHERE, EMPTY, IDLE = range(3)  # servers: any, no unit in use, and nobody waits


class Clock(NamedTuple):
    """Rule: the period is over and the moment good, or the wait was too long."""

    period: int  # slots
    longest_wait: int  # slots
    moment: int  # ANYWHERE, EMPTY or IDLE


@wants.of(Clock)
def _when_it_is_time(rule: Clock, view: GateView, wanted: Bools) -> None:
    for i in range(len(wanted)):
        since = view.since_training[i]
        is_good = is_good_moment(rule.moment, view, i)
        wanted[i] = (since >= rule.period and is_good) or since >= rule.longest_wait


@reason.of(Clock)
def _no_reason(rule: Clock, i: int) -> int:
    return NO_REASON


@compiled
def is_good_moment(moment: int, view: GateView, i: int) -> bool:
    """Whether server i is such a one."""
    if moment == ANYWHERE:
        return True
    return bool(view.is_empty[i] if moment == EMPTY else view.is_idle[i])


class Ideal(RuleGate):
    """Every slot, for free: the source's upper reference."""

    occupies = False
    updates_per_job = 1

    def __init__(self, num_servers: int):
        super().__init__(num_servers)
        self.rule = Clock(0, FOR_EVER, ANYWHERE)


class Never(RuleGate):
    """Not at all: the weights stay as they are."""

    def __init__(self, num_servers: int):
        super().__init__(num_servers)
        self.rule = Clock(FOR_EVER, FOR_EVER, ANYWHERE)

    @classmethod
    def of_kinds(cls, num_servers: int, kind_costs: Floats, **keys: Any) -> Gate:
        """The same: it asks for none of them."""
        return cls(num_servers, **keys)


class PTS(RuleGate):
    """Every `period` slots, counted from the completion of the last training job."""

    def __init__(self, num_servers: int, period: Period = 100):
        super().__init__(num_servers)
        self.rule = Clock(period, FOR_EVER, ANYWHERE)


class Always(RuleGate):
    """Whenever possible, one user slot between two jobs: naive continual learning."""

    updates_per_job = 1

    def __init__(self, num_servers: int):
        super().__init__(num_servers)
        self.rule = Clock(2, FOR_EVER, ANYWHERE)


class ServerEmpty(RuleGate):
    """When the period is over and no unit is in use; jobs may wait (reconstructed).

    Args:
        num_servers: N.
        period: slots between two training jobs, at least.
        longest_wait: trains anyway after this many slots; None: never forced.
    """

    moment = EMPTY

    def __init__(self, num_servers: int, period: Period = 100, longest_wait: LongestWait = None):
        super().__init__(num_servers)
        self.rule = Clock(period, slots_of(longest_wait), self.moment)


class Idle(ServerEmpty):
    """When the period is over and the server is empty and nobody waits (reconstructed)."""

    moment = IDLE


def slots_of(longest_wait: int | None) -> int:
    """Slots to wait at most; None: for ever."""
    return FOR_EVER if longest_wait is None else longest_wait
