"""How the agent acts on its Q-values, and how it departs from them to learn."""

import math
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from mec_rllib.compiled import by_type, compiled, is_ours
from mec_rllib.envs.observation import Observations
from mec_rllib.envs.world import World
from mec_rllib.gates.periodic import FOR_EVER
from mec_rllib.lookup import find, seeded
from mec_rllib.rl.masks import best_allowed, take_best
from mec_rllib.schedulers import SCHEDULERS, Index, Scheduler, random_actions
from mec_rllib.schedulers.rule import select
from mec_rllib.sim.jobs import Ints
from mec_rllib.sim.server import ServerBatch


@by_type
def choose(rule, q, field, slot, rng, actions):
    """Writes actions (N,), each allowed, into `actions`; otherwise as `Greedy.choose`."""


class Best(NamedTuple):
    """Rule: the allowed action with the highest Q."""


class EpsilonBest(NamedTuple):
    """Rule: with probability epsilon any allowed action, else the best one."""

    start: float
    floor: float
    decay_slots: int


class RuleFirst(NamedTuple):
    """Rule: a scheduler's rule at first, then the best action."""

    guide: Any  # a rule that `mec_rllib.schedulers.rule.select` knows
    slots: int


@choose.of(Best)
def _choose_best(rule, q, field, slot, rng, actions):
    take_best(q, field.now.mask, actions)


@choose.of(EpsilonBest)
def _choose_mostly_best(rule, q, field, slot, rng, actions):
    take_best(q, field.now.mask, actions)
    epsilon = decayed(rule.start, rule.floor, rule.decay_slots, slot)
    explores = rng.random(len(actions)) < epsilon
    if explores.any():
        mask = field.now.mask
        drawn = rng.random(mask.shape)
        for i in range(len(actions)):
            highest = -1.0
            for a in range(mask.shape[1]):
                if explores[i] and mask[i, a] and drawn[i, a] > highest:
                    highest, actions[i] = drawn[i, a], a


@choose.of(RuleFirst)
def _choose_by_rule(rule, q, field, slot, rng, actions):
    if slot < rule.slots:
        select(rule.guide, field.servers, field.now, field.rules, actions)
    else:
        take_best(q, field.now.mask, actions)


@compiled
def decayed(start, floor, decay_slots, slot):
    """floor + (start - floor) * exp(-5 t / decay_slots) until decay_slots, then the floor."""
    if slot >= decay_slots:
        return floor
    return floor + (start - floor) * math.exp(-5 * slot / decay_slots)


class Greedy:
    """The allowed action with the highest Q, always. Base of all explorations.

    An exploration that needs a network of its own names the class of it in `network`.
    `network_config` says what of the exploration's arguments that network is told.
    """

    network: ClassVar[type[Any] | None] = None  # an RLModule; None: any network will do
    needs_afterstates: ClassVar[bool] = False  # with certain rewards

    @classmethod
    def network_config(cls, **arguments: Any) -> dict[str, Any]:
        """What of its arguments goes into RLlib's `model_config`."""
        return {}

    def prepare(self, q: Any, rng: np.random.Generator) -> None:
        """Before a slot's Q-values are asked for; q is what the runner acts with."""

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed.

        Args:
            q: Q-values (N, M + 1).
            servers: the N servers.
            slot: of the agent's lifetime; all runners' slots count.
            rng: for explorations that draw.
        """
        return best_allowed(q, servers.mask)[0]

    def look(self, world: World, q: Any) -> int:
        """Before a slot: what has arrived may be looked at; slots until the next look is needed.

        Args:
            world: the N servers.
            q: what the runner acts with.
        """
        return FOR_EVER

    def settle(self, credits: Ints) -> Ints:
        """(J,) what is left of the training jobs completed, for updates, when it has taken its."""
        return credits

    def metrics(self, slot: int) -> dict[str, float]:
        """Figures of this slot, for TensorBoard."""
        return {}

    def rule_for(self, batch: ServerBatch, q: Any) -> Any | None:
        """A rule that `choose` knows and that acts as this exploration; None: there is none.

        Args:
            batch: the N servers.
            q: what the runner acts with.
        """
        return Best() if type(self) is Greedy else None


DecaySlots = Annotated[
    int, Field(ge=1, le=10**12, description="slots until the floor, all servers together")
]
Epsilon = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(gt=0, le=1e6)]


class Decay:
    """floor + (start - floor) * exp(-5 t / decay_slots) until decay_slots, then the floor.

    Of epsilon, exponential over 350 episodes (of 250 slots), then 0.1: known; the rate 5 is
    reconstructed.
    """

    def __init__(self, start: float, floor: float, decay_slots: int):
        self.start, self.floor, self.decay_slots = float(start), float(floor), decay_slots

    def at(self, slot: int) -> float:
        """The value at a slot of the agent's lifetime."""
        value: float = decayed(self.start, self.floor, self.decay_slots, slot)
        return value


class EpsilonGreedy(Greedy):
    """The source's: with probability epsilon any allowed action, else the greedy one.

    Args:
        start: epsilon at slot 0.
        floor: epsilon from `decay_slots` on; see `Decay` for what lies between.
        decay_slots: slots of the agent's lifetime until the floor.
    """

    def __init__(
        self,
        start: Annotated[Epsilon, Field(description="epsilon at slot 0")] = 1.0,
        floor: Annotated[Epsilon, Field(description="epsilon from decay_slots on")] = 0.1,
        decay_slots: DecaySlots = 87_500,
    ):
        self._epsilon = Decay(start, floor, decay_slots)

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed."""
        actions = super().choose(q, servers, slot, rng)
        explores = rng.random(len(q)) < self._epsilon.at(slot)
        if explores.any():
            actions = np.where(explores, random_actions(servers.mask, rng), actions)
        return actions

    def rule_for(self, batch: ServerBatch, q: Any) -> EpsilonBest | None:
        """The same for compiled code."""
        epsilon = self._epsilon
        is_whole = type(self) is EpsilonGreedy
        rule = EpsilonBest(epsilon.start, epsilon.floor, epsilon.decay_slots)
        return rule if is_whole else None

    def metrics(self, slot: int) -> dict[str, float]:
        """Epsilon."""
        return {"epsilon": self._epsilon.at(slot)}


class Boltzmann(Greedy):
    """Draws an allowed action with probability proportional to exp(Q / temperature).

    Args:
        start: temperature at slot 0, in units of Q (rewards / largest weight).
        floor: temperature from `decay_slots` on; see `Decay` for what lies between.
        decay_slots: slots of the agent's lifetime until the floor.
    """

    def __init__(
        self,
        start: Annotated[Temperature, Field(description="temperature at slot 0, in Q")] = 0.3,
        floor: Annotated[Temperature, Field(description="temperature from decay_slots on")] = 0.01,
        decay_slots: DecaySlots = 87_500,
    ):
        self._temperature = Decay(start, floor, decay_slots)

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed."""
        scaled = q / max(self._temperature.at(slot), 1e-9)
        # The largest of Q / temperature plus Gumbel noise is a draw from the softmax.
        noisy = scaled + rng.gumbel(size=q.shape)
        return np.where(servers.mask, noisy, -np.inf).argmax(axis=1)

    def metrics(self, slot: int) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self._temperature.at(slot)}


class Guided(Greedy):
    """Acts by a rule at first, learning from what it brings about, then greedily.

    Args:
        scheduler: name of the rule, or `package.module:Class`.
        args: its arguments.
        slots: of the agent's lifetime in which the rule decides.
        seed: of a rule that draws.

    Raises:
        ValueError: an unknown rule.

    Attributes:
        guide: the rule.
    """

    def __init__(
        self,
        scheduler: Annotated[
            str, Field(description="the rule: a scheduler, or an import path")
        ] = "reservation",
        args: Annotated[dict[str, Any] | None, Field(description="its arguments")] = None,
        slots: Annotated[
            int,
            Field(
                ge=0,
                le=10**12,
                description="slots, all servers together, in which the rule decides",
            ),
        ] = 10_000,
        seed: int = 0,
    ):
        found = find(scheduler, SCHEDULERS, "scheduler")
        self.guide: Scheduler = seeded(found, args or {}, seed)
        self._slots = slots

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed."""
        if slot < self._slots:
            return self.guide.select(servers)
        return super().choose(q, servers, slot, rng)

    def rule_for(self, batch: ServerBatch, q: Any) -> RuleFirst | None:
        """The same for compiled code, if the guide has a rule."""
        guide = self.guide
        if type(self) is Guided and isinstance(guide, Index) and is_ours(guide):
            return RuleFirst(guide.rule_for(batch), self._slots)
        return None

    def metrics(self, slot: int) -> dict[str, float]:
        """Whether the rule decides."""
        return {"guided": float(slot < self._slots)}
