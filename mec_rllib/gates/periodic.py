"""Gates that look at the clock and at most at the server: `pts` of the source, and naive ones."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mec_rllib.gates.base import Gate, GateView
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


class Ideal(Gate):
    """Every slot, for free: the source's upper reference."""

    occupies = False
    updates_per_job = 1

    def wants(self, view: GateView) -> Bools:
        """(N,) always True."""
        return np.ones(self.num_servers, bool)


class Never(Gate):
    """Not at all: the weights stay as they are."""

    @classmethod
    def of_kinds(cls, num_servers: int, kind_costs: Floats, **keys: Any) -> Gate:
        """The same: it asks for none of them."""
        return cls(num_servers, **keys)

    def wants(self, view: GateView) -> Bools:
        """(N,) always False."""
        return np.zeros(self.num_servers, bool)


class PTS(Gate):
    """Every `period` slots, counted from the completion of the last training job."""

    def __init__(self, num_servers: int, period: Period = 100):
        super().__init__(num_servers)
        self.period = period

    def wants(self, view: GateView) -> Bools:
        """(N,) whether the period is over."""
        return view.since_training >= self.period


class Always(PTS):
    """Whenever possible, one user slot between two jobs: naive continual learning."""

    updates_per_job = 1

    def __init__(self, num_servers: int):
        super().__init__(num_servers, period=2)


class ServerEmpty(PTS):
    """When the period is over and no unit is in use; jobs may wait (reconstructed).

    Args:
        num_servers: N.
        period: slots between two training jobs, at least.
        longest_wait: trains anyway after this many slots; None: never forced.
    """

    def __init__(self, num_servers: int, period: Period = 100, longest_wait: LongestWait = None):
        super().__init__(num_servers, period)
        self.longest_wait = longest_wait

    def wants(self, view: GateView) -> Bools:
        """(N,) whether the period is over and the moment good, or the wait was too long."""
        wanted = super().wants(view) & self.is_good(view)
        if self.longest_wait is not None:
            wanted |= view.since_training >= self.longest_wait
        return wanted

    def is_good(self, view: GateView) -> Bools:
        """(N,) whether no unit is in use."""
        return view.is_empty


class Idle(ServerEmpty):
    """When the period is over and the server is empty and nobody waits (reconstructed)."""

    def is_good(self, view: GateView) -> Bools:
        """(N,) whether no unit is in use and nobody waits."""
        return view.is_idle
