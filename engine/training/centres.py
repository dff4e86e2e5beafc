"""Running mean features of every row's photographs and fakes, and the pull of one towards the other.

It knows pooled features and rows of the embedding. A single pair cannot say that a row is off as a whole; its mean can,
and moving the mean leaves the spread about it alone.
"""

import torch
from torch import Tensor, nn

from engine.training.photographs import Photographs

KEEP_FAKE, KEEP_REAL = 0.85, 0.97  # what stays of a mean when its row is drawn: fakes move, photographs do not
SCALE = 0.01


class Centres(nn.Module):
    """Both tables of means, [rows, 1280]."""

    fake: Tensor
    real: Tensor

    def __init__(self, photographs: Photographs, rows: int) -> None:
        super().__init__()
        pools, counts = photographs.pools, photographs.counts
        means = [photographs.pooled[pools[row, : counts[row]]].mean(0) for row in range(rows)]
        self.register_buffer("real", torch.stack(means))
        self.register_buffer("fake", torch.stack(means))

    def pull(self, labels: Tensor, fake: Tensor, real: Tensor) -> Tensor:
        """A loss whose gradient moves every fake by its row's gap; the pair (i, i + n/2) is of one row."""
        rows = labels[: len(labels) // 2]
        with torch.no_grad():
            for means, seen, keep in ((self.fake, fake, KEEP_FAKE), (self.real, real, KEEP_REAL)):
                one, other = seen.float().chunk(2)
                means[rows] = keep * means[rows] + (1 - keep) * (one + other) / 2
            gap = (self.fake - self.real)[labels]
        return SCALE * (fake.float() * gap).sum(1).mean()
