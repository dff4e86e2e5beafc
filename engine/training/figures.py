"""Figures of a set of pictures in the frozen network's feature space: identity, variety, Fréchet distance.

It knows features and logits. It does not know where the pictures came from, nor which figure is good enough.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.training.features import MobileNet

SIDE = 128


@dataclass(frozen=True, slots=True)
class Seen:
    """What the network saw in a set of pictures."""

    pooled: Tensor  # [n, 1280]
    logits: Tensor  # [n, 1001]


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and covariance of a set's features, fp64."""

    mean: Tensor
    covariance: Tensor


@torch.no_grad()
def see(net: MobileNet, pictures: Tensor, batch: int = 32) -> Seen:
    """Pictures [n, 3, 64, 64], uint8 or in [-1, 1], enlarged to 128 pixels."""
    seen = []
    for part in torch.split(pictures, batch):
        x = part.to(net.device).float()
        x = x / 255 if part.dtype == torch.uint8 else (x + 1) / 2
        large = functional.interpolate(x, size=SIDE, mode="bilinear", align_corners=False)
        seen.append(net(large.contiguous(memory_format=torch.channels_last)))
    return Seen(torch.cat([s.pooled.cpu() for s in seen]), torch.cat([s.logits.cpu() for s in seen]))


def identity(seen: Seen, classes: Tensor, outputs: Tensor) -> Tensor:
    """Top-1 rate of every class among the pack's own; `outputs` are its classes' places in the logits."""
    right = (seen.logits[:, outputs].argmax(1) == classes).float()
    return torch.stack([right[classes == label].mean() for label in range(len(outputs))])


def variety(seen: Seen, classes: Tensor) -> Tensor:
    """Every class's mean distance between two of its pictures: Euclid's, of features scaled to length one."""
    return torch.stack([_mean_distance(seen.pooled[classes == label]) for label in range(int(classes.max()) + 1)])


def moments(pooled: Tensor) -> Moments:
    """What the Fréchet distance compares."""
    x = pooled.double()
    return Moments(x.mean(0), x.T.cov())


def frechet(one: Moments, other: Moments) -> float:
    """Fréchet distance of two Gaussians (arXiv 1706.08500, equation 6) on MobileNet's features: no Inception FID."""
    values, vectors = torch.linalg.eigh(one.covariance)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ other.covariance @ root).clamp_min(0).sqrt().sum()
    apart = (one.mean - other.mean).square().sum()
    return float(apart + one.covariance.trace() + other.covariance.trace() - 2 * cross)


def _mean_distance(pooled: Tensor) -> Tensor:
    unit = functional.normalize(pooled, dim=1)
    count = len(unit)
    return torch.cdist(unit, unit).sum() / (count * (count - 1))
