"""A duel for the wheel: the agent and a searched rule each drive a server beside the real one.

To ask the recent past which of them would have earned more elects the wrong one: the best of many
rules wins on the jobs that it was picked on. So both play now, on what really arrives, each with a
queue of its own, and whoever earned clearly more of late drives the real server (reconstructed,
after an independent prototype of this project).
"""

import copy
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from mec_rllib.compiled import compiled
from mec_rllib.envs.afterstates import AfterstateEncoder
from mec_rllib.envs.observation import Observations, see
from mec_rllib.envs.world import World
from mec_rllib.rl.dqn.q_function import rate
from mec_rllib.rl.exploration import Greedy, choose
from mec_rllib.rl.masks import take_best
from mec_rllib.schedulers.index_rule import IndexRule
from mec_rllib.schedulers.rule import select
from mec_rllib.schedulers.rule_search import (
    CandidateCount,
    Period,
    Price,
    RuleSearch,
    SlotsPerJob,
    Window,
    jobs_for,
)
from mec_rllib.sim.jobs import Floats, Ints
from mec_rllib.sim.recorded import silent
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import Now, Rules, Servers, Tally, play_slot

RULE, AGENT = range(2)  # who drives


class Shadow(NamedTuple):
    """Servers beside the N real ones, which see the same arrivals."""

    servers: Servers
    tally: Tally
    now: Now
    rules: Rules
    cursor: Ints  # (N, 2)
    actions: Ints  # (N,) scratch


class Score(NamedTuple):
    """What the agent's shadow earned beyond the rule's, in bins of slots."""

    driver: Ints  # (1,) RULE or AGENT
    bins: Floats  # (bins,) a ring
    closed: Ints  # (1,) bins so far
    open: Floats  # (1,) of the bin that is open


class DuelTerms(NamedTuple):
    """What does not change."""

    opens: int  # slot from which on it counts
    drives_from: int  # slot from which on the agent may drive
    bin_slots: int
    clearly: float  # standard errors


class DuelRule(NamedTuple):
    """Rule: whoever drives; and both play their shadow."""

    searched: IndexRule
    sight: Any
    network: Any
    obs: Observations  # (N, size) scratch
    agents: Shadow
    rules: Shadow
    score: Score
    terms: DuelTerms


@choose.of(DuelRule)
def _choose_by_driver(rule, q, field, slot, rng, actions):
    _play_shadows(rule, field)
    if rule.score.driver[0] == AGENT:
        take_best(q, field.now.mask, actions)
    else:
        select(rule.searched, field.servers, field.now, field.rules, actions)


@compiled
def _play_shadows(rule, field):
    """Both decide and play this slot, on the arrivals that come to the real servers next."""
    agents, rules, score, terms = rule.agents, rule.rules, rule.score, rule.terms
    next_slot = field.tally.slots[0] + 1
    see(rule.sight, agents, rule.obs)
    take_best(rate(rule.network, rule.obs), agents.now.mask, agents.actions)
    select(rule.searched, rules.servers, rules.now, field.rules, rules.actions)
    for shadow in (agents, rules):
        shadow.cursor[:] = field.cursor
        play_slot(
            shadow.servers,
            shadow.tally,
            shadow.now,
            field.rules,
            field.stream,
            shadow.cursor,
            next_slot,
            shadow.actions,
        )
    if next_slot > terms.opens:
        score.open[0] += agents.now.rewards.sum() - rules.now.rewards.sum()
        if (next_slot - terms.opens) % terms.bin_slots == 0:
            _close_bin(score, terms, next_slot)


@compiled
def _close_bin(score, terms, slot):
    """The bin is full; the wheel may change hands."""
    score.bins[score.closed[0] % len(score.bins)] = score.open[0]
    score.open[0] = 0.0
    score.closed[0] += 1
    if slot < terms.drives_from:
        return
    lead = lead_of(score)
    is_first = slot < terms.drives_from + terms.bin_slots  # there was no choice before
    if is_first or abs(lead) > terms.clearly:
        score.driver[0] = AGENT if lead > 0.0 else RULE


@compiled
def lead_of(score):
    """Of the agent, in standard errors of the mean bin; 0 while there are fewer than two."""
    count = min(score.closed[0], len(score.bins))
    if count < 2:
        return 0.0
    bins = score.bins[:count]
    spread = np.sqrt(((bins - bins.mean()) ** 2).sum() / (count - 1) / count)
    return bins.mean() / max(spread, 1e-12)


@compiled
def _ask(rule, q, field, actions):
    choose(rule, q, field, 0, None, actions)


class Duel(Greedy):
    """Acts by the agent or by a rule that is searched for anew, whichever earns more beside it.

    Every `period` slots, `candidates` index rules replay the arrivals of the last `window` slots
    (see `mec_rllib.schedulers.rule_search`); the best one is the rule. It pays: the next training
    jobs that complete, one for every `slots_per_job` slots that a rule has played, bring no
    updates. All servers of a runner share the rule and the wheel; it is searched for on the
    arrivals of the first one.

    Args:
        seed: of the rules that are tried.
        opens: slot from which on the duel counts.
        drives_from: slot from which on the agent may drive.
        bin_slots: slots of a bin.
        bins: that count, the last ones.
        clearly: standard errors by which one must lead to take the wheel.
        period: slots from one search to the next.
        window: slots back whose arrivals are replayed.
        candidates: index rules that a search tries.
        slots_per_job: slots of rules played that a training job pays for.
        price: factor on what a search costs; 0: nothing.
    """

    needs_afterstates = True

    def __init__(
        self,
        seed: int = 0,
        opens: Annotated[
            int, Field(ge=0, le=10**9, description="slot from which on the duel counts")
        ] = 1000,
        drives_from: Annotated[
            int, Field(ge=0, le=10**9, description="slot from which on the agent may drive")
        ] = 2000,
        bin_slots: Annotated[int, Field(ge=1, le=10**9, description="slots of a bin")] = 500,
        bins: Annotated[int, Field(ge=2, le=10**6, description="bins that count")] = 10,
        clearly: Annotated[
            float, Field(ge=0, le=100, description="standard errors of a lead that takes the wheel")
        ] = 1.0,
        period: Period = 5000,
        window: Window = 15_000,
        candidates: CandidateCount = 96,
        slots_per_job: SlotsPerJob = 51_000,
        price: Price = 1.0,
    ):
        self._seed, self._searching = seed, (period, window, candidates)
        self._slots_per_job, self._price = slots_per_job, price
        self._terms = DuelTerms(opens, drives_from, bin_slots, clearly)
        self._score = Score(np.array([RULE]), np.zeros(bins), np.array([0]), np.zeros(1))
        self._search: RuleSearch | None = None
        self._debt = self._searches = 0
        self._rule: DuelRule | None = None
        self._q: Any = None  # that the rule is made with

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed."""
        assert isinstance(servers, ServerBatch)
        servers.slots_ahead()  # what arrives next is drawn
        actions = np.empty(len(q), np.int64)
        _ask(self._rule, q, servers.field, actions)
        return actions

    def look(self, world: World, q: Any) -> int:
        """Sees who has arrived, and searches where it is time; slots until the next look."""
        assert isinstance(world, ServerBatch)
        search = self._search or self._begin(world)
        if self._q is not q:
            self._rule, self._q = self.rule_for(world, q), q
        search.log.observe(world.arrived(0), world.slot)
        if search.is_due():
            self._debt += jobs_for(search.search(), self._slots_per_job, self._price)
            self._searches += 1
        if search.found is not None and self._debt == 0:
            search.adopt()
            self._vector[0] = search.rule
        return max(search.next_slot - world.slot, 1)

    def settle(self, credits: Ints) -> Ints:
        """What is left of the training jobs (J,) that have completed when searches are paid."""
        left = credits.copy()
        for kind in range(len(left)):
            paid = min(self._debt, int(left[kind]))
            left[kind] -= paid
            self._debt -= paid
        return left

    def rule_for(self, batch: ServerBatch, q: Any) -> DuelRule:
        """The same for compiled code."""
        if self._search is None:
            self._begin(batch)
        network = getattr(q, "compiled_network", None)
        if network is None:
            raise ValueError(
                f"exploration duel plays {type(q).__name__} in compiled code: it cannot"
            )
        agents, rules = (_shadow_of(apart) for apart in self._apart)
        encoder = AfterstateEncoder(self._apart[0])
        return DuelRule(
            IndexRule(self._vector),
            encoder.sight,
            network,
            np.empty((batch.num_servers, encoder.size), np.float32),
            agents,
            rules,
            self._score,
            self._terms,
        )

    def metrics(self, slot: int) -> dict[str, float]:
        """Whether the agent drives, its lead in standard errors, and searches so far."""
        return {
            "agent_drives": float(self._score.driver[0] == AGENT),
            "agent_leads": float(lead_of(self._score)),
            "searches": float(self._searches),
        }

    def _begin(self, batch: ServerBatch) -> RuleSearch:
        described = silent(batch.workload)  # a copy of the duel need not hold a whole trace
        self._search = RuleSearch(
            described, batch.buffer, *self._searching, seed=self._seed, index=batch.first_index
        )
        self._vector: Floats = self._search.rule[None].copy()
        self._apart = [batch.without_arrivals(batch.num_servers) for _ in range(2)]
        return self._search

    def __deepcopy__(self, memo: dict[int, Any]) -> "Duel":
        """As any object, without the rule for compiled code: its network is the runner's."""
        other = object.__new__(type(self))
        memo[id(self)] = other
        kept = {k: value for k, value in vars(self).items() if k not in ("_rule", "_q")}
        vars(other).update(copy.deepcopy(kept, memo), _rule=None, _q=None)
        return other


def _shadow_of(batch: ServerBatch) -> Shadow:
    cursor, actions = np.empty_like(batch.field.cursor), np.empty(batch.num_servers, np.int64)
    return Shadow(batch.servers, batch.tally, batch.now, batch.rules, cursor, actions)
