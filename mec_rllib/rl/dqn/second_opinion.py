"""A second network of its own start: do two agents that learned the same agree on psi?

Small TD errors do not say whether psi orders moments rightly. Two networks that were started
independently and trained on batches of their own are right about the same things (ours).
"""

import copy
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from mec_rllib.envs.observation import Observations
from mec_rllib.rl.dqn.learner import GatedDQNTorchLearner
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.sim.jobs import Bools, Floats
from mec_rllib.sim.streams import Purpose, generator, seed_of

WINDOW = 200  # slots without a training job that agreement is measured on
REFRESH = 10  # slots between two measurements
ENOUGH_UPDATES = 1000  # before them, networks agree on nothing in particular


class SecondOpinion:
    """Trains a second network along, and compares its psi with the agent's.

    It takes as many batches as the agent from the same replay, drawn on a stream of its own. These
    updates are in none of the figures about updates; `updates` counts them.

    Args:
        learner: of the agent.
        num_servers: N.
        seed: of the run.

    Raises:
        ValueError: a network that is not updated by compiled code.
    """

    def __init__(self, learner: GatedDQNTorchLearner, num_servers: int, seed: int):
        self.module = started_anew(learner.agent, seed_of(seed, Purpose.SECOND_OPINION))
        first = learner.get_optimizer()
        self._optimizer = type(first)(self.module.parameters(), **first.defaults)
        compiled = learner.compile_for(self.module, self._optimizer)
        if compiled is None:
            raise ValueError(
                "gate.reliability agreement needs a network that compiled code updates: a plain "
                "ReLU network on the CPU with the loss of GatedDQN"
            )
        self._compiled = compiled
        self._rng = generator(seed, Purpose.SECOND_OPINION)
        self.updates = 0
        self._psi = np.full((2, num_servers, WINDOW), np.nan)  # rings
        self._seen = np.zeros(num_servers, np.int64)
        self._slots = 0
        self.agreement = np.full(num_servers, np.nan)

    def learn(self, replay: PrioritizedReplay, updates: int, batch: int) -> None:
        """Trains on batches of its own; priorities stay those of the agent."""
        rows, priorities, *others = replay.parts
        own = priorities._replace(tree=priorities.tree.copy(), largest=priorities.largest.copy())
        self._compiled.run_on((rows, own, *others), self._rng.random((updates, batch)))
        self.updates += updates

    def note(self, psi: Floats, other: Floats, can_ask: Bools) -> None:
        """Compares psi of the agent (N,) with that of the second network, slot by slot."""
        where = np.flatnonzero(can_ask)
        self._psi[:, where, self._seen[where] % WINDOW] = psi[where], other[where]
        self._seen[where] += 1
        if self._slots % REFRESH == 0 and self.updates >= ENOUGH_UPDATES:
            self.agreement[:] = np.where(self._seen >= WINDOW, spearman(*self._psi), np.nan)
        self._slots += 1

    def get_state(self) -> dict[str, Any]:
        """Network, optimizer, generator, and what has been compared."""
        return {
            "module": copy.deepcopy(self.module.state_dict()),
            "optimizer": copy.deepcopy(self._optimizer.state_dict()),
            "rng": self._rng.bit_generator.state,
            "compared": copy.deepcopy(
                (self.updates, self._psi, self._seen, self._slots, self.agreement)
            ),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        self.module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._compiled.adopt_optimizer_state()
        self._rng.bit_generator.state = state["rng"]
        compared = copy.deepcopy(state["compared"])
        self.updates, self._psi, self._seen, self._slots, self.agreement = compared


def started_anew(module: Any, seed: int) -> Any:
    """A copy of a network with weights of its own start; its target is a copy of it."""
    other = copy.deepcopy(module)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for part in other.modules():
            if isinstance(part, nn.Linear):
                part.reset_parameters()
    for main, target in other.get_target_network_pairs():
        target.load_state_dict(main.state_dict())
    return other


def spearman(one: Observations | Floats, other: Observations | Floats) -> Floats:
    """(N,) rank correlation of the rows of two (N, W) arrays; 0 where one is constant."""
    ranks = [rankdata(values, axis=1) for values in (one, other)]
    a, b = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    together: Floats = (a * b).sum(axis=1)
    return np.divide(together, spread, out=np.zeros_like(together), where=spread > 0)
