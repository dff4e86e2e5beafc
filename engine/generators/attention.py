"""SAGAN's self-attention (arXiv 1805.08318, section 3) as BigGAN, BigGAN-deep and StudioGAN's SAGAN share it.

It knows nothing of a checkpoint's names; spectral norms are folded into its weights before they come here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


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
        # The fused kernels want one width for all three; zeros add nothing to a dot product.
        wider = (0, value.shape[-1] - query.shape[-1])
        query, key = functional.pad(query, wider), functional.pad(key, wider)
        seen = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        out: Tensor = self.o(seen.squeeze(1).transpose(1, 2).reshape(len(x), -1, *x.shape[2:]))
        return x + self.gamma * out


def _rows(x: Tensor) -> Tensor:
    """(n, c, h, w) to one head's (n, 1, h w, c): a view where the map is channels-last."""
    return x.flatten(2).transpose(1, 2).unsqueeze(1)
