"""A class's looks: its photographs parted into equally many groups that resemble each other.

It knows features and returns group numbers. A generator told the look as well as the class cannot answer with one
layout for all, which is how the first run failed; equal groups let a random look follow the photographs' shares.
"""

import torch
from torch import Tensor


def part(
    features: Tensor, classes: Tensor, count: int, *, dims: int, rounds: int, seed: int, beside: Tensor | None = None
) -> Tensor:
    """Look 0..count-1 of every picture, from its features [n, d] and its class [n].

    `beside` [n, b] are further coordinates; their variance counts against the features' one (`tinted` makes them).
    """
    looks = torch.zeros(len(features), dtype=torch.long)
    for label in range(int(classes.max()) + 1):
        rows = torch.nonzero(classes == label).flatten()
        x = _principal(features[rows].float(), dims)
        x = x / x.var(0).sum().sqrt()
        if beside is not None:
            x = torch.cat([x, beside[rows]], 1)
        looks[rows] = _balanced(x, count, rounds, seed + label)
    return looks


def tinted(shares: Tensor, classes: Tensor, weight: float) -> Tensor:
    """Colour shares [n, 11] of every picture's middle, scaled in every class to `weight` of the features' variance."""
    scaled = torch.zeros_like(shares)
    for label in range(int(classes.max()) + 1):
        rows = torch.nonzero(classes == label).flatten()
        x = shares[rows]
        scaled[rows] = x * (weight / x.var(0).sum()).sqrt()
    return scaled


def _principal(x: Tensor, dims: int) -> Tensor:
    centred = x - x.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    projected: Tensor = centred @ axes[:dims].T
    return projected


def _balanced(x: Tensor, count: int, rounds: int, seed: int) -> Tensor:
    """k-means whose groups differ by at most one picture; the surest pictures choose first."""
    source = torch.Generator().manual_seed(seed)
    centres = x[_far_apart(x, count, source)]
    looks = torch.zeros(len(x), dtype=torch.long)
    for _ in range(rounds):
        looks = _fill(torch.cdist(x, centres), count)
        centres = torch.stack([x[looks == look].mean(0) for look in range(count)])
    return looks


def _far_apart(x: Tensor, count: int, source: torch.Generator) -> list[int]:
    """k-means++ seeding (Arthur and Vassilvitskii 2007)."""
    chosen = [int(torch.randint(len(x), (1,), generator=source))]
    while len(chosen) < count:
        near = torch.cdist(x, x[chosen]).min(1).values.square()
        chosen.append(int(torch.multinomial(near, 1, generator=source)))
    return chosen


def _fill(distances: Tensor, count: int) -> Tensor:
    room = [len(distances) // count + (look < len(distances) % count) for look in range(count)]
    ranked = distances.sort(1)
    surest = (
        (ranked.values[:, 1] - ranked.values[:, 0]).argsort(descending=True) if count > 1 else range(len(distances))
    )
    looks = torch.zeros(len(distances), dtype=torch.long)
    for row in map(int, surest):
        look = next(int(choice) for choice in ranked.indices[row] if room[int(choice)])
        room[look] -= 1
        looks[row] = look
    return looks
