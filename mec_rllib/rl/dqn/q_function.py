"""Q-values to act with, from an RLModule of DQN."""

from typing import Any, NamedTuple

import numpy as np
import torch
from ray.rllib.algorithms.dqn.default_dqn_rl_module import QF_PREDS
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule

from mec_rllib.compiled import by_type
from mec_rllib.envs.observation import Observations
from mec_rllib.rl.dqn.mlp import Layers, layers_of, predict, relu_mlp
from mec_rllib.rl.masks import best_allowed
from mec_rllib.rl.targets import acts_with_target_network
from mec_rllib.sim.jobs import Bools, Floats, Ints


@by_type
def rate(network, obs):
    """Q-values (B, M + 1), float32, of observations (B, F)."""


class RowNetwork(NamedTuple):
    """A network over what is seen, with an output per action."""

    layers: Layers


@rate.of(RowNetwork)
def _rate_rows(network, obs):
    return predict(network.layers, obs)


class QFunction:
    """Q-values that a module acts with, for a batch of observations.

    They come from the online network, or from the target network if the module's config says
    `act_with: target` (an averaged network is steadier) and it is there: a module on a remote
    runner has one network only.

    A plain ReLU network is evaluated by compiled code on the module's own memory (no copy: it
    sees every update at once); for the few rows of a slot that is several times faster than
    torch. Any other network goes through `compute_q_values`.
    """

    output = QF_PREDS  # what it takes from the module's answer

    def __init__(self, module: RLModule):
        self._layers: Layers | None = None
        self._actions = int(module.action_space.n)
        acts_with_target = acts_with_target_network(module)
        self._compute = module.forward_target if acts_with_target else module.compute_q_values
        parts = ("_target_encoder", "_target_af") if acts_with_target else ("encoder", "af")
        linears = relu_mlp(module, *parts)
        if linears and linears[0].weight.device.type == "cpu":
            self._layers = layers_of(linears)

    def __call__(self, obs: Observations) -> Observations:
        """(B, F) observations to (B, M + 1) Q-values, float32."""
        if self._layers is None:
            with torch.inference_mode():
                batch = {Columns.OBS: torch.from_numpy(obs)}
                return self._compute(batch)[self.output].numpy()
        return self.evaluate(self._layers, obs)

    @property
    def compiled_network(self) -> Any | None:
        """The network as a tuple that `rate` knows, if compiled code can ask it; else None."""
        if self._layers is None or type(self) is not QFunction:
            return None
        return RowNetwork(self._layers)

    def evaluate(self, layers: Layers, obs: Observations) -> Observations:
        """The same, by compiled code."""
        return predict(layers, obs)

    def values(self, q: Observations, mask: Bools) -> Floats:
        """(B,) the highest Q of the actions allowed."""
        return best_allowed(q, mask)[1]

    def values_taken(self, q: Observations, actions: Ints) -> Observations:
        """(B,) Q of the actions taken."""
        return q[np.arange(len(q)), actions]
