"""Differentiable augmentation (DiffAugment, arXiv 2006.10738) and the enlargement, in one resampling.

It knows pictures in [-1, 1] and drawn numbers. The two of a pair (i, i + n/2) get the same numbers: otherwise the
noise of the augmentation, not the generator, decides how far they lie apart.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Strength:
    """How far and how often; fractions of the picture's side or of the samples."""

    translate: float
    cutout: float  # side of the hole
    cutout_share: float
    colour: float
    colour_share: float


@dataclass(frozen=True, slots=True)
class Draws:
    """One number per row and transformation; photographs and fakes get their own."""

    shift: Tensor  # [n, 2] in units of the half side
    hole: Tensor  # [n, 2] centre, -1..1; far outside where there is none
    hole_side: float
    brightness: Tensor  # [n, 1, 1, 1]
    saturation: Tensor
    contrast: Tensor


def draw(strength: Strength, count: int, source: torch.Generator, device: torch.device) -> Draws:
    """Numbers for `count` pictures, the second half repeating the first."""
    half = count // 2
    uniform = torch.rand(half, 9, generator=source)
    uniform = torch.cat([uniform, uniform]).to(device)
    coloured = (uniform[:, 5] < strength.colour_share).float() * strength.colour
    hidden = uniform[:, 8:9] < strength.cutout_share
    return Draws(
        shift=(uniform[:, 0:2] * 2 - 1) * strength.translate * 2,
        hole=torch.where(hidden, uniform[:, 2:4] * 2 - 1, torch.full_like(uniform[:, 2:4], 9.0)),
        hole_side=strength.cutout,
        brightness=((uniform[:, 4] - 0.5) * coloured)[:, None, None, None],
        saturation=(1 + (uniform[:, 6] * 2 - 1) * coloured)[:, None, None, None],
        contrast=(1 + (uniform[:, 7] - 0.5) * coloured)[:, None, None, None],
    )


def augment(pictures: Tensor, draws: Draws, side: int) -> Tensor:
    """Pictures in [-1, 1] to augmented ones of `side`, still in [-1, 1] but for colour's overshoot."""
    grey = pictures.mean(1, keepdim=True)
    x = (pictures + draws.brightness - grey) * draws.saturation + grey
    centre = x.mean((1, 2, 3), keepdim=True)
    x = (x - centre) * draws.contrast + centre
    return _cut(_resample(x, draws.shift, side), draws)


def _resample(x: Tensor, shift: Tensor, side: int) -> Tensor:
    line = (torch.arange(side, device=x.device, dtype=x.dtype) * 2 + 1) / side - 1
    down, across = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack([across, down], -1) + shift[:, None, None, :].to(x.dtype)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _cut(x: Tensor, draws: Draws) -> Tensor:
    line = (torch.arange(x.shape[-1], device=x.device, dtype=x.dtype) * 2 + 1) / x.shape[-1] - 1
    inside = (
        (line[None, :] - draws.hole[:, :1]).abs() < draws.hole_side,
        (line[None, :] - draws.hole[:, 1:]).abs() < draws.hole_side,
    )
    keep = 1 - (inside[0][:, None, :] & inside[1][:, :, None]).to(x.dtype)
    return x * keep[:, None]
