"""What gates that look at psi share: its recent values, and a fallback while Q is unreliable."""

from typing import Annotated, Literal

import numpy as np
from numba import njit
from pydantic import Field

from mec_rllib.gates.base import Gate, GateView, State
from mec_rllib.gates.periodic import LongestWait
from mec_rllib.sim.jobs import Bools, Floats, Ints

# Keys that gates with a threshold share: their bounds and meaning.
Fallback = Annotated[
    Literal["pts", "idle", "server_empty"],
    Field(description="where they train meanwhile: pts (anywhere), idle, server_empty"),
]
TDCutoff = Annotated[
    float,
    Field(
        ge=0,
        le=1e9,
        description="fall back while the TD statistic, how large TD errors are beside V (averages "
        "of their magnitudes), is above this",
    ),
]
Window = Annotated[
    int, Field(ge=2, le=10**7, description="recent values of psi that are kept per server")
]
MinHistory = Annotated[int, Field(ge=1, description="values of psi needed before it decides")]
Refresh = Annotated[
    int, Field(ge=1, le=10**9, description="slots between two looks at the recent values of psi")
]


class RecentPsi:
    """The last psi values of each server.

    Args:
        num_servers: N.
        window: values kept, per server.
        min_history: values needed before anything is said about them.
    """

    def __init__(self, num_servers: int, window: int, min_history: int):
        self.min_history = min_history
        # Values not yet seen are +inf: they sort behind the seen ones.
        self._values = np.full((num_servers, window), np.inf)
        self._seen = np.zeros(num_servers, np.int64)  # values ever seen

    def add(self, psi: Floats, can_ask: Bools) -> None:
        """The newest psi takes the place of the oldest, where a training job could be asked for."""
        _remember(self._values, self._seen, psi, can_ask)

    def ordered(self) -> tuple[Ints, Floats, Ints]:
        """Servers with enough history (S,), their values in order (S, window), how many (S,)."""
        known = np.minimum(self._seen, self._values.shape[1])
        ready = np.flatnonzero(known >= self.min_history)
        return ready, np.sort(self._values[ready], axis=1), known[ready]

    def get_state(self) -> State:
        """Values and counters."""
        return {"recent": self._values.copy(), "seen": self._seen.copy()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self._values, self._seen = state["recent"].copy(), state["seen"].copy()


def quantile_of(ordered: Floats, known: Ints, quantile: Floats | float) -> Floats:
    """(S,) a quantile of the first `known` of each row, linear between ranks, as numpy's."""
    rank = quantile * (known - 1)
    below, rows = rank.astype(np.int64), np.arange(len(known))
    lower, upper = ordered[rows, below], ordered[rows, np.ceil(rank).astype(np.int64)]
    return lower + (upper - lower) * (rank - below)


class PsiGate(Gate):
    """Base of gates with a threshold for psi; a gate of its kind says where it lies.

    While Q is unreliable (TD statistic above `td_cutoff`) or there is no threshold, the fallback
    decides, when it is time: "pts" anywhere (known), "idle" and "server_empty" where the server is
    so (reconstructed).

    Args:
        num_servers: N.
        td_cutoff: highest TD statistic at which psi is trusted.
        fallback: what it does while Q is unreliable: "pts", "idle" or "server_empty".
        longest_wait: the fallback trains anyway after this many slots; None: it waits for ever.
    """

    needs_psi = True

    def __init__(
        self,
        num_servers: int,
        td_cutoff: TDCutoff,
        fallback: Fallback,
        longest_wait: LongestWait = None,
    ):
        super().__init__(num_servers)
        self.td_cutoff = td_cutoff
        self.fallback = fallback
        self.longest_wait = longest_wait
        self._threshold = np.full(num_servers, np.nan)  # NaN: there is none
        self._falls_back = np.ones(num_servers, bool)
        self._psi = np.full(num_servers, np.nan)

    def wants(self, view: GateView) -> Bools:
        """(N,) whether psi is high enough, or what the fallback says where Q is unreliable."""
        self._renew_threshold(view)
        self._psi = view.psi
        wanted = self._is_time(view)
        if self.fallback != "pts":
            wanted &= view.is_idle if self.fallback == "idle" else view.is_empty
            if self.longest_wait is not None:  # such a moment may never come
                wanted |= view.since_training >= self.longest_wait
        tied = _choose_slots(
            view.psi, self._threshold, view.td_statistic, self.td_cutoff, self._falls_back, wanted
        )
        if tied:
            tie = (view.psi == self._threshold) & ~self._falls_back
            wanted |= tie & self._wins_tie(view)
        return wanted

    def reasons(self) -> dict[str, Bools]:
        """psi above its threshold, a tie with it, or the fallback."""
        trusted = ~self._falls_back
        return {
            "psi": trusted & (self._psi > self._threshold),
            "tie": trusted & (self._psi == self._threshold),
            "fallback": self._falls_back.copy(),
        }

    def get_state(self) -> State:
        """The threshold."""
        return {"threshold": self._threshold.copy()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self._threshold = state["threshold"].copy()

    def metrics(self) -> dict[str, float]:
        """Means over the servers: psi, its threshold, and the share that is in the fallback."""
        figures = {"fallback_share": float(self._falls_back.mean())}
        for name, values in (("psi", self._psi), ("psi_threshold", self._threshold)):
            if np.isfinite(values).any():
                figures[name] = float(np.nanmean(values))
        return figures

    def _renew_threshold(self, view: GateView) -> None:
        """Sets `_threshold` (N,) for this slot."""
        raise NotImplementedError(f"{type(self).__name__} must say from where on psi is high")

    def _is_time(self, view: GateView) -> Bools:
        """(N,) whether the fallback may train; an array of its own."""
        raise NotImplementedError(f"{type(self).__name__} must say how often the fallback trains")

    def _wins_tie(self, view: GateView) -> Bools | bool:
        """(N,) whether a psi equal to the threshold fires: yes, unless a gate says otherwise."""
        return True


class QuantileGate(PsiGate):
    """Base of gates whose threshold is a quantile of recent psi values.

    Args:
        num_servers: N.
        window: recent values kept, per server.
        min_history: values needed before there is a threshold.
        refresh: slots between two looks at the recent values.
        td_cutoff: as in `PsiGate`.
        fallback: as in `PsiGate`.
        longest_wait: as in `PsiGate`.
    """

    def __init__(
        self,
        num_servers: int,
        window: Window,
        min_history: MinHistory,
        refresh: Refresh,
        td_cutoff: TDCutoff,
        fallback: Fallback,
        longest_wait: LongestWait = None,
    ):
        super().__init__(num_servers, td_cutoff, fallback, longest_wait)
        if min_history > window:
            raise ValueError(f"min_history is {min_history}, but the window holds {window}")
        self.refresh = refresh
        self._recent = RecentPsi(num_servers, window, min_history)
        self._slots = 0

    def get_state(self) -> State:
        """Window, threshold and counters."""
        return super().get_state() | self._recent.get_state() | {"slots": self._slots}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        super().set_state(state)
        self._recent.set_state(state)
        self._slots = state["slots"]

    def _renew_threshold(self, view: GateView) -> None:
        self._recent.add(view.psi, view.can_ask)
        if self._slots % self.refresh == 0:
            self._look(view)
        self._slots += 1

    def _look(self, view: GateView) -> None:
        """Sets `_threshold` (N,) where there is enough history, for the next slots."""
        raise NotImplementedError(f"{type(self).__name__} must say which quantile it looks at")


@njit(cache=True)
def _remember(recent, seen, psi, can_ask):
    for i in range(len(psi)):
        if can_ask[i]:
            recent[i, seen[i] % recent.shape[1]] = psi[i]
            seen[i] += 1


@njit(cache=True)
def _choose_slots(psi, threshold, td_statistic, td_cutoff, falls_back, wanted):
    """Where Q is reliable, psi decides and not the fallback in `wanted`; True if there are ties."""
    tied = False
    for i in range(len(psi)):
        falls_back[i] = td_statistic[i] > td_cutoff or np.isnan(threshold[i])
        if not falls_back[i]:
            wanted[i] = psi[i] > threshold[i]
            tied |= psi[i] == threshold[i]
    return tied
