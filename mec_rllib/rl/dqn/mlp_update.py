"""A DQN update for plain ReLU networks, without autograd, in compiled code.

An update of a 2x64 network is a handful of small matrix products; autograd and the optimizer's
bookkeeping around them cost several times more than they do. Here the gradient is written out,
and all parameters of a network lie in one flat buffer that Adam and the soft target walk through
once.
"""

from typing import NamedTuple

import numpy as np

from mec_rllib.rl.dqn.mlp import Array, Layers, fused, predict_unit, represent
from mec_rllib.rl.replay.priorities import draw, reprioritize


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


@fused
def train(networks, adam, uniforms, rows, priorities):
    """All updates of a training job; returns sums of their loss, |TD error| and Q taken (3,).

    Args:
        networks: `Networks`, views of Adam's buffers.
        adam: `Adam`.
        uniforms: (K, B) numbers in [0, 1), with which batches are drawn.
        rows: `Transitions` of the replay.
        priorities: `Priorities` of the replay.
    """
    sums = np.zeros(3)
    for k in range(len(uniforms)):
        drawn, importance = draw(priorities, uniforms[k])
        errors = differentiate(networks, rows, drawn, importance, sums)
        descend(adam)
        reprioritize(priorities, drawn, errors)
    return sums


@fused
def differentiate(networks, rows, drawn, importance, sums):
    """Writes the gradient, adds to `sums` (see `train`) and returns |TD error| (B,)."""
    head, target_head = networks.online[-1], networks.target[-1]
    obs, next_obs, judges = _shown(rows, drawn, networks.double_q)
    inputs = represent(networks.online, obs)
    hidden, next_hidden = inputs[-1], represent(networks.target, next_obs)[-1]
    q, goals = np.empty((2, len(drawn)))
    for b in range(len(drawn)):
        row = drawn[b]
        if judges[b] >= 0:
            best = _best_unit(head, hidden[judges[b]], rows.next_mask[row])
        else:
            best = _best_unit(target_head, next_hidden[b], rows.next_mask[row])
        value = predict_unit(target_head, next_hidden[b], best)
        goals[b] = rows.rewards[row] + rows.discounts[row] * value
        q[b] = predict_unit(head, hidden[b], rows.actions[row])
    errors, slopes = huber(q, goals, importance, sums)
    propagate(networks, inputs, rows.actions[drawn], slopes)
    return errors


@fused
def _shown(rows, drawn, double_q):
    """What the online network is shown (B + x, F), the target (B, F), and which row judges (B,).

    The online network is shown the observations, then the next ones of Double DQN. Where a single
    action is allowed next there is nothing to judge (-1): mostly so, as buffers are short.
    """
    batch, features = len(drawn), rows.obs.shape[1]
    next_obs = np.empty((batch, features), np.float32)
    obs = np.empty((2 * batch, features), np.float32)
    judges = np.full(batch, -1)
    seen = batch
    for b in range(batch):
        copy(rows.obs[drawn[b]], obs[b])
        copy(rows.next_obs[drawn[b]], next_obs[b])
        if double_q and count_allowed(rows.next_mask[drawn[b]]) > 1:
            judges[b] = seen
            copy(next_obs[b], obs[seen])
            seen += 1
    return obs[:seen], next_obs, judges


@fused
def copy(source, to):
    """Numpy's assignment, which first looks whether the two overlap, takes longer."""
    for j in range(len(source)):
        to[j] = source[j]


@fused
def _best_unit(layer, x, mask):
    """The allowed action with the highest output."""
    best, highest = -1, -np.inf
    for a in range(len(mask)):
        if mask[a]:
            output = predict_unit(layer, x, a)
            if best < 0 or output > highest:
                best, highest = a, output
    return best


@fused
def count_allowed(mask):
    """How many actions are allowed."""
    allowed = 0
    for is_allowed in mask:
        allowed += is_allowed
    return allowed


@fused
def huber(q, goals, importance, sums):
    """Returns |TD error| (B,) and the slopes (B,) of the loss; adds to `sums` (see `train`)."""
    batch = len(q)
    errors, slopes = np.empty(batch), np.empty(batch, np.float32)
    for b in range(batch):
        error = q[b] - goals[b]
        slope = min(max(error, -1.0), 1.0)
        errors[b], slopes[b] = abs(error), importance[b] * slope / batch
        sums[0] += importance[b] * slope * (error - 0.5 * slope) / batch
        sums[1] += errors[b] / batch
        sums[2] += q[b] / batch
    return errors, slopes


@fused
def propagate(networks, inputs, units, slopes):
    """Writes the gradient of the online network.

    Args:
        networks: `Networks`.
        inputs: of each layer; the first B rows count.
        units: (B,) the output that counts.
        slopes: (B,) of the loss in this output.
    """
    batch, layers = len(slopes), networks.online
    delta = _propagate_head(layers[-1], inputs[-1], units, slopes, networks.gradient[-1])
    for k in range(len(layers) - 2, -1, -1):
        x = inputs[k][:batch]
        weight_gradient, bias_gradient = networks.gradient[k]
        np.dot(x.T, delta, weight_gradient)
        bias_gradient[:] = 0.0
        for b in range(batch):
            for j in range(len(bias_gradient)):
                bias_gradient[j] += delta[b, j]
        if k > 0:
            delta = np.dot(delta, layers[k][0].T)
            for b in range(batch):
                for j in range(delta.shape[1]):
                    if x[b, j] <= 0.0:
                        delta[b, j] = 0.0


@fused
def _propagate_head(layer, x, units, slopes, gradient):
    """As `propagate`, for the last layer; returns the gradient of what comes before (B, in)."""
    weight, weight_gradient, bias_gradient = layer[0], gradient[0], gradient[1]
    delta = np.empty((len(slopes), weight.shape[1]), np.float32)
    weight_gradient[:], bias_gradient[:] = 0.0, 0.0
    for b in range(len(slopes)):
        slope, unit = slopes[b], units[b]
        bias_gradient[unit] += slope
        for j in range(weight.shape[1]):
            weight_gradient[unit, j] += slope * x[b, j]
            delta[b, j] = slope * weight[unit, j] if x[b, j] > 0.0 else np.float32(0.0)
    return delta


@fused
def descend(adam):
    """One step of Adam along the gradient, then the soft target."""
    step = float(adam.steps[0]) + 1.0
    adam.steps[:] = step
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


@fused
def _walk(parameter, target, gradient, moment, square, step, scale, rate1, rate2, epsilon, tau):
    """Adam, then the soft target, in one walk; `step` and `scale` carry the bias corrections."""
    for k in range(len(parameter)):
        g = gradient[k]
        moment[k] += rate1 * (g - moment[k])
        square[k] += rate2 * (g * g - square[k])
        parameter[k] -= step * moment[k] / (np.sqrt(square[k]) * scale + epsilon)
        target[k] += tau * (parameter[k] - target[k])
