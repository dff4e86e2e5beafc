"""Gradients: what the runner computes for ops that ask which way is up. Everything is frozen but the latents.

Knows generators, CLIP and views; knows nothing of what a method does with a slope.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from engine.augment import augment, augment_published, draw_views
from engine.clip import Clip
from engine.loaded import LoadedPack
from engine.ops import Blend, Blended, Climb, EncodeViews, Near, Paste, Preprocess, Slope, Slopes, Tower
from engine.pasting import paste, pyramid_distance, seam, square

GROUP = 50  # published views share their scale by so many
CLIMBERS = 16  # pictures of one batch on CUDA; fewer are padded


def views_of(clip: Clip, pictures: Tensor, ops: Sequence[EncodeViews | Climb]) -> Tensor:
    """Every op's views (rows, 3, side, side) of its own picture (3, h, h) in [-1, 1], op by op; differentiable."""
    return torch.cat([_views(clip, picture, op) for picture, op in zip(pictures, ops, strict=True)])


def _views(clip: Clip, picture: Tensor, op: EncodeViews | Climb) -> Tensor:
    same = picture.expand(op.rows, -1, -1, -1)
    if isinstance(op, Climb) and op.plain:
        return same
    if op.preprocess is Preprocess.FUSEDREAM:
        return augment_published(same, draw_views(op.seed, op.first, op.rows, GROUP).to(picture.device))
    draws = draw_views(op.seed, op.first, op.rows).to(picture.device)
    return augment(picture[None], draws, clip.image_size)


def slopes_of(loaded: LoadedPack, ops: Sequence[Climb], rung: int) -> list[Slope]:
    """One backward for all jobs: the gradients of a picture's views meet in it before they enter the generator."""
    device = loaded.device
    with torch.inference_mode(False), torch.enable_grad():
        z = torch.from_numpy(np.concatenate([op.latents.z for op in ops])).to(device.place).requires_grad_()
        y = torch.cat([loaded.embed(op.latents) for op in ops]).float().detach().requires_grad_()
        pictures = _pictures(loaded, z.to(device.dtype), y.to(device.dtype))
        views = views_of(loaded.scorer, pictures, ops)
        rows = [op.rows for op in ops]
        parts = torch.split(loaded.encode(Tower.SCORER, views, rung, ops[0].preprocess, rows), rows)
        texts = torch.from_numpy(np.stack([op.text for op in ops])).to(device.place)
        scores = torch.stack([(part * text).sum(1).mean() for part, text in zip(parts, texts, strict=True)])
        to_z, to_y = torch.autograd.grad(scores.sum(), (z, y))
    found = zip(scores.tolist(), to_z.float().cpu().numpy(), to_y.float().cpu().numpy(), strict=True)
    return [Slope(score, slope_z, slope_y) for score, slope_z, slope_y in found]


def _pictures(loaded: LoadedPack, z: Tensor, y: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) float32: one by one on a CPU, else in one batch, padded to the same size always."""
    if loaded.device.grouped:
        return torch.cat(
            [loaded.generator(*row) for row in zip(torch.split(z, 1), torch.split(y, 1), strict=True)]
        ).float()
    padding = (0, 0, 0, max(0, CLIMBERS - len(z)))
    return loaded.generator(F.pad(z, padding, value=1.0), F.pad(y, padding))[: len(z)].float()


def near_of(loaded: LoadedPack, op: Near) -> Slope:
    """The nearness of one picture to another, by CLIP and by pixels at every scale; one backward."""
    device = loaded.device
    with torch.inference_mode(False), torch.enable_grad():
        z = torch.from_numpy(op.latents.z).to(device.place).requires_grad_()
        y = loaded.embed(op.latents).float().detach().requires_grad_()
        drawn = loaded.generator(z.to(device.dtype), y.to(device.dtype)).float()
        wanted = F.interpolate(square(op.pixels).to(device.place), drawn.shape[-2:], mode="bilinear", antialias=True)
        likeness = (loaded.scorer.encode_images(drawn)[0] * torch.from_numpy(op.embedding).to(device.place)).sum()
        score = likeness - pyramid_distance(drawn, wanted)
        to_z, to_y = torch.autograd.grad(score, (z, y))
    return Slope(float(score), to_z[0].float().cpu().numpy(), to_y[0].float().cpu().numpy())


def blend_of(loaded: LoadedPack, op: Blend) -> Blended:
    """AugCLIP of a paste, and how far it is from the whole picture and shows its seam; two backwards through all."""
    device = loaded.device
    with torch.inference_mode(False), torch.enable_grad():
        z = torch.from_numpy(op.latents.z).to(device.place).requires_grad_()
        y = loaded.embed(op.latents).float().detach().requires_grad_()
        box = torch.from_numpy(op.box).to(device.place).requires_grad_()
        fore, back, whole = loaded.generator(z.to(device.dtype), y.to(device.dtype)).float().chunk(3)
        pasted, mask = paste(fore, back, box)
        draws = draw_views(op.seed, op.first, op.rows).to(device.place)
        embeddings = loaded.scorer.encode_images(augment(pasted, draws))
        score = (embeddings @ torch.from_numpy(op.text).to(device.place)).mean()
        apart = pyramid_distance(pasted, whole) + seam(pasted, back, mask)
        up = torch.autograd.grad(score, (z, y, box), retain_graph=True)
        down = torch.autograd.grad(apart, (z, y, box))
    return Blended(float(score), _slopes(up), float(apart), _slopes(down))


def _slopes(parts: tuple[Tensor, ...]) -> Slopes:
    z, y, box = (part.float().cpu().numpy() for part in parts)
    return Slopes(z, y, box)


def paste_of(loaded: LoadedPack, op: Paste) -> Tensor:
    """The first row's picture in the box of the second's: (1, 3, h, w) in [-1, 1]."""
    fore, back = (loaded.draw(op.latents.row(row), 1).float() for row in (0, 1))
    return paste(fore, back, torch.from_numpy(op.box).to(fore.device))[0]
