"""Slow generators' parts, written from the publishers' layouts: spectral norms computed in every forward, no shortcuts.

A reference network's state dict is the published layout, and its forward is what the published weights mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

# Gain and bias of the last norms, and the last bias: small, or tanh is full and hides what came before.
LAST = ("generator.bn.weight", "generator.bn.bias", "bn4.weight", "bn4.bias")
RGB = ("conv_to_rgb.bias", "output_layer.2.bias", "conv2d5.bias")


class Stored(nn.Module):
    """A layer under `torch.nn.utils.spectral_norm`: sigma = u W v with the u and v of the file."""

    def __init__(self, *shape: int, bias: bool = False) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[0])) if bias else None
        self.register_buffer("weight_u", torch.empty(shape[0]))
        self.register_buffer("weight_v", torch.empty(prod(shape[1:])))

    @property
    def weight(self) -> Tensor:
        """What the layer multiplies by."""
        u, v = self.get_buffer("weight_u"), self.get_buffer("weight_v")
        return self.weight_orig / torch.dot(u, self.weight_orig.flatten(1).mv(v))

    def forward(self, x: Tensor) -> Tensor:
        """A convolution that keeps the side, or a linear layer."""
        return apply(self.weight, self.bias, x)


class Iterated(nn.Module):
    """One of ajbrock's layers: `u0` (1, out), one power iteration in every forward, `sv0` for their log only."""

    def __init__(self, *shape: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[0])) if bias else None
        self.register_buffer("u0", torch.empty(1, shape[0]))
        self.register_buffer("sv0", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """A convolution that keeps the side, or a linear layer."""
        matrix = self.weight.flatten(1)
        v = functional.normalize(self.get_buffer("u0") @ matrix)
        u = functional.normalize(v @ matrix.T)
        return apply(self.weight / (v @ matrix.T @ u.T).squeeze(), self.bias, x)


def apply(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """By the weight's rank."""
    if weight.dim() == 2:
        return functional.linear(x, weight, bias)
    return functional.conv2d(x, weight, bias, padding=weight.shape[2] // 2)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Maps (n, c, h, w), key and value pooled by 2; a thousand queries at a time, or 256 need half a gigabyte."""
    n, _, h, w = query.shape
    key, value = functional.max_pool2d(key, 2).flatten(2), functional.max_pool2d(value, 2).flatten(2)
    seen = []
    for some in query.flatten(2).split(1024, 2):
        weights = torch.softmax(torch.einsum("ncq,nck->nqk", some, key), -1)
        seen.append(torch.einsum("nqk,nck->ncq", weights, value))
    return torch.cat(seen, 2).reshape(n, -1, h, w)


def double(x: Tensor) -> Tensor:
    """Every pixel four times."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def filled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Distinct float64 values in every parameter and buffer; singular vectors after two power iterations, not more."""
    network.double()
    random = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            fan = max(1, tensor[0].numel() if tensor.dim() > 1 else 1)
            tensor.copy_(torch.randn(tensor.shape, generator=random, dtype=torch.float64) / fan**0.5)
            if "var" in name:
                tensor.exp_()
            if name.startswith(LAST) or name.endswith(RGB):
                tensor.mul_(0.1)
    for module in network.modules():
        if isinstance(module, Stored | Iterated):
            _iterate(module)
    return network.eval().requires_grad_(False)


def _iterate(module: Stored | Iterated) -> None:
    matrix = (module.weight_orig if isinstance(module, Stored) else module.weight).detach().flatten(1)
    u = torch.ones(len(matrix), dtype=torch.float64)
    for _ in range(2):
        v = functional.normalize(matrix.T @ u, dim=0)
        u = functional.normalize(matrix @ v, dim=0)
    if isinstance(module, Stored):
        module.get_buffer("weight_u").copy_(u)
        module.get_buffer("weight_v").copy_(v)
    else:
        module.get_buffer("u0").copy_(u[None])


def parameters(state: Mapping[str, Tensor], buffers: tuple[str, ...]) -> int:
    """How many numbers a state dict holds, leaving out the keys that end in one of `buffers`."""
    return sum(tensor.numel() for key, tensor in state.items() if not key.endswith(buffers))
