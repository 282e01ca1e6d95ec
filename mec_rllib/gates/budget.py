"""A budget: how often to train is given, when is where a score says that it is best."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from mec_rllib.compiled import compiled
from mec_rllib.gates.base import GateView, State
from mec_rllib.gates.periodic import FOR_EVER, LongestWait
from mec_rllib.gates.psi_gate import (
    LeastAgreement,
    MinHistory,
    Recent,
    Refresh,
    Reliability,
    TDCutoff,
    Window,
    is_reliable,
    no_psi,
    quantile,
    remember,
)
from mec_rllib.gates.purse import Burst, Purse, Rate, Warm, can_spend, empty_purse, settle
from mec_rllib.gates.rule import RuleGate, reason, wants
from mec_rllib.gates.scores import (
    OF_AGENT,
    PRICES,
    Moment,
    ScoreName,
    asked,
    built_in,
    drawn_for,
    score_of,
)
from mec_rllib.lookup import is_import_path, load_path
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.streams import Purpose, generator

NOISE = 1e-6  # added to scores, so that hardly one is equal to another
DRAWN = 65_537  # numbers drawn once; slot and server say which is taken
TIMES, MOST = 3.0, 0.5  # so many times what is to be spent may fire, of recent scores; at most MOST

BudgetFallback = Annotated[
    Literal["pts", "idle", "server_empty", "use", "queue"],
    Field(description="where they train meanwhile: pts (anywhere), idle, server_empty"),
]
CHOSEN, FALLBACK, WARM_UP = range(3)  # reasons


class Ranked(NamedTuple):
    """Values of a score: of this slot, the recent ones, and the one from which on it fires."""

    known: Recent
    value: Floats  # (N,)
    is_said: Bools  # (N,) there is a value, and a training job may be asked for
    threshold: Floats  # (N,) -inf: every value fires


class Spending(NamedTuple):
    """What is decided whatever the scores are: compiled once."""

    chosen: Ranked
    fallback: Ranked
    purse: Purse
    slots: Ints  # (1,) played so far
    reason: Ints  # (N,) CHOSEN, FALLBACK or WARM_UP
    drawn: Floats  # (P,) in [0, 1)
    needs_trust: bool  # the chosen score is the agent's, or has to be learned
    td_cutoff: float  # highest TD statistic at which it is trusted
    least_agreement: float  # of two networks; -inf: nobody asks a second one
    refresh: int  # slots between two looks at the quantile


class BudgetRule(NamedTuple):
    """Rule: there is a token, and the score is high enough to spend it."""

    score: Any
    fallback: Any  # a score, too
    spending: Spending


@wants.of(BudgetRule)
def _by_score(rule, view, wanted):
    spending = rule.spending
    _say(rule.score, spending.chosen, spending.drawn, view)
    if spending.needs_trust:
        _say(rule.fallback, spending.fallback, spending.drawn, view)
    _spend(spending, view, wanted)


@reason.of(BudgetRule)
def _why(rule, i):
    return rule.spending.reason[i]


@compiled
def _say(score, ranked, drawn, view):
    """The scores of this slot; noise breaks ties."""
    for i in range(len(ranked.value)):
        ranked.value[i] = score_of(score, view, i) + NOISE * drawn_for(drawn, view.slot, i)


@compiled
def _spend(spending, view, wanted):
    """Writes (N,) where the score, or who stands in for it, is high enough for a token."""
    looks = spending.slots[0] % spending.refresh == 0
    spending.slots[0] += 1
    _remember(spending.chosen, view)
    if spending.needs_trust:
        _remember(spending.fallback, view)
    for i in range(len(wanted)):
        settle(spending.purse, view.slot, view.since_training[i], i)
        if looks:
            _look(spending.chosen, spending.purse, i)
            _look(spending.fallback, spending.purse, i)
        spending.reason[i] = _who_decides(spending, view, i)
        wanted[i] = can_spend(spending.purse, i) and _is_high(spending, i)


@compiled
def _remember(ranked, view):
    for i in range(len(ranked.value)):
        ranked.is_said[i] = view.can_ask[i] and not np.isnan(ranked.value[i])
    remember(ranked.known, ranked.value, ranked.is_said)


@compiled
def _look(ranked, purse, i):
    """Where there is enough history: the threshold that spends what there is."""
    known = min(ranked.known.seen[i], ranked.known.recent.shape[1])
    if known >= ranked.known.min_history:
        fires = min(TIMES * purse.rate[i] * max(purse.tokens[i], 1.0), MOST)
        ranked.threshold[i] = quantile(ranked.known.ordered[i, :known], known, 1.0 - fires)


@compiled
def _who_decides(spending, view, i):
    chosen = spending.chosen
    if view.slot < spending.purse.warm_until:
        return WARM_UP
    if not spending.needs_trust:
        return CHOSEN
    is_known = chosen.threshold[i] > -np.inf and not np.isnan(chosen.value[i])
    is_trusted = is_reliable(view, spending.td_cutoff, spending.least_agreement, i)
    return CHOSEN if is_known and is_trusted else FALLBACK


@compiled
def _is_high(spending, i):
    if spending.reason[i] == CHOSEN:
        return spending.chosen.value[i] >= spending.chosen.threshold[i]
    if spending.reason[i] == FALLBACK:
        return spending.fallback.value[i] >= spending.fallback.threshold[i]
    return True


class Budget(RuleGate):
    """Trains where a score is high for what it may spend: tokens, one per training job (ours).

    Every slot brings `rate` tokens; at most `burst` are saved. A training job takes one when it
    completes, without one there is no training. A score fires at or above a quantile of its last
    `window` values: 3 `rate` times the tokens saved may fire, at most half of them. So a score is
    choosy after it has spent and less so the more it has saved, and whatever it is, what comes in
    is spent. Ties are broken by chance. Until `min_history` values are known every token is spent
    at once.

    psi is the agent's own word: while Q is unreliable (TD statistic above `td_cutoff`, with
    `reliability` "agreement" also while a second network disagrees), or there is no threshold yet,
    the `fallback` decides, which is a score as well. So it does until a price is known: the scores
    `counterfactual` and `hindsight` need a world that can be stored and played on (see
    `mec_rllib.rl.pricing`); `hindsight` knows what will come, and is a reference.

    Args:
        num_servers: N.
        score: name of the score, or `package.module:function`: a function that is given a
            `GateView` in every slot and returns (N,) numbers, higher is better.
        rate: tokens per slot, or how they fall from one rate to another; see `Decay`.
        burst: tokens that can be saved.
        warm_up: training jobs at even distances before the budget counts; see `WarmUp`.
        window: recent scores kept, per server.
        min_history: scores needed before there is a threshold.
        refresh: slots between two looks at the quantile.
        td_cutoff: highest TD statistic at which psi is trusted.
        fallback: score while it is not: "pts" (anywhere), "idle", "server_empty", "use", "queue".
        longest_wait: "idle" and "server_empty" train anyway after this many slots; None: never.
        reliability: "td", or "agreement" with a second network, too.
        least_agreement: rank correlation of both networks' psi that is agreement.
        seed: of what is drawn.

    Raises:
        ValueError: a score or a rate that cannot be.
    """

    needs_psi = True
    derived: ClassVar[tuple[str, ...]] = ("ordered", "drawn")

    def __init__(
        self,
        num_servers: int,
        score: ScoreName = "psi",
        rate: Rate = 0.014,
        burst: Burst = 20,
        warm_up: Warm = None,
        window: Window = 1000,
        min_history: MinHistory = 500,
        refresh: Refresh = 10,
        td_cutoff: TDCutoff = 0.1,
        fallback: BudgetFallback = "pts",
        longest_wait: LongestWait = None,
        reliability: Reliability = "td",
        least_agreement: LeastAgreement = 0.8,
        seed: int = 0,
    ):
        super().__init__(num_servers)
        self._name, self._function = score.rpartition(":")[2], None
        if is_import_path(score):
            self._function = load_path(score)
        self.needs_trust = score in OF_AGENT + PRICES
        self.needs_price = score if score in PRICES else ""
        self.needs_agreement = reliability == "agreement" and score in OF_AGENT
        self.needs_psi = score in OF_AGENT or self._function is not None
        drawn = generator(seed, Purpose.GATE).random(DRAWN)
        chosen, second = (
            built_in(name, num_servers, drawn, longest_wait) for name in (score, fallback)
        )
        spending = Spending(
            chosen=_ranked(num_servers, chosen, window, min_history),
            fallback=_ranked(num_servers, second, window, min_history),
            purse=empty_purse(num_servers, rate, burst, warm_up),
            slots=np.zeros(1, np.int64),
            reason=np.full(num_servers, FALLBACK if self.needs_trust else CHOSEN),
            drawn=drawn,
            needs_trust=self.needs_trust,
            td_cutoff=float(td_cutoff) if score in OF_AGENT else np.inf,
            least_agreement=least_agreement if self.needs_agreement else -np.inf,
            refresh=refresh,
        )
        self.rule = BudgetRule(chosen, second, spending)

    def wants(self, view: GateView) -> Bools:
        """(N,) as the rule says; a score that is a function is asked here."""
        if self._function is not None:
            self.rule.score.answered[:] = asked(self._function, view)
        return super().wants(view)

    @property
    def compiled_rule(self) -> Any | None:
        """The rule, unless the score is a function."""
        return super().compiled_rule if self._function is None else None

    def reasons(self) -> dict[str, Bools]:
        """The score, its fallback, or the warm-up."""
        names = (self._name, "fallback", "warm_up")
        return {name: self.rule.spending.reason == k for k, name in enumerate(names)}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        super().set_state(state)
        for ranked in (self.rule.spending.chosen, self.rule.spending.fallback):
            ranked.known.ordered[:] = np.sort(ranked.known.recent, axis=1)

    def metrics(self) -> dict[str, float]:
        """Means over the servers: tokens, what a slot brings, the score and its threshold."""
        spending, purse = self.rule.spending, self.rule.spending.purse
        figures = {
            "fallback_share": float((spending.reason == FALLBACK).mean()),
            "tokens": float(purse.tokens.mean()),
            "token_rate": float(purse.rate.mean()),
        }
        chosen = spending.chosen
        named = {self._name: chosen.value, f"{self._name}_threshold": chosen.threshold}
        for name, values in named.items():
            if np.isfinite(values).any():
                figures[name] = float(values[np.isfinite(values)].mean())
        return figures


def _ranked(num_servers: int, score: Any, window: int, min_history: int) -> Ranked:
    """No value is known yet. Of a moment none ever has to be: 1 fires, 0 does not."""
    known, threshold = no_psi(num_servers, window, min_history), -np.inf
    if isinstance(score, Moment):
        known, threshold = no_psi(num_servers, 1, 1)._replace(min_history=FOR_EVER), 0.5
    value, is_said = np.full(num_servers, np.nan), np.zeros(num_servers, bool)
    return Ranked(known, value, is_said, np.full(num_servers, threshold))
