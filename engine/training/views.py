"""How a photograph is varied before a CLIP sees it: mirror, crop, enlargement, brightness and contrast.

It knows pixels and an rng. It does not know networks; it leaves colours as they are, for prompts speak of them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.training.text import MEAN, STD


def vary(pictures: Tensor, mirrored: NDArray[np.int64], numbers: Mapping[str, Any], rng: np.random.Generator) -> Tensor:
    """Mirror, crop, enlarge (all one sampling) and brightness; then CLIP's normalisation."""
    n, device, side = len(pictures), pictures.device, numbers["side"]
    zoom = np.sqrt(rng.uniform(numbers["least_area"], 1.0, n))
    stretch = np.exp(rng.uniform(-0.12, 0.12, n))
    wide, high = np.minimum(zoom * stretch, 1.0), np.minimum(zoom / stretch, 1.0)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 1, 1] = wide * (1 - 2 * mirrored), high
    theta[:, 0, 2], theta[:, 1, 2] = rng.uniform(-1, 1, n) * (1 - wide), rng.uniform(-1, 1, n) * (1 - high)
    grid = functional.affine_grid(torch.from_numpy(theta).to(device), [n, 3, side, side], align_corners=False)
    x = functional.grid_sample(
        pictures.permute(0, 3, 1, 2).float() / 255, grid, padding_mode="border", align_corners=False
    )
    gain = torch.from_numpy(rng.uniform(1 - numbers["gain"], 1 + numbers["gain"], (n, 1, 1, 1)).astype(np.float32))
    middle = x.mean((1, 2, 3), keepdim=True)
    contrast = torch.from_numpy(rng.uniform(1 - numbers["gain"], 1 + numbers["gain"], (n, 1, 1, 1)).astype(np.float32))
    x = ((x - middle) * contrast.to(device) + middle * gain.to(device)).clamp(0, 1)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    varied: Tensor = (x - mean) / std
    return varied
