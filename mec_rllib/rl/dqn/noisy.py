"""Noisy networks (Fortunato et al. 2018): noise on the weights, as large as the agent learns."""

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.utils.typing import StateDict
from torch import Tensor, nn

from mec_rllib.envs.observation import Observations
from mec_rllib.envs.world import World
from mec_rllib.rl.dqn.learner import GatedDQNTorchLearner
from mec_rllib.rl.dqn.mlp import layers_of, predict, turned
from mec_rllib.rl.dqn.q_function import QFunction
from mec_rllib.rl.exploration import Greedy
from mec_rllib.rl.masks import best_allowed
from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.targets import acts_with_target_network
from mec_rllib.sim.jobs import Ints
from mec_rllib.sim.streams import Purpose, seed_of

SIGMA0 = 0.5  # the source's, for factorised noise


class NoisyLinear(nn.Module):
    """y = (W + sigma_W * f(e_out) f(e_in)') x + b + sigma_b * f(e_out), f(e) = sign(e) sqrt(|e|).

    Factorised noise, and the source's start: W, b uniform within 1 / sqrt(inputs), sigma =
    sigma0 / sqrt(inputs). It is zero until it is drawn.
    """

    noise_in: Tensor
    noise_out: Tensor

    def __init__(self, inputs: int, outputs: int, sigma0: float):
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_sigma = nn.Parameter(torch.full((outputs, inputs), sigma0 * bound))
        self.bias_sigma = nn.Parameter(torch.full((outputs,), sigma0 * bound))
        self.register_buffer("noise_in", torch.zeros(inputs), persistent=False)
        self.register_buffer("noise_out", torch.zeros(outputs), persistent=False)

    def redraw(self, generator: torch.Generator) -> None:
        """New noise."""
        for noise in (self.noise_in, self.noise_out):
            noise.copy_(_scaled(torch.randn(len(noise), generator=generator)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        weight = self.weight + self.weight_sigma * torch.outer(self.noise_out, self.noise_in)
        return nn.functional.linear(x, weight, self.bias + self.bias_sigma * self.noise_out)


class NoisyQ(QFunction):
    """Q-values (B, 2A) to act with: without noise, then with the noise of this slot."""

    def __init__(self, module: "NoisyModule"):
        self._actions = int(module.action_space.n)
        prefix = "_target_" if acts_with_target_network(module) else ""
        self._noisy = [
            layer
            for part in ("encoder", "af")
            for layer in getattr(module, prefix + part).modules()
            if isinstance(layer, NoisyLinear)
        ]
        self._silent = layers_of(self._noisy)
        self._drawn = self._silent

    def redraw(self, rng: np.random.Generator) -> None:
        """New noise, for the next slot."""
        noise, biases = [], []
        for layer, (_, bias) in zip(self._noisy, self._silent, strict=True):
            rows, columns = (
                _scaled(rng.standard_normal(n, np.float32)) for n in layer.weight.shape
            )
            sigma, bias_sigma = layer.weight_sigma.detach(), layer.bias_sigma.detach()
            noise.append(sigma.numpy() * np.outer(rows, columns))
            biases.append(bias + bias_sigma.numpy() * rows)
        silent = [weight for weight, _ in self._silent]
        weights = [np.add(w, n, order="C") for w, n in zip(silent, turned(noise), strict=True)]
        self._drawn = tuple(zip(weights, biases, strict=True))

    def __call__(self, obs: Observations) -> Observations:
        """(B, F) observations to (B, 2A) Q-values, float32."""
        return np.concatenate([predict(n, obs) for n in (self._silent, self._drawn)], axis=1)


class NoisyLearner(GatedDQNTorchLearner):
    """Draws noise for every update: one for the online network, one for its target.

    The source draws a third one for the choice of the bootstrap action; here that is the online
    network with the noise that it has.
    """

    def build(self) -> None:
        """Builds RLlib's parts, and the generator of the noise."""
        super().build()
        self._noise = torch.Generator().manual_seed(
            seed_of(self.config.seed or 0, Purpose.WEIGHT_NOISE)
        )

    def get_state(self, *args: Any, **kwargs: Any) -> StateDict:
        """RLlib's state, and the generator's."""
        return super().get_state(*args, **kwargs) | {"noise": self._noise.get_state().numpy()}

    def set_state(self, state: StateDict) -> None:
        """Restores module, optimizer and generator."""
        super().set_state(state)
        if "noise" in state:
            self._noise.set_state(torch.from_numpy(np.array(state["noise"])))

    def compute_flat_loss(
        self, module: "NoisyModule", drawn: Transitions, weights: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As for any network, with new noise."""
        for layer in module.modules():
            if isinstance(layer, NoisyLinear):
                layer.redraw(self._noise)
        return super().compute_flat_loss(module, drawn, weights)


class NoisyModule(DefaultDQNTorchRLModule):
    """RLlib's DQN network with noise on every layer (RLlib itself has none on its new stack).

    `std_init` in the module's config is sigma0. The gate and the trained policy see no noise.
    """

    learner_class = NoisyLearner

    def setup(self) -> None:
        """Builds the networks, and puts noisy layers in the place of the linear ones."""
        super().setup()
        for part in (self.encoder, self.af):
            for parent in list(part.modules()):
                for name, layer in list(parent.named_children()):
                    if isinstance(layer, nn.Linear):
                        noisy = NoisyLinear(
                            layer.in_features, layer.out_features, self.model_config["std_init"]
                        )
                        setattr(parent, name, noisy)

    def acting_function(self) -> NoisyQ:
        """What it acts with."""
        return NoisyQ(self)


Sigma0 = Annotated[float, Field(gt=0, le=100, description="noise on the weights at first")]


class Noisy(Greedy):
    """Greedy on the Q-values of a noisy network, whose noise is drawn anew for every slot.

    Args:
        sigma0: noise on the weights at first, of the network.
    """

    network = NoisyModule

    def __init__(self, sigma0: Sigma0 = SIGMA0):
        self._sigma0 = sigma0

    @classmethod
    def network_config(cls, sigma0: float = SIGMA0, **arguments: Any) -> dict[str, Any]:
        """The noise at first, under RLlib's name."""
        return {"std_init": sigma0}

    def prepare(self, q: Any, rng: np.random.Generator) -> None:
        """Draws the noise."""
        q.redraw(rng)

    def choose(self, q: Observations, servers: World, slot: int, rng: np.random.Generator) -> Ints:
        """Actions (N,), each allowed."""
        return best_allowed(np.ascontiguousarray(q[:, servers.mask.shape[1] :]), servers.mask)[0]


def _scaled(noise: Any) -> Any:
    """f of the source, for tensors and arrays."""
    package: Any = torch if isinstance(noise, Tensor) else np
    return package.sign(noise) * package.sqrt(package.abs(noise))
