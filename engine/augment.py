"""Views of a picture for AugCLIP: FuseDream's policy `color, translation, resize, cutout` (2112.01573, its code).

Every view is drawn by number, so view 7 is the same in every batch; the scale is drawn per view (the official code
draws it once a batch, which only adds variance). Colour first, then one affine resampling, then cutout, as there.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from engine.rng import rng_for

SHIFT, CUTOUT = 0.125, 0.5  # of the side


def draw_views(seed: int, first: int, rows: int) -> Tensor:
    """The draws of views first..first+rows-1: (rows, 8) in (0, 1), float32."""
    drawn = [rng_for(seed, "view", number).uniforms(8) for number in range(first, first + rows)]
    return torch.from_numpy(np.stack(drawn).astype(np.float32))


def augment(images: Tensor, draws: Tensor) -> Tensor:
    """Views (n, 3, h, w) of pictures (n, 3, h, w) in [-1, 1]; differentiable in the pictures. Vacated area is 0."""
    return _cutout(_resample(_colour(images, draws[:, :3]), draws[:, 3:6]), draws[:, 6:8])


def _colour(images: Tensor, draws: Tensor) -> Tensor:
    """Brightness U(-0.5, 0.5) added, saturation U(0, 2), contrast U(0.5, 1.5)."""
    brightness, saturation, contrast = (column.view(-1, 1, 1, 1) for column in draws.unbind(1))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * 2) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def _resample(images: Tensor, draws: Tensor) -> Tensor:
    """Integer shift up to an eighth of the side, and a scale U(0.8, 1.2) about the centre, in one bilinear pass."""
    side = images.shape[-1]
    steps = int(SHIFT * side + 0.5)
    shift = torch.floor(draws[:, :2] * (2 * steps + 1)).clamp(max=2 * steps) - steps
    scale = 1 / (0.8 + 0.4 * draws[:, 2])
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift * (2 / side)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def _cutout(images: Tensor, draws: Tensor) -> Tensor:
    """A square of half the side, centred anywhere, clipped at the border, filled with 0."""
    side = images.shape[-1]
    cut = int(CUTOUT * side + 0.5)
    centre = torch.floor(draws * (side + (1 - cut % 2)))
    places = torch.arange(side, device=images.device, dtype=images.dtype)
    low, high = centre - cut // 2, centre - cut // 2 + cut - 1
    hidden = (places >= low[:, :, None]) & (places <= high[:, :, None])  # (n, 2, side): x then y
    mask = hidden[:, 1, :, None] & hidden[:, 0, None, :]
    return images * (~mask).unsqueeze(1)
