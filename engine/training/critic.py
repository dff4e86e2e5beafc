"""The critic: small trainable heads on a frozen network's maps (Projected GAN, arXiv 2111.01007), and one on pixels.

It knows maps, rows of the embedding and logits. It does not know what the frozen network is, nor any loss.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from engine.training.gan import BatchModulate

MIXED = (48, 64, 128, 256)  # channels after the fixed random mixing, strides 4 to 32


class Mixing(nn.Module):
    """Fixed and random: scales every map, mixes its channels, then adds the coarser map from the top down."""

    def __init__(self, channels: tuple[int, ...], seed: int) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        for level, (into, out) in enumerate(zip(channels, MIXED, strict=True)):
            self.register_buffer(f"scale{level}", torch.ones(()))
            self.register_buffer(f"across{level}", torch.randn(out, into, 1, 1, generator=source) / math.sqrt(into))
            if level:
                finer = MIXED[level - 1]
                down = torch.randn(finer, out, 1, 1, generator=source) / math.sqrt(2 * out)
                self.register_buffer(f"down{level}", down)

    def measure(self, maps: tuple[Tensor, ...]) -> None:
        """Take the scales from these maps (of photographs), once."""
        for level, seen in enumerate(maps):
            self.get_buffer(f"scale{level}").copy_(torch.rsqrt(seen.float().square().mean()))

    def forward(self, maps: tuple[Tensor, ...]) -> list[Tensor]:
        """Four maps, finest first."""
        mixed: list[Tensor] = []
        for level in reversed(range(len(maps))):
            kernel = self.get_buffer(f"across{level}") * self.get_buffer(f"scale{level}")
            own = functional.conv2d(maps[level], kernel.to(maps[level].dtype))
            if mixed:
                down = functional.conv2d(mixed[0], self.get_buffer(f"down{level + 1}").to(own.dtype))
                own = own * math.sqrt(0.5) + functional.interpolate(down, scale_factor=2, mode="nearest")
            mixed.insert(0, own)
        return mixed


class Down(nn.Module):
    """Halve the map: 4x4 convolution with a spectral norm, batch normalisation, leaky ReLU."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = spectral_norm(nn.Conv2d(into, out, 4, 2, 1, bias=False))
        self.normalise = BatchModulate(out)
        self.gain = nn.Parameter(torch.ones(out))
        self.shift = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        """[n, into, s, s] to [n, out, s/2, s/2]."""
        n = len(x)
        out: Tensor = self.normalise(self.conv(x), self.gain.expand(n, -1), self.shift.expand(n, -1))
        return out


class Head(nn.Module):
    """One map to one logit map, conditioned on the row by a projection (arXiv 1802.05637)."""

    def __init__(self, widths: tuple[int, ...], rows: int, last: int = 128) -> None:
        super().__init__()
        self.downs = nn.Sequential(*(Down(into, out) for into, out in pairwise(widths)))
        self.mix = spectral_norm(nn.Conv2d(widths[-1] + 1, last, 1))
        self.plain = spectral_norm(nn.Conv2d(last, 1, 1))
        self.row = spectral_norm(nn.Embedding(rows, last))

    def forward(self, x: Tensor, labels: Tensor, share: float) -> Tensor:
        """Logits [n, s, s]; the pair (i, i + n/2) is of one row, and `share` of how far it lies apart is shown."""
        x = self.downs(x)
        one, other = x.chunk(2)
        apart = share * (one - other).abs().mean(1, keepdim=True)
        x = functional.leaky_relu(self.mix(torch.cat([x, torch.cat([apart, apart])], 1)), 0.2)
        projected = (x * self.row(labels).to(x.dtype)[:, :, None, None]).sum(1)
        logits: Tensor = self.plain(x)[:, 0] + projected
        return logits


class Critic(nn.Module):
    """Four heads on mixed maps and one on the raw picture."""

    def __init__(self, channels: tuple[int, ...], rows: int, seed: int) -> None:
        super().__init__()
        self.mixing = Mixing(channels, seed)
        ways = ((MIXED[0], 64, 128, 128), (MIXED[1], 128, 128), (MIXED[2], 128), (MIXED[3],))
        self.heads = nn.ModuleList(Head(widths, rows) for widths in ways)
        self.pixel = Head((3, 32, 64, 128, 128), rows)

    def judge(self, mixed: list[Tensor], labels: Tensor, share: float) -> list[Tensor]:
        """The logit maps of the four heads."""
        return [head(x, labels, share) for head, x in zip(self.heads, mixed, strict=True)]

    def look(self, pictures: Tensor, labels: Tensor, share: float) -> Tensor:
        """The logit map of the head on the raw picture."""
        logits: Tensor = self.pixel(pictures, labels, share)
        return logits
