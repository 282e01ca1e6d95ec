"""Plain ReLU networks: which modules are one, and their forward pass in compiled code."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import nn

Array = NDArray[np.float32]
Layers = tuple[tuple[Array, Array], ...]  # weight (in, out) and bias (out,) per layer

compiled = njit(cache=True, error_model="numpy", fastmath={"contract"})


def relu_mlp(module: RLModule, *parts: str) -> list[nn.Linear] | None:
    """The linear layers of the module's parts, if together they are a plain ReLU network."""
    if not all(hasattr(module, part) for part in parts):
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


def layers_of(linears: Sequence[Any]) -> Layers:
    """Views of the memory of layers with weight and bias: they see every update at once.

    Weights are laid out input by input, where torch has them output by output: the product of
    activations and weights is nearly twice as fast then. Torch goes on with transposed views.
    """
    for layer in linears:
        layer.weight.data = layer.weight.data.T.contiguous().T
    return tuple((m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in linears)


@compiled
def forward(layers: Layers, x: Array) -> tuple[list[Array], Array]:
    """Inputs of each layer, and the output (B, actions), for (B, F) observations."""
    inputs = [x]
    for k in range(len(layers)):
        weight, bias = layers[k]
        x = np.dot(x, weight)
        for b in range(len(x)):
            for j in range(len(bias)):
                x[b, j] += bias[j]
                if k < len(layers) - 1 and x[b, j] < 0.0:
                    x[b, j] = 0.0
        inputs.append(x)
    return inputs, x
