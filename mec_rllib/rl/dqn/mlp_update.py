"""A DQN update for plain ReLU networks, without autograd, in compiled code.

An update of a 2x64 network is a handful of small matrix products; autograd and the optimizer's
bookkeeping around them cost several times more than they do. Here the gradient is written out,
and all parameters of a network lie in one flat buffer that Adam and the soft target walk through
once.
"""

from typing import NamedTuple

import numpy as np

from mec_rllib.rl.dqn.mlp import Array, Layers, compiled, forward
from mec_rllib.rl.replay.priorities import draw, reprioritize
from mec_rllib.rl.replay.prioritized import take


class Networks(NamedTuple):
    """An online network and its target: their layers, all of them views of the flat buffers."""

    online: Layers
    target: Layers
    gradient: Layers
    double_q: bool  # whether the online network chooses the bootstrap action


class Adam(NamedTuple):
    """Adam over flat buffers (P,), and the soft target that follows."""

    parameter: Array
    target: Array
    gradient: Array
    moment: Array
    square: Array
    steps: Array  # (tensors,) all equal; torch keeps one for each
    rate: float
    beta1: float
    beta2: float
    epsilon: float
    tau: float


@compiled
def train(networks, adam, uniforms, rows, priorities):
    """All updates of a training job: losses (K,), mean Q taken (K,), |TD error| (K, B).

    Args:
        networks: `Networks`, views of Adam's buffers.
        adam: `Adam`.
        uniforms: (K, B) numbers in [0, 1), with which batches are drawn.
        rows: `Transitions` of the replay.
        priorities: `Priorities` of the replay.
    """
    losses, q_values, errors = (
        np.empty(len(uniforms)),
        np.empty(len(uniforms)),
        np.empty_like(uniforms),
    )
    for k in range(len(uniforms)):
        drawn, importance = draw(priorities, uniforms[k])
        losses[k], q_values[k], errors[k] = differentiate(networks, take(rows, drawn), importance)
        descend(adam)
        reprioritize(priorities, drawn, errors[k])
    return losses, q_values, errors


@compiled
def differentiate(networks, drawn, importance):
    """Writes the gradient; returns the loss, the mean Q of the actions taken, and |TD error|."""
    _, q_next = forward(networks.online, drawn.next_obs)
    _, q_target = forward(networks.target, drawn.next_obs)
    inputs, q = forward(networks.online, drawn.obs)
    judge = q_next if networks.double_q else q_target
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
    propagate(networks.online, inputs, delta, networks.gradient)
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
def descend(adam):
    """One step of Adam along the gradient, then the soft target."""
    adam.steps[:] += np.float32(1.0)
    step = float(adam.steps[0])
    _walk(
        adam.parameter,
        adam.target,
        adam.gradient,
        adam.moment,
        adam.square,
        np.float32(adam.rate / (1.0 - adam.beta1**step)),
        np.float32(1.0 / np.sqrt(1.0 - adam.beta2**step)),
        np.float32(1.0 - adam.beta1),
        np.float32(1.0 - adam.beta2),
        np.float32(adam.epsilon),
        np.float32(adam.tau),
    )


@compiled
def _walk(parameter, target, gradient, moment, square, step, scale, rate1, rate2, epsilon, tau):
    """Adam, then the soft target, in one walk; `step` and `scale` carry the bias corrections."""
    for k in range(len(parameter)):
        g = gradient[k]
        moment[k] += rate1 * (g - moment[k])
        square[k] += rate2 * (g * g - square[k])
        parameter[k] -= step * moment[k] / (np.sqrt(square[k]) * scale + epsilon)
        target[k] += tau * (parameter[k] - target[k])
