"""All updates of a training job in one compiled call, on the memory of torch.

The torch parameters and Adam's torch state are views of the buffers that compiled code writes to:
RLlib's checkpoints, weight syncing and inspection see every update at once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from mec_rllib.rl.dqn.mlp import Array, Layers, turned
from mec_rllib.rl.dqn.mlp_update import Adam, Networks
from mec_rllib.rl.messages import UpdateMetrics
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.sim.jobs import Floats

# (networks, adam, uniforms (K, B), *parts of the replay) -> sums: loss, |TD error|, Q taken (3,)
Train = Callable[..., Floats]


class CompiledUpdates:
    """Trains an online network: Double DQN, Huber, importance weights, Adam, soft target.

    Args:
        online: linear layers of the online network.
        target: linear layers of the target network.
        optimizer: Adam over the online network's parameters.
        tau: soft target step.
        double_q: whether the online network chooses the bootstrap action.
        train: runs the updates; compiled.
    """

    def __init__(
        self,
        online: list[nn.Linear],
        target: list[nn.Linear],
        optimizer: torch.optim.Adam,
        tau: float,
        double_q: bool,
        train: Train,
    ):
        self._train, self._optimizer, self._tau = train, optimizer, tau
        self._parameters = _parameters(online)
        self._flat, layers = _share_memory(self._parameters)
        self._flat_target, target_layers = _share_memory(_parameters(target))
        self._gradient = np.zeros_like(self._flat)
        gradients = _layers(_views(self._gradient, self._parameters))
        self._networks = Networks(layers, target_layers, gradients, double_q)
        self._moment, self._square = np.zeros_like(self._flat), np.zeros_like(self._flat)
        self._steps = np.empty(len(self._parameters), np.float32)
        self.adopt_optimizer_state()

    def adopt_optimizer_state(self) -> None:
        """Takes over Adam's state (after a restore) and makes it a view of the flat buffers."""
        flats = {"exp_avg": self._moment, "exp_avg_sq": self._square}
        for name, flat in flats.items():
            views = _turned(_views(flat, self._parameters))
            for parameter, view in zip(self._parameters, views, strict=True):
                state = self._optimizer.state[parameter]
                if name in state:
                    view[:] = state[name].numpy()
                state[name] = torch.from_numpy(view)
        for parameter, step in zip(self._parameters, torch.from_numpy(self._steps), strict=True):
            state = self._optimizer.state[parameter]
            step.fill_(float(state.get("step", 0.0)))
            state["step"] = step  # a view, too

    def run(self, replay: PrioritizedReplay, updates: int, batch: int) -> UpdateMetrics:
        """Draws `updates` batches from the replay, trains on each, writes priorities back."""
        sums = self.run_on(replay.parts, replay.uniforms(updates, batch))
        return UpdateMetrics(updates, *(sums / updates))

    def run_on(self, parts: tuple[Any, ...], uniforms: Floats) -> Floats:
        """The same for parts of a replay and the numbers (K, B) that batches are drawn with."""
        return self._train(self._networks, self._adam, uniforms, *parts)

    @property
    def _adam(self) -> Adam:
        group: dict[str, Any] = self._optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        return Adam(
            self._flat,
            self._flat_target,
            self._gradient,
            self._moment,
            self._square,
            self._steps,
            float(group["lr"]),
            beta1,
            beta2,
            group["eps"],
            self._tau,
        )


def is_plain_adam(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it is the Adam that is written out here."""
    if type(optimizer) is not torch.optim.Adam or len(optimizer.param_groups) != 1:
        return False
    group = optimizer.param_groups[0]
    return not (group["weight_decay"] or group["amsgrad"] or group["maximize"])


def _parameters(linears: list[nn.Linear]) -> list[torch.Tensor]:
    return [parameter for layer in linears for parameter in (layer.weight, layer.bias)]


def _share_memory(parameters: list[torch.Tensor]) -> tuple[Array, Layers]:
    """Moves the parameters into one flat buffer; returns it, and its layers as views."""
    flat = np.concatenate([a.ravel() for a in _turned([p.detach().numpy() for p in parameters])])
    views = _views(flat, parameters)
    for parameter, view in zip(parameters, _turned(views), strict=True):
        parameter.data = torch.from_numpy(view)
    return flat, _layers(views)


def _views(flat: Array, parameters: list[torch.Tensor]) -> list[Array]:
    """Weights and biases in a flat buffer, as compiled code has them."""
    shapes = [a.shape for a in _turned([p.detach().numpy() for p in parameters])]
    pieces = np.split(flat, np.cumsum([p.numel() for p in parameters])[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _turned(arrays: list[Array]) -> list[Array]:
    """As `turned`, for weights and biases in turn."""
    return [a for layer in zip(turned(arrays[::2]), arrays[1::2], strict=True) for a in layer]


def _layers(views: list[Array]) -> Layers:
    return tuple(zip(views[::2], views[1::2], strict=True))
