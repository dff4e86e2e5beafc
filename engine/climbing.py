"""Gradients: what the runner computes for ops that ask which way is up. Everything is frozen but the latents.

Knows generators, CLIP and views; knows nothing of what a method does with a slope.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.augment import augment, augment_published, draw_views
from engine.loaded import LoadedPack
from engine.ops import Climb, EncodeViews, Preprocess, Slope

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
