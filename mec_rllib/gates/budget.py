"""psi under a budget: how often to train is given, when is where it costs least."""

from typing import Annotated

import numpy as np
from numba import njit
from pydantic import Field

from mec_rllib.gates.average import MovingAverage
from mec_rllib.gates.base import GateView, State
from mec_rllib.gates.periodic import LongestWait
from mec_rllib.gates.psi_gate import (
    Fallback,
    MinHistory,
    QuantileGate,
    Refresh,
    TDCutoff,
    Window,
    quantile_of,
)
from mec_rllib.gates.value import DriftRate, HalfLife
from mec_rllib.sim.jobs import Bools, Floats

FirstShare = Annotated[float, Field(gt=0, le=1, description="tokens per slot at slot 0")]
LastShare = Annotated[
    float,
    Field(gt=0, le=1, description="tokens per slot in the end; equal to first_share: a fixed rate"),
]
Burst = Annotated[int, Field(ge=1, le=10**9, description="tokens that can be saved")]
DriftBoost = Annotated[
    float,
    Field(
        ge=0,
        le=1e6,
        description="added, in units of last_share, at twice the usual TD statistic",
    ),
]


class Budget(QuantileGate):
    """Trains where psi is high for what it may spend: tokens, one per training job (ours).

    Every slot brings `share` tokens: `first_share` at first, `last_share` in the end, half of the
    way every `half_life` slots. At most `burst` are saved. A training job takes one when it
    completes; without one there is no training. A psi fires at or above the 1 - share quantile of
    the last `window` values: the less there is to spend, the choosier it gets. Ties fire as long
    as there are tokens, so a constant psi spends exactly what comes in. While Q is unreliable, or
    there is no threshold yet, the fallback spends: "pts" each token at once, the others where the
    server is idle or empty.

    With `drift_boost` the share rises with the TD statistic: where it is above its own slow
    average by a part x (at most 1, its double), `drift_boost` * x times `last_share` is added. A
    change of the world is not detected, its effect on the agent is followed.

    Args:
        num_servers: N.
        first_share: tokens per slot at slot 0.
        last_share: tokens per slot in the end; equal to `first_share`: a fixed rate.
        half_life: slots per server in which half of the difference goes.
        burst: tokens that can be saved.
        drift_boost: how much a rising TD statistic adds; 0: nothing.
        drift_rate: rate of the slow average that the TD statistic is compared to.
        window: recent values of psi kept, per server.
        min_history: values needed before there is a threshold.
        refresh: slots between two looks at the quantile.
        td_cutoff: highest TD statistic at which psi is trusted.
        fallback: where it trains while Q is unreliable: "pts" (anywhere), "idle", "server_empty".
        longest_wait: the fallback trains anyway after this many slots; None: it waits for ever.
    """

    def __init__(
        self,
        num_servers: int,
        first_share: FirstShare = 0.04,
        last_share: LastShare = 0.002,
        half_life: HalfLife = 7500,
        burst: Burst = 10,
        drift_boost: DriftBoost = 0.0,
        drift_rate: DriftRate = 5e-5,
        window: Window = 1000,
        min_history: MinHistory = 500,
        refresh: Refresh = 10,
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
        if last_share > first_share:
            raise ValueError(f"last_share is {last_share}, more than first_share {first_share}")
        self.first_share, self.last_share, self.half_life = first_share, last_share, half_life
        self.burst = burst
        self.drift_boost = drift_boost
        self._usual_td = MovingAverage(num_servers, drift_rate)
        self._share = np.full(num_servers, first_share)
        self._tokens = np.zeros(num_servers)
        self._last_since = np.full(num_servers, -1)  # slots since training, a slot ago

    def wants(self, view: GateView) -> Bools:
        """(N,) whether there is a token, and psi is high enough to spend it."""
        return super().wants(view) & (self._tokens >= 1.0)

    def get_state(self) -> State:
        """Window, threshold, counters, tokens."""
        return super().get_state() | {
            "share": self._share.copy(),
            "tokens": self._tokens.copy(),
            "last_since": self._last_since.copy(),
            "usual_td": self._usual_td.get_state(),
        }

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        super().set_state(state)
        self._share = state["share"].copy()
        self._tokens, self._last_since = state["tokens"].copy(), state["last_since"].copy()
        self._usual_td.set_state(state["usual_td"])

    def metrics(self) -> dict[str, float]:
        """As every psi gate, and means over the servers: tokens, and what a slot brings."""
        own = {"tokens": float(self._tokens.mean()), "token_rate": float(self._share.mean())}
        return super().metrics() | own

    def _share_now(self, view: GateView) -> Floats:
        """(N,) tokens that a slot brings."""
        left = 0.5 ** (view.slot / self.half_life)
        share = np.full(self.num_servers, self.last_share)
        share += (self.first_share - self.last_share) * left
        if self.drift_boost:
            share += self.drift_boost * self.last_share * self._rise(view.td_statistic)
        return np.minimum(share, 1.0)

    def _rise(self, td_statistic: Floats) -> Floats:
        """(N,) part by which the TD statistic is above its slow average, in [0, 1]."""
        usual = self._usual_td.value
        above = np.divide(td_statistic, usual, out=np.ones(self.num_servers), where=usual > 0)
        return np.clip(above - 1.0, 0.0, 1.0)

    def _renew_threshold(self, view: GateView) -> None:
        if self.drift_boost:
            self._usual_td.add(view.td_statistic)
        super()._renew_threshold(view)
        _settle(self._tokens, self._last_since, view.since_training, self._share, self.burst)

    def _is_time(self, view: GateView) -> Bools:
        return self._tokens >= 1.0

    def _look(self, view: GateView) -> None:
        self._share = self._share_now(view)
        ready, ordered, known = self._recent.ordered()
        if len(ready):
            self._threshold[ready] = quantile_of(ordered, known, 1.0 - self._share[ready])


@njit(cache=True)
def _settle(tokens, last_since, since_training, share, burst):
    """A training job that has completed takes its token; the slot brings its share."""
    for i in range(len(tokens)):
        if since_training[i] <= last_since[i]:
            tokens[i] -= 1.0
        last_since[i] = since_training[i]
        tokens[i] = min(tokens[i] + share[i], burst)
