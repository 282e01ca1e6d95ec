"""ATS, the source's gate: it trains where the agent's own Q-values say that it costs least."""

from typing import Literal

import numpy as np
from numba import njit

from mec_rllib.gates.base import Gate, GateView, State
from mec_rllib.sim.jobs import Bools

Ties = Literal["ge", "gt", "random"]
Fallback = Literal["pts", "idle", "server_empty"]


class ATS(Gate):
    """Trains where psi is among its highest recent values: when training costs least.

    psi at or above the `percentile` of the last `window` values of the same server fires. While
    Q is unreliable (TD statistic above `td_cutoff`) or there is no threshold yet, it trains
    periodically instead, as PTS (known), or as `idle` or `server_empty` do (reconstructed).

    A psi equal to the threshold is a tie. "ge": a tie fires as well, but only if the last
    training job is as long ago as the percentile means on average (100 slots for 99), else a
    constant psi would train in every slot (reconstructed). "gt": a tie never fires, and a
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
    """

    needs_psi = True

    def __init__(
        self,
        num_servers: int,
        period: int = 100,
        percentile: float = 99.0,
        window: int = 1000,
        min_history: int = 500,
        refresh: int = 10,
        ties: Ties = "ge",
        td_cutoff: float = 0.1,
        fallback: Fallback = "pts",
    ):
        super().__init__(num_servers)
        self.period = period
        self.percentile = percentile
        self.min_history = min_history
        self.refresh = refresh
        self.ties = ties
        self.td_cutoff = td_cutoff
        self.fallback = fallback
        self.tie_spacing = round(1.0 / (1.0 - percentile / 100.0))
        # Values not yet seen are +inf: they sort behind the seen ones.
        self._recent = np.full((num_servers, window), np.inf)
        self._seen = np.zeros(num_servers, np.int64)  # values ever seen
        self._threshold = np.full(num_servers, np.nan)  # NaN: not enough history
        self._tie_chance = np.zeros(num_servers)
        self._slots = 0
        self._falls_back = np.ones(num_servers, bool)
        self._psi = np.full(num_servers, np.nan)

    def wants(self, view: GateView) -> Bools:
        """(N,) whether psi is high enough, or what the fallback says where Q is unreliable."""
        _remember(self._recent, self._seen, view.psi, view.can_ask)
        if self._slots % self.refresh == 0:
            self._renew_threshold()
        self._slots += 1
        self._psi = view.psi
        wanted = view.since_training >= self.period
        if self.fallback != "pts":
            wanted &= view.is_idle if self.fallback == "idle" else view.is_empty
        tied = _choose_slots(
            view.psi, self._threshold, view.td_statistic, self.td_cutoff, self._falls_back, wanted
        )
        if tied:
            tie = (view.psi == self._threshold) & ~self._falls_back
            wanted |= tie & self._wins_tie(view)
        return wanted

    def get_state(self) -> State:
        """Window, threshold and counters."""
        return {
            "recent": self._recent.copy(),
            "seen": self._seen.copy(),
            "threshold": self._threshold.copy(),
            "tie_chance": self._tie_chance.copy(),
            "slots": self._slots,
        }

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self._recent = state["recent"].copy()
        self._seen = state["seen"].copy()
        self._threshold = state["threshold"].copy()
        self._tie_chance = state["tie_chance"].copy()
        self._slots = state["slots"]

    def metrics(self) -> dict[str, float]:
        """Means over the servers: psi, its threshold, and the share that falls back to PTS."""
        figures = {"fallback_share": float(self._falls_back.mean())}
        for name, values in (("psi", self._psi), ("psi_threshold", self._threshold)):
            if np.isfinite(values).any():
                figures[name] = float(np.nanmean(values))
        return figures

    def _renew_threshold(self) -> None:
        known = np.minimum(self._seen, self._recent.shape[1])
        ready = np.flatnonzero(known >= self.min_history)
        if not len(ready):
            return
        ordered = np.sort(self._recent[ready], axis=1)
        rank = self.percentile / 100.0 * (known[ready] - 1)  # linear between ranks, as numpy's
        below, rows = rank.astype(np.int64), np.arange(len(ready))
        lower, upper = ordered[rows, below], ordered[rows, np.ceil(rank).astype(np.int64)]
        self._threshold[ready] = threshold = lower + (upper - lower) * (rank - below)
        above = ((ordered > threshold[:, None]) & np.isfinite(ordered)).sum(axis=1)
        tied = (ordered == threshold[:, None]).sum(axis=1)
        missing = (1.0 - self.percentile / 100.0) * known[ready] - above
        self._tie_chance[ready] = np.clip(missing / np.maximum(tied, 1), 0.0, 1.0)

    def _wins_tie(self, view: GateView) -> Bools:
        if self.ties == "gt":
            return np.zeros(self.num_servers, bool)
        if self.ties == "random":
            return view.rng.random(self.num_servers) < self._tie_chance
        return view.since_training >= self.tie_spacing


@njit(cache=True)
def _remember(recent, seen, psi, can_ask):
    """The newest psi takes the place of the oldest."""
    for i in range(len(psi)):
        if can_ask[i]:
            recent[i, seen[i] % recent.shape[1]] = psi[i]
            seen[i] += 1


@njit(cache=True)
def _choose_slots(psi, threshold, td_statistic, td_cutoff, falls_back, wanted):
    """Where Q is reliable, psi decides and not the period in `wanted`; True if there are ties."""
    tied = False
    for i in range(len(psi)):
        falls_back[i] = td_statistic[i] > td_cutoff or np.isnan(threshold[i])
        if not falls_back[i]:
            wanted[i] = psi[i] > threshold[i]
            tied |= psi[i] == threshold[i]
    return tied
