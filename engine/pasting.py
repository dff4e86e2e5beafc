"""One picture pasted into a box of another, and how well the paste hangs together. Differentiable in both and the box.

No network is needed: likeness is a distance of pixels and their differences over several scales (a pyramid), named so
and no LPIPS, which needs a download. Knows tensors; knows nothing of codes or scores.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

FEATHER = 0.1  # of the box's side: where the paste fades in
SCALES = 4  # of the pyramid: 1, 1/2, 1/4, 1/8


def paste(fore: Tensor, back: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """(picture, mask): `fore` squeezed into `box` over `back`, all (1, 3, side, side); the mask is (1, 1, side, side).

    `box` (4,) is centre x, centre y, width, height in unit coordinates, y downwards. The mask rises by a raised cosine.
    """
    side = back.shape[-1]
    places = (torch.arange(side, device=back.device, dtype=back.dtype) + 0.5) / side
    across, down = (places - box[0]) / box[2], (places - box[1]) / box[3]  # -0.5 to 0.5 within the box
    grid = torch.stack(torch.meshgrid(2 * across, 2 * down, indexing="xy"), dim=-1)[None]
    mask = (_rise(down)[:, None] * _rise(across)[None, :])[None, None]
    squeezed = F.grid_sample(fore, grid, padding_mode="border", align_corners=False)
    return mask * squeezed + (1 - mask) * back, mask


def _rise(along: Tensor) -> Tensor:
    depth = ((0.5 - along.abs()) / FEATHER).clamp(0, 1)
    return 0.5 - 0.5 * torch.cos(math.pi * depth)


def pyramid_distance(one: Tensor, other: Tensor) -> Tensor:
    """How unlike two pictures are: over the scales, the mean difference of pixels and of their steps right and down."""
    total = one.new_zeros(())
    for scale in range(SCALES):
        if scale:
            one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)
        apart = one - other
        total = total + apart.abs().mean() + sum(step.abs().mean() for step in _steps(apart))
    return total / SCALES


def seam(picture: Tensor, back: Tensor, mask: Tensor) -> Tensor:
    """How much the paste's border shows: the mean difference of steps from the background's, where the mask rises."""
    band = 4 * mask * (1 - mask)
    right, down = _steps(picture - back)
    shown = (right.abs() * band[..., :, 1:]).sum() + (down.abs() * band[..., 1:, :]).sum()
    return shown / (2 * picture.shape[1] * band.sum() + 1e-6)


def square(pixels: NDArray[np.uint8]) -> Tensor:
    """The middle square of a picture (h, w, 3), as (1, 3, side, side) in [-1, 1]."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = torch.from_numpy(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    return cut.permute(2, 0, 1)[None].float() / 127.5 - 1


def _steps(picture: Tensor) -> tuple[Tensor, Tensor]:
    return picture[..., :, 1:] - picture[..., :, :-1], picture[..., 1:, :] - picture[..., :-1, :]
