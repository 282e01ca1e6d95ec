"""A DQN update for plain ReLU networks, without autograd.

An update of a 2x64 network is a handful of small matrix products; autograd and the optimizer's
bookkeeping around them cost several times more than they do. Here the gradient is written out,
and all parameters of a network lie in one flat buffer that Adam and the soft target walk through
once. The torch parameters and Adam's torch state are views of these buffers: RLlib's checkpoints,
weight syncing and inspection see every update at once.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from mec_rllib.rl.dqn.mlp import Array, Layers, compiled, forward
from mec_rllib.rl.messages import Transitions
from mec_rllib.sim.jobs import Floats

# (online, target, transitions, importance weights, double_q, gradients) -> as `differentiate`
Differentiate = Callable[..., tuple[float, float, Floats]]


class MLPUpdate:
    """Trains an online network on batches; Double DQN, Huber, importance weights, Adam.

    Args:
        online: linear layers of the online network.
        target: linear layers of the target network.
        optimizer: Adam over the online network's parameters.
        tau: soft target step.
        double_q: whether the online network chooses the bootstrap action.
        differentiate: writes the gradient of a batch; compiled.
    """

    def __init__(
        self,
        online: list[nn.Linear],
        target: list[nn.Linear],
        optimizer: torch.optim.Adam,
        tau: float,
        double_q: bool,
        differentiate: Differentiate,
    ):
        self._tau, self._double_q = tau, double_q
        self._differentiate = differentiate
        self._optimizer = optimizer
        self._parameters = _parameters(online)
        self._flat, self._online = _share_memory(self._parameters)
        self._flat_target, self._target = _share_memory(_parameters(target))
        self._gradient = np.zeros_like(self._flat)
        self._gradients = _layers(self._gradient, self._parameters)
        self._moment, self._square = np.zeros_like(self._flat), np.zeros_like(self._flat)
        self._steps = np.empty(len(self._parameters), np.float32)  # all equal; Adam keeps one each
        self.adopt_optimizer_state()

    def adopt_optimizer_state(self) -> None:
        """Takes over Adam's state (after a restore) and makes it a view of the flat buffers."""
        flats = {"exp_avg": self._moment, "exp_avg_sq": self._square}
        for name, flat in flats.items():
            views = [view for layer in _layers(flat, self._parameters) for view in layer]
            for parameter, view in zip(self._parameters, views, strict=True):
                state = self._optimizer.state[parameter]
                if name in state:
                    view[:] = state[name].numpy()
                state[name] = torch.from_numpy(view)
        for parameter, step in zip(self._parameters, torch.from_numpy(self._steps), strict=True):
            state = self._optimizer.state[parameter]
            step.fill_(float(state.get("step", 0.0)))
            state["step"] = step  # a view, too

    def update(self, drawn: Transitions, weights: Array) -> tuple[float, float, Floats]:
        """One update: the loss, the mean Q of the actions taken, and |TD error| (B,)."""
        found = self._differentiate(
            self._online,
            self._target,
            drawn,
            weights,
            self._double_q,
            self._gradients,
        )
        self._descend()
        return found

    def _descend(self) -> None:
        group = self._optimizer.param_groups[0]
        self._steps += 1.0
        step = float(self._steps[0])
        beta1, beta2 = group["betas"]
        _adam(
            self._flat,
            self._flat_target,
            self._gradient,
            self._moment,
            self._square,
            np.float32(group["lr"] / (1.0 - beta1**step)),
            np.float32(1.0 / np.sqrt(1.0 - beta2**step)),
            np.float32(1.0 - beta1),
            np.float32(1.0 - beta2),
            np.float32(group["eps"]),
            np.float32(self._tau),
        )


def is_plain_adam(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it is the Adam that `MLPUpdate` writes out."""
    if type(optimizer) is not torch.optim.Adam or len(optimizer.param_groups) != 1:
        return False
    group = optimizer.param_groups[0]
    return not (group["weight_decay"] or group["amsgrad"] or group["maximize"])


def _parameters(linears: list[nn.Linear]) -> list[torch.Tensor]:
    return [parameter for layer in linears for parameter in (layer.weight, layer.bias)]


def _share_memory(parameters: list[torch.Tensor]) -> tuple[Array, Layers]:
    """Moves the parameters into one flat buffer; returns it, and its layers as views."""
    flat = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    layers = _layers(flat, parameters)
    for parameter, view in zip(parameters, [v for layer in layers for v in layer], strict=True):
        parameter.data = torch.from_numpy(view)
    return flat, layers


def _layers(flat: Array, parameters: list[torch.Tensor]) -> Layers:
    ends = np.cumsum([p.numel() for p in parameters])
    pieces = np.split(flat, ends[:-1])
    views = [piece.reshape(p.shape) for piece, p in zip(pieces, parameters, strict=True)]
    return tuple(zip(views[::2], views[1::2], strict=True))


@compiled
def differentiate(online, target, drawn, importance, double_q, gradients):
    """Writes the gradient; returns the loss, the mean Q of the actions taken, and |TD error|."""
    _, q_next = forward(online, drawn.next_obs)
    _, q_target = forward(target, drawn.next_obs)
    inputs, q = forward(online, drawn.obs)
    judge = q_next if double_q else q_target
    delta = np.zeros_like(q)  # dLoss/dQ
    errors = np.empty(len(q))
    loss = q_sum = 0.0
    for b in range(len(q)):
        best, taken = -1, drawn.actions[b]
        for a in range(q.shape[1]):
            if drawn.next_mask[b, a] and (best < 0 or judge[b, a] > judge[b, best]):
                best = a
        error = q[b, taken] - (drawn.rewards[b] + drawn.discounts[b] * q_target[b, best])
        slope = min(max(error, -1.0), 1.0)  # of the Huber loss
        loss += importance[b] * slope * (error - 0.5 * slope)
        delta[b, taken] = importance[b] * slope / len(q)
        errors[b] = abs(error)
        q_sum += q[b, taken]
    propagate(online, inputs, delta, gradients)
    return loss / len(q), q_sum / len(q), errors


@compiled
def propagate(layers, inputs, delta, gradients):
    """Writes the gradient of a network whose output has the gradient `delta` (B, outputs)."""
    for k in range(len(layers) - 1, -1, -1):
        weight_gradient, bias_gradient = gradients[k]
        np.dot(delta.T, inputs[k], weight_gradient)
        bias_gradient[:] = 0.0
        for b in range(len(delta)):
            bias_gradient += delta[b]
        if k > 0:
            delta = np.dot(delta, layers[k][0])
            for b in range(len(delta)):
                for j in range(delta.shape[1]):
                    if inputs[k][b, j] <= 0.0:
                        delta[b, j] = 0.0


@compiled
def _adam(parameter, target, gradient, moment, square, step, scale, rate1, rate2, epsilon, tau):
    """Adam, then the soft target, in one walk; `step` and `scale` carry the bias corrections."""
    for k in range(len(parameter)):
        g = gradient[k]
        moment[k] += rate1 * (g - moment[k])
        square[k] += rate2 * (g * g - square[k])
        parameter[k] -= step * moment[k] / (np.sqrt(square[k]) * scale + epsilon)
        target[k] += tau * (parameter[k] - target[k])
