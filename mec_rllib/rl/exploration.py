"""How the agent acts on its Q-values, and how it departs from them to learn."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from mec_rllib.envs.observation import Observations
from mec_rllib.envs.world import World
from mec_rllib.rl.masks import best_allowed
from mec_rllib.schedulers import Scheduler, random_actions
from mec_rllib.sim.jobs import Ints


class Greedy:
    """The allowed action with the highest Q, always. Base of all explorations.

    An exploration that needs a network of its own names the class of it in `network`, and
    `network_config` says what of the exploration's arguments that network is told.
    """

    network: ClassVar[type[Any] | None] = None  # an RLModule; None: any network will do

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

    def metrics(self, slot: int) -> dict[str, float]:
        """Figures of this slot, for TensorBoard."""
        return {}


class Decay:
    """floor + (start - floor) * exp(-5 t / decay_slots) until decay_slots, then the floor.

    Of epsilon, exponential over 350 episodes (of 250 slots), then 0.1: known; the rate 5 is
    reconstructed.
    """

    def __init__(self, start: float = 1.0, floor: float = 0.1, decay_slots: int = 87_500):
        self._start, self._floor, self._decay_slots = start, floor, decay_slots

    def at(self, slot: int) -> float:
        """The value at a slot of the agent's lifetime."""
        if slot >= self._decay_slots:
            return self._floor
        drop = (self._start - self._floor) * math.exp(-5 * slot / self._decay_slots)
        return self._floor + drop


class EpsilonGreedy(Greedy):
    """The source's: with probability epsilon any allowed action, else the greedy one."""

    def __init__(self, **decay: float):
        self._epsilon = Decay(**decay)  # type: ignore[arg-type]

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed."""
        actions = super().choose(q, servers, slot, rng)
        explores = rng.random(len(q)) < self._epsilon.at(slot)
        if explores.any():
            actions = np.where(explores, random_actions(servers.mask, rng), actions)
        return actions

    def metrics(self, slot: int) -> dict[str, float]:
        """Epsilon."""
        return {"epsilon": self._epsilon.at(slot)}


class Boltzmann(Greedy):
    """Draws an allowed action with probability proportional to exp(Q / temperature).

    Args:
        **decay: of the temperature, in units of Q (see `Decay`).
    """

    def __init__(self, **decay: float):
        self._temperature = Decay(**decay)  # type: ignore[arg-type]

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
        guide: builds the rule.
        slots: of the agent's lifetime in which the rule decides.
    """

    def __init__(self, guide: Callable[[], Scheduler], slots: int):
        self._guide, self._slots = guide(), slots

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed."""
        if slot < self._slots:
            return self._guide.select(servers)
        return super().choose(q, servers, slot, rng)

    def metrics(self, slot: int) -> dict[str, float]:
        """Whether the rule decides."""
        return {"guided": float(slot < self._slots)}
