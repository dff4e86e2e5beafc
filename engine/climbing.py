"""Gradients: what the runner computes for ops that ask which way is up. Everything is frozen but the latents.

Knows generators, CLIP and views; knows nothing of what a method does with a slope.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.augment import augment, augment_published, draw_views
from engine.loaded import LoadedPack
from engine.ops import Blend, Blended, Climb, EncodeViews, Paste, Preprocess, Slope, Slopes
from engine.pasting import paste, pyramid_distance, seam

GROUP = 50  # published views share their scale by so many


def views_of(picture: Tensor, op: EncodeViews | Climb) -> Tensor:
    """Views (rows, 3, h, w) of a picture (1, 3, h, w) in [-1, 1]; differentiable."""
    published = op.preprocess is Preprocess.FUSEDREAM
    draws = draw_views(op.seed, op.first, op.rows, GROUP if published else 1).to(picture.device)
    form = augment_published if published else augment
    return form(picture.expand(op.rows, -1, -1, -1), draws)


def slope_of(loaded: LoadedPack, op: Climb) -> Slope:
    """One backward through the generator for all views: their gradients meet in the picture."""
    device = loaded.device
    with torch.inference_mode(False), torch.enable_grad():
        z = torch.from_numpy(op.latents.z).to(device.place).requires_grad_()
        y = loaded.embed(op.latents).float().detach().requires_grad_()
        picture = loaded.generator(z.to(device.dtype), y.to(device.dtype)).float()
        embeddings = loaded.scorer.encode_images(views_of(picture, op), op.preprocess)
        score = (embeddings @ torch.from_numpy(op.text).to(device.place)).mean()
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
        embeddings = loaded.scorer.encode_images(augment(pasted.expand(op.rows, -1, -1, -1), draws))
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
