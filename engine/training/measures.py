"""Figures of a pair of embeddings: right labels, found pictures, and where one crowd ends and another begins.

It knows unit vectors and numbers. It does not know where they come from.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def top_shares(pictures: Tensor, labels: Tensor, texts: Tensor, among: Sequence[int]) -> tuple[float, float]:
    """Top-1 and top-5 of pictures whose label is in `among`, the other texts not offered."""
    offered = torch.tensor(list(among))
    rows = torch.isin(labels, offered)
    order = (pictures[rows] @ texts[offered].T).topk(5, dim=1).indices
    right = offered[order] == labels[rows, None]
    return float(right[:, 0].float().mean()), float(right.any(1).float().mean())


def recalls(pictures: Tensor, captions: Tensor, owner: Tensor) -> tuple[float, float, float]:
    """Text to picture: R@1, R@10 and the median rank (1 is best). `owner`: each caption's picture."""
    scores = captions @ pictures.T
    own = scores.gather(1, owner[:, None])
    ranks = 1 + (scores > own).sum(1)
    shares = [float((ranks <= at).float().mean()) for at in (1, 10)]
    return shares[0], shares[1], float(ranks.median())


def border(inside: Tensor, outside: Tensor) -> tuple[float, float, float]:
    """The threshold with the least mean of both errors; then the share of each side that it gets wrong."""
    best = (2.0, 0.0, 0.0, 0.0)
    for threshold in torch.cat([inside, outside]).sort().values.tolist():
        refused = float((inside < threshold).float().mean())
        let_in = float((outside >= threshold).float().mean())
        best = min(best, (refused + let_in, float(threshold), refused, let_in))
    return best[1], best[2], best[3]
