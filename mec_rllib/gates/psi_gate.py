"""What gates that look at psi share: its recent values, and a fallback while Q is unreliable."""

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from mec_rllib.compiled import compiled
from mec_rllib.gates.base import Gate, GateView, State, without_rng
from mec_rllib.gates.periodic import (
    ANYWHERE,
    EMPTY,
    IDLE,
    LongestWait,
    is_good_moment,
    slots_of,
)
from mec_rllib.gates.rule import NO_REASON
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
Reliability = Annotated[
    Literal["td", "agreement"],
    Field(
        description="Q is reliable while the TD statistic is low (td), or while a second network, "
        "started by itself and trained along, also ranks slots as psi does (agreement)"
    ),
]
LeastAgreement = Annotated[
    float,
    Field(
        ge=-1,
        le=1,
        description="rank correlation with the second network's psi that is agreement",
    ),
]
Window = Annotated[
    int, Field(ge=2, le=10**7, description="recent values of psi that are kept per server")
]
MinHistory = Annotated[int, Field(ge=1, description="values of psi needed before it decides")]
Refresh = Annotated[
    int, Field(ge=1, le=10**9, description="slots between two looks at the recent values of psi")
]


class Recent(NamedTuple):
    """The last psi values of each server: in a ring, and in order.

    Values not yet seen are +inf: they come behind the seen ones.
    """

    recent: Floats  # (N, W) a ring
    ordered: Floats  # (N, W) the same values, lowest first
    seen: Ints  # (N,) values ever seen
    min_history: int  # values needed before anything is said about them


def no_psi(num_servers: int, window: int, min_history: int) -> Recent:
    """Room for a window of values per server, none of them seen yet.

    Raises:
        ValueError: a window that is too small.
    """
    if min_history > window:
        raise ValueError(f"min_history is {min_history}, but the window holds {window}")
    nothing = np.full((num_servers, window), np.inf)
    return Recent(nothing, nothing.copy(), np.zeros(num_servers, np.int64), min_history)


@compiled
def remember(recent, psi, can_ask):
    """The newest psi takes the place of the oldest, where a training job could be asked for."""
    for i in range(len(psi)):
        if can_ask[i]:
            place = recent.seen[i] % recent.recent.shape[1]
            value = np.inf if np.isnan(psi[i]) else psi[i]  # NaN has no place in an order
            _replace(recent.ordered[i], recent.recent[i, place], value)
            recent.recent[i, place] = value
            recent.seen[i] += 1


@compiled
def _replace(ordered, old, new):
    """One value in the place of another, in order: what lies between them moves by one."""
    k = np.searchsorted(ordered, old)
    while k < len(ordered) - 1 and ordered[k + 1] < new:
        ordered[k] = ordered[k + 1]
        k += 1
    while k > 0 and ordered[k - 1] > new:
        ordered[k] = ordered[k - 1]
        k -= 1
    ordered[k] = new


@compiled
def quantile(ordered, known, q):
    """A quantile of the first `known` values, linear between ranks, as numpy's."""
    rank = q * (known - 1)
    below = int(rank)
    lower, upper = ordered[below], ordered[int(np.ceil(rank))]
    return lower + (upper - lower) * (rank - below)


class Trust(NamedTuple):
    """What is known of psi: its threshold, and whether it is trusted."""

    threshold: Floats  # (N,) NaN: there is none
    psi: Floats  # (N,) of this slot
    falls_back: Bools  # (N,) Q is unreliable, or there is no threshold
    td_cutoff: float  # highest TD statistic at which psi is trusted
    fallback: int  # ANYWHERE, EMPTY or IDLE
    longest_wait: int  # slots after which the fallback trains anyway
    least_agreement: float  # of two networks; -inf: nobody asks a second one


FALLBACKS = {"pts": ANYWHERE, "idle": IDLE, "server_empty": EMPTY}
PSI, TIE, FALLBACK = range(3)  # reasons


def no_trust(
    num_servers: int,
    td_cutoff: float,
    fallback: str,
    longest_wait: int | None,
    least_agreement: float = -np.inf,
) -> Trust:
    """At first there is no threshold."""
    nothing = np.full(num_servers, np.nan)
    return Trust(
        threshold=nothing,
        psi=nothing.copy(),
        falls_back=np.ones(num_servers, bool),
        td_cutoff=td_cutoff,
        fallback=FALLBACKS[fallback],
        longest_wait=slots_of(longest_wait),
        least_agreement=least_agreement,
    )


@compiled
def is_reliable(view, td_cutoff, least_agreement, i):
    """Whether psi of server i can be trusted; without an agreement (NaN) there is none."""
    agrees = least_agreement == -np.inf or view.agreement[i] >= least_agreement
    return agrees and view.td_statistic[i] <= td_cutoff


@compiled
def decide(trust, view, wanted):
    """Where Q is reliable, psi above its threshold trains; elsewhere the fallback does.

    Args:
        trust: its threshold is that of this slot.
        view: of the servers.
        wanted: (N,) where it is time for the fallback; then where to train.

    Returns:
        Whether psi equals its threshold anywhere, and is trusted.
    """
    is_tied = False
    for i in range(len(wanted)):
        trust.psi[i] = view.psi[i]
        is_trusted = is_reliable(view, trust.td_cutoff, trust.least_agreement, i)
        trust.falls_back[i] = not is_trusted or np.isnan(trust.threshold[i])
        if not trust.falls_back[i]:
            wanted[i] = view.psi[i] > trust.threshold[i]
            is_tied |= view.psi[i] == trust.threshold[i]
        elif trust.fallback != ANYWHERE:
            is_good = is_good_moment(trust.fallback, view, i)
            wanted[i] = (wanted[i] and is_good) or view.since_training[i] >= trust.longest_wait
    return is_tied


@compiled
def why(trust, i):
    """Index of the reason why server i trains: psi above its threshold, a tie, the fallback."""
    if trust.falls_back[i]:
        return FALLBACK
    if trust.psi[i] > trust.threshold[i]:
        return PSI
    return TIE if trust.psi[i] == trust.threshold[i] else NO_REASON


def why_of(rule, i):
    """`why`, for a rule that has a `trust`."""
    return why(rule.trust, i)


class PsiGate(Gate):
    """Base of gates with a threshold for psi; a gate of its kind says where it lies.

    While Q is unreliable (TD statistic above `td_cutoff`; with `reliability` "agreement" also while
    a second network disagrees) or there is no threshold, the fallback decides, when it is time:
    "pts" anywhere (known), "idle" and "server_empty" where the server is so (reconstructed).

    Args:
        num_servers: N.
        td_cutoff: highest TD statistic at which psi is trusted.
        fallback: what it does while Q is unreliable: "pts", "idle" or "server_empty".
        longest_wait: the fallback trains anyway after this many slots; None: it waits for ever.
        reliability: "td" or "agreement".
        least_agreement: rank correlation of two networks that is agreement.
    """

    needs_psi = True

    def __init__(
        self,
        num_servers: int,
        td_cutoff: TDCutoff,
        fallback: Fallback,
        longest_wait: LongestWait = None,
        reliability: Reliability = "td",
        least_agreement: LeastAgreement = 0.8,
    ):
        super().__init__(num_servers)
        self.needs_agreement = reliability == "agreement"
        least = least_agreement if self.needs_agreement else -np.inf
        self.trust = no_trust(num_servers, td_cutoff, fallback, longest_wait, least)

    def wants(self, view: GateView) -> Bools:
        """(N,) whether psi is high enough, or what the fallback says where Q is unreliable."""
        self._renew_threshold(view)
        wanted = self._is_time(view)
        if decide(self.trust, without_rng(view), wanted):
            wanted |= self.is_tied & self._wins_tie(view)
        return wanted

    @property
    def is_tied(self) -> Bools:
        """(N,) psi equals its threshold, and is trusted."""
        return (self.trust.psi == self.trust.threshold) & ~self.trust.falls_back

    def reasons(self) -> dict[str, Bools]:
        """psi above its threshold, a tie with it, or the fallback."""
        trust = self.trust
        return {
            "psi": ~trust.falls_back & (trust.psi > trust.threshold),
            "tie": self.is_tied,
            "fallback": trust.falls_back.copy(),
        }

    def get_state(self) -> State:
        """The threshold."""
        return {"threshold": self.trust.threshold.copy()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self.trust.threshold[:] = state["threshold"]

    def metrics(self) -> dict[str, float]:
        """Means over the servers: psi, its threshold, and the share that is in the fallback."""
        figures = {"fallback_share": float(self.trust.falls_back.mean())}
        for name, values in (("psi", self.trust.psi), ("psi_threshold", self.trust.threshold)):
            if np.isfinite(values).any():
                figures[name] = float(np.nanmean(values))
        return figures

    def _renew_threshold(self, view: GateView) -> None:
        """Sets `trust.threshold` (N,) for this slot."""
        raise NotImplementedError(f"{type(self).__name__} must say from where on psi is high")

    def _is_time(self, view: GateView) -> Bools:
        """(N,) whether the fallback may train; an array of its own."""
        raise NotImplementedError(f"{type(self).__name__} must say how often the fallback trains")

    def _wins_tie(self, view: GateView) -> Bools | bool:
        """(N,) whether a psi equal to the threshold fires: yes, unless a gate says otherwise."""
        return True
