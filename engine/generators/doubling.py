"""A 3x3 convolution of doubled pixels without doubling them: four 2x2 convolutions of the pixels themselves.

Of nine neighbours among doubled pixels at most four differ, so their weights are summed: 16 products where there were
36, and nothing changes but the rounding. Where it lost (tests/benchmarks/README.md) the plain way is gone: on small
maps, where a gradient is wanted, and on CUDA, where it was not measured.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST = 16  # the side from which it gains
SHARED = {0: ((0,), (1, 2)), 1: ((0, 1), (2,))}  # rows (or columns) of the kernel that meet the same pixel, by phase


class DoubledConv(nn.Conv2d):
    """(n, into, h, w) to (n, out, 2h, 2w): nearest-neighbour doubling, then the convolution. Weights as of a Conv2d."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__(into, out, 3, padding=1)
        self._phases: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """Split where that gains, else plain."""
        if torch.is_grad_enabled() or x.device.type != "cpu" or x.shape[-1] < LEAST:
            return super().forward(functional.interpolate(x, scale_factor=2, mode="nearest"))
        return self.split(x)

    def split(self, x: Tensor) -> Tensor:
        """By phases: output rows 2i + a and columns 2j + b see the pixels i + a - 1, i + a and j + b - 1, j + b."""
        count, _, height, width = x.shape
        padded = functional.pad(x, (1, 1, 1, 1)).contiguous(memory_format=torch.channels_last)
        drawn = x.new_empty(count, 2 * height, 2 * width, self.out_channels)
        for (a, b), weight in zip(product((0, 1), repeat=2), self.phases(), strict=True):
            seen = padded[:, :, a : a + height + 1, b : b + width + 1]
            drawn[:, a::2, b::2] = functional.conv2d(seen, weight, self.bias).permute(0, 2, 3, 1)
        return drawn.permute(0, 3, 1, 2)

    def phases(self) -> tuple[Tensor, ...]:
        """The four summed kernels (out, into, 2, 2), made once for the dtype at hand."""
        if not self._phases or self._phases[0].dtype != self.weight.dtype:
            whole = self.weight.detach().double()
            self._phases = tuple(
                _summed(_summed(whole, 2, a), 3, b).to(self.weight.dtype).contiguous(memory_format=torch.channels_last)
                for a, b in product((0, 1), repeat=2)
            )
        return self._phases


def _summed(weight: Tensor, axis: int, phase: int) -> Tensor:
    return torch.stack([weight.index_select(axis, torch.tensor(rows)).sum(axis) for rows in SHARED[phase]], axis)
