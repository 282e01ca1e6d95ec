"""Plain networks: which are one, and what compiled code makes of their weights."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from mec_rllib.rl.dqn.mlp import layers_of, predict, predict_unit, relu_mlp, represent


class Parts(nn.Module):
    """A network in two parts, as RLlib's are."""

    def __init__(self, first, second, **attributes):
        super().__init__()
        self.first, self.second = nn.Sequential(*first), nn.Sequential(*second)
        for name, value in ({"uses_dueling": False, "num_atoms": 1} | attributes).items():
            if value is not None:
                setattr(self, name, value)


def line(bias=True):
    return nn.Linear(3, 3, bias=bias)


@pytest.mark.parametrize(
    ("parts", "is_plain"),
    [
        (Parts([line(), nn.ReLU()], [line()]), True),
        (Parts([line(), nn.ReLU(), line(), nn.ReLU()], [line()]), True),
        (Parts([line(), nn.ReLU()], [line()], num_atoms=None), True),
        (Parts([line(), nn.ReLU()], [line()], num_atoms=51), False),
        (Parts([line(), nn.ReLU()], [line()], uses_dueling=True), False),
        (Parts([line(), nn.ReLU()], [line()], uses_dueling=None), False),
        (Parts([line(), nn.Tanh()], [line()]), False),
        (Parts([line()], [line()]), False),
        (Parts([line(), nn.ReLU()], [line(), nn.ReLU()]), False),
        (Parts([line(), nn.ReLU()], [line(bias=False)]), False),
    ],
)
def test_which_networks_are_plain(parts, is_plain):
    expected = [layer for layer in parts.modules() if isinstance(layer, nn.Linear)]
    assert relu_mlp(parts, "first", "second") == (expected if is_plain else None)


@pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 2), (3, 5, 4, 2), (3, 5, 4, 1)])
def test_compiled_code_sees_what_torch_has_and_what_it_gets(sizes):
    torch.manual_seed(0)
    linears = [nn.Linear(*pair) for pair in pairwise(sizes)]
    net = nn.Sequential(*(part for layer in linears for part in (layer, nn.ReLU())))[:-1]
    x = torch.randn(6, 3)
    before = net(x).detach().numpy()
    layers = layers_of(linears)
    for _ in range(2):
        hidden = represent(layers, x.numpy())
        found = predict(layers, x.numpy())
        np.testing.assert_allclose(found, net(x).detach(), rtol=1e-5, atol=1e-6)
        for b, unit in np.ndindex(found.shape):
            one = predict_unit(layers[-1], hidden[-1][b], unit)
            assert one == pytest.approx(found[b, unit], rel=1e-5, abs=1e-6)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += torch.randn(parameter.shape)
    assert not np.allclose(before, found, atol=1e-2)


def test_layers_are_laid_out_once():
    """Whoever asks first, all look at the same memory."""
    linears = [nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2)]
    first, second = layers_of(linears), layers_of(linears)
    for one, other in zip(first, second, strict=True):
        assert all(np.shares_memory(a, b) for a, b in zip(one, other, strict=True))
        assert all(a.flags.c_contiguous for a in one)
