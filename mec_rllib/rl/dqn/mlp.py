"""Plain ReLU networks: which modules are one, and their forward pass in compiled code."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import nn

from mec_rllib.compiled import compiled

Array = NDArray[np.float32]
# Weight and bias (out,) per layer. Weights are (in, out): the products of activations and weights
# are nearly twice as fast as with torch's (out, in). The head's are (out, in), unit by unit: an
# update looks at one action of a row.
Layers = tuple[tuple[Array, Array], ...]

fused = compiled(fastmath={"contract"})


def relu_mlp(module: RLModule, *parts: str) -> list[nn.Linear] | None:
    """The linear layers of the module's parts, if together they are a plain ReLU network.

    A module with a forward pass of a user's own is none, whatever its layers are.
    """
    if not all(hasattr(module, part) for part in parts) or _has_own_forward(type(module)):
        return None
    leaves = [
        layer
        for layer in chain.from_iterable(getattr(module, part).modules() for part in parts)
        if not list(layer.children())
    ]
    kinds = "".join({nn.Linear: "L", nn.ReLU: "r"}.get(type(leaf), "?") for leaf in leaves)
    plain = kinds == "Lr" * (len(leaves) // 2) + "L"
    if not plain or getattr(module, "uses_dueling", True) or getattr(module, "num_atoms", 1) != 1:
        return None
    linears = [leaf for leaf in leaves if isinstance(leaf, nn.Linear)]
    return linears if all(layer.bias is not None for layer in linears) else None


def _has_own_forward(module: type) -> bool:
    theirs = [c for c in module.__mro__ if not c.__module__.startswith(("mec_rllib.", "ray."))]
    torchs = (nn.Module, object)
    names = [name for c in theirs if c not in torchs for name in vars(c)]
    return any("forward" in name or "q_values" in name for name in names)


def turned(weights: list[Any]) -> list[Any]:
    """Weights of torch as compiled code has them, or back."""
    return [*(weight.T for weight in weights[:-1]), weights[-1]]


def layers_of(linears: Sequence[Any]) -> Layers:
    """Views of the memory of layers with weight and bias: they see every update at once.

    The weights are laid out anew for it; torch goes on with transposed views.
    """
    for layer in linears[:-1]:
        layer.weight.data = layer.weight.data.T.contiguous().T
    weights = turned([layer.weight.detach().numpy() for layer in linears])
    return tuple(zip(weights, [layer.bias.detach().numpy() for layer in linears], strict=True))


@fused
def represent(layers: Layers, x: Array) -> list[Array]:
    """Inputs of each layer, the observations (B, F) first."""
    inputs = [x]
    for k in range(len(layers) - 1):
        weight, bias = layers[k]
        x = np.dot(x, weight)
        for b in range(len(x)):
            for j in range(len(bias)):
                x[b, j] = max(x[b, j] + bias[j], np.float32(0.0))
        inputs.append(x)
    return inputs


@fused
def predict(layers: Layers, x: Array) -> Array:
    """Outputs (B, actions) for observations (B, F)."""
    weight, bias = layers[-1]
    outputs = np.dot(represent(layers, x)[-1], weight.T)
    for b in range(len(outputs)):
        for j in range(len(bias)):
            outputs[b, j] += bias[j]
    return outputs


# Sums in any order: eight or sixteen terms at once.
@compiled(fastmath={"contract", "reassoc"})
def predict_unit(layer: tuple[Array, Array], x: Array, unit: int) -> float:
    """One output of a layer laid out unit by unit, for one row of inputs (in,)."""
    weight, bias = layer
    output = bias[unit]
    for j in range(len(x)):
        output += weight[unit, j] * x[j]
    return output
