"""An encoder that is computed, not learned: every cell's pixels in the pictures' own basis, and codes by k-means.

It knows pictures and linear algebra. It is for runs that cannot afford a learned encoder: after twenty minutes of half
a core that one had no code for green yet, and came no nearer to a photograph than the means of these codes do.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.generators.vqgan import Quantizer, Shape
from engine.training.album import Album, to_unit

SAMPLE, ROUNDS = 3000, 12  # pictures behind the basis, rounds of k-means
SOFTEN = 0.4  # a coefficient is divided by its spread to this power, so that texture counts beside brightness


class Patches(nn.Module):
    """Pictures [n, 3, side, side] in [-1, 1] to coefficients [n, dim, grid, grid]; a strided convolution."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        cell = shape.resolution // shape.grid
        self.look = nn.Conv2d(3, shape.dim, cell, stride=cell)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """What each cell holds."""
        z: Tensor = self.look(x)
        return z


@torch.no_grad()
def fit(album: Album, encoder: Patches, quantizer: Quantizer, rng: np.random.Generator) -> None:
    """Set the basis from some of the album's pictures, and the table to the means of what they hold."""
    rows = album.draw(SAMPLE, rng)
    pictures = to_unit(album.pictures[rows], torch.device("cpu"))
    weight, bias = encoder.look.weight, encoder.look.bias
    assert bias is not None
    cells = _cells(pictures, weight.shape[-1])
    middle = cells.mean(0)
    _, lengths, basis = torch.linalg.svd(torch.cov((cells - middle).T))
    spread = lengths[: len(weight)].sqrt()
    axes = basis[: len(weight)] / (spread**SOFTEN)[:, None]
    found = (cells - middle) @ axes.T
    scale = found.std()
    weight.copy_((axes / scale).reshape(weight.shape))
    bias.copy_(-(axes / scale) @ middle)
    quantizer.embedding.weight.copy_(_means(found / scale, len(quantizer.embedding.weight), rng))


def _cells(pictures: Tensor, side: int) -> Tensor:
    """Every cell's pixels [cells, 3 * side * side], as a convolution's kernel has them."""
    parts = pictures.contiguous().unfold(2, side, side).unfold(3, side, side)  # [n, 3, high, wide, side, side]
    return parts.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * side * side)


def _means(points: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """k-means; a mean that loses all its points starts anew at one of them."""
    means = points[_some(len(points), count, rng)]
    for _ in range(ROUNDS):
        near = _nearest(points, means)
        sums = torch.zeros_like(means).index_add_(0, near, points)
        counts = torch.bincount(near, minlength=count)
        means = torch.where((counts > 0)[:, None], sums / counts[:, None], points[_some(len(points), count, rng)])
    return means


def _nearest(points: Tensor, means: Tensor) -> Tensor:
    offsets = means.square().sum(1)
    return torch.cat([torch.addmm(offsets, part, means.T, alpha=-2).argmin(1) for part in torch.split(points, 8192)])


def _some(among: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.choice(among, count, replace=among < count)
