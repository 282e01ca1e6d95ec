"""ATS, the source's gate: it trains where the agent's own Q-values say that it costs least."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from mec_rllib.gates.base import Gate, GateView, State
from mec_rllib.gates.kinds import GatePerKind
from mec_rllib.gates.periodic import LongestWait, Period
from mec_rllib.gates.psi_gate import (
    Fallback,
    MinHistory,
    QuantileGate,
    Refresh,
    TDCutoff,
    Window,
    quantile_of,
)
from mec_rllib.sim.jobs import Bools, Floats

Ties = Annotated[
    Literal["ge", "gt", "random"],
    Field(description="does a psi equal to the threshold fire? ge: yes, gt: no, random: by chance"),
]


def _in_percent(value: float) -> float:
    if value <= 1.0:
        meant = 100.0 * value if value < 1.0 else 99.0
        raise ValueError(f"is in percent: did you mean {meant:g}?")
    return value


Percentile = Annotated[
    float,
    Field(gt=0, lt=100, description="percentile of recent psi from which on it fires"),
    AfterValidator(_in_percent),
]


class ATS(QuantileGate):
    """Trains where psi is among its highest recent values: when training costs least.

    psi at or above the `percentile` of the last `window` values of the same server fires. While
    Q is unreliable, or there is no threshold yet, the fallback decides; see `PsiGate`.

    A psi equal to the threshold is a tie. "ge": a tie fires as well, once the last training job is
    as long ago as the percentile means on average (100 slots for 99). Else a constant psi would
    train in every slot (reconstructed). "gt": a tie never fires, and a
    constant psi never trains. "random": ties fire at random, so that 1 - percentile of the
    recent values would have fired.

    Args:
        num_servers: N.
        period: slots between training jobs while Q is unreliable.
        percentile: in (0, 100).
        window: recent values kept, per server.
        min_history: values needed before there is a threshold.
        refresh: slots between two looks at the percentile.
        ties: "ge", "gt" or "random".
        td_cutoff: highest TD statistic at which psi is trusted.
        fallback: what it does while Q is unreliable: "pts", "idle" or "server_empty".
        longest_wait: the fallback trains anyway after this many slots; None: it waits for ever.
    """

    def __init__(
        self,
        num_servers: int,
        period: Period = 100,
        percentile: Percentile = 99.0,
        window: Window = 1000,
        min_history: MinHistory = 500,
        refresh: Refresh = 10,
        ties: Ties = "ge",
        td_cutoff: TDCutoff = 0.1,
        fallback: Fallback = "pts",
        longest_wait: LongestWait = None,
    ):
        super().__init__(
            num_servers,
            window=window,
            min_history=min_history,
            refresh=refresh,
            td_cutoff=td_cutoff,
            fallback=fallback,
            longest_wait=longest_wait,
        )
        self.period = period
        self.percentile = percentile
        self.ties = ties
        self.tie_spacing = round(1.0 / (1.0 - percentile / 100.0))
        self._tie_chance = np.zeros(num_servers)

    @classmethod
    def of_kinds(cls, num_servers: int, kind_costs: Floats, **keys: Any) -> Gate:
        """One ATS per kind: when to train, and with which (reconstructed).

        All kinds together take as much of the server as jobs of one slot do at `percentile`: 1 %
        for 99. Each kind takes an equal part of it, so a costly kind is rarer, and waits longer
        while Q is unreliable.

        Raises:
            ValueError: kinds so small that one of them would have to train in every slot.
        """
        one = cls(num_servers, **keys)
        rarer = [len(kind_costs) * cost for cost in kind_costs]  # than one kind of one slot
        rates = [(1.0 - one.percentile / 100.0) / times for times in rarer]
        if max(rates) >= 1.0:
            raise ValueError(f"percentile {one.percentile:g} would train small kinds in every slot")
        own = [
            {"period": max(round(one.period * times), 1), "percentile": 100.0 * (1.0 - rate)}
            for times, rate in zip(rarer, rates, strict=True)
        ]
        return GatePerKind([cls(num_servers, **(keys | of_kind)) for of_kind in own], kind_costs)

    def get_state(self) -> State:
        """Window, threshold and counters."""
        return super().get_state() | {"tie_chance": self._tie_chance.copy()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        super().set_state(state)
        self._tie_chance = state["tie_chance"].copy()

    def _look(self, view: GateView) -> None:
        ready, ordered, known = self._recent.ordered()
        if not len(ready):
            return
        self._threshold[ready] = threshold = quantile_of(ordered, known, self.percentile / 100.0)
        above = ((ordered > threshold[:, None]) & np.isfinite(ordered)).sum(axis=1)
        tied = (ordered == threshold[:, None]).sum(axis=1)
        missing = (1.0 - self.percentile / 100.0) * known - above
        self._tie_chance[ready] = np.clip(missing / np.maximum(tied, 1), 0.0, 1.0)

    def _is_time(self, view: GateView) -> Bools:
        return view.since_training >= self.period

    def _wins_tie(self, view: GateView) -> Bools | bool:
        if self.ties == "gt":
            return False
        if self.ties == "random":
            return view.rng.random(self.num_servers) < self._tie_chance
        return view.since_training >= self.tie_spacing
