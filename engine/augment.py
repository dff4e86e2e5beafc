"""Views of a picture for AugCLIP: FuseDream's policy `color, translation, resize, cutout` (2112.01573, its code).

Every view is drawn by number, so view 7 is the same in every batch. Two forms of one policy:

* ours: the scale is drawn per view, and shift and scale are one bilinear resampling, straight to the side that
  the CLIP looks at, which costs less and varies more;
* published: the shift moves whole pixels, and a scale that all views of a group share resizes them, then pads or crops.

Colour comes first in both, cutout last (ours computes the same in another order). Nothing is clamped after colour;
vacated area is 0, mid grey.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from engine.rng import rng_for

SHIFT, CUTOUT = 0.125, 0.5  # of the side
LEAST, MOST = 0.8, 1.2  # of the scale
SCALE = 5  # the draw that decides the scale
OUTSIDE = 3.0  # a place beyond every picture, whose sides are -1 and 1
HALVES = 2  # parts that one picture's views are sampled in, each by a thread


def draw_views(seed: int, first: int, rows: int, shared: int = 1) -> Tensor:
    """The draws of views first..first+rows-1: (rows, 8) in (0, 1), float32. `shared` views have one scale."""
    drawn = np.stack([rng_for(seed, "view", number).uniforms(8) for number in range(first, first + rows)])
    if shared > 1:
        drawn[:, SCALE] = [rng_for(seed, "scale", n // shared).uniforms(1)[0] for n in range(first, first + rows)]
    return torch.from_numpy(drawn.astype(np.float32))


def augment(images: Tensor, draws: Tensor, side: int | None = None) -> Tensor:
    """Views (n, 3, side, side) of pictures (n, 3, h, h) in [-1, 1], in our form; differentiable in the pictures.

    One picture (1, 3, h, h) may stand for n. `side` is the pictures' own where it is None. Colour is linear in a
    pixel, so that it is done last, by one product with what was resampled; a 1 resampled beside red, green and blue
    says how much of a pixel is picture at all, and where a view is cut out it looks beside the picture.
    """
    seen, rows = side or images.shape[-1], len(draws)
    grid = _grid(draws[:, 3:6], images.shape[-1], seen).masked_fill(_hidden(draws[:, 6:8], seen)[..., None], OUTSIDE)
    mix = _mix(images, draws[:, :3])
    whole = torch.cat([images, images.new_ones(len(images), 1, *images.shape[2:])], 1)
    if len(images) < rows:  # every view samples the one picture, and the gradients meet in it; two halves, two cores
        parts = math.gcd(rows, HALVES)
        whole, grid = whole.expand(parts, -1, -1, -1), grid.view(parts, -1, seen, 2)
    sampled = F.grid_sample(whole, grid, padding_mode="zeros", align_corners=False)
    flat = sampled.view(len(whole), 4, -1, seen * seen).transpose(1, 2).reshape(rows, 4, -1)
    # on a CPU one by one: twelve times as fast as bmm, whose rows are so short
    mixed = torch.bmm(mix, flat) if flat.is_cuda else torch.stack([m @ one for m, one in zip(mix, flat, strict=True)])
    return mixed.view(rows, 3, seen, seen)


def _mix(images: Tensor, draws: Tensor) -> Tensor:
    """What `_colour` does to a pixel (red, green, blue, 1), as a matrix (n, 3, 4)."""
    brightness, saturation, contrast = (column.view(-1, 1, 1) for column in draws.unbind(1))
    strength, grey = contrast + 0.5, images.new_full((3, 3), 1 / 3)
    colours = strength * (saturation * 2 * torch.eye(3).to(grey) + (1 - saturation * 2) * grey)
    level = brightness - 0.5 + (1 - strength) * images.mean((1, 2, 3)).view(-1, 1, 1)
    return torch.cat([colours, level.expand(-1, 3, 1)], 2)


def augment_published(images: Tensor, draws: Tensor) -> Tensor:
    """The published form: the same shapes and ranges; ValueError unless all views share one scale."""
    if (draws[:, SCALE] != draws[0, SCALE]).any():
        raise ValueError("Views of the published form share one scale; these do not.")
    shifted = _translate(_colour(images, draws[:, :3]), draws[:, 3:5])
    return _cutout(_resize(shifted, LEAST + (MOST - LEAST) * float(draws[0, SCALE])), draws[:, 6:8])


def _colour(images: Tensor, draws: Tensor) -> Tensor:
    """Brightness U(-0.5, 0.5) added, saturation U(0, 2), contrast U(0.5, 1.5)."""
    brightness, saturation, contrast = (column.view(-1, 1, 1, 1) for column in draws.unbind(1))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * 2) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def _shifts(draws: Tensor, side: int) -> Tensor:
    """Whole pixels (n, 2) from -s to s, each as likely: s is an eighth of the side, rounded."""
    steps = int(SHIFT * side + 0.5)
    return torch.floor(draws * (2 * steps + 1)).clamp(max=2 * steps) - steps


def _grid(draws: Tensor, side: int, seen: int) -> Tensor:
    """Where every pixel of a view (n, seen, seen, 2) looks: a shift by whole pixels, a scale U(0.8, 1.2)."""
    shift = _shifts(draws[:, :2], side)
    scale = 1 / (LEAST + (MOST - LEAST) * draws[:, 2])
    theta = draws.new_zeros(len(draws), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift * (2 / side)
    return F.affine_grid(theta, [len(draws), 3, seen, seen], align_corners=False)


def _translate(images: Tensor, draws: Tensor) -> Tensor:
    """Every picture moved by whole pixels of its own along each axis; 0 moves in."""
    side, device = images.shape[-1], images.device
    shift = _shifts(draws, side).long()
    places = torch.arange(side, device=device)
    across, down = places + shift[:, :1], places + shift[:, 1:]
    rows = torch.arange(len(images), device=device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[rows, down.clamp(0, side - 1)[:, :, None], across.clamp(0, side - 1)[:, None, :]]
    inside = _within(down, side)[:, :, None] & _within(across, side)[:, None, :]
    return (moved * inside[..., None]).permute(0, 3, 1, 2)


def _within(places: Tensor, side: int) -> Tensor:
    return (places >= 0) & (places < side)


def _resize(images: Tensor, scale: float) -> Tensor:
    """All pictures resized by one scale, then padded with 0 about the centre, or cropped to it."""
    side = images.shape[-1]
    size = int(scale * side)
    resized = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    if size < side:
        before = (side - size) // 2
        after = side - size - before
        return F.pad(resized, (before, after, before, after))
    before = (size - side) // 2
    return resized[..., before : before + side, before : before + side]


def _cutout(images: Tensor, draws: Tensor) -> Tensor:
    """What `_hidden` says, filled with 0."""
    return images * (~_hidden(draws, images.shape[-1])).unsqueeze(1)


def _hidden(draws: Tensor, side: int) -> Tensor:
    """A square (n, side, side) of half the side, centred anywhere, clipped at the border."""
    cut = int(CUTOUT * side + 0.5)
    centre = torch.floor(draws * (side + (1 - cut % 2)))
    places = torch.arange(side, device=draws.device, dtype=draws.dtype)
    low, high = centre - cut // 2, centre - cut // 2 + cut - 1
    hidden = (places >= low[:, :, None]) & (places <= high[:, :, None])  # (n, 2, side): x then y
    return hidden[:, 1, :, None] & hidden[:, 0, None, :]
