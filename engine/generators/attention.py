"""SAGAN's self-attention (arXiv 1805.08318, section 3) as BigGAN, BigGAN-deep and StudioGAN's SAGAN share it.

It knows nothing of a checkpoint's names; spectral norms are folded into its weights before they come here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ROWS = 512  # places of a block: what they look at stays in a core's cache


class Look(torch.autograd.Function):
    """softmax(q k') v of one head over (n, 1, places, width) on a CPU: torch walks one head backwards by one thread.

    Backwards it is plain products over blocks of places, by all threads; the sums over blocks are fp32 at the least.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The fused kernel; nothing but its inputs is kept."""
        ctx.save_for_backward(query, key, value)
        return _fused(query, key, value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The textbook gradient, row by row and block by block."""
        query, key, value = ctx.saved_tensors
        parts = [_back(*(part[n, 0] for part in (query, key, value, grads[0]))) for n in range(len(query))]
        to_query, to_key, to_value = (torch.stack(list(found)).unsqueeze(1) for found in zip(*parts, strict=True))
        return to_query, to_key.to(key.dtype), to_value.to(value.dtype)


def _back(query: Tensor, key: Tensor, value: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in q (s, d), k (t, d) and v (t, e) from that in what was seen (s, e)."""
    wide = torch.promote_types(query.dtype, torch.float32)
    to_key, to_value, to_query = torch.zeros_like(key, dtype=wide), torch.zeros_like(value, dtype=wide), []
    for at in range(0, len(query), ROWS):
        near, felt = query[at : at + ROWS], out[at : at + ROWS]
        share = torch.softmax(near @ key.T, -1)
        to_score = torch.ops.aten._softmax_backward_data(felt @ value.T, share, -1, share.dtype)
        to_query.append(to_score @ key)
        to_key += to_score.T @ near
        to_value += share.T @ felt
    return torch.cat(to_query), to_key, to_value


def _fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The fused kernels want one width for all three; zeros add nothing to a dot product."""
    wider = (0, value.shape[-1] - query.shape[-1])
    query, key = functional.pad(query, wider), functional.pad(key, wider)
    return functional.scaled_dot_product_attention(query, key, value, scale=1.0)


class Attention(nn.Module):
    """Every place looks at every pooled place: x + gamma o(softmax(theta(x)' phi(x)) g(x)), without a 1/sqrt(d)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.phi = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.o = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """The map keeps its shape; the attention map of 16384 x 4096 places never lies in memory."""
        query = _rows(self.theta(x))
        key = _rows(functional.max_pool2d(self.phi(x), 2))
        value = _rows(functional.max_pool2d(self.g(x), 2))
        seen: Tensor = Look.apply(query, key, value) if x.device.type == "cpu" else _fused(query, key, value)
        out: Tensor = self.o(seen.squeeze(1).transpose(1, 2).reshape(len(x), -1, *x.shape[2:]))
        return x + self.gamma * out


def _rows(x: Tensor) -> Tensor:
    """(n, c, h, w) to one head's (n, 1, h w, c): a view where the map is channels-last."""
    return x.flatten(2).transpose(1, 2).unsqueeze(1)
