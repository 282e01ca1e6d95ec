"""How an actor-critic acts: by chance, as its policy says."""

import numpy as np

from mec_rllib.envs.observation import Observations
from mec_rllib.envs.world import World
from mec_rllib.rl.exploration import Greedy
from mec_rllib.rl.masks import log_policy
from mec_rllib.sim.jobs import Ints


class Sampled(Greedy):
    """Acts by chance, as an actor-critic's policy says: its logits come first among the ratings."""

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed."""
        chances = np.exp(log_policy(q[:, : servers.mask.shape[1]], servers.mask))
        below = chances.cumsum(axis=1)
        return (rng.random(len(q))[:, None] * below[:, -1:] >= below).sum(axis=1)
