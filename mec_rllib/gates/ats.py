"""ATS, the source's gate: it trains where the agent's own Q-values say that it costs least."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field

from mec_rllib.compiled import compiled
from mec_rllib.gates.base import Gate, GateView, State
from mec_rllib.gates.kinds import GatePerKind
from mec_rllib.gates.periodic import FOR_EVER, LongestWait, Period
from mec_rllib.gates.psi_gate import (
    TIE,
    Fallback,
    LeastAgreement,
    MinHistory,
    PsiGate,
    Recent,
    Refresh,
    Reliability,
    TDCutoff,
    Trust,
    Window,
    decide,
    no_psi,
    quantile,
    remember,
    why,
    why_of,
)
from mec_rllib.gates.rule import RuleGate, reason, wants
from mec_rllib.sim.jobs import Bools, Floats, Ints

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


class ATSRule(NamedTuple):
    """Rule: psi is among its highest recent values, or what the fallback says."""

    trust: Trust
    known: Recent
    slots: Ints  # (1,) played so far
    tie_chance: Floats  # (N,) of ties that fire at random
    percentile: float
    period: int  # slots between training jobs of the fallback
    refresh: int  # slots between two looks at the percentile
    tie_spacing: int  # slots since training from which on a tie fires


@wants.of(ATSRule)
def _among_the_highest(rule: ATSRule, view: GateView, wanted: Bools) -> None:
    remember(rule.known, view.psi, view.can_ask)
    if rule.slots[0] % rule.refresh == 0:
        _look(rule)
    rule.slots[0] += 1
    for i in range(len(wanted)):
        wanted[i] = view.since_training[i] >= rule.period
    if decide(rule.trust, view, wanted):
        for i in range(len(wanted)):
            if why(rule.trust, i) == TIE:
                wanted[i] = view.since_training[i] >= rule.tie_spacing


reason.of(ATSRule)(why_of)


@compiled
def _look(rule: ATSRule) -> None:
    """Where there is enough history: the threshold, and how many ties would have to fire."""
    fires = 1.0 - rule.percentile / 100.0
    for i in range(len(rule.known.seen)):
        known = min(rule.known.seen[i], rule.known.recent.shape[1])
        if known >= rule.known.min_history:
            ordered = rule.known.ordered[i, :known]
            threshold = quantile(ordered, known, rule.percentile / 100.0)
            above = known - np.searchsorted(ordered, threshold, side="right")
            tied = known - above - np.searchsorted(ordered, threshold)
            rule.trust.threshold[i] = threshold
            chance = (fires * known - above) / max(tied, 1)
            rule.tie_chance[i] = min(max(chance, 0.0), 1.0)


class ATS(RuleGate, PsiGate):
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
        reliability: "td", or "agreement" with a second network, too.
        least_agreement: rank correlation of both networks' psi that is agreement.
    """

    derived: ClassVar[tuple[str, ...]] = ("ordered",)

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
        reliability: Reliability = "td",
        least_agreement: LeastAgreement = 0.8,
    ):
        trusted = (td_cutoff, fallback, longest_wait, reliability, least_agreement)
        PsiGate.__init__(self, num_servers, *trusted)
        self.percentile, self.period, self.ties = percentile, period, ties
        self.rule = ATSRule(
            trust=self.trust,
            known=no_psi(num_servers, window, min_history),
            slots=np.zeros(1, np.int64),
            tie_chance=np.zeros(num_servers),
            percentile=percentile,
            period=period,
            refresh=refresh,
            tie_spacing=round(1.0 / (1.0 - percentile / 100.0)) if ties == "ge" else FOR_EVER,
        )

    def wants(self, view: GateView) -> Bools:
        """(N,) as the rule says; ties that fire at random are drawn here."""
        wanted = super().wants(view)
        if self.ties == "random" and (tied := self.is_tied).any():
            wanted |= tied & (view.rng.random(self.num_servers) < self.rule.tie_chance)
        return wanted

    @property
    def compiled_rule(self) -> Any | None:
        """The rule, unless ties are drawn."""
        return None if self.ties == "random" else super().compiled_rule

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        super().set_state(state)
        self.rule.known.ordered[:] = np.sort(self.rule.known.recent, axis=1)

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
